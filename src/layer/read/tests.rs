use std::collections::BTreeMap;
use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::layer::{archive, is_archive};
use crate::tree::Tree;

/// A header block of a tar, by hand: the tests must not trust the writer.
fn header(kind: u8, name: &[u8], size: u64, edit: impl FnOnce(&mut [u8; 512])) -> Vec<u8> {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000001");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    edit(&mut block);
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block.to_vec()
}

fn member(kind: u8, name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut bytes = header(kind, name, content.len() as u64, |_| {});
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn link(kind: u8, name: &[u8], target: &[u8]) -> Vec<u8> {
    header(kind, name, 0, |block| block[157..157 + target.len()].copy_from_slice(target))
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let len =
            (rest..).find(|len| rest + len.to_string().len() == *len).expect("lengths have a fixed point");
        content.extend_from_slice(format!("{len} {key}=").as_bytes());
        content.extend_from_slice(value);
        content.push(b'\n');
    }
    member(b'x', b"PaxHeaders/x", &content)
}

fn tar(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

/// Keeps what goes by.
#[derive(Default)]
struct Keep {
    log: Vec<String>,
    contents: BTreeMap<String, Vec<u8>>,
}

impl Sink for Keep {
    fn take(&mut self, path: &RelPath, item: Item<'_>) -> io::Result<()> {
        self.log.push(match item {
            Item::Entry { kind, .. } => format!("{path} {}", kind_name(kind)),
            Item::File { size, content, .. } => {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes)?;
                self.contents.insert(path.to_string(), bytes);
                format!("{path} {size}")
            }
            Item::Link { target } => format!("{path} => {target}"),
            Item::Whiteout => format!("{path} whiteout"),
            Item::Opaque => format!("{path} opaque"),
        });
        Ok(())
    }
}

fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Directory => "dir",
        Kind::File { .. } => "file",
        Kind::Symlink { .. } => "symlink",
        Kind::CharDevice { .. } | Kind::BlockDevice { .. } => "device",
        Kind::Fifo => "fifo",
    }
}

fn layer(members: &[Vec<u8>]) -> Result<(Changes, Keep), Error> {
    let mut sink = Keep::default();
    let bytes = tar(members);
    let (changes, diff_id) = read(&*bytes, &mut sink)?;
    assert_eq!(diff_id, DiffId(Digest::of(&bytes)));
    Ok((changes, sink))
}

/// `+path`, `-path` for a whiteout, `!path` for an opaque mark.
fn printed(changes: &Changes) -> Vec<String> {
    let print = |change: Change| match change {
        Change::Upsert { path, .. } => format!("+{path}"),
        Change::Whiteout { path } => format!("-{path}"),
        Change::Opaque { path } => format!("!{path}"),
    };
    changes.list.iter().map(print).collect()
}

fn listed(members: &[Vec<u8>]) -> Vec<String> {
    let changes = layer(members).expect("a sound layer").0;
    let tree = Tree::empty().apply(&changes);
    tree.to_string().lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn whiteouts_are_decoded_here() {
    let (changes, sink) = layer(&[
        member(b'5', b"a/", b""),
        member(b'0', b"a/.wh..wh..opq", b""),
        member(b'0', b"a/.wh.x", b""),
        member(b'0', b".wh.gone", b""),
        member(b'0', b".wh..wh.plnk", b""),
        member(b'0', b".wh.file", b""),
        member(b'0', b"file", b"new"),
        member(b'0', b".wh.dir", b""),
        member(b'5', b"dir", b""),
        member(b'0', b"dir/kept", b""),
        member(b'0', b".wh.implied", b""),
        member(b'0', b"implied/new", b""),
    ])
    .expect("a sound layer");
    assert_eq!(
        printed(&changes),
        ["+a", "!a", "-a/x", "+dir", "!dir", "+dir/kept", "+file", "-gone", "-implied", "+implied/new"]
    );
    assert_eq!(sink.log[..4], ["a dir", "a opaque", "a/x whiteout", "gone whiteout"]);
    for bare in [&b".wh."[..], b"d/.wh.", b".wh..", b"d/.wh..."] {
        let result = layer(&[member(b'0', bare, b"")]);
        assert!(matches!(result, Err(Error::Whiteout { .. })), "{}", bare.escape_ascii());
    }
}

#[test]
fn in_an_archive_whiteouts_are_names() {
    let mut sink = Keep::default();
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    compressed
        .write_all(&tar(&[member(b'0', b"d/.wh.x", b"1"), member(b'0', b".wh..wh..opq", b"2")]))
        .expect("memory");
    let changes = archive(&*compressed.finish().expect("memory"), &mut sink).expect("a sound archive");
    assert_eq!(printed(&changes), ["+.wh..wh..opq", "+d/.wh.x"]);
    assert_eq!(sink.contents["d/.wh.x"], b"1");
}

#[test]
fn an_archive_is_told_by_its_first_header() {
    let good = tar(&[member(b'0', b"x", b"1")]);
    let mut broken = good.clone();
    broken[0] ^= 1;
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory takes everything");
        encoder.finish().expect("memory takes everything")
    };
    for (what, bytes, expected) in [
        ("a tar", good.clone(), true),
        ("a tar cut behind its first header", good[..512].to_vec(), true),
        ("a compressed tar", gzip(&good), true),
        ("compressed text", gzip(b"text"), false),
        ("a wrong checksum", broken, false),
        ("nothing", Vec::new(), false),
        ("an empty archive", vec![0; 1024], false),
        ("half a header", good[..256].to_vec(), false),
        ("gzip's magic and no more", b"\x1f\x8b\x08".to_vec(), false),
        ("text", b"#!/bin/sh\n".repeat(100), false),
    ] {
        assert_eq!(is_archive(&*bytes).expect("memory can be read"), expected, "{what}");
    }
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
    assert_eq!(is_archive(Failing).map_err(|error| error.kind()), Err(io::ErrorKind::ConnectionReset));
}

