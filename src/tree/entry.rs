//! What stands at a path.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::time::Timestamp;

/// Extended attributes by their full name (`security.capability`).
pub type Xattrs = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// What every kind of entry has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Permission bits with setuid, setgid and sticky: at most 0o7777.
    pub mode: u16,
    /// The owner inside the image.
    pub uid: u32,
    /// The group inside the image.
    pub gid: u32,
    /// The time of last modification.
    pub mtime: Timestamp,
    /// The extended attributes that layers carry; `None` for none.
    pub xattrs: Option<Arc<Xattrs>>,
}

impl Meta {
    /// Returns the metadata of an entry of root, without extended attributes.
    pub const fn root_owned(mode: u16, mtime: Timestamp) -> Self {
        Self { mode, uid: 0, gid: 0, mtime, xattrs: None }
    }
}

/// Names the entries of one tree that are hard links to one another. Only equality means something, and
/// only within one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkGroup(pub u64);

/// The kinds of entry that a layer can hold (sockets cannot).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A directory; what is in it are entries of their own.
    Directory,
    /// A regular file.
    File {
        /// Its length in bytes.
        size: u64,
        /// The digest of its content.
        digest: Digest,
        /// The other names it has, if any.
        link: Option<LinkGroup>,
    },
    /// A symbolic link.
    Symlink {
        /// Its text.
        target: Box<[u8]>,
    },
    /// A character device.
    CharDevice {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Mode, owner, time, attributes.
    pub meta: Meta,
    /// What it is.
    pub kind: Kind,
}

impl Entry {
    /// Returns a directory with `meta`.
    pub const fn directory(meta: Meta) -> Self {
        Self { meta, kind: Kind::Directory }
    }

    /// Tells whether nothing differs but perhaps which other names a file has.
    pub fn same_apart_from_links(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::File { size, digest, .. }, Kind::File { size: other_size, digest: other_digest, .. }) => {
                (&self.meta, size, digest) == (&other.meta, other_size, other_digest)
            }
            _ => self == other,
        }
    }

    /// Tells whether this is a directory.
    pub const fn is_directory(&self) -> bool {
        matches!(self.kind, Kind::Directory)
    }
}
