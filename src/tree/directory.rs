//! The nodes of a tree, and reading and changing single paths.
//!
//! A directory is a vector of children sorted by name, behind an `Arc`. A child is its name, its entry and,
//! for a directory with content, the pointer to that content: about 120 bytes, so that a million files fit
//! in some 120 MB.

use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use super::name::Name;
use super::{Entry, Kind, LinkGroup, Meta};
use crate::digest::Digest;
use crate::path::RelPath;
use crate::time::Timestamp;

/// The content of a root file system: an immutable value in the sense that a clone never sees what is done
/// to the original. The root directory is an entry of its own, at [`RelPath::root`].
///
/// Two trees are equal if they hold equal entries at the same paths and the same paths are hard links to one
/// another, whatever their groups are numbered.
#[derive(Clone)]
pub struct Tree {
    pub(super) root: Node,
    /// Above every link group in the tree: where [`Tree::apply`] starts numbering the groups it brings in.
    pub(super) next_group: u64,
}

/// An entry and, for a directory, what is below it.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) entry: Entry,
    /// `None` for anything but a directory, and for an empty one.
    pub(super) below: Option<Arc<Directory>>,
}

#[derive(Clone)]
pub(super) struct Child {
    pub(super) name: Name,
    pub(super) node: Node,
}

/// The content of a directory.
#[derive(Clone, Default)]
pub(super) struct Directory {
    pub(super) children: Vec<Child>,
    /// The content digest once somebody asked for it; see `content`.
    pub(super) digest: OnceLock<Digest>,
}

/// The directory that is made where a path needs a parent that no entry describes.
pub(super) fn implied_directory() -> Entry {
    Entry::directory(Meta::root_owned(0o755, Timestamp(0)))
}

impl Node {
    pub(super) const fn leaf(entry: Entry) -> Self {
        Self { entry, below: None }
    }

    /// The children by name, sorted; none for anything but a directory.
    pub(super) fn children(&self) -> &[Child] {
        self.below.as_deref().map_or(&[], |directory| &directory.children)
    }

    pub(super) fn child(&self, name: &[u8]) -> Option<&Self> {
        self.below.as_deref()?.child(name)
    }
}

impl Directory {
    pub(super) fn of(children: Vec<Child>) -> Option<Arc<Self>> {
        (!children.is_empty()).then(|| Arc::new(Self { children, digest: OnceLock::new() }))
    }

    pub(super) fn find(&self, name: &[u8]) -> Result<usize, usize> {
        // Trees are mostly built in order: look at the end first.
        let count = self.children.len();
        match self.children.last().map_or(Ordering::Less, |last| last.name.as_bytes().cmp(name)) {
            Ordering::Less => Err(count),
            Ordering::Equal => Ok(count - 1),
            Ordering::Greater => self.children.binary_search_by(|child| child.name.as_bytes().cmp(name)),
        }
    }

    pub(super) fn child(&self, name: &[u8]) -> Option<&Node> {
        self.find(name).ok().map(|at| &self.children[at].node)
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::empty()
    }
}

impl Tree {
    /// Returns the tree of `FROM scratch`: a root directory, 0755 and owned by root, with nothing in it.
    pub const fn empty() -> Self {
        let root = Entry::directory(Meta::root_owned(0o755, Timestamp(0)));
        Self { root: Node::leaf(root), next_group: 0 }
    }

    /// Returns what stands at `path`, symlinks not followed.
    pub fn get(&self, path: &RelPath) -> Option<&Entry> {
        self.node(path).map(|node| &node.entry)
    }

    pub(super) fn node(&self, path: &RelPath) -> Option<&Node> {
        path.components().try_fold(&self.root, |node, name| node.child(name))
    }

    /// Returns the names in the directory `path` with their entries, sorted by name; nothing if there is no
    /// directory.
    pub fn children(&self, path: &RelPath) -> impl ExactSizeIterator<Item = (&[u8], &Entry)> + Clone {
        let children = self.node(path).map_or(&[][..], Node::children);
        children.iter().map(|child| (child.name.as_bytes(), &child.node.entry))
    }

    /// Returns the number of entries, the root included. Walks the tree.
    pub fn len(&self) -> usize {
        fn count(node: &Node) -> usize {
            1 + node.children().iter().map(|child| count(&child.node)).sum::<usize>()
        }
        count(&self.root)
    }

    /// Tells whether there is nothing but the root directory.
    pub fn is_empty(&self) -> bool {
        self.root.children().is_empty()
    }

