//! The statements about COPY, each with its number in the name; a copy is shown as the changes it makes.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::mode::Chmod;
use crate::time::Timestamp;
use crate::tree::testing::{arbitrary_tree, file, linked, path, symlink, with_xattr};
use crate::tree::{Bytes, Change, Changes, Entry, Kind, Meta, Tree, diff};

const NOW: Timestamp = Timestamp(1000);

fn tree(entries: &[(&str, Entry)]) -> Tree {
    entries.iter().map(|(name, entry)| (path(name), entry.clone())).collect()
}

fn owned(mut entry: Entry, mode: u16, ids: (u32, u32), mtime: i64) -> Entry {
    entry.meta = Meta { mode, uid: ids.0, gid: ids.1, mtime: Timestamp(mtime), ..entry.meta };
    entry
}

fn directory(mode: u16, ids: (u32, u32), mtime: i64) -> Entry {
    Entry::directory(Meta { mode, uid: ids.0, gid: ids.1, mtime: Timestamp(mtime), xattrs: None })
}

fn options(destination: &str) -> Options<'_> {
    Options { destination, owner: None, chmod: None, link: false, now: NOW }
}

fn bytes() -> Bytes {
    Bytes::Directory(Arc::new(PathBuf::from("/bytes")))
}

/// Copies `patterns` from `source` into `view`.
fn copy(
    view: &Tree,
    source: &Tree,
    patterns: &[&str],
    how: SelectOptions<'_>,
    options: &Options<'_>,
) -> Result<Placed, Error> {
    let selections =
        patterns.iter().map(|pattern| select(source, pattern, how)).collect::<Result<Vec<_>, _>>()?;
    let sources: Vec<_> = patterns
        .iter()
        .zip(&selections)
        .map(|(pattern, selection)| Source::Selected { pattern, entries: source, selection, bytes: bytes() })
        .collect();
    place(view, &sources, options)
}

