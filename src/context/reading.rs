//! A context whose files are read by somebody else, for the first time.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::Stat;

use crate::context::content::{self, Content};
use crate::context::directory::Directory;
use crate::context::listing::Item;
use crate::context::stat_cache::Horizon;
use crate::digest::Digest;
use crate::path::RelPath;
use crate::place::View as _;

/// Takes the digests of files from who reads them.
#[derive(Debug)]
pub struct Reading<'a> {
    directory: &'a Directory,
    horizon: Horizon,
}

impl<'a> Reading<'a> {
    pub(super) const fn new(directory: &'a Directory, horizon: Horizon) -> Self {
        Self { directory, horizon }
    }

    /// Returns where the context is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Looks at an open file that was listed at `path`, and at its stat data from after it was read; tells whether the
    /// same stat data will still mean the same content at the next build.
    ///
    /// # Errors
    /// If it has capabilities: its entry, made before it was opened, lacks them.
    pub fn look(&self, path: &RelPath, opened: BorrowedFd<'_>, stat: &Stat) -> io::Result<bool> {
        if content::capability(opened)?.is_some() {
            return Err(io::Error::other("it has capabilities"));
        }
        let is_lasting = |item: Item<'_>| content::is_lasting(stat, &item.identity(), self.horizon);
        Ok(self.directory.item(path).is_some_and(is_lasting))
    }

    /// Takes the digest of a file; `lasting` if [`look`](Self::look) always said so. Tells whether nobody has found another
    /// content in the file before.
    pub fn learn(&self, path: &RelPath, digest: Digest, lasting: bool) -> bool {
        self.directory.know(path, Content { digest, capability: None, lasting })
    }
}
