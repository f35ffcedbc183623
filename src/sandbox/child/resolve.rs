//! Finds a path inside a root, and makes what is missing of it so that something can be mounted there.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timestamps};
use rustix::io::Errno;

use crate::path::{LinkLoop, RelPath};

/// As the kernel does.
const MOST_LINKS: usize = 40;

/// What a mount needs to stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// Opens `path` inside `root` as a place (O_PATH), following symbolic links within the root.
pub(super) fn open(root: BorrowedFd<'_>, path: &RelPath) -> io::Result<OwnedFd> {
    open_with(root, path, OFlags::PATH)
}

/// Opens `path` inside `root` with `flags`, following symbolic links within the root.
pub(super) fn open_with(root: BorrowedFd<'_>, path: &RelPath, flags: OFlags) -> io::Result<OwnedFd> {
    let (flags, mode) = (flags | OFlags::CLOEXEC, Mode::empty());
    Ok(rustix::fs::openat2(
        root,
        path.as_path(),
        flags,
        mode,
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    )?)
}

/// Opens `path` inside `root` as a place; what is missing of it is made: directories 0755, the last
/// component of `kind`. Tells `made` about each thing made, parents first. The times of the directories
/// in which something was made are put back.
pub(super) fn open_or_make(
    root: BorrowedFd<'_>,
    path: &RelPath,
    kind: Kind,
    made: &mut dyn FnMut(RelPath) -> io::Result<()>,
) -> io::Result<OwnedFd> {
    match open(root, path) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
        found => return found,
    }
    let real = follow(root, path)?;
    let mut at = RelPath::root();
    let mut remaining = real.components().count();
    for name in real.components() {
        remaining -= 1;
        let parent = open(root, &at)?;
        at = at.child(name);
        let kind = if remaining > 0 { Kind::Directory } else { kind };
        if make(parent.as_fd(), name, kind)? {
            made(at.clone())?;
        }
    }
    open(root, &real)
}

/// Makes one thing in `parent`, whose times stay; `false` if it is there.
fn make(parent: BorrowedFd<'_>, name: &[u8], kind: Kind) -> io::Result<bool> {
    let name = OsStr::from_bytes(name);
    let before = rustix::fs::fstat(parent)?;
    let result = match kind {
        Kind::Directory => rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match result {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let times = Timestamps {
        last_access: rustix::fs::Timespec { tv_sec: before.st_atime, tv_nsec: before.st_atime_nsec as _ },
        last_modification: rustix::fs::Timespec {
            tv_sec: before.st_mtime,
            tv_nsec: before.st_mtime_nsec as _,
        },
    };
    // Through the parent's own entry: a place descriptor itself cannot be given times.
    rustix::fs::utimensat(parent, ".", &times, AtFlags::empty())?;
    Ok(true)
}

/// Returns `path` with every symbolic link on it replaced, as far as it exists.
pub(super) fn follow(root: BorrowedFd<'_>, path: &RelPath) -> io::Result<RelPath> {
    path.follow_links(true, MOST_LINKS, |link| link_target(root, link))
}

impl From<LinkLoop> for io::Error {
    fn from(_: LinkLoop) -> Self {
        Self::from_raw_os_error(libc::ELOOP)
    }
}

fn link_target(root: BorrowedFd<'_>, path: &RelPath) -> io::Result<Option<Vec<u8>>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let parent = match open(root, &parent) {
        Ok(parent) => parent,
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let name = OsStr::from_bytes(name);
    match rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Symlink => {
            Ok(Some(rustix::fs::readlinkat(&parent, name, Vec::new())?.into_bytes()))
        }
        Ok(_) | Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn makes_what_is_missing_inside_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs_err::create_dir(at("etc")).unwrap();
        symlink("../../../run/resolv.conf", at("etc/resolv.conf")).unwrap();
        symlink("/var/data", at("data")).unwrap();
        let before = fs_err::metadata(at("etc")).unwrap().modified().unwrap();
        let root =
            rustix::fs::open(directory.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let mut made = Vec::new();
        let mut note = |path: RelPath| {
            made.push(path.to_string());
            Ok(())
        };
        open_or_make(root.as_fd(), &RelPath::clean("etc/resolv.conf"), Kind::File, &mut note).unwrap();
        open_or_make(root.as_fd(), &RelPath::clean("data/x"), Kind::Directory, &mut note).unwrap();
        open_or_make(root.as_fd(), &RelPath::clean("etc/hosts"), Kind::File, &mut note).unwrap();
        open_or_make(root.as_fd(), &RelPath::clean("etc/hosts"), Kind::File, &mut note).unwrap();
        assert_eq!(made, ["run", "run/resolv.conf", "var", "var/data", "var/data/x", "etc/hosts"]);
        assert_eq!(fs_err::metadata(at("etc")).unwrap().modified().unwrap(), before);
        assert!(at("var/data/x").is_dir() && at("run/resolv.conf").is_file());
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        symlink("b", directory.path().join("a")).unwrap();
        symlink("a", directory.path().join("b")).unwrap();
        let root =
            rustix::fs::open(directory.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let error = open_or_make(root.as_fd(), &RelPath::clean("a/x"), Kind::File, &mut |_| Ok(()));
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::ELOOP));
    }
}
