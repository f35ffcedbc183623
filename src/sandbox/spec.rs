//! What is to be run, with nothing left open.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::isolation::Rung;
use crate::path::RelPath;
use crate::ulimit::Ulimit;

/// One command in one root. It crosses to the child as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// How the command is walled in.
    pub rung: Rung,
    /// Its root file system.
    pub root: Root,
    /// An empty directory of the caller's, on which the child mounts what it needs beside the root. On
    /// [`Rung::Chroot`] it holds what mounts hide for the time of the step.
    pub scratch: PathBuf,
    /// The program, looked up in the PATH of `env` if it has no slash, and its arguments.
    pub argv: Vec<String>,
    /// `NAME=value`: all that the command sees, with HOME added from the root's passwd if it is not here.
    pub env: Vec<String>,
    /// The working directory; made (root's, 0755) if it is not there.
    #[serde(with = "super::wire::rel_path")]
    pub working_dir: RelPath,
    /// USER: looked up in the root's passwd and group; empty for root.
    pub user: String,
    /// The host's name as the command sees it.
    pub hostname: String,
    /// What is seen at a path while the command runs, in this order.
    pub mounts: Vec<Mount>,
    /// What network the command sees.
    pub network: Network,
    /// What is seen as `/etc/resolv.conf`; `None` leaves the root's own.
    pub resolv_conf: Option<Vec<u8>>,
    /// What is seen as `/etc/hosts`; `None` leaves the root's own.
    pub hosts: Option<Vec<u8>>,
    /// Whether Docker's default seccomp profile is loaded. On [`Rung::Chroot`] the container's own is all
    /// there is.
    pub seccomp: bool,
    /// Whether the command keeps every capability that the builder has, and sees `/proc`, `/sys` and the
    /// machine's devices uncovered.
    pub insecure: bool,
    /// Limits of the command's resources; the builder's own for all others.
    pub ulimits: Vec<Ulimit>,
}

/// Where a root file system lies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Root {
    /// Directories laid over one another.
    Overlay {
        /// The lower directories, the topmost first. None is an empty root.
        lower: Vec<PathBuf>,
        /// Where changes go; without it the root is read-only.
        upper: Option<Upper>,
        /// Whether overlayfs keeps its marks in `user.` attributes (in a user namespace) and not in
        /// `trusted.` ones.
        userxattr: bool,
    },
    /// One directory that is changed in place.
    Directory(PathBuf),
}

/// The two directories of overlayfs in which it writes, on one file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upper {
    /// The changes.
    pub upper: PathBuf,
    /// Overlayfs's own; empty before.
    pub work: PathBuf,
}

/// Content at a path while a command runs, gone afterwards.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// Where; made if it is not there.
    #[serde(with = "super::wire::rel_path")]
    pub target: RelPath,
    /// What.
    pub content: Content,
    /// Whether writes fail.
    pub readonly: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Content {
    /// A file or directory below a root of its own; symbolic links on the way are followed inside it.
    Bind {
        /// The root.
        root: Root,
        /// The path in it.
        #[serde(with = "super::wire::rel_path")]
        source: RelPath,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Its limit; the kernel's default without.
        size_bytes: Option<u64>,
    },
    /// A file of these bytes; they lie in memory, except on [`Rung::Chroot`], where they are in the root while
    /// the command runs.
    File {
        /// The bytes.
        bytes: Vec<u8>,
        /// Its mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

/// What network a command sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The host's.
    Host,
    /// Only loopback. Not possible on [`Rung::Chroot`].
    None,
}

/// Returns the `/etc/hosts` that a step sees: the host's own name and `hostname` are loopback, as under
/// BuildKit; behind them come those of `extra`, names and addresses.
pub fn hosts(hostname: &str, extra: &[(String, IpAddr)]) -> Vec<u8> {
    let own = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let extra = extra.iter().map(|(name, address)| format!("{address}\t{name}\n"));
    std::iter::once(own).chain(extra).collect::<String>().into_bytes()
}
