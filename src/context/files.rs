//! Files whose tree is known as a whole: what was downloaded, checked out or unpacked.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::path::RelPath;
use crate::store::Scratch;
use crate::tree::{Bytes, Entry, Kind, Tree};

/// A tree and the directory that holds its files at their paths in the tree, removed with the value.
#[derive(Debug)]
pub struct Files {
    /// Every entry, with digests.
    pub tree: Tree,
    path: Arc<PathBuf>,
    _scratch: Scratch,
}

impl Files {
    /// Keeps `scratch`, which holds the files of `tree` below `path`.
    pub fn new(tree: Tree, path: PathBuf, scratch: Scratch) -> Self {
        Self { tree, path: Arc::new(path), _scratch: scratch }
    }

    /// Returns where the bytes of its files lie.
    pub fn bytes(&self) -> Bytes {
        Bytes::Directory(Arc::clone(&self.path))
    }

    /// Returns the directory that holds the files.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a regular file; `None` if there is none at `path`. Links are not followed: they would lead out.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&self, path: &RelPath) -> std::io::Result<Option<Vec<u8>>> {
        let Some(Entry { kind: Kind::File { .. }, .. }) = self.tree.get(path) else { return Ok(None) };
        let mut bytes = Vec::new();
        fs_err::File::open(self.path.join(path.as_path()))?.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}
