//! A context directory: its listing, and the trees that copies take from it.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use rustix::fs::{Mode, OFlags};

use crate::context::content::{self, Content};
use crate::context::listing::{Finder, Kind, Node};
use crate::context::stat_cache::{self, Horizon, Record, StatCache};
use crate::context::{Error, walk};
use crate::path::RelPath;
use crate::pattern::{Ignore, Rule};
use crate::place::{self, View};
use crate::tree::{Bytes, Entry, Kind as EntryKind, LinkGroup, Meta, Tree};

/// A larger stat cache (of some 200,000 files) is read again when it is needed again, so that it takes no memory while
/// trees are made.
const KEPT_CACHE_BYTES: usize = 32 << 20;

/// A listed build context. It can be searched by [`place::select`], and [`Directory::tree`] gives what was
/// selected, with content digests.
#[derive(Debug)]
pub struct Directory {
    path: Arc<PathBuf>,
    root: OwnedFd,
    listing: Node,
    ignore: Ignore,
    cache_file: Option<PathBuf>,
    /// Read when the first digest is wanted, and kept unless it is large.
    cache: Mutex<Option<Arc<StatCache>>>,
    /// Whether a file was read that the cache did not answer for.
    has_news: AtomicBool,
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
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|errno| Error::Open { path: path.clone(), source: errno.into() })?;
        let ignore = ignore.unwrap_or_default();
        let listing = walk::list(&root, &ignore)?;
        let path = Arc::new(path);
        let (cache, has_news) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { path, root, listing, ignore, cache_file: stat_cache, cache, has_news })
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
        let mut count = 0;
        self.listing.for_each_below(&RelPath::root(), &mut |_, _| count += 1);
        count
    }

    /// Tells whether there is nothing in the context, or nothing that is not excluded.
    pub fn is_empty(&self) -> bool {
        self.listing.children().is_empty()
    }

    /// Returns the rule of the ignore file that excludes `path`, whether or not the path exists.
    pub fn excluded_by(&self, path: &RelPath) -> Option<&Rule> {
        let verdict = self.ignore.verdict(path);
        verdict.rule.filter(|_| verdict.excluded).and_then(|rule| self.ignore.rules().get(rule))
    }

    /// Returns a tree of `paths` and the directories above them; files have their digests. Paths that are not
    /// in the context are left out.
    ///
    /// # Errors
    /// If a file cannot be read, or changes while it is.
    pub fn tree<'p>(&self, paths: impl IntoIterator<Item = &'p RelPath>) -> Result<Tree, Error> {
        let mut finder = Finder::new(&self.listing);
        let found = |path: &'p RelPath| finder.find(path).map(|node| (path, node));
        let mut nodes: Vec<(&RelPath, &Node)> = paths.into_iter().filter_map(found).collect();
        nodes.sort_unstable_by_key(|(path, _)| *path);
        nodes.dedup_by_key(|(path, _)| *path);
        self.digest(&nodes)?;
        let mut groups = HashMap::new();
        let mut tree = Tree::empty();
        tree.insert(&RelPath::root(), entry(&self.listing, &mut groups));
        let mut above = None;
        for (path, node) in nodes {
            // In the order of paths most have the parent of the one before.
            let parent = path.parent();
            if parent != above {
                self.insert_parents(&mut tree, path);
                above = parent;
            }
            tree.insert(path, entry(node, &mut groups));
        }
        Ok(tree)
    }

    fn insert_parents(&self, tree: &mut Tree, path: &RelPath) {
        let Some(parent) = path.parent().filter(|parent| tree.get(parent).is_none()) else { return };
        self.insert_parents(tree, &parent);
        let node = self.listing.find(&parent).expect("what is above a listed path is listed");
        tree.insert(&parent, entry(node, &mut HashMap::new()));
    }

    /// Tells whether the stat data of the file `path` prove that it has the content whose digest is in the trees.
    pub fn is_as_hashed(&self, path: &RelPath, stat: &rustix::fs::Stat) -> bool {
        let Some(Node { identity, kind: Kind::File { content, .. }, .. }) = self.listing.find(path) else {
            return false;
        };
        content.get().is_some_and(|content| content.lasting) && walk::identity(stat) == *identity
    }

    /// Sees to it that the files among `nodes`, in the order of paths, have their digests.
    fn digest(&self, nodes: &[(&RelPath, &Node)]) -> Result<(), Error> {
        let cache = self.cache();
        let mut remembered = cache.lookup();
        let mut unknown = Vec::new();
        for (path, node) in nodes {
            let Kind::File { content, .. } = &node.kind else { continue };
            if content.get().is_some() {
                continue;
            }
            match remembered.get(path, &node.identity) {
                Some(record) => _ = content.set(record.into()),
                None => unknown.push((path, node, content)),
            }
        }
        drop(cache);
        if unknown.is_empty() {
            return Ok(());
        }
        self.has_news.store(true, Ordering::Relaxed);
        // Where no cache can be written nothing is remembered; the build does not need it.
        let horizon = self.cache_file.as_deref().and_then(|file| Horizon::now(file).ok()).unwrap_or_default();
        let buffer = || vec![0; content::READ_BUFFER_BYTES];
        unknown.par_iter().try_for_each_init(buffer, |buffer, (path, node, content)| {
            let read = content::read(buffer, &self.root, path, &node.identity, horizon)?;
            // Another copy may have been faster, with the same result.
            _ = content.set(read);
            Ok(())
        })
    }

    /// Returns what earlier builds remembered.
    fn cache(&self) -> Arc<StatCache> {
        let mut kept = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = &*kept {
            return Arc::clone(cache);
        }
        let cache = Arc::new(self.cache_file.as_deref().map(StatCache::load).unwrap_or_default());
        if cache.size() <= KEPT_CACHE_BYTES {
            *kept = Some(Arc::clone(&cache));
        }
        cache
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
        let cache = self.cache();
        let mut lookup = cache.lookup();
        let mut writer = stat_cache::Writer::new(file).map_err(Error::StatCache)?;
        let mut written = Ok(());
        let mut changed = false;
        self.listing.for_each_below(&RelPath::root(), &mut |path, node| {
            let Kind::File { content, .. } = &node.kind else { return };
            let old = lookup.get(&path, &node.identity);
            let new = content.get().filter(|content| content.lasting).map(|content| Record {
                identity: node.identity,
                digest: content.digest,
                capability: content.capability.clone(),
            });
            changed |= old.is_none() && new.is_some();
            if let (Ok(()), Some(record)) = (&written, old.or(new)) {
                written = writer.push(&path, &record);
            }
        });
        written.map_err(Error::StatCache)?;
        if changed { writer.save(file).map_err(Error::StatCache) } else { Ok(()) }
    }
}

