//! The build as a graph of closed operations.
//!
//! After lowering nothing is unexpanded: a step can be hashed, printed, cached and run anywhere. A step names
//! only steps before it, so a cycle cannot be built. ENV, LABEL, CMD and the like are no operations; they
//! are folded into the [`Output`]'s config. [`plan`] prints a graph.

pub mod plan;
mod remote;

use std::net::IpAddr;
use std::sync::Arc;

pub use self::remote::{GitSource, HttpSource, Remote};

use crate::diagnostic::Span;
use crate::image::Image;
use crate::mode::Chmod;
use crate::oci::{ImageConfig, Platform};
use crate::path::RelPath;
use crate::ulimit::Ulimit;

/// A step of a graph: an index into [`Graph::steps`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(usize);

impl StepId {
    /// Returns the index into [`Graph::steps`].
    pub const fn index(self) -> usize {
        self.0
    }
}

/// Steps in an order in which they can be done, and what is to come of them.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    steps: Vec<Step>,
    /// The images to assemble, one per platform.
    pub outputs: Vec<Output>,
}

impl Graph {
    /// Returns the steps; each names only steps before it.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns the step `id`.
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0]
    }

    /// Returns the ids of all steps in order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = StepId> + use<> {
        (0..self.steps.len()).map(StepId)
    }

    /// Adds a step behind all that it names.
    ///
    /// # Panics
    /// If it names a step that is not in the graph yet.
    pub fn add(&mut self, step: Step) -> StepId {
        assert!(
            step.op.inputs().iter().all(|id| id.0 < self.steps.len()),
            "a step names only steps before it"
        );
        self.steps.push(step);
        StepId(self.steps.len() - 1)
    }
}

/// One operation and what the user is told about it.
#[derive(Debug, Clone)]
pub struct Step {
    /// What is to be done.
    pub op: Op,
    /// What the user reads, for example `[build 2/4] RUN make`.
    pub name: String,
    /// The instruction in the Dockerfile; `None` for steps nobody wrote (triggers of a base image).
    pub span: Option<Span>,
    /// The platform the step is done for.
    pub platform: Platform,
    /// Whether the cache must not answer (`--no-cache`, `--no-cache-filter`).
    pub ignore_cache: bool,
}

/// The operations: everything that makes or changes a root file system.
#[derive(Debug, Clone)]
pub enum Op {
    /// The root file system of an image.
    Base(Arc<Image>),
    /// A command in a root file system.
    Run(Run),
    /// Files from elsewhere put into a root file system.
    Copy(Copy),
    /// A directory made with its parents (WORKDIR).
    Mkdir(Mkdir),
}

impl Op {
    /// Returns the step whose root file system this one changes.
    pub const fn parent(&self) -> Option<StepId> {
        match self {
            Self::Base(_) => None,
            Self::Run(run) => run.parent,
            Self::Copy(copy) => copy.parent,
            Self::Mkdir(mkdir) => mkdir.parent,
        }
    }

    /// Returns the other steps that this one reads, in the order written.
    pub fn sources(&self) -> Vec<StepId> {
        match self {
            Self::Base(_) | Self::Mkdir(_) => Vec::new(),
            Self::Run(run) => run.mounts.iter().filter_map(|mount| mount.input()?.step()).collect(),
            Self::Copy(copy) => copy.sources.iter().filter_map(|source| source.input()?.step()).collect(),
        }
    }

    /// Returns every step that must be done before: the parent, then the sources.
    pub fn inputs(&self) -> Vec<StepId> {
        self.parent().into_iter().chain(self.sources()).collect()
    }
}

/// Where files are read from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Input {
    /// A build context: the main one for `None`, else a named one.
    Context(Option<String>),
    /// The result of a step.
    Step(StepId),
    /// Nothing: a stage that is `FROM scratch` without steps.
    Empty,
}

impl Input {
    /// Returns the step, if it is one.
    pub const fn step(&self) -> Option<StepId> {
        match self {
            Self::Step(id) => Some(*id),
            Self::Context(_) | Self::Empty => None,
        }
    }
}

/// A command in a root file system.
#[derive(Debug, Clone)]
pub struct Run {
    /// The root file system; `None` for an empty one.
    pub parent: Option<StepId>,
    /// The program and its arguments, the shell included.
    pub argv: Vec<String>,
    /// `NAME=value`, in order, each name once: ENV and ARG of the stage. Shared, because commands of one stage
    /// see mostly the same.
    pub env: Arc<[Arc<str>]>,
    /// Proxy variables that reach the command but neither cache nor config.
    pub proxy_env: Vec<String>,
    /// The working directory.
    pub working_dir: RelPath,
    /// USER as written, expanded; empty for root.
    pub user: String,
    /// What is to be seen at a path while the command runs, in the order written.
    pub mounts: Vec<Mount>,
    /// Secrets that are variables of the command's environment, in the order written.
    pub secret_env: Vec<SecretEnv>,
    /// Whether the command sees the network.
    pub network: Network,
    /// What the command may do.
    pub security: Security,
    /// Names that `/etc/hosts` has beside its own, with their addresses.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// Limits of the command's resources.
    pub ulimits: Vec<Ulimit>,
}

