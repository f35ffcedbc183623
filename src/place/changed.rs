//! The destination while files are put into it, and what has changed in the end.
//!
//! Files come in the order of paths, nearly always: these go into a list at once. The rest is held loosely beside it:
//! the directories on the way, a second source that lies over the first one, an archive in its own order. When that
//! gets much, it is merged into the list. What was there before is looked up in the view, which nothing is put into.

use std::collections::{BTreeMap, BTreeSet, btree_map, btree_set};
use std::iter::{Enumerate, Peekable};
use std::mem;

use crate::path::{self, RelPath};
use crate::place::view::{Node, resolve};
use crate::place::{Error, Ids};
use crate::time::Timestamp;
use crate::tree::list::{self, Stored};
use crate::tree::{Change, Changes, Entry, Kind, List, Meta, Origin, Tree};

/// Fewer entries beside the list are never merged into it. In tests nearly every entry is.
const LOOSE_ENTRIES: usize = if cfg!(test) { 2 } else { 1024 };

/// A view of the destination, and what is put over it.
pub(super) struct Destination<'a> {
    view: &'a Tree,
    /// What was put in order. Ancestors that only came to be named because something below them changed are not here.
    ordered: List,
    /// What was put besides, instead of what the list has at the same path.
    loose: BTreeMap<RelPath, (Entry, u16)>,
    origins: Vec<Origin>,
    removed: Removed,
}

/// Directories that something else took the place of, perhaps only for a while, each with how much of the list was there
/// by then: nothing that the view has below them is there any longer, nor what that part of the list has.
#[derive(Default)]
struct Removed(BTreeMap<RelPath, usize>);

impl Removed {
    fn hides_view(&self, path: &RelPath) -> bool {
        !self.0.is_empty() && path.ancestors().any(|above| self.0.contains_key(&above))
    }

    fn hides_listed(&self, path: &RelPath, index: usize) -> bool {
        let hides = |above: RelPath| self.0.get(&above).is_some_and(|listed| index < *listed);
        !self.0.is_empty() && path.ancestors().any(hides)
    }
}

/// What directories made on the way look like.
#[derive(Debug, Clone, Copy)]
pub(super) struct NewDirectory {
    pub(super) mode: u16,
    pub(super) owner: Ids,
    pub(super) mtime: Timestamp,
}

