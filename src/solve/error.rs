//! Why a graph could not be done.

use std::path::PathBuf;

use super::FetchError;
use crate::diagnostic::Span;
use crate::path::{LinkLoop, RelPath};
use crate::{context, layer, place, rootfs, sandbox, store};

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{name}")]
pub struct Error {
    /// The step's name.
    pub name: String,
    /// The instruction that it comes from.
    pub span: Option<Span>,
    /// What went wrong.
    #[source]
    pub cause: Box<Cause>,
}

/// What went wrong in a step.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The command did not succeed.
    #[error("process {command} did not complete successfully: {exit}")]
    Command {
        /// The command as the user wrote it, quoted.
        command: String,
        /// `exit code: 3`, `killed by signal 9 (SIGKILL)`.
        exit: String,
        /// The last lines that it wrote.
        output: Vec<String>,
    },
    /// Files could not be selected or put in place.
    #[error(transparent)]
    Place(#[from] place::Error),
    /// A source is not where it is looked for.
    #[error("`{path}` does not exist in {whence}")]
    Missing {
        /// The source as it was looked for, clean.
        path: RelPath,
        /// What was searched, for example `the build context`.
        whence: String,
        /// What is there.
        help: Option<String>,
    },
    /// A source is not in its context because a rule of the ignore file took it out.
    #[error("`{path}` is excluded by line {line} of {ignore_file}: `{rule}`")]
    Ignored {
        /// The source as written.
        path: String,
        /// The file's name.
        ignore_file: String,
        /// The 1-based line.
        line: usize,
        /// Its text.
        rule: String,
    },
    /// A path cannot be resolved.
    #[error(transparent)]
    Path(#[from] LinkLoop),
    /// A context cannot be read.
    #[error(transparent)]
    Context(#[from] context::Error),
    /// A layer or an archive cannot be read.
    #[error(transparent)]
    Layer(#[from] layer::Error),
    /// A layer cannot be written.
    #[error(transparent)]
    Pack(#[from] layer::pack::Error),
    /// A root file system cannot be prepared or scanned.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    /// A command cannot be started.
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A base's blob cannot be had.
    #[error("cannot fetch layers of {reference}")]
    Fetch {
        /// The base.
        reference: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// What a cache's records name cannot be had, or is not what they say.
    #[error("the cache {name} cannot be used")]
    Import {
        /// The number of the cache.
        cache: usize,
        /// What it is called.
        name: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// A file of another machine cannot be had.
    #[error("cannot get {address}")]
    Remote {
        /// Where it lies.
        address: String,
        /// Why.
        #[source]
        source: FetchError,
    },
    /// A base's blob is neither in the store nor anywhere else.
    #[error("the blob {0} is not in the store")]
    MissingBlob(crate::digest::Digest),
    /// A layer's bytes are not those that its image names.
    #[error("the layer {blob} holds other bytes than its image says: diff id {found} instead of {expected}")]
    DiffId {
        /// The blob.
        blob: crate::digest::Digest,
        /// What the config says.
        expected: crate::digest::DiffId,
        /// What it is.
        found: crate::digest::DiffId,
    },
    /// A file of this machine cannot be read or written.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// A cache mount's name is in use in another way.
    #[error("the mount's source `{}` is not in its context or stage", .0.display())]
    MountSource(PathBuf),
    /// A command needs a secret that was not given.
    #[error("the secret `{id}` is required, but was not given")]
    MissingSecret {
        /// Its id.
        id: String,
    },
    /// A secret that is no text cannot be a variable.
    #[error("the secret `{id}` is not UTF-8 text: it can be a file, but not a variable")]
    SecretText {
        /// Its id.
        id: String,
    },
    /// A command needs an ssh agent that was not given.
    #[error("the ssh agent `{id}` is required, but was not given")]
    MissingAgent {
        /// Its id.
        id: String,
    },
    /// Another step failed, or the user ended the build.
    #[error("cancelled")]
    Cancelled,
}

impl Cause {
    /// Returns one thing to try, where there is one.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Ignored { ignore_file, line, .. } => {
                Some(format!("remove line {line} of {ignore_file}, or add an exception (`!`) below it"))
            }
            Self::MissingSecret { id } => Some(format!(
                "add `--secret id={id},src=FILE` or `--secret id={id},env=VARIABLE` to the build"
            )),
            Self::MissingAgent { id } => {
                Some(format!("add `--ssh {id}` to the build; it takes the agent of SSH_AUTH_SOCK"))
            }
            Self::Missing { help, .. } => help.clone(),
            Self::Command { exit, output, .. } => Some(advice(exit, output.is_empty()).to_owned()),
            _ => None,
        }
    }

    /// Returns the last lines that a failed command wrote.
    pub fn output(&self) -> &[String] {
        match self {
            Self::Command { output, .. } => output,
            _ => &[],
        }
    }
}

/// What to try when a command failed.
fn advice(exit: &str, silent: bool) -> &'static str {
    if exit.ends_with("code: 127") {
        "127 says that a program was not found: install it in a step before, or look at its name and PATH"
    } else if exit.ends_with("code: 126") {
        "126 says that a file is no program: look at its mode (`COPY --chmod=755`) and its first line"
    } else if exit.contains("SIGKILL") || exit.ends_with("code: 137") {
        "something killed it; the kernel does so when memory is short"
    } else if silent {
        "it wrote nothing; `set -x` in front of the command shows what is done"
    } else {
        "the lines that it wrote last say why"
    }
}
