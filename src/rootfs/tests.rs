//! Layers written to real directories and read back.

mod queue;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::write::Writer;
use super::*;
use crate::digest::Digest;
use crate::layer::{self, Compression, DEFAULT_MEMORY_BYTES, PackOptions, pack};
use crate::path::RelPath;
use crate::time::Timestamp;
use crate::tree::testing::{file, linked, symlink, with_xattr};
use crate::tree::{Bytes, Change, Changes, Entry, Kind, List, Meta, Origin, Tree, diff};

/// Why [`write_layer`] failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Layer(#[from] layer::Error),
    #[error(transparent)]
    Rootfs(#[from] Error),
}

/// What root of the machine can hold.
const ALL: Disk = Disk { owners: true, devices: true, marks: Marks::Trusted };

fn root_user() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

fn path(text: &str) -> RelPath {
    RelPath::clean(text)
}

fn owned(mut entry: Entry, mode: u16, uid: u32, mtime: i64) -> Entry {
    entry.meta = Meta { mode, uid, gid: uid + 1, mtime: Timestamp(mtime), xattrs: entry.meta.xattrs };
    entry
}

fn of(kind: Kind) -> Entry {
    Entry { meta: Meta::root_owned(0o640, Timestamp(5)), kind }
}

/// A tree with one of everything.
fn everything() -> Tree {
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let directory =
        |mode, uid, mtime| owned(Entry::directory(Meta::root_owned(0, Timestamp(0))), mode, uid, mtime);
    [
        (RelPath::root(), directory(0o755, 0, 7)),
        (path("bin"), directory(0o1777, 3, 11)),
        (path("bin/su"), owned(file("setuid"), 0o4755, 0, 12)),
        (path("bin/ping"), with_xattr(owned(file("ping"), 0o755, 2, 13), "security.capability", &capability)),
        (path("closed"), directory(0o000, 9, 14)),
        (path("closed/in"), owned(file("in"), 0o000, 9, 15)),
        (path("dev"), directory(0o755, 0, 16)),
        (path("dev/pipe"), of(Kind::Fifo)),
        (path("dev/sda"), of(Kind::BlockDevice { major: 8, minor: 300 })),
        (path("dev/null"), of(Kind::CharDevice { major: 1, minor: 3 })),
        // What is made in a directory with this bit has its group, and directories have the bit.
        (path("group"), directory(0o2775, 4, 17)),
        (path("group/in"), owned(file("in"), 0o664, 6, 18)),
        (path("group/own"), owned(file("in"), 0o664, 4, 19)),
        (path("group/sub"), directory(0o755, 4, 20)),
        (path("link"), symlink("/etc/../nowhere")),
        (path("one"), linked("same", Some(1))),
        (path("two"), linked("same", Some(1))),
        (RelPath::clean(b"odd \xff\n name"), file("")),
    ]
    .into_iter()
    .collect()
}

/// The contents of the files of [`everything`] and of the tests below, by digest.
fn with_bytes(changes: Changes) -> Changes {
    let known: BTreeMap<_, _> = ["setuid", "ping", "in", "same", "", "new", "lower"]
        .map(|text| (crate::digest::Digest::of(text), text))
        .into_iter()
        .collect();
    let mut origins = Vec::new();
    let with_bytes = |mut change: Change| {
        if let Change::Upsert { path, entry: Entry { kind: Kind::File { digest, .. }, .. }, origin } =
            &mut change
        {
            *origin = origins.len() as u16;
            let bytes = Bytes::Inline(Arc::from(known[digest].as_bytes()));
            origins.push(Origin { bytes, at: RelPath::root(), to: path.clone() });
        }
        change
    };
    Changes { list: changes.list.into_iter().map(with_bytes).collect(), origins }
}

#[test]
fn a_layer_is_read_back_as_it_was_written() {
    if !root_user() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let upper = place.path().join("upper");
    let empty = Tree::empty();
    prepare_upper(&upper, &empty, ALL).unwrap();
    let tree = everything();
    let changes = with_bytes(diff(&empty, &tree));
    assert_eq!(write_changes(&upper, &changes, Form::Layer, ALL).unwrap(), []);
    let seen = scan_upper(&upper, &empty, ALL, Contents::Read).unwrap();
    assert_eq!(
        empty.apply(&seen).listing().with_times().to_string(),
        empty.apply(&changes).listing().with_times().to_string()
    );
    // Nothing changed against what was written.
    assert_eq!(scan_upper(&upper, &tree, ALL, Contents::Read).unwrap().list, List::new());
}

