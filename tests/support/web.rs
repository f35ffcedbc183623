//! A web server on loopback whose answers a test decides: conditions, ranges, redirects, broken connections.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use super::http::{Head, listen};

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct WebRequest {
    /// The method.
    pub(crate) method: String,
    /// The path with the query.
    pub(crate) path: String,
    /// The headers, names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The headers beside `Content-Length`.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
    /// Only this many bytes of the body are sent before the connection ends.
    pub(crate) cut: Option<usize>,
}

impl Answer {
    /// Answers with a file.
    pub(crate) fn file(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    /// Answers without a body.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Breaks the connection off.
    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }
}

type Decide = dyn Fn(&WebRequest, usize) -> Answer + Send + Sync;

/// A running server; its threads end with the test process.
pub(crate) struct WebServer {
    port: u16,
    requests: Arc<Mutex<Vec<WebRequest>>>,
}

impl WebServer {
    /// Starts a server. `decide` is given a request and how many of its path came before.
    pub(crate) fn start(decide: impl Fn(&WebRequest, usize) -> Answer + Send + Sync + 'static) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let port = listen(move |client| serve(client, &log, &decide));
        Self { port, requests }
    }

    /// Returns the address of `path` on this server.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Returns the requests so far.
    pub(crate) fn requests(&self) -> Vec<WebRequest> {
        self.requests.lock().expect("no server thread panics").clone()
    }
}

/// Serves one request and closes.
fn serve(mut client: TcpStream, log: &Mutex<Vec<WebRequest>>, decide: &Decide) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let head = Head::read(&mut reader)?;
    let body = read_body(&mut reader, &head.headers)?;
    let request = WebRequest { method: head.method(), path: head.path(), headers: head.headers, body };
    let earlier = {
        let mut log = log.lock().expect("no server thread panics");
        let earlier = log.iter().filter(|other| other.path == request.path).count();
        log.push(request.clone());
        earlier
    };
    let answer = decide(&request, earlier);
    write!(client, "HTTP/1.1 {} Answer\r\nConnection: close\r\n", answer.status)?;
    for (name, value) in &answer.headers {
        write!(client, "{name}: {value}\r\n")?;
    }
    if answer.status != 304 {
        write!(client, "Content-Length: {}\r\n", answer.body.len())?;
    }
    client.write_all(b"\r\n")?;
    client.write_all(&answer.body[..answer.cut.unwrap_or(answer.body.len())])
}

fn read_body(reader: &mut impl BufRead, headers: &BTreeMap<String, String>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_none_or(|encoding| encoding != "chunked") {
        let size = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        reader.take(size).read_to_end(&mut body)?;
        return Ok(body);
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
        reader.by_ref().take(size).read_to_end(&mut body)?;
        reader.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(body);
        }
    }
}
