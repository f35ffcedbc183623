use std::io::Read as _;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::layer::{Discard, decompress, read};
use crate::tree::testing::{
    arbitrary_tree, content_of, dir, file, linked, opaque, path, symlink, upsert, whiteout, with_xattr,
};
use crate::tree::{Bytes, Change, Entry, Kind, List, Meta, Origin, Tree, diff};
use std::sync::Arc;

mod prepared;
mod unread;

const PLAIN: PackOptions = PackOptions {
    compression: Compression::None,
    jobs: 2,
    clamp_mtime: None,
    memory_bytes: DEFAULT_MEMORY_BYTES,
};

pub(super) fn packed(changes: &Changes, options: &PackOptions) -> (Packed, Vec<u8>) {
    let mut bytes = Vec::new();
    let packed = pack(changes, options, Hints::default(), &mut bytes).expect("the changes can be packed");
    assert_eq!(packed.size, bytes.len() as u64);
    let mut tar = Vec::new();
    decompress(&*bytes).and_then(|mut reader| reader.read_to_end(&mut tar)).expect("what was packed");
    assert_eq!(packed.diff_id, DiffId(Digest::of(&tar)));
    assert_eq!(packed.uncompressed_size, tar.len() as u64);
    (packed, tar)
}

/// Gives every file of `changes` its content from `content`, inline.
fn with_contents(changes: Changes, content: impl Fn(&Entry) -> Vec<u8>) -> Changes {
    let mut origins = Vec::new();
    let with_content = |mut change: Change| {
        if let Change::Upsert { path, entry, origin } = &mut change
            && matches!(entry.kind, Kind::File { .. })
        {
            *origin = u16::try_from(origins.len()).expect("few files");
            let bytes = Bytes::Inline(content(entry).into());
            origins.push(Origin { bytes, at: RelPath::root(), to: path.clone() });
        }
        change
    };
    Changes { list: changes.list.into_iter().map(with_content).collect(), origins }
}

fn in_order(list: Vec<Change>, contents: &[&str]) -> Changes {
    let content = |entry: &Entry| {
        let Kind::File { digest, .. } = entry.kind else { panic!("a file") };
        let found = contents.iter().find(|content| Digest::of(content) == digest);
        found.expect("the contents of all files").as_bytes().to_vec()
    };
    with_contents(Changes { list: List::sorted(list), origins: Vec::new() }, content)
}

#[test]
fn every_kind_of_change_comes_back() {
    let long = "d".repeat(120) + "/" + &"n".repeat(101);
    let mut foreign = file("one");
    foreign.meta =
        Meta { mode: 0o6755, uid: 3_000_000_000, gid: 2_097_152, mtime: Timestamp(-5), xattrs: None };
    let special = |kind| Entry { meta: Meta::root_owned(0o600, Timestamp(0o777_7777_7777 + 1)), kind };
    let list = vec![
        upsert("", dir(0o711)),
        upsert("a", dir(0o755)),
        opaque("a"),
        upsert("a/\u{e9}", file("one")),
        upsert("b", linked("two", Some(7))),
        upsert("c", linked("two", Some(7))),
        whiteout("gone"),
        whiteout("x/gone"),
        upsert("dev-c", special(Kind::CharDevice { major: 1, minor: 3 })),
        upsert("dev-d", special(Kind::BlockDevice { major: 4_000_000, minor: 5_000_000 })),
        upsert("empty", file("")),
        upsert("fifo", special(Kind::Fifo)),
        upsert("foreign", foreign),
        upsert(&long, file("one")),
        upsert("link", symlink(&"t".repeat(300))),
        upsert("ping", with_xattr(file("one"), "security.capability", b"\x01\n\0\n=\xff")),
        Change::Upsert { path: RelPath::clean(b"raw\xff\xfe"), entry: file("two"), origin: 0 },
    ];
    let changes = in_order(list, &["one", "two", ""]);
    let (_, tar) = packed(&changes, &PLAIN);
    let (back, _) = read(&*tar, &mut Discard).expect("a sound layer");
    let without_origin = |change: Change| match change {
        Change::Upsert { path, mut entry, .. } => {
            if let Kind::File { link: Some(link), .. } = &mut entry.kind {
                link.0 = 0;
            }
            Change::Upsert { path, entry, origin: 0 }
        }
        other => other,
    };
    let expected: List = changes.list.iter().map(without_origin).collect();
    assert_eq!(back.list, expected);
}

#[test]
fn an_empty_layer_is_the_end_of_an_archive() {
    let (result, tar) = packed(&Changes::default(), &PLAIN);
    assert_eq!(tar, [0; 1024]);
    // The diff id of every empty layer that anyone has written.
    assert_eq!(
        result.diff_id.to_string(),
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    );
}

