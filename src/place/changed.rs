//! The destination while files are put into it, and what has changed in the end.

use std::collections::{BTreeMap, BTreeSet};

use crate::path::RelPath;
use crate::place::view::{Node, resolve};
use crate::place::{Error, Ids};
use crate::time::Timestamp;
use crate::tree::{Change, Changes, Entry, Kind, Meta, Origin, Tree};

/// A view of the destination, and the tree that is becoming of it.
pub(super) struct Destination<'a> {
    view: &'a Tree,
    tree: Tree,
    /// Every path put, with the index of its origin. Ancestors that only came to be named because something
    /// below them changed are not here.
    put: BTreeMap<RelPath, u16>,
    origins: Vec<Origin>,
    /// Directories that something else took the place of, perhaps only for a while.
    removed: BTreeSet<RelPath>,
}

/// What directories made on the way look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewDirectory {
    pub(super) mode: u16,
    pub(super) owner: Ids,
    pub(super) mtime: Timestamp,
}

impl<'a> Destination<'a> {
    pub(super) fn new(view: &'a Tree) -> Self {
        Self { view, tree: view.clone(), put: BTreeMap::new(), origins: Vec::new(), removed: BTreeSet::new() }
    }

    pub(super) fn get(&self, path: &RelPath) -> Option<&Entry> {
        self.tree.get(path)
    }

    /// Tells whether something was put at `path` before.
    pub(super) fn was_put(&self, path: &RelPath) -> bool {
        self.put.contains_key(path)
    }

    pub(super) fn node(&self, path: &RelPath) -> Option<Node<'_>> {
        if path.is_root() { Some(Node::Directory) } else { self.tree.get(path).map(Node::from) }
    }

    pub(super) fn resolve(&self, path: &RelPath) -> Result<RelPath, Error> {
        resolve(|path| self.node(path), path)
    }

    /// Puts `entry` at `path`, whose parent exists.
    pub(super) fn put(&mut self, path: &RelPath, entry: Entry, origin: u16) {
        self.tree.insert(path, entry);
        self.put.insert(path.clone(), origin);
    }

    /// Puts `entry` at `path`; a directory in the way of something else is gone with everything below.
    pub(super) fn replace(&mut self, path: &RelPath, entry: Entry, origin: u16) {
        if !entry.is_directory() && self.get(path).is_some_and(Entry::is_directory) {
            self.removed.insert(path.clone());
        }
        self.put(path, entry, origin);
    }

    /// Returns the index of `origin`, which stays the same for all files from one place.
    pub(super) fn add_origin(&mut self, origin: Origin) -> Result<u16, Error> {
        let index = u16::try_from(self.origins.len()).map_err(|_| Error::TooManyOrigins)?;
        self.origins.push(origin);
        Ok(index)
    }

    /// Makes the directory `path` (without links in it) and its missing parents; returns those that were made.
    pub(super) fn make_directories(
        &mut self,
        path: &RelPath,
        new: NewDirectory,
    ) -> Result<Vec<RelPath>, Error> {
        let mut made = Vec::new();
        for directory in path.ancestors().chain([path.clone()]) {
            match self.node(&directory) {
                Some(Node::Directory) => {}
                Some(Node::Symlink(_) | Node::Leaf) => return Err(Error::NotADirectory { path: directory }),
                None => {
                    let NewDirectory { mode, owner: Ids { uid, gid }, mtime } = new;
                    let meta = Meta { mode, uid, gid, mtime, xattrs: None };
                    self.put(&directory, Entry::directory(meta), 0);
                    made.push(directory);
                }
            }
        }
        Ok(made)
    }

    /// Returns what differs from the view, and the directories above it as they are.
    pub(super) fn into_changes(mut self) -> Changes {
        let mut found: Vec<(RelPath, u16)> = Vec::with_capacity(self.put.len());
        for (path, origin) in std::mem::take(&mut self.put) {
            // The root's own metadata is in no layer.
            if path.is_root() || !self.differs(&path) {
                continue;
            }
            // In the order of paths, what is above both this and the last one found is there already.
            let is_there = |parent: &RelPath| match found.last() {
                Some((last, _)) => last.starts_with(parent),
                None => parent.is_root(),
            };
            let mut missing = Vec::new();
            let mut above = path.parent();
            while let Some(parent) = above.filter(|parent| !is_there(parent)) {
                above = parent.parent();
                missing.push((parent, 0));
            }
            found.extend(missing.into_iter().rev());
            found.push((path, origin));
        }
        let upsert = |(path, origin): (RelPath, u16)| {
            let entry =
                self.tree.get(&path).expect("what was put, and what is above it, is in the tree").clone();
            Change::Upsert { path, entry, origin }
        };
        let mut list: Vec<Change> = found.into_iter().map(upsert).collect();
        // A directory that took the place of a directory's replacement must not keep what the view has there.
        for directory in &self.removed {
            self.list_gone(directory, &mut list);
        }
        list.sort_by(|a, b| a.path().cmp(b.path()));
        Changes { list, origins: self.origins }
    }

    /// Adds whiteouts for what the view has below `directory` and the tree has not, if both have the directory.
    fn list_gone(&self, directory: &RelPath, list: &mut Vec<Change>) {
        let is_directory = |tree: &Tree| tree.get(directory).is_some_and(Entry::is_directory);
        if !is_directory(self.view) || !is_directory(&self.tree) {
            return;
        }
        for (name, _) in self.view.children(directory) {
            let path = directory.child(name);
            if self.tree.get(&path).is_none() {
                list.push(Change::Whiteout { path });
            } else if !self.removed.contains(&path) {
                self.list_gone(&path, list);
            }
        }
    }

    fn differs(&self, path: &RelPath) -> bool {
        let (old, new) = (self.view.get(path), self.tree.get(path));
        // Link groups are numbered per instruction: a linked file is never what the view has.
        let linked = matches!(new, Some(Entry { kind: Kind::File { link: Some(_), .. }, .. }));
        // What was put and is gone again lay below a directory that was replaced.
        new.is_some() && (linked || old != new)
    }
}
