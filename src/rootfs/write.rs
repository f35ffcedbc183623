//! Puts layers on the disk.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::disk::Disk;
use super::error::{At as _, Error};
use super::metadata::{set_attribute, set_metadata, set_permissions, times_of, times_of_seconds};
use super::remove::remove_at;
use super::walk;
use crate::path::RelPath;
use crate::tree::{Bytes, Change, Changes, Entry, Kind, LinkGroup, Meta};

/// What the directory is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A layer of its own for overlayfs: what it hides of lower ones is marked.
    Layer,
    /// The whole state: what a layer hides is removed.
    State,
}

/// Writes the items of a layer into a directory, in any order in which parents and link targets come first
/// or not at all.
///
/// Dropping it without [`Writer::finish`] leaves directories with the time of their writing.
#[derive(Debug)]
pub(super) struct Writer {
    root: PathBuf,
    handle: OwnedFd,
    form: Form,
    disk: Disk,
    /// The directory of the last item: most items lie beside the one before.
    last: Option<(RelPath, OwnedFd)>,
    /// Directories and the times that they get when nothing is put into them any more.
    times: BTreeMap<RelPath, Timestamps>,
    skipped: BTreeSet<RelPath>,
    /// What the layer itself has put into a state: whiteouts do not take it away, wherever they stand.
    own: BTreeSet<RelPath>,
}

