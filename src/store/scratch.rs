//! Private directories of a running process, and what is left of them when it is killed.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::lock::Lock;
use super::remove::remove_tree;

/// A directory that only this process uses. Dropping it removes everything in it, also what belongs to other
/// users as far as the process may.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    _lock: Lock,
}

impl Scratch {
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        loop {
            let path = tempfile::Builder::new().prefix("").rand_bytes(16).tempdir_in(parent)?.keep();
            // Between the two calls another process may take the directory for a leftover and remove it.
            match fs::File::open(&path).and_then(Lock::on) {
                Ok(lock) if is_same(&lock, &path) => return Ok(Self { path, _lock: lock }),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next process that opens the store with more rights.
        let _ = remove_tree(&self.path);
    }
}

/// Removes the directories whose owner is gone. Whatever resists stays for the next time.
pub(super) fn remove_leftovers(parent: &Path) {
    let Ok(directories) = fs::read_dir(parent) else { return };
    for path in directories.flatten().map(|entry| entry.path()) {
        if let Ok(Some(lock)) = fs::File::open(&path).and_then(Lock::try_on)
            && is_same(&lock, &path)
        {
            let _ = remove_tree(&path);
        }
    }
}

/// Tells whether what was locked is still what the path leads to.
fn is_same(lock: &Lock, path: &Path) -> bool {
    match (lock.file().metadata(), fs::symlink_metadata(path)) {
        (Ok(locked), Ok(there)) => (locked.dev(), locked.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}
