//! The walk: lists a directory and everything below, several directories at a time.
//!
//! Names come from large getdents(2) buffers and are looked up relative to their open directory, so that the
//! kernel does not walk the whole path for each file. Directories are opened by their path from the root and
//! closed before those below are read: a deep or wide context does not run out of file descriptors. A folder is made
//! in a few allocations of its size, whatever is in it.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rayon::prelude::*;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

use crate::context::Error;
use crate::context::listing::{FileTime, Folder, Identity, Kind, Node, detail};
use crate::context::readers::with_readers;
use crate::path::RelPath;
use crate::pattern::{Ignore, Trail, Verdict};

const DIRENT_BUFFER_BYTES: usize = 32 * 1024;

/// Lists everything below `root` that `ignore` does not exclude; the folder returned holds the root alone.
pub(super) fn list(root: &OwnedFd, ignore: &Ignore) -> Result<Folder, Error> {
    let path = RelPath::root();
    let stat = rustix::fs::fstat(root).map_err(|errno| read_error(&path, errno))?;
    let walk = Walk { root: root.as_fd(), ignore };
    let below = walk.folder(&path, &ignore.root())?;
    Ok(Folder::of_root(node(&stat, Kind::Directory, 0), stat.st_dev, below))
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    ignore: &'a Ignore,
}

/// A directory that was met and is still to be read.
struct Inner {
    /// Its index among the nodes.
    index: usize,
    excluded: bool,
    /// What the rules said.
    trail: Trail,
}

impl Walk<'_> {
    /// Lists what is in the directory `path`, sorted by name.
    fn folder(&self, path: &RelPath, trail: &Trail) -> Result<Folder, Error> {
        let (mut folder, inner) = self.entries(path, trail)?;
        if inner.is_empty() {
            return Ok(folder);
        }
        let mut below: Box<[Folder]> = inner.iter().map(|_| Folder::default()).collect();
        with_readers(|| {
            below.par_iter_mut().zip(&inner).try_for_each(|(below, inner)| {
                *below = self.folder(&path.child(folder.name(inner.index)), &inner.trail)?;
                Ok(())
            })
        })?;
        folder.folders = below;
        // An excluded directory is kept only for what is re-included below it.
        let needless = |(inner, below): &(&Inner, &Folder)| inner.excluded && below.nodes.is_empty();
        let needless: Vec<usize> =
            inner.iter().zip(&folder.folders).filter(needless).map(|(inner, _)| inner.index).collect();
        Ok(if needless.is_empty() { folder } else { without(folder, &needless) })
    }

    /// Reads the directory itself: its entries with what they are, and which of them are directories.
    #[inline(never)] // The buffer is not to lie on the stack while the directories below are read.
    fn entries(&self, path: &RelPath, trail: &Trail) -> Result<(Folder, Vec<Inner>), Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let error = |errno| read_error(path, errno);
        let directory = rustix::fs::openat(self.root, path.as_path(), flags, Mode::empty()).map_err(error)?;
        let mut buffer = [MaybeUninit::uninit(); DIRENT_BUFFER_BYTES];
        let mut entries = RawDir::new(&directory, &mut buffer);
        let (mut found, mut inner) = (Found::default(), Vec::new());
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(error)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let (excluded, trail) = if self.ignore.rules().is_empty() {
                (false, trail.clone())
            } else {
                let child = path.child(name.to_bytes());
                let (Verdict { excluded, .. }, trail) = self.ignore.step(trail, &child);
                let may_be_directory = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
                if excluded && !(may_be_directory && self.ignore.may_keep_below(&child)) {
                    continue;
                }
                (excluded, trail)
            };
            match found.look(&directory, name, excluded) {
                Ok(Some(index)) => inner.push(Inner { index, excluded, trail }),
                // Gone since the directory was read, as files of editors and compilers are.
                Ok(None) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(read_error(&path.child(name.to_bytes()), errno)),
            }
        }
        let order = found.order();
        if !inner.is_empty() {
            let mut places = vec![0; order.len()];
            order.iter().enumerate().for_each(|(place, index)| places[*index as usize] = place);
            inner.iter_mut().for_each(|inner| inner.index = places[inner.index]);
            inner.sort_unstable_by_key(|inner| inner.index);
        }
        Ok((found.into_folder(&order), inner))
    }
}

fn read_error(path: &RelPath, errno: Errno) -> Error {
    Error::Read { path: path.clone(), source: io::Error::from(errno) }
}

/// Entries in the order in which the kernel names them.
#[derive(Default)]
struct Found {
    names: Vec<u8>,
    targets: Vec<u8>,
    nodes: Vec<Node>,
    devices: Vec<u64>,
}