impl Writer {
    /// Opens the directory `root`, which must be there, for one layer.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(super) fn new(root: &Path, form: Form, disk: Disk) -> Result<Self, Error> {
        let handle = walk::open_root(root).at("open", root, &RelPath::root())?;
        Ok(Self {
            root: root.to_owned(),
            handle,
            form,
            disk,
            last: None,
            times: BTreeMap::new(),
            skipped: BTreeSet::new(),
            own: BTreeSet::new(),
        })
    }

    /// Writes a regular file, its content by `fill`.
    ///
    /// # Errors
    /// If it cannot be written or its content not be read.
    pub(super) fn file(
        &mut self,
        path: &RelPath,
        meta: &Meta,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), Error> {
        self.note(path);
        let root = self.root.clone();
        let (disk, (parent, name)) = (self.disk, self.place(path)?);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let create = || rustix::fs::openat(parent, &*name, flags, open_mode(meta));
        let write = || -> io::Result<()> {
            fill(&mut in_place(parent, &name, create)?.into())?;
            set_metadata(parent, &name, meta, disk)
        };
        write().at("write", &root, path)
    }

    /// Writes anything but a regular file.
    ///
    /// # Errors
    /// If it cannot be made.
    ///
    /// # Panics
    /// If `kind` is a regular file, whose content is not at hand.
    pub(super) fn entry(&mut self, path: &RelPath, meta: &Meta, kind: &Kind) -> Result<(), Error> {
        self.note(path);
        if self.disk.cannot_hold(kind) {
            self.skipped.insert(path.clone());
            return Ok(());
        }
        if matches!(kind, Kind::Directory) {
            return self.directory(path, meta);
        }
        let root = self.root.clone();
        let (disk, (parent, name)) = (self.disk, self.place(path)?);
        let node = |kind, major, minor| {
            let device = rustix::fs::makedev(major, minor);
            rustix::fs::mknodat(parent, &*name, kind, open_mode(meta), device)
        };
        let make = || match kind {
            Kind::Symlink { target } => rustix::fs::symlinkat(&**target, parent, &*name),
            Kind::CharDevice { major, minor } => node(FileType::CharacterDevice, *major, *minor),
            Kind::BlockDevice { major, minor } => node(FileType::BlockDevice, *major, *minor),
            Kind::Fifo => node(FileType::Fifo, 0, 0),
            Kind::Directory | Kind::File { .. } => unreachable!("directories and files are made elsewhere"),
        };
        in_place(parent, &name, make)
            .and_then(|()| set_metadata(parent, &name, meta, disk))
            .at("make", &root, path)
    }

    fn directory(&mut self, path: &RelPath, meta: &Meta) -> Result<(), Error> {
        let root = self.root.clone();
        let disk = self.disk;
        self.times.insert(path.clone(), times_of(meta));
        if path.is_root() {
            return set_permissions(self.handle.as_fd(), c".", meta, disk).at("set up", &root, path);
        }
        let form = self.form;
        let (parent, name) = self.place(path)?;
        let make = || -> io::Result<()> {
            let hidden = make_directory(parent, &name)? == Before::Whiteout;
            set_permissions(parent, &name, meta, disk)?;
            // A directory that takes the place of a whiteout shows nothing of lower layers.
            if hidden && form == Form::Layer { mark_opaque(parent, &name, disk) } else { Ok(()) }
        };
        make().at("make", &root, path)
    }

    /// Gives the file at `target` one more name.
    ///
    /// # Errors
    /// If there is no such file, or the name cannot be made.
    pub(super) fn link(&mut self, path: &RelPath, target: &RelPath) -> Result<(), Error> {
        self.note(path);
        if self.skipped.contains(target) {
            self.skipped.insert(path.clone());
            return Ok(());
        }
        let root = self.root.clone();
        let (from, old) = self.place(target)?;
        // The cached handle is about to move on to the other parent.
        let from = from.try_clone_to_owned().at("link", &root, target)?;
        let (parent, name) = self.place(path)?;
        let link = || rustix::fs::linkat(&from, &*old, parent, &*name, AtFlags::empty());
        in_place(parent, &name, link).at("link", &root, path)
    }

    fn note(&mut self, path: &RelPath) {
        if self.form == Form::State {
            self.own.insert(path.clone());
        }
    }

    /// Hides the path of lower layers, and what they have below it; what this layer itself puts there stays.
    ///
    /// # Errors
    /// If that cannot be marked, or done.
    pub(super) fn whiteout(&mut self, path: &RelPath) -> Result<(), Error> {
        let (root, disk) = (self.root.clone(), self.disk);
        if self.form == Form::State {
            self.last = None;
            return self.remove_foreign(path).at("hide", &root, path);
        }
        let (parent, name) = self.place(path)?;
        let hide = || -> io::Result<()> {
            match rustix::fs::mknodat(parent, &*name, FileType::CharacterDevice, Mode::empty(), 0) {
                // What the layer itself put there hides the lower one too; a directory must say so.
                Err(Errno::EXIST) => {
                    let found = rustix::fs::statat(parent, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
                    match FileType::from_raw_mode(found.st_mode) {
                        FileType::Directory => mark_opaque(parent, &name, disk),
                        _ => Ok(()),
                    }
                }
                result => Ok(result?),
            }
        };
        hide().at("hide", &root, path)
    }

    /// Hides what lower layers have below the path; what this layer itself puts there stays.
    ///
    /// # Errors
    /// If that cannot be marked, or done.
    pub(super) fn opaque(&mut self, path: &RelPath) -> Result<(), Error> {
        let (root, form, disk) = (self.root.clone(), self.form, self.disk);
        // The directory itself is made if need be, as the directory of anything in it would be.
        let handle = self.open_parent(path).at("open", &root, path)?;
        self.last = None;
        match form {
            Form::Layer => mark_opaque(handle.as_fd(), c".", disk),
            Form::State => self.remove_foreign_below(&handle, path),
        }
        .at("hide", &root, path)
    }

    /// Removes what stands at `path`, but for what this layer put there or below.
    fn remove_foreign(&mut self, path: &RelPath) -> io::Result<()> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let opened = rustix::fs::openat2(&self.handle, above.as_path(), DIRECTORY, Mode::empty(), CONFINED);
        let parent = match opened {
            // Nothing is there.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            result => result?,
        };
        self.keep_time(&above, &parent)?;
        if self.own.range::<RelPath, _>(path..).next().is_none_or(|own| !own.starts_with(path)) {
            return remove_at(parent.as_fd(), OsStr::from_bytes(name));
        }
        let name = CString::new(name)?;
        match rustix::fs::openat(&parent, &*name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            result => self.remove_foreign_below(&result?, path),
        }
    }

    fn remove_foreign_below(&mut self, directory: &OwnedFd, path: &RelPath) -> io::Result<()> {
        for entry in rustix::fs::Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                self.remove_foreign(&path.child(name))?;
            }
        }
        Ok(())
    }

    /// Gives directories their times; returns the entries that the disk cannot hold.
    ///
    /// # Errors
    /// If a directory is gone or cannot be touched.
    pub(super) fn finish(self) -> Result<Vec<RelPath>, Error> {
        // Setting the time of a directory does not change that of its parent, so any order will do.
        for (path, times) in &self.times {
            let set = rustix::fs::openat2(&self.handle, path.as_path(), DIRECTORY, Mode::empty(), CONFINED)
                .and_then(|directory| rustix::fs::futimens(directory, times));
            match set {
                // Something else took its place later in the layer.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(error).at("set the time of", &self.root, path),
            }
        }
        Ok(self.skipped.into_iter().collect())
    }

    /// Returns the directory of `path`, made if need be, and the name in it.
    fn place(&mut self, path: &RelPath) -> Result<(BorrowedFd<'_>, CString), Error> {
        let name = CString::new(path.file_name().unwrap_or(b".")).map_err(io::Error::from);
        let name = name.at("write", &self.root, path)?;
        let parent = path.parent().unwrap_or_default();
        if self.last.as_ref().is_none_or(|(last, _)| *last != parent) {
            let opened = self.open_parent(&parent);
            let handle = opened.at("open the directory of", &self.root, path)?;
            self.last = Some((parent, handle));
        }
        let (_, handle) = self.last.as_ref().expect("it was set above");
        Ok((handle.as_fd(), name))
    }

    /// Opens the directory `parent`; what is missing of it, or no directory, becomes one. What is put into it does
    /// not change its time: only its own entry does.
    fn open_parent(&mut self, parent: &RelPath) -> io::Result<OwnedFd> {
        match rustix::fs::openat2(&self.handle, parent.as_path(), DIRECTORY, Mode::empty(), CONFINED) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            result => {
                let handle = result?;
                self.keep_time(parent, &handle)?;
                return Ok(handle);
            }
        }
        let mut handle = self.handle.try_clone()?;
        let mut path = RelPath::root();
        for component in parent.components() {
            self.keep_time(&path, &handle)?;
            path = path.child(component);
            let name = CString::new(component)?;
            if make_directory(handle.as_fd(), &name)? != Before::Directory {
                // Whatever the umask of this process is.
                rustix::fs::chmodat(&handle, &*name, Mode::from_raw_mode(0o755), AtFlags::empty())?;
                self.times.insert(path.clone(), times_of_seconds(0));
            }
            handle = rustix::fs::openat(&handle, &*name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        }
        self.keep_time(&path, &handle)?;
        Ok(handle)
    }

    /// Remembers the time that a directory has before something is put into it.
    fn keep_time(&mut self, path: &RelPath, handle: &OwnedFd) -> io::Result<()> {
        if !self.times.contains_key(path) {
            let found = rustix::fs::fstat(handle)?;
            let time = Timespec { tv_sec: found.st_mtime, tv_nsec: found.st_mtime_nsec as _ };
            self.times.insert(path.clone(), Timestamps { last_access: time, last_modification: time });
        }
        Ok(())
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const CONFINED: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Makes something at `name`. What stands there makes room; that is rare, for most layers say a name once.
fn in_place<T>(parent: BorrowedFd<'_>, name: &CStr, make: impl Fn() -> Result<T, Errno>) -> io::Result<T> {
    match make() {
        Err(Errno::EXIST) => {
            remove_at(parent, OsStr::from_bytes(name.to_bytes()))?;
            Ok(make()?)
        }
        result => Ok(result?),
    }
}

/// The mode to make something with: the one that it gets, but for the bits that only its owner may give it.
fn open_mode(meta: &Meta) -> Mode {
    Mode::from_raw_mode((meta.mode & 0o777).into())
}

/// What stood where a directory is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Directory,
    Whiteout,
    Other,
}

