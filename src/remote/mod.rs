//! Files of other machines: downloads and git repositories.
//!
//! In: a [`Remote`]. Out: a digest that stands for its content, and its files in a directory of the store. The
//! surface is synchronous; what is asynchronous inside stays in [`http`](self), behind a runtime of its own.
//!
//! Rules:
//! - What a client has once said of a remote holds as long as the client lives: one build sees one state.
//! - A download is a blob of the store. A record beside it holds what its server said of it (ETag,
//!   Last-Modified), so that the next build asks whether that still holds and gets no body if it does.
//! - A repository is brought by the git program, which knows all transports; it reads no configuration of this
//!   machine, runs no hook, asks nobody for a password.
//! - Credentials in an address, and secrets that are credentials, go to the host of that address and to no other.
//! - Over ssh there are the keys of one agent, or none. A host that the user does not know is believed once for each
//!   client; nothing is added to the user's list.

mod agent;
mod client;
mod credentials;
mod download;
mod error;
mod git;
mod program;

pub use self::agent::{Agent, AgentError, KeyFile, MAX_KEY_SIZE};
pub use self::error::Error;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use self::client::Client;
use self::download::Download;
use self::git::Commit;
use crate::context::Files;
use crate::digest::Digest;
use crate::graph::Remote;
use crate::secret::Secrets;
use crate::store::{Scratch, Store};
use crate::time::Timestamp;

/// Hears how many bytes came, and how many there are if that is known.
pub type Progress<'a> = dyn Fn(u64, Option<u64>) + Sync + 'a;

/// Variables for programs: where others are, and proxies.
pub type Environment = [(OsString, OsString)];

/// What a shell returns for a program that is not there.
const NOT_FOUND: i32 = 127;

/// What a client works with.
#[derive(Debug)]
pub struct Config {
    /// Keeps downloads and what is known of them.
    pub store: Store,
    /// The environment of the git program: where programs are, and proxies.
    pub environment: Vec<(OsString, OsString)>,
    /// The agent that answers for the keys of ssh; without one there is no ssh.
    pub ssh_agent: Option<Agent>,
    /// The user's list of hosts with their keys (`~/.ssh/known_hosts`).
    pub known_hosts: Option<PathBuf>,
    /// Of these, what is named as a host's credentials is used for that host.
    pub secrets: Secrets,
}

/// Brings files from other machines.
#[derive(Debug)]
pub struct Remotes {
    config: Config,
    client: Client,
    known: Mutex<HashMap<Remote, Arc<Mutex<Known>>>>,
    /// Holds the keys of hosts that were met for the first time.
    met: Mutex<Option<Scratch>>,
}

/// What this client has found out about a remote.
#[derive(Debug, Default)]
struct Known {
    state: Option<State>,
    files: Option<Arc<Files>>,
}

/// What is there now.
#[derive(Debug, Clone)]
enum State {
    Download(Download),
    Commit(Commit),
}

impl Remotes {
    /// Prepares a client; nothing is asked of anybody.
    pub fn new(config: Config) -> Self {
        let client = Client::new(config.secrets.clone());
        Self { config, client, known: Mutex::default(), met: Mutex::default() }
    }

    /// Returns a digest that stands for the content now. A download with a checksum, and a commit, are not asked
    /// for; another download is made if the store lacks it.
    ///
    /// # Errors
    /// If the server does not answer as it should.
    pub fn identify(&self, remote: &Remote, progress: &Progress<'_>) -> Result<Digest, Error> {
        if let Remote::Http(source) = remote
            && let Some(checksum) = source.checksum
        {
            return Ok(download::identity(source, checksum));
        }
        let known = self.known(remote);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match (self.state(remote, &mut known, progress)?, remote) {
            (State::Download(download), Remote::Http(source)) => download::identity(source, download.digest),
            (State::Commit(commit), Remote::Git(source)) => git::identity(source, &commit),
            _ => unreachable!("a state is of its remote's kind"),
        })
    }

    /// Brings the files.
    ///
    /// # Errors
    /// If they cannot be had, or are not what the checksum says.
    pub fn open(&self, remote: &Remote, progress: &Progress<'_>) -> Result<Arc<Files>, Error> {
        let known = self.known(remote);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = &known.files {
            return Ok(files.clone());
        }
        let files = match (self.state(remote, &mut known, progress)?, remote) {
            (State::Download(download), Remote::Http(source)) => {
                download.files(source, &self.config.store)?
            }
            (State::Commit(commit), Remote::Git(source)) => self.git()?.files(source, &commit)?,
            _ => unreachable!("a state is of its remote's kind"),
        };
        Ok(known.files.insert(Arc::new(files)).clone())
    }

    /// Returns the time that the remote itself names: of the commit, or when the server says that the file was
    /// last modified.
    ///
    /// # Errors
    /// If it cannot be found out.
    pub fn time(&self, remote: &Remote, progress: &Progress<'_>) -> Result<Option<Timestamp>, Error> {
        let known = self.known(remote);
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.state(remote, &mut known, progress)?, remote) {
            (State::Commit(commit), Remote::Git(source)) => {
                self.git()?.commit_time(source, &commit).map(Some)
            }
            (State::Download(download), _) => Ok(download.last_modified),
            _ => unreachable!("a state is of its remote's kind"),
        }
    }

    fn known(&self, remote: &Remote) -> Arc<Mutex<Known>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(remote.clone()).or_default().clone()
    }

    fn state(&self, remote: &Remote, known: &mut Known, progress: &Progress<'_>) -> Result<State, Error> {
        if let Some(state) = &known.state {
            return Ok(state.clone());
        }
        let state = match remote {
            Remote::Http(source) => {
                State::Download(download::get(source, &self.client, &self.config.store, progress)?)
            }
            Remote::Git(source) => State::Commit(self.git()?.resolve(source)?),
        };
        Ok(known.state.insert(state).clone())
    }

    fn git(&self) -> Result<git::Git<'_>, Error> {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = match &mut *met {
            Some(scratch) => scratch,
            none => none.insert(self.config.store.scratch()?),
        };
        Ok(git::Git { config: &self.config, met: scratch.path().join("known_hosts") })
    }
}