impl Found {
    /// Adds what stands at `name`; sockets do not count, and of what is `excluded` only directories. Returns the index
    /// of a directory.
    fn look(&mut self, directory: &OwnedFd, name: &CStr, excluded: bool) -> Result<Option<usize>, Errno> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let numbers = || detail(rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
        let (kind, detail) = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => (Kind::Directory, 0),
            _ if excluded => return Ok(None),
            FileType::RegularFile if stat.st_nlink > 1 => (Kind::LinkedFile, size(&stat)),
            FileType::RegularFile => (Kind::File, size(&stat)),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
                let start = length(&self.targets)?;
                self.targets.extend_from_slice(target.as_bytes());
                (Kind::Symlink, detail(start, length(&self.targets)? - start))
            }
            FileType::CharacterDevice => (Kind::CharDevice, numbers()),
            FileType::BlockDevice => (Kind::BlockDevice, numbers()),
            FileType::Fifo => (Kind::Fifo, 0),
            FileType::Socket | FileType::Unknown => return Ok(None),
        };
        self.names.extend_from_slice(name.to_bytes());
        // So that no target lies where 32 bits do not reach once it stands behind the names.
        let name_end = u32::try_from(self.names.len() + self.targets.len()).map_err(|_| Errno::OVERFLOW)?
            - length(&self.targets)?;
        self.nodes.push(Node { name_end, ..node(&stat, kind, detail) });
        self.devices.push(stat.st_dev);
        Ok((kind == Kind::Directory).then(|| self.nodes.len() - 1))
    }

    fn name(&self, index: u32) -> &[u8] {
        let index = index as usize;
        let start = index.checked_sub(1).map_or(0, |before| self.nodes[before].name_end);
        &self.names[start as usize..self.nodes[index].name_end as usize]
    }

    /// Returns the indexes sorted by name.
    fn order(&self) -> Vec<u32> {
        // A name has a byte, and all names together are within 32 bits.
        let mut order: Vec<u32> = (0..self.nodes.len() as u32).collect();
        order.sort_unstable_by(|a, b| self.name(*a).cmp(self.name(*b)));
        order
    }

    fn into_folder(self, order: &[u32]) -> Folder {
        let mut names = Vec::with_capacity(self.names.len() + self.targets.len());
        let mut nodes = Vec::with_capacity(self.nodes.len());
        let device = self.devices.first().copied().unwrap_or(0);
        let (mut other_devices, mut directories) = (BTreeMap::new(), 0);
        for (place, index) in order.iter().enumerate() {
            names.extend_from_slice(self.name(*index));
            let index = *index as usize;
            let mut node = Node { name_end: names.len() as u32, ..self.nodes[index] };
            match node.kind {
                Kind::Directory => {
                    node.detail = directories;
                    directories += 1;
                }
                Kind::Symlink => node.detail += detail(self.names.len() as u32, 0),
                Kind::File | Kind::LinkedFile | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => {}
            }
            nodes.push(node);
            if self.devices[index] != device {
                other_devices.insert(place, self.devices[index]);
            }
        }
        names.extend_from_slice(&self.targets);
        Folder {
            names: names.into(),
            nodes: nodes.into(),
            links: self.nodes.iter().any(|node| node.kind == Kind::LinkedFile),
            device,
            other_devices,
            ..Folder::default()
        }
    }
}

/// Returns `folder` without the directories at the indexes `needless`.
fn without(folder: Folder, needless: &[usize]) -> Folder {
    let mut found = Found::default();
    let mut folders = Vec::new();
    let (mut below, mut order) = (Vec::from(folder.folders).into_iter(), Vec::new());
    let kept = Folder { folders: Box::default(), ..folder };
    for item in kept.items() {
        let inner = if item.node().kind == Kind::Directory { below.next() } else { None };
        if needless.binary_search(&item.index).is_ok() {
            continue;
        }
        folders.extend(inner);
        let mut node = *item.node();
        if node.kind == Kind::Symlink {
            node.detail = detail(found.targets.len() as u32, item.target().len() as u32);
            found.targets.extend_from_slice(item.target());
        }
        found.names.extend_from_slice(item.name());
        order.push(found.nodes.len() as u32);
        found.nodes.push(Node { name_end: found.names.len() as u32, ..node });
        found.devices.push(item.inode().0);
    }
    Folder { folders: folders.into(), ..found.into_folder(&order) }
}

fn length(bytes: &[u8]) -> Result<u32, Errno> {
    u32::try_from(bytes.len()).map_err(|_| Errno::OVERFLOW)
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn node(stat: &Stat, kind: Kind, detail: u64) -> Node {
    let mode = u16::try_from(stat.st_mode & 0o7777).expect("twelve bits fit in sixteen");
    Node::new(kind, mode, detail, &identity(stat))
}

/// Returns what tells this state of a file from another one.
pub(super) fn identity(stat: &Stat) -> Identity {
    let time = |seconds, nanoseconds| FileTime { seconds, nanoseconds };
    Identity {
        size: size(stat),
        mtime: time(stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
        ctime: time(stat.st_ctime, u32::try_from(stat.st_ctime_nsec).unwrap_or(0)),
        inode: stat.st_ino,
        device: stat.st_dev,
    }
}
