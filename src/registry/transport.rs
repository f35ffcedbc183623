//! The transport: every request that kiln sends to a registry goes through here.
//!
//! In: an [`Endpoint`] and what is wanted of it. Out: bytes, or an [`Error`] in kiln's terms. This is the only
//! file that knows oci-client, TLS and the asynchronous runtime; it is also the only one that puts
//! credentials on a request.
//!
//! Rules:
//! - One client per endpoint, so a credential cannot reach another host or repository by a shared table, and
//!   connections are reused for all blobs of an image.
//! - A challenge is answered before the first request, because oci-client drops the reason when a token is
//!   refused later.
//! - No retries here: one call, one answer. [`super::retry`] decides.
//! - Nothing is trusted: documents and blobs are verified by whoever stores them.
//!
//! oci-client shows no response headers: `Retry-After` cannot be followed, and the content range of a resumed
//! blob cannot be checked; its digest is.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol, SizedStream};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, RegistryOperation};
use tokio::runtime::Runtime;

use super::credentials::{Credential, Credentials};
use super::error::{Error, Problem, excerpt};
use super::hosts::{Access, Endpoint};
use crate::digest::Digest;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Between two pieces of an answer, not for the whole of it.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Connections are driven here; whoever waits does so on a thread of its own.
const WORKER_THREADS: usize = 2;

const USER_AGENT: &str = concat!("kiln/", env!("CARGO_PKG_VERSION"));

/// Every kind of document that [`crate::assemble::parse`] reads.
const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

pub(super) struct Transport {
    runtime: Runtime,
    credentials: Credentials,
    clients: Mutex<HashMap<Endpoint, (Client, RegistryAuth)>>,
}

/// A blob that is coming in.
pub(super) struct Download<'t> {
    transport: &'t Transport,
    endpoint: &'t Endpoint,
    digest: Digest,
    stream: SizedStream,
    /// The offset of the first byte: what was asked for, or 0 if the registry knows no ranges.
    pub(super) offset: u64,
}

impl Transport {
    pub(super) fn new(credentials: Credentials) -> Result<Self, Error> {
        // Fails only if the program has chosen a provider already, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .thread_name("registry")
            .enable_all()
            .build()
            .map_err(|error| Error::Setup(Box::new(error)))?;
        Ok(Self { runtime, credentials, clients: Mutex::default() })
    }

    /// Asks which manifest or index a tag names. A HEAD request, which rate limits do not count as a pull.
    pub(super) fn digest_of_tag(&self, endpoint: &Endpoint, tag: &str) -> Result<Digest, Error> {
        let (client, auth) = self.client(endpoint)?;
        let name = name_of(endpoint, tag);
        let digest = self
            .runtime
            .block_on(client.fetch_manifest_digest(&name, &auth))
            .map_err(|error| failure(endpoint, tag, error))?;
        digest.parse().map_err(|_| Error::Protocol {
            host: endpoint.host.clone(),
            repository: endpoint.repository.clone(),
            reason: format!("`{}` is not a sha256 digest", excerpt(&digest)),
        })
    }

    /// Reads a manifest or an index.
    pub(super) fn manifest(&self, endpoint: &Endpoint, digest: &Digest) -> Result<Vec<u8>, Error> {
        let (client, auth) = self.client(endpoint)?;
        let reference = digest.to_string();
        let name = name_of(endpoint, &reference);
        let (bytes, _) = self
            .runtime
            .block_on(client.pull_manifest_raw(&name, &auth, &MANIFEST_TYPES))
            .map_err(|error| failure(endpoint, &reference, error))?;
        Ok(bytes.to_vec())
    }

