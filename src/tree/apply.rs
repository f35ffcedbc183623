//! Laying a layer's changes on a tree.
//!
//! One merge of two sorted sequences per directory: the children there are, and the changes grouped by
//! their component at that depth. Directories that no change touches are shared with the lower tree.
//!
//! A layer may have `lib/x` and no entry for `lib`, which is a symlink to `usr/lib` in the tree below (layers
//! of other builders on a base with a merged `/usr`). Runtimes extract that through the symlink, and so it is
//! applied here; entry by entry then, as it is rare.

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::Arc;

use super::directory::{Child, Directory, Node, implied_directory};
use super::list::{Iter, List};
use super::name::Name;
use super::{Change, Changes, Entry, Kind, LinkGroup, Tree};
use crate::path::{self, RelPath};

impl Tree {
    /// Returns this tree with `changes` laid on it, as extracting the layer would: first everything that
    /// whiteouts and opaque marks name is gone from this tree, then the layer's own entries come. So what a
    /// layer puts into a directory that it marks opaque stays.
    ///
    /// Link groups of the changes are groups of their own, whatever their numbers.
    pub fn apply(&self, changes: &Changes) -> Self {
        let groups = Groups { next: self.next_group, renamed: HashMap::new() };
        let mut laying = Laying { changes: changes.list.iter().peekable(), groups, met_symlink: false };
        let root = match laying.changes.next() {
            Some(first) => laying.lay(Some(&self.root), first, 0).node,
            None => return self.clone(),
        };
        if laying.met_symlink {
            return self.apply_through_symlinks(&changes.list, laying.groups);
        }
        // Whatever the changes say, a tree has a root directory.
        let root = root.filter(|root| root.entry.is_directory());
        Self { root: root.unwrap_or_else(|| Node::leaf(implied_directory())), next_group: laying.groups.next }
    }

    /// Applies changes some of which lie below symlinks, in the order in which they would be extracted.
    fn apply_through_symlinks(&self, changes: &List, mut groups: Groups) -> Self {
        fn place(tree: &Tree, path: &RelPath) -> RelPath {
            match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => tree.resolve(&parent, true).unwrap_or(parent).child(name),
                _ => path.clone(),
            }
        }
        let mut tree = self.clone();
        for change in changes {
            match change {
                Change::Upsert { .. } => {}
                Change::Whiteout { path } => tree.remove(&place(self, &path)),
                Change::Opaque { path } => tree.clear(&place(self, &path)),
            }
        }
        for change in changes {
            if let Change::Upsert { path, entry, .. } = change {
                tree.insert(&place(&tree, &path), groups.rename(entry));
            }
        }
        tree
    }
}

/// Gives the groups of the changes numbers that the lower tree does not use.
struct Groups {
    next: u64,
    renamed: HashMap<LinkGroup, LinkGroup>,
}

impl Groups {
    fn rename(&mut self, mut entry: Entry) -> Entry {
        if let Kind::File { link: Some(link), .. } = &mut entry.kind {
            *link = *self.renamed.entry(*link).or_insert_with(|| {
                self.next = self.next.saturating_add(1);
                LinkGroup(self.next - 1)
            });
        }
        entry
    }
}

/// The changes while they are being laid on a tree, in one pass.
struct Laying<'a> {
    changes: Peekable<Iter<'a>>,
    groups: Groups,
    /// There are changes below a symlink.
    met_symlink: bool,
}

/// What stands at a path after its changes.
struct Laid {
    node: Option<Node>,
    /// Whether the changes put something there or below it.
    brings: bool,
}