    /// Puts `entry` at `path`. A directory over a directory keeps what is below; anything else replaces what
    /// was there. Missing parents, and parents that are no directories, become directories of root, 0755.
    ///
    /// A link group in `entry` means the group of that number in this tree.
    ///
    /// # Panics
    /// If `path` is the root and `entry` no directory.
    pub fn insert(&mut self, path: &RelPath, entry: Entry) {
        assert!(!path.is_root() || entry.is_directory(), "the root of a tree is a directory");
        if let Kind::File { link: Some(LinkGroup(group)), .. } = entry.kind {
            self.next_group = self.next_group.max(group.saturating_add(1));
        }
        let mut node = &mut self.root;
        for name in path.components() {
            if !node.entry.is_directory() {
                *node = Node::leaf(implied_directory());
            }
            let directory = Arc::make_mut(node.below.get_or_insert_default());
            directory.digest.take();
            let at = directory.find(name).unwrap_or_else(|at| {
                let node = Node::leaf(implied_directory());
                directory.children.insert(at, Child { name: Name::new(name), node });
                at
            });
            node = &mut directory.children[at].node;
        }
        if !entry.is_directory() {
            node.below = None;
        }
        node.entry = entry;
    }

    /// Takes away `path` and everything below; nothing happens if there is nothing. The root itself stays,
    /// emptied.
    pub fn remove(&mut self, path: &RelPath) {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            self.root.below = None;
            return;
        };
        if self.get(path).is_none() {
            return;
        }
        let parent = self.node_mut(&parent).expect("a path that exists has a parent that exists");
        if let Some(below) = &mut parent.below {
            let directory = Arc::make_mut(below);
            directory.digest.take();
            if let Ok(at) = directory.find(name) {
                directory.children.remove(at);
            }
            if directory.children.is_empty() {
                parent.below = None;
            }
        }
    }

    /// Empties the directory `path`; nothing happens if there is none.
    pub fn clear(&mut self, path: &RelPath) {
        if self.node(path).is_some_and(|node| node.below.is_some())
            && let Some(node) = self.node_mut(path)
        {
            node.below = None;
        }
    }

    /// The node at `path`, everything above it unshared and its memoised digests forgotten.
    fn node_mut(&mut self, path: &RelPath) -> Option<&mut Node> {
        let mut node = &mut self.root;
        for name in path.components() {
            let directory = Arc::make_mut(node.below.as_mut()?);
            directory.digest.take();
            let at = directory.find(name).ok()?;
            node = &mut directory.children[at].node;
        }
        Some(node)
    }
}

impl FromIterator<(RelPath, Entry)> for Tree {
    fn from_iter<I: IntoIterator<Item = (RelPath, Entry)>>(entries: I) -> Self {
        let mut tree = Self::empty();
        for (path, entry) in entries {
            tree.insert(&path, entry);
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::{dir, file, path, shown};

    #[test]
    fn a_child_stays_small() {
        assert!(size_of::<Child>() <= 120, "{}", size_of::<Child>());
    }

    #[test]
    fn inserts_make_parents_and_replace_what_is_in_the_way() {
        let mut tree = Tree::empty();
        tree.insert(&path("a/b/c"), file("1"));
        assert_eq!(shown(&tree), ["/", "a/", "a/b/", "a/b/c"]);
        tree.insert(&path("a/b"), dir(0o700));
        assert_eq!(
            shown(&tree),
            ["/", "a/", "a/b/", "a/b/c"],
            "a directory over a directory keeps its content"
        );
        assert_eq!(tree.get(&path("a/b")), Some(&dir(0o700)));
        tree.insert(&path("a/b"), file("2"));
        assert_eq!(shown(&tree), ["/", "a/", "a/b"]);
        tree.insert(&path("a/b/d"), file("3"));
        assert_eq!(shown(&tree), ["/", "a/", "a/b/", "a/b/d"]);
    }

    #[test]
    fn a_clone_does_not_see_changes() {
        let mut tree: Tree = [(path("a/x"), file("1")), (path("b/y"), file("2"))].into_iter().collect();
        let before = tree.clone();
        tree.remove(&path("a/x"));
        tree.clear(&path("b"));
        tree.remove(&path("missing/path"));
        assert_eq!(shown(&tree), ["/", "a/", "b/"]);
        assert_eq!(shown(&before), ["/", "a/", "a/x", "b/", "b/y"]);
        let untouched = before.root.child(b"b").and_then(|node| node.below.clone());
        let mut other = before.clone();
        other.insert(&path("a/z"), file("3"));
        let shared = other.root.child(b"b").and_then(|node| node.below.clone());
        assert!(untouched.zip(shared).is_some_and(|(a, b)| Arc::ptr_eq(&a, &b)));
    }

    #[test]
    fn children_are_sorted_by_name() {
        let tree: Tree = ["a-b", "a", "b", "a/c"].map(|name| (path(name), file(name))).into_iter().collect();
        let names: Vec<_> = tree.children(&RelPath::root()).map(|(name, _)| name.to_vec()).collect();
        assert_eq!(names, [&b"a"[..], b"a-b", b"b"]);
        assert_eq!(tree.children(&path("b")).len(), 0);
        assert_eq!(tree.len(), 5);
    }
}
