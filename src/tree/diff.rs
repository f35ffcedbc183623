//! Finding what one tree changes in another: the content of a layer.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::directory::{Child, Node};
use super::links::Links;
use super::{Change, Changes, Entry, List, Tree};
use crate::path::RelPath;

/// Returns the changes that turn `lower` into `upper`, without origins.
///
/// * An entry has changed if anything about it has: kind, mode, owner, time, attributes, target, content. Of
///   the root directory the time does not count: it changes with every name put into it, and no other
///   builder's layer has an entry for it.
/// * Every directory above a change is an entry too, as it is in `upper`; so other builders' layers are.
/// * What is gone is an explicit whiteout at the topmost path that is gone. A path whose kind changed needs
///   none, except below a directory that takes the place of a directory.
/// * Hard links travel whole: if one name of a group must be an entry, all names of that group are, because
///   a tar can link only to what it holds. Names that are linked differently are changes.
///
/// Directories that the trees share are not looked into.
pub fn diff(lower: &Tree, upper: &Tree) -> Changes {
    let mut found = Found { list: List::new(), above: Vec::new(), links: Links::default() };
    let root = RelPath::root();
    if !same_but_time(&lower.root.entry, &upper.root.entry) {
        found.list.upsert(&root, &upper.root.entry, 0);
    }
    found.below(&root, Some(&lower.root), &upper.root);
    let Found { list, links, .. } = found;
    let travelling = links.travelling(lower, upper, &list);
    let list = if travelling.is_empty() { list } else { include(list, &travelling, upper) };
    Changes { list, origins: Vec::new() }
}

fn same_but_time(a: &Entry, b: &Entry) -> bool {
    let (a, b) = (&a.meta, &b.meta);
    (a.mode, a.uid, a.gid, &a.xattrs) == (b.mode, b.uid, b.gid, &b.xattrs)
}

struct Found<'a> {
    list: List,
    /// The directories being compared, outermost first, that come into the list if anything below them has changed.
    above: Vec<(RelPath, &'a Entry)>,
    links: Links,
}

impl<'a> Found<'a> {
    /// Lists the changes at `path`, parents first.
    fn at(&mut self, path: RelPath, lower: Option<&Node>, upper: &'a Node) {
        let changed = match lower {
            None => true,
            Some(lower) => {
                self.links.see(&lower.entry, &upper.entry);
                !lower.entry.same_apart_from_links(&upper.entry)
            }
        };
        if changed {
            self.links.changed(&upper.entry);
            self.list_above();
            self.list.upsert(&path, &upper.entry, 0);
        }
        if upper.entry.is_directory() {
            let outer = self.above.len();
            if !changed {
                self.above.push((path.clone(), &upper.entry));
            }
            self.below(&path, lower.filter(|lower| lower.entry.is_directory()), upper);
            // It was taken from there if something below has changed, with those above it.
            self.above.truncate(outer);
        }
    }

    fn list_above(&mut self) {
        for (path, entry) in self.above.drain(..) {
            self.list.upsert(&path, entry, 0);
        }
    }

    fn below(&mut self, path: &RelPath, lower: Option<&Node>, upper: &'a Node) {
        if let Some((ours, theirs)) = lower.and_then(|lower| lower.below.as_ref()).zip(upper.below.as_ref())
            && Arc::ptr_eq(ours, theirs)
        {
            return;
        }
        let mut gone = lower.map_or(&[][..], Node::children).iter().peekable();
        let mut here = upper.children().iter().peekable();
        let child_path = |child: &Child| path.child(child.name.as_bytes());
        loop {
            let order = match (gone.peek(), here.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(ours), Some(theirs)) => ours.name.cmp(&theirs.name),
            };
            let ours = if order.is_le() { gone.next() } else { None };
            let theirs = if order.is_ge() { here.next() } else { None };
            match (ours, theirs) {
                (ours, Some(theirs)) => {
                    self.at(child_path(theirs), ours.map(|child| &child.node), &theirs.node);
                }
                (Some(ours), None) => {
                    self.list_above();
                    self.list.push(&Change::Whiteout { path: child_path(ours) });
                }
                (None, None) => {}
            }
        }
    }
}

