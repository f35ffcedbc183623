//! The transport: every request that kiln sends to a registry goes through here.
//!
//! In: an [`Endpoint`] and a [`Request`]. Out: an [`Answer`], or an [`Error`] in kiln's terms.
//!
//! ```text
//! request -> auth: what to present     what is known of the host; a challenge is answered once
//!         -> http: one request         TLS, proxies, bytes
//!         -> redirects                 followed here, so that nothing secret follows them
//! ```
//!
//! Rules:
//! - A credential or a token goes to the endpoint's own host, or to the token server that this host names, and
//!   nowhere else: not to a redirect's host, not to the host of an upload's address.
//! - No step from https down to http, unless the endpoint may be spoken to without TLS.
//! - No retries here: one call, one answer. [`super::retry`] decides.
//! - Nothing is trusted: documents and blobs are verified by whoever stores them.

mod auth;
mod http;

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
pub(super) use reqwest::{Method, Url, header};

use self::auth::Authority;
pub(super) use self::auth::Scopes;
use self::http::Http;
pub(super) use self::http::{Answer, Body, Part};
use super::certificates::Certificates;
use super::credentials::Credentials;
use super::error::{Action, BODY_LIMIT, Error, excerpt, retry_after};
use super::hosts::{Access, Endpoint};
use crate::reference::DEFAULT_REGISTRY;

/// What a registry says of the bytes that it serves or has taken.
pub(super) const CONTENT_DIGEST: header::HeaderName =
    header::HeaderName::from_static("docker-content-digest");

/// As many as Go's client follows.
const REDIRECT_LIMIT: usize = 10;

/// Where Docker Hub's registry really is.
const DOCKER_HUB_API: &str = "registry-1.docker.io";

/// The one way to all registries.
pub(super) struct Transport {
    http: Http,
    authority: Authority,
}

/// One request to an endpoint.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    /// What has to be allowed for it.
    pub(super) scopes: Scopes,
    /// What it is for and what it is about: for messages.
    pub(super) action: Action,
    pub(super) about: String,
}

impl Request {
    /// A request below the endpoint's repository: `path` follows `/v2/<name>/`.
    pub(super) fn new(method: Method, endpoint: &Endpoint, path: &str, about: &str) -> Self {
        let url = base(endpoint).join(&format!("v2/{}/{path}", endpoint.repository));
        let url = url.expect("repositories, tags and digests are made of letters that addresses may hold");
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Body::Empty,
            scopes: Scopes::pull(&endpoint.repository),
            action: Action::Read,
            about: about.to_owned(),
        }
    }

    /// A request that writes.
    pub(super) fn push(method: Method, endpoint: &Endpoint, path: &str, about: &str) -> Self {
        let scopes = Scopes::push(&endpoint.repository);
        Self { scopes, action: Action::Write, ..Self::new(method, endpoint, path, about) }
    }

    /// Asks for the version of the protocol: the one request that is about no repository.
    pub(super) fn version(endpoint: &Endpoint) -> Self {
        let url = base(endpoint).join("v2/").expect("a constant path");
        let request = Self::new(Method::GET, endpoint, "", "");
        Self { url, scopes: Scopes::default(), action: Action::LogIn, ..request }
    }

    /// Says aloud that there is no body: registries refuse a request of unknown length.
    #[must_use]
    pub(super) fn empty(self) -> Self {
        self.header(header::CONTENT_LENGTH, "0")
    }

    #[must_use]
    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

impl Transport {
    /// Nothing may move for as long as `silence`.
    pub(super) fn new(
        credentials: Credentials,
        certificates: Certificates,
        silence: Duration,
    ) -> Result<Self, Error> {
        Ok(Self { http: Http::new(certificates, silence)?, authority: Authority::new(credentials) })
    }

    /// Sends a request, answers a challenge, follows redirects. Any status below 400 is an answer.
    pub(super) fn send(&self, endpoint: &Endpoint, request: &Request) -> Result<Answer<'_>, Error> {
        let mut presented = self.authority.known(&self.http, endpoint, &request.scopes)?;
        let mut answer = self.follow(endpoint, request, presented.as_ref())?;
        // Another host's challenge is none: it could name a token server of its own, which would get the password.
        if answer.status() == 401 && answer.url().origin() == base(endpoint).origin() {
            // Twice at most: a token may have run out, or the host asks for more than it did before.
            let renewed =
                self.authority.challenged(&self.http, endpoint, &request.scopes, answer.headers())?;
            if renewed.is_some() && renewed != presented {
                presented = renewed;
                answer = self.follow(endpoint, request, presented.as_ref())?;
            }
        }
        if answer.status() < 400 { Ok(answer) } else { Err(refusal(endpoint, request, answer)) }
    }

    fn follow(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        authorization: Option<&HeaderValue>,
    ) -> Result<Answer<'_>, Error> {
        let own = base(endpoint).origin();
        let (mut method, mut url, mut body) =
            (request.method.clone(), request.url.clone(), request.body.clone());
        for _ in 0..=REDIRECT_LIMIT {
            let mut headers = request.headers.clone();
            let at_home = url.origin() == own;
            if let Some(authorization) = authorization.filter(|_| at_home) {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let access = access_to(endpoint, &url, at_home)?;
            let answer = self.http.send(method.clone(), &url, access, headers, &body)?;
            let Some(next) = redirected_to(&answer) else { return Ok(answer) };
            if answer.status() == 303 && method != Method::HEAD {
                (method, body) = (Method::GET, Body::Empty);
            }
            url = next;
        }
        Err(protocol(endpoint, format!("it redirects more than {REDIRECT_LIMIT} times")))
    }
}

