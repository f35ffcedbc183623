//! The walk: lists a directory and everything below, several directories at a time.
//!
//! Names come from large getdents(2) buffers and are looked up relative to their open directory, so that the
//! kernel does not walk the whole path for each file. Directories are opened by their path from the root and
//! closed before those below are read: a deep or wide context does not run out of file descriptors.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::context::Error;
use crate::context::listing::{FileTime, Identity, Kind, Node};
use crate::path::RelPath;
use crate::pattern::{Ignore, Trail, Verdict};

const DIRENT_BUFFER_BYTES: usize = 64 * 1024;

/// Lists everything below `root` that `ignore` does not exclude; the root itself is the node returned.
pub(super) fn list(root: &OwnedFd, ignore: &Ignore) -> Result<Node, Error> {
    let path = RelPath::root();
    let stat = rustix::fs::fstat(root).map_err(|errno| read_error(&path, errno))?;
    let walk = Walk { root: root.as_fd(), ignore };
    let children = walk.directory(&path, &ignore.root())?;
    Ok(node(&stat, Box::default(), Kind::Directory(children)))
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    ignore: &'a Ignore,
}

impl Walk<'_> {
    /// Lists what is in the directory `path`, sorted by name.
    fn directory(&self, path: &RelPath, trail: &Trail) -> Result<Vec<Node>, Error> {
        let mut nodes = self.entries(path, trail)?;
        // An excluded directory is kept only for what is re-included below it.
        let needless = nodes
            .par_iter_mut()
            .map(|(node, excluded, trail)| {
                let Kind::Directory(children) = &mut node.kind else { return Ok(false) };
                *children = self.directory(&path.child(&node.name), trail)?;
                Ok(*excluded && children.is_empty())
            })
            .collect::<Result<Vec<bool>, Error>>()?;
        let kept = nodes.drain(..).zip(needless).filter(|(_, needless)| !needless);
        Ok(kept.map(|((node, ..), _)| node).collect())
    }

    /// Reads the directory itself: its entries with what they are, directories still empty. With each comes
    /// whether it is excluded, which only a directory can be, and what the rules said.
    fn entries(&self, path: &RelPath, trail: &Trail) -> Result<Vec<(Node, bool, Trail)>, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(self.root, path.as_path(), flags, Mode::empty())
            .map_err(|errno| read_error(path, errno))?;
        let mut nodes = Vec::new();
        for (name, type_hint) in names(&directory).map_err(|errno| read_error(path, errno))? {
            let child = path.child(name.to_bytes());
            let (Verdict { excluded, .. }, trail) = self.ignore.step(trail, &child);
            let may_be_directory = matches!(type_hint, FileType::Directory | FileType::Unknown);
            if excluded && !(may_be_directory && self.ignore.may_keep_below(&child)) {
                continue;
            }
            match entry(&directory, &name) {
                Ok(Some(node)) if !excluded || matches!(node.kind, Kind::Directory(_)) => {
                    nodes.push((node, excluded, trail));
                }
                // Gone since the directory was read, as files of editors and compilers are.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(read_error(&child, errno)),
            }
        }
        nodes.sort_unstable_by(|(a, ..), (b, ..)| a.name.cmp(&b.name));
        Ok(nodes)
    }
}

fn read_error(path: &RelPath, errno: Errno) -> Error {
    Error::Read { path: path.clone(), source: io::Error::from(errno) }
}

/// Returns the names in a directory with what the kernel says that they are.
fn names(directory: &OwnedFd) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); DIRENT_BUFFER_BYTES];
    let mut entries = RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(names)
}

/// Returns what stands at `name`; `None` for a socket.
fn entry(directory: &OwnedFd, name: &CStr) -> Result<Option<Node>, Errno> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Directory(Vec::new()),
        FileType::RegularFile => Kind::File { linked: stat.st_nlink > 1, content: OnceLock::new() },
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
            Kind::Symlink(target.into_bytes().into())
        }
        FileType::CharacterDevice => Kind::CharDevice { major, minor },
        FileType::BlockDevice => Kind::BlockDevice { major, minor },
        FileType::Fifo => Kind::Fifo,
        FileType::Socket | FileType::Unknown => return Ok(None),
    };
    Ok(Some(node(&stat, name.to_bytes().into(), kind)))
}

fn node(stat: &Stat, name: Box<[u8]>, kind: Kind) -> Node {
    let mode = u16::try_from(stat.st_mode & 0o7777).expect("twelve bits fit in sixteen");
    Node { name, mode, identity: identity(stat), kind }
}

/// Returns what tells this state of a file from another one.
pub(super) fn identity(stat: &Stat) -> Identity {
    let time = |seconds, nanoseconds| FileTime { seconds, nanoseconds };
    Identity {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mtime: time(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        ctime: time(stat.st_ctime, u32::try_from(stat.st_ctime_nsec).unwrap_or(0)),
        inode: stat.st_ino,
        device: stat.st_dev,
    }
}
