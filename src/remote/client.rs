//! The HTTP client: one request, one answer. The only file of the room that knows the asynchronous runtime.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use tokio::runtime::Runtime;

use super::{Error, credentials};
use crate::address;
use crate::secret::Secrets;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Between two pieces of an answer, not for the whole of it.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// As many as Go's client, which BuildKit uses, follows.
const REDIRECT_LIMIT: usize = 10;

const USER_AGENT: &str = concat!("kiln/", env!("CARGO_PKG_VERSION"));

/// Made when the first request is: most builds send none.
#[derive(Debug)]
pub(super) struct Client {
    connections: Mutex<Option<Arc<Connections>>>,
    secrets: Secrets,
}

#[derive(Debug)]
struct Connections {
    runtime: Runtime,
    direct: reqwest::Client,
    proxied: reqwest::Client,
}

/// What a server answered: the head, and the body to be read.
pub(super) struct Response {
    connections: Arc<Connections>,
    host: String,
    inner: reqwest::Response,
}

impl Client {
    /// Makes a client that knows credentials.
    pub(super) const fn new(secrets: Secrets) -> Self {
        Self { connections: Mutex::new(None), secrets }
    }

    /// Sends a GET request; redirects are followed, and no credentials for `url` go to another host.
    pub(super) fn get(&self, url: &str, headers: &[(HeaderName, String)]) -> Result<Response, Error> {
        let connections = self.connections()?;
        let invalid = |reason: String| Error::Protocol { url: address::redacted(url), reason };
        let parsed = reqwest::Url::parse(url).map_err(|error| invalid(error.to_string()))?;
        let host = parsed.host_str().unwrap_or_default().to_owned();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|error| invalid(error.to_string()))?;
            map.insert(name, value);
        }
        if let Some(value) = credentials::of_download(&self.secrets, url) {
            let mut value = HeaderValue::from_bytes(&value)
                .map_err(|_| invalid("the secret for this host is no value of a header".to_owned()))?;
            value.set_sensitive(true);
            map.insert(header::AUTHORIZATION, value);
        }
        // No proxy can reach this machine's loopback.
        let client = if address::is_loopback(&host) { &connections.direct } else { &connections.proxied };
        let answer = connections.runtime.block_on(async { client.get(parsed).headers(map).send().await });
        match answer {
            Ok(inner) => Ok(Response { connections, host, inner }),
            Err(error) if error.is_redirect() => {
                Err(invalid(format!("stopped after {REDIRECT_LIMIT} redirects")))
            }
            Err(error) => Err(Error::Network { host, source: error.without_url().into() }),
        }
    }

    fn connections(&self) -> Result<Arc<Connections>, Error> {
        let mut made = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connections) = &*made {
            return Ok(connections.clone());
        }
        // Fails only if the program has chosen a provider already, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("download")
            .enable_all()
            .build()
            .map_err(|error| Error::Setup(error.into()))?;
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .redirect(Policy::limited(REDIRECT_LIMIT))
                .referer(false)
                .user_agent(USER_AGENT)
        };
        let direct = builder().no_proxy().build().map_err(|error| Error::Setup(error.into()))?;
        let proxied = builder().build().map_err(|error| Error::Setup(error.into()))?;
        Ok(made.insert(Arc::new(Connections { runtime, direct, proxied })).clone())
    }
}

impl Response {
    pub(super) fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// Returns a header that is text.
    pub(super) fn header(&self, name: &HeaderName) -> Option<String> {
        self.inner.headers().get(name)?.to_str().ok().map(str::to_owned)
    }

    /// Waits for more of the body; `None` at its end.
    pub(super) fn chunk(&mut self) -> Result<Option<impl AsRef<[u8]> + use<>>, Error> {
        self.connections
            .runtime
            .block_on(self.inner.chunk())
            .map_err(|error| Error::Network { host: self.host.clone(), source: error.without_url().into() })
    }
}