impl View for Directory {
    fn node(&self, path: &RelPath) -> Option<place::Node<'_>> {
        self.listing.node(path)
    }

    fn children(&self, path: &RelPath) -> impl Iterator<Item = (&[u8], place::Node<'_>)> {
        View::children(&self.listing, path)
    }
}

impl From<Record> for Content {
    fn from(record: Record) -> Self {
        Self { digest: record.digest, capability: record.capability, lasting: true }
    }
}

/// Returns the entry of a node whose content, if it is a file, was read.
fn entry(node: &Node, groups: &mut HashMap<(u64, u64), LinkGroup>) -> Entry {
    let mut meta = Meta::root_owned(node.mode, node.identity.mtime.into());
    let kind = match &node.kind {
        Kind::Directory(_) => EntryKind::Directory,
        Kind::File { linked, content } => {
            let content = content.get().expect("files are read before they become entries");
            meta.xattrs = content.xattrs();
            let next = LinkGroup(groups.len() as u64);
            let inode = (node.identity.device, node.identity.inode);
            let link = linked.then(|| *groups.entry(inode).or_insert(next));
            EntryKind::File { size: node.identity.size, digest: content.digest, link }
        }
        Kind::Symlink(target) => EntryKind::Symlink { target: target.clone() },
        Kind::CharDevice { major, minor } => EntryKind::CharDevice { major: *major, minor: *minor },
        Kind::BlockDevice { major, minor } => EntryKind::BlockDevice { major: *major, minor: *minor },
        Kind::Fifo => EntryKind::Fifo,
    };
    Entry { meta, kind }
}