/// Returns `list` with the files `paths` of `upper` and the directories above them.
fn include(list: List, paths: &BTreeSet<RelPath>, upper: &Tree) -> List {
    let mut wanted: BTreeSet<RelPath> = paths.iter().flat_map(RelPath::ancestors).collect();
    wanted.remove(&RelPath::root());
    wanted.extend(paths.iter().cloned());
    let mut wanted = wanted.into_iter().peekable();
    let mut both = List::new();
    let add = |both: &mut List, path: &RelPath| {
        if let Some(entry) = upper.get(path) {
            both.upsert(path, entry, 0);
        }
    };
    for change in list {
        while let Some(path) = wanted.next_if(|path| path < change.path()) {
            add(&mut both, &path);
        }
        wanted.next_if(|path| path == change.path());
        both.push(&change);
    }
    wanted.for_each(|path| add(&mut both, &path));
    both
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::tree::testing::{arbitrary_tree, dir, file, linked, path, symlink};
    use proptest::prelude::*;

    fn printed(changes: &Changes) -> Vec<String> {
        let print = |change: Change| match change {
            Change::Upsert { path, .. } => format!("+{path}"),
            Change::Whiteout { path } => format!("-{path}"),
            Change::Opaque { path } => format!("o{path}"),
        };
        changes.list.iter().map(print).collect()
    }

    fn tree<const N: usize>(entries: [(&str, Entry); N]) -> Tree {
        entries.into_iter().map(|(name, entry)| (path(name), entry)).collect()
    }

    #[test]
    fn parents_of_changes_are_entries_and_what_is_gone_is_a_whiteout() {
        let lower = tree([("a/b/c", file("1")), ("a/b/d", file("2")), ("e/f", file("3")), ("g", file("4"))]);
        let mut upper = lower.clone();
        upper.insert(&path("a/b/c"), file("new"));
        upper.remove(&path("e"));
        upper.insert(&path("n"), symlink("g"));
        assert_eq!(printed(&diff(&lower, &upper)), ["+a", "+a/b", "+a/b/c", "-e", "+n"]);
        assert_eq!(printed(&diff(&lower, &lower)), [""; 0]);
        assert_eq!(printed(&diff(&upper, &lower)), ["+a", "+a/b", "+a/b/c", "+e", "+e/f", "-n"]);
    }

    #[test]
    fn a_change_of_kind_needs_no_whiteout() {
        let a = tree([("x/y", file("1"))]);
        let b = tree([("x", file("1"))]);
        assert_eq!(printed(&diff(&a, &b)), ["+x"]);
        assert_eq!(printed(&diff(&b, &a)), ["+x", "+x/y"]);
    }

    #[test]
    fn times_count_except_that_of_the_root() {
        let lower = tree([("d", dir(0o755)), ("f", file("1"))]);
        let touch = |name: &str| {
            let mut upper = lower.clone();
            let mut entry = upper.get(&path(name)).expect("it was put there").clone();
            entry.meta.mtime = Timestamp(9);
            upper.insert(&path(name), entry);
            printed(&diff(&lower, &upper))
        };
        assert_eq!(touch("d"), ["+d"]);
        assert_eq!(touch("f"), ["+f"]);
        assert_eq!(touch(""), [""; 0]);
        let mut upper = lower.clone();
        upper.insert(&RelPath::root(), dir(0o700));
        assert_eq!(printed(&diff(&lower, &upper)), ["+"]);
    }

    #[test]
    fn a_link_group_travels_whole() {
        let group = Some(5);
        let lower = tree([("a/x", linked("1", group)), ("b/y", linked("1", group)), ("c", file("1"))]);
        // One more name for the same file.
        let mut upper = lower.clone();
        upper.insert(&path("z"), linked("1", group));
        assert_eq!(printed(&diff(&lower, &upper)), ["+a", "+a/x", "+b", "+b/y", "+z"]);
        // One name fewer leaves the others as they are.
        let mut upper = lower.clone();
        upper.remove(&path("a/x"));
        assert_eq!(printed(&diff(&lower, &upper)), ["+a", "-a/x"]);
        // The last other name gone: the file is a file like any other, and unchanged.
        upper.insert(&path("b/y"), file("1"));
        assert_eq!(printed(&diff(&lower, &upper)), ["+a", "-a/x"]);
        // Broken apart: one of the two must come, and here both do.
        let mut upper = lower.clone();
        upper.insert(&path("a/x"), file("1"));
        upper.insert(&path("b/y"), file("1"));
        assert_eq!(printed(&diff(&lower, &upper)), ["+a", "+a/x", "+b", "+b/y"]);
        // Joined with a file of equal content.
        let mut upper = lower.clone();
        upper.insert(&path("c"), linked("1", group));
        assert_eq!(printed(&diff(&lower, &upper)), ["+a", "+a/x", "+b", "+b/y", "+c"]);
    }

    #[test]
    fn numbers_of_groups_mean_nothing() {
        let numbered = |group| tree([("a/x", linked("1", Some(group))), ("b/y", linked("1", Some(group)))]);
        assert_eq!(printed(&diff(&numbered(1), &numbered(9))), [""; 0]);
    }

    fn with_root_time_of(mut tree: Tree, other: &Tree) -> Tree {
        tree.root.entry.meta.mtime = other.root.entry.meta.mtime;
        tree
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn applying_the_difference_gives_the_upper_tree(a in arbitrary_tree(), b in arbitrary_tree()) {
            let changes = diff(&a, &b);
            let applied = with_root_time_of(a.apply(&changes), &b);
            prop_assert!(applied == b, "{changes:#?}\n{}\n{}", applied.listing(), b.listing());
            prop_assert!(changes.list.into_iter().is_sorted_by(|x, y| x.path() < y.path()));
        }

        #[test]
        fn edits_are_found_in_shared_trees(
            a in arbitrary_tree(),
            edits in proptest::collection::vec((0..3_u8, any::<prop::sample::Index>()), 1..4),
            other in arbitrary_tree(),
        ) {
            let mut b = a.clone();
            for (edit, which) in edits {
                let paths: Vec<_> = b.iter().map(|(path, _)| path).filter(|path| !path.is_root()).collect();
                let donors: Vec<_> = other.iter().filter(|(path, _)| !path.is_root()).collect();
                match edit {
                    0 if !paths.is_empty() => b.remove(which.get(&paths)),
                    1 if !paths.is_empty() && !donors.is_empty() => {
                        b.insert(which.get(&paths), which.get(&donors).1.clone());
                    }
                    _ if !donors.is_empty() => {
                        let (path, entry) = which.get(&donors);
                        b.insert(path, (*entry).clone());
                    }
                    _ => {}
                }
            }
            let changes = diff(&a, &b);
            let applied = with_root_time_of(a.apply(&changes), &b);
            prop_assert!(applied == b, "{changes:#?}\n{}\n{}", applied.listing(), b.listing());
        }

        #[test]
        fn a_tree_does_not_differ_from_itself(a in arbitrary_tree()) {
            let rebuilt: Tree = a.iter().map(|(path, entry)| (path, entry.clone())).collect();
            prop_assert!(diff(&a, &a.clone()).list.is_empty());
            prop_assert!(diff(&a, &rebuilt).list.is_empty());
        }
    }
}
