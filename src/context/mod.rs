//! The build context: a directory of this machine as COPY and ADD see it.
//!
//! [`Directory::open`] lists it, which reads no file: names, modes, times and link targets, without what the
//! ignore file excludes. What a copy selects gets its content digests from [`Directory::digest`], in parallel,
//! and only then; its entries come one by one from [`place::Entries`](crate::place::Entries). Who reads the files anyway
//! can give their digests instead ([`Directory::reading`]). Rules:
//!
//! - Everything belongs to 0:0, modes are kept, times are whole seconds.
//! - Sockets do not exist, since no layer can hold one.
//! - An excluded path does not exist. A directory that is excluded but holds something re-included exists
//!   with its own mode and time. An excluded directory below which nothing can be re-included is not read.
//! - The only extended attribute is `security.capability` of regular files.
//! - A digest is taken from the stat cache only if the file's stat data is what it was, and it was not written
//!   around the time it was hashed; see `stat_cache`.
//!
//! A file that changes after it was listed is an [`Error::Changed`] if that is noticed while it is hashed;
//! later changes are noticed by who packs it, because the digest differs.

mod content;
mod directory;
mod files;
mod listing;
mod lookup;
mod readers;
mod reading;
mod stat_cache;
mod walk;

#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

pub use directory::Directory;
pub use files::Files;
pub use listing::Item;
pub use lookup::{IgnoreFile, find_dockerfile, find_ignore_file};
pub use reading::Reading;

use crate::path::RelPath;

/// Why a build context cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The context is not there, or no directory.
    #[error("cannot open the build context `{}`", path.display())]
    Open {
        /// The context.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Something in the context cannot be read.
    #[error("cannot read `{path}` of the build context")]
    Read {
        /// The path in the context.
        path: RelPath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file was written while it was read.
    #[error("`{path}` of the build context changed while it was read")]
    Changed {
        /// The path in the context.
        path: RelPath,
    },
    /// The Dockerfile's or the context's ignore file cannot be read.
    #[error("cannot read the ignore file")]
    IgnoreFile(#[source] io::Error),
    /// The stat cache cannot be written.
    #[error("cannot write the stat cache")]
    StatCache(#[source] io::Error),
}
