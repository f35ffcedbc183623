//! A context directory: its listing, and the entries of what copies take from it.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags};

use crate::context::content::{self, Content};
use crate::context::listing::{Folder, Item, Kind};
use crate::context::readers::with_readers;
use crate::context::stat_cache::{Horizon, Reader, Writer};
use crate::context::{Error, Reading, walk};
use crate::digest::Digest;
use crate::path::{RelPath, compare};
use crate::pattern::{Ignore, Rule};
use crate::place::{self, Entries, Match, Selected, Selection, View, Visit};
use crate::tree::{Bytes, Entry, Kind as EntryKind, LinkGroup, Meta, Tree};

/// As many files are read at once by one thread, or files of as many bytes.
const BATCH_FILES: usize = 128;
const BATCH_BYTES: u64 = 1 << 20;

/// The groups of hard links with this bit are numbered, the others are inodes of the root's device.
const NUMBERED: u64 = 1 << 63;

/// The digest in the entry of a file that nobody has read yet; no content has it.
const UNREAD: Digest = Digest::from_bytes([0; 32]);

/// A listed build context. It can be searched by [`place::select`]; after [`Directory::digest`] the entries of what
/// was selected are known as a whole.
#[derive(Debug)]
pub struct Directory {
    path: Arc<PathBuf>,
    root: OwnedFd,
    /// Holds the root alone.
    listing: Folder,
    ignore: Ignore,
    cache_file: Option<PathBuf>,
    /// Done when the first digest is wanted: what the cache knows of the files was put into the listing.
    recalled: OnceLock<()>,
    /// Whether something was learned that the cache can keep.
    has_news: AtomicBool,
    /// The numbers of linked inodes that do not tell their group themselves.
    groups: OnceLock<HashMap<(u64, u64), u64>>,
}

impl Directory {
    /// Opens and lists the directory `path` without what `ignore` excludes. Digests are remembered in
    /// `stat_cache`, which belongs to this directory alone.
    ///
    /// # Errors
    /// If the directory, or one below that is not excluded, cannot be read.
    pub fn open(
        path: impl Into<PathBuf>,
        ignore: Option<Ignore>,
        stat_cache: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let path = path.into();
        let root = open_directory(rustix::fs::CWD, &path)
            .map_err(|errno| Error::Open { path: path.clone(), source: errno.into() })?;
        let ignore = ignore.unwrap_or_default();
        let listing = walk::list(&root, &ignore)?;
        Ok(Self {
            path: Arc::new(path),
            root,
            listing,
            ignore,
            cache_file: stat_cache,
            recalled: OnceLock::new(),
            has_news: AtomicBool::new(false),
            groups: OnceLock::new(),
        })
    }

    /// Returns where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where the bytes of its files lie.
    pub fn bytes(&self) -> Bytes {
        Bytes::Directory(Arc::clone(&self.path))
    }

    /// Returns the number of entries that are not excluded, the root not counted.
    pub fn len(&self) -> usize {
        self.listing.count() - 1
    }

    /// Tells whether there is nothing in the context, or nothing that is not excluded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the rule of the ignore file that excludes `path`, whether or not the path exists.
    pub fn excluded_by(&self, path: &RelPath) -> Option<&Rule> {
        let verdict = self.ignore.verdict(path);
        verdict.rule.filter(|_| verdict.excluded).and_then(|rule| self.ignore.rules().get(rule))
    }

    /// Returns a tree of what is selected and the directories above it; files have their digests.
    ///
    /// # Errors
    /// If a file cannot be read, or changes while it is.
    pub fn tree(&self, selection: &Selection) -> Result<Tree, Error> {
        self.digest(selection)?;
        let mut tree = Tree::empty();
        for found in &selection.matches {
            for path in found.real.ancestors().chain([found.real.clone()]) {
                if let Some(item) = self.item(&path).filter(|_| path.is_root() || tree.get(&path).is_none()) {
                    tree.insert(&path, self.entry_of(item));
                }
            }
            let all: Result<(), Infallible> = found.walk(self, |selected| {
                tree.insert(&found.real.join(&selected.path()), self.entry_of(selected.item));
                Ok(())
            });
            let Ok(()) = all;
        }
        Ok(tree)
    }

    /// Tells whether the stat data of the file `path` prove that it has the content whose digest is in its entry.
    pub fn is_as_hashed(&self, path: &RelPath, stat: &rustix::fs::Stat) -> bool {
        self.item(path).is_some_and(|item| {
            item.node().is_file()
                && walk::identity(stat) == item.identity()
                && item.content().is_some_and(|content| content.lasting)
        })
    }

    /// Sees to it that the files of a selection have their digests: those that nobody remembers are read.
    ///
    /// # Errors
    /// If a file cannot be read, or changes while it is.
    pub fn digest(&self, selection: &Selection) -> Result<(), Error> {
        self.recalled.get_or_init(|| self.recall());
        let unknown = self.unknown(selection);
        if unknown.is_empty() {
            return Ok(());
        }
        let batches: Vec<_> = unknown
            .iter()
            .flat_map(|(path, (folder, indexes))| {
                batches(folder, indexes).map(move |indexes| (path, *folder, indexes))
            })
            .collect();
        let horizon = self.horizon();
        let buffer = || vec![0; content::READ_BUFFER_BYTES];
        with_readers(|| {
            batches.par_iter().try_for_each_init(buffer, |buffer, (path, folder, indexes)| {
                self.read(buffer, path, folder, indexes, horizon)
            })
        })
    }

