//! Unpacked root file systems: made once, found by everybody, disposable.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::lock::Lock;
use super::{Result, Scratch, Store, note_use};
use crate::digest::Digest;

/// The answer to [`Store::tree_directory`].
#[derive(Debug)]
pub enum TreeSlot {
    /// The tree is there, complete; it must not be changed.
    Found(PathBuf),
    /// Nobody has made it yet, and nobody else is making it.
    Vacant(VacantTree),
}

/// A tree that is being made. Dropping it removes what was made and lets the next process try.
#[derive(Debug)]
pub struct VacantTree {
    scratch: Scratch,
    destination: PathBuf,
    _lock: Lock,
}

/// The tree's own root lies one level below the directory that is renamed: renaming a directory to another
/// parent needs write permission on it, and the root may have any mode and owner.
const SLOT: &str = "slot";
const ROOT: &str = "root";

impl VacantTree {
    /// Returns the empty directory that is to become the tree's root.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join(SLOT).join(ROOT)
    }

    /// Puts the finished tree where others find it, and returns its root's path.
    ///
    /// # Errors
    /// If it cannot be renamed.
    pub fn commit(self) -> Result<PathBuf> {
        fs::rename(self.scratch.path().join(SLOT), &self.destination)?;
        Ok(self.destination.join(ROOT))
    }
}

impl Store {
    /// Finds the tree `name` of an id mapping, or a place to make it. Waits while another thread or process
    /// makes it.
    ///
    /// # Errors
    /// If a directory or lock cannot be made.
    pub fn tree_directory(&self, mapping: &str, name: &str) -> Result<TreeSlot> {
        let parent = self.path("trees").join(file_name(mapping));
        let destination = parent.join(file_name(name));
        let root = destination.join(ROOT);
        if destination.is_dir() {
            note_use(&destination);
            return Ok(TreeSlot::Found(root));
        }
        fs::create_dir_all(&parent)?;
        let lock_name = format!("tree-{}", Digest::of(format!("{mapping}\0{name}")).hex());
        let lock = Lock::exclusive(&self.path("locks").join(lock_name))?;
        if destination.is_dir() {
            return Ok(TreeSlot::Found(root));
        }
        let scratch = self.scratch()?;
        fs::create_dir_all(scratch.path().join(SLOT).join(ROOT))?;
        Ok(TreeSlot::Vacant(VacantTree { scratch, destination, _lock: lock }))
    }

    /// Returns the tree `name` of an id mapping if it is there.
    pub fn find_tree(&self, mapping: &str, name: &str) -> Option<PathBuf> {
        let slot = self.path("trees").join(file_name(mapping)).join(file_name(name));
        slot.is_dir().then(|| {
            note_use(&slot);
            slot.join(ROOT)
        })
    }

    /// Forgets a tree that turned out to be unusable, so that it is made anew.
    ///
    /// # Errors
    /// If it cannot be moved away.
    pub fn remove_tree_directory(&self, mapping: &str, name: &str) -> Result<()> {
        self.discard(&self.path("trees").join(file_name(mapping)).join(file_name(name)))
    }

    /// Moves a directory out of sight in one step, then removes it.
    pub(super) fn discard(&self, path: &Path) -> Result<()> {
        let scratch = self.scratch()?;
        match fs::rename(path, scratch.path().join("discarded")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Makes one harmless path component of any text: other characters than letters, digits, `_` and `-` (and `.`
/// inside) become `%XX`.
fn file_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for (index, byte) in text.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || (byte == b'.' && index > 0) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    name
}
