//! Finds out what the kernel allows, by trying it in a process of its own.

use std::io;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{MountAttrFlags, MountPropagationFlags, mount_change};
use rustix::process::{WaitOptions, waitpid};
use rustix::thread::UnshareFlags;

use super::child::{mount, view};
use super::isolation::{Isolation, Overlay};
use super::spec::{Root, Upper};
use super::sys::{self, Fork};
use super::user_namespace::Ground;

/// Tells whether this process may make the namespaces and mounts of a step.
pub(super) fn namespaces() -> bool {
    in_child(|| {
        let all = UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
        sys::unshare(all)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let memory = mount::new("tmpfs", &[], MountAttrFlags::empty())?;
        // Security modules may let mounts be made but not be attached.
        mount::attach(memory, rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?)
    })
}

/// Tells whether this process may change its root.
pub(super) fn chroot() -> bool {
    in_child(|| Ok(rustix::process::chroot("/")?))
}

/// Tries overlayfs on the file system of `store`, an existing directory in which things may be made.
///
/// Must be called before any thread exists.
///
/// # Errors
/// If nothing can be made in `store`.
pub fn probe(ground: Ground, store: &Path) -> io::Result<Isolation> {
    let Ground { rung, reason } = ground;
    let overlay = if !rung.has_namespaces() {
        Overlay::Absent
    } else if rung.in_user_namespace() {
        if overlay_works(store, true)? { Overlay::User } else { Overlay::Absent }
    } else if overlay_works(store, false)? {
        Overlay::Trusted
    } else {
        Overlay::Absent
    };
    Ok(Isolation { rung, overlay, devices: devices_work(store)?, reason })
}

/// Mounts an overlay and does in it what steps do: rewrites a file, and replaces a directory.
fn overlay_works(store: &Path, userxattr: bool) -> io::Result<bool> {
    let place = tempfile::Builder::new().prefix(".probe-").tempdir_in(store)?;
    let at = |name: &str| place.path().join(name);
    for name in ["lower/sub", "upper", "work", "empty"] {
        fs_err::create_dir_all(at(name))?;
    }
    fs_err::write(at("lower/file"), "lower")?;
    let root = Root::Overlay {
        lower: vec![at("lower")],
        upper: Some(Upper { upper: at("upper"), work: at("work") }),
        userxattr,
    };
    let empty = at("empty");
    Ok(in_child(|| {
        sys::unshare(UnshareFlags::NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let view = view::open(&root, &empty).map_err(|_| io::Error::from(io::ErrorKind::Unsupported))?;
        let place = rustix::fs::openat(CWD, &empty, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        mount::attach(view, place)?;
        std::fs::write(empty.join("file"), "upper")?;
        std::fs::remove_dir(empty.join("sub"))?;
        std::fs::create_dir(empty.join("sub"))
    }))
}

/// Makes a device as images have them.
fn devices_work(store: &Path) -> io::Result<bool> {
    let place = tempfile::Builder::new().prefix(".probe-").tempdir_in(store)?;
    let null = rustix::fs::makedev(1, 3);
    let path = place.path().join("null");
    Ok(rustix::fs::mknodat(CWD, &path, FileType::CharacterDevice, Mode::RUSR, null).is_ok())
}

/// Tries something in a forked process and tells whether it worked.
fn in_child(attempt: impl FnOnce() -> io::Result<()>) -> bool {
    match sys::fork() {
        Ok(Fork::Child) => sys::exit_now(i32::from(attempt().is_err())),
        Ok(Fork::Parent(child)) => matches!(
            waitpid(Some(child), WaitOptions::empty()),
            Ok(Some((_, status))) if status.exit_status() == Some(0)
        ),
        Err(_) => false,
    }
}
