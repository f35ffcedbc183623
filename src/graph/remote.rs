//! Files that lie on other machines.

use crate::address;
use crate::digest::Digest;

/// What a step reads from another machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remote {
    /// A download: one file.
    Http(HttpSource),
    /// The files of a commit.
    Git(GitSource),
}

/// A download.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpSource {
    /// The address.
    pub url: String,
    /// The name that the file gets.
    pub name: String,
    /// What the bytes must be.
    pub checksum: Option<Digest>,
}

/// The files of a commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitSource {
    /// The repository, as the git program is given it.
    pub remote: String,
    /// A branch, tag or commit; empty for the default branch.
    pub reference: String,
    /// The directory that is meant; empty for the whole.
    pub subdirectory: String,
    /// A commit, or the beginning of one, that the reference must name.
    pub checksum: Option<String>,
    /// Whether `.git` is among the files.
    pub keep_git_dir: bool,
    /// Whether the files of submodules are there.
    pub submodules: bool,
    /// Whether files get the time of the commit instead of that of the checkout.
    pub commit_times: bool,
    /// Whether the checksum is fetched without asking where the reference points.
    pub by_commit: bool,
}

impl Remote {
    /// Returns the address for people to read, without passwords.
    pub fn shown(&self) -> String {
        match self {
            Self::Http(source) => address::redacted(&source.url),
            Self::Git(source) => source.shown(),
        }
    }
}

impl GitSource {
    /// Tells whether it is reached over ssh.
    pub fn is_ssh(&self) -> bool {
        self.remote.starts_with("ssh://") || !self.remote.contains("://")
    }

    /// Returns what an address says, with nothing left open.
    pub fn of(address: address::GitAddress) -> Self {
        let address::GitAddress { remote, reference, subdirectory, checksum, .. } = address;
        Self {
            remote,
            reference,
            subdirectory,
            checksum,
            keep_git_dir: address.keep_git_dir.unwrap_or(false),
            submodules: address.submodules.unwrap_or(true),
            commit_times: address.commit_times,
            by_commit: address.by_commit,
        }
    }

    /// Returns the address for people to read, without passwords.
    pub fn shown(&self) -> String {
        let mut text = address::redacted(&self.remote);
        if !self.reference.is_empty() || !self.subdirectory.is_empty() {
            text += &format!("#{}", self.reference);
        }
        if !self.subdirectory.is_empty() {
            text += &format!(":{}", self.subdirectory);
        }
        text
    }
}