/// Returns where an answer sends the client on. 201 and 202 have a location too, which is none to follow.
fn redirected_to(answer: &Answer<'_>) -> Option<Url> {
    matches!(answer.status(), 301 | 302 | 303 | 307 | 308)
        .then(|| answer.header(&LOCATION))?
        .and_then(|location| answer.url().join(location).ok())
}

/// Decides how a host is spoken to: the endpoint's own as it is configured, others with verified TLS, unless the
/// endpoint itself does without.
fn access_to(endpoint: &Endpoint, url: &Url, at_home: bool) -> Result<Access, Error> {
    match (url.scheme(), endpoint.access) {
        (_, access) if at_home => Ok(access),
        ("https", _) => Ok(Access::Https),
        ("http", Access::Http | Access::HttpsUnverified) => Ok(Access::Http),
        (scheme, _) => {
            Err(protocol(endpoint, format!("it sends us on to another host by {scheme}, without TLS")))
        }
    }
}

/// Returns the root of the endpoint's host.
fn base(endpoint: &Endpoint) -> Url {
    let host = if endpoint.host == DEFAULT_REGISTRY { DOCKER_HUB_API } else { &endpoint.host };
    let scheme = if endpoint.access == Access::Http { "http" } else { "https" };
    Url::parse(&format!("{scheme}://{host}/")).expect("a host was checked when its name was parsed")
}

/// Makes an error of an answer that is one.
fn refusal(endpoint: &Endpoint, request: &Request, answer: Answer<'_>) -> Error {
    let status = answer.status();
    let retry_after = answer.header(&RETRY_AFTER).and_then(|text| retry_after(text, answer.header(&DATE)));
    // Whoever cannot say why has said enough.
    let body = answer.read(BODY_LIMIT as u64 * 4).unwrap_or_default();
    Error::Status {
        action: request.action,
        status,
        host: endpoint.host.clone(),
        repository: endpoint.repository.clone(),
        reference: request.about.clone(),
        body: said(&body),
        retry_after,
    }
}

/// Returns what an error's body says: its messages, if it has the specification's form.
fn said(body: &[u8]) -> String {
    let Ok(envelope) = serde_json::from_slice::<oci_client::errors::OciEnvelope>(body) else {
        return excerpt(&String::from_utf8_lossy(body));
    };
    let messages: Vec<&str> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
    excerpt(&messages.join("; "))
}

pub(super) fn protocol(endpoint: &Endpoint, reason: String) -> Error {
    Error::Protocol {
        host: endpoint.host.clone(),
        repository: endpoint.repository.clone(),
        reason: excerpt(&reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(access: Access) -> Endpoint {
        Endpoint { host: "h.example".into(), repository: "a/b".into(), access }
    }

    #[test]
    fn requests_go_below_the_repository() {
        for (host, access, expected) in [
            ("h.example", Access::Https, "https://h.example/v2/a/b/tags/list"),
            ("docker.io", Access::Https, "https://registry-1.docker.io/v2/a/b/tags/list"),
            ("localhost:5000", Access::Http, "http://localhost:5000/v2/a/b/tags/list"),
            ("[::1]:5000", Access::Http, "http://[::1]:5000/v2/a/b/tags/list"),
        ] {
            let endpoint = Endpoint { host: host.into(), ..endpoint(access) };
            assert_eq!(Request::new(Method::GET, &endpoint, "tags/list", "").url.as_str(), expected);
        }
    }

    #[test]
    fn other_hosts_are_spoken_to_with_tls() {
        for (access, url, expected) in [
            (Access::Https, "https://cdn.example/x", Some(Access::Https)),
            (Access::Https, "http://cdn.example/x", None),
            (Access::Https, "http://h.example/x", None),
            (Access::Http, "http://cdn.example/x", Some(Access::Http)),
            (Access::HttpsUnverified, "https://cdn.example/x", Some(Access::Https)),
        ] {
            let result = access_to(&endpoint(access), &Url::parse(url).unwrap(), false);
            assert_eq!(result.ok(), expected, "{access:?} {url}");
        }
    }

    #[test]
    fn bodies_of_errors_are_read_in_the_form_of_the_specification() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"no"},{"code":"X","message":"never"}]}"#, "no; never"),
            ("<html>\n down", "<html> down"),
            ("", ""),
        ] {
            assert_eq!(said(body.as_bytes()), expected);
        }
    }
}