/// The length of the largest file of [`sample`].
const LARGE_BYTES: usize = 3 * plan::STRETCH_BYTES + 3;

/// A directory of files that lie in blocks in every way: many to a block, one over several, and at the edges.
fn sample(root: &Path) -> Changes {
    let mut list = vec![upsert("dst", dir(0o755))];
    let mut state = 1_u32;
    let mut noise = |len: usize| -> Vec<u8> {
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Half of the bytes compress.
            if state >> 31 == 0 { 0 } else { (state >> 16) as u8 }
        };
        (0..len).map(next).collect()
    };
    let one = plan::STRETCH_BYTES;
    let sizes =
        (0..300).map(|n| n * 37 % 40_000).chain([0, one - 1, one, one + 1, LARGE_BYTES, 511, 512, 513]);
    for (number, size) in sizes.enumerate() {
        let bytes = noise(size);
        let name = format!("{number:04}");
        fs_err::write(root.join(&name), &bytes).expect("a file");
        let kind = Kind::File { size: size as u64, digest: Digest::of(&bytes), link: None };
        let entry = Entry { meta: Meta::root_owned(0o644, Timestamp(1_700_000_000 + number as i64)), kind };
        list.push(upsert(&format!("dst/{name}"), entry));
    }
    let bytes = Bytes::Directory(Arc::new(root.to_path_buf()));
    Changes {
        list: List::sorted(list),
        origins: vec![Origin { bytes, at: RelPath::root(), to: path("dst") }],
    }
}

#[test]
fn the_number_of_threads_does_not_show() {
    let directory = tempfile::tempdir().expect("a directory");
    let changes = sample(directory.path());
    let mut diff_ids = Vec::new();
    for compression in [Compression::None, Compression::Gzip { level: 5 }, Compression::Zstd { level: 3 }] {
        let of = |jobs| {
            let mut bytes = Vec::new();
            let options =
                PackOptions { compression, jobs, clamp_mtime: None, memory_bytes: DEFAULT_MEMORY_BYTES };
            (
                pack(&changes, &options, Hints::default(), &mut bytes).expect("the changes can be packed"),
                Digest::of(bytes),
            )
        };
        let one = of(1);
        for jobs in [0, 2, 8] {
            assert_eq!(of(jobs), one, "{compression:?}, {jobs} jobs");
        }
        diff_ids.push(one.0.diff_id);
    }
    assert!(diff_ids.iter().all(|diff_id| *diff_id == diff_ids[0]), "the codec does not show in the diff id");
    let (_, tar) = packed(&changes, &PLAIN);
    let (back, _) = read(&*tar, &mut Discard).expect("a sound layer");
    assert_eq!(back.list, changes.list);
}

#[test]
fn times_are_clamped_down() {
    let directory = tempfile::tempdir().expect("a directory");
    let changes = sample(directory.path());
    let limit = Timestamp(1_700_000_010);
    let (_, tar) = packed(&changes, &PackOptions { clamp_mtime: Some(limit), ..PLAIN });
    let (back, _) = read(&*tar, &mut Discard).expect("a sound layer");
    for (before, after) in changes.list.iter().zip(&back.list) {
        let (Change::Upsert { entry: before, .. }, Change::Upsert { entry: after, .. }) = (before, after)
        else {
            panic!("only entries")
        };
        assert_eq!(after.meta.mtime, before.meta.mtime.min(limit));
    }
}