    /// Begins to read a blob at `offset`, or at its beginning if the registry knows no ranges.
    pub(super) fn blob<'t>(
        &'t self,
        endpoint: &'t Endpoint,
        digest: Digest,
        offset: u64,
    ) -> Result<Download<'t>, Error> {
        let (client, _) = self.client(endpoint)?;
        let reference = digest.to_string();
        let name = name_of(endpoint, &reference);
        let answer = self.runtime.block_on(async {
            if offset == 0 {
                return client.pull_blob_stream(&name, reference.as_str()).await.map(|stream| (stream, 0));
            }
            match client.pull_blob_stream_partial(&name, reference.as_str(), offset, None).await? {
                BlobResponse::Partial(stream) => Ok((stream, offset)),
                BlobResponse::Full(stream) => Ok((stream, 0)),
            }
        });
        let (stream, offset) = answer.map_err(|error| failure(endpoint, &reference, error))?;
        Ok(Download { transport: self, endpoint, digest, stream, offset })
    }

    /// Returns the endpoint's client, made and authorized at first use.
    fn client(&self, endpoint: &Endpoint) -> Result<(Client, RegistryAuth), Error> {
        let known = self.clients.lock().unwrap_or_else(PoisonError::into_inner).get(endpoint).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        // Not under the lock: a slow host must not hold up the others. Made twice in a race, it works twice.
        let auth = self.present(endpoint)?;
        let client = Client::try_from(client_config(endpoint.access))
            .map_err(|error| Error::Setup(Box::new(error)))?;
        self.runtime
            .block_on(client.auth(&name_of(endpoint, "latest"), &auth, RegistryOperation::Pull))
            .map_err(|error| failure(endpoint, "latest", error))?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(clients.entry(endpoint.clone()).or_insert((client, auth)).clone())
    }

    fn present(&self, endpoint: &Endpoint) -> Result<RegistryAuth, Error> {
        Ok(match self.credentials.find(&endpoint.host, &endpoint.repository)? {
            None => RegistryAuth::Anonymous,
            Some(Credential::Password { user, password }) => RegistryAuth::Basic(user, password),
            Some(Credential::RegistryToken(token)) => RegistryAuth::Bearer(token),
            Some(Credential::IdentityToken(_)) => {
                return Err(Error::IdentityToken { host: endpoint.host.clone() });
            }
        })
    }
}

impl Download<'_> {
    /// Waits for more bytes; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Result<impl AsRef<[u8]> + use<>, Error>> {
        let piece = self.transport.runtime.block_on(self.stream.next())?;
        Some(piece.map_err(|error| self.failure(error)))
    }

    fn failure(&self, error: std::io::Error) -> Error {
        let mismatch = error.get_ref().and_then(|inner| inner.downcast_ref::<DigestError>());
        match mismatch {
            Some(mismatch) => wrong_bytes(self.endpoint, self.digest, mismatch),
            None => Error::Network {
                host: self.endpoint.host.clone(),
                problem: Problem::of(&error),
                source: Box::new(error),
            },
        }
    }
}

fn client_config(access: Access) -> ClientConfig {
    let mut config = ClientConfig {
        protocol: if access == Access::Http { ClientProtocol::Http } else { ClientProtocol::Https },
        accept_invalid_certificates: access == Access::HttpsUnverified,
        connect_timeout: Some(CONNECT_TIMEOUT),
        read_timeout: Some(READ_TIMEOUT),
        user_agent: USER_AGENT,
        ..ClientConfig::default()
    };
    if access == Access::Http {
        // Naming any proxy turns the environment's proxies off: none of them can reach this machine's
        // loopback. This one is for no host.
        config.https_proxy = Some("http://localhost:1".into());
        config.no_proxy = Some("*".into());
    }
    config
}

fn name_of(endpoint: &Endpoint, reference: &str) -> oci_client::Reference {
    let (host, repository) = (endpoint.host.clone(), endpoint.repository.clone());
    if reference.contains(':') {
        oci_client::Reference::with_digest(host, repository, reference.to_owned())
    } else {
        oci_client::Reference::with_tag(host, repository, reference.to_owned())
    }
}

