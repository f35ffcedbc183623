//! Reading the contents of files from where the changes say they lie.

use std::collections::HashMap;
use std::collections::hash_map;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};

use super::plan::{Content, File};
use super::{Digests, Error};
use crate::digest::Digest;
use crate::open;
use crate::path::RelPath;
use crate::tree::{Bytes, Changes, Origin};

/// The places of [`Changes::origins`], opened.
pub(super) struct Sources<'a> {
    origins: &'a [Origin],
    /// Where the digests come from.
    pub(super) digests: Digests<'a>,
    directories: HashMap<&'a Path, OwnedFd>,
}

impl<'a> Sources<'a> {
    pub(super) fn open(changes: &'a Changes, digests: Digests<'a>) -> Result<Self, Error> {
        let mut directories = HashMap::new();
        for origin in &changes.origins {
            let Bytes::Directory(path) = &origin.bytes else { continue };
            if let hash_map::Entry::Vacant(slot) = directories.entry(path.as_path()) {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let fd = rustix::fs::open(path.as_path(), flags, Mode::empty());
                let error = |source: rustix::io::Errno| Error::Origin {
                    directory: PathBuf::from(path.as_path()),
                    source: source.into(),
                };
                slot.insert(fd.map_err(error)?);
            }
        }
        Ok(Self { origins: &changes.origins, digests, directories })
    }

    /// Reads a stretch of a file, as long as `buffer`; tells whether the file's stat data is what it is expected to be.
    /// Where digests are promised, it surely is what the file's entry says then.
    pub(super) fn read(&self, content: &Content, buffer: &mut [u8]) -> Result<bool, Error> {
        match self.place(&content.file)? {
            Place::Inline(bytes) => {
                let start = usize::try_from(content.offset).unwrap_or(usize::MAX);
                let stretch = bytes.get(start..).and_then(|rest| rest.get(..content.len));
                match stretch {
                    Some(stretch) if bytes.len() as u64 == content.size => buffer.copy_from_slice(stretch),
                    Some(_) | None => return Err(self.changed(&content.file)),
                }
                Ok(false)
            }
            Place::File { directory, file } => {
                let fd = &self.directories[directory];
                let look = |opened: BorrowedFd<'_>, stat: &Stat| match self.digests {
                    Digests::Promised(hints) => {
                        Ok(hints.is_as_hashed.is_some_and(|is| is(directory, &file, stat)))
                    }
                    Digests::Open(learn) => learn.look(directory, &file, opened, stat),
                };
                match read_file(fd, &file, content, buffer, look) {
                    Ok(Some(as_expected)) => Ok(as_expected),
                    Ok(None) => Err(self.changed(&content.file)),
                    Err(source) => {
                        let path = content.file.path.clone();
                        Err(Error::Read { path, file: directory.join(file.as_path()), source })
                    }
                }
            }
        }
    }

    /// Reads a stretch of a file, as long as `buffer`, from a directory that a command may be changing.
    pub(super) fn read_moving(&self, content: &Content, buffer: &mut [u8]) -> Result<(), Error> {
        let Place::File { directory, file } = self.place(&content.file)? else {
            unreachable!("what a command changes lies in a directory")
        };
        let opened = open_moving(&self.directories[directory], &file, content.size);
        let read = opened
            .and_then(|opened| opened.map_or(Ok(false), |opened| fill(&opened, buffer, content.offset)));
        if read.unwrap_or(false) { Ok(()) } else { Err(self.changed(&content.file)) }
    }

    /// Takes the digest of a file that was read from its first byte to its last; `as_expected` if that was said of each
    /// stretch.
    pub(super) fn hashed(&self, content: &Content, digest: Digest, as_expected: bool) -> Result<(), Error> {
        match self.digests {
            Digests::Promised(_) if digest == content.digest => Ok(()),
            Digests::Promised(_) => Err(self.changed(&content.file)),
            Digests::Open(learn) => {
                if let Place::File { directory, file } = self.place(&content.file)? {
                    learn.learn(directory, &file, digest, as_expected);
                }
                Ok(())
            }
        }
    }

    /// The error that says that a file is not what its entry says.
    pub(super) fn changed(&self, file: &File) -> Error {
        let path = file.path.clone();
        match self.place(file) {
            Ok(Place::File { directory, file }) => {
                Error::Changed { path, file: directory.join(file.as_path()) }
            }
            Ok(Place::Inline(_)) => Error::Changed { file: path.as_path().into(), path },
            Err(error) => error,
        }
    }

    fn place(&self, File { path, origin }: &File) -> Result<Place<'_>, Error> {
        let origin = self.origins.get(usize::from(*origin)).filter(|origin| path.starts_with(&origin.to));
        let origin = origin.ok_or_else(|| Error::NoOrigin { path: path.clone() })?;
        Ok(match &origin.bytes {
            Bytes::Inline(bytes) => Place::Inline(bytes),
            Bytes::Directory(directory) => Place::File { directory, file: origin.locate(path) },
        })
    }
}

/// Where the content of a file lies.
enum Place<'a> {
    Inline(&'a Arc<[u8]>),
    File { directory: &'a Path, file: RelPath },
}

/// Reads a stretch of `file`, and then its stat data, at which `look` looks; `None` if it is no longer the regular file it
/// was.
fn read_file(
    directory: &OwnedFd,
    file: &RelPath,
    content: &Content,
    buffer: &mut [u8],
    look: impl FnOnce(BorrowedFd<'_>, &Stat) -> io::Result<bool>,
) -> io::Result<Option<bool>> {
    let fd = match open::for_reading(directory, file.as_path()) {
        Err(rustix::io::Errno::LOOP) => return Ok(None),
        result => result?,
    };
    let read = fill(&fd, buffer, content.offset);
    // Behind the reading, so that it tells of writing while it was read.
    let stat = rustix::fs::fstat(&fd)?;
    let regular = FileType::from_raw_mode(stat.st_mode).is_file();
    if !regular || u64::try_from(stat.st_size) != Ok(content.size) {
        return Ok(None);
    }
    if !read? {
        return Ok(None);
    }
    look(fd.as_fd(), &stat).map(Some)
}

/// Opens a file of a directory that a command may be changing; `None` if it is no regular file of this size. Nothing outside of
/// the directory is opened, nor a device that took the file's place, and the command does not see that the file was read.
fn open_moving(directory: &OwnedFd, file: &RelPath, size: u64) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let confined = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let found = rustix::fs::openat2(directory, file.as_path(), flags, Mode::empty(), confined)?;
    let stat = rustix::fs::fstat(&found)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() || u64::try_from(stat.st_size) != Ok(size) {
        return Ok(None);
    }
    let same = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NOATIME | OFlags::CLOEXEC;
    Ok(Some(rustix::fs::openat(CWD, same, flags, Mode::empty())?))
}

/// Fills `buffer`; false if the file ends before.
fn fill(fd: &OwnedFd, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::pread(fd, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => return Ok(false),
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}