impl Laying<'_> {
    /// Lays all changes that are at a path or below it: `first`, of whose path that one is the first `depth` bytes,
    /// and those that follow.
    fn lay(&mut self, lower: Option<&Node>, first: Change, depth: usize) -> Laid {
        let path = first.path().clone();
        let at = &path.as_bytes()[..depth];
        let (mut entry, mut gone, mut opaque) = (None, false, false);
        let mut next = Some(first);
        while let Some(change) = next.take_if(|change| change.path().as_bytes().len() == depth) {
            match change {
                Change::Upsert { entry: new, .. } => entry = Some(self.groups.rename(new)),
                Change::Whiteout { .. } => gone = true,
                Change::Opaque { .. } => opaque = true,
            }
            next = self.next_below(at);
        }
        let brings_itself = entry.is_some();
        let lower = lower.filter(|_| !gone);
        let entry = entry.or_else(|| lower.map(|lower| lower.entry.clone()));
        if next.is_some() && matches!(entry, Some(Entry { kind: Kind::Symlink { .. }, .. })) {
            self.met_symlink = true;
        }
        let kept = lower.and_then(|lower| lower.below.as_ref()).filter(|_| !opaque);
        let (below, brings_below) = match next {
            Some(first) => self.lay_below(kept.map_or(&[][..], |kept| &kept.children), first, at),
            None => (kept.cloned(), false),
        };
        // Whiteouts alone make no directory.
        let entry = match entry {
            Some(entry) if entry.is_directory() || !brings_below => Some(entry),
            Some(_) => Some(implied_directory()),
            None => brings_below.then(implied_directory),
        };
        let node = entry.map(|entry| match entry.is_directory() {
            true => Node { entry, below },
            false => Node::leaf(entry),
        });
        Laid { node, brings: brings_itself || brings_below }
    }

    /// Merges the children of the directory `at` with the changes below it, of which there is a `first`; tells also
    /// whether these put something there.
    fn lay_below(&mut self, lower: &[Child], first: Change, at: &[u8]) -> (Option<Arc<Directory>>, bool) {
        let start = if at.is_empty() { 0 } else { at.len() + 1 };
        let mut children = Vec::with_capacity(lower.len());
        let mut lower = lower.iter().peekable();
        let mut brings = false;
        let mut next = Some(first);
        while let Some(first) = next {
            let name = component(&first, start);
            while let Some(untouched) = lower.next_if(|child| child.name.as_bytes() < name) {
                children.push(untouched.clone());
            }
            let there = lower.next_if(|child| child.name.as_bytes() == name);
            let (end, name) = (start + name.len(), Name::new(name));
            let laid = self.lay(there.map(|child| &child.node), first, end);
            brings |= laid.brings;
            children.extend(laid.node.map(|node| Child { name, node }));
            next = self.next_below(at);
        }
        children.extend(lower.cloned());
        children.shrink_to_fit();
        (Directory::of(children), brings)
    }

    /// Takes the next change if it is at the path `at` or below it.
    fn next_below(&mut self, at: &[u8]) -> Option<Change> {
        self.changes.next_if(|change| path::starts_with(change.path().as_bytes(), at))
    }
}

