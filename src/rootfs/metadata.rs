//! Owner, mode, attributes and times of what stands in a directory.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::disk::Disk;
use crate::tree::Meta;

/// Gives what stands at `name` its owner, mode and attributes, in the order in which none undoes another: a new
/// owner clears setuid bits and capabilities. What is as it should be is left alone: to look costs a tenth of a change.
pub(super) fn set_permissions(at: BorrowedFd<'_>, name: &CStr, meta: &Meta, disk: Disk) -> io::Result<()> {
    let found = rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let new_owner = disk.owners && (found.st_uid, found.st_gid) != (meta.uid, meta.gid);
    if new_owner {
        let (uid, gid) = (Uid::from_raw(meta.uid), Gid::from_raw(meta.gid));
        rustix::fs::chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
        return Ok(());
    }
    let mode = Mode::from_raw_mode(meta.mode.into());
    if new_owner || Mode::from_raw_mode(found.st_mode) != mode {
        rustix::fs::chmodat(at, name, mode, AtFlags::empty())?;
    }
    for (attribute, value) in meta.xattrs.iter().flat_map(|attributes| attributes.iter()) {
        let attribute = CString::new(&**attribute)?;
        match set_attribute(at, name, &attribute, value) {
            // A disk without attributes; the entries have them.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            result => result?,
        }
    }
    Ok(())
}

/// Gives what stands at `name` everything that an entry says of it.
pub(super) fn set_metadata(at: BorrowedFd<'_>, name: &CStr, meta: &Meta, disk: Disk) -> io::Result<()> {
    set_permissions(at, name, meta, disk)?;
    Ok(rustix::fs::utimensat(at, name, &times_of(meta), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// The times that an entry gives to a file.
pub(super) fn times_of(meta: &Meta) -> Timestamps {
    times_of_seconds(meta.mtime.0)
}

/// The times of a file that was last touched at this second.
pub(super) fn times_of_seconds(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Reads an extended attribute; `None` if there is none.
pub(super) fn attribute(at: BorrowedFd<'_>, name: &CStr, attribute: &str) -> io::Result<Option<Vec<u8>>> {
    const ENOUGH: usize = 256;
    let mut value = vec![0; ENOUGH];
    // Attributes have no call relative to a directory; its own place in /proc gives the path one.
    let path = proc_path(at, name);
    match rustix::fs::lgetxattr(&*path, attribute, &mut value) {
        Ok(size) => {
            value.truncate(size);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sets an extended attribute.
pub(super) fn set_attribute(
    at: BorrowedFd<'_>,
    name: &CStr,
    attribute: &CStr,
    value: &[u8],
) -> io::Result<()> {
    let path = proc_path(at, name);
    Ok(rustix::fs::lsetxattr(&*path, attribute, value, XattrFlags::empty())?)
}

/// Returns a path to `name` in the directory, for calls that take no directory handle.
fn proc_path(at: BorrowedFd<'_>, name: &CStr) -> CString {
    let mut path = format!("/proc/self/fd/{}/", at.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.to_bytes());
    CString::new(path).expect("a name that was a C string has no zero byte")
}
