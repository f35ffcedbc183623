//! What a scan does about the bytes of files.

use std::ffi::CStr;
use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;

use super::stamp::Stamp;
use super::walk::{Found, open_file};
use crate::digest::{Digest, Hasher};

/// What a scan does about the bytes of changed files.
#[derive(Clone, Copy)]
pub enum Contents<'a> {
    /// They are read, for the digests of files.
    Read,
    /// A command may still be changing them. Nothing is read; in place of a file's digest is one that changes whenever the
    /// disk says something else of the file. The scan fails when this tells that it need not go on, and may fail
    /// when something disappears while it is looked at.
    Stamped(&'a (dyn Fn() -> bool + Sync)),
}

impl Contents<'_> {
    /// Returns the size and the digest of a file.
    pub(super) fn of(self, found: &Found, at: BorrowedFd<'_>, name: &CStr) -> io::Result<(u64, Digest)> {
        match self {
            Self::Read => read(at, name),
            Self::Stamped(go_on) if go_on() => {
                Ok((found.stat.st_size as u64, Stamp::of(&found.stat).digest()))
            }
            Self::Stamped(_) => Err(io::ErrorKind::Interrupted.into()),
        }
    }
}

/// Reads a file to its end.
fn read(at: BorrowedFd<'_>, name: &CStr) -> io::Result<(u64, Digest)> {
    let mut file = open_file(at, name)?;
    let (mut hasher, mut size) = (Hasher::new(), 0);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((size, hasher.finish())),
            count => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
        }
    }
}
