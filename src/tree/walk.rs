//! Walking a tree in the order of paths, and comparing two trees that way.

use std::collections::HashMap;
use std::collections::hash_map;
use std::slice;

use super::directory::{Child, Node};
use super::{Entry, Kind, LinkGroup, Tree};
use crate::digest::Digest;
use crate::path::RelPath;

/// The entries of a tree in the order of [`RelPath`]: a directory right before what is below it.
pub struct Iter<'a> {
    start: Option<(RelPath, &'a Node)>,
    /// The directories being walked, outermost first, each with the children still to come.
    open: Vec<(RelPath, slice::Iter<'a, Child>)>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (RelPath, &'a Entry);

    fn next(&mut self) -> Option<Self::Item> {
        let (path, node) = match self.start.take() {
            Some(start) => start,
            None => loop {
                let (parent, children) = self.open.last_mut()?;
                match children.next() {
                    Some(child) => break (parent.child(child.name.as_bytes()), &child.node),
                    None => {
                        self.open.pop();
                    }
                }
            },
        };
        if !node.children().is_empty() {
            self.open.push((path.clone(), node.children().iter()));
        }
        Some((path, &node.entry))
    }
}

/// Looks entries up; fastest when asked in the order of paths, where most have the directory of the one before.
pub struct Finder<'a> {
    tree: &'a Tree,
    /// The directory that was looked into last.
    last: Option<(RelPath, &'a Node)>,
}

impl<'a> Finder<'a> {
    /// Returns what [`Tree::get`] returns.
    pub fn get(&mut self, path: &RelPath) -> Option<&'a Entry> {
        self.node(path).map(|node| &node.entry)
    }

    /// Returns what [`Tree::digest`] returns.
    pub fn digest(&mut self, path: &RelPath) -> Option<Digest> {
        self.node(path).map(Node::content_digest)
    }

    fn node(&mut self, path: &RelPath) -> Option<&'a Node> {
        let Some(name) = path.file_name() else { return Some(&self.tree.root) };
        let parent = &path.as_bytes()[..(path.as_bytes().len() - name.len()).saturating_sub(1)];
        let directory = match &self.last {
            Some((last, directory)) if last.as_bytes() == parent => *directory,
            Some(_) | None => {
                let parent = path.parent().unwrap_or_default();
                let directory = self.tree.node(&parent)?;
                self.last = Some((parent, directory));
                directory
            }
        };
        directory.child(name)
    }
}

impl Tree {
    /// Starts a series of look-ups.
    pub const fn finder(&self) -> Finder<'_> {
        Finder { tree: self, last: None }
    }

    /// Tells whether there surely are no hard links in the tree.
    pub const fn is_without_links(&self) -> bool {
        self.next_group == 0
    }

    /// Returns all entries in the order of [`RelPath`], the root first.
    pub fn iter(&self) -> Iter<'_> {
        self.iter_below(&RelPath::root())
    }

    /// Returns `path` and all entries below it in the order of [`RelPath`], by their whole paths; nothing if
    /// there is nothing at `path`.
    pub fn iter_below(&self, path: &RelPath) -> Iter<'_> {
        Iter { start: self.node(path).map(|node| (path.clone(), node)), open: Vec::new() }
    }
}

impl<'a> IntoIterator for &'a Tree {
    type Item = (RelPath, &'a Entry);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        let mut groups = GroupMatch::default();
        let (mut ours, mut theirs) = (self.iter(), other.iter());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return groups.settled(),
                (Some((a_path, a)), Some((b_path, b))) if a_path == b_path && groups.same(a, b) => {}
                (Some(_) | None, Some(_) | None) => return false,
            }
        }
    }
}

impl Eq for Tree {}

/// Whether two numberings of link groups mean the same groups. A group of one name is no link.
#[derive(Default)]
struct GroupMatch {
    /// For each number on one side, the number on the other and how many names had it.
    forth: HashMap<LinkGroup, (Option<LinkGroup>, usize)>,
    back: HashMap<LinkGroup, (Option<LinkGroup>, usize)>,
}

impl GroupMatch {
    fn same(&mut self, a: &Entry, b: &Entry) -> bool {
        let (Kind::File { size, digest, link }, Kind::File { size: b_size, digest: b_digest, link: b_link }) =
            (&a.kind, &b.kind)
        else {
            return a == b;
        };
        (&a.meta, size, digest) == (&b.meta, b_size, b_digest)
            && Self::note(&mut self.forth, *link, *b_link)
            && Self::note(&mut self.back, *b_link, *link)
    }

    fn note(
        seen: &mut HashMap<LinkGroup, (Option<LinkGroup>, usize)>,
        from: Option<LinkGroup>,
        to: Option<LinkGroup>,
    ) -> bool {
        let Some(from) = from else { return true };
        match seen.entry(from) {
            hash_map::Entry::Vacant(slot) => {
                slot.insert((to, 1));
                true
            }
            hash_map::Entry::Occupied(mut slot) => {
                let (first, count) = slot.get_mut();
                *count += 1;
                *first == to && to.is_some()
            }
        }
    }

    /// Looks at the groups that one side does not have: they must have had a single name.
    fn settled(&self) -> bool {
        let single = |seen: &HashMap<_, (Option<LinkGroup>, usize)>| {
            seen.values().all(|(other, count)| other.is_some() || *count == 1)
        };
        single(&self.forth) && single(&self.back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::{file, linked, path, shown};

    #[test]
    fn walks_in_path_order() {
        let names = ["a-b", "a/b/c", "b", "a/b-c"];
        let tree: Tree = names.map(|name| (path(name), file(name))).into_iter().collect();
        assert_eq!(shown(&tree), ["/", "a/", "a/b/", "a/b/c", "a/b-c", "a-b", "b"]);
        let mut sorted: Vec<_> = tree.iter().map(|(path, _)| path).collect();
        sorted.sort();
        assert!(tree.iter().map(|(path, _)| path).eq(sorted));
        let below: Vec<_> = tree.iter_below(&path("a/b")).map(|(path, _)| path.to_string()).collect();
        assert_eq!(below, ["a/b", "a/b/c"]);
        assert_eq!(tree.iter_below(&path("c")).count(), 0);
    }

    #[test]
    fn equality_looks_at_groups_not_at_their_numbers() {
        let tree = |groups: [Option<u64>; 3]| -> Tree {
            ["a", "b", "c"]
                .into_iter()
                .zip(groups)
                .map(|(name, group)| (path(name), linked("x", group)))
                .collect()
        };
        for (a, b, equal) in [
            ([Some(1), Some(1), None], [Some(7), Some(7), None], true),
            ([Some(1), Some(1), Some(2)], [Some(7), Some(7), None], true),
            ([Some(1), Some(1), Some(1)], [Some(7), Some(7), None], false),
            ([Some(1), Some(1), None], [None, Some(7), Some(7)], false),
            ([Some(1), Some(1), None], [None, None, None], false),
            ([Some(1), Some(2), Some(1)], [Some(1), Some(1), Some(2)], false),
        ] {
            assert_eq!(tree(a) == tree(b), equal, "{a:?} {b:?}");
            assert_eq!(tree(b) == tree(a), equal, "{b:?} {a:?}");
        }
    }
}
