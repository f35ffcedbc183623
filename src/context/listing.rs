//! What a walk found: a tree of names and stat data, and of the digests that are known so far.

use std::sync::OnceLock;

use crate::context::content::Content;
use crate::path::RelPath;
use crate::place::{self, View};
use crate::time::Timestamp;

/// A point in time as file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct FileTime {
    pub(super) seconds: i64,
    pub(super) nanoseconds: u32,
}

impl From<FileTime> for Timestamp {
    fn from(time: FileTime) -> Self {
        Self(time.seconds)
    }
}

/// What tells two states of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Identity {
    pub(super) size: u64,
    pub(super) mtime: FileTime,
    pub(super) ctime: FileTime,
    pub(super) inode: u64,
    pub(super) device: u64,
}

/// One entry of a listing.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: Box<[u8]>,
    pub(super) mode: u16,
    pub(super) identity: Identity,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Directory(Vec<Node>),
    File {
        /// Whether the file has other names, in the context or elsewhere.
        linked: bool,
        content: OnceLock<Content>,
    },
    Symlink(Box<[u8]>),
    CharDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
}

impl Node {
    /// Returns what is in this directory, sorted by name; nothing for anything else.
    pub(super) fn children(&self) -> &[Self] {
        match &self.kind {
            Kind::Directory(children) => children,
            _ => &[],
        }
    }

    /// Returns the node at `path` below this one.
    pub(super) fn find(&self, path: &RelPath) -> Option<&Self> {
        path.components().try_fold(self, Self::child)
    }

    fn child(&self, name: &[u8]) -> Option<&Self> {
        let children = self.children();
        children.binary_search_by(|child| (*child.name).cmp(name)).ok().map(|at| &children[at])
    }

    fn as_place_node(&self) -> place::Node<'_> {
        match &self.kind {
            Kind::Directory(_) => place::Node::Directory,
            Kind::Symlink(target) => place::Node::Symlink(target),
            Kind::File { .. } | Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {
                place::Node::Leaf
            }
        }
    }

    /// Calls `visit` with every node below this one, in the order of [`RelPath`].
    pub(super) fn for_each_below<'a>(&'a self, path: &RelPath, visit: &mut impl FnMut(RelPath, &'a Self)) {
        for child in self.children() {
            let path = path.child(&child.name);
            visit(path.clone(), child);
            child.for_each_below(&path, visit);
        }
    }
}

/// Finds nodes; fastest when asked in the order of paths, where most have the directory of the one before.
pub(super) struct Finder<'a> {
    root: &'a Node,
    /// The directory that was looked into last.
    last: Option<(RelPath, &'a Node)>,
}

impl<'a> Finder<'a> {
    pub(super) const fn new(root: &'a Node) -> Self {
        Self { root, last: None }
    }

    /// Returns the node at `path`.
    pub(super) fn find(&mut self, path: &RelPath) -> Option<&'a Node> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Some(self.root) };
        let directory = match &self.last {
            Some((last, directory)) if *last == parent => *directory,
            Some(_) | None => {
                let directory = self.root.find(&parent)?;
                self.last = Some((parent, directory));
                directory
            }
        };
        directory.child(name)
    }
}

impl View for Node {
    fn node(&self, path: &RelPath) -> Option<place::Node<'_>> {
        self.find(path).map(Self::as_place_node)
    }

    fn children(&self, path: &RelPath) -> impl Iterator<Item = (&[u8], place::Node<'_>)> {
        let children = self.find(path).map_or(&[][..], Self::children);
        children.iter().map(|child| (&*child.name, child.as_place_node()))
    }
}