/// Makes a directory unless there is one; anything else makes room.
fn make_directory(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<Before> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) => return Ok(Before::Nothing),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let before = match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => return Ok(Before::Directory),
        FileType::CharacterDevice if found.st_rdev == 0 => Before::Whiteout,
        _ => Before::Other,
    };
    remove_at(parent, OsStr::from_bytes(name.to_bytes()))?;
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    Ok(before)
}

fn mark_opaque(at: BorrowedFd<'_>, name: &CStr, disk: Disk) -> io::Result<()> {
    let attribute = CString::new(disk.opaque_attribute())?;
    set_attribute(at, name, &attribute, b"y")
}

/// Writes `changes` whose origins hold the bytes, as one layer; returns the entries that the disk cannot
/// hold.
///
/// # Errors
/// If something cannot be written, or bytes cannot be read.
pub fn write_changes(root: &Path, changes: &Changes, form: Form, disk: Disk) -> Result<Vec<RelPath>, Error> {
    let mut writer = Writer::new(root, form, disk)?;
    let mut linked: HashMap<LinkGroup, RelPath> = HashMap::new();
    for change in &changes.list {
        match change {
            Change::Upsert { path, entry, origin } => match &entry.kind {
                Kind::File { link, .. } => match link.and_then(|group| linked.get(&group).cloned()) {
                    Some(target) => writer.link(&path, &target)?,
                    None => {
                        write_file(&mut writer, changes, &path, &entry, origin)?;
                        linked.extend(link.map(|group| (group, path)));
                    }
                },
                kind => writer.entry(&path, &entry.meta, kind)?,
            },
            Change::Whiteout { path } => writer.whiteout(&path)?,
            Change::Opaque { path } => writer.opaque(&path)?,
        }
    }
    writer.finish()
}

fn write_file(
    writer: &mut Writer,
    changes: &Changes,
    path: &RelPath,
    entry: &Entry,
    origin: u16,
) -> Result<(), Error> {
    let origin =
        changes.origins.get(usize::from(origin)).ok_or_else(|| Error::NoBytes { path: path.clone() })?;
    match &origin.bytes {
        Bytes::Inline(bytes) => writer.file(path, &entry.meta, |file| file.write_all(bytes)),
        Bytes::Directory(directory) => {
            let source = origin.locate(path);
            let open = || -> io::Result<fs_err::File> {
                let root = walk::open_root(directory)?;
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = rustix::fs::openat2(&root, source.as_path(), flags, Mode::empty(), CONFINED)?;
                Ok(fs_err::File::from_parts(file.into(), directory.join(source.as_path())))
            };
            let mut file = open().at("read", directory, &source)?;
            writer.file(path, &entry.meta, |to| io::copy(&mut file, to).map(drop))
        }
    }
}