    /// Returns who takes the digests of files from somebody else that reads them; `None` if all of the selection have been
    /// read, or if hard links are told apart by their digests.
    pub fn reading(&self, selection: &Selection) -> Option<Reading<'_>> {
        self.recalled.get_or_init(|| self.recall());
        let is_needed = !self.listing.has_links() && self.has_unknown(selection);
        is_needed.then(|| Reading::new(self, self.horizon()))
    }

    /// Returns the time before which files must have been written to be remembered. Where no cache can be written
    /// nothing is; the build does not need it.
    fn horizon(&self) -> Horizon {
        self.cache_file.as_deref().and_then(|file| Horizon::now(file).ok()).unwrap_or_default()
    }

    /// Takes the content of the file `path` from who has read it; tells whether it is a file, and nobody has found another
    /// content in it before.
    pub(super) fn know(&self, path: &RelPath, content: Content) -> bool {
        let Some(item) = self.item(path).filter(|item| item.node().is_file()) else { return false };
        if content.lasting {
            self.has_news.store(true, Ordering::Relaxed);
        }
        item.folder.with_contents(|known| known.set(item.index, item.folder.nodes.len(), content))
    }

    /// Reads the files at `indexes` of the folder `path`.
    fn read(
        &self,
        buffer: &mut [u8],
        path: &RelPath,
        folder: &Folder,
        indexes: &[usize],
        horizon: Horizon,
    ) -> Result<(), Error> {
        let directory = open_directory(&self.root, path.as_path())
            .map_err(|errno| Error::Read { path: path.clone(), source: errno.into() })?;
        let read = |index: &usize| -> Result<Content, Error> {
            let item = Item { folder, index: *index };
            content::read(buffer, &directory, item.name(), &item.identity(), horizon)
                .map_err(|failure| failure.at(path.child(item.name())))
        };
        let contents = indexes.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
        if contents.iter().any(|content| content.lasting) {
            self.has_news.store(true, Ordering::Relaxed);
        }
        folder.with_contents(|known| {
            for (index, content) in indexes.iter().zip(contents) {
                // Another copy may have been faster, with the same result.
                known.set(*index, folder.nodes.len(), content);
            }
        });
        Ok(())
    }

    /// Tells whether there are selected files whose content nobody knows.
    fn has_unknown(&self, selection: &Selection) -> bool {
        self.for_each_unknown(selection, &mut |_, _| Err(())).is_err()
    }

    /// Returns the selected files whose content nobody knows, by the folder in which they are.
    fn unknown(&self, selection: &Selection) -> BTreeMap<RelPath, (&Folder, Vec<usize>)> {
        let mut unknown: BTreeMap<RelPath, (&Folder, Vec<usize>)> = BTreeMap::new();
        let mut put = |(path, folder, mut indexes): (RelPath, _, _)| {
            unknown.entry(path).or_insert((folder, Vec::new())).1.append(&mut indexes);
        };
        // Most files lie in the folder of the one before.
        let mut last: Option<(RelPath, &Folder, Vec<usize>)> = None;
        let all: Result<(), Infallible> = self.for_each_unknown(selection, &mut |item, directory| {
            match &mut last {
                Some((_, folder, indexes)) if std::ptr::eq(*folder, item.folder) => indexes.push(item.index),
                Some(_) | None => {
                    last.replace((directory(), item.folder, vec![item.index])).map(&mut put);
                }
            }
            Ok(())
        });
        let Ok(()) = all;
        last.map(put);
        for (_, indexes) in unknown.values_mut() {
            indexes.sort_unstable();
            indexes.dedup();
        }
        unknown
    }

    /// Calls `visit` with each selected file whose content nobody knows, and with what returns the path of its folder.
    fn for_each_unknown<'a, E>(
        &'a self,
        selection: &Selection,
        visit: &mut impl FnMut(Item<'a>, &dyn Fn() -> RelPath) -> Result<(), E>,
    ) -> Result<(), E> {
        let is_unknown = |item: &Item<'_>| item.node().is_file() && !item.is_known();
        for found in &selection.matches {
            if let Some(item) = self.item(&found.real).filter(is_unknown) {
                visit(item, &|| found.real.parent().unwrap_or_default())?;
            }
            found.walk(self, |selected| match is_unknown(&selected.item) {
                true => visit(selected.item, &|| found.real.join(selected.directory)),
                false => Ok(()),
            })?;
        }
        Ok(())
    }

    /// Puts what earlier builds remembered into the listing.
    fn recall(&self) {
        let Some(mut cache) = self.cache_file.as_deref().and_then(Reader::open) else { return };
        let mut record = cache.next();
        let all: Result<(), Infallible> =
            self.root_folder().for_each_file(&mut Vec::new(), &mut |path, item| {
                while record.is_some() && compare(cache.path(), path).is_lt() {
                    record = cache.next();
                }
                if cache.path() == path
                    && let Some((identity, content)) = record.take()
                {
                    if identity == item.identity() {
                        let count = item.folder.nodes.len();
                        item.folder.with_contents(|known| known.set(item.index, count, content));
                    }
                    record = cache.next();
                }
                Ok(())
            });
        let Ok(()) = all;
    }

    /// Writes what is known of the files to the stat cache, if there is anything new.
    ///
    /// # Errors
    /// If the cache cannot be written. The context stays usable.
    pub fn remember(&self) -> Result<(), Error> {
        if !self.has_news.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Some(file) = &self.cache_file else { return Ok(()) };
        let mut writer = Writer::new(file).map_err(Error::StatCache)?;
        let write = &mut |path: &[u8], item: Item<'_>| match item.content() {
            Some(content) if content.lasting => writer.push(path, &item.identity(), &content),
            Some(_) | None => Ok(()),
        };
        self.root_folder().for_each_file(&mut Vec::new(), write).map_err(Error::StatCache)?;
        writer.save(file).map_err(Error::StatCache)
    }

    fn root_item(&self) -> Item<'_> {
        Item { folder: &self.listing, index: 0 }
    }

    fn root_folder(&self) -> &Folder {
        self.root_item().below().expect("the root is a directory")
    }

    /// Returns the entry of an item.
    fn entry_of(&self, item: Item<'_>) -> Entry {
        let node = item.node();
        let mut meta = Meta::root_owned(node.mode, item.mtime());
        let (major, minor) = item.numbers();
        let kind = match node.kind {
            Kind::Directory => EntryKind::Directory,
            Kind::File | Kind::LinkedFile => {
                let content = item.content();
                meta.xattrs = content.as_ref().and_then(Content::xattrs);
                let digest = content.map_or(UNREAD, |content| content.digest);
                let link = (node.kind == Kind::LinkedFile).then(|| self.group(item));
                EntryKind::File { size: node.detail, digest, link }
            }
            Kind::Symlink => EntryKind::Symlink { target: item.target().into() },
            Kind::CharDevice => EntryKind::CharDevice { major, minor },
            Kind::BlockDevice => EntryKind::BlockDevice { major, minor },
            Kind::Fifo => EntryKind::Fifo,
        };
        Entry { meta, kind }
    }

    /// Returns the group of a linked file: its inode, which needs no memory. Those of other devices, and the few that
    /// are too large, are numbered.
    fn group(&self, item: Item<'_>) -> LinkGroup {
        let is_plain = |(device, inode): (u64, u64)| device == self.listing.device && inode < NUMBERED;
        let inode = item.inode();
        if is_plain(inode) {
            return LinkGroup(inode.1);
        }
        let groups = self.groups.get_or_init(|| {
            let mut groups = HashMap::new();
            let all: Result<(), Infallible> =
                self.root_folder().for_each_file(&mut Vec::new(), &mut |_, item| {
                    if item.node().kind == Kind::LinkedFile && !is_plain(item.inode()) {
                        let next = NUMBERED | groups.len() as u64;
                        groups.entry(item.inode()).or_insert(next);
                    }
                    Ok(())
                });
            let Ok(()) = all;
            groups
        });
        LinkGroup(groups[&inode])
    }
}

