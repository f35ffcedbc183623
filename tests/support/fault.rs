//! A proxy before a registry that counts requests and breaks some of them: what networks do.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::http::{Head, listen};

/// What happens to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The registry's answer, whole.
    None,
    /// Another status, with an empty body; what the client sends is read and thrown away.
    Status(u16),
    /// The same as soon as the head of the request is there; the connection ends at once.
    Early(u16),
    /// An answer of the test's own.
    Answer {
        /// The status.
        status: u16,
        /// One header line.
        header: String,
        /// The body.
        body: String,
    },
    /// Sends the client on: the same path at another host.
    Redirect {
        /// The status.
        status: u16,
        /// The other host.
        to: String,
    },
    /// Only this many bytes of the answer's body, then the connection ends.
    CutAfter(usize),
    /// Only this many bytes of the request's body reach the registry, then both connections end.
    CutRequestAfter(u64),
    /// The connection ends; the registry sees nothing.
    Reset,
    /// The registry does what it is asked for, and the client never hears of it.
    LoseAnswer,
    /// The last byte of the answer's body is another one.
    Flip,
    /// The request's `Range` is dropped, so the registry sends all.
    IgnoreRange,
    /// A header of the registry's answer is another one; without a value it is missing.
    Header(&'static str, Option<String>),
    /// The registry's answer sends the client to another host than itself.
    SwapHost(String),
    /// It takes a while.
    Slow(Duration),
    /// Each 64 KiB of the first half of the request's body take a while.
    SlowBody(Duration),
    /// Nothing comes, and the connection stays.
    Silence,
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
    /// The `Content-Range` header.
    pub content_range: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// How many bytes its body has.
    pub length: u64,
}

/// Which requests a fault befalls: those with this method, whose path holds this text; the first of them are let
/// through, then so many are struck.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// The method; empty for any.
    pub method: &'static str,
    /// A part of the path.
    pub part: &'static str,
    /// The least length of the body.
    pub from_length: u64,
    /// How many are let through.
    pub skip: usize,
    /// How many are struck then.
    pub count: usize,
    /// What happens to them.
    pub fault: Fault,
}

impl Rule {
    fn is_for(&self, request: &Request) -> bool {
        (self.method.is_empty() || self.method == request.method)
            && request.path.contains(self.part)
            && request.length >= self.from_length
    }
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
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (upstream, log) = (upstream.to_owned(), Arc::clone(&requests));
        let port = listen(move |client| serve(client, &upstream, &log, &decide));
        Self { port, requests }
    }

    /// Starts a proxy in which the first rule that is for a request, and not used up, decides.
    pub(crate) fn with_rules(upstream: &str, rules: Vec<Rule>) -> Self {
        let counted: Vec<_> = rules.into_iter().map(|rule| (rule, AtomicUsize::new(0))).collect();
        Self::start(upstream, move |request, _| {
            let struck = counted.iter().find(|(rule, seen)| {
                rule.is_for(request) && {
                    let earlier = seen.fetch_add(1, Ordering::SeqCst);
                    (rule.skip..rule.skip.saturating_add(rule.count)).contains(&earlier)
                }
            });
            struck.map_or(Fault::None, |(rule, _)| rule.fault.clone())
        })
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
    let head = Head::read(&mut reader)?;
    let (method, path, mut headers) = (head.method(), head.path(), head.headers);
    let request = Request {
        method,
        path,
        host: headers.get("host").cloned().unwrap_or_default(),
        range: headers.get("range").cloned(),
        content_range: headers.get("content-range").cloned(),
        authorization: headers.get("authorization").cloned(),
        length: headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0),
    };
    let earlier = {
        let mut log = log.lock().expect("no proxy thread panics");
        let same = |other: &&Request| (&other.method, &other.path) == (&request.method, &request.path);
        let earlier = log.iter().filter(same).count();
        log.push(request.clone());
        earlier
    };
    let fault = decide(&request, earlier);
    let mut body = reader.take(request.length);
    let own = match &fault {
        Fault::Status(status) | Fault::Early(status) => Some((*status, "X-Fault: 1".to_owned(), "")),
        Fault::Answer { status, header, body } => Some((*status, header.clone(), body.as_str())),
        Fault::Redirect { status, to } => {
            Some((*status, format!("Location: http://{to}{}", request.path), ""))
        }
        _ => None,
    };
    if let Some((status, header, text)) = own {
        if !matches!(fault, Fault::Early(_)) {
            std::io::copy(&mut body, &mut std::io::sink())?;
        }
        let length = text.len();
        return write!(
            client,
            "HTTP/1.1 {status} Fault\r\n{header}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
        );
    }
    match &fault {
        Fault::Reset => return Ok(()),
        Fault::Silence => {
            std::io::copy(&mut body, &mut std::io::sink())?;
            // Until the client goes.
            client.read_exact(&mut [0])?;
            return Ok(());
        }
        Fault::Slow(duration) => std::thread::sleep(*duration),
        Fault::IgnoreRange => drop(headers.remove("range")),
        _ => {}
    }
    headers.insert("connection".into(), "close".into());
    let mut server = TcpStream::connect(upstream)?;
    write!(server, "{} {} HTTP/1.1\r\n", request.method, request.path)?;
    for (name, value) in &headers {
        write!(server, "{name}: {value}\r\n")?;
    }
    server.write_all(b"\r\n")?;
    if let Fault::CutRequestAfter(bytes) = fault {
        std::io::copy(&mut body.take(bytes), &mut server)?;
        server.shutdown(Shutdown::Write)?;
        // Until the registry has put away what came: what it knows afterwards is certain.
        std::io::copy(&mut server, &mut std::io::sink())?;
        return Ok(());
    }
    if let Fault::SlowBody(pause) = fault {
        for _ in 0..request.length / (128 << 10) {
            std::io::copy(&mut body.by_ref().take(64 << 10), &mut server)?;
            std::thread::sleep(pause);
        }
    }
    std::io::copy(&mut body, &mut server)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    match &fault {
        Fault::LoseAnswer => return Ok(()),
        Fault::CutAfter(bytes) => answer.truncate(head_length(&answer) + bytes),
        Fault::Flip => {
            if let Some(last) = answer.last_mut() {
                *last ^= 1;
            }
        }
        Fault::SwapHost(to) => {
            let head = String::from_utf8_lossy(&answer[..head_length(&answer)]).replace(&request.host, to);
            answer = [head.as_bytes(), &answer[head_length(&answer)..]].concat();
        }
        Fault::Header(name, value) => answer = with_header(&answer, name, value.as_deref()),
        _ => {}
    }
    client.write_all(&answer)
}

fn head_length(answer: &[u8]) -> usize {
    answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |end| end + 4)
}

fn with_header(answer: &[u8], name: &str, value: Option<&str>) -> Vec<u8> {
    let (head, body) = answer.split_at(head_length(answer));
    let head = String::from_utf8_lossy(head);
    let is_other =
        |line: &&str| !line.split_once(':').is_some_and(|(other, _)| other.eq_ignore_ascii_case(name));
    let mut lines: Vec<String> = head.trim_end().lines().filter(is_other).map(str::to_owned).collect();
    lines.extend(value.map(|value| format!("{name}: {value}")));
    [(lines.join("\r\n") + "\r\n\r\n").as_bytes(), body].concat()
}