#[test]
fn names_never_lead_out() {
    let (changes, _) = layer(&[
        member(b'0', b"../../etc/passwd", b"1"),
        member(b'0', b"/abs", b"2"),
        member(b'0', b"./dot/./x", b"3"),
        member(b'5', b"./", b""),
        link(b'1', b"hard", b"../abs"),
    ])
    .expect("a sound layer");
    assert_eq!(printed(&changes), ["+", "+abs", "+dot/x", "+etc/passwd", "+hard"]);
    assert!(matches!(layer(&[member(b'0', b"./", b"")]), Err(Error::Root)));
}

#[test]
fn hard_links_are_groups() {
    let lines = listed(&[
        member(b'0', b"a", b"one"),
        link(b'1', b"b", b"/a"),
        link(b'1', b"c", b"./b"),
        member(b'0', b"d", b"one"),
        link(b'1', b"a", b"a"),
        link(b'2', b"s", b"a"),
        link(b'1', b"t", b"s"),
    ]);
    let digest = &Digest::of("one").hex()[..12];
    let linked = |name| format!("{name} file 0644 0:0 3 sha256:{digest} link=a");
    let expected = [
        linked("a"),
        linked("b"),
        linked("c"),
        format!("d file 0644 0:0 3 sha256:{digest}"),
        "s symlink 0644 0:0 -> a".to_owned(),
        "t symlink 0644 0:0 -> a".to_owned(),
    ];
    assert_eq!(lines, expected);
    for broken in [
        vec![link(b'1', b"b", b"a")],
        vec![link(b'1', b"b", b"a"), member(b'0', b"a", b"")],
        vec![member(b'5', b"a", b""), link(b'1', b"b", b"a")],
    ] {
        assert!(matches!(layer(&broken), Err(Error::LinkTarget { .. })));
    }
}

#[test]
fn the_later_of_two_members_counts() {
    for (members, expected) in [
        (vec![member(b'0', b"x", b"1"), member(b'0', b"x", b"22")], vec!["+x"]),
        (vec![member(b'0', b"x/y", b"1"), member(b'0', b"x", b"22")], vec!["+x"]),
        (vec![member(b'0', b"x/y", b"1"), member(b'5', b"x", b"")], vec!["+x", "+x/y"]),
        (vec![member(b'0', b"x", b"1"), member(b'0', b"xy", b""), link(b'2', b"x", b"y")], vec!["+x", "+xy"]),
    ] {
        let (changes, _) = layer(&members).expect("a sound layer");
        assert_eq!(printed(&changes), expected);
    }
    let lines = listed(&[member(b'0', b"a", b"1"), link(b'1', b"b", b"a"), member(b'0', b"a", b"2")]);
    assert!(lines[1].ends_with("link=b"), "a replaced name leaves its group: {lines:?}");
    assert!(!lines[0].contains("link="), "{lines:?}");
}

