//! A proxy before a registry that counts requests and breaks some of them: what networks do.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What happens to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The registry's answer, whole.
    None,
    /// Another status, with an empty body.
    Status(u16),
    /// An answer of the test's own.
    Answer {
        /// The status.
        status: u16,
        /// One header line.
        header: String,
        /// The body.
        body: String,
    },
    /// Only this many bytes of the body, then the connection ends.
    CutAfter(usize),
    /// The last byte of the body is another one.
    Flip,
    /// The request's `Range` is dropped, so the registry sends all.
    IgnoreRange,
}

/// One request as the proxy saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// For example `GET`.
    pub method: String,
    /// For example `/v2/a/blobs/sha256:…`.
    pub path: String,
    /// The `Host` header.
    pub host: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

type Decide = dyn Fn(&Request, usize) -> Fault + Send + Sync;

/// A running proxy; its threads end with the test process.
pub(crate) struct FaultProxy {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl FaultProxy {
    /// Starts a proxy before `upstream`. `decide` is given a request and how often its path came before.
    pub(crate) fn start(
        upstream: &str,
        decide: impl Fn(&Request, usize) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let port = listener.local_addr().expect("a bound address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (upstream, log) = (upstream.to_owned(), Arc::clone(&requests));
        let decide: Arc<Decide> = Arc::new(decide);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (upstream, log, decide) = (upstream.clone(), Arc::clone(&log), Arc::clone(&decide));
                // A connection that breaks is the purpose, not a failure.
                std::thread::spawn(move || serve(client, &upstream, &log, &*decide));
            }
        });
        Self { port, requests }
    }

    /// Returns the host as it stands in an image's name.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the requests so far whose path contains `part`.
    pub(crate) fn requests(&self, part: &str) -> Vec<Request> {
        let requests = self.requests.lock().expect("no proxy thread panics");
        requests.iter().filter(|request| request.path.contains(part)).cloned().collect()
    }
}

/// Serves one request and closes: each one gets a connection of its own.
fn serve(
    mut client: TcpStream,
    upstream: &str,
    log: &Mutex<Vec<Request>>,
    decide: &Decide,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let mut words = first.split_whitespace();
    let mut word = || words.next().unwrap_or_default().to_owned();
    let request = Request {
        method: word(),
        path: word(),
        host: headers.get("host").cloned().unwrap_or_default(),
        range: headers.get("range").cloned(),
        authorization: headers.get("authorization").cloned(),
    };
    let earlier = {
        let mut log = log.lock().expect("no proxy thread panics");
        let same = |other: &&Request| (&other.method, &other.path) == (&request.method, &request.path);
        let earlier = log.iter().filter(same).count();
        log.push(request.clone());
        earlier
    };
    let fault = decide(&request, earlier);
    let own = match &fault {
        Fault::Status(status) => Some((*status, "X-Fault: 1", "")),
        Fault::Answer { status, header, body } => Some((*status, header.as_str(), body.as_str())),
        _ => None,
    };
    if let Some((status, header, body)) = own {
        let length = body.len();
        return write!(
            client,
            "HTTP/1.1 {status} Fault\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
    }
    if fault == Fault::IgnoreRange {
        headers.remove("range");
    }
    headers.insert("connection".into(), "close".into());
    let mut server = TcpStream::connect(upstream)?;
    write!(server, "{} {} HTTP/1.1\r\n", request.method, request.path)?;
    for (name, value) in &headers {
        write!(server, "{name}: {value}\r\n")?;
    }
    server.write_all(b"\r\n")?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    if let Fault::CutAfter(bytes) = fault {
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |end| end + 4);
        answer.truncate(head + bytes);
    }
    if let (Fault::Flip, Some(last)) = (&fault, answer.last_mut()) {
        *last ^= 1;
    }
    client.write_all(&answer)
}
