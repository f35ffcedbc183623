//! Takes things away: mount points that a step left empty, and whole trees.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::error::{At as _, Error};
use crate::path::RelPath;

/// Removes from `directory` (a step's upper or plain one) the stubs that were made to mount something on,
/// as far as they are still empty. Their parents' times stay.
///
/// # Errors
/// If the directory cannot be opened. A stub that has content or is gone is left as it is.
pub fn remove_stubs(directory: &Path, stubs: &[RelPath]) -> Result<(), Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root =
        rustix::fs::openat(CWD, directory, flags, Mode::empty()).at("open", directory, &RelPath::root())?;
    // Children first, so that a chain of stubs goes as a whole.
    for stub in stubs.iter().rev() {
        let (Some(parent), Some(name)) = (stub.parent(), stub.file_name()) else { continue };
        let parent = rustix::fs::openat2(
            &root,
            parent.as_path(),
            flags,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
        );
        match parent {
            Ok(parent) => {
                remove_if_empty(parent.as_fd(), OsStr::from_bytes(name)).at("remove", directory, stub)?
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error).at("remove", directory, stub),
        }
    }
    Ok(())
}

fn remove_if_empty(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let found = match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let flags = match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => AtFlags::REMOVEDIR,
        FileType::RegularFile if found.st_size == 0 => AtFlags::empty(),
        _ => return Ok(()),
    };
    let before = rustix::fs::fstat(parent)?;
    match rustix::fs::unlinkat(parent, name, flags) {
        Ok(()) => {}
        Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: before.st_atime, tv_nsec: before.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: before.st_mtime, tv_nsec: before.st_mtime_nsec as _ },
    };
    Ok(rustix::fs::futimens(parent, &times)?)
}

/// Removes a directory with everything in it, also what denies its owner to look in (as overlayfs's work
/// directory does). One that is gone is no error.
///
/// # Errors
/// If something cannot be removed.
pub fn remove_tree(directory: &Path) -> Result<(), Error> {
    let root = RelPath::root();
    remove_at(CWD, directory.as_os_str()).at("remove", directory, &root)
}

/// Removes what stands at `name`, whatever it is.
pub(super) fn remove_at(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(parent, name, flags, Mode::empty())?
        }
        result => result?,
    };
    let clear = || -> io::Result<()> {
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let child = entry.file_name().to_bytes();
            if !matches!(child, b"." | b"..") {
                remove_at(directory.as_fd(), OsStr::from_bytes(child))?;
            }
        }
        Ok(())
    };
    match clear() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            rustix::fs::fchmod(&directory, Mode::RWXU)?;
            clear()?;
        }
        result => result?,
    }
    Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}