#[test]
fn a_file_that_is_not_what_it_was_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    type Edit = fn(&Path);
    let edits: [(&str, &str, Edit); 7] = [
        ("no longer empty", "0300", |file| fs_err::write(file, b"x").expect("a file")),
        ("shorter", "0100", |file| fs_err::write(file, b"x").expect("a file")),
        ("other bytes", "0100", |file| fs_err::write(file, vec![1; 3700]).expect("a file")),
        ("other bytes of a long file", "0304", |file| {
            let mut bytes = fs_err::read(file).expect("a file");
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs_err::write(file, bytes).expect("a file");
        }),
        ("a symlink", "0100", |file| {
            fs_err::remove_file(file).expect("a file");
            fs_err::os::unix::fs::symlink("0101", file).expect("a symlink");
        }),
        ("a directory", "0100", |file| {
            fs_err::remove_file(file).expect("a file");
            fs_err::create_dir(file).expect("a directory");
        }),
        ("a pipe", "0100", |file| {
            fs_err::remove_file(file).expect("a file");
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            rustix::fs::mknodat(rustix::fs::CWD, file, rustix::fs::FileType::Fifo, mode, 0).expect("a pipe");
        }),
    ];
    for (what, name, edit) in edits {
        let root = directory.path().join(what);
        fs_err::create_dir(&root).expect("a directory");
        let changes = sample(&root);
        edit(&root.join(name));
        match pack(&changes, &PLAIN, Hints::default(), std::io::sink()) {
            Err(Error::Changed { path, file }) => {
                assert_eq!(path.to_string(), format!("dst/{name}"), "{what}");
                assert_eq!(file, root.join(name), "{what}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

#[test]
fn errors_stop_everything_and_come_back() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut changes = sample(directory.path());
    for room in [0, 5_000_000] {
        assert!(
            matches!(pack(&changes, &PLAIN, Hints::default(), Full(room)), Err(Error::Write(_))),
            "{room}"
        );
    }
    fs_err::remove_file(directory.path().join("0200")).expect("a file");
    let missing = pack(&changes, &PLAIN, Hints::default(), io::sink());
    assert!(
        matches!(&missing, Err(Error::Read { path, .. }) if path.to_string() == "dst/0200"),
        "{missing:?}"
    );
    changes.origins.clear();
    assert!(matches!(pack(&changes, &PLAIN, Hints::default(), io::sink()), Err(Error::NoOrigin { .. })));
    let reserved = crate::tree::testing::changes(vec![upsert("d/.wh.x", dir(0o755))]);
    assert!(matches!(pack(&reserved, &PLAIN, Hints::default(), io::sink()), Err(Error::ReservedName { .. })));
}

#[test]
fn a_change_in_front_leaves_later_blocks_as_they_are() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut changes = sample(directory.path());
    let buffers = buffers::Buffers::default();
    let blocks = |changes: &Changes| -> Vec<_> {
        let all = plan::Plan::new(changes, &PLAIN, &buffers).map(|block| block.expect("sound changes"));
        all.map(|block| (block.key(), block.bytes.len(), block.contents)).collect()
    };
    let before = blocks(&changes);
    let without = changes.list.iter().enumerate().filter(|(number, _)| *number != 3);
    changes.list = without.map(|(_, change)| change).collect();
    let after = blocks(&changes);
    assert!(before.len() > 6, "{}", before.len());
    assert_ne!(before[0], after[0]);
    assert_eq!(before[before.len() - 3..], after[after.len() - 3..]);
}

/// Runs a program on `input`; `None`, with a word about it, where it is not installed.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut stdin = tempfile::tempfile().expect("a file");
    stdin.write_all(input).expect("a file");
    io::Seek::rewind(&mut stdin).expect("a file");
    let mut command = std::process::Command::new(program);
    match command.args(arguments).stdin(stdin).stderr(std::process::Stdio::inherit()).output() {
        Ok(output) => {
            assert!(output.status.success(), "{program} does not like it");
            Some(output.stdout)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("not checked with `{program}`: it is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

#[test]
fn other_programs_decompress_it_to_the_diff_id() {
    const PYTHON: &str = "import gzip,sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
    let directory = tempfile::tempdir().expect("a directory");
    let changes = sample(directory.path());
    for (compression, program, arguments) in [
        (Compression::Gzip { level: 5 }, "gzip", &["-dc"][..]),
        (Compression::Gzip { level: 5 }, "pigz", &["-dc"]),
        (Compression::Gzip { level: 0 }, "gzip", &["-dc"]),
        (Compression::Gzip { level: 5 }, "python3", &["-c", PYTHON]),
        (Compression::Zstd { level: 3 }, "zstd", &["-dc"]),
    ] {
        let mut layer = Vec::new();
        let options = PackOptions { compression, ..PLAIN };
        let packed =
            pack(&changes, &options, Hints::default(), &mut layer).expect("the changes can be packed");
        if let Some(tar) = run(program, arguments, &layer) {
            assert_eq!(DiffId(Digest::of(tar)), packed.diff_id, "{program}, {compression:?}");
        }
    }
}

#[test]
fn other_programs_read_the_headers() {
    const PYTHON: &str = r#"
import sys, tarfile
for m in tarfile.open(fileobj=sys.stdin.buffer, mode="r|"):
    capability = m.pax_headers.get("SCHILY.xattr.security.capability", "")
    print(m.type.decode(), m.name, oct(m.mode), m.uid, m.gid, m.size, m.mtime, repr(m.linkname), m.devmajor, m.devminor, repr(capability))
"#;
    let long = "d".repeat(120) + "/" + &"n".repeat(101);
    let meta = |mode, uid, gid, mtime| Meta { mode, uid, gid, mtime: Timestamp(mtime), xattrs: None };
    let with_meta = |entry: Entry, meta| Entry { meta, ..entry };
    let device = Kind::CharDevice { major: 10, minor: 200 };
    let changes = in_order(
        vec![
            upsert("a", with_meta(dir(0), meta(0o1777, 3_000_000_000, 3, -5))),
            opaque("a"),
            upsert("b", linked("two", Some(7))),
            upsert("c", linked("two", Some(7))),
            upsert(&long, file("one")),
            whiteout("gone"),
            upsert("link", symlink(&"t".repeat(101))),
            upsert("ping", with_xattr(file("one"), "security.capability", b"cap")),
            upsert("tun", Entry { meta: meta(0o600, 0, 0, 0), kind: device }),
            upsert("\u{e9}", file("")),
        ],
        &["one", "two", ""],
    );
    let (_, tar) = packed(&changes, &PLAIN);
    let Some(listed) = run("python3", &["-X", "utf8", "-c", PYTHON], &tar) else { return };
    let listed =
        String::from_utf8(listed).expect("text").replace(&long, "LONG").replace(&"t".repeat(101), "TARGET");
    insta::assert_snapshot!(listed, @r"
    5 a 0o1777 3000000000 3 0 -5.0 '' 0 0 ''
    0 a/.wh..wh..opq 0o0 0 0 0 0 '' 0 0 ''
    0 b 0o644 0 0 3 0 '' 0 0 ''
    1 c 0o644 0 0 0 0 'b' 0 0 ''
    0 LONG 0o644 0 0 3 0 '' 0 0 ''
    0 .wh.gone 0o0 0 0 0 0 '' 0 0 ''
    2 link 0o777 0 0 0 0 'TARGET' 0 0 ''
    0 ping 0o644 0 0 3 0 '' 0 0 'cap'
    3 tun 0o600 0 0 0 0 '' 10 200 ''
    0 é 0o644 0 0 0 0 '' 0 0 ''
    ");
}

proptest! {
    #[test]
    fn what_is_packed_can_be_read(a in arbitrary_tree(), b in arbitrary_tree(), level in 1..7_u8) {
        let content = |entry: &Entry| {
            let Kind::File { digest, .. } = entry.kind else { panic!("a file") };
            let known = (0..4).map(content_of).find(|content| Digest::of(content) == digest);
            known.expect("one of the few contents").into_bytes()
        };
        let changes = with_contents(diff(&a, &b), content);
        let options = PackOptions { compression: Compression::Gzip { level }, jobs: 2, clamp_mtime: None, memory_bytes: DEFAULT_MEMORY_BYTES };
        let (_, tar) = packed(&changes, &options);
        let (back, _) = read(&*tar, &mut Discard).expect("a sound layer");
        let (direct, through): (Tree, Tree) = (a.apply(&changes), a.apply(&back));
        prop_assert!(direct == through, "{direct:?}\n{through:?}");
    }
}

#[test]
fn a_file_that_is_vouched_for_is_not_hashed() {
    let directory = tempfile::tempdir().expect("a directory");
    let changes = sample(directory.path());
    let expected = packed(&changes, &PLAIN);
    let asked = std::sync::Mutex::new(std::collections::BTreeSet::new());
    let is_as_hashed = |place: &Path, file: &RelPath, stat: &rustix::fs::Stat| {
        assert_eq!(place, directory.path());
        asked.lock().expect("no thread panics").insert((file.to_string(), stat.st_size));
        true
    };
    let hints = Hints { is_as_hashed: Some(&is_as_hashed), ..Hints::default() };
    let vouched = pack(&changes, &PLAIN, hints, io::sink()).expect("the changes can be packed");
    assert_eq!(vouched, expected.0);
    let size = |name: &str| fs_err::metadata(directory.path().join(name)).expect("a file").len() as i64;
    assert!(asked.lock().expect("no thread panics").contains(&("0100".to_owned(), size("0100"))));
    // Nobody can vouch for a size, nor for a file of which the hash is needed block by block.
    for (name, bytes) in [("0100", b"x".to_vec()), ("0304", vec![0; LARGE_BYTES])] {
        let before = fs_err::read(directory.path().join(name)).expect("a file");
        fs_err::write(directory.path().join(name), bytes).expect("a file");
        let result = pack(&changes, &PLAIN, hints, io::sink());
        assert!(matches!(result, Err(Error::Changed { .. })), "{name}: {result:?}");
        fs_err::write(directory.path().join(name), before).expect("a file");
    }
    let lie = |_: &Path, _: &RelPath, _: &rustix::fs::Stat| false;
    fs_err::write(directory.path().join("0100"), vec![1; 3700]).expect("a file");
    let hints = Hints { is_as_hashed: Some(&lie), ..Hints::default() };
    assert!(matches!(pack(&changes, &PLAIN, hints, io::sink()), Err(Error::Changed { .. })));
}
