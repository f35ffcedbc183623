//! One directory with the whole state: remembered before a step, compared after it.

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::contents::Contents;
use super::disk::Disk;
use super::error::Error;
use super::stamp::Stamp;
use super::upper::{Scan, inode_of, is_unchanged, link};
use super::walk::{self, Found};
use crate::path::RelPath;
use crate::tree::{Changes, Kind, Origin, Tree, diff};

/// What the disk said of everything before a step.
#[derive(Debug, Clone, Default)]
pub struct Index {
    stamps: HashMap<RelPath, Stamp>,
}

/// Remembers what the disk says of everything in `directory`.
///
/// # Errors
/// If something in it cannot be read.
pub fn index(directory: &Path) -> Result<Index, Error> {
    let visit = |found: &Found, _: BorrowedFd<'_>, _: &CStr| Ok(Some(Stamp::of(&found.stat)));
    Ok(Index { stamps: walk::walk(directory, &visit)?.into_iter().collect() })
}

/// Reads what changed in `directory`, which held `lower` when `before` was made: the difference to `lower`.
///
/// The bytes of changed files lie in `directory` until the next step changes them again.
///
/// # Errors
/// If something in it cannot be read.
pub fn scan_plain(
    directory: &Path,
    before: &Index,
    lower: &Tree,
    disk: Disk,
    contents: Contents<'_>,
) -> Result<Changes, Error> {
    let scan = Scan { root: directory, lower, disk, contents };
    let visit = |found: &Found, at: BorrowedFd<'_>, name: &CStr| {
        let (stamp, before) = (Stamp::of(&found.stat), before.stamps.get(&found.path));
        let below = lower.get(&found.path);
        // Everything that is in an entry changes the time of change with it.
        let known = below.filter(|entry| before == Some(&stamp) && matches!(entry.kind, Kind::File { .. }));
        let mut entry = match known {
            Some(entry) => Some(entry.clone()),
            None => scan.entry(found, at, name)?,
        };
        if let (Some(entry), Some(below), Some(before)) = (&mut entry, below, before)
            && before.modified == stamp.modified
        {
            // The step did not change it, so it is that of the entry, whatever the disk says: the layers may be
            // there with rewritten times.
            entry.meta.mtime = below.meta.mtime;
        }
        Ok(entry.map(|entry| (entry, inode_of(found))))
    };
    let mut tree = Tree::empty();
    let mut changed = Vec::new();
    for (path, (entry, inode)) in walk::walk(directory, &visit)? {
        match lower.get(&path).filter(|_| is_unchanged(lower, &path, &entry)) {
            // With the group that it has there; see `scan_upper`.
            Some(unchanged) => tree.insert(&path, unchanged.clone()),
            None => changed.push((path, entry, inode)),
        }
    }
    link(changed.iter_mut().map(|(_, entry, inode)| (entry, *inode)));
    for (path, entry, _) in changed {
        tree.insert(&path, entry);
    }
    for (path, entry) in lower.iter() {
        let parent_stays =
            || path.parent().is_some_and(|parent| tree.get(&parent).is_some_and(|e| e.is_directory()));
        if disk.cannot_hold(&entry.kind) && tree.get(&path).is_none() && parent_stays() {
            tree.insert(&path, entry.clone());
        }
    }
    let mut changes = diff(lower, &tree);
    changes.origins = vec![Origin::whole(directory)];
    Ok(changes)
}