impl View for Directory {
    type Item<'a> = Item<'a>;

    fn item(&self, path: &RelPath) -> Option<Item<'_>> {
        self.root_item().find(path)
    }

    fn children(&self, path: &RelPath) -> impl Iterator<Item = (&[u8], Item<'_>)> {
        let folder = self.item(path).and_then(Item::below);
        folder.into_iter().flat_map(Folder::items).map(|item| (item.name(), item))
    }
}

impl Entries for Directory {
    fn entry(&self, path: &RelPath) -> Option<Entry> {
        self.item(path).map(|item| self.entry_of(item))
    }

    fn below(&self, found: &Match, visit: &mut Visit<'_>) -> Result<(), place::Error> {
        found.walk(self, |Selected { directory, name, item, role }| {
            visit(&Selected { directory, name, item: &self.entry_of(item), role })
        })
    }

    fn is_without_links(&self) -> bool {
        !self.listing.has_links()
    }
}

fn open_directory(at: impl AsFd, path: &Path) -> Result<OwnedFd, rustix::io::Errno> {
    rustix::fs::openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Cuts the files at `indexes` into parts that one thread each reads.
fn batches<'i>(folder: &Folder, mut indexes: &'i [usize]) -> impl Iterator<Item = &'i [usize]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |index: &&usize| {
            let fits = bytes < BATCH_BYTES;
            bytes += folder.nodes[**index].detail;
            fits
        };
        let count = indexes.iter().take(BATCH_FILES).take_while(fits).count();
        let batch = indexes.split_off(..count)?;
        (!batch.is_empty()).then_some(batch)
    })
}
