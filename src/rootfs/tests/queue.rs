//! Layers written behind their tar: as if both went in step.

use std::io::{self, Read};

use super::*;

/// One call of a [`layer::Sink`].
#[derive(Clone)]
enum Call {
    Entry(Kind),
    File(Vec<u8>),
    Link(&'static str),
    Whiteout,
    Opaque,
}

impl Call {
    fn put(&self, to: &RelPath, time: i64, sink: &mut dyn layer::Sink) -> io::Result<()> {
        let meta = Meta::root_owned(0o751, Timestamp(time));
        match self {
            Self::Entry(kind) => sink.take(to, layer::Item::Entry { meta: &meta, kind }),
            Self::File(bytes) => {
                let (size, content) = (bytes.len() as u64, &mut &bytes[..]);
                sink.take(to, layer::Item::File { meta: &meta, size, content })
            }
            Self::Link(target) => sink.take(to, layer::Item::Link { target: &path(target) }),
            Self::Whiteout => sink.take(to, layer::Item::Whiteout),
            Self::Opaque => sink.take(to, layer::Item::Opaque),
        }
    }

    fn write(&self, to: &RelPath, time: i64, writer: &mut Writer) -> Result<(), Error> {
        let meta = Meta::root_owned(0o751, Timestamp(time));
        match self {
            Self::Entry(kind) => writer.entry(to, &meta, kind),
            Self::File(bytes) => writer.file(to, &meta, |file| file.write_all(bytes)),
            Self::Link(target) => writer.link(to, &path(target)),
            Self::Whiteout => writer.whiteout(to),
            Self::Opaque => writer.opaque(to),
        }
    }
}

/// Layers in which the order counts, and some that fill several batches.
fn orders() -> Vec<(&'static str, Vec<(RelPath, Call)>)> {
    let text = |text: &str| Call::File(text.as_bytes().to_vec());
    let long = |len: usize| Call::File((0..len).map(|at| (at * 7 + at / 1000) as u8).collect());
    let directory = || Call::Entry(Kind::Directory);
    let link = |target: &str| Call::Entry(Kind::Symlink { target: target.as_bytes().into() });
    let named = |calls: Vec<(&str, Call)>| calls.into_iter().map(|(name, call)| (path(name), call)).collect();
    vec![
        (
            "links behind what replaces their target",
            named(vec![
                ("a", text("first")),
                ("b", Call::Link("a")),
                ("a", text("second")),
                ("c", Call::Link("a")),
                ("d/e", Call::Link("b")),
                ("b", text("third")),
            ]),
        ),
        (
            "a path twice",
            named(vec![
                ("a", text("long content")),
                ("a", text("short")),
                ("b", link("a")),
                ("b", Call::Entry(Kind::Fifo)),
                ("b", link("nowhere")),
                ("c", Call::Link("a")),
                ("c", Call::Link("b")),
            ]),
        ),
        (
            "a file, then a directory, and back",
            named(vec![
                ("a", text("file")),
                ("a", directory()),
                ("a/in", text("in")),
                ("b", directory()),
                ("b/in/deep", text("deep")),
                ("b", text("file")),
                ("c", link("a")),
                ("c/in", text("not in a")),
                ("d", text("file")),
                ("d/in", text("in")),
            ]),
        ),
        (
            "children before their directory",
            named(vec![
                ("a/b/c", text("c")),
                ("a/b", directory()),
                ("a/d", text("d")),
                ("a", directory()),
                ("", directory()),
                ("e", text("e")),
            ]),
        ),
        (
            "whiteouts before and behind",
            named(vec![
                ("lower/one", Call::Whiteout),
                ("lower/one", directory()),
                ("lower/one/own", text("own")),
                ("lower/two", text("own")),
                ("lower/two", Call::Whiteout),
                ("lower/deep", Call::Opaque),
                ("lower/deep/own", text("own")),
                ("gone", Call::Whiteout),
            ]),
        ),
        (
            "contents longer than a batch, and none",
            named(vec![
                ("long", long(3_000_000)),
                ("empty", text("")),
                ("short", long(100)),
                ("exact", long(256 << 10)),
                ("longer", long((256 << 10) + 1)),
                ("link", Call::Link("long")),
            ]),
        ),
        (
            "more items than a batch holds",
            (0..3000)
                .map(|number| (path(&format!("{}/{number}", number % 7)), long(number % 50)))
                .chain((0..600).map(|number| (path(&format!("links/{number}")), Call::Link("0/0"))))
                .collect(),
        ),
    ]
}

/// Everything below `root`, contents as digests.
fn shown(root: &Path) -> String {
    let seen = scan_upper(root, &Tree::empty(), ALL, Contents::Read).unwrap();
    let marks = seen.list.iter().filter(|change| !matches!(change, Change::Upsert { .. }));
    let marks: Vec<_> = marks.map(|change| format!("{change:?}")).collect();
    format!("{}{marks:?}", Tree::empty().apply(&seen).listing().with_times())
}

#[test]
fn what_comes_from_a_tar_is_written_in_its_order() {
    if !root_user() {
        return;
    }
    for form in [Form::Layer, Form::State] {
        for (name, calls) in orders() {
            let place = tempfile::tempdir().unwrap();
            let roots = ["at once", "behind"].map(|name| place.path().join(name));
            for root in &roots {
                for lower in ["lower/one", "lower/two", "lower/deep/x", "gone/x"] {
                    fs_err::create_dir_all(root.join(lower)).unwrap();
                }
                if form == Form::Layer {
                    fs_err::remove_dir_all(root.join("lower")).unwrap();
                    fs_err::remove_dir_all(root.join("gone")).unwrap();
                }
                // Times that no layer says are the same, too.
                let old = rustix::fs::Timespec { tv_sec: 77, tv_nsec: 0 };
                let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
                for directory in ["gone", "lower/deep", "lower/one", "lower/two", "lower", "."] {
                    let at = root.join(directory);
                    let flags = rustix::fs::AtFlags::empty();
                    if at.exists() {
                        rustix::fs::utimensat(rustix::fs::CWD, &at, &times, flags).unwrap();
                    }
                }
            }
            let mut writer = Writer::new(&roots[0], form, ALL).unwrap();
            for (time, (to, call)) in (100..).zip(&calls) {
                call.write(to, time, &mut writer).unwrap();
            }
            writer.finish().unwrap();
            let read = |sink: &mut dyn layer::Sink| {
                for (time, (to, call)) in (100..).zip(&calls) {
                    call.put(to, time, sink).unwrap();
                }
                Ok::<_, Failure>(Changes::default())
            };
            write_layer(&roots[1], form, ALL, read).unwrap();
            assert_eq!(shown(&roots[1]), shown(&roots[0]), "{name}, {form:?}");
        }
    }
}

#[test]
fn of_two_errors_the_one_earlier_in_the_tar_counts() {
    struct Cut(u64);

    impl Read for Cut {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(usize::try_from(self.0).unwrap());
            self.0 -= count as u64;
            if count == 0 { Err(io::Error::other("cut")) } else { Ok(count) }
        }
    }

