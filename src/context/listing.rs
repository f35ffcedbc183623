//! What a walk found: names and stat data, and the digests that are known so far.
//!
//! A context may have a million files, so what is kept of one is 48 bytes, its name in an arena of its folder, and
//! 33 bytes more once digests are wanted. What few entries have (capabilities, link targets, another device than
//! the folder) lies aside.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::context::content::Content;
use crate::digest::Digest;
use crate::path::RelPath;
use crate::place;
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

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    /// A file that has other names, in the context or elsewhere.
    LinkedFile,
    Symlink,
    CharDevice,
    BlockDevice,
    Fifo,
}

/// One entry of a folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// Of a file its size, of a directory its index in [`Folder::folders`], of a link where its target begins in
    /// [`Folder::names`] and how long it is, of a device its numbers: the upper half first.
    pub(super) detail: u64,
    pub(super) inode: u64,
    pub(super) mtime: i64,
    pub(super) ctime: i64,
    pub(super) mtime_nanoseconds: u32,
    pub(super) ctime_nanoseconds: u32,
    /// Where its name ends in [`Folder::names`]; it begins where that of the node before ends.
    pub(super) name_end: u32,
    pub(super) mode: u16,
    pub(super) kind: Kind,
}

const _: () = assert!(size_of::<Node>() == 48, "there are very many nodes");

impl Node {
    pub(super) const fn new(kind: Kind, mode: u16, detail: u64, identity: &Identity) -> Self {
        let Identity { mtime, ctime, inode, .. } = *identity;
        Self {
            detail,
            inode,
            mtime: mtime.seconds,
            ctime: ctime.seconds,
            mtime_nanoseconds: mtime.nanoseconds,
            ctime_nanoseconds: ctime.nanoseconds,
            name_end: 0,
            mode,
            kind,
        }
    }

    pub(super) const fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File | Kind::LinkedFile)
    }

    /// Returns the two halves of [`Node::detail`].
    const fn halves(&self) -> (u32, u32) {
        ((self.detail >> 32) as u32, self.detail as u32)
    }
}

/// Puts two numbers into one [`Node::detail`].
pub(super) const fn detail(upper: u32, lower: u32) -> u64 {
    (upper as u64) << 32 | lower as u64
}

/// What is right below a directory, sorted by name.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// The names of the nodes in their order, and the targets of links.
    pub(super) names: Box<[u8]>,
    pub(super) nodes: Box<[Node]>,
    /// What is in the directories among the nodes, in their order.
    pub(super) folders: Box<[Folder]>,
    /// Whether one of the nodes is a file with other names.
    pub(super) links: bool,
    /// The device of its nodes, but for those that are named beside.
    pub(super) device: u64,
    pub(super) other_devices: BTreeMap<usize, u64>,
    pub(super) contents: RwLock<Contents>,
}

/// What is known of the content of a folder's files, by their index.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Both empty before anything is known.
    states: Box<[State]>,
    digests: Box<[[u8; 32]]>,
    capabilities: BTreeMap<usize, Box<[u8]>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unknown,
    /// Known, but for this build only.
    Known,
    Lasting,
}

impl Contents {
    /// Sets the content of file `index` of `count` nodes; tells whether it did not have another one before.
    pub(super) fn set(&mut self, index: usize, count: usize, content: Content) -> bool {
        if self.states.is_empty() {
            self.states = vec![State::Unknown; count].into();
            self.digests = vec![[0; 32]; count].into();
        }
        let contradicts =
            self.states[index] != State::Unknown && self.digests[index] != *content.digest.as_bytes();
        self.states[index] = if content.lasting { State::Lasting } else { State::Known };
        self.digests[index] = *content.digest.as_bytes();
        if let Some(capability) = content.capability {
            self.capabilities.insert(index, capability);
        }
        !contradicts
    }

    fn state(&self, index: usize) -> State {
        self.states.get(index).copied().unwrap_or(State::Unknown)
    }

    fn get(&self, index: usize) -> Option<Content> {
        let lasting = match self.state(index) {
            State::Unknown => return None,
            State::Known => false,
            State::Lasting => true,
        };
        let digest = Digest::from_bytes(self.digests[index]);
        Some(Content { digest, capability: self.capabilities.get(&index).cloned(), lasting })
    }
}

impl Folder {
    /// Returns the folder that holds a root alone, whose content it is.
    pub(super) fn of_root(mut root: Node, device: u64, below: Self) -> Self {
        root.detail = 0;
        Self { nodes: [root].into(), folders: [below].into(), device, ..Self::default() }
    }

