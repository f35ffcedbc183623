//! What is presented to a host: nothing, a password, or a token of its token server (distribution-spec's
//! `token authentication`, OAuth2 for identity tokens).
//!
//! A host is first asked without; its challenge is remembered, so that later requests bring what it wants at once.
//! Tokens are kept per set of scopes until shortly before they end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::super::credentials::{Credential, Credentials};
use super::super::error::{Action, Error, excerpt};
use super::super::hosts::{Access, Endpoint};
use super::super::lock;
use super::http::{Body, Http, host_of};
use super::{protocol, said};

/// How long a token lives whose server does not say (distribution's token specification).
const DEFAULT_LIFE: Duration = Duration::from_secs(60);

/// A token is not used in the last moments of its life: the request takes time too.
const MARGIN: Duration = Duration::from_secs(10);

/// A token server's answer that is longer is none.
const ANSWER_LIMIT: u64 = 1 << 20;

/// Who asks, for the token server's log.
const CLIENT_ID: &str = "kiln";

/// What has to be allowed: actions per resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    /// Reading a repository.
    pub(in super::super) fn pull(repository: &str) -> Self {
        Self::default().and(&format!("repository:{repository}"), ["pull"])
    }

    /// Writing to a repository, which includes reading.
    pub(in super::super) fn push(repository: &str) -> Self {
        Self::default().and(&format!("repository:{repository}"), ["pull", "push"])
    }

    /// Deleting in a repository.
    pub(in super::super) fn delete(repository: &str) -> Self {
        Self::default().and(&format!("repository:{repository}"), ["pull", "delete"])
    }

    /// Also reading another repository, from which blobs are mounted.
    #[must_use]
    pub(in super::super) fn and_pull(self, repository: &str) -> Self {
        self.and(&format!("repository:{repository}"), ["pull"])
    }

    fn and<'a>(mut self, resource: &str, actions: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.entry(resource.to_owned()).or_default().extend(actions.into_iter().map(str::to_owned));
        self
    }

    /// Adds the scopes of a challenge: `repository:a/b:pull,push registry:catalog:*`.
    fn and_text(mut self, text: &str) -> Self {
        for scope in text.split_whitespace() {
            if let Some((resource, actions)) = scope.rsplit_once(':') {
                self = self.and(resource, actions.split(','));
            }
        }
        self
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (resource, actions)) in self.0.iter().enumerate() {
            let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
            write!(f, "{}{resource}:{}", if index > 0 { " " } else { "" }, actions.join(","))?;
        }
        Ok(())
    }
}

/// What a host wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: String },
}

impl Challenge {
    /// Finds the challenge that kiln can answer best among those of an answer.
    fn among(headers: &HeaderMap) -> Option<Self> {
        let mut best = None;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            for challenge in http_auth::parse_challenges(value.to_str().ok()?).ok()? {
                let parameter = |name: &str| {
                    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    let scope = parameter("scope").unwrap_or_default();
                    return Some(Self::Bearer {
                        realm: parameter("realm")?,
                        service: parameter("service"),
                        scope,
                    });
                }
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    best = Some(Self::Basic);
                }
            }
        }
        best
    }
}

/// What is known of all hosts.
pub(super) struct Authority {
    credentials: Credentials,
    hosts: Mutex<HashMap<(String, Access), SharedState>>,
}

type SharedState = Arc<Mutex<HostState>>;

#[derive(Default)]
struct HostState {
    challenge: Option<Challenge>,
    tokens: HashMap<(String, Scopes), Token>,
}

struct Token {
    header: HeaderValue,
    until: Instant,
}

impl Authority {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, hosts: Mutex::default() }
    }

    /// Returns what to present, as far as the host has said what it wants.
    pub(super) fn known(
        &self,
        http: &Http,
        endpoint: &Endpoint,
        scopes: &Scopes,
    ) -> Result<Option<HeaderValue>, Error> {
        let state = self.state(endpoint);
        let mut state = lock(&state);
        let Some(challenge) = state.challenge.clone() else { return Ok(None) };
        self.present(http, endpoint, scopes, &challenge, &mut state)
    }

    /// Returns what to present after a 401, whose challenge is in `headers`. What was presented before is
    /// thrown away.
    pub(super) fn challenged(
        &self,
        http: &Http,
        endpoint: &Endpoint,
        scopes: &Scopes,
        headers: &HeaderMap,
    ) -> Result<Option<HeaderValue>, Error> {
        let Some(challenge) = Challenge::among(headers) else { return Ok(None) };
        let state = self.state(endpoint);
        let mut state = lock(&state);
        if state.challenge.is_some() {
            state.tokens.remove(&(endpoint.repository.clone(), scopes.clone()));
        }
        state.challenge = Some(challenge.clone());
        self.present(http, endpoint, scopes, &challenge, &mut state)
    }

    /// One lock per host: while one thread asks for a token, the others that need it wait for it.
    fn state(&self, endpoint: &Endpoint) -> SharedState {
        lock(&self.hosts).entry((endpoint.host.clone(), endpoint.access)).or_default().clone()
    }

    fn present(
        &self,
        http: &Http,
        endpoint: &Endpoint,
        scopes: &Scopes,
        challenge: &Challenge,
        state: &mut HostState,
    ) -> Result<Option<HeaderValue>, Error> {
        let key = (endpoint.repository.clone(), scopes.clone());
        if let Some(token) = state.tokens.get(&key)
            && Instant::now() < token.until
        {
            return Ok(Some(token.header.clone()));
        }
        let credential = self.credentials.find(&endpoint.host, &endpoint.repository)?;
        match (challenge, credential) {
            (_, Some(Credential::RegistryToken(token))) => secret("Bearer", &token).map(Some),
            (Challenge::Basic, None) => Ok(None),
            (Challenge::Basic, Some(Credential::Password { user, password })) => {
                basic(&user, &password).map(Some)
            }
            (Challenge::Basic, Some(Credential::IdentityToken(_))) => {
                Err(Error::IdentityToken { host: endpoint.host.clone() })
            }
            (Challenge::Bearer { realm, service, scope }, credential) => {
                let realm = realm_of(endpoint, realm)?;
                // What the challenge names may be more than what the request is known to need.
                let scopes =
                    if scopes.0.is_empty() { Scopes::default() } else { scopes.clone().and_text(scope) };
                let token = ask(http, endpoint, &realm, service.as_deref(), &scopes, credential)?;
                let header = token.header.clone();
                state.tokens.insert(key, token);
                Ok(Some(header))
            }
        }
    }
}

