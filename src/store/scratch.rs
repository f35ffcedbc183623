//! Private directories of a running process, and what is left of them when it is killed.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use fs_err as fs;

use super::lock::Lock;

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

/// Removes a directory with everything in it, including directories that their owner may not write to.
/// A missing directory is no error.
///
/// # Errors
/// If something cannot be removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path);
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Gives the owner all rights on every directory; symlinks are not followed.
fn make_writable(directory: &Path) {
    let _ = fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}
