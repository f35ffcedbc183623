use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fs_err as fs;
use tempfile::TempDir;

use super::*;
use crate::pattern::Ignore;
use crate::place::{SelectOptions, View as _, select};
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
    selection.paths().map(|path| path.to_string()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

fn everything(context: &Directory) -> Tree {
    let selection = select(context, ".", SelectOptions::default()).unwrap();
    let paths: Vec<_> = selection.paths().collect();
    context.tree(&paths).unwrap()
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

#[test]
fn only_what_is_asked_for_is_read() {
    let directory = directory(&["wanted/a", "unwanted/b"]);
    // A file whose size lies cannot be read: it stands for one that must not be touched.
    let context = open(directory.path(), "");
    write(directory.path(), "unwanted/b", "longer than it was listed");
    let selected = |pattern| select(&context, pattern, SelectOptions::default()).unwrap();
    let wanted: Vec<_> = selected("wanted").paths().collect();
    insta::assert_snapshot!(context.tree(&wanted).unwrap(), @r"
    / dir 0755 0:0
    wanted/ dir 0755 0:0
    wanted/a file 0644 0:0 8 sha256:e240e464cbf6
    ");
    let unwanted: Vec<_> = selected("unwanted").paths().collect();
    let error = context.tree(&unwanted).unwrap_err();
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
        let bytes = fs::read(&cache).unwrap();
        let digest: crate::digest::Digest = first.parse().unwrap();
        let at = bytes.windows(32).position(|window| window == digest.as_bytes()).unwrap();
        let mut forged = bytes[..bytes.len() - 32].to_vec();
        forged[at..at + 32].fill(7);
        let seal = crate::digest::Digest::of(&forged);
        forged.extend_from_slice(seal.as_bytes());
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
    let remembered = stat_cache::StatCache::load(&cache);
    let context = Directory::open(directory.path(), None, None).unwrap();
    let mut lookup = remembered.lookup();
    let identity = |name: &str| {
        let metadata = fs::metadata(directory.path().join(name)).unwrap();
        listing::Identity {
            size: metadata.size(),
            mtime: listing::FileTime { seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() as u32 },
            ctime: listing::FileTime { seconds: metadata.ctime(), nanoseconds: metadata.ctime_nsec() as u32 },
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    };
    assert!(context.node(&RelPath::clean("new")).is_some());
    assert!(lookup.get(&RelPath::clean("old"), &identity("old")).is_some());
    assert!(lookup.get(&RelPath::clean("new"), &identity("new")).is_none());
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
