//! Cache mounts: directories that live on between builds and are shared by a rule.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::lock::Lock;
use super::{Error, Result, Store, note_use};
use crate::digest::Digest;
use crate::graph::Sharing;

/// A cache mount's directory, reserved by its rule until the value is dropped.
#[derive(Debug)]
pub struct CacheMount {
    /// The directory.
    pub path: PathBuf,
    _lock: Lock,
}

impl Store {
    /// Reserves the directory of the cache `id`: together with others (`Shared`), alone after waiting for
    /// them (`Locked`), or alone at once, in another directory of the same cache if need be (`Private`).
    ///
    /// A new directory is first given to `prepare`, which sets owner and mode and puts in what the cache
    /// starts with; others see it only when that has succeeded.
    ///
    /// # Errors
    /// What `prepare` returns, or the store's error if a directory or lock cannot be made.
    pub fn cache_mount<E: From<Error>>(
        &self,
        id: &str,
        sharing: Sharing,
        prepare: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<CacheMount, E> {
        let parent = self.path("caches").join(Digest::of(id).hex());
        fs::create_dir_all(&parent).map_err(Error::Io)?;
        let (path, lock) = match sharing {
            Sharing::Private => first_free(&parent)?,
            Sharing::Locked | Sharing::Shared => {
                let lock = match sharing {
                    Sharing::Shared if parent.join("0").is_dir() => Lock::shared(&lock_path(&parent, 0)),
                    _ => Lock::exclusive(&lock_path(&parent, 0)),
                };
                (parent.join("0"), lock.map_err(Error::Io)?)
            }
        };
        if !path.is_dir() {
            self.make_cache(&path, prepare)?;
        }
        note_use(&lock_path_of(&path));
        let lock = match sharing {
            Sharing::Shared => lock.downgrade().map_err(Error::Io)?,
            Sharing::Locked | Sharing::Private => lock,
        };
        Ok(CacheMount { path: path.join(DATA), _lock: lock })
    }

    fn make_cache<E: From<Error>>(
        &self,
        destination: &Path,
        prepare: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(), E> {
        let scratch = self.scratch()?;
        let slot = scratch.path().join("cache");
        let data = slot.join(DATA);
        fs::create_dir_all(&data).map_err(Error::Io)?;
        prepare(&data)?;
        fs::rename(&slot, destination).map_err(Error::Io)?;
        Ok(())
    }
}

/// The mounted directory lies below the one that is renamed: it may have any owner and mode.
const DATA: &str = "data";

fn first_free(parent: &Path) -> Result<(PathBuf, Lock)> {
    let mut number = 0_u32;
    loop {
        if let Some(lock) = Lock::try_exclusive(&lock_path(parent, number))? {
            return Ok((parent.join(number.to_string()), lock));
        }
        number += 1;
    }
}

fn lock_path(parent: &Path, number: u32) -> PathBuf {
    lock_path_of(&parent.join(number.to_string()))
}

/// `<number>.lock`, beside the directory `<number>`.
pub(super) fn lock_path_of(directory: &Path) -> PathBuf {
    directory.with_added_extension("lock")
}
