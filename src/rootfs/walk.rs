//! Lists a directory tree in parallel: everything below it with what stat says, sorted by path.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};

use super::error::{At as _, Error};
use crate::path::RelPath;
use crate::time::Timestamp;
use crate::tree::Meta;

/// One thing on the disk.
pub(super) struct Found {
    pub(super) path: RelPath,
    pub(super) stat: Stat,
}

impl Found {
    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// The metadata without attributes.
    pub(super) fn meta(&self) -> Meta {
        Meta {
            mode: (self.stat.st_mode & 0o7777) as u16,
            uid: self.stat.st_uid,
            gid: self.stat.st_gid,
            mtime: Timestamp(self.stat.st_mtime),
            xattrs: None,
        }
    }

    /// Major and minor number of a device.
    pub(super) fn device(&self) -> (u32, u32) {
        (rustix::fs::major(self.stat.st_rdev), rustix::fs::minor(self.stat.st_rdev))
    }
}

/// Opens a root to walk.
pub(super) fn open_root(root: &Path) -> io::Result<OwnedFd> {
    open_directory(CWD, root)
}

fn open_directory(at: BorrowedFd<'_>, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(at, name, flags, Mode::empty())?)
}

/// Opens the regular file `name` for reading, and nothing else that may stand there.
pub(super) fn open_file(at: BorrowedFd<'_>, name: &CStr) -> io::Result<fs_err::File> {
    let file = crate::open::for_reading(at, name)?;
    Ok(fs_err::File::from_parts(file.into(), name.to_string_lossy().into_owned()))
}

/// Walks `root` and turns everything in it, the root itself included, into values.
///
/// `visit` is called from several threads with the thing, the directory it is in and its name there (`.`
/// for the root); `None` leaves it out. The result is sorted by path.
pub(super) fn walk<T: Send>(
    root: &Path,
    visit: &(impl Fn(&Found, BorrowedFd<'_>, &CStr) -> Result<Option<T>, Error> + Sync),
) -> Result<Vec<(RelPath, T)>, Error> {
    let top = RelPath::root();
    let handle = open_root(root).at("open", root, &top)?;
    let stat = rustix::fs::fstat(&handle).at("look at", root, &top)?;
    let found = Found { path: top, stat };
    let mut list = Vec::new();
    if let Some(value) = visit(&found, handle.as_fd(), c".")? {
        list.push((RelPath::root(), value));
    }
    list.append(&mut below(root, &RelPath::root(), handle.as_fd(), visit)?);
    Ok(list)
}

fn below<T: Send>(
    root: &Path,
    path: &RelPath,
    directory: BorrowedFd<'_>,
    visit: &(impl Fn(&Found, BorrowedFd<'_>, &CStr) -> Result<Option<T>, Error> + Sync),
) -> Result<Vec<(RelPath, T)>, Error> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).at("list", root, path)? {
        let name = entry.at("list", root, path)?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort_unstable();
    let lists: Vec<_> = names
        .into_par_iter()
        .map(|name| {
            let path = path.child(name.as_bytes());
            let stat = rustix::fs::statat(directory, &*name, AtFlags::SYMLINK_NOFOLLOW)
                .at("look at", root, &path)?;
            let found = Found { path, stat };
            let value = visit(&found, directory, &name)?;
            let is_directory = found.file_type() == FileType::Directory;
            let mut list: Vec<_> = value.map(|value| (found.path.clone(), value)).into_iter().collect();
            if is_directory {
                let handle = open_directory(directory, &*name).at("open", root, &found.path)?;
                list.append(&mut below(root, &found.path, handle.as_fd(), visit)?);
            }
            Ok(list)
        })
        .collect::<Result<_, Error>>()?;
    Ok(lists.into_iter().flatten().collect())
}
