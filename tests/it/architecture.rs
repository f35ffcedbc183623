//! The rooms of `src/lib.rs` and what each may use: the picture there is held to be true.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What everybody may use.
const GROUND: &str = "diagnostic digest disk event mode open path secret time ulimit";
/// The nouns: names and documents of images, and the image.
const NOUNS: &str = "image oci reference";

/// What a room may use beside itself. Tests within the rooms are held to the same table.
const ROOMS: &[(&str, &[&str])] = &[
    ("digest", &[]),
    ("diagnostic", &[]),
    ("mode", &[]),
    ("time", &[]),
    ("path", &[]),
    ("event", &["diagnostic"]),
    ("secret", &[]),
    ("open", &[]),
    ("disk", &[]),
    ("ulimit", &[]),
    ("address", &[GROUND]),
    ("reference", &[GROUND]),
    ("oci", &[GROUND]),
    ("image", &[GROUND, "oci reference"]),
    ("dockerfile", &["diagnostic"]),
    ("pattern", &["path"]),
    ("tree", &[GROUND]),
    ("graph", &[GROUND, NOUNS, "address"]),
    ("lower", &[GROUND, NOUNS, "address dockerfile graph"]),
    ("checkup", &[GROUND, NOUNS, "dockerfile graph lower pattern"]),
    ("deploy", &[GROUND, NOUNS]),
    ("store", &[GROUND, NOUNS, "graph"]),
    ("place", &[GROUND, "pattern tree"]),
    ("context", &[GROUND, "pattern place store tree"]),
    ("remote", &[GROUND, "address cache context graph image place store tree"]),
    ("layer", &[GROUND, "tree"]),
    ("rootfs", &[GROUND, "layer tree"]),
    ("sandbox", &[GROUND, "rootfs tree"]),
    ("cache", &[GROUND, NOUNS]),
    ("solve", &[GROUND, NOUNS, "cache context graph layer pattern place rootfs sandbox store tree"]),
    ("assemble", &[GROUND, NOUNS, "store"]),
    ("archive", &[GROUND, NOUNS, "assemble store"]),
    ("registry", &[GROUND, NOUNS, "address assemble store"]),
    // The phases in order: it alone knows all rooms.
    (
        "builder",
        &[
            GROUND,
            NOUNS,
            "address archive assemble cache checkup context dockerfile graph layer lower pattern place registry remote rootfs sandbox solve store tree",
        ],
    ),
];

/// Rooms of pure decisions: they open no file and no socket, start no process and read no clock.
const PURE: &str = "address assemble/history cache checkup deploy diagnostic digest dockerfile event graph image lower mode oci path pattern place reference secret time tree ulimit";
const EFFECTS: [&str; 13] = [
    "crate::disk",
    "crate::open",
    "fs_err",
    "std::fs",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "std::process",
    "std::env::var",
    "rustix::",
    "libc::",
    "SystemTime",
    "Instant::now",
];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(directory).sort_by_file_name().into_iter().map(Result::unwrap);
    let paths = entries.map(walkdir::DirEntry::into_path);
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Calls `check` with every file of the library: its room, its path below `src`, its text without comments.
fn each_source(mut check: impl FnMut(&str, &str, &str)) {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&src) {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
        let room = name.split(['/', '.']).next().unwrap();
        if !["main", "cli", "lib"].contains(&room) {
            let text = std::fs::read_to_string(&path).unwrap();
            let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            check(room, name, &code.join("\n"));
        }
    }
}

/// Returns the rooms that a text names: `crate::room` and `crate::{room, room::x}`.
fn used(code: &str) -> BTreeSet<&str> {
    let word = |text: &'_ str| {
        text.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).unwrap_or(text.len())
    };
    let mut rooms = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            None => rooms.extend([&rest[..word(rest)]]),
            Some(list) => {
                let list = &list[..list.find('}').unwrap_or(list.len())];
                rooms.extend(list.split(',').map(str::trim).map(|name| &name[..word(name)]));
            }
        }
    }
    rooms
}

#[test]
fn rooms_use_only_what_the_table_allows() {
    let table: BTreeMap<&str, BTreeSet<&str>> = ROOMS
        .iter()
        .map(|(room, lists)| (*room, lists.iter().flat_map(|list| list.split(' ')).collect()))
        .collect();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    each_source(|room, name, code| {
        let allowed = table.get(room).unwrap_or_else(|| panic!("the room `{room}` is not in the table"));
        seen.insert(room.to_owned());
        let other = used(code).into_iter().filter(|other| *other != room && table.contains_key(other));
        wrong.extend(
            other.filter(|other| !allowed.contains(other)).map(|other| format!("{name} uses `{other}`")),
        );
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let empty: Vec<_> = table.keys().filter(|room| !seen.contains(**room)).collect();
    assert!(empty.is_empty(), "rooms that are not there: {empty:?}");
}

#[test]
fn pure_rooms_touch_nothing() {
    let pure: Vec<&str> = PURE.split(' ').collect();
    let mut wrong = Vec::new();
    each_source(|_, name, code| {
        let is_test = name.contains("tests") || name.contains("testing");
        if is_test
            || !pure
                .iter()
                .any(|room| name.strip_prefix(room).is_some_and(|rest| rest.starts_with(['/', '.'])))
        {
            return;
        }
        let code = code.split("#[cfg(test)]").next().unwrap();
        wrong.extend(
            EFFECTS.iter().filter(|effect| code.contains(**effect)).map(|effect| format!("{name}: {effect}")),
        );
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_system_calls_and_instructions_are_unsafe() {
    let mut found = Vec::new();
    each_source(|_, name, code| {
        if code.contains("unsafe ") {
            found.push(name.to_owned());
        }
    });
    assert_eq!(found, ["digest/pair.rs", "sandbox/sys.rs"]);
}

#[test]
fn only_the_http_clients_are_asynchronous() {
    let clients = ["registry/transport/http.rs", "remote/client.rs"];
    let mut found = Vec::new();
    each_source(|_, name, code| {
        if ["tokio::", "async ", ".await"].iter().any(|sign| code.contains(sign)) {
            found.push(name.to_owned());
        }
    });
    assert_eq!(found, clients);
}

/// `lib.rs` shows the same rooms to readers.
#[test]
fn every_room_is_in_the_crates_documentation() {
    let lib = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let missing: Vec<_> = ROOMS.iter().filter(|(room, _)| !lib.contains(&format!("[`{room}`]"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
