//! What the disk says of a file without its bytes being read.

use rustix::fs::Stat;

use crate::digest::Digest;

/// What changes on the disk whenever a file's bytes do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: i64,
    pub(super) changed: (i64, i64),
    pub(super) modified: (i64, i64),
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size,
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
        }
    }

    /// Returns a digest that stands for what the file holds, as far as the disk tells.
    pub(super) fn digest(&self) -> Digest {
        let Self { device, inode, size, changed, modified } = *self;
        let times = [size, changed.0, changed.1, modified.0, modified.1].map(i64::to_le_bytes);
        Digest::of([&device.to_le_bytes()[..], &inode.to_le_bytes(), times.as_flattened()].concat())
    }
}