/// What stands at a path.
enum At<'a> {
    Put(&'a Entry),
    Listed(Stored<'a>),
    Before(&'a Entry),
}

impl At<'_> {
    fn is_directory(&self) -> bool {
        match self {
            Self::Put(entry) | Self::Before(entry) => entry.is_directory(),
            Self::Listed(stored) => stored.is_directory(),
        }
    }
}

impl<'a> Destination<'a> {
    pub(super) const fn new(view: &'a Tree) -> Self {
        Self {
            view,
            ordered: List::new(),
            loose: BTreeMap::new(),
            origins: Vec::new(),
            removed: Removed(BTreeMap::new()),
        }
    }

    fn at(&self, path: &RelPath) -> Option<At<'_>> {
        if let Some((entry, _)) = self.loose.get(path) {
            return Some(At::Put(entry));
        }
        if let Some(stored) = self.listed(path) {
            return Some(At::Listed(stored));
        }
        if self.removed.hides_view(path) { None } else { self.view.get(path).map(At::Before) }
    }

    fn listed(&self, path: &RelPath) -> Option<Stored<'_>> {
        let stored = if self.is_behind_all(path) { None } else { self.ordered.find(path) };
        stored.filter(|stored| !self.removed.hides_listed(path, stored.index()))
    }

    /// Tells whether `path` comes behind everything in the list.
    fn is_behind_all(&self, path: &RelPath) -> bool {
        self.ordered.last_path().is_none_or(|last| path::compare(last, path.as_bytes()).is_lt())
    }

    pub(super) fn get(&self, path: &RelPath) -> Option<Entry> {
        self.at(path).map(|at| match at {
            At::Put(entry) | At::Before(entry) => entry.clone(),
            At::Listed(stored) => stored.entry(),
        })
    }

    /// Tells whether a directory stands at `path`.
    pub(super) fn is_directory(&self, path: &RelPath) -> bool {
        self.at(path).is_some_and(|at| at.is_directory())
    }

    /// Tells whether something was put at `path` before.
    pub(super) fn was_put(&self, path: &RelPath) -> bool {
        self.loose.contains_key(path) || self.listed(path).is_some()
    }

    pub(super) fn node(&self, path: &RelPath) -> Option<Node<'_>> {
        if path.is_root() {
            return Some(Node::Directory);
        }
        self.at(path).map(|at| match at {
            At::Put(entry) | At::Before(entry) => Node::from(entry),
            At::Listed(stored) if stored.is_directory() => Node::Directory,
            At::Listed(stored) => stored.symlink_target().map_or(Node::Leaf, Node::Symlink),
        })
    }

    pub(super) fn resolve(&self, path: &RelPath) -> Result<RelPath, Error> {
        resolve(|path| self.node(path), path)
    }

    /// Puts `entry` at `path`, whose parent exists.
    pub(super) fn put(&mut self, path: &RelPath, entry: Entry, origin: u16) {
        if self.is_behind_all(path) && !self.loose.contains_key(path) {
            self.ordered.upsert(path, &entry, origin);
            return;
        }
        self.loose.insert(path.clone(), (entry, origin));
        // Writing the list anew costs little then for each entry that made it necessary.
        if self.loose.len() > LOOSE_ENTRIES.max(self.ordered.len() / 4) {
            let (ordered, loose) = (mem::take(&mut self.ordered), mem::take(&mut self.loose));
            self.ordered = Merged::of(ordered, loose, &self.removed)
                .map(|(path, (entry, origin))| Change::Upsert { path, entry, origin })
                .collect();
            self.removed.0.values_mut().for_each(|listed| *listed = 0);
        }
    }

    /// Puts `entry` at `path`; a directory in the way of something else is gone with everything below.
    pub(super) fn replace(&mut self, path: &RelPath, entry: Entry, origin: u16) {
        if !entry.is_directory() && self.is_directory(path) {
            let below = |other: &RelPath| other.starts_with(path);
            let loose = self.loose.range(path.clone()..).map(|(other, _)| other.clone());
            for gone in loose.take_while(below).collect::<Vec<_>>() {
                self.loose.remove(&gone);
            }
            self.removed.0.insert(path.clone(), self.ordered.len());
        }
        self.put(path, entry, origin);
    }

    /// Returns the index of `origin`, which stays the same for all files from one place.
    pub(super) fn add_origin(&mut self, origin: Origin) -> Result<u16, Error> {
        let index = u16::try_from(self.origins.len()).map_err(|_| Error::TooManyOrigins)?;
        self.origins.push(origin);
        Ok(index)
    }

    /// Makes the directory `path` (without links in it) and its missing parents; returns those that were made.
    pub(super) fn make_directories(
        &mut self,
        path: &RelPath,
        new: NewDirectory,
    ) -> Result<Vec<RelPath>, Error> {
        let mut made = Vec::new();
        for directory in path.ancestors().chain([path.clone()]) {
            match self.node(&directory) {
                Some(Node::Directory) => {}
                Some(Node::Symlink(_) | Node::Leaf) => return Err(Error::NotADirectory { path: directory }),
                None => {
                    let NewDirectory { mode, owner: Ids { uid, gid }, mtime } = new;
                    let meta = Meta { mode, uid, gid, mtime, xattrs: None };
                    // They are looked for with every source.
                    self.loose.insert(directory.clone(), (Entry::directory(meta), 0));
                    made.push(directory);
                }
            }
        }
        Ok(made)
    }

    /// Returns what differs from the view, and the directories above it as they are.
    pub(super) fn into_changes(self) -> Changes {
        // A directory that took the place of a directory's replacement must not keep what the view has there.
        let mut gone = BTreeSet::new();
        for directory in self.removed.0.keys() {
            self.list_gone(directory, &mut gone);
        }
        let Self { view, ordered, loose, origins, removed } = self;
        let is_new = removed.0.is_empty() && is_new(view, &ordered, &loose);
        // All of these differ.
        let (ordered, new) = if is_new { (List::new(), ordered) } else { (ordered, List::new()) };
        let gone = gone.into_iter().peekable();
        let mut differing = Differing { view, list: List::new(), gone, above: Vec::new() };
        for (path, (entry, origin)) in Merged::of(ordered, loose, &removed) {
            differing.see(path, entry, origin);
        }
        if let Some(first) = new.first_path().map(RelPath::of_clean) {
            differing.list_above(&first);
        }
        let mut list = differing.finish();
        list.append(new);
        Changes { list, origins }
    }

    /// Adds what the view has below `directory` and is not there any longer, if both have the directory.
    fn list_gone(&self, directory: &RelPath, gone: &mut BTreeSet<RelPath>) {
        if !self.view.get(directory).is_some_and(Entry::is_directory) || !self.is_directory(directory) {
            return;
        }
        for (name, _) in self.view.children(directory) {
            let path = directory.child(name);
            if self.at(&path).is_none() {
                gone.insert(path);
            } else if !self.removed.0.contains_key(&path) {
                self.list_gone(&path, gone);
            }
        }
    }
}

