//! What a step read of a context, a line a file: what `kiln why` compares with what the build before had.

use std::cmp::Ordering;
use std::io::Write as _;

use super::inputs::Chosen;
use crate::path;

const MEMORY: &str = "memory takes any text";

/// How many files are named of those that differ.
const NAMED_FILES: usize = 5;

/// The CRC-32 of an entry's content and its path a line, in the order of paths, each path once. It only informs, so that a
/// checksum does.
pub(super) struct Listing(Vec<u8>);

impl Listing {
    /// Lists what was chosen.
    pub(super) fn of(chosen: &Chosen) -> Self {
        let (mut text, mut parts) = (Vec::new(), Vec::new());
        // Matches that overlap list files twice, and names that are not shown as they are may stand elsewhere.
        let (mut last, mut in_order) = (None, true);
        chosen.for_each(|path, _, entry| {
            parts.clear();
            entry.content(&mut |part| parts.extend_from_slice(part));
            write!(text, "{:08x} ", libdeflater::crc32(&parts)).expect(MEMORY);
            let start = text.len();
            // Shown, no name has a line feed in it.
            write!(text, "{path}").expect(MEMORY);
            let shown = start..text.len();
            let before = last.replace(shown.clone());
            in_order &= before.is_none_or(|before| path::compare(&text[before], &text[shown]).is_lt());
            text.push(b'\n');
        });
        if in_order { Self(text) } else { Self(sorted(&text)) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Compares with a listing of before: how many files differ, and the first of them, with `+` for new ones, `-` for those
    /// that are gone, `~` for others.
    pub(super) fn changed(&self, old: &[u8]) -> (usize, Vec<String>) {
        let same = same_lines(old, &self.0);
        let (mut old, mut new) = (lines(&old[same..]).peekable(), lines(&self.0[same..]).peekable());
        let (mut count, mut named) = (0, Vec::new());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return (count, named),
                (Some(before), Some(after)) => path::compare(before.path, after.path),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            let before = old.next_if(|_| order.is_le());
            let after = new.next_if(|_| order.is_ge());
            let (mark, line) = match (before, after) {
                (before, after) if before == after => continue,
                (_, None) => ('-', before),
                (None, _) => ('+', after),
                (Some(_), Some(_)) => ('~', after),
            };
            count += 1;
            if named.len() < NAMED_FILES {
                named.extend(line.map(|line| format!("{mark}{}", String::from_utf8_lossy(line.path))));
            }
        }
    }
}

fn sorted(text: &[u8]) -> Vec<u8> {
    let mut lines: Vec<_> = lines(text).collect();
    lines.sort_by(|a, b| path::compare(a.path, b.path));
    lines.dedup_by_key(|line| line.path);
    lines
        .into_iter()
        .flat_map(|Line { digest, path }| [digest, b" ", path, b"\n"])
        .flatten()
        .copied()
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Line<'a> {
    digest: &'a [u8],
    path: &'a [u8],
}

fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        Some(Line { digest: &line[..space], path: &line[space + 1..] })
    })
}

/// Returns how many bytes whole lines take with which both begin: mostly a file of very many differs.
fn same_lines(a: &[u8], b: &[u8]) -> usize {
    let same = &a[..path::common_prefix(a, b)];
    same.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::inputs::choose_in;
    use super::*;
    use crate::path::RelPath;
    use crate::tree::testing::{arbitrary_tree, file, path};
    use crate::tree::{Entry, Tree};

    fn listed(tree: &Tree, pattern: &str) -> Listing {
        Listing::of(&choose_in(tree, "the tree", pattern, false, &[]).expect("it is there"))
    }

    #[test]
    fn names_are_shown_so_that_each_has_a_line() {
        let mut tree = Tree::empty();
        let odd = RelPath::clean(b"d/b\xff d\nd\\/e");
        for at in [path("d/a"), odd, path("d/b c"), path("d/b/c"), path("é/f")] {
            tree.insert(&at, file("x"));
        }
        for pattern in [".", "d", "d/b", "é/f"] {
            let listing = listed(&tree, pattern);
            let found: Vec<_> = lines(listing.as_bytes()).map(|line| line.path.to_vec()).collect();
            let below = |at: &RelPath| at.starts_with(&RelPath::clean(pattern));
            let mut expected: Vec<_> =
                tree.iter().map(|(at, _)| at).filter(below).map(|at| at.to_string().into_bytes()).collect();
            expected.sort_by(|a, b| path::compare(a, b));
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn lines_are_sorted_and_name_each_path_once() {
        for (text, expected) in [
            ("1 a\n2 b/c\n3 b c\n", "1 a\n2 b/c\n3 b c\n"),
            ("1 a\n2 b c\n3 b/c\n", "1 a\n3 b/c\n2 b c\n"),
            ("2 b\n1 a\n2 b\n", "1 a\n2 b\n"),
            ("", ""),
        ] {
            assert_eq!(sorted(text.as_bytes()), expected.as_bytes());
        }
    }

    #[test]
    fn files_that_differ() {
        let old = "1 a\n2 b\n3 c d\n";
        for (new, expected) in [
            ("1 a\n2 b\n3 c d\n", vec![]),
            ("1 a\n9 b\n3 c d\n", vec!["~b"]),
            ("2 b\n3 c d\n4 e\n", vec!["-a", "+e"]),
            ("", vec!["-a", "-b", "-c d"]),
        ] {
            let (count, files) = Listing(new.into()).changed(old.as_bytes());
            assert_eq!((count, files), (expected.len(), expected.iter().map(ToString::to_string).collect()));
        }
    }

    proptest! {
        #[test]
        fn what_has_other_content_has_another_line(before in arbitrary_tree(), after in arbitrary_tree()) {
            let entries = |tree: &Tree| -> BTreeMap<_, _> {
                let content = |entry: &Entry| {
                    let mut parts = Vec::new();
                    entry.content(&mut |part| parts.extend_from_slice(part));
                    parts
                };
                tree.iter().map(|(at, entry)| (at, content(entry))).collect()
            };
            let (old, new) = (entries(&before), entries(&after));
            let all: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            let expected = all.into_iter().filter(|at| old.get(*at) != new.get(*at)).count();
            prop_assert_eq!(listed(&after, ".").changed(listed(&before, ".").as_bytes()).0, expected);
        }

        /// Some pieces long, with few files that differ.
        #[test]
        fn lines_that_are_passed_over_are_the_same(
            count in 0..1500_usize,
            gone in prop::collection::btree_set(0..1500_usize, 0..3),
            other in prop::collection::btree_set(0..1500_usize, 0..3),
        ) {
            let line = |number: usize, digest: &str| format!("{digest} {number:04}\n");
            let old: String = (0..count).map(|number| line(number, "1")).collect();
            let is_there = |number: &usize| !gone.contains(number);
            let digest = |number: usize| if other.contains(&number) { "2" } else { "1" };
            let new: String = (0..count).filter(is_there).map(|number| line(number, digest(number))).collect();
            let differ = gone.union(&other).filter(|number| **number < count);
            let mark = |number: &usize| if is_there(number) { '~' } else { '-' };
            let expected: Vec<_> = differ.map(|number| format!("{}{number:04}", mark(number))).collect();
            let (found, named) = Listing(new.into()).changed(old.as_bytes());
            prop_assert_eq!(found, expected.len());
            prop_assert_eq!(&named, &expected[..found.min(NAMED_FILES)]);
        }
    }
}