#[test]
fn marks_of_overlayfs_become_explicit_whiteouts() {
    if !root_user() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let upper = place.path().join("upper");
    let lower: Tree =
        ["a/x", "a/y", "b/z", "c/k", "d"].map(|name| (path(name), file("lower"))).into_iter().collect();
    prepare_upper(&upper, &lower, ALL).unwrap();
    let directory = |name: &str| Change::Upsert {
        path: path(name),
        entry: lower.get(&path("a")).unwrap().clone(),
        origin: 0,
    };
    let changes = Changes {
        list: List::sorted(vec![
            directory("a"),
            Change::Opaque { path: path("a") },
            Change::Upsert { path: path("a/new"), entry: file("new"), origin: 0 },
            Change::Whiteout { path: path("b") },
            Change::Whiteout { path: path("c") },
            directory("c"),
            Change::Whiteout { path: path("d") },
        ]),
        origins: vec![],
    };
    write_changes(&upper, &with_bytes(changes), Form::Layer, ALL).unwrap();
    let seen = scan_upper(&upper, &lower, ALL, Contents::Read).unwrap();
    let shown: Vec<_> = seen
        .list
        .iter()
        .map(|change| match change {
            Change::Upsert { path, .. } => format!("+{path}"),
            Change::Whiteout { path } => format!("-{path}"),
            Change::Opaque { path } => format!("o{path}"),
        })
        .collect();
    assert_eq!(shown, ["+a", "+a/new", "-a/x", "-a/y", "-b", "+c", "-c/k", "-d"]);
}

/// Size and digest of each file.
fn files(changes: &Changes) -> BTreeMap<String, (u64, Digest)> {
    let file = |change| match change {
        Change::Upsert { path, entry: Entry { kind: Kind::File { size, digest, .. }, .. }, .. } => {
            Some((path.to_string(), (size, digest)))
        }
        _ => None,
    };
    changes.list.iter().filter_map(file).collect()
}

#[test]
fn a_scan_that_reads_nothing_tells_when_a_file_may_have_changed() {
    let place = tempfile::tempdir().unwrap();
    let state = place.path().join("state");
    fs_err::create_dir(&state).unwrap();
    let (before, empty) = (index(&state).unwrap(), Tree::empty());
    let disk = Disk { marks: Marks::User, ..ALL };
    let scan = |contents| {
        let upper = files(&scan_upper(&state, &empty, disk, contents).unwrap());
        assert_eq!(upper, files(&scan_plain(&state, &before, &empty, disk, contents).unwrap()));
        upper
    };
    let stamped = || scan(Contents::Stamped(&|| true));
    for name in ["one", "two"] {
        fs_err::write(state.join(name), "text").unwrap();
    }
    fs_err::hard_link(state.join("one"), state.join("also")).unwrap();
    let first = stamped();
    assert_eq!(first, stamped());
    assert!(first["also"] == first["one"] && first["one"] != first["two"], "{first:?}");
    assert!(first.values().all(|(size, digest)| *size == 4 && *digest != Digest::of("text")), "{first:?}");
    // The clock of the disk may stand still for some milliseconds.
    let rewritten = || {
        std::thread::sleep(std::time::Duration::from_millis(2));
        fs_err::write(state.join("two"), "next").unwrap();
        stamped()
    };
    let other = (0..500).map(|_| rewritten()).find(|seen| seen["two"] != first["two"]);
    assert_eq!(other.expect("a rewritten file looks different")["one"], first["one"]);
    assert_eq!(scan(Contents::Read)["two"].1, Digest::of("next"));
    assert!(scan_upper(&state, &empty, disk, Contents::Stamped(&|| false)).is_err());
}

#[test]
fn a_plain_directory_is_compared_with_what_it_was() {
    if !root_user() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let tree = everything();
    let state = place.path().join("state");
    prepare_upper(&state, &tree, ALL).unwrap();
    write_changes(&state, &with_bytes(diff(&Tree::empty(), &tree)), Form::State, ALL).unwrap();
    let before = index(&state).unwrap();
    assert_eq!(scan_plain(&state, &before, &tree, ALL, Contents::Read).unwrap().list, List::new());

    let mut expected = tree.clone();
    expected.insert(&path("bin/su"), owned(file("new"), 0o755, 0, 99));
    expected.remove(&path("dev"));
    expected.insert(&path("two"), symlink("one"));
    let step = with_bytes(diff(&tree, &expected));
    write_changes(&state, &step, Form::State, ALL).unwrap();
    let seen = scan_plain(&state, &before, &tree, ALL, Contents::Read).unwrap();
    assert_eq!(tree.apply(&seen).listing().to_string(), expected.listing().to_string());
    remove_tree(&state).unwrap();
    assert!(!state.exists());
}