fn failure(endpoint: &Endpoint, reference: &str, error: OciDistributionError) -> Error {
    let status = |status: u16, body: &str| Error::Status {
        status,
        host: endpoint.host.clone(),
        repository: endpoint.repository.clone(),
        reference: reference.to_owned(),
        body: excerpt(body),
    };
    match error {
        OciDistributionError::ServerError { code, message, .. } => status(code, &message),
        OciDistributionError::UnauthorizedError { .. } => status(401, ""),
        OciDistributionError::AuthenticationFailure(reason) => status(401, &reason),
        OciDistributionError::RegistryError { envelope, .. } => {
            let code = envelope.errors.first().map_or(400, |error| status_of(&error.code));
            let messages: Vec<&str> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
            status(code, &messages.join("; "))
        }
        OciDistributionError::DigestError(mismatch) => match reference.parse() {
            Ok(digest) => wrong_bytes(endpoint, digest, &mismatch),
            Err(_) => protocol(endpoint, mismatch.to_string()),
        },
        OciDistributionError::RequestError(error) => match error.status() {
            Some(code) => status(code.as_u16(), ""),
            None => Error::Network {
                host: endpoint.host.clone(),
                problem: Problem::of(&error),
                source: Box::new(error),
            },
        },
        other => protocol(endpoint, other.to_string()),
    }
}

fn wrong_bytes(endpoint: &Endpoint, digest: Digest, mismatch: &DigestError) -> Error {
    let actual = match mismatch {
        DigestError::VerificationError { actual, .. } => actual.clone(),
        other => other.to_string(),
    };
    Error::Mismatch {
        host: endpoint.host.clone(),
        repository: endpoint.repository.clone(),
        digest,
        actual: excerpt(&actual),
    }
}

fn protocol(endpoint: &Endpoint, reason: String) -> Error {
    Error::Protocol {
        host: endpoint.host.clone(),
        repository: endpoint.repository.clone(),
        reason: excerpt(&reason),
    }
}

/// The status that goes with an error code of the distribution specification: oci-client keeps only the code.
const fn status_of(code: &OciErrorCode) -> u16 {
    match code {
        OciErrorCode::Unauthorized => 401,
        OciErrorCode::Denied => 403,
        OciErrorCode::BlobUnknown
        | OciErrorCode::BlobUploadUnknown
        | OciErrorCode::ManifestUnknown
        | OciErrorCode::ManifestBlobUnknown
        | OciErrorCode::NameUnknown
        | OciErrorCode::NotFound => 404,
        OciErrorCode::Unsupported => 405,
        OciErrorCode::Toomanyrequests => 429,
        _ => 400,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint { host: "h".into(), repository: "r".into(), access: Access::Https }
    }

    #[test]
    fn answers_keep_their_status() {
        let envelope = |code: &str| OciDistributionError::RegistryError {
            envelope: serde_json::from_str(&format!(r#"{{"errors":[{{"code":"{code}","message":"m"}}]}}"#))
                .unwrap(),
            url: String::new(),
        };
        let server = |code| OciDistributionError::ServerError {
            code,
            url: String::new(),
            message: "down\nfor now".into(),
        };
        for (error, status, transient) in [
            (envelope("MANIFEST_UNKNOWN"), 404, false),
            (envelope("DENIED"), 403, false),
            (envelope("TOOMANYREQUESTS"), 429, true),
            (envelope("SOMETHING_ELSE"), 400, false),
            (server(503), 503, true),
            (OciDistributionError::AuthenticationFailure("no".into()), 401, false),
        ] {
            let text = error.to_string();
            let mapped = failure(&endpoint(), "t", error);
            assert_eq!((mapped.status(), mapped.is_transient()), (Some(status), transient), "{text}");
        }
        assert!(failure(&endpoint(), "t", server(500)).to_string().ends_with("down for now"));
    }

    #[test]
    fn wrong_bytes_are_told_from_a_broken_connection() {
        let digest = Digest::of("x");
        let mismatch =
            DigestError::VerificationError { expected: digest.to_string(), actual: "sha256:0".into() };
        let error = failure(&endpoint(), &digest.to_string(), mismatch.into());
        assert!(matches!(error, Error::Mismatch { actual, .. } if actual == "sha256:0"));
    }
}