#[test]
fn all_header_formats_are_understood() {
    let long = "l".repeat(150);
    let long_nul = [long.as_bytes(), b"\0"].concat();
    let base256 = |value: i64, field: &mut [u8]| {
        let len = field.len();
        field.fill(if value < 0 { 0xff } else { 0 });
        field[len - 8..].copy_from_slice(&value.to_be_bytes());
        field[0] |= 0x80;
    };
    let mut gnu = header(b'0', b"gnu", 0, |block| {
        block[257..265].copy_from_slice(b"ustar  \0");
        // GNU keeps access times where ustar has the prefix.
        block[345..356].copy_from_slice(b"14000000000");
        base256(3_000_000_000, &mut block[108..116]);
        base256(-7, &mut block[136..148]);
    });
    gnu.extend(member(b'L', b"././@LongLink", &long_nul));
    gnu.extend(member(b'K', b"././@LongLink", b"target of the link\0"));
    gnu.extend(member(b'2', b"cut", b""));
    let ustar = header(b'0', b"name", 0, |block| block[345..348].copy_from_slice(b"p/q"));
    let v7 = header(0, b"v7/", 0, |block| block[257..265].fill(0));
    let star = header(b'0', b"star", 0, |block| {
        block[345..348].copy_from_slice(b"pre");
        block[476..487].copy_from_slice(b"14000000000");
        block[508..512].copy_from_slice(b"tar\0");
    });
    let global = member(b'g', b"global", b"12 path=no!\n");
    let extended = [
        pax(&[
            ("path", b"pax/\xff"),
            ("uid", b"4000000000"),
            ("gid", b"5"),
            ("mtime", b"-1.5"),
            ("SCHILY.xattr.security.capability", b"\x01\n\n\0="),
            ("SCHILY.xattr.user.other", b"x"),
            ("comment", b""),
        ]),
        member(b'0', b"cut", b"abc"),
    ]
    .concat();
    let device = header(b'3', b"dev", 0, |block| {
        block[329..336].copy_from_slice(b"0000010");
        block[337..344].copy_from_slice(b"0000011");
    });
    let (changes, _) = layer(&[gnu, ustar, v7, star, global, extended, device]).expect("a sound layer");
    let tree = Tree::empty().apply(&changes);
    let listing = tree.listing().with_times().to_string().replace(&long, "LONG");
    insta::assert_snapshot!(listing, @r"
    / dir 0755 0:0 1970-01-01T00:00:00Z
    dev char 0644 0:0 8:9 1970-01-01T00:00:01Z
    gnu file 0644 3000000000:0 0 sha256:e3b0c44298fc 1969-12-31T23:59:53Z
    LONG symlink 0644 0:0 -> target of the link 1970-01-01T00:00:01Z
    p/ dir 0755 0:0 1970-01-01T00:00:00Z
    p/q/ dir 0755 0:0 1970-01-01T00:00:00Z
    p/q/name file 0644 0:0 0 sha256:e3b0c44298fc 1970-01-01T00:00:01Z
    pax/ dir 0755 0:0 1970-01-01T00:00:00Z
    pax/\xff file 0644 4000000000:5 3 sha256:ba7816bf8f01 1969-12-31T23:59:58Z security.capability=0x010a0a003d
    pre/ dir 0755 0:0 1970-01-01T00:00:00Z
    pre/star file 0644 0:0 0 sha256:e3b0c44298fc 1970-01-01T00:00:01Z
    v7/ dir 0644 0:0 1970-01-01T00:00:01Z
    ");
}

#[test]
fn holes_are_filled() {
    let expected = [&b"abc"[..], &[0; 1000], b"de", &[0; 5]].concat();
    // GNU's old form: the map in the header, one segment in a block behind it.
    let mut old = header(b'S', b"old", 512 + 2, |block| {
        block[257..265].copy_from_slice(b"ustar  \0");
        block[386..397].copy_from_slice(b"00000000000");
        block[398..409].copy_from_slice(b"00000001000");
        block[482] = 1;
        block[483..494].copy_from_slice(format!("{:011o}", 512 + 1000 + 2 + 5).as_bytes());
    });
    let mut more = [0; 512];
    more[..11].copy_from_slice(format!("{:011o}", 512 + 1000).as_bytes());
    more[12..23].copy_from_slice(b"00000000002");
    more[24..35].copy_from_slice(format!("{:011o}", 512 + 1000 + 2 + 5).as_bytes());
    more[36..47].copy_from_slice(b"00000000000");
    old.extend_from_slice(&more);
    old.extend_from_slice(&[b'x'; 512]);
    old.extend_from_slice(b"de");
    old.resize(old.len().next_multiple_of(512), 0);
    let pax_0_0 = [
        pax(&[
            ("GNU.sparse.size", b"1010"),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.offset", b"0"),
            ("GNU.sparse.numbytes", b"3"),
            ("GNU.sparse.offset", b"1003"),
            ("GNU.sparse.numbytes", b"2"),
        ]),
        member(b'0', b"pax00", b"abcde"),
    ]
    .concat();
    let pax_0_1 = [
        pax(&[
            ("GNU.sparse.size", b"1010"),
            ("GNU.sparse.map", b"0,3,1003,2"),
            ("GNU.sparse.name", b"pax01"),
        ]),
        member(b'0', b"GNUSparseFile.1/pax01", b"abcde"),
    ]
    .concat();
    let map = [&b"2\n0\n3\n1003\n2\n"[..], &[0; 512]].concat();
    let pax_1_0 = [
        pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"pax10"),
            ("GNU.sparse.realsize", b"1010"),
        ]),
        member(b'0', b"GNUSparseFile.1/pax10", &[&map[..512], b"abcde"].concat()),
    ]
    .concat();
    let (changes, sink) =
        layer(&[old, pax_0_0, pax_0_1, pax_1_0, member(b'0', b"z", b"end")]).expect("a sound layer");
    assert_eq!(printed(&changes), ["+old", "+pax00", "+pax01", "+pax10", "+z"]);
    assert_eq!(sink.contents["old"], [&[b'x'; 512][..], &[0; 1000], b"de", &[0; 5]].concat());
    for name in ["pax00", "pax01", "pax10"] {
        assert_eq!(sink.contents[name], expected, "{name}");
    }
    assert_eq!(sink.contents["z"], b"end");
}