    let place = tempfile::tempdir().unwrap();
    let meta = Meta { uid: rustix::process::getuid().as_raw(), ..Meta::root_owned(0o644, Timestamp(1)) };
    let single = Disk { owners: false, devices: false, marks: Marks::User };
    let unwritable = path(&"n".repeat(300));
    for (bad_first, sizes) in
        [(false, [10, 10]), (true, [10, 10]), (true, [10, 50_000_000]), (false, [9_000_000, 9])]
    {
        let read = |sink: &mut dyn layer::Sink| {
            let mut put = |path: &RelPath, size: u64, content: &mut dyn Read| {
                let took = sink.take(path, layer::Item::File { meta: &meta, size, content });
                took.map_err(|source| layer::Error::Take { path: path.clone(), source })
            };
            put(&path("before"), sizes[0], &mut Cut(sizes[0]))?;
            if bad_first {
                put(&unwritable, 0, &mut Cut(0))?;
            }
            put(&path("after"), sizes[1], &mut Cut(sizes[1] - 1))?;
            put(&unwritable, 0, &mut Cut(0))?;
            Ok::<_, Failure>(Changes::default())
        };
        let root = tempfile::tempdir_in(place.path()).unwrap();
        let error = write_layer(root.path(), Form::Layer, single, read).unwrap_err();
        let Failure::Layer(layer::Error::Take { path: of, source }) = error else { panic!("{error}") };
        let expected = if bad_first { (unwritable.clone(), false) } else { (path("after"), true) };
        assert_eq!((of, source.to_string() == "cut"), expected, "{sizes:?}");
    }
}
