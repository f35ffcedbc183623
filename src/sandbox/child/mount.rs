//! Mounts by descriptors: made detached, then attached to a place inside the root, so that no name of the
//! root's can lead elsewhere. Needs Linux 5.12.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::sandbox::sys;

/// Makes a new file system of `kind`; an option without value is a flag.
pub(in crate::sandbox) fn new(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", kind)?;
    for (key, value) in options {
        if value.is_empty() {
            fsconfig_set_flag(&context, *key)?;
        } else {
            fsconfig_set_string(&context, *key, *value)?;
        }
    }
    create(context.as_fd(), attributes)
}

/// Turns a configured context into a detached mount.
pub(in crate::sandbox) fn create(context: BorrowedFd<'_>, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    fsconfig_create(context)?;
    Ok(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Makes a detached second view of what lies at `place`, with the mounts below it if `recursive`.
pub(in crate::sandbox) fn bind(place: impl AsFd, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(place, "", flags)?)
}

/// Makes a mount and those below it read-only.
pub(in crate::sandbox) fn read_only(mount: impl AsFd) -> io::Result<()> {
    sys::set_read_only(mount.as_fd(), true)
}

/// Attaches a detached mount to `place`.
pub(in crate::sandbox) fn attach(mount: impl AsFd, place: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", place, "", flags)?)
}