    /// Returns the entries, sorted by name.
    pub(super) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        (0..self.nodes.len()).map(|index| Item { folder: self, index })
    }

    pub(super) fn name(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.nodes[before].name_end);
        &self.names[start as usize..self.nodes[index].name_end as usize]
    }

    fn find(&self, name: &[u8]) -> Option<Item<'_>> {
        let (mut low, mut high) = (0, self.nodes.len());
        while low < high {
            let index = low + (high - low) / 2;
            match self.name(index).cmp(name) {
                std::cmp::Ordering::Less => low = index + 1,
                std::cmp::Ordering::Equal => return Some(Item { folder: self, index }),
                std::cmp::Ordering::Greater => high = index,
            }
        }
        None
    }

    /// Has `change` see and set what is known of the files right below.
    pub(super) fn with_contents<T>(&self, change: impl FnOnce(&mut Contents) -> T) -> T {
        change(&mut self.contents.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells whether there are files with other names here or below.
    pub(super) fn has_links(&self) -> bool {
        self.links || self.folders.iter().any(Self::has_links)
    }

    /// Returns the number of entries here and below.
    pub(super) fn count(&self) -> usize {
        self.nodes.len() + self.folders.iter().map(Self::count).sum::<usize>()
    }

    /// Calls `visit` with every file here and below and its path, in the order of [`RelPath`]; `path` is the folder's.
    pub(super) fn for_each_file<'f, E>(
        &'f self,
        path: &mut Vec<u8>,
        visit: &mut impl FnMut(&[u8], Item<'f>) -> Result<(), E>,
    ) -> Result<(), E> {
        let length = path.len();
        for item in self.items() {
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(item.name());
            if let Some(below) = item.below() {
                below.for_each_file(path, visit)?;
            } else if item.node().is_file() {
                visit(path, item)?;
            }
            path.truncate(length);
        }
        Ok(())
    }
}

/// An entry of a build context.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    pub(super) folder: &'a Folder,
    pub(super) index: usize,
}

impl<'a> Item<'a> {
    pub(super) fn node(self) -> &'a Node {
        &self.folder.nodes[self.index]
    }

    pub(super) fn name(self) -> &'a [u8] {
        self.folder.name(self.index)
    }

    /// Returns what is in a directory.
    pub(super) fn below(self) -> Option<&'a Folder> {
        let node = self.node();
        let index = usize::try_from(node.detail).expect("an index of what is in memory");
        (node.kind == Kind::Directory).then(|| &self.folder.folders[index])
    }

    /// Returns the entry at `path` below this one.
    pub(super) fn find(self, path: &RelPath) -> Option<Self> {
        path.components().try_fold(self, |item, name| item.below()?.find(name))
    }

    pub(super) fn mtime(self) -> Timestamp {
        Timestamp(self.node().mtime)
    }

    /// Returns the text of a link.
    pub(super) fn target(self) -> &'a [u8] {
        let (start, length) = self.node().halves();
        &self.folder.names[start as usize..][..length as usize]
    }

    /// Returns the major and the minor number of a device.
    pub(super) fn numbers(self) -> (u32, u32) {
        self.node().halves()
    }

    /// Returns the device and the inode.
    pub(super) fn inode(self) -> (u64, u64) {
        let other = self.folder.other_devices.get(&self.index);
        (other.copied().unwrap_or(self.folder.device), self.node().inode)
    }

    /// Returns the identity of a file.
    pub(super) fn identity(self) -> Identity {
        let node = self.node();
        let (device, inode) = self.inode();
        let mtime = FileTime { seconds: node.mtime, nanoseconds: node.mtime_nanoseconds };
        let ctime = FileTime { seconds: node.ctime, nanoseconds: node.ctime_nanoseconds };
        Identity { size: node.detail, mtime, ctime, inode, device }
    }

    /// Returns what is known of a file's content.
    pub(super) fn content(self) -> Option<Content> {
        self.folder.contents.read().unwrap_or_else(PoisonError::into_inner).get(self.index)
    }

    /// Tells whether the content of a file is known.
    pub(super) fn is_known(self) -> bool {
        let contents = self.folder.contents.read().unwrap_or_else(PoisonError::into_inner);
        contents.state(self.index) != State::Unknown
    }
}

impl<'a> From<Item<'a>> for place::Node<'a> {
    fn from(item: Item<'a>) -> Self {
        match item.node().kind {
            Kind::Directory => Self::Directory,
            Kind::Symlink => Self::Symlink(item.target()),
            Kind::File | Kind::LinkedFile | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => Self::Leaf,
        }
    }
}