/// The component of the change's path that starts at byte `start`.
fn component(change: &Change, start: usize) -> &[u8] {
    let rest = &change.path().as_bytes()[start..];
    &rest[..rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len())]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::{changes, dir, file, linked, opaque, path, shown, symlink, upsert, whiteout};

    fn tree(names: &[&str]) -> Tree {
        names.iter().map(|name| (path(name), file(name))).collect()
    }

    #[test]
    fn a_layer_adds_replaces_and_removes() {
        let lower = tree(&["a/x", "a/y", "a-b/z", "c"]);
        for (list, expected) in [
            (vec![], vec!["/", "a/", "a/x", "a/y", "a-b/", "a-b/z", "c"]),
            (vec![whiteout("a/x")], vec!["/", "a/", "a/y", "a-b/", "a-b/z", "c"]),
            (vec![whiteout("a")], vec!["/", "a-b/", "a-b/z", "c"]),
            (vec![whiteout("a"), whiteout("a-b"), whiteout("c")], vec!["/"]),
            (vec![upsert("a", file("f"))], vec!["/", "a", "a-b/", "a-b/z", "c"]),
            (
                vec![upsert("c/d/e", file("f"))],
                vec!["/", "a/", "a/x", "a/y", "a-b/", "a-b/z", "c/", "c/d/", "c/d/e"],
            ),
            (vec![opaque("a"), upsert("a/n", file("f"))], vec!["/", "a/", "a/n", "a-b/", "a-b/z", "c"]),
            (
                vec![upsert("a", dir(0o711)), opaque("a"), upsert("a/x/n", file("f"))],
                vec!["/", "a/", "a/x/", "a/x/n", "a-b/", "a-b/z", "c"],
            ),
            (vec![whiteout("a"), upsert("a/n", file("f"))], vec!["/", "a/", "a/n", "a-b/", "a-b/z", "c"]),
            (vec![opaque("")], vec!["/"]),
            (vec![opaque(""), upsert("n", file("f"))], vec!["/", "n"]),
            (
                vec![whiteout("none"), whiteout("none/deep"), opaque("nor/this")],
                vec!["/", "a/", "a/x", "a/y", "a-b/", "a-b/z", "c"],
            ),
            (
                vec![upsert("b", symlink("c")), upsert("z", dir(0o755))],
                vec!["/", "a/", "a/x", "a/y", "a-b/", "a-b/z", "b", "c", "z/"],
            ),
        ] {
            assert_eq!(shown(&lower.apply(&changes(list.clone()))), expected, "{list:?}");
            let mut shuffled = list.clone();
            shuffled.reverse();
            assert_eq!(shown(&lower.apply(&changes(shuffled))), expected, "reversed {list:?}");
        }
    }

    #[test]
    fn a_layer_goes_through_symlinks_that_it_does_not_replace() {
        let mut lower = tree(&["usr/lib/a", "usr/lib/b"]);
        lower.insert(&path("lib"), symlink("usr/lib"));
        lower.insert(&path("loop"), symlink("loop"));
        for (list, expected) in [
            (
                vec![upsert("lib/c", file("c")), whiteout("lib/a")],
                vec!["/", "lib", "loop", "usr/", "usr/lib/", "usr/lib/b", "usr/lib/c"],
            ),
            (
                vec![upsert("lib", dir(0o755)), upsert("lib/c", file("c"))],
                vec!["/", "lib/", "lib/c", "loop", "usr/", "usr/lib/", "usr/lib/a", "usr/lib/b"],
            ),
            (
                vec![whiteout("lib"), upsert("lib/c", file("c"))],
                vec!["/", "lib/", "lib/c", "loop", "usr/", "usr/lib/", "usr/lib/a", "usr/lib/b"],
            ),
            (
                vec![upsert("l", symlink("/lib/new")), upsert("l/c", file("c")), whiteout("usr/lib/b")],
                vec![
                    "/",
                    "l",
                    "lib",
                    "loop",
                    "usr/",
                    "usr/lib/",
                    "usr/lib/a",
                    "usr/lib/new/",
                    "usr/lib/new/c",
                ],
            ),
            (vec![upsert("loop/c", file("c")), whiteout("usr")], vec!["/", "lib", "loop/", "loop/c"]),
        ] {
            assert_eq!(shown(&lower.apply(&changes(list.clone()))), expected, "{list:?}");
        }
        let layer =
            changes(vec![upsert("lib/c", linked("1", Some(0))), upsert("lib/d", linked("1", Some(0)))]);
        assert_eq!(lower.apply(&layer).to_string().matches("link=usr/lib/c").count(), 2);
    }

    #[test]
    fn untouched_directories_are_shared() {
        let lower = tree(&["a/x", "b/y"]);
        let upper = lower.apply(&changes(vec![whiteout("a/x")]));
        let below = |tree: &Tree| tree.root.child(b"b").and_then(|node| node.below.clone());
        assert!(below(&lower).zip(below(&upper)).is_some_and(|(a, b)| Arc::ptr_eq(&a, &b)));
        assert_eq!(upper.get(&path("a")), Some(&dir(0o755)));
        assert_eq!(upper.get(&RelPath::root()), Some(&dir(0o755)));
    }

    #[test]
    fn link_groups_of_a_layer_are_its_own() {
        let lower: Tree = [("a", 0), ("b", 0)]
            .map(|(name, group)| (path(name), linked("1", Some(group))))
            .into_iter()
            .collect();
        let layer = changes(vec![upsert("c", linked("1", Some(0))), upsert("d", linked("1", Some(0)))]);
        let expected: Tree = [("a", 1), ("b", 1), ("c", 2), ("d", 2)]
            .map(|(name, group)| (path(name), linked("1", Some(group))))
            .into_iter()
            .collect();
        assert!(lower.apply(&layer) == expected);
    }
}
