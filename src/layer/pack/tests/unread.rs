use std::collections::BTreeMap;
use std::sync::Mutex;

use super::*;

const FORMS: [Compression; 3] =
    [Compression::None, Compression::Gzip { level: 1 }, Compression::Zstd { level: 1 }];

fn options(compression: Compression, jobs: usize) -> PackOptions {
    PackOptions { compression, jobs, ..PLAIN }
}

/// The same changes as if nobody had read the files.
fn unread(changes: &Changes) -> Changes {
    let forget = |mut change: Change| {
        if let Change::Upsert { entry: Entry { kind: Kind::File { digest, .. }, .. }, .. } = &mut change {
            *digest = Digest::from_bytes([0; 32]);
        }
        change
    };
    Changes { list: changes.list.iter().map(forget).collect(), origins: changes.origins.clone() }
}

/// What is learned: digests by path, and whether each look at the file was `as_expected`.
#[derive(Default)]
struct Learned {
    digests: Mutex<BTreeMap<String, (Digest, bool)>>,
    /// The file at which a look is not as expected, when it is the second or a later one.
    changing: Option<&'static str>,
    looks: Mutex<BTreeMap<String, usize>>,
    refused: Option<&'static str>,
}

impl Learn for Learned {
    fn look(
        &self,
        _: &Path,
        file: &RelPath,
        opened: BorrowedFd<'_>,
        stat: &rustix::fs::Stat,
    ) -> io::Result<bool> {
        let file = file.to_string();
        assert_eq!(rustix::fs::fstat(opened)?.st_size, stat.st_size);
        if self.refused == Some(&file) {
            return Err(io::Error::other("refused"));
        }
        let mut looks = self.looks.lock().unwrap();
        let count = looks.entry(file.clone()).or_default();
        *count += 1;
        Ok(self.changing != Some(&file) || *count < 2)
    }

    fn learn(&self, _: &Path, file: &RelPath, digest: Digest, as_expected: bool) {
        let before = self.digests.lock().unwrap().insert(file.to_string(), (digest, as_expected));
        assert_eq!(before, None, "{file}");
    }
}

#[test]
fn unread_files_give_the_layer_of_read_ones_and_their_digests() {
    let directory = tempfile::tempdir().expect("a directory");
    let changes = sample(directory.path());
    let digest = |change: Change| match change {
        Change::Upsert { path, entry: Entry { kind: Kind::File { digest, .. }, .. }, .. } => {
            Some((path.to_string().trim_start_matches("dst/").to_owned(), (digest, true)))
        }
        _ => None,
    };
    let digests: BTreeMap<_, _> = changes.list.iter().filter_map(digest).collect();
    for (form, jobs) in FORMS.into_iter().flat_map(|form| [(form, 1), (form, 8)]) {
        let (mut expected, mut bytes) = (Vec::new(), Vec::new());
        let read = pack(&changes, &options(form, 2), Hints::default(), &mut expected).expect("a layer");
        let learned = Learned::default();
        let packed =
            pack_unread(&unread(&changes), &options(form, jobs), &learned, &mut bytes).expect("a layer");
        assert!((packed, bytes) == (read, expected), "{form:?} with {jobs} jobs");
        assert_eq!(learned.digests.into_inner().unwrap(), digests);
    }
}

#[test]
fn what_a_look_says_of_any_stretch_counts_for_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let changes = unread(&sample(directory.path()));
    // Of more than three stretches and of one byte more than one: both lie in several blocks.
    for changing in ["0304", "0303"] {
        let learned = Learned { changing: Some(changing), ..Learned::default() };
        pack_unread(&changes, &options(FORMS[1], 2), &learned, io::sink()).expect("a layer");
        for (name, (_, as_expected)) in learned.digests.into_inner().unwrap() {
            assert_eq!(as_expected, name != changing, "{name}");
        }
    }
    let learned = Learned { refused: Some("0007"), ..Learned::default() };
    let refused = pack_unread(&changes, &options(FORMS[1], 2), &learned, io::sink());
    assert!(matches!(&refused, Err(Error::Read { file, .. }) if file.ends_with("0007")), "{refused:?}");
    fs_err::write(directory.path().join("0009"), b"longer or shorter").expect("a file");
    let changed = pack_unread(&changes, &options(FORMS[1], 2), &Learned::default(), io::sink());
    assert!(matches!(changed, Err(Error::Changed { .. })), "{changed:?}");
}

#[test]
fn a_layer_is_known_by_its_blocks() {
    let directory = tempfile::tempdir().expect("a directory");
    let changes = sample(directory.path());
    let of = |form| {
        let packed = pack(&changes, &options(form, 2), Hints::default(), io::sink()).expect("a layer");
        (packed, options(form, 1))
    };
    let (packed, gzip) = of(FORMS[1]);
    assert!(is_layer_of(&packed, &changes, &gzip));
    assert!(!is_layer_of(&packed, &unread(&changes), &gzip), "other digests");
    assert!(!is_layer_of(&packed, &changes, &options(FORMS[2], 1)), "another form");
    let clamped = PackOptions { clamp_mtime: Some(Timestamp(5)), ..gzip };
    assert!(!is_layer_of(&packed, &changes, &clamped), "other times");
    let without_last = changes.list.iter().take(changes.list.iter().count() - 1).collect();
    let shorter = Changes { list: without_last, origins: changes.origins.clone() };
    assert!(!is_layer_of(&packed, &shorter, &gzip), "a file less");
    let (plain, options) = of(FORMS[0]);
    assert!(!is_layer_of(&plain, &changes, &options), "nothing tells");
}
