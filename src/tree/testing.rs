//! Trees for tests: short constructors, and arbitrary trees over a small world of names and contents in
//! which collisions are frequent.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Change, Changes, Entry, Kind, LinkGroup, List, Meta, Tree};
use crate::digest::Digest;
use crate::path::RelPath;
use crate::time::Timestamp;

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::clean(text)
}

pub(crate) fn dir(mode: u16) -> Entry {
    Entry::directory(Meta::root_owned(mode, Timestamp(0)))
}

pub(crate) fn linked(content: &str, group: Option<u64>) -> Entry {
    let kind =
        Kind::File { size: content.len() as u64, digest: Digest::of(content), link: group.map(LinkGroup) };
    Entry { meta: Meta::root_owned(0o644, Timestamp(0)), kind }
}

pub(crate) fn file(content: &str) -> Entry {
    linked(content, None)
}

pub(crate) fn symlink(target: &str) -> Entry {
    let kind = Kind::Symlink { target: target.as_bytes().into() };
    Entry { meta: Meta::root_owned(0o777, Timestamp(0)), kind }
}

pub(crate) fn with_xattr(mut entry: Entry, name: &str, value: &[u8]) -> Entry {
    entry.meta.xattrs = Some(Arc::new(BTreeMap::from([(name.as_bytes().into(), value.into())])));
    entry
}

pub(crate) fn upsert(at: &str, entry: Entry) -> Change {
    Change::Upsert { path: path(at), entry, origin: 0 }
}

pub(crate) fn whiteout(at: &str) -> Change {
    Change::Whiteout { path: path(at) }
}

pub(crate) fn opaque(at: &str) -> Change {
    Change::Opaque { path: path(at) }
}

pub(crate) fn changes(list: Vec<Change>) -> Changes {
    Changes { list: List::sorted(list), origins: Vec::new() }
}

/// The paths of a tree as text, directories with a slash.
pub(crate) fn shown(tree: &Tree) -> Vec<String> {
    tree.iter()
        .map(|(path, entry)| format!("{path}{}", if entry.is_directory() { "/" } else { "" }))
        .collect()
}

pub(crate) fn arbitrary_path() -> impl Strategy<Value = RelPath> {
    let name = prop_oneof![4 => "[a-c]", 1 => Just("a-b".to_owned()), 1 => Just("a name beyond inline storage".to_owned())];
    proptest::collection::vec(name, 1..4).prop_map(|names| path(&names.join("/")))
}

fn arbitrary_meta() -> impl Strategy<Value = Meta> {
    let xattrs =
        prop_oneof![9 => Just(None), 1 => proptest::collection::vec(any::<u8>(), 0..24).prop_map(Some)];
    (prop_oneof![Just(0o755), Just(0o4711)], 0..2_u32, 0..2_u32, 0..2_i64, xattrs).prop_map(
        |(mode, uid, gid, mtime, capability)| {
            let capability = capability.map(Vec::into_boxed_slice);
            let xattrs = capability
                .map(|value| Arc::new(BTreeMap::from([(b"security.capability"[..].into(), value)])));
            Meta { mode, uid, gid, mtime: Timestamp(mtime), xattrs }
        },
    )
}

pub(crate) fn arbitrary_entry() -> impl Strategy<Value = Entry> {
    let plain = (arbitrary_meta(), 0..3_u8)
        .prop_map(|(meta, content)| Entry { meta, kind: file(&content_of(u64::from(content))).kind });
    // All names of a group are one inode: they agree in everything.
    let link = (0..3_u64).prop_map(|group| linked(&content_of(group), Some(group)));
    let device = (any::<bool>(), 0..300_u32, 0..2_u32).prop_map(|(block, major, minor)| {
        if block { Kind::BlockDevice { major, minor } } else { Kind::CharDevice { major, minor } }
    });
    let target = prop_oneof![Just("a"), Just("/b/c"), Just("../a-b")].prop_map(|target| symlink(target).kind);
    let other = (arbitrary_meta(), prop_oneof![device, target, Just(Kind::Fifo)])
        .prop_map(|(meta, kind)| Entry { meta, kind });
    let directory = arbitrary_meta().prop_map(Entry::directory);
    prop_oneof![3 => plain, 3 => link, 1 => other, 2 => directory]
}

/// The content of the files in arbitrary trees, small enough to be compared and of different lengths.
pub(crate) fn content_of(number: u64) -> String {
    "content ".repeat(usize::try_from(number).expect("a small number"))
}

pub(crate) fn arbitrary_tree() -> impl Strategy<Value = Tree> {
    let root = prop_oneof![4 => Just(dir(0o755)), 1 => arbitrary_meta().prop_map(Entry::directory)];
    (root, proptest::collection::vec((arbitrary_path(), arbitrary_entry()), 0..10)).prop_map(
        |(root, entries)| {
            let mut tree: Tree = entries.into_iter().collect();
            tree.insert(&RelPath::root(), root);
            tree
        },
    )
}
