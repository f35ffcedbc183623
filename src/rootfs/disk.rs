//! What directories on this rung can hold.

use crate::path::RelPath;
use crate::tree::{Kind, Meta, Tree};

/// What the disk can say about a tree; the rest is known from entries only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Whether files can have any owner. With a single id all are 0:0.
    pub owners: bool,
    /// Whether device nodes can be made. In a user namespace they cannot.
    pub devices: bool,
    /// Whose attributes overlayfs uses.
    pub marks: Marks,
}

/// Which extended attributes overlayfs keeps its marks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// `trusted.overlay.*`, which only root of the machine can write.
    Trusted,
    /// `user.overlay.*`, in a user namespace.
    User,
}

impl Disk {
    /// Returns the name of the attribute that marks an opaque directory.
    pub(super) const fn opaque_attribute(self) -> &'static str {
        match self.marks {
            Marks::User => "user.overlay.opaque",
            Marks::Trusted => "trusted.overlay.opaque",
        }
    }

    /// Puts into `meta`, read from the disk at `path`, what the disk cannot say.
    pub(super) fn complete(self, meta: &mut Meta, path: &RelPath, lower: &Tree) {
        if !self.owners {
            // A file that is rewritten in place keeps its owner; only root makes new ones here.
            (meta.uid, meta.gid) = lower.get(path).map_or((0, 0), |entry| (entry.meta.uid, entry.meta.gid));
        }
    }

    /// Tells whether an entry of this kind is not on the disk because it cannot be.
    pub(super) const fn cannot_hold(self, kind: &Kind) -> bool {
        !self.devices && matches!(kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. })
    }
}