/// Decides whether a token server may be asked: what it gets is a password.
fn realm_of(endpoint: &Endpoint, realm: &str) -> Result<Url, Error> {
    let url = Url::parse(realm)
        .map_err(|error| protocol(endpoint, format!("the token server `{realm}`: {error}")))?;
    match (url.scheme(), endpoint.access) {
        ("https", _) | ("http", Access::Http | Access::HttpsUnverified) => Ok(url),
        _ => Err(protocol(endpoint, format!("its token server {} is not reached with TLS", host_of(&url)))),
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

/// Asks a token server. A password goes by GET as docker sends it; an identity token is exchanged by POST.
fn ask(
    http: &Http,
    endpoint: &Endpoint,
    realm: &Url,
    service: Option<&str>,
    scopes: &Scopes,
    credential: Option<Credential>,
) -> Result<Token, Error> {
    let mut url = realm.clone();
    let mut headers = HeaderMap::new();
    let scope = scopes.to_string();
    let (method, body) = match credential {
        Some(Credential::IdentityToken(token)) => {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", &token);
            form.append_pair("client_id", CLIENT_ID).append_pair("service", service.unwrap_or_default());
            if !scope.is_empty() {
                form.append_pair("scope", &scope);
            }
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            let form = form.finish();
            (Method::POST, Body::Bytes(form.into()))
        }
        other => {
            if let Some(Credential::Password { user, password }) = other {
                headers.insert(AUTHORIZATION, basic(&user, &password)?);
            }
            if let Some(service) = service {
                url.query_pairs_mut().append_pair("service", service);
            }
            for scope in scope.split_whitespace() {
                url.query_pairs_mut().append_pair("scope", scope);
            }
            url.query_pairs_mut().append_pair("client_id", CLIENT_ID);
            (Method::GET, Body::Empty)
        }
    };
    let access = if url.scheme() == "http" { Access::Http } else { token_server_access(endpoint, &url) };
    let asked = Instant::now();
    let answer = http.send(method, &url, access, headers, &body)?;
    let status = answer.status();
    let body = answer.read(ANSWER_LIMIT)?;
    if status != 200 {
        return Err(Error::Status {
            action: Action::LogIn,
            status,
            host: host_of(&url),
            repository: endpoint.repository.clone(),
            reference: String::new(),
            body: said(&body),
            retry_after: None,
        });
    }
    // The parser's message could quote what may be a token.
    let answer: TokenAnswer = serde_json::from_slice(&body)
        .map_err(|_| protocol(endpoint, format!("the token server {} sent no token", host_of(&url))))?;
    let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
    if token.is_empty() {
        return Err(protocol(endpoint, format!("the token server {} sent no token", host_of(&url))));
    }
    let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).max(DEFAULT_LIFE);
    Ok(Token { header: secret("Bearer", &token)?, until: asked + life.saturating_sub(MARGIN) })
}

/// The token server of a host that is not verified is not verified either, if it is the same host.
fn token_server_access(endpoint: &Endpoint, url: &Url) -> Access {
    if host_of(url) == endpoint.host { endpoint.access } else { Access::Https }
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, Error> {
    secret("Basic", &STANDARD.encode(format!("{user}:{password}")))
}

fn secret(scheme: &str, value: &str) -> Result<HeaderValue, Error> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {value}"))
        .map_err(|_| Error::Setup(excerpt("a token holds letters that no header may hold").into()))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_sorted_sets() {
        let scopes = Scopes::push("a/b").and_pull("c").and_text("repository:a/b:pull registry:catalog:*");
        assert_eq!(scopes.to_string(), "registry:catalog:* repository:a/b:pull,push repository:c:pull");
        assert_eq!(Scopes::default().to_string(), "");
    }

    #[test]
    fn the_best_challenge_is_taken() {
        let bearer = |scope: &str| {
            Some(Challenge::Bearer {
                realm: "https://t/".into(),
                service: Some("s".into()),
                scope: scope.into(),
            })
        };
        for (values, expected) in [
            (&["Basic realm=\"x\""][..], Some(Challenge::Basic)),
            (&["BASIC realm=x", r#"Bearer realm="https://t/",service="s""#], bearer("")),
            (
                &[r#"Bearer realm="https://t/",service="s",scope="repository:a:pull,push""#],
                bearer("repository:a:pull,push"),
            ),
            (&["Negotiate"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(Challenge::among(&headers), expected, "{values:?}");
        }
    }

    #[test]
    fn a_password_is_not_sent_without_tls() {
        let endpoint = |access| Endpoint { host: "h".into(), repository: "r".into(), access };
        for (access, realm, allowed) in [
            (Access::Https, "https://auth.example/token", true),
            (Access::Https, "http://auth.example/token", false),
            (Access::Http, "http://127.0.0.1:1/token", true),
            (Access::Https, "nothing", false),
        ] {
            assert_eq!(realm_of(&endpoint(access), realm).is_ok(), allowed, "{realm}");
        }
    }
}
