//! HTTP: one request, one answer. The only file of the room that knows the HTTP client, TLS and the asynchronous
//! runtime.
//!
//! Nothing is followed, retried or authorized here: that is decided in [`super`] and [`super::super::retry`].

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName};
use reqwest::redirect::Policy;
use reqwest::{Method, Url};
use tokio::runtime::Runtime;

use super::super::certificates::{Certificates, Trust};
use super::super::error::{Error, Problem};
use super::super::hosts::Access;
use super::super::lock;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections are driven here; whoever waits does so on a thread of its own.
const WORKER_THREADS: usize = 2;

/// Whether anything moved, and whether the answer is still wanted, is looked at as often.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How much of a file is read at a time while it is sent.
const PIECE_BYTES: u64 = 256 << 10;

const USER_AGENT: &str = concat!("kiln/", env!("CARGO_PKG_VERSION"));

/// All connections: one client per host and way of speaking to it.
pub(super) struct Http {
    runtime: Runtime,
    certificates: Certificates,
    /// How long nothing may move, in neither direction.
    silence: Duration,
    clients: Mutex<HashMap<(String, Access), reqwest::Client>>,
}

/// What a request carries. It can be sent again: nothing is used up.
#[derive(Clone, Default)]
pub(in super::super) enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// A document.
    Bytes(Bytes),
    /// A part of a file.
    Part(Part),
}

/// A part of a file, read while it is sent.
#[derive(Clone)]
pub(in super::super) struct Part {
    pub(in super::super) file: Arc<File>,
    pub(in super::super) offset: u64,
    pub(in super::super) length: u64,
    /// Hears of each piece that is handed to the connection, in bytes, and of none now and then; an error ends the request.
    /// Called on a thread of the runtime.
    pub(in super::super) sent: Arc<dyn Fn(u64) -> std::io::Result<()> + Send + Sync>,
}

/// A host's answer: the head is there, the body comes when it is asked for.
pub(in super::super) struct Answer<'h> {
    http: &'h Http,
    host: String,
    inner: reqwest::Response,
}

impl Http {
    pub(super) fn new(certificates: Certificates, silence: Duration) -> Result<Self, Error> {
        // Fails only if the program has chosen a provider already, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(|error| Error::Setup(Box::new(error)))?;
        Ok(Self { runtime, certificates, silence, clients: Mutex::default() })
    }

    /// Sends one request and waits for the head of the answer.
    pub(super) fn send(
        &self,
        method: Method,
        url: &Url,
        access: Access,
        headers: HeaderMap,
        body: &Body,
    ) -> Result<Answer<'_>, Error> {
        let host = host_of(url);
        let client = self.client(&host, access)?;
        let moved = Arc::<AtomicU64>::default();
        let mut request = client.request(method, url.clone()).headers(headers);
        request = match body {
            Body::Empty => request,
            Body::Bytes(bytes) => request.body(bytes.clone()),
            // Said aloud, because registries refuse a body of unknown length.
            Body::Part(part) => {
                request.header(CONTENT_LENGTH, part.length).body(reqwest::Body::wrap(Sending {
                    part: part.clone(),
                    done: 0,
                    moved: Arc::clone(&moved),
                }))
            }
        };
        let is_wanted = || match body {
            Body::Part(part) => (part.sent)(0).is_ok(),
            Body::Empty | Body::Bytes(_) => true,
        };
        match self.wait(request.send(), &moved, is_wanted) {
            Some(Ok(inner)) => Ok(Answer { http: self, host, inner }),
            Some(Err(error)) => Err(network(&host, error)),
            None => Err(self.silent(&host)),
        }
    }

    /// Waits for what may take as long as it likes while `moved` grows; `None` after a silence, or when it is not wanted
    /// any more. (The client's own read timeout would hold for all that is sent together.)
    fn wait<T>(
        &self,
        future: impl Future<Output = T>,
        moved: &AtomicU64,
        is_wanted: impl Fn() -> bool,
    ) -> Option<T> {
        self.runtime.block_on(async {
            let mut future = std::pin::pin!(future);
            let (mut before, mut since) = (moved.load(Ordering::Relaxed), Instant::now());
            loop {
                if let Ok(done) = tokio::time::timeout(self.silence.min(LOOK_EVERY), &mut future).await {
                    return Some(done);
                }
                let now = moved.load(Ordering::Relaxed);
                if now != before {
                    (before, since) = (now, Instant::now());
                }
                if since.elapsed() >= self.silence || !is_wanted() {
                    return None;
                }
            }
        })
    }

    fn silent(&self, host: &str) -> Error {
        let text = format!("nothing came for {} s", self.silence.as_secs());
        Error::Network { host: host.to_owned(), problem: Problem::Timeout, source: text.into() }
    }

    fn client(&self, host: &str, access: Access) -> Result<reqwest::Client, Error> {
        let key = (host.to_owned(), access);
        if let Some(known) = lock(&self.clients).get(&key) {
            return Ok(known.clone());
        }
        // Not under the lock: reading certificates takes a while. Made twice in a race, it works twice.
        let trust = if access == Access::Http { Trust::default() } else { self.certificates.of(host)? };
        let client = build(access, &trust).map_err(|error| Error::Setup(Box::new(error)))?;
        let mut clients = lock(&self.clients);
        Ok(clients.entry(key).or_insert(client).clone())
    }
}

