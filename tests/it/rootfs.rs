//! What a step changed, read from an overlay's upper directory and from a plain directory: the same.

use std::path::{Path, PathBuf};

use kiln::path::RelPath;
use kiln::rootfs::{
    Contents, Disk, Form, Marks, index, prepare_upper, remove_stubs, remove_tree, scan_plain, scan_upper,
    write_changes,
};
use kiln::sandbox::{Root, Upper};
use kiln::tree::{Change, Changes, Tree};

use crate::sandbox::{Bench, run_to_end};

const DISK: Disk = Disk { owners: true, devices: true, marks: Marks::Trusted };

/// Reads a directory as a layer on nothing.
fn tree_of(directory: &Path) -> Tree {
    Tree::empty().apply(&scan_upper(directory, &Tree::empty(), DISK, Contents::Read).unwrap())
}

fn shown(changes: &Changes) -> Vec<String> {
    let show = |change: Change| match change {
        Change::Upsert { path, .. } => format!("+{path}"),
        Change::Whiteout { path } => format!("-{path}"),
        Change::Opaque { path } => format!("o{path}"),
    };
    changes.list.iter().map(show).collect()
}

/// Commands, each tried on a fresh root; whatever they do must be seen alike in both ways.
const STEPS: &[(&str, &[&str])] = &[
    ("true", &[]),
    ("cat /data/a/file > /dev/null; ls -lR /data /bin /etc > /dev/null", &[]),
    ("echo more >> /data/a/file", &["+data", "+data/a", "+data/a/file"]),
    ("touch -d @1000 /data/a/file", &["+data", "+data/a", "+data/a/file"]),
    ("echo same > /tmpfile; rm /tmpfile", &[]),
    ("rm -r /data/a", &["+data", "-data/a"]),
    ("rm -r /data/a; mkdir /data/a", &["+data", "+data/a", "-data/a/b", "-data/a/file"]),
    ("rm -r /data/a; touch /data/a", &["+data", "+data/a"]),
    ("rm /data/link; mkdir /data/link; touch /data/link/x", &["+data", "+data/link", "+data/link/x"]),
    ("chown 5:6 /data/a; chmod 700 /data/a/b", &["+data", "+data/a", "+data/a/b"]),
    // As under BuildKit, the new name has the content for itself; the old one is no change.
    ("ln /data/a/file /data/second", &["+data", "+data/second"]),
    ("mv /data/a /data/z", &["+data", "-data/a", "+data/z", "+data/z/b", "+data/z/b/deep", "+data/z/file"]),
    ("chmod 000 /data/a/b; chmod 000 /data/a/file", &["+data", "+data/a", "+data/a/b", "+data/a/file"]),
    ("mkdir -p /run/x/y; touch /run/x/y/z", &["+run", "+run/x", "+run/x/y", "+run/x/y/z"]),
];

fn lower(bench: &Bench) -> PathBuf {
    let lower = bench.at("lower");
    fs_err::create_dir_all(lower.join("data/a/b")).unwrap();
    fs_err::write(lower.join("data/a/file"), "content\n").unwrap();
    fs_err::write(lower.join("data/a/b/deep"), "deep\n").unwrap();
    std::os::unix::fs::symlink("a", lower.join("data/link")).unwrap();
    lower
}

#[test]
fn overlay_and_plain_directory_see_the_same() {
    let Some(bench) = Bench::new() else { return };
    let lower = lower(&bench);
    let tree = tree_of(&lower);
    for (script, expected) in STEPS {
        let (upper, work, state) = (bench.at("upper"), bench.at("work"), bench.at("state"));
        for directory in [&upper, &work, &state] {
            remove_tree(directory).unwrap();
        }
        fs_err::create_dir(&work).unwrap();
        prepare_upper(&upper, &tree, DISK).unwrap();
        let mut spec = bench.spec(script);
        spec.root = Root::Overlay {
            lower: vec![lower.clone()],
            upper: Some(Upper { upper: upper.clone(), work }),
            userxattr: false,
        };
        let outcome = run_to_end(&spec);
        remove_stubs(&upper, &outcome.stubs).unwrap();
        let overlay = scan_upper(&upper, &tree, DISK, Contents::Read).unwrap();
        assert_eq!(shown(&overlay), *expected, "overlay: {script}");

        prepare_upper(&state, &tree, DISK).unwrap();
        let everything = scan_upper(&lower, &Tree::empty(), DISK, Contents::Read).unwrap();
        write_changes(&state, &everything, Form::State, DISK).unwrap();
        let before = index(&state).unwrap();
        spec.root = Root::Directory(state.clone());
        let outcome = run_to_end(&spec);
        remove_stubs(&state, &outcome.stubs).unwrap();
        let plain = scan_plain(&state, &before, &tree, DISK, Contents::Read).unwrap();
        assert_eq!(shown(&plain), *expected, "plain: {script}");

        let (seen, wanted) = (tree.apply(&plain), tree.apply(&overlay));
        assert_eq!(seen.listing().to_string(), wanted.listing().to_string(), "{script}");
        // The upper directory is a layer for the next step, and the changes can be written as one.
        let again = bench.at("again");
        prepare_upper(&again, &tree, DISK).unwrap();
        write_changes(&again, &overlay, Form::Layer, DISK).unwrap();
        let again_seen = scan_upper(&again, &tree, DISK, Contents::Read).unwrap();
        assert_eq!(again_seen.list, overlay.list, "{script}");
        remove_tree(&again).unwrap();
    }
}

#[test]
fn several_layers_are_one_root() {
    let Some(bench) = Bench::new() else { return };
    let bottom = lower(&bench);
    let tree = tree_of(&bottom);
    let mut stack = vec![bottom];
    let mut state = tree;
    for (number, script) in
        ["rm -r /data/a", "mkdir /data/a; echo x > /data/a/new", "ls /data/a > /seen"].iter().enumerate()
    {
        let upper = bench.at(&format!("layer-{number}"));
        let work = bench.at(&format!("work-{number}"));
        fs_err::create_dir(&work).unwrap();
        prepare_upper(&upper, &state, DISK).unwrap();
        let mut spec = bench.spec(script);
        let at = Upper { upper: upper.clone(), work };
        spec.root = Root::Overlay { lower: stack.clone(), upper: Some(at), userxattr: false };
        remove_stubs(&upper, &run_to_end(&spec).stubs).unwrap();
        state = state.apply(&scan_upper(&upper, &state, DISK, Contents::Read).unwrap());
        stack.insert(0, upper);
    }
    assert_eq!(fs_err::read_to_string(stack[0].join("seen")).unwrap(), "new\n");
    assert!(state.get(&RelPath::clean("data/a/new")).is_some());
    assert!(state.get(&RelPath::clean("data/a/b")).is_none());
}
