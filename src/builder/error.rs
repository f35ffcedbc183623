//! Why a build failed: one variant per phase.

use std::path::PathBuf;

use super::EpochError;
use crate::diagnostic::{Diagnostic, Span};
use crate::{archive, assemble, context, layer, pattern, registry, remote, solve, store};

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The Dockerfile, or what it names, is not right: all findings, the errors among them.
    #[error("the Dockerfile cannot be built")]
    Findings(Vec<Diagnostic>),
    /// The Dockerfile says `# check=error=true`, and there are findings.
    #[error("the Dockerfile's build checks fail the build")]
    Checks(Vec<Diagnostic>),
    /// A context cannot be read.
    #[error(transparent)]
    Context(#[from] context::Error),
    /// The ignore file has a bad pattern.
    #[error("cannot use {}", .path.display())]
    Ignore {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: pattern::Error,
    },
    /// A step failed.
    #[error(transparent)]
    Step(Box<solve::Error>),
    /// The result of the steps cannot be used.
    #[error(transparent)]
    Result(Box<solve::Cause>),
    /// The image's documents cannot be made.
    #[error(transparent)]
    Assemble(#[from] assemble::Error),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// An archive cannot be read or written.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// A registry does not give what it should.
    #[error(transparent)]
    Registry(Box<registry::Error>),
    /// A tar cannot be written.
    #[error(transparent)]
    Pack(#[from] layer::pack::Error),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// The result cannot be written to where it was asked for.
    #[error("cannot write `{}`", .path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A `--build-context` names nothing.
    #[error("the build context `{name}` at {} cannot be used", .path.display())]
    NamedContext {
        /// The context's name.
        name: String,
        /// Where it should be.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// An archive holds several images, or none.
    #[error("{} holds {count} images; name one of them by its tag", .path.display())]
    NotOneImage {
        /// The archive.
        path: PathBuf,
        /// How many it holds.
        count: usize,
    },
    /// A file of another machine cannot be had.
    #[error(transparent)]
    Remote(Box<remote::Error>),
    /// There is no Dockerfile in a context that is no directory of this machine.
    #[error("there is no `{path}` in the build context")]
    NoDockerfile {
        /// Its path.
        path: String,
    },
    /// `SOURCE_DATE_EPOCH` names no time.
    #[error(transparent)]
    Epoch(#[from] EpochError),
    /// The cache cannot be written to where it was asked for.
    #[error("cannot export the cache to {place}")]
    CacheExport {
        /// What the user calls it.
        place: String,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// A directory for the result is not empty.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
}

/// Boxed, because they carry much and are seldom.
macro_rules! boxed_from {
    ($($variant:ident($source:ty)),+) => {$(
        impl From<$source> for Error {
            fn from(error: $source) -> Self {
                Self::$variant(Box::new(error))
            }
        }
    )+};
}

boxed_from!(Step(solve::Error), Result(solve::Cause), Registry(registry::Error), Remote(remote::Error));

impl Error {
    /// Returns the instruction that failed, if it was one.
    pub fn span(&self) -> Option<Span> {
        match self {
            Self::Step(error) => error.span,
            _ => None,
        }
    }

    /// Tells whether the user ended the build.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Step(error) if matches!(*error.cause, solve::Cause::Cancelled))
    }

    /// Returns the number of the cache that is to blame, if one of `--cache-from` is.
    pub(super) fn broken_cache(&self) -> Option<usize> {
        let cause = match self {
            Self::Step(error) => &*error.cause,
            Self::Result(cause) => cause,
            Self::CacheExport { source, .. } => return source.broken_cache(),
            _ => return None,
        };
        match cause {
            solve::Cause::Import { cache, .. } => Some(*cache),
            _ => None,
        }
    }

    /// Returns the last lines that a failed command wrote.
    pub fn output(&self) -> &[String] {
        match self {
            Self::Step(error) => error.cause.output(),
            _ => &[],
        }
    }

    /// Returns one thing to try, where there is one.
    pub fn help(&self) -> Option<String> {
        let Self::Step(error) = self else { return None };
        error.cause.help()
    }
}
