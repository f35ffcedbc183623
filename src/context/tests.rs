use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use tempfile::TempDir;

use super::*;
use crate::pattern::Ignore;
use crate::place::{Entries, SelectOptions, select};
use crate::tree::{Kind, Tree};

/// A directory with `files`, each with its own path as content, all last changed long ago.
fn directory(files: &[&str]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for file in files {
        write(directory.path(), file, file);
    }
    directory
}

fn write(directory: &Path, file: &str, content: &str) {
    let path = directory.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, content).unwrap();
    // Whatever the umask is here.
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    for parent in path.ancestors().skip(1).take(Path::new(file).components().count()) {
        fs::set_permissions(parent, Permissions::from_mode(0o755)).unwrap();
    }
    set_mtime(&path, 1_000_000);
}

fn set_mtime(path: &Path, seconds: u64) {
    let file = std::fs::File::open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
}

fn open(directory: &Path, ignore: &str) -> Directory {
    Directory::open(directory, Some(Ignore::parse(ignore).unwrap()), None).unwrap()
}

fn listed(context: &Directory) -> String {
    let selection = select(context, ".", SelectOptions::default()).unwrap();
    let paths = selection.paths(context);
    paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn everything(context: &Directory) -> Tree {
    let selection = select(context, ".", SelectOptions::default()).unwrap();
    context.tree(&selection).unwrap()
}

#[test]
fn statement_107_entries_belong_to_root_and_keep_modes() {
    let directory = directory(&["file", "sub/script"]);
    let path = |name| directory.path().join(name);
    fs::set_permissions(path("sub/script"), Permissions::from_mode(0o4750)).unwrap();
    fs::set_permissions(path("sub"), Permissions::from_mode(0o1711)).unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
    symlink("sub/../file", path("link")).unwrap();
    set_mtime(&path("sub"), 2_000_000);
    // Being root or not, a foreign owner must not show.
    if std::os::unix::fs::chown(path("file"), Some(1234), Some(1234)).is_err() {
        eprintln!("not root: foreign owners are not tested");
    }
    insta::assert_snapshot!(everything(&open(directory.path(), "")), @r"
    / dir 0700 0:0
    file file 0644 0:0 4 sha256:3b9c358f36f0
    link symlink 0777 0:0 -> sub/../file
    sub/ dir 1711 0:0
    sub/script file 4750 0:0 10 sha256:b5dc4d38dc9c
    ");
    let tree = everything(&open(directory.path(), ""));
    assert_eq!(tree.get(&RelPath::clean("sub")).unwrap().meta.mtime.0, 2_000_000);
}

#[test]
fn special_files_are_listed_and_sockets_are_not() {
    let directory = directory(&["file"]);
    let _socket = UnixListener::bind(directory.path().join("socket")).unwrap();
    let fifo = rustix::fs::mknodat(
        rustix::fs::CWD,
        directory.path().join("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o640),
        0,
    );
    fifo.unwrap();
    let context = open(directory.path(), "");
    assert_eq!(listed(&context), "fifo file");
    assert_eq!(everything(&context).get(&RelPath::clean("fifo")).unwrap().kind, Kind::Fifo);
}

#[test]
fn hard_links_are_grouped() {
    let directory = directory(&["a", "b", "c"]);
    fs::hard_link(directory.path().join("a"), directory.path().join("z")).unwrap();
    let tree = everything(&open(directory.path(), ""));
    let link = |name: &str| match tree.get(&RelPath::clean(name)).unwrap().kind {
        Kind::File { link, .. } => link,
        _ => panic!("{name} is a file"),
    };
    assert!(link("a").is_some() && link("a") == link("z"));
    assert_eq!(link("b"), None);
}

#[test]
fn statements_234_to_241_what_the_ignore_file_leaves() {
    let files = ["a.txt", "dir/b.txt", "dir/sub/c.txt", "dir/sub/d.md", "empty/.keep", "node_modules/x/y.js"];
    let directory = directory(&files);
    fs::remove_file(directory.path().join("empty/.keep")).unwrap();
    for (ignore, expected) in [
        (
            "",
            "a.txt dir dir/b.txt dir/sub dir/sub/c.txt dir/sub/d.md empty node_modules node_modules/x node_modules/x/y.js",
        ),
        ("node_modules\ndir", "a.txt empty"),
        ("*", ""),
        ("*\n!dir/sub/*.txt", "dir dir/sub dir/sub/c.txt"),
        ("dir\n!dir/sub\nnode_modules", "a.txt dir dir/sub dir/sub/c.txt dir/sub/d.md empty"),
        ("dir\n!**/*.md\nnode_modules", "a.txt dir dir/sub dir/sub/d.md empty"),
        ("**\n!dir/none", ""),
        ("**/*.txt\nempty\nnode_modules/**", "dir dir/sub dir/sub/d.md node_modules"),
    ] {
        assert_eq!(listed(&open(directory.path(), ignore)), expected, "{ignore:?}");
    }
}

#[test]
fn statement_241_a_directory_kept_for_a_child_keeps_its_own_mode() {
    let directory = directory(&["dir/kept", "dir/gone"]);
    fs::set_permissions(directory.path().join("dir"), Permissions::from_mode(0o711)).unwrap();
    let context = open(directory.path(), "dir\n!dir/kept");
    let tree = everything(&context);
    assert_eq!(tree.get(&RelPath::clean("dir")).unwrap().meta.mode, 0o711);
    assert!(tree.get(&RelPath::clean("dir/gone")).is_none());
}

#[test]
fn the_rule_that_excludes_a_path_is_known() {
    let directory = directory(&["secret/x", "a"]);
    let context = open(directory.path(), "secret\n!other");
    assert_eq!(listed(&context), "a");
    let rule = context.excluded_by(&RelPath::clean("secret/x")).unwrap();
    assert_eq!((rule.line, rule.text.as_str()), (1, "secret"));
    assert!(context.excluded_by(&RelPath::clean("a")).is_none());
    assert!(context.excluded_by(&RelPath::clean("other")).is_none());
}

/// What a pattern selects, one entry a line.
fn stream(entries: &dyn Entries, selection: &crate::place::Selection) -> String {
    let mut text = String::new();
    for found in &selection.matches {
        text += &format!("{} = {} {:?}\n", found.path, found.real, entries.entry(&found.real).unwrap());
        let visit = &mut |selected: &crate::place::Selected<'_, &crate::tree::Entry>| {
            let mut entry = selected.item.clone();
            if let Kind::File { link: Some(group), .. } = &mut entry.kind {
                group.0 = 0;
            }
            text += &format!("  {} {:?} {entry:?}\n", selected.path(), selected.role);
            Ok(())
        };
        entries.below(found, visit).unwrap();
    }
    text
}

#[test]
fn a_selection_of_a_context_is_that_of_its_tree() {
    let names = ["a/b/c/d.txt", "a/b/e.md", "a/b.txt", "a-b/f.txt", "a.b/g", "z", "node/x/y.txt", "node/z"];
    let directory = directory(&names);
    let path = |name| directory.path().join(name);
    symlink("b/c", path("a/to-c")).unwrap();
    symlink("../../a", path("node/x/to-a")).unwrap();
    symlink("a/b", path("m-link")).unwrap();
    fs::hard_link(path("z"), path("a/z")).unwrap();
    fs::create_dir(path("node/empty")).unwrap();
    for ignore in ["", "node\n!node/x\nnode/x/y.txt", "a/b\n!a/b/**/d*", "*\n!a/to-c\n!node/none"] {
        let context = open(directory.path(), ignore);
        let tree = everything(&context);
        for (pattern, parents, excludes) in [
            ("/", false, &[][..]),
            ("/", false, &["**/*.txt", "!**/d.txt"]),
            ("/", false, &["a", "!a/b/c"]),
            ("a/./b", true, &[]),
            ("**/*.txt", true, &[]),
            ("a/*/c*", true, &["**/d.txt"]),
            ("*", false, &[]),
            ("a/to-c", false, &[]),
            ("m-link/c", false, &[]),
            ("[az]*", false, &["b"]),
        ] {
            let excludes: Vec<String> = excludes.iter().map(|text| (*text).to_owned()).collect();
            let options = SelectOptions { parents, excludes: &excludes };
            let both = (select(&context, pattern, options), select(&tree, pattern, options));
            match both {
                (Ok(ours), Ok(theirs)) => {
                    context.digest(&ours).unwrap();
                    assert_eq!(stream(&context, &ours), stream(&tree, &theirs), "{ignore:?} {pattern}");
                }
                (Err(ours), Err(theirs)) => assert_eq!(ours.to_string(), theirs.to_string(), "{pattern}"),
                (ours, theirs) => panic!("{ignore:?} {pattern}: {ours:?} {theirs:?}"),
            }
        }
    }
}

#[test]
fn only_what_is_asked_for_is_read() {
    let directory = directory(&["wanted/a", "unwanted/b"]);
    // A file whose size lies cannot be read: it stands for one that must not be touched.
    let context = open(directory.path(), "");
    write(directory.path(), "unwanted/b", "longer than it was listed");
    let selected = |pattern| select(&context, pattern, SelectOptions::default()).unwrap();
    insta::assert_snapshot!(context.tree(&selected("wanted")).unwrap(), @r"
    / dir 0755 0:0
    wanted/ dir 0755 0:0
    wanted/a file 0644 0:0 8 sha256:e240e464cbf6
    ");
    let error = context.tree(&selected("unwanted")).unwrap_err();
    assert!(matches!(&error, Error::Changed { path } if path.to_string() == "unwanted/b"), "{error}");
}

#[test]
fn a_missing_context_is_an_error_with_its_path() {
    let error = Directory::open("/nonexistent/context", None, None).unwrap_err();
    assert_eq!(error.to_string(), "cannot open the build context `/nonexistent/context`");
}

/// Opens `directory` with a stat cache, reads everything, and writes the cache.
fn digest_of(directory: &Path, cache: &Path, name: &str) -> String {
    let context = Directory::open(directory, None, Some(cache.to_owned())).unwrap();
    let tree = everything(&context);
    context.remember().unwrap();
    match &tree.get(&RelPath::clean(name)).unwrap().kind {
        Kind::File { digest, .. } => digest.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Waits until the file system's clock has gone on far enough for `path` to lie in the past.
fn let_time_pass() {
    std::thread::sleep(Duration::from_millis(40));
}

#[test]
fn the_stat_cache_answers_for_unchanged_files_only() {
    let directory = directory(&["a", "b"]);
    let store = TempDir::new().unwrap();
    let cache = store.path().join("deep/cache");
    let_time_pass();
    let first = digest_of(directory.path(), &cache, "a");
    let written = fs::metadata(&cache).unwrap().ino();
    // That the cache answers shows in a digest that the file does not have.
    let forged = {
        let mut forged = fs::read(&cache).unwrap();
        let digest: crate::digest::Digest = first.parse().unwrap();
        let at = forged.windows(32).position(|window| window == digest.as_bytes()).unwrap();
        forged[at..at + 32].fill(7);
        let begin = forged.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let magic = crate::digest::Digest::of(&forged[..begin]);
        let seal = stat_cache::seal_of(&magic, &forged[begin + 36..]);
        forged[begin + 4..begin + 36].copy_from_slice(seal.as_bytes());
        forged
    };
    fs::write(&cache, &forged).unwrap();
    assert_eq!(digest_of(directory.path(), &cache, "a"), format!("sha256:{}", "07".repeat(32)));
    assert_eq!(fs::metadata(&cache).unwrap().ino(), written, "nothing new, so nothing is written");
    // The same size and the same mtime, but another inode change time.
    write(directory.path(), "a", "A");
    assert_ne!(digest_of(directory.path(), &cache, "a"), format!("sha256:{}", "07".repeat(32)));
    // A damaged cache is an empty one.
    for damage in [&b""[..], b"nonsense", &forged[..forged.len() - 1], &[&forged[..], b"x"].concat()] {
        fs::write(&cache, damage).unwrap();
        write(directory.path(), "a", "a");
        assert_eq!(digest_of(directory.path(), &cache, "a"), first);
    }
}

#[test]
fn a_file_written_just_now_is_not_remembered() {
    let directory = directory(&["old"]);
    let store = TempDir::new().unwrap();
    let cache = store.path().join("cache");
    let_time_pass();
    write(directory.path(), "new", "1");
    let first = digest_of(directory.path(), &cache, "new");
    // Whether or not the clock ticked in between: the content counts.
    write(directory.path(), "new", "2");
    assert_ne!(digest_of(directory.path(), &cache, "new"), first);
    assert_eq!(remembered(&cache), ["old"]);
}

/// Returns the paths of which a cache knows something.
fn remembered(cache: &Path) -> Vec<String> {
    let mut paths = Vec::new();
    let Some(mut reader) = stat_cache::Reader::open(cache) else { return paths };
    while reader.next().is_some() {
        paths.push(String::from_utf8_lossy(reader.path()).into_owned());
    }
    assert!(reader.next().is_none(), "the end is the end");
    paths
}

/// Where the chunks of a cache begin, and its end.
fn chunks(bytes: &[u8]) -> Vec<usize> {
    let mut starts = vec![bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1];
    while let Some(head) = bytes.get(starts[starts.len() - 1]..).and_then(|rest| rest.first_chunk::<4>()) {
        starts.push(starts[starts.len() - 1] + 36 + u32::from_le_bytes(*head) as usize);
    }
    starts
}

/// A cache of so many files that it has several chunks, and their paths.
fn large_cache(file: &Path) -> Vec<String> {
    let mut writer = stat_cache::Writer::new(file).unwrap();
    let mut paths = Vec::new();
    for number in 0..5000_u64 {
        let path = format!("{:02}/a-file-{number:04}", number / 1000);
        let time = listing::FileTime { seconds: number as i64 - 7, nanoseconds: 5 };
        let identity =
            listing::Identity { size: number, mtime: time, ctime: time, inode: 7, device: number / 2000 };
        let capability = (number % 1000 == 3).then(|| [1, 2, 3].into());
        let digest = crate::digest::Digest::of(&path);
        let content = content::Content { digest, capability, lasting: true };
        writer.push(path.as_bytes(), &identity, &content).unwrap();
        paths.push(path);
    }
    writer.save(file).unwrap();
    paths
}

#[test]
fn a_stat_cache_returns_what_was_put_into_it() {
    let store = TempDir::new().unwrap();
    let cache = store.path().join("cache");
    let paths = large_cache(&cache);
    assert_eq!(remembered(&cache), paths);
    let mut reader = stat_cache::Reader::open(&cache).unwrap();
    for number in 0..5000_u64 {
        let (identity, content) = reader.next().unwrap();
        assert_eq!((identity.size, identity.device, identity.inode), (number, number / 2000, 7));
        assert_eq!((identity.mtime.seconds, identity.ctime.nanoseconds), (number as i64 - 7, 5));
        assert_eq!(content.digest, crate::digest::Digest::of(&paths[number as usize]));
        assert_eq!(content.capability.is_some(), number % 1000 == 3);
    }
}

#[test]
fn neither_a_damaged_chunk_of_a_stat_cache_is_trusted_nor_what_is_behind_it() {
    let store = TempDir::new().unwrap();
    let cache = store.path().join("cache");
    let paths = large_cache(&cache);
    let whole = fs::read(&cache).unwrap();
    let starts = chunks(&whole);
    assert!(starts.len() > 3 && starts[starts.len() - 1] == whole.len(), "{starts:?}");
    // Those of the first chunk.
    fs::write(&cache, &whole[..starts[1]]).unwrap();
    let first = remembered(&cache).len();
    assert!(0 < first && first < paths.len());
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let second = starts[1];
    for (what, bytes, expected) in [
        ("a torn head", whole[..second + 20].to_vec(), first),
        ("a torn chunk", whole[..starts[2] - 1].to_vec(), first),
        ("a wrong length", flipped(second), first),
        ("a length beyond all measure", flipped(second + 3), first),
        ("a wrong seal", flipped(second + 10), first),
        ("a wrong record", flipped(second + 40), first),
        ("a wrong last byte of a chunk", flipped(starts[2] - 1), first),
        ("a chunk that is gone", [&whole[..second], &whole[starts[2]..]].concat(), first),
        ("something behind the end", [&whole[..], b"x"].concat(), paths.len()),
        ("another version", flipped(starts[0] - 2), 0),
        ("a torn first line", whole[..5].to_vec(), 0),
        ("nothing", Vec::new(), 0),
    ] {
        fs::write(&cache, bytes).unwrap();
        assert_eq!(remembered(&cache), paths[..expected], "{what}");
    }
}

#[test]
fn stat_data_prove_a_content_only_of_a_file_that_is_old_and_unchanged() {
    let directory = directory(&["old", "changed", "swapped"]);
    let store = TempDir::new().unwrap();
    let_time_pass();
    let context = Directory::open(directory.path(), None, Some(store.path().join("cache"))).unwrap();
    let stat = |name: &str| rustix::fs::stat(directory.path().join(name)).unwrap();
    let is_as_hashed = |name: &str| context.is_as_hashed(&RelPath::clean(name), &stat(name));
    assert!(!is_as_hashed("old"), "nothing was hashed yet");
    everything(&context);
    write(directory.path(), "changed", "CHANGED");
    write(directory.path(), "other", "SWAPPED");
    fs::rename(directory.path().join("other"), directory.path().join("swapped")).unwrap();
    write(directory.path(), "later", "later");
    let found = ["old", "changed", "swapped", "later", "."].map(is_as_hashed);
    assert_eq!(found, [true, false, false, false, false]);
}

#[test]
fn capabilities_are_read_and_remembered() {
    let directory = directory(&["ping"]);
    let value = [1_u8, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let path = directory.path().join("ping");
    if let Err(errno) =
        rustix::fs::setxattr(&path, "security.capability", &value, rustix::fs::XattrFlags::empty())
    {
        eprintln!("cannot set capabilities here ({errno}): not tested");
        return;
    }
    let_time_pass();
    let store = TempDir::new().unwrap();
    for _ in ["read", "remembered"] {
        let context = Directory::open(directory.path(), None, Some(store.path().join("cache"))).unwrap();
        let tree = everything(&context);
        context.remember().unwrap();
        let xattrs = tree.get(&RelPath::clean("ping")).unwrap().meta.xattrs.clone().unwrap();
        assert_eq!(xattrs.get(&b"security.capability"[..]).unwrap().len(), 20);
    }
}

#[test]
fn statements_232_and_244_files_that_are_looked_for() {
    let directory =
        directory(&["dockerfile", "other/Dockerfile", ".dockerignore", "other/Dockerfile.dockerignore"]);
    let path = |name| directory.path().join(name);
    for (asked, found) in [
        ("Dockerfile", "dockerfile"),
        ("other/Dockerfile", "other/Dockerfile"),
        ("Missing", "Missing"),
        ("none/Dockerfile", "none/Dockerfile"),
    ] {
        assert_eq!(find_dockerfile(&path(asked)), path(found), "{asked}");
    }
    for (dockerfile, found) in [
        (Some("dockerfile"), Some(".dockerignore")),
        (Some("other/Dockerfile"), Some("other/Dockerfile.dockerignore")),
        (None, Some(".dockerignore")),
    ] {
        let dockerfile = dockerfile.map(path);
        let ignore = find_ignore_file(dockerfile.as_deref(), directory.path()).unwrap();
        assert_eq!(ignore.map(|file| file.path), found.map(path), "{dockerfile:?}");
    }
    assert_eq!(find_ignore_file(None, &path("other")).unwrap(), None);
}
