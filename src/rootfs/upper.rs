//! The upper directory of a step: made before it, read after it.

use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FileType;

use super::contents::Contents;
use super::disk::Disk;
use super::error::{At as _, Error};
use super::metadata::{attribute, set_metadata};
use super::walk::{self, Found};
use crate::path::RelPath;
use crate::tree::{Change, Changes, Entry, Kind, LinkGroup, List, Origin, Tree, Xattrs, diff};

/// The one attribute that layers carry.
pub(super) const CAPABILITY: &str = "security.capability";

/// Makes the upper directory for a step on `lower`: the root of what the step sees has its mode and owner
/// from here.
///
/// # Errors
/// If it cannot be made, or is there.
pub fn prepare_upper(directory: &Path, lower: &Tree, disk: Disk) -> Result<(), Error> {
    let root = RelPath::root();
    fs_err::create_dir(directory).at("make", directory, &root)?;
    let Some(entry) = lower.get(&root) else { return Ok(()) };
    let handle = walk::open_root(directory).at("open", directory, &root)?;
    set_metadata(handle.as_fd(), c".", &entry.meta, disk).at("prepare", directory, &root)
}

/// Reads what a step changed from its upper directory: the difference to `lower`. The directory is the place of
/// the changed files' bytes.
///
/// A file that overlayfs copied up only to give it one more name is no change, and the new name has its content
/// for itself, as in BuildKit's layers.
///
/// # Errors
/// If something in it cannot be read.
pub fn scan_upper(
    directory: &Path,
    lower: &Tree,
    disk: Disk,
    contents: Contents<'_>,
) -> Result<Changes, Error> {
    let scan = Scan { root: directory, lower, disk, contents };
    let observed = walk::walk(directory, &|found, at, name| scan.observe(found, at, name))?;
    let opaque: HashSet<RelPath> =
        observed.iter().filter(|(_, seen)| seen.is_opaque()).map(|(path, _)| path.clone()).collect();
    // Below an opaque directory everything is new, also what is as it was before the directory was removed.
    let made_anew =
        |path: &RelPath| !opaque.is_empty() && path.ancestors().any(|above| opaque.contains(&above));
    let changed = |(path, seen): &(RelPath, Seen)| match seen {
        Seen::Gone => true,
        Seen::Entry { entry, opaque, .. } => *opaque || made_anew(path) || !is_unchanged(lower, path, entry),
    };
    let mut observed: Vec<_> = observed.into_iter().filter(changed).collect();
    link(observed.iter_mut().filter_map(|(_, seen)| match seen {
        Seen::Gone => None,
        Seen::Entry { entry, inode, .. } => Some((entry, *inode)),
    }));
    let mut list = Vec::with_capacity(observed.len());
    for (path, seen) in observed {
        match seen {
            Seen::Gone => list.push(Change::Whiteout { path }),
            Seen::Entry { entry, opaque, .. } => {
                list.push(Change::Upsert { path: path.clone(), entry, origin: 0 });
                if opaque {
                    list.push(Change::Opaque { path });
                }
            }
        }
    }
    let mut changes = diff(lower, &lower.apply(&Changes { list: List::sorted(list), origins: Vec::new() }));
    changes.origins = vec![Origin::whole(directory)];
    Ok(changes)
}

/// Tells whether `lower` has the same entry, whatever other names the file has now.
pub(super) fn is_unchanged(lower: &Tree, path: &RelPath, entry: &Entry) -> bool {
    lower.get(path).is_some_and(|below| below.same_apart_from_links(entry))
}

/// Something in an upper directory.
enum Seen {
    Gone,
    Entry { entry: Entry, inode: Option<Inode>, opaque: bool },
}

impl Seen {
    const fn is_opaque(&self) -> bool {
        matches!(self, Self::Entry { opaque: true, .. })
    }
}

/// A file with several names.
type Inode = (u64, u64);

/// A scan: of which directory, on what, and how.
#[derive(Clone, Copy)]
pub(super) struct Scan<'a> {
    pub(super) root: &'a Path,
    pub(super) lower: &'a Tree,
    pub(super) disk: Disk,
    pub(super) contents: Contents<'a>,
}

impl Scan<'_> {
    fn observe(&self, found: &Found, at: BorrowedFd<'_>, name: &CStr) -> Result<Option<Seen>, Error> {
        if found.file_type() == FileType::CharacterDevice && found.device() == (0, 0) {
            return Ok(Some(Seen::Gone));
        }
        let opaque = found.file_type() == FileType::Directory
            && attribute(at, name, self.disk.opaque_attribute())
                .at("read the attributes of", self.root, &found.path)?
                .as_deref()
                == Some(b"y");
        let Some(entry) = self.entry(found, at, name)? else { return Ok(None) };
        Ok(Some(Seen::Entry { entry, inode: inode_of(found), opaque }))
    }

    /// Turns what is on the disk into an entry; `None` for sockets, which no layer holds.
    pub(super) fn entry(
        &self,
        found: &Found,
        at: BorrowedFd<'_>,
        name: &CStr,
    ) -> Result<Option<Entry>, Error> {
        let Self { root, lower, disk, contents } = *self;
        let path = &found.path;
        let mut meta = found.meta();
        disk.complete(&mut meta, path, lower);
        let kind = match found.file_type() {
            FileType::Directory => Kind::Directory,
            FileType::RegularFile => {
                let capability = attribute(at, name, CAPABILITY).at("read the attributes of", root, path)?;
                meta.xattrs = capability.map(|value| {
                    Arc::new(Xattrs::from([(CAPABILITY.as_bytes().into(), value.into_boxed_slice())]))
                });
                let (size, digest) = contents.of(found, at, name).at("read", root, path)?;
                Kind::File { size, digest, link: None }
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(at, name, Vec::new()).at("read the link", root, path)?;
                Kind::Symlink { target: target.into_bytes().into() }
            }
            FileType::CharacterDevice => {
                let (major, minor) = found.device();
                Kind::CharDevice { major, minor }
            }
            FileType::BlockDevice => {
                let (major, minor) = found.device();
                Kind::BlockDevice { major, minor }
            }
            FileType::Fifo => Kind::Fifo,
            FileType::Socket | FileType::Unknown => return Ok(None),
        };
        Ok(Some(Entry { meta, kind }))
    }
}

/// Returns the inode of a file that has other names.
pub(super) fn inode_of(found: &Found) -> Option<Inode> {
    let several = found.file_type() == FileType::RegularFile && found.stat.st_nlink > 1;
    several.then_some((found.stat.st_dev, found.stat.st_ino))
}

/// Puts the link groups into entries of files that have several names among them. A name whose other names are
/// not there is on its own.
pub(super) fn link<'a>(entries: impl IntoIterator<Item = (&'a mut Entry, Option<Inode>)>) {
    let mut index: HashMap<Inode, usize> = HashMap::new();
    // In the order of first names, so that equal changes are equal.
    let mut files: Vec<Vec<&mut Entry>> = Vec::new();
    for (entry, inode) in entries {
        let Some(inode) = inode else { continue };
        let at = *index.entry(inode).or_insert_with(|| {
            files.push(Vec::new());
            files.len() - 1
        });
        files[at].push(entry);
    }
    let several = files.into_iter().filter(|names| names.len() > 1);
    for (number, entries) in (0_u64..).zip(several) {
        for entry in entries {
            if let Kind::File { link, .. } = &mut entry.kind {
                // From the top, so as not to meet the groups of the lower tree.
                *link = Some(LinkGroup(u64::MAX - number));
            }
        }
    }
}