fn build(access: Access, trust: &Trust) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(Policy::none())
        .referer(false)
        .user_agent(USER_AGENT);
    for authority in &trust.authorities {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(authority)?);
    }
    if let Some(identity) = &trust.identity {
        builder = builder.identity(reqwest::Identity::from_pem(identity)?);
    }
    match access {
        Access::Https => builder,
        Access::HttpsUnverified => builder.tls_danger_accept_invalid_certs(true),
        // No proxy can reach this machine's loopback. Reading all authorities of the system takes longer than a short
        // request.
        Access::Http => builder.no_proxy().tls_certs_only([]),
    }
    .build()
}

impl Answer<'_> {
    pub(in super::super) fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    pub(in super::super) fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Returns a header that is text.
    pub(in super::super) fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Returns what was asked last, after all redirects.
    pub(in super::super) fn url(&self) -> &Url {
        self.inner.url()
    }

    /// Waits for more bytes; `None` at the end.
    pub(in super::super) fn next(&mut self) -> Option<Result<Bytes, Error>> {
        match self.http.wait(self.inner.chunk(), &AtomicU64::new(0), || true) {
            Some(piece) => piece.transpose().map(|piece| piece.map_err(|error| network(&self.host, error))),
            None => Some(Err(self.http.silent(&self.host))),
        }
    }

    /// Reads the whole body, or as much of it as shows that it has more than `limit` bytes.
    pub(in super::super) fn read(mut self, limit: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next() {
            bytes.extend_from_slice(&piece?);
            if bytes.len() as u64 > limit {
                break;
            }
        }
        Ok(bytes)
    }
}

/// A part of a file on its way out.
struct Sending {
    part: Part,
    done: u64,
    /// The bytes that went out, for whoever waits.
    moved: Arc<AtomicU64>,
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let length = PIECE_BYTES.min(self.part.length - self.done);
        if length == 0 {
            return Poll::Ready(None);
        }
        // Blocks a thread of a runtime that serves nobody else, for one read.
        let mut piece = vec![0; usize::try_from(length).expect("a piece is small")];
        if let Err(error) = self.part.file.read_exact_at(&mut piece, self.part.offset + self.done) {
            return Poll::Ready(Some(Err(error)));
        }
        self.done += length;
        self.moved.fetch_add(length, Ordering::Relaxed);
        if let Err(error) = (self.part.sent)(length) {
            return Poll::Ready(Some(Err(error)));
        }
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.done == self.part.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.part.length - self.done)
    }
}

/// Returns the host with its port, if it is not the scheme's own.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn network(host: &str, error: reqwest::Error) -> Error {
    // Addresses may hold signatures of storage services.
    let error = error.without_url();
    Error::Network { host: host.to_owned(), problem: Problem::of(&error), source: Box::new(error) }
}