/// Tells whether all of `ordered` lies where the view has nothing, and behind all of `loose`: as what is copied into a
/// directory that is made for it.
fn is_new(view: &Tree, ordered: &List, loose: &BTreeMap<RelPath, (Entry, u16)>) -> bool {
    let (Some(first), Some(last)) = (ordered.first_path(), ordered.last_path()) else { return false };
    // What lies between two paths has above it what both have above them.
    let (first, last) = (RelPath::of_clean(first), RelPath::of_clean(last));
    let both = first.ancestors().chain([first.clone()]).filter(|above| last.starts_with(above)).last();
    // Where a directory has nothing, there is nothing below it.
    both.is_some_and(|above| !above.is_root() && view.get(&above).is_none())
        && loose.last_key_value().is_none_or(|(path, _)| *path < first)
}

/// Everything that was put and is there, in the order of paths.
struct Merged<'a> {
    ordered: Peekable<Enumerate<list::IntoIter>>,
    loose: Peekable<btree_map::IntoIter<RelPath, (Entry, u16)>>,
    removed: &'a Removed,
}

impl<'a> Merged<'a> {
    fn of(ordered: List, loose: BTreeMap<RelPath, (Entry, u16)>, removed: &'a Removed) -> Self {
        let ordered = ordered.into_iter().enumerate().peekable();
        Self { ordered, loose: loose.into_iter().peekable(), removed }
    }
}

impl Iterator for Merged<'_> {
    type Item = (RelPath, (Entry, u16));

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let next = self.ordered.peek().map(|(_, change)| change.path());
            if let Some(put) = self.loose.next_if(|(path, _)| next.is_none_or(|next| path <= next)) {
                self.ordered.next_if(|(_, change)| *change.path() == put.0);
                return Some(put);
            }
            match self.ordered.next()? {
                (index, Change::Upsert { path, entry, origin }) => {
                    if !self.removed.hides_listed(&path, index) {
                        return Some((path, (entry, origin)));
                    }
                }
                (_, Change::Whiteout { .. } | Change::Opaque { .. }) => unreachable!("only entries are put"),
            }
        }
    }
}

/// The list of what differs from the view while it is being made.
struct Differing<'a> {
    view: &'a Tree,
    list: List,
    /// What comes into the list as gone.
    gone: Peekable<btree_set::IntoIter<RelPath>>,
    /// The directories put so far in which the next path may lie, outermost first.
    above: Vec<(RelPath, Entry)>,
}

