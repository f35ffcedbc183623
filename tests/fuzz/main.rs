//! Fuzzing without a special toolchain: bytes grown from a corpus by mutation, thrown at everything that reads
//! what others wrote.
//!
//! By default each target runs over its corpus and its regressions only; `KILN_FUZZ_SECONDS=600 cargo test --release
//! --test fuzz` lets each grow inputs for ten minutes. `KILN_FUZZ_SEED` begins elsewhere. An input that fails is written to
//! `testdata/fuzz/TARGET`, where it stays and is tried first from then on.

#![allow(clippy::disallowed_methods, reason = "tests have surroundings of their own")]

mod mutate;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kiln::cache::Document;
use kiln::checkup;
use kiln::diagnostic::{self, Source};
use kiln::digest::Digest;
use kiln::dockerfile::expand::{Mode, expand};
use kiln::layer;
use kiln::lower::Options;
use kiln::path::RelPath;
use kiln::pattern::{Glob, Ignore};
use kiln::reference::Reference;

use self::mutate::Mutator;

/// No input of this size may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs a target over its regressions, its corpus, and what grows from them.
fn fuzz(target: &str, corpus: Vec<Vec<u8>>, dictionary: &'static [&'static str], run: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/fuzz").join(target);
    let seconds = std::env::var("KILN_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    let attempt = |input: &[u8]| {
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| run(input)));
        // A busy machine is no finding where nobody is looking for one.
        let slow = seconds.is_some() && started.elapsed() > PATIENCE;
        if outcome.is_err() || slow {
            std::fs::create_dir_all(&directory).unwrap();
            let file = directory.join(&Digest::of(input).hex()[..16]);
            std::fs::write(&file, input).unwrap();
            panic!("{target}: {} {}", if slow { "too slow for" } else { "fails for" }, file.display());
        }
    };
    for file in files(&directory) {
        attempt(&std::fs::read(file).unwrap());
    }
    corpus.iter().for_each(|input| attempt(input));
    // Without a wish for more, regressions and corpus are all: the same in every run.
    let limit = seconds.map_or(Duration::ZERO, Duration::from_secs);
    let seed = std::env::var("KILN_FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut mutator = Mutator::new(corpus, dictionary, seed);
    let started = Instant::now();
    let mut count = 0_u64;
    while started.elapsed() < limit {
        attempt(&mutator.next());
        count += 1;
    }
    eprintln!("{target}: {count} inputs in {:.1} s", started.elapsed().as_secs_f64());
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Every file below a directory of the test data whose name ends so.
fn testdata(directory: &str, ending: &str) -> Vec<Vec<u8>> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(directory)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(files(&path));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(std::fs::read(path).unwrap());
        }
    }
    assert!(!found.is_empty(), "{directory} has no corpus");
    found
}

const LANGUAGE: &[&str] = &[
    "FROM ",
    " AS ",
    "RUN ",
    "COPY ",
    "ADD ",
    "ENV ",
    "ARG ",
    "LABEL ",
    "CMD ",
    "ENTRYPOINT ",
    "ONBUILD ",
    "HEALTHCHECK ",
    "SHELL ",
    "VOLUME ",
    "EXPOSE ",
    "WORKDIR ",
    "USER ",
    "STOPSIGNAL ",
    "MAINTAINER ",
    "--mount=type=",
    "bind",
    "cache",
    "secret",
    ",target=/x",
    ",from=",
    "--from=",
    "--chmod=",
    "--platform=",
    "<<EOF",
    "<<-\"E\"",
    "EOF\n",
    "\\\n",
    "`\n",
    "# escape=`\n",
    "# check=skip=all;error=true\n",
    "# syntax=",
    "${",
    "}",
    "$X",
    ":-",
    "[\"",
    "\", \"",
    "\"]",
    "\u{feff}",
    "\r\n",
    "\n\n",
    "#",
    "'",
    "\"",
    "\\",
    "=",
    "scratch",
    "安",
    "\u{0}",
    "\t",
];

#[test]
fn dockerfiles() {
    let mut corpus = testdata("dockerfile", "");
    corpus.extend(testdata("lower", ".Dockerfile"));
    let mut options = Options::new(checkup::assumed_platform());
    options.all_stages = true;
    fuzz("dockerfile", corpus, LANGUAGE, |input| {
        let source = Source::new("Dockerfile", String::from_utf8_lossy(input).into_owned());
        let examine = |source: &Source| {
            checkup::examine(source.clone(), None, &options, &Ignore::default(), checkup::assume)
        };
        let found = examine(&source);
        assert_eq!(found.graph.is_none(), found.errors().next().is_some(), "no build means an error");
        for finding in &found.findings {
            let shown = diagnostic::render(&source, finding);
            assert!(source.text.get(finding.span.range()).is_some(), "a span that cuts a character: {shown}");
            assert!(finding.help.is_some(), "nothing to try: {shown}");
        }
        let mended = checkup::mend(&source, |source| examine(source).findings);
        let left = examine(&mended.source);
        assert_eq!(left.graph.is_none(), found.graph.is_none(), "mended to {}", mended.source.text);
    });
}

