//! An image as a listing, read without kiln's own code: the layers of an archive laid on one another.
//!
//! In: an OCI layout, as a tar or a directory, with one image. Out: its documents, and its tree after any number
//! of layers. Whiteouts are applied here, by the rules of the image specification's `layer.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;
use std::rc::Rc;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// An image: its documents and its layers.
pub(crate) struct Image {
    /// The digest of the manifest.
    pub(crate) digest: String,
    /// The manifest.
    pub(crate) manifest: Value,
    /// The config.
    pub(crate) config: Value,
    /// The layers as tars, base first.
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Image {
    /// Reads the only image of a layout.
    pub(crate) fn read(path: &Path) -> Self {
        let files =
            if path.is_dir() { directory_files(path) } else { tar_files(&std::fs::read(path).unwrap()) };
        Self::from_files(&files)
    }

    /// Reads the only image of a layout that is a tar in memory.
    pub(crate) fn from_tar(bytes: &[u8]) -> Self {
        Self::from_files(&tar_files(bytes))
    }

    fn from_files(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let json = |name: &str| -> Value { serde_json::from_slice(&files[name]).unwrap() };
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().to_owned();
            (format!("blobs/sha256/{}", digest.strip_prefix("sha256:").unwrap()), digest)
        };
        let index = json("index.json");
        let manifests = index["manifests"].as_array().unwrap();
        let digests: BTreeSet<_> = manifests.iter().map(|one| one["digest"].as_str()).collect();
        assert_eq!(digests.len(), 1, "one image: {index}");
        let (name, digest) = blob(&manifests[0]);
        let manifest = json(&name);
        let config = json(&blob(&manifest["config"]).0);
        let layers = manifest["layers"].as_array().unwrap();
        let layers = layers.iter().map(|layer| {
            let bytes = &files[&blob(layer).0];
            let mut tar = Vec::new();
            match layer["mediaType"].as_str().unwrap() {
                zstd if zstd.ends_with("zstd") => tar = zstd::decode_all(&bytes[..]).unwrap(),
                gzip if gzip.ends_with("gzip") => {
                    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut tar).unwrap();
                }
                _ => tar.clone_from(bytes),
            }
            tar
        });
        Self { digest, config, layers: layers.collect(), manifest }
    }

    /// Prints the members of every layer as they are in its tar, with their times.
    pub(crate) fn members(&self) -> String {
        let mut text = String::new();
        for (number, layer) in self.layers.iter().enumerate() {
            for entry in tar::Archive::new(&layer[..]).entries().unwrap() {
                let mut entry = entry.unwrap();
                let path = entry.path_bytes().into_owned();
                let link = entry.link_name_bytes().map(|link| shown(&link)).unwrap_or_default();
                let node = node(&mut entry);
                writeln!(text, "{number} {} {} {link}", node.mtime, line(&path, &node)).unwrap();
            }
        }
        text
    }

    /// Returns the whole tree.
    pub(crate) fn tree(&self) -> Tree {
        self.tree_of(self.layers.len())
    }

    /// Returns the tree of the first `count` layers.
    pub(crate) fn tree_of(&self, count: usize) -> Tree {
        let mut tree = Tree::default();
        for layer in &self.layers[..count] {
            tree.apply(layer);
        }
        tree
    }
}

fn directory_files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = walkdir::WalkDir::new(path).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    let named = files.map(|entry| {
        let name = entry.path().strip_prefix(path).unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(entry.path()).unwrap())
    });
    named.collect()
}

fn tar_files(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), content)
    };
    archive.entries().unwrap().map(read).collect()
}

/// Up to how many bytes a content is shown.
const SHORT: usize = 300;

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// As `ls` shows it: `-`, `d`, `l`, `p`, `c` or `b`.
    pub(crate) kind: char,
    /// Permissions with setuid, setgid and sticky bit.
    pub(crate) mode: u32,
    /// User and group.
    pub(crate) owner: (u64, u64),
    /// Seconds since the epoch.
    pub(crate) mtime: u64,
    /// The content of a file.
    pub(crate) size: u64,
    /// The content's sha256.
    pub(crate) digest: String,
    /// The content, if it is text and short.
    pub(crate) text: String,
    /// Where a symbolic link leads, or the numbers of a device.
    pub(crate) target: String,
    /// Extended attributes, with their bytes in hex.
    pub(crate) xattrs: BTreeMap<String, String>,
}

/// Paths and what is there; further names of a file share its node.
#[derive(Debug, Default)]
pub(crate) struct Tree(pub(crate) BTreeMap<Vec<u8>, Rc<Node>>);

