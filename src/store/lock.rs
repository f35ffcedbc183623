//! Locks that die with their process: flock on a file or directory (std's file locks).

use std::io;
use std::path::Path;

use fs_err as fs;

use super::{Error, Result, Store};

/// A lock, released when dropped or when the process ends however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    file: fs::File,
}

impl Lock {
    /// Waits until nobody else holds the lock.
    pub(super) fn exclusive(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        retry(|| file.file().lock())?;
        Ok(Self { file })
    }

    /// Waits until nobody holds the lock exclusively.
    pub(super) fn shared(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        retry(|| file.file().lock_shared())?;
        Ok(Self { file })
    }

    /// Returns `None` if somebody holds the lock.
    pub(super) fn try_exclusive(path: &Path) -> io::Result<Option<Self>> {
        Self::try_on(open(path)?)
    }

    /// Locks an open file or directory; `None` if somebody holds the lock.
    pub(super) fn try_on(file: fs::File) -> io::Result<Option<Self>> {
        match file.file().try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for an open file or directory.
    pub(super) fn on(file: fs::File) -> io::Result<Self> {
        retry(|| file.file().lock())?;
        Ok(Self { file })
    }

    /// Turns into a shared lock. Another process may hold the lock exclusively in between.
    pub(super) fn downgrade(self) -> io::Result<Self> {
        retry(|| self.file.file().lock_shared())?;
        Ok(self)
    }

    pub(super) const fn file(&self) -> &fs::File {
        &self.file
    }
}

fn open(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// A signal that is handled (progress timers, window size) must not end the wait.
fn retry(lock: impl Fn() -> io::Result<()>) -> io::Result<()> {
    loop {
        match lock() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The right to rely on the store: while it is held, nothing that a build has put or found is collected.
#[derive(Debug)]
pub struct Lease {
    _lock: Lock,
}

impl Store {
    /// Takes a lease; waits while the garbage is collected. Any number may be held at once.
    ///
    /// # Errors
    /// If the lock file cannot be opened.
    pub fn lease(&self) -> Result<Lease> {
        Ok(Lease { _lock: Lock::shared(&self.path("locks/lease"))? })
    }

    pub(super) fn lock_for_gc(&self) -> Result<Lock> {
        Lock::try_exclusive(&self.path("locks/lease"))?
            .ok_or_else(|| Error::InUse { path: self.path_of_layout().to_owned() })
    }
}
