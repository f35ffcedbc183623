//! The content digest of a tree: what a cache key means by "the same files".
//!
//! It covers names, kinds, modes, owners, link targets, device numbers, extended attributes and the digests
//! of files. It never covers modification times, nor which files are hard links to one another: a checkout
//! changes the first, and no copy can tell the second (moby/buildkit `cache/contenthash` leaves both out too).
//!
//! Everything hashed is framed: a length before bytes, an ordinal before a variant, a domain string with a
//! version before all. So two different trees never give the same bytes to hash.

use crate::digest::{Digest, Hasher};
use crate::path::RelPath;

use super::directory::{Directory, Node};
use super::{Entry, Kind, Tree};

const DIRECTORY_DOMAIN: &[u8] = b"kiln tree directory 1";
const ENTRY_DOMAIN: &[u8] = b"kiln tree entry 1";

impl Tree {
    /// Returns the content digest of what stands at `path`, everything below included, its own name not.
    /// Directories remember theirs, so asking again costs nothing.
    pub fn digest(&self, path: &RelPath) -> Option<Digest> {
        self.node(path).map(Node::content_digest)
    }
}

impl Node {
    pub(super) fn content_digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        bytes(&mut hasher, ENTRY_DOMAIN);
        hash_node(&mut hasher, self);
        hasher.finish()
    }
}

impl Directory {
    fn content_digest(&self) -> Digest {
        *self.digest.get_or_init(|| {
            let mut hasher = Hasher::new();
            bytes(&mut hasher, DIRECTORY_DOMAIN);
            number(&mut hasher, self.children.len() as u64);
            for child in &self.children {
                bytes(&mut hasher, child.name.as_bytes());
                hash_node(&mut hasher, &child.node);
            }
            hasher.finish()
        })
    }
}

fn hash_node(hasher: &mut Hasher, node: &Node) {
    hash_entry(hasher, &node.entry);
    if node.entry.is_directory() {
        let empty = Directory::default();
        let below = node.below.as_deref().unwrap_or(&empty);
        hasher.update(below.content_digest().as_bytes());
    }
}

fn hash_entry(hasher: &mut Hasher, entry: &Entry) {
    entry.content(&mut |part| hasher.update(part));
}

impl Entry {
    /// Hands the parts of its content to `sink`: what counts of it, framed so that two entries never give the same
    /// bytes. What is in a directory is no part of it.
    pub fn content(&self, sink: &mut impl FnMut(&[u8])) {
        let Self { meta, kind } = self;
        // An empty map says the same as none.
        let xattrs = meta.xattrs.as_deref();
        let count = xattrs.map_or(0, |xattrs| xattrs.len() as u64);
        numbers(sink, &[u64::from(meta.mode), u64::from(meta.uid), u64::from(meta.gid), count]);
        for bytes in xattrs.into_iter().flatten().flat_map(|(name, value)| [name, value]) {
            numbers(sink, &[bytes.len() as u64]);
            sink(bytes);
        }
        match kind {
            Kind::Directory => numbers(sink, &[0]),
            Kind::File { size, digest, link: _ } => {
                numbers(sink, &[1, *size]);
                sink(digest.as_bytes());
            }
            Kind::Symlink { target } => {
                numbers(sink, &[2, target.len() as u64]);
                sink(target);
            }
            Kind::CharDevice { major, minor } => numbers(sink, &[3, u64::from(*major), u64::from(*minor)]),
            Kind::BlockDevice { major, minor } => numbers(sink, &[4, u64::from(*major), u64::from(*minor)]),
            Kind::Fifo => numbers(sink, &[5]),
        }
    }
}

fn numbers(sink: &mut impl FnMut(&[u8]), numbers: &[u64]) {
    numbers.iter().for_each(|number| sink(&number.to_le_bytes()));
}

fn number(hasher: &mut Hasher, number: u64) {
    hasher.update(&number.to_le_bytes());
}

fn bytes(hasher: &mut Hasher, bytes: &[u8]) {
    number(hasher, bytes.len() as u64);
    hasher.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::tree::testing::{arbitrary_tree, dir, file, linked, path, symlink, with_xattr};
    use crate::tree::{LinkGroup, Meta};
    use proptest::prelude::*;

    fn root_digest(tree: &Tree) -> Digest {
        tree.digest(&RelPath::root()).expect("the root is always there")
    }

    #[test]
    fn every_part_of_the_content_counts() {
        let base = || -> Tree { [(path("d/x"), file("1"))].into_iter().collect() };
        let variants: Vec<(&str, RelPath, Entry)> = vec![
            ("nothing", path("d/x"), file("1")),
            ("bytes", path("d/x"), file("2")),
            ("name", path("d/y"), file("1")),
            ("directory mode", path("d"), dir(0o700)),
            ("kind", path("d/x"), symlink("1")),
            ("empty directory", path("e"), dir(0o755)),
            ("xattr", path("d/x"), with_xattr(file("1"), "security.capability", b"c")),
            ("xattr value", path("d/x"), with_xattr(file("1"), "security.capability", b"d")),
            ("uid", path("d/x"), Entry { meta: Meta { uid: 1, ..file("1").meta }, ..file("1") }),
            ("gid", path("d/x"), Entry { meta: Meta { gid: 1, ..file("1").meta }, ..file("1") }),
        ];
        let mut seen = std::collections::HashMap::new();
        for (what, at, entry) in variants {
            let mut tree = base();
            root_digest(&tree);
            tree.insert(&at, entry);
            if let Some(other) = seen.insert(root_digest(&tree), what) {
                panic!("`{what}` has the digest of `{other}`");
            }
        }
    }

    #[test]
    fn times_and_links_do_not_count() {
        let a: Tree =
            [(path("x"), linked("1", Some(1))), (path("y"), linked("1", Some(1)))].into_iter().collect();
        let mut b: Tree = [(path("x"), file("1")), (path("y"), file("1"))].into_iter().collect();
        let mut touched = file("1");
        touched.meta.mtime = Timestamp(77);
        b.insert(&path("y"), touched);
        assert_eq!(root_digest(&a), root_digest(&b));
        assert_eq!(a.digest(&path("x")), a.digest(&path("y")));
        assert_eq!(a.digest(&path("z")), None);
    }

    fn without_times_and_links(tree: &Tree) -> Vec<(RelPath, Entry)> {
        let plain = |(path, entry): (RelPath, &Entry)| {
            let mut entry = entry.clone();
            entry.meta.mtime = Timestamp(0);
            if let Kind::File { link, .. } = &mut entry.kind {
                *link = None::<LinkGroup>;
            }
            (path, entry)
        };
        tree.iter().map(plain).collect()
    }

    proptest! {
        #[test]
        fn equal_digests_mean_equal_content(a in arbitrary_tree(), b in arbitrary_tree()) {
            let same = without_times_and_links(&a) == without_times_and_links(&b);
            prop_assert_eq!(root_digest(&a) == root_digest(&b), same);
        }

        #[test]
        fn a_remembered_digest_is_the_digest(a in arbitrary_tree(), b in arbitrary_tree()) {
            root_digest(&a);
            let mut grown = a;
            for (path, entry) in &b {
                grown.insert(&path, entry.clone());
            }
            let fresh: Tree = grown.iter().map(|(path, entry)| (path, entry.clone())).collect();
            prop_assert_eq!(root_digest(&grown), root_digest(&fresh));
        }
    }
}
