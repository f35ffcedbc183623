//! Why files of another machine cannot be had.

use std::io;

use crate::digest::Digest;
use crate::{context, place, store};

/// Why files of another machine cannot be had. Addresses are shown without passwords.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server cannot be reached, or the connection broke off, several times.
    #[error("the connection to {host} failed")]
    Network {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server refused.
    #[error("{url}: invalid response status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server's answer makes no sense.
    #[error("{url}: {reason}")]
    Protocol {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The bytes are not those that the checksum says.
    #[error("digest mismatch for {url}: {actual} (expected: {expected})")]
    Checksum {
        /// What was asked for.
        url: String,
        /// What came.
        actual: Digest,
        /// What the checksum says.
        expected: Digest,
    },
    /// There is no git program.
    #[error("the program `git` is not installed; it is needed for {0}")]
    NoGit(String),
    /// There are no keys for ssh.
    #[error(
        "no ssh agent was given; add `--ssh default` for the agent of SSH_AUTH_SOCK, or `--ssh default=KEYFILE`"
    )]
    NoAgent,
    /// A redirect that git does not follow, for it would take a secret along.
    #[error(
        "the repository has moved, and with a secret for its host no redirect is followed: name its new address"
    )]
    Moved,
    /// Git failed.
    #[error("git {command} failed for {remote}: {output}")]
    Git {
        /// Its first argument.
        command: String,
        /// The repository.
        remote: String,
        /// What it wrote.
        output: String,
    },
    /// The repository lacks the reference.
    #[error("the repository {remote} does not contain ref {reference}")]
    NoReference {
        /// The repository.
        remote: String,
        /// The branch or tag.
        reference: String,
    },
    /// The reference is another commit than the checksum says.
    #[error("expected checksum to match {expected}, got {actual}")]
    Commit {
        /// What the checksum says.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The parts of a git address do not fit together.
    #[error("{0}")]
    Address(&'static str),
    /// The directory that is meant is not in the repository.
    #[error("`{subdirectory}` is not a directory of {remote}")]
    Subdirectory {
        /// The repository.
        remote: String,
        /// The directory.
        subdirectory: String,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] io::Error),
    /// A checkout cannot be listed.
    #[error(transparent)]
    Context(#[from] context::Error),
    /// Files cannot be chosen from a checkout.
    #[error(transparent)]
    Place(#[from] place::Error),
}