fn shown(changes: &Changes) -> String {
    let line = |change: Change| match change {
        Change::Upsert { path, entry: Entry { meta, kind }, origin } => {
            let kind = match kind {
                Kind::Directory => "dir".to_owned(),
                Kind::File { link: None, .. } => {
                    format!("file from {}", changes.origins[usize::from(origin)].locate(&path))
                }
                Kind::File { link: Some(group), .. } => format!("file linked {}", group.0),
                Kind::Symlink { target } => format!("-> {}", target.escape_ascii()),
                other => format!("{other:?}"),
            };
            format!("{path} {:04o} {}:{} @{} {kind}", meta.mode, meta.uid, meta.gid, meta.mtime.0)
        }
        other => format!("{other:?}"),
    };
    changes.list.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn copied(view: &Tree, source: &Tree, patterns: &[&str], options: &Options<'_>) -> String {
    match copy(view, source, patterns, SelectOptions::default(), options) {
        Ok(placed) => shown(&placed.changes),
        Err(error) => format!("error: {error}"),
    }
}

fn names(source: &Tree, pattern: &str, how: SelectOptions<'_>) -> String {
    match select(source, pattern, how) {
        Ok(selection) => {
            let paths = selection.paths(source);
            paths.iter().map(|path| format!("/{path}")).collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("error: {error}"),
    }
}

fn context() -> Tree {
    tree(&[
        ("dir", directory(0o700, (7, 8), 50)),
        ("dir/b.txt", owned(file("b"), 0o640, (7, 8), 51)),
        ("dir/sub", directory(0o711, (7, 8), 52)),
        ("dir/sub/c.txt", owned(file("c"), 0o600, (7, 8), 53)),
        ("dir/up", symlink("../a.txt")),
        ("a.txt", owned(file("a"), 0o644, (0, 0), 54)),
        ("link", symlink("/dir/sub")),
        ("linked.txt", symlink("a.txt")),
        ("loop", symlink("loop")),
    ])
}

#[test]
fn statements_90_to_100_sources_are_found() {
    let source = context();
    for (pattern, expected) in [
        ("a.txt", "/a.txt"),
        ("../../a.txt", "/a.txt"),
        ("./dir/../a.txt/", "/a.txt"),
        ("dir", "/dir /dir/b.txt /dir/sub /dir/sub/c.txt /dir/up"),
        ("dir/sub/.", "/dir/sub /dir/sub/c.txt"),
        // 93: a wildcard does not cross a slash.
        ("*.txt", "/a.txt /a.txt"),
        ("*/*.txt", "/dir/b.txt"),
        ("*/*/*.txt", "/dir/sub/c.txt"),
        ("dir/[bc]*", "/dir/b.txt"),
        ("**/c.txt", ""),
        // 95, 96: neither a malformed nor a fruitless pattern is an error.
        ("[", ""),
        ("nothing*", ""),
        ("a.txt/*", ""),
        // 97
        ("missing", "error: `missing` does not exist"),
        ("missing/*", "error: `missing` does not exist"),
        ("a.txt/x", "error: `a.txt` is not a directory"),
        ("loop", "error: too many symbolic links in `loop`"),
        // 99, 100: links to and on the way to a source are followed.
        ("linked.txt", "/a.txt"),
        ("link", "/dir/sub /dir/sub/c.txt"),
        ("link/c.txt", "/dir/sub/c.txt"),
        ("link/*.txt", "/dir/sub/c.txt"),
        ("l*/c.txt", ""),
    ] {
        assert_eq!(names(&source, pattern, SelectOptions::default()), expected, "{pattern}");
    }
}

#[test]
fn statement_98_matches_come_in_the_order_of_a_walk() {
    let source = tree(&[("b-x", file("1")), ("b", file("2")), ("a", file("3")), ("b.x", file("4"))]);
    assert_eq!(names(&source, "*", SelectOptions::default()), "/a /b /b-x /b.x");
    let changes = copied(&Tree::empty(), &source, &["b*"], &options("/one"));
    assert_eq!(changes, "one 0644 0:0 @0 file from b.x");
}

#[test]
fn statement_111_parents() {
    let source = context();
    let parents = SelectOptions { parents: true, excludes: &[] };
    for (pattern, expected) in [
        ("dir/sub/c.txt", "/ /dir /dir/sub /dir/sub/c.txt"),
        ("dir/./sub/c.txt", "/dir /dir/sub /dir/sub/c.txt"),
        ("d*/*.txt", "/ /dir /dir/b.txt"),
        ("./**/*.txt", "/ /a.txt /dir /dir/b.txt /dir/sub /dir/sub/c.txt /linked.txt"),
        ("no*/x", "/"),
        ("dir/./no/x", "error: `dir/no/x` does not exist"),
        ("no/x", "error: `no/x` does not exist"),
        ("no/./x", "error: `no` does not exist"),
    ] {
        let mut found: Vec<_> = names(&source, pattern, parents).split(' ').map(str::to_owned).collect();
        if !found[0].starts_with("error") {
            found.sort();
        }
        assert_eq!(found.join(" "), expected, "{pattern}");
    }
    let placed = copy(&Tree::empty(), &source, &["dir/sub/c.txt"], parents, &options("/out/")).unwrap();
    insta::assert_snapshot!(shown(&placed.changes), @r"
    out 0755 0:0 @0 dir
    out/dir 0700 7:8 @50 dir
    out/dir/sub 0711 7:8 @52 dir
    out/dir/sub/c.txt 0600 7:8 @53 file from dir/sub/c.txt
    ");
}

#[test]
fn statement_111_existing_parents_take_only_the_mode() {
    let view = tree(&[("dir", directory(0o755, (1, 2), 3))]);
    let parents = SelectOptions { parents: true, excludes: &[] };
    let placed = copy(&view, &context(), &["dir/b.txt"], parents, &options("/")).unwrap();
    insta::assert_snapshot!(shown(&placed.changes), @r"
    dir 0700 1:2 @3 dir
    dir/b.txt 0640 7:8 @51 file from dir/b.txt
    ");
}

#[test]
fn statement_112_excludes_are_relative_to_the_source() {
    let source = context();
    for (excludes, pattern, expected) in [
        (&["sub"][..], "dir", "/dir /dir/b.txt /dir/up"),
        (&["dir/sub"], "dir", "/dir /dir/b.txt /dir/sub /dir/sub/c.txt /dir/up"),
        (&["*", "!sub/c.txt"], "dir", "/dir /dir/sub /dir/sub/c.txt"),
        (&["**/*.txt"], ".", "/ /dir /dir/sub /dir/up /link /loop"),
        (&["**"], "a.txt", "/a.txt"),
    ] {
        let excludes: Vec<String> = excludes.iter().map(|pattern| (*pattern).to_owned()).collect();
        let how = SelectOptions { parents: false, excludes: &excludes };
        assert_eq!(names(&source, pattern, how), expected, "{excludes:?} {pattern}");
    }
    let excludes = ["*".into(), "!sub/c.txt".into()];
    let selection = select(&source, "dir", SelectOptions { parents: false, excludes: &excludes }).unwrap();
    let mut roles = Vec::new();
    let all: Result<(), Error> = selection.matches[0].walk(&source, |selected| {
        roles.push(selected.role);
        Ok(())
    });
    all.unwrap();
    assert_eq!(roles, [Role::Parent, Role::Wanted]);
    let malformed = select(&source, "dir", SelectOptions { parents: false, excludes: &["[".into()] });
    assert!(matches!(malformed, Err(Error::Pattern { .. })));
}

#[test]
fn statements_114_and_116_where_a_file_lands() {
    let view = tree(&[
        ("existing/old", file("old")),
        ("plain", file("plain")),
        ("to-existing", symlink("/existing")),
        ("dangling", symlink("new/place")),
        ("existing/link", symlink("/plain")),
        ("escape", symlink("../../../outside")),
    ]);
    for (destination, expected) in [
        ("/x", "x"),
        ("/x/", "x x/a.txt"),
        ("/x/.", "x x/a.txt"),
        ("/x/y", "x x/y"),
        ("/", "a.txt"),
        ("/existing", "existing existing/a.txt"),
        ("/existing/new", "existing existing/new"),
        ("/to-existing", "existing existing/a.txt"),
        ("/to-existing/new", "existing existing/new"),
        ("/dangling", "new new/place"),
        ("/dangling/", "new new/place new/place/a.txt"),
        ("/escape", "outside"),
        ("/plain", "plain"),
        // A link that the destination names is followed, so the file behind it is replaced.
        ("/existing/link", "plain"),
        ("/plain/", "error: `plain` is not a directory"),
        ("/plain/x", "error: `plain` is not a directory"),
    ] {
        let placed = copied(&view, &context(), &["a.txt"], &options(destination));
        let placed = if placed.starts_with("error") {
            placed
        } else {
            placed.lines().filter_map(|line| line.split(' ').next()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(placed, expected, "{destination}");
    }
}

#[test]
fn statement_99_a_link_lands_under_its_own_name() {
    insta::assert_snapshot!(copied(&Tree::empty(), &context(), &["linked.txt"], &options("/x/")), @r"
    x 0755 0:0 @1000 dir
    x/linked.txt 0644 0:0 @54 file from a.txt
    ");
}

#[test]
fn statement_115_the_last_of_several_files_stays() {
    let placed =
        copy(&Tree::empty(), &context(), &["a.txt", "dir/b.txt"], SelectOptions::default(), &options("/one"))
            .unwrap();
    assert_eq!(shown(&placed.changes), "one 0640 7:8 @51 file from dir/b.txt");
    assert_eq!(placed.warnings, [Warning::Overwritten { path: path("one") }]);
}

#[test]
fn statement_117_created_parents_take_owner_and_octal_mode() {
    let octal = Chmod::parse("4644").unwrap();
    let how = Options { owner: Some(Ids { uid: 5, gid: 6 }), chmod: Some(&octal), ..options("/new/sub/") };
    let placed = copy(&Tree::empty(), &context(), &["a.txt"], SelectOptions::default(), &how).unwrap();
    insta::assert_snapshot!(shown(&placed.changes), @r"
    new 0644 5:6 @1000 dir
    new/sub 0644 5:6 @1000 dir
    new/sub/a.txt 4644 5:6 @54 file from a.txt
    ");
    let unsearchable = |at: &str| Warning::UnsearchableDirectory { path: path(at), mode: 0o644 };
    assert_eq!(placed.warnings, [unsearchable("new"), unsearchable("new/sub")]);
    let symbolic = Chmod::parse("go-rwx").unwrap();
    let placed = copied(
        &Tree::empty(),
        &context(),
        &["a.txt"],
        &Options { chmod: Some(&symbolic), ..options("/new/") },
    );
    insta::assert_snapshot!(placed, @r"
    new 0755 0:0 @1000 dir
    new/a.txt 0600 0:0 @54 file from a.txt
    ");
}

#[test]
fn statement_118_new_top_directory_is_0755_root() {
    insta::assert_snapshot!(copied(&Tree::empty(), &context(), &["dir"], &options("/new")), @r"
    new 0755 0:0 @50 dir
    new/b.txt 0640 7:8 @51 file from dir/b.txt
    new/sub 0711 7:8 @52 dir
    new/sub/c.txt 0600 7:8 @53 file from dir/sub/c.txt
    new/up 0777 0:0 @0 -> ../a.txt
    ");
}

#[test]
fn statements_119_120_126_directories_on_both_sides() {
    let view = tree(&[
        ("new", directory(0o750, (1, 1), 9)),
        ("new/other", file("other")),
        ("new/sub", directory(0o700, (2, 2), 9)),
        ("new/sub/kept", file("kept")),
    ]);
    let how = Options { owner: Some(Ids { uid: 5, gid: 6 }), ..options("/new") };
    insta::assert_snapshot!(copied(&view, &context(), &["dir"], &how), @r"
    new 0750 1:1 @50 dir
    new/b.txt 0640 5:6 @51 file from dir/b.txt
    new/sub 0711 5:6 @52 dir
    new/sub/c.txt 0600 5:6 @53 file from dir/sub/c.txt
    new/up 0777 5:6 @0 -> ../a.txt
    ");
}

#[test]
fn statement_120_attributes_of_both_directories_are_kept() {
    let source = tree(&[("d/sub", with_xattr(directory(0o755, (0, 0), 0), "b", b"2"))]);
    let view = tree(&[("sub", with_xattr(directory(0o755, (0, 0), 0), "a", b"1"))]);
    let placed = copy(&view, &source, &["d"], SelectOptions::default(), &options("/")).unwrap();
    let merged = view.apply(&placed.changes);
    let xattrs = merged.get(&path("sub")).unwrap().meta.xattrs.clone().unwrap();
    assert_eq!(xattrs.len(), 2);
}

#[test]
fn statements_92_and_105_matches_are_merged_and_links_kept_within_one() {
    let source = tree(&[
        ("x/one", linked("same", Some(4))),
        ("x/two", linked("same", Some(4))),
        ("x/far", linked("other", Some(5))),
        ("y/far", linked("other", Some(5))),
    ]);
    insta::assert_snapshot!(copied(&Tree::empty(), &source, &["*"], &options("/to/")), @r"
    to 0755 0:0 @0 dir
    to/far 0644 0:0 @0 file from y/far
    to/one 0644 0:0 @0 file linked 0
    to/two 0644 0:0 @0 file linked 0
    ");
}

#[test]
fn statement_121_a_file_replaces_what_is_no_directory() {
    let view = tree(&[
        ("to/b.txt", symlink("/elsewhere")),
        ("to/sub/c.txt", linked("old", Some(1))),
        ("keep", linked("old", Some(1))),
    ]);
    let placed = copy(&view, &context(), &["dir"], SelectOptions::default(), &options("/to")).unwrap();
    let after = view.apply(&placed.changes);
    assert!(matches!(after.get(&path("to/b.txt")).unwrap().kind, Kind::File { link: None, .. }));
    assert_eq!(after.get(&path("keep")).unwrap().kind, linked("old", Some(1)).kind);
    assert!(after.get(&path("elsewhere")).is_none());
}

#[test]
fn statement_122_kinds_that_cannot_be_replaced() {
    let view = tree(&[
        ("to/b.txt/x", file("x")),
        ("plain", file("plain")),
        ("on/sub", file("sub")),
        ("lib/sub", symlink("/to")),
    ]);
    for (pattern, destination, expected) in [
        ("dir", "/to", "error: a file cannot replace the directory `to/b.txt`"),
        ("dir", "/plain", "error: a directory cannot replace `plain`, which is not one"),
        ("dir", "/on", "error: a directory cannot replace `on/sub`, which is not one"),
        ("dir", "/lib", "error: a directory cannot replace `lib/sub`, which is not one"),
    ] {
        assert_eq!(
            copied(&view, &context(), &[pattern], &options(destination)),
            expected,
            "{pattern} {destination}"
        );
    }
}

#[test]
fn statements_127_to_129_chmod() {
    let chmod = Chmod::parse("2770").unwrap();
    insta::assert_snapshot!(copied(&Tree::empty(), &context(), &["dir"], &Options { chmod: Some(&chmod), ..options("/new") }), @r"
    new 0770 0:0 @50 dir
    new/b.txt 2770 7:8 @51 file from dir/b.txt
    new/sub 2770 7:8 @52 dir
    new/sub/c.txt 2770 7:8 @53 file from dir/sub/c.txt
    new/up 0777 0:0 @0 -> ../a.txt
    ");
}

#[test]
fn statements_130_and_131_link_does_not_see_the_destination() {
    let view = tree(&[("to", symlink("/elsewhere")), ("elsewhere", directory(0o700, (1, 1), 1))]);
    let linking = Options { link: true, ..options("/to/") };
    assert!(!linking.sees_destination());
    insta::assert_snapshot!(copied(&view, &context(), &["a.txt"], &linking), @r"
    to 0755 0:0 @1000 dir
    to/a.txt 0644 0:0 @54 file from a.txt
    ");
    let chmod = Chmod::parse("600").unwrap();
    let plain = Options { chmod: Some(&chmod), ..linking };
    assert!(plain.sees_destination());
    insta::assert_snapshot!(copied(&view, &context(), &["a.txt"], &plain), @r"
    elsewhere 0700 1:1 @1 dir
    elsewhere/a.txt 0600 0:0 @54 file from a.txt
    ");
}

#[test]
fn statement_133_only_what_differs_is_a_change() {
    let first =
        copy(&Tree::empty(), &context(), &["dir"], SelectOptions::default(), &options("/new")).unwrap();
    let view = Tree::empty().apply(&first.changes);
    let later = Options { now: Timestamp(2000), ..options("/new") };
    assert_eq!(copied(&view, &context(), &["dir"], &later), "");
    let mut changed = context();
    changed.insert(&path("dir/sub/c.txt"), owned(file("C"), 0o600, (7, 8), 60));
    insta::assert_snapshot!(copied(&view, &changed, &["dir"], &later), @r"
    new 0755 0:0 @50 dir
    new/sub 0711 7:8 @52 dir
    new/sub/c.txt 0600 7:8 @60 file from dir/sub/c.txt
    ");
}

#[test]
fn statement_96_a_pattern_without_match_warns() {
    let none =
        copy(&Tree::empty(), &context(), &["*.none"], SelectOptions::default(), &options("/new/")).unwrap();
    assert_eq!(shown(&none.changes), "", "not even the destination is made");
    assert_eq!(none.warnings, [Warning::NoMatch { pattern: "*.none".into() }]);
}

#[test]
fn statement_155_here_documents() {
    let sources = ["one", "two"].map(|name| Source::Inline { name, content: Arc::from(name.as_bytes()) });
    let placed = place(&Tree::empty(), &sources, &options("/d/")).unwrap();
    assert_eq!(
        shown(&placed.changes),
        "d 0755 0:0 @1000 dir\nd/one 0644 0:0 @1000 file from one\nd/two 0644 0:0 @1000 file from two"
    );
    let Some(Change::Upsert { origin, .. }) = placed.changes.list.iter().nth(2) else { panic!("an upsert") };
    let Bytes::Inline(content) = &placed.changes.origins[usize::from(origin)].bytes else { panic!("inline") };
    assert_eq!(&**content, b"two");
}

#[test]
fn statement_174_workdir() {
    let view = tree(&[("srv", directory(0o700, (3, 3), 1)), ("link", symlink("/srv")), ("plain", file("x"))]);
    let made = |at: &str| mkdir(&view, &path(at), Ids { uid: 9, gid: 9 }, NOW).map(|changes| shown(&changes));
    assert_eq!(made("srv").unwrap(), "");
    assert_eq!(made("").unwrap(), "");
    assert_eq!(made("link").unwrap(), "");
    insta::assert_snapshot!(made("link/a/b").unwrap(), @r"
    srv 0700 3:3 @1 dir
    srv/a 0755 9:9 @1000 dir
    srv/a/b 0755 9:9 @1000 dir
    ");
    assert!(matches!(made("plain/a"), Err(Error::NotADirectory { .. })));
    assert!(matches!(made("plain"), Err(Error::NotADirectory { .. })));
}

fn members(entries: &[(&str, Entry)]) -> Vec<Member> {
    let member =
        |(name, entry): &(&str, Entry)| Member { path: path(name), entry: entry.clone(), at: path(name) };
    entries.iter().map(member).collect()
}

#[test]
fn statements_137_to_140_archives() {
    let view = tree(&[
        ("to", directory(0o700, (1, 1), 1)),
        ("to/lib", symlink("/usr/lib")),
        ("to/usr/lib", directory(0o700, (1, 1), 1)),
        ("to/merged", directory(0o700, (1, 1), 1)),
        ("to/replaced/x", file("x")),
    ]);
    let archive = members(&[
        ("", directory(0o777, (9, 9), 9)),
        ("lib/a.so", owned(file("a"), 0o755, (2, 3), 4)),
        ("merged", directory(0o711, (2, 3), 4)),
        ("replaced", owned(file("r"), 0o600, (2, 3), 4)),
        ("implied/one", owned(linked("l", Some(7)), 0o600, (2, 3), 4)),
        ("implied/two", owned(linked("l", Some(7)), 0o600, (2, 3), 4)),
    ]);
    let sources = [Source::Archive { members: &archive, bytes: bytes() }];
    let chmod = Chmod::parse("777").unwrap();
    let placed = place(&view, &sources, &Options { chmod: Some(&chmod), ..options("/to") }).unwrap();
    insta::assert_snapshot!(shown(&placed.changes), @r"
    to 0700 1:1 @1 dir
    to/implied 0755 0:0 @1000 dir
    to/implied/one 0600 2:3 @4 file linked 0
    to/implied/two 0600 2:3 @4 file linked 0
    to/merged 0711 2:3 @4 dir
    to/replaced 0600 2:3 @4 file from replaced
    to/usr 0755 0:0 @0 dir
    to/usr/lib 0700 1:1 @1 dir
    to/usr/lib/a.so 0755 2:3 @4 file from lib/a.so
    ");
    let chown = Options { owner: Some(Ids { uid: 5, gid: 6 }), ..options("/new") };
    let placed = place(&view, &sources, &chown).unwrap();
    insta::assert_snapshot!(shown(&placed.changes), @r"
    new 0755 5:6 @1000 dir
    new/implied 0755 0:0 @1000 dir
    new/implied/one 0600 5:6 @4 file linked 0
    new/implied/two 0600 5:6 @4 file linked 0
    new/lib 0755 0:0 @1000 dir
    new/lib/a.so 0755 5:6 @4 file from lib/a.so
    new/merged 0711 5:6 @4 dir
    new/replaced 0600 5:6 @4 file from replaced
    ");
}

#[test]
fn an_archive_that_replaces_a_directory_twice_keeps_nothing_of_the_old_one() {
    let view = tree(&[("d/old/deep", file("1")), ("d/both", file("2"))]);
    let archive = members(&[
        ("d/new", file("0")),
        ("d", file("3")),
        ("d", directory(0o755, (0, 0), 0)),
        ("d/both", file("2")),
    ]);
    let sources = [Source::Archive { members: &archive, bytes: bytes() }];
    let placed = place(&view, &sources, &options("/")).unwrap();
    let after = view.apply(&placed.changes);
    assert_eq!(crate::tree::testing::shown(&after), ["/", "d/", "d/both"]);
}

proptest! {
    #[test]
    fn changes_are_what_diff_finds(view in arbitrary_tree(), source in arbitrary_tree(), destination in "/([a-c](/[a-c])?/?)?") {
        let Ok(placed) = copy(&view, &source, &["."], SelectOptions::default(), &options(&destination)) else {
            return Ok(());
        };
        let after = view.apply(&placed.changes);
        let listed: Vec<_> = placed.changes.list.iter().map(|change| change.path().clone()).collect();
        let found = diff(&view, &after);
        // A file whose other name was replaced is linked differently, but nothing has to be written for it.
        let unchanged = |change: &Change| match change {
            Change::Upsert { path, entry, .. } => view.get(path).is_some_and(|old| old.same_apart_from_links(entry)),
            Change::Whiteout { .. } | Change::Opaque { .. } => false,
        };
        for change in found.list.iter().filter(|change| !unchanged(change)) {
            prop_assert!(listed.contains(change.path()), "{change:?} is missing");
        }
        // Copying once more changes nothing but what is linked.
        let again = copy(&after, &source, &["."], SelectOptions::default(), &options(&destination));
        if let Ok(again) = again {
            prop_assert_eq!(after.apply(&again.changes).digest(&RelPath::root()), after.digest(&RelPath::root()));
        }
    }

    /// Directories that cannot hold anything selected are not entered; that loses nothing.
    #[test]
    fn a_selection_is_what_each_path_says_of_itself(
        source in arbitrary_tree(),
        pattern in "[abc*/]{0,5}",
        excludes in prop::collection::vec("!?[abc*]{1,2}(/[abc*]{1,2})?", 0..3),
    ) {
        use crate::pattern::Ignore;
        let how = SelectOptions { parents: true, excludes: &excludes };
        let Ok(selection) = select(&source, &pattern, how) else { return Ok(()) };
        let include = Ignore::from_patterns([RelPath::clean(&pattern).as_bytes()]).unwrap();
        let exclude = Ignore::from_patterns(&excludes).unwrap();
        let is_wanted = |path: &RelPath| {
            (RelPath::clean(&pattern).is_root() || include.verdict(path).excluded)
                && !exclude.verdict(path).excluded
        };
        let all = source.iter().map(|(path, _)| path).filter(|path| !path.is_root());
        let expected: Vec<RelPath> = all.filter(is_wanted).collect();
        let mut wanted = Vec::new();
        for found in &selection.matches {
            let walked: Result<(), Error> = found.walk(&source, |selected| {
                wanted.extend((selected.role == Role::Wanted).then(|| selected.path()));
                Ok(())
            });
            walked.unwrap();
        }
        prop_assert_eq!(wanted, expected);
    }

    #[test]
    fn a_selection_is_a_part_of_the_tree(source in arbitrary_tree(), pattern in "[abc*?/.]{0,6}", parents: bool) {
        if let Ok(selection) = select(&source, &pattern, SelectOptions { parents, excludes: &[] }) {
            for path in selection.paths(&source) {
                prop_assert!(source.get(&path).is_some(), "{path}");
            }
        }
    }
}
