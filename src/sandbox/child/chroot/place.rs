//! Mounts without mounting: content is put at a path, what was there kept aside, and both undone.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::copy;
use crate::path::RelPath;
use crate::rootfs::remove_tree;
use crate::sandbox::child::Doing as _;
use crate::sandbox::child::resolve::{self, Kind};
use crate::sandbox::wire::{self, Failure, Message};

/// What was put into a root, in order.
pub(super) struct Places<'a> {
    root: &'a OwnedFd,
    scratch: &'a Path,
    control: &'a UnixStream,
    list: Vec<Place>,
}

struct Place {
    path: RelPath,
    parent: OwnedFd,
    name: OsString,
    /// Where what was there is kept.
    kept: Option<PathBuf>,
    /// Where the content goes back to.
    lender: Option<PathBuf>,
}

impl<'a> Places<'a> {
    /// Starts with nothing put into `root`; what stands in the way is kept in `scratch`.
    pub(super) const fn new(root: &'a OwnedFd, scratch: &'a Path, control: &'a UnixStream) -> Self {
        Self { root, scratch, control, list: Vec::new() }
    }

    /// Lets `make` put something at `path`, which is free then. The times of the directory stay.
    pub(super) fn put(
        &mut self,
        path: &RelPath,
        make: impl FnOnce(BorrowedFd<'_>, &OsStr) -> io::Result<()>,
    ) -> io::Result<()> {
        self.put_and_return(path, None, make)
    }

    /// Moves what lies at `source` to `path` until everything is cleared.
    pub(super) fn lend(&mut self, path: &RelPath, source: PathBuf) -> io::Result<()> {
        let from = source.clone();
        self.put_and_return(path, Some(source), |parent, name| move_to(&from, &path_of(parent, name)))
    }

    fn put_and_return(
        &mut self,
        path: &RelPath,
        lender: Option<PathBuf>,
        make: impl FnOnce(BorrowedFd<'_>, &OsStr) -> io::Result<()>,
    ) -> io::Result<()> {
        let real = resolve::follow(self.root.as_fd(), path)?;
        let (Some(above), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        };
        let mut made = |path| wire::send(self.control, &Message::Stub(path));
        resolve::open_or_make(self.root.as_fd(), &above, Kind::Directory, &mut made)?;
        let parent = resolve::open_with(self.root.as_fd(), &above, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let name = OsStr::from_bytes(name).to_owned();
        let aside = self.scratch.join(format!("kept-{}", self.list.len()));
        let times = times_of(parent.as_fd())?;
        let kept = match rustix::fs::statat(&parent, &*name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => {
                move_to(&path_of(parent.as_fd(), &name), &aside)?;
                Some(aside)
            }
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        // Noted before it is made, so that half of it is cleared too.
        self.list.push(Place { path: real, parent, name, kept, lender });
        let place = self.list.last().expect("it was just put there");
        make(place.parent.as_fd(), &place.name)?;
        Ok(rustix::fs::futimens(&place.parent, &times)?)
    }

    /// Takes everything away again, the last first, and puts back what was there. What can be done is done
    /// before an error is returned.
    pub(super) fn clear(self) -> Result<(), Failure> {
        let mut result = Ok(());
        for place in self.list.into_iter().rev() {
            let cleared = place.clear().doing(|| format!("take away what was placed at /{}", place.path));
            result = result.and(cleared);
        }
        result
    }
}

impl Place {
    fn clear(&self) -> io::Result<()> {
        let times = times_of(self.parent.as_fd())?;
        let here = path_of(self.parent.as_fd(), &self.name);
        if let Some(lender) = &self.lender {
            move_to(&here, lender)?;
        }
        remove_tree(&here).map_err(io::Error::other)?;
        if let Some(kept) = &self.kept {
            move_to(kept, &here)?;
        }
        Ok(rustix::fs::futimens(&self.parent, &times)?)
    }
}

/// Returns a path to `name` in an open directory.
pub(super) fn path_of(parent: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd())).join(name)
}

fn times_of(directory: BorrowedFd<'_>) -> io::Result<Timestamps> {
    let found = rustix::fs::fstat(directory)?;
    Ok(Timestamps {
        last_access: Timespec { tv_sec: found.st_atime, tv_nsec: found.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: found.st_mtime, tv_nsec: found.st_mtime_nsec as _ },
    })
}

/// Moves a file or directory, by copying where it must cross file systems.
fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat(CWD, from, CWD, to) {
        Err(Errno::XDEV) => {
            copy::copy(from, to)?;
            remove_tree(from).map_err(io::Error::other)
        }
        result => Ok(result?),
    }
}