#[test]
fn what_the_sink_leaves_is_hashed_all_the_same() {
    struct Lazy;
    impl Sink for Lazy {
        fn take(&mut self, _: &RelPath, item: Item<'_>) -> io::Result<()> {
            if let Item::File { content, .. } = item {
                content.read_exact(&mut [0; 2])?;
            }
            Ok(())
        }
    }
    let content = vec![b'c'; 200_000];
    let (changes, _) = read(&*tar(&[member(b'0', b"x", &content)]), &mut Lazy).expect("a sound layer");
    let first = changes.list.into_iter().next();
    let Some(Change::Upsert { entry: Entry { kind: Kind::File { digest, .. }, .. }, .. }) = first else {
        panic!("a file")
    };
    assert_eq!(digest, Digest::of(&content));
    let short = read(&*tar(&[member(b'0', b"x", b"1")]), &mut Lazy);
    assert!(matches!(short, Err(Error::Take { .. })));
}

#[test]
fn the_stream_is_read_to_its_end() {
    let bytes = [tar(&[member(b'0', b"x", b"1")]), vec![0; 10_000]].concat();
    let mut stream = &*bytes;
    let (_, diff_id) = read(&mut stream, &mut Discard).expect("a sound layer");
    assert!(stream.is_empty());
    assert_eq!(diff_id, DiffId(Digest::of(&bytes)));
    // Some writers leave out the end of the archive, or the padding before it.
    let bare = member(b'0', b"x", b"1");
    for len in [513, 1024] {
        assert!(read(&bare[..len], &mut Discard).is_ok(), "{len}");
    }
}

#[test]
fn cut_archives_are_errors() {
    let bytes = [member(b'0', b"x", &[1; 700]), pax(&[("path", b"y")]), member(b'0', b"z", b"1")].concat();
    for len in [1, 511, 513, 1100, 1537, 2048 + 256, 2048 + 512, 2048 + 1024] {
        assert!(read(&bytes[..len], &mut Discard).is_err(), "{len}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn damage_never_panics(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        fix_sums in any::<bool>(),
    ) {
        let mut bytes = tar(&[
            pax(&[("GNU.sparse.size", b"1010"), ("GNU.sparse.map", b"0,3,1003,2")]),
            member(b'0', b"sparse", b"abcde"),
            member(b'L', b"././@LongLink", b"a/long/name\0"),
            member(b'0', b"cut", b"content"),
            link(b'1', b"hard", b"a/long/name"),
            header(b'S', b"old", 0, |block| block[257..265].copy_from_slice(b"ustar  \0")),
            member(b'0', b".wh.x", b""),
        ]);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if fix_sums {
            for block in bytes.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
                block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
        }
        // A size in a sparse header may be anything; nobody would read petabytes of zeros here.
        struct Limited;
        impl Sink for Limited {
            fn take(&mut self, _: &RelPath, item: Item<'_>) -> io::Result<()> {
                match item {
                    Item::File { size, .. } if size > 1 << 20 => Err(io::ErrorKind::FileTooLarge.into()),
                    _ => Ok(()),
                }
            }
        }
        let _ = read(&*bytes, &mut Limited);
        let _ = is_archive(&*bytes);
    }
}