impl Differing<'_> {
    /// Takes the next of what was put, in the order of paths.
    fn see(&mut self, path: RelPath, entry: Entry, origin: u16) {
        while self.above.pop_if(|(above, _)| !path.starts_with(above)).is_some() {}
        // Link groups are numbered per instruction: a linked file is never what the view has.
        let linked = matches!(entry, Entry { kind: Kind::File { link: Some(_), .. }, .. });
        // The root's own metadata is in no layer.
        if !path.is_root() && (linked || self.view.get(&path) != Some(&entry)) {
            self.list_above(&path);
            self.list(&path, &entry, origin);
        }
        if entry.is_directory() {
            self.above.push((path, entry));
        }
    }

    /// Lists the directories above `path` that are not there yet, as they are.
    fn list_above(&mut self, path: &RelPath) {
        let mut missing = Vec::new();
        let mut above = path.parent();
        // In the order of paths, what is above both this and the last one listed is there already.
        let last = self.list.last_path().unwrap_or_default();
        while let Some(parent) = above.filter(|parent| !path::starts_with(last, parent.as_bytes())) {
            above = parent.parent();
            missing.push(parent);
        }
        for parent in missing.into_iter().rev() {
            let put = self.above.iter().find(|(above, _)| *above == parent).map(|(_, entry)| entry);
            let entry = put.or_else(|| self.view.get(&parent)).expect("what is above something is there");
            self.list(&parent, &entry.clone(), 0);
        }
    }

    fn list(&mut self, path: &RelPath, entry: &Entry, origin: u16) {
        while let Some(path) = self.gone.next_if(|gone| gone < path) {
            self.list.push(&Change::Whiteout { path });
        }
        self.list.upsert(path, entry, origin);
    }

    fn finish(mut self) -> List {
        for path in self.gone {
            self.list.push(&Change::Whiteout { path });
        }
        self.list
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::testing::{arbitrary_entry, arbitrary_path, arbitrary_tree};

    /// What [`Destination`] does, with everything at hand: the tree that is becoming of the view, and what was put.
    struct Plain<'a> {
        view: &'a Tree,
        tree: Tree,
        put: BTreeMap<RelPath, u16>,
        removed: BTreeSet<RelPath>,
    }

    impl Plain<'_> {
        fn put(&mut self, path: &RelPath, entry: Entry, origin: u16) {
            if !entry.is_directory() && self.tree.get(path).is_some_and(Entry::is_directory) {
                self.removed.insert(path.clone());
            }
            self.tree.insert(path, entry);
            self.put.insert(path.clone(), origin);
        }

        fn into_changes(self) -> Vec<Change> {
            let mut listed: BTreeMap<RelPath, u16> = BTreeMap::new();
            for (path, origin) in &self.put {
                let Some(entry) = self.tree.get(path).filter(|_| !path.is_root()) else { continue };
                let linked = matches!(entry.kind, Kind::File { link: Some(_), .. });
                if linked || self.view.get(path) != Some(entry) {
                    for above in path.ancestors().filter(|above| !above.is_root()) {
                        listed.entry(above).or_insert(0);
                    }
                    listed.insert(path.clone(), *origin);
                }
            }
            let upsert = |(path, origin): (RelPath, u16)| {
                let entry = self.tree.get(&path).expect("it was put").clone();
                Change::Upsert { path, entry, origin }
            };
            let mut list: Vec<Change> = listed.into_iter().map(upsert).collect();
            let is_directory = |tree: &Tree, path: &RelPath| tree.get(path).is_some_and(Entry::is_directory);
            for (path, _) in self.view.iter() {
                // The topmost path that is gone from below a directory that took a directory's place.
                let is_gone = self.tree.get(&path).is_none();
                let anew = path.ancestors().any(|above| self.removed.contains(&above));
                let stand =
                    |above: RelPath| is_directory(self.view, &above) && is_directory(&self.tree, &above);
                if is_gone && anew && path.ancestors().all(stand) {
                    list.push(Change::Whiteout { path });
                }
            }
            list.sort_by(|a, b| a.path().cmp(b.path()));
            list
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        #[test]
        fn the_order_in_which_things_are_put_does_not_show(
            view in arbitrary_tree(),
            puts in proptest::collection::vec((arbitrary_path(), arbitrary_entry()), 0..24),
            asked in proptest::collection::vec(arbitrary_path(), 0..4),
        ) {
            let mut destination = Destination::new(&view);
            let (put, removed) = (BTreeMap::new(), BTreeSet::new());
            let mut plain = Plain { view: &view, tree: view.clone(), put, removed };
            let new = NewDirectory { mode: 0o700, owner: Ids { uid: 1, gid: 2 }, mtime: Timestamp(3) };
            for (number, (path, entry)) in puts.iter().enumerate() {
                let origin = if matches!(entry.kind, Kind::File { .. }) { number as u16 } else { 0 };
                let parent = path.parent().unwrap_or_default();
                let Ok(made) = destination.make_directories(&parent, new) else { continue };
                for path in made {
                    let entry = destination.get(&path).expect("it was made");
                    plain.put(&path, entry, 0);
                }
                destination.replace(path, entry.clone(), origin);
                plain.put(path, entry.clone(), origin);
                for path in puts.iter().map(|(path, _)| path).chain(&asked) {
                    let expected = plain.tree.get(path);
                    prop_assert_eq!(destination.get(path), expected.cloned(), "{}", path);
                    prop_assert_eq!(destination.node(path), expected.map(Node::from));
                    prop_assert_eq!(destination.is_directory(path), expected.is_some_and(Entry::is_directory));
                    if expected.is_some() {
                        prop_assert_eq!(destination.was_put(path), plain.put.contains_key(path), "{}", path);
                    }
                }
            }
            let changes = destination.into_changes();
            prop_assert_eq!(changes.list.iter().collect::<Vec<_>>(), plain.into_changes());
        }
    }
}
