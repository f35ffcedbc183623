//! Progress of a build as data. Nothing flows back: whoever listens only shows it.

use std::time::Duration;

use crate::diagnostic::Diagnostic;

/// Where events go. Called from several threads at once.
pub trait Listener: Sync {
    /// Takes one event.
    fn event(&self, event: Event);
}

/// A listener that drops everything.
pub struct Silent;

impl Listener for Silent {
    fn event(&self, _event: Event) {}
}

/// The number of a task within one build, in the order of first announcement.
pub type TaskId = usize;

/// Which stream of a step's command wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It did its work.
    Done,
    /// Nothing had to be done.
    Cached,
    /// It failed with this message.
    Failed(String),
    /// Something else failed first.
    Cancelled,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The build begins; `rung` says how RUN steps are isolated.
    Started {
        /// The rung's sentence, for example "root with namespaces, overlayfs".
        rung: String,
    },
    /// A finding that does not stop the build.
    Warning(Diagnostic),
    /// Something that does not stop the build and stands in no file: a cache that is not there, a registry that is
    /// asked again.
    Notice(String),
    /// A task begins: a step, a pull, an export.
    TaskStarted {
        /// The task.
        task: TaskId,
        /// What the user reads, for example `[build 2/4] RUN make`.
        name: String,
    },
    /// Why the cache did not answer for a task.
    TaskReason {
        /// The task.
        task: TaskId,
        /// For example "COPY src/: 2 files changed".
        reason: String,
    },
    /// Bytes done of bytes to do.
    TaskProgress {
        /// The task.
        task: TaskId,
        /// Bytes done.
        done: u64,
        /// Bytes to do; `None` where unknown.
        total: Option<u64>,
    },
    /// A step's command wrote something: any bytes, not whole lines.
    TaskOutput {
        /// The task.
        task: TaskId,
        /// Where to.
        stream: Stream,
        /// What.
        bytes: Vec<u8>,
    },
    /// A task ended.
    TaskFinished {
        /// The task.
        task: TaskId,
        /// How.
        outcome: Outcome,
        /// How long it took.
        elapsed: Duration,
    },
}
