//! The registry room: images of remote registries (distribution-spec), read into the store and pushed out of it.
//!
//! In: names, a platform, blobs that are wanted, roots to push; what `registries.conf` and the credential files say. Out:
//! an [`Image`](crate::image::Image) whose documents lie in the store, blobs in the store, images in a registry.
//!
//! ```text
//! name -> hosts: endpoints       pure: mirrors first, the registry last
//!      -> credentials            what is presented to one endpoint
//!      -> certificates           what its TLS is verified with
//!      -> transport              one request, one answer; the only place that knows HTTP and tokio
//!      -> retry                  ask again, when, or not
//!      -> resolve | fetch        documents | blobs, verified, into the store; both: pull
//!      -> push                   what a registry lacks, out of the store
//!      -> inspect | delete       what a repository has, without the store
//! ```
//!
//! Rules:
//! - Bytes enter the store only under the digest that was asked for.
//! - https, except for this machine itself and for hosts that `registries.conf` marks insecure.
//! - A mirror that fails in any way is passed over; the registry itself is asked last, and its answer is the
//!   error that the user sees.
//! - Pushes go to the registry itself; its name for an image changes last.
//! - The surface is synchronous; the runtime is private. Nothing here may be called from a rayon worker.
//!
//! This room reads no environment variable and knows no home directory: paths are handed in. What RUN steps do on the
//! network is none of its business.

mod certificates;
mod credentials;
mod delete;
mod error;
mod fetch;
mod foreign;
mod hosts;
mod inspect;
mod login;
mod pull;
mod push;
mod resolve;
mod retry;
mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::certificates::Certificates;
pub use self::credentials::{
    Credential, Credentials, Kept, Places, erase_login, host_of_server, save_login, server_name,
};
pub use self::delete::Deleted;
pub use self::error::{Action, Error, Problem};
pub use self::hosts::{Access, Endpoint, Hosts};
pub use self::inspect::{Referrer, Served};
pub use self::login::Login;
pub use self::pull::Pulled;
pub use self::push::{Ahead, AheadOf, How, Limits, Pushed, PushedBlob, Step};
pub use self::retry::{Notice, Patience};

use self::fetch::InFlight;
use self::foreign::Foreign;
use self::retry::Retry;
use self::transport::Transport;
use crate::digest::Digest;
use crate::store::Store;

/// What the registry room needs to know.
pub struct Config {
    /// Where documents and blobs are kept.
    pub store: Store,
    /// Mirrors, insecure and blocked hosts.
    pub hosts: Hosts,
    /// What to present to which host.
    pub credentials: Credentials,
    /// Authorities and client certificates of single hosts.
    pub certificates: Certificates,
    /// How often to ask again.
    pub patience: Patience,
    /// Where it is said that something is asked again.
    pub notice: Notice,
}

impl Config {
    /// Returns a configuration without mirrors and credentials.
    pub fn new(store: Store) -> Self {
        Self {
            store,
            hosts: Hosts::default(),
            credentials: Credentials::default(),
            certificates: Certificates::default(),
            patience: Patience::default(),
            notice: Arc::new(|_| ()),
        }
    }
}

/// All registries, as one synchronous client that threads share.
pub struct Registry {
    store: Store,
    hosts: Hosts,
    retry: Retry,
    transport: Transport,
    in_flight: InFlight,
    foreign: Foreign,
    /// By host, the longest request body that it takes, where one was too long for it.
    longest_requests: Mutex<BTreeMap<String, u64>>,
    /// What this process has pushed: repository and manifest or index.
    pushed: Mutex<BTreeSet<(String, Digest)>>,
    /// The blobs that are in a repository and wait for a manifest that names them.
    ahead: Mutex<BTreeMap<(String, Digest), How>>,
}

impl Registry {
    /// Sets up the client; asks nobody yet.
    ///
    /// # Errors
    /// If the runtime cannot be started.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { store, hosts, credentials, certificates, patience, notice } = config;
        let transport = Transport::new(credentials, certificates, patience.silence)?;
        let retry = Retry::new(patience, notice);
        Ok(Self {
            store,
            hosts,
            retry,
            transport,
            in_flight: InFlight::default(),
            foreign: Foreign::default(),
            longest_requests: Mutex::default(),
            pushed: Mutex::default(),
            ahead: Mutex::default(),
        })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// Asks endpoints one after the other until one serves `what`.
fn in_turn<T>(
    endpoints: &[Endpoint],
    what: &str,
    mut ask: impl FnMut(&Endpoint) -> Result<T, Error>,
) -> Result<T, Error> {
    let (last, mirrors) = endpoints.split_last().expect("a name has at least its own registry as endpoint");
    let mut refusals = Vec::new();
    for mirror in mirrors {
        match ask(mirror) {
            Err(error) if error.is_about_the_endpoint() => refusals.push(error.to_string()),
            other => return other,
        }
    }
    ask(last).map_err(|error| match (refusals.is_empty(), error.is_about_the_endpoint()) {
        (false, true) => {
            Error::Everywhere { what: what.to_owned(), mirrors: refusals.join("; "), last: Box::new(error) }
        }
        _ => error,
    })
}

/// The error for bytes that are not those that `digest` names.
fn wrong_bytes(endpoint: &Endpoint, digest: Digest, actual: String) -> Error {
    let Endpoint { host, repository, .. } = endpoint.clone();
    Error::Mismatch { host, repository, digest, actual }
}

/// Locks what stays whole when a thread panics in the middle.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn store_error(digest: &Digest, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Store { what: digest.to_string(), source: source.into() }
}