#[test]
fn with_a_single_id_owners_and_devices_come_from_the_entries() {
    if !root_user() {
        return;
    }
    let single = Disk { owners: false, devices: false, marks: Marks::Trusted };
    let place = tempfile::tempdir().unwrap();
    let tree = everything();
    let state = place.path().join("state");
    prepare_upper(&state, &tree, single).unwrap();
    let skipped =
        write_changes(&state, &with_bytes(diff(&Tree::empty(), &tree)), Form::State, single).unwrap();
    assert_eq!(skipped, ["dev/null", "dev/sda"].map(path));
    let before = index(&state).unwrap();
    assert_eq!(scan_plain(&state, &before, &tree, single, Contents::Read).unwrap().list, List::new());
    fs_err::write(state.join("bin/ping"), "new").unwrap();
    fs_err::write(state.join("bin/own"), "new").unwrap();
    let seen = tree.apply(&scan_plain(&state, &before, &tree, single, Contents::Read).unwrap());
    assert_eq!(seen.get(&path("bin/ping")).unwrap().meta.uid, 2, "rewritten in place");
    assert_eq!(seen.get(&path("bin/own")).unwrap().meta.uid, 0, "made by the step");
}

#[test]
fn stubs_go_and_times_stay() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs_err::create_dir_all(at("etc/deep/er")).unwrap();
    fs_err::create_dir(at("used")).unwrap();
    fs_err::write(at("used/file"), "x").unwrap();
    fs_err::write(at("etc/hosts"), "").unwrap();
    fs_err::write(at("etc/resolv.conf"), "written").unwrap();
    let before = fs_err::metadata(at("etc")).unwrap().modified().unwrap();
    let stubs = ["etc/deep", "etc/deep/er", "used", "etc/hosts", "etc/resolv.conf", "gone/x"].map(path);
    remove_stubs(place.path(), &stubs).unwrap();
    assert!(!at("etc/deep").exists() && !at("etc/hosts").exists());
    assert!(at("used/file").exists() && at("etc/resolv.conf").exists());
    assert_eq!(fs_err::metadata(at("etc")).unwrap().modified().unwrap(), before);
}

/// Packs `changes` and reads the layer back into the directory `root`.
fn through_a_tar(changes: &Changes, root: &Path, form: Form) -> Changes {
    let options = PackOptions {
        compression: Compression::None,
        jobs: 1,
        clamp_mtime: None,
        memory_bytes: DEFAULT_MEMORY_BYTES,
    };
    let mut layer = Vec::new();
    pack(changes, &options, layer::Hints::default(), &mut layer).unwrap();
    write_layer(root, form, ALL, |sink| Ok::<_, Failure>(layer::read(&*layer, sink)?.0)).unwrap()
}

#[test]
fn a_layer_goes_from_its_tar_to_the_disk() {
    if !root_user() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (empty, tree) = (Tree::empty(), everything());
    let upper = place.path().join("upper");
    prepare_upper(&upper, &tree, ALL).unwrap();
    let changes = with_bytes(diff(&empty, &tree));
    let read = through_a_tar(&changes, &upper, Form::Layer);
    assert_eq!(scan_upper(&upper, &empty, ALL, Contents::Read).unwrap().list, read.list);

    let state = place.path().join("state");
    prepare_upper(&state, &tree, ALL).unwrap();
    through_a_tar(&changes, &state, Form::State);
    let before = index(&state).unwrap();
    // A second layer that takes some of it away and puts other things there.
    let mut expected = tree.clone();
    expected.remove(&path("closed"));
    expected.remove(&path("bin/su"));
    expected.insert(&path("dev"), file("new"));
    expected.insert(&path("two"), linked("new", None));
    let step = with_bytes(diff(&tree, &expected));
    let read = through_a_tar(&step, &state, Form::State);
    let seen = scan_plain(&state, &before, &tree, ALL, Contents::Read).unwrap();
    assert_eq!(tree.apply(&seen).listing().to_string(), tree.apply(&read).listing().to_string());
}

#[test]
fn a_whiteout_spares_what_its_own_layer_brought() {
    if !root_user() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let meta = Meta::root_owned(0o755, Timestamp(1));
    let lower: Tree = ["a/x", "a/y/z", "b"].map(|name| (path(name), file("lower"))).into_iter().collect();
    prepare_upper(&place.path().join("state"), &lower, ALL).unwrap();
    let state = place.path().join("state");
    write_changes(&state, &with_bytes(diff(&Tree::empty(), &lower)), Form::State, ALL).unwrap();
    let mut writer = Writer::new(&state, Form::State, ALL).unwrap();
    writer.entry(&path("a/y"), &meta, &Kind::Directory).unwrap();
    writer.file(&path("a/y/own"), &meta, |file| file.write_all(b"new")).unwrap();
    writer.file(&path("b"), &meta, |file| file.write_all(b"new")).unwrap();
    writer.opaque(&path("a")).unwrap();
    writer.whiteout(&path("b")).unwrap();
    writer.finish().unwrap();
    let left = scan_upper(&state, &Tree::empty(), ALL, Contents::Read).unwrap();
    let left: Vec<_> = left.list.iter().map(|change| change.path().to_string()).collect();
    assert_eq!(left, ["a", "a/y", "a/y/own", "b"]);
}
