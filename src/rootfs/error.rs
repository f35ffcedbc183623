//! What can go wrong with directories.

use std::io;
use std::path::PathBuf;

use crate::path::RelPath;

/// Why a directory cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path in it cannot.
    #[error("cannot {doing} `{path}` in {}", root.display())]
    Path {
        /// What was being done.
        doing: &'static str,
        /// The path.
        path: RelPath,
        /// The directory.
        root: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file's bytes are in none of the places where they should lie.
    #[error("the bytes of `{path}` lie nowhere")]
    NoBytes {
        /// The path.
        path: RelPath,
    },
}

/// Adds to a failed call what it was for.
pub(super) trait At<T> {
    fn at(self, doing: &'static str, root: &std::path::Path, path: &RelPath) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, doing: &'static str, root: &std::path::Path, path: &RelPath) -> Result<T, Error> {
        self.map_err(|source| Error::Path {
            doing,
            path: path.clone(),
            root: root.to_owned(),
            source: source.into(),
        })
    }
}