/// A secret as a variable: its value is known only while the command runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretEnv {
    /// The variable's name.
    pub name: String,
    /// The secret's id.
    pub id: String,
    /// Whether the command must not run without it; otherwise the variable is empty then.
    pub required: bool,
}

/// What a command may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Security {
    /// What Docker's default capabilities and filters allow.
    Sandbox,
    /// Everything that the builder may.
    Insecure,
}

/// The network of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// The host's.
    Host,
    /// Only loopback.
    None,
}

/// Content at a path while a command runs, gone afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub target: RelPath,
    /// What.
    pub kind: MountKind,
}

/// The kinds of mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// Files of a context or a step's result.
    Bind {
        /// Whose.
        input: Input,
        /// Which: a file or a directory.
        source: RelPath,
        /// Whether writes fail; otherwise they are thrown away.
        readonly: bool,
    },
    /// A directory of the store that lives on between builds.
    Cache {
        /// Its name.
        id: String,
        /// What happens with a second writer.
        sharing: Sharing,
        /// What a new cache starts with.
        initial: Option<(Input, RelPath)>,
        /// The directory's mode, when it is made.
        mode: u32,
        /// Its owner, when it is made.
        uid: u32,
        /// Its group, when it is made.
        gid: u32,
        /// Whether writes fail.
        readonly: bool,
    },
    /// An empty file system in memory.
    Tmpfs {
        /// Its limit.
        size_bytes: Option<u64>,
    },
    /// A file with this content (a here-document that is a script).
    File {
        /// The bytes.
        content: Arc<[u8]>,
        /// Its mode.
        mode: u32,
    },
    /// A file that holds a secret: its value is known only while the command runs.
    Secret {
        /// The secret's id.
        id: String,
        /// Whether the command must not run without it; otherwise there is no file then.
        required: bool,
        /// The file's mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// The socket of an ssh agent.
    Ssh {
        /// The agent's id.
        id: String,
        /// Whether the command must not run without it; otherwise there is no socket then.
        required: bool,
        /// The socket's mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

impl Mount {
    /// Returns where the mount's files come from, if from elsewhere.
    pub fn input(&self) -> Option<&Input> {
        match &self.kind {
            MountKind::Bind { input, .. } => Some(input),
            MountKind::Cache { initial, .. } => initial.as_ref().map(|(input, _)| input),
            MountKind::Tmpfs { .. }
            | MountKind::File { .. }
            | MountKind::Secret { .. }
            | MountKind::Ssh { .. } => None,
        }
    }
}

/// What happens when a second writer wants a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Both write.
    Shared,
    /// It gets a directory of its own.
    Private,
    /// It waits.
    Locked,
}

/// Files from elsewhere put into a root file system: COPY and ADD.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The root file system; `None` for an empty one.
    pub parent: Option<StepId>,
    /// In the order written.
    pub sources: Vec<Source>,
    /// An absolute path; a trailing slash says that it is a directory.
    pub destination: String,
    /// `--chown` as written, expanded: names are looked up in the destination.
    pub owner: Option<String>,
    /// `--chmod`
    pub chmod: Option<Chmod>,
    /// `--exclude`
    pub excludes: Vec<String>,
    /// `--parents`
    pub parents: bool,
    /// `--link`: the files are laid over the parent without looking at it.
    pub link: bool,
    /// ADD: local archives are extracted.
    pub extract: bool,
}

/// One source of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A path, possibly with wildcards.
    Path {
        /// Whose.
        input: Input,
        /// As written, expanded.
        path: String,
    },
    /// Files of another machine.
    Remote {
        /// Which.
        remote: Remote,
        /// Whether a download that is an archive is taken apart.
        extract: bool,
    },
    /// A here-document.
    Inline {
        /// The file's name.
        name: String,
        /// Its bytes.
        content: Arc<[u8]>,
    },
}

impl Source {
    /// Returns where the source is read, if from elsewhere.
    pub const fn input(&self) -> Option<&Input> {
        match self {
            Self::Path { input, .. } => Some(input),
            Self::Remote { .. } | Self::Inline { .. } => None,
        }
    }
}

/// A directory made with its parents.
#[derive(Debug, Clone)]
pub struct Mkdir {
    /// The root file system; `None` for an empty one.
    pub parent: Option<StepId>,
    /// The directory.
    pub path: RelPath,
    /// USER at that point: the owner of what is made; a name is looked up in the root file system.
    pub user: String,
}

/// An image to assemble.
#[derive(Debug, Clone)]
pub struct Output {
    /// The step whose result is the root file system; `None` for an empty one.
    pub root: Option<StepId>,
    /// The config without times, diff ids and new history: `history` holds the base's entries.
    pub config: ImageConfig,
    /// What the Dockerfile adds to the history, in order.
    pub history: Vec<HistoryEntry>,
    /// The platform of the image.
    pub platform: Platform,
}

/// One new entry of an image's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The instruction as the history shows it.
    pub created_by: String,
    /// MAINTAINER at that point.
    pub author: String,
    /// The step that made the layer; `None` for an entry without one.
    pub step: Option<StepId>,
}