impl Tree {
    /// Lays a layer on the tree: what it hides first, then what it holds.
    fn apply(&mut self, layer: &[u8]) {
        let mut added = Vec::new();
        let mut archive = tar::Archive::new(layer);
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path_bytes().into_owned();
            let path = path.strip_suffix(b"/").unwrap_or(&path).to_vec();
            let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
            let (parent, name) = (path[..start].to_vec(), &path[start..]);
            if name == b".wh..wh..opq" {
                self.0.retain(|path, _| !path.starts_with(&parent));
            } else if let Some(hidden) = name.strip_prefix(b".wh.") {
                self.remove(&[&parent, hidden].concat());
            } else {
                let hard_link = entry.header().entry_type().is_hard_link();
                let target = hard_link.then(|| entry.link_name_bytes().unwrap().into_owned());
                added.push((path, target, node(&mut entry)));
            }
        }
        for (path, target, node) in added {
            if node.kind != 'd' {
                self.remove(&path);
            }
            let node = target.map_or_else(|| Rc::new(node), |target| Rc::clone(&self.0[&target]));
            self.0.insert(path, node);
        }
    }

    fn remove(&mut self, path: &[u8]) {
        let below = [path, b"/"].concat();
        self.0.retain(|other, _| other != path && !other.starts_with(&below));
    }

    /// Prints what differs from `base`, a path per line; what is no longer there is marked with `gone`.
    ///
    /// A further name of a file is printed as `= first name`, also if the first one is the base's.
    pub(crate) fn since(&self, base: &Self) -> String {
        let mut text = String::new();
        let paths: BTreeSet<&Vec<u8>> = self.0.keys().chain(base.0.keys()).collect();
        let mut first_names: Vec<(&Rc<Node>, &Vec<u8>)> = Vec::new();
        for path in paths {
            let Some(node) = self.0.get(path) else {
                // Of what is gone as a whole, the top says it.
                if !parents(path).any(|parent| base.0.contains_key(parent) && !self.0.contains_key(parent)) {
                    writeln!(text, "gone {}", shown(path)).unwrap();
                }
                continue;
            };
            let first =
                first_names.iter().find(|(other, _)| Rc::ptr_eq(other, node)).map(|(_, first)| *first);
            if first.is_none() && Rc::strong_count(node) > 1 {
                first_names.push((node, path));
            }
            if base.0.get(path).is_some_and(|old| old == node) {
                continue;
            }
            match first {
                Some(first) => writeln!(text, "{} = {}", shown(path), shown(first)).unwrap(),
                None => writeln!(text, "{}", line(path, node)).unwrap(),
            }
        }
        text
    }
}

fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(move |(at, _)| &path[..at])
}

fn line(path: &[u8], node: &Node) -> String {
    let Node { kind, mode, owner: (uid, gid), size, .. } = node;
    let mut text = format!("{kind}{mode:04o} {uid}:{gid}");
    if *kind == '-' {
        write!(text, " {size} {}", &node.digest[..12]).unwrap();
    }
    write!(text, " {}", shown(path)).unwrap();
    if !node.target.is_empty() {
        write!(text, " -> {}", node.target).unwrap();
    }
    for (name, value) in &node.xattrs {
        write!(text, " {name}=0x{value}").unwrap();
    }
    if !node.text.is_empty() {
        write!(text, " {:?}", node.text).unwrap();
    }
    text
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn node<R: std::io::Read>(entry: &mut tar::Entry<'_, R>) -> Node {
    let mut xattrs = BTreeMap::new();
    for extension in entry.pax_extensions().unwrap().into_iter().flatten() {
        let extension = extension.unwrap();
        if let Some(name) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") {
            let value: String = extension.value_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            xattrs.insert(shown(name), value);
        }
    }
    let header = entry.header().clone();
    let kind = match header.entry_type() {
        tar::EntryType::Directory => 'd',
        tar::EntryType::Symlink => 'l',
        tar::EntryType::Fifo => 'p',
        tar::EntryType::Char => 'c',
        tar::EntryType::Block => 'b',
        _ => '-',
    };
    let target = match kind {
        'l' => shown(&entry.link_name_bytes().unwrap()),
        'c' | 'b' => {
            format!("{}:{}", header.device_major().unwrap().unwrap(), header.device_minor().unwrap().unwrap())
        }
        _ => String::new(),
    };
    let mut content = Vec::new();
    entry.read_to_end(&mut content).unwrap();
    let digest: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    let size = content.len() as u64;
    Node {
        kind,
        mode: header.mode().unwrap() & 0o7777,
        owner: (header.uid().unwrap(), header.gid().unwrap()),
        mtime: header.mtime().unwrap(),
        size,
        digest,
        text: if content.len() <= SHORT {
            String::from_utf8(content).unwrap_or_default()
        } else {
            String::new()
        },
        target,
        xattrs,
    }
}