#[test]
fn expansion() {
    let corpus = testdata("expand.txt", ".txt").concat();
    let corpus = corpus.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let tokens =
        &["${", "}", "$", ":-", ":+", ":?", "##", "%%", "//", "/", "*", "?", "\\", "'", "\"", "A", "é"];
    fuzz("expand", corpus, tokens, |input| {
        let word = String::from_utf8_lossy(input);
        let lookup = |name: &str| (name.len() % 2 == 1).then(|| name.repeat(2));
        for (escape, mode) in
            [('\\', Mode::Word), ('`', Mode::Word), ('\\', Mode::Shown), ('\\', Mode::Heredoc)]
        {
            if let Err(error) = expand(&word, escape, &lookup, mode) {
                assert!(!error.help().is_empty());
            }
        }
    });
}

#[test]
fn ignore_patterns() {
    let corpus = testdata("ignore.txt", ".txt").concat();
    let corpus = corpus.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    fuzz("ignore", corpus, &["**", "*", "?", "[", "]", "!", "/", "\\", "^", "-", "a", "..", "\n"], |input| {
        let (rules, path) = input.split_at(input.len() * 2 / 3);
        let path = RelPath::clean(path);
        let _ = Glob::parse(rules).map(|glob| glob.matches(path.as_bytes()));
        let Ok(ignore) = Ignore::parse(rules) else { return };
        let verdict = ignore.verdict(&path);
        assert!(verdict.rule.is_some() || !verdict.excluded, "something is excluded by no rule");
        // What a walker learns on its way down is what is said of the whole path.
        let mut trail = ignore.root();
        let mut last = None;
        for step in path.ancestors().skip(1).chain((!path.is_root()).then(|| path.clone())) {
            let (verdict, below) = ignore.step(&trail, &step);
            (trail, last) = (below, Some(verdict));
        }
        assert_eq!(last.unwrap_or_default(), verdict);
    });
}

#[test]
fn references() {
    let corpus = [
        "alpine",
        "alpine:3.20",
        "localhost:5000/a/b:c",
        "docker.io/library/debian",
        "[::1]:5000/x",
        "example.com/a__b/c-d.e@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ];
    let corpus = corpus.iter().map(|name| name.as_bytes().to_vec()).collect();
    fuzz("reference", corpus, &["/", ":", "@", "sha256:", ".", "_", "__", "-", "A", "localhost"], |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(reference) = text.parse::<Reference>() {
            let again = reference.to_string().parse::<Reference>();
            assert_eq!(again.as_ref(), Ok(&reference), "{text} is shown as {reference}");
            let familiar = reference.familiar().parse::<Reference>();
            assert_eq!(familiar, Ok(reference), "{text}");
        }
    });
}

#[test]
fn documents_of_caches() {
    let corpus = [
        r#"{"version":1,"records":[],"layers":{},"images":{}}"#.to_owned(),
        r#"{"version":1,"records":[{"definition":"D","result":"D","layer":"D","created":"2026-01-02T03:04:05Z"}],"layers":{"D":{"blob":{"media_type":"a/b","digest":"D","size":1},"clamp_mtime":"2026-01-02T03:04:05Z"}},"images":{"D":"2026-01-02T03:04:05Z"}}"#
            .replace('D', &Digest::of("D").to_string()),
    ];
    let dictionary =
        &["sha256:", "\"records\":", "\"layers\":", "\"entries\":", "null", "[]", "{}", "-1", "Z"];
    fuzz("cache-document", corpus.map(String::into_bytes).into(), dictionary, |input| {
        let Ok(value) = serde_json::from_slice(input) else { return };
        if let Ok(read) = Document::read(&value) {
            let again = Document::read(&read.document.to_json()).expect("a document that was just made");
            assert_eq!((again.document, again.damaged), (read.document, 0));
        }
    });
}

#[test]
fn archives() {
    fuzz(
        "tar",
        tars(),
        &["ustar\u{0}00", "ustar  \u{0}", ".wh.", ".wh..wh..opq", "../", "30 path=", "\u{0}"],
        |input| {
            let mut all = layer::Discard;
            if let Ok((changes, _)) = layer::read(input, &mut all) {
                assert!(
                    changes.list.iter().is_sorted_by(|a, b| a.path() <= b.path()),
                    "a layer out of order"
                );
                let index = layer::index::encode(&changes);
                let again = layer::index::decode(&index).expect("an index that was just made");
                assert_eq!(again.list, changes.list);
            }
            let _ = layer::index::decode(input);
            if let Ok(stream) = layer::decompress(input) {
                let mut discard = layer::Discard;
                // Compressed bytes grow; a test need not see all of them.
                let _ = layer::read(std::io::Read::take(stream, 1 << 20), &mut discard);
            }
        },
    );
}

/// Small archives of every kind of member, whole and compressed.
fn tars() -> Vec<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut put = |kind: tar::EntryType, name: &str, link: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if link.is_empty() {
            builder.append_data(&mut header, name, content).unwrap();
        } else {
            builder.append_link(&mut header, name, link).unwrap();
        }
    };
    put(tar::EntryType::Directory, "d/", "", b"");
    put(tar::EntryType::Regular, "d/f", "", b"content");
    put(tar::EntryType::Regular, "d/.wh.gone", "", b"");
    put(tar::EntryType::Symlink, "d/s", "../f", b"");
    put(tar::EntryType::Link, "d/h", "d/f", b"");
    put(tar::EntryType::Regular, &"long/".repeat(40), "", b"x");
    let plain = builder.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &plain).unwrap();
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    vec![plain, gzip.finish().unwrap(), zstd]
}
