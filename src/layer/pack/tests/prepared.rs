use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::*;

const FAST: PackOptions = PackOptions { compression: Compression::Gzip { level: 1 }, ..PLAIN };
const DENSE: PackOptions = PackOptions { compression: Compression::Gzip { level: 9 }, ..PLAIN };

fn yes() -> bool {
    true
}

/// Returns what is prepared by one look after the other, and the file that holds it.
fn prepared(options: &PackOptions, looks: &[&Changes]) -> (Prepared, File) {
    let file = tempfile::tempfile().expect("a file");
    let mut preparer =
        Preparer::new(options, file.try_clone().expect("the same file")).expect("there is such a compressor");
    for look in looks {
        preparer.prepare(look, &yes).expect("there is room");
    }
    (preparer.finish(), file)
}

fn layer(changes: &Changes, options: &PackOptions, prepared: Option<&Prepared>) -> (Packed, Vec<u8>) {
    let mut bytes = Vec::new();
    let packed = pack(changes, options, Hints { prepared, ..Hints::default() }, &mut bytes).expect("a layer");
    (packed, bytes)
}

/// Changes as they look before anybody has read the files; `stamp` is that of the file called `name`.
fn looked_at(changes: &Changes, name: &str, stamp: u8) -> Changes {
    let forget = |mut change: Change| {
        if let Change::Upsert { path, entry: Entry { kind: Kind::File { digest, .. }, .. }, .. } = &mut change
        {
            *digest =
                Digest::from_bytes([if path.as_bytes().ends_with(name.as_bytes()) { stamp } else { 0 }; 32]);
        }
        change
    };
    Changes { list: changes.list.iter().map(forget).collect(), origins: changes.origins.clone() }
}

fn len(file: &File) -> u64 {
    file.metadata().expect("a file").len()
}

#[test]
fn prepared_blocks_are_taken_and_do_not_show() {
    let directory = tempfile::tempdir().expect("a directory");
    let changes = sample(directory.path());
    let look = looked_at(&changes, "", 0);
    for compression in [Compression::Gzip { level: 1 }, Compression::Zstd { level: 1 }] {
        for jobs in [1, 8] {
            let options = PackOptions { compression, jobs, ..PLAIN };
            let (prepared, file) = prepared(&options, &[&look, &look]);
            let packed = layer(&changes, &options, Some(&prepared));
            assert!(packed == layer(&changes, &options, None), "{options:?}");
            assert_eq!(packed.0.size, len(&file), "all of it was prepared");
        }
    }
    // Nobody prepares with another level than is packed with; here it shows whose work it was.
    let (prepared, _) = prepared(&FAST, &[&look, &look]);
    assert_eq!(layer(&changes, &DENSE, Some(&prepared)).1, layer(&changes, &FAST, None).1);
}

#[test]
fn what_changed_since_is_compressed_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let look = looked_at(&sample(directory.path()), "", 0);
    let (prepared, _) = prepared(&FAST, &[&look, &look]);
    // The same sizes and times: nothing but the bytes tells.
    for name in ["0010", "0304"] {
        let path = directory.path().join(name);
        let mut bytes = fs_err::read(&path).expect("a file");
        *bytes.last_mut().expect("bytes") ^= 1;
        fs_err::write(path, bytes).expect("a file");
    }
    let digest = |mut change: Change| {
        if let Change::Upsert { path, entry: Entry { kind: Kind::File { digest, .. }, .. }, .. } = &mut change
        {
            let name = path.file_name().expect("a name");
            let file = directory.path().join(std::str::from_utf8(name).expect("text"));
            *digest = Digest::of(fs_err::read(file).expect("a file"));
        }
        change
    };
    let changes = Changes { list: look.list.iter().map(digest).collect(), origins: look.origins.clone() };
    assert!(layer(&changes, &FAST, Some(&prepared)) == layer(&changes, &FAST, None));
}

#[test]
fn damaged_blocks_are_compressed_anew() {
    let directory = tempfile::tempdir().expect("a directory");
    let changes = sample(directory.path());
    let look = looked_at(&changes, "", 0);
    let (prepared, file) = prepared(&FAST, &[&look, &look]);
    let zeros = vec![0; len(&file) as usize / 2];
    file.write_all_at(&zeros, 0).expect("a file");
    assert!(layer(&changes, &FAST, Some(&prepared)) == layer(&changes, &FAST, None));
    file.set_len(7).expect("a file");
    assert!(layer(&changes, &FAST, Some(&prepared)) == layer(&changes, &FAST, None));
}

#[test]
fn what_looks_different_each_time_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let changes = sample(directory.path());
    // Of five mebibytes, alone in its blocks but for the first and the last.
    let looks = [1, 2, 3].map(|stamp| looked_at(&changes, "0304", stamp));
    let all = len(&prepared(&FAST, &[&looks[0], &looks[0]]).1);
    assert_eq!(len(&prepared(&FAST, &[&looks[0]]).1), 0, "one look is none");
    let others = len(&prepared(&FAST, &[&looks[0], &looks[1], &looks[2]]).1);
    assert!(0 < others && others < all, "{others} of {all}");
    let (last, file) = prepared(&FAST, &[&looks[0], &looks[1], &looks[1], &looks[2], &looks[2]]);
    assert_eq!(len(&file), all, "what has the same bytes is compressed once");
    assert_eq!(layer(&changes, &DENSE, Some(&last)).1, layer(&changes, &FAST, None).1);
}

#[test]
fn what_took_the_place_of_a_file_is_neither_followed_nor_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let look = looked_at(&sample(directory.path()), "", 0);
    let outside = tempfile::NamedTempFile::new().expect("a file");
    let path = directory.path().join("0304");
    let size = fs_err::metadata(&path).expect("a file").len();
    outside.as_file().set_len(size).expect("a file");
    let all = len(&prepared(&FAST, &[&look, &look]).1);
    let replacements: [(&str, &dyn Fn()); 5] = [
        ("nothing", &|| ()),
        ("a link", &|| std::os::unix::fs::symlink(outside.path(), &path).expect("a link")),
        ("a pipe", &|| {
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::RUSR, 0).expect("a pipe");
        }),
        ("a directory", &|| fs_err::create_dir(&path).expect("a directory")),
        ("a shorter file", &|| fs_err::write(&path, "short").expect("a file")),
    ];
    let mut lens = Vec::new();
    for (what, replace) in replacements {
        // What the last one left, if anything.
        let _ = fs_err::remove_file(&path).or_else(|_| fs_err::remove_dir(&path));
        replace();
        let len = len(&prepared(&FAST, &[&look, &look]).1);
        assert!(0 < len && len < all, "{what}: {len} of {all}");
        lens.push(len);
    }
    lens.dedup();
    assert_eq!(lens.len(), 1, "the same blocks are left out: {lens:?}");
}

#[test]
fn who_is_stopped_stops_between_blocks() {
    let directory = tempfile::tempdir().expect("a directory");
    let look = looked_at(&sample(directory.path()), "", 0);
    let file = tempfile::tempfile().expect("a file");
    let mut preparer = Preparer::new(&FAST, file.try_clone().expect("the same file")).expect("a compressor");
    preparer.prepare(&look, &yes).expect("there is room");
    preparer.prepare(&look, &|| false).expect("there is room");
    assert_eq!(preparer.finish().blocks(), 1);
}
