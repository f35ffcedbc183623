//! A second opinion on images: every digest, size and count recomputed from the bytes, without kiln's own
//! code.
//!
//! In: an OCI layout, as a directory or a tar (also one that is a docker archive). Out: what is wrong with
//! it, one sentence each; nothing if it is sound.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Returns what is wrong with every image of a layout.
pub(crate) fn layout(path: &Path) -> Vec<String> {
    let mut problems = Vec::new();
    let files = if path.is_dir() { read_directory(path) } else { read_tar(path, &mut problems) };
    let mut check = Check { files, problems, reached: BTreeSet::new() };
    check.layout();
    check.problems
}

/// Panics with everything that is wrong.
#[track_caller]
pub(crate) fn assert_sound(path: &Path) {
    let problems = layout(path);
    assert!(problems.is_empty(), "{} is not sound:\n{}", path.display(), problems.join("\n"));
}

type Files = BTreeMap<String, Vec<u8>>;

fn read_directory(path: &Path) -> Files {
    walkdir::WalkDir::new(path)
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let name = entry.path().strip_prefix(path).unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn read_tar(path: &Path, problems: &mut Vec<String>) -> Files {
    let mut files = Files::new();
    let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let header = entry.header();
        if (header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()) != (0, 0, 0) {
            problems.push(format!("the archive's `{name}` has a time or an owner"));
        }
        if !header.entry_type().is_file() {
            continue;
        }
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if files.insert(name.clone(), content).is_some() {
            problems.push(format!("the archive has `{name}` twice"));
        }
    }
    files
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

struct Check {
    files: Files,
    problems: Vec<String>,
    reached: BTreeSet<String>,
}

impl Check {
    fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    fn layout(&mut self) {
        for (name, expected) in
            [("oci-layout", "/imageLayoutVersion=1.0.0"), ("index.json", "/schemaVersion=2")]
        {
            let (pointer, value) = expected.split_once('=').unwrap();
            match self.json(name).and_then(|json| json.pointer(pointer).map(text_of)) {
                Some(found) if found == value => {}
                found => self.problem(format!("`{name}` has {pointer} {found:?}")),
            }
        }
        let named: Vec<String> =
            self.files.keys().filter(|name| name.starts_with("blobs/")).cloned().collect();
        for name in &named {
            let expected = digest(&self.files[name]).replace("sha256:", "blobs/sha256/");
            if *name != expected {
                self.problem(format!("`{name}` holds the bytes of `{expected}`"));
            }
        }
        let index = self.json("index.json").unwrap_or_default();
        if list(&index["manifests"]).is_empty() {
            self.problem("`index.json` names no image".to_owned());
        }
        self.index(&index);
        self.docker_list();
        for name in named {
            if !self.reached.contains(&name) {
                self.problem(format!("nothing names `{name}`"));
            }
        }
    }

    fn json(&self, name: &str) -> Option<Value> {
        serde_json::from_slice(self.files.get(name)?).ok()
    }

    fn index(&mut self, index: &Value) {
        for descriptor in list(&index["manifests"]) {
            let Some(bytes) = self.blob(&descriptor) else { continue };
            let Ok(document) = serde_json::from_slice::<Value>(&bytes) else {
                self.problem(format!("{} is no JSON", descriptor["digest"]));
                continue;
            };
            let media_type = &descriptor["mediaType"];
            if document.get("mediaType").is_some_and(|own| own != media_type) {
                self.problem(format!(
                    "{} is called {media_type}, calls itself {}",
                    descriptor["digest"], document["mediaType"]
                ));
            }
            if document.get("manifests").is_some() {
                self.index(&document);
            } else {
                self.image(&descriptor, &document);
            }
        }
    }

    /// Returns the bytes that a descriptor names, if they are there with the size it says.
    fn blob(&mut self, descriptor: &Value) -> Option<Vec<u8>> {
        let name = text_of(&descriptor["digest"]).replace("sha256:", "blobs/sha256/");
        self.reached.insert(name.clone());
        let Some(bytes) = self.files.get(&name).cloned() else {
            self.problem(format!("`{name}` is missing"));
            return None;
        };
        if descriptor["size"] != bytes.len() {
            self.problem(format!("`{name}` has {} bytes, not {}", bytes.len(), descriptor["size"]));
        }
        Some(bytes)
    }

    fn image(&mut self, descriptor: &Value, manifest: &Value) {
        let image = text_of(&descriptor["digest"]);
        let config = self.blob(&manifest["config"]).unwrap_or_default();
        let config: Value = serde_json::from_slice(&config).unwrap_or_default();
        for field in ["os", "architecture"] {
            if text_of(&config[field]).is_empty() {
                self.problem(format!("the config of {image} has no {field}"));
            }
        }
        let (layers, diff_ids) = (list(&manifest["layers"]), list(&config["rootfs"]["diff_ids"]));
        if layers.len() != diff_ids.len() {
            self.problem(format!("{image} has {} layers and {} diff ids", layers.len(), diff_ids.len()));
        }
        let with_layer = |entry: &&Value| entry["empty_layer"] != true;
        let history = list(&config["history"]);
        let entries = history.iter().filter(with_layer).count();
        if entries != layers.len() {
            self.problem(format!(
                "{image} has {} layers and {entries} history entries with one",
                layers.len()
            ));
        }
        for (layer, diff_id) in layers.iter().zip(&diff_ids) {
            let Some(bytes) = self.blob(layer) else { continue };
            let name = text_of(&layer["digest"]);
            match decompress(&text_of(&layer["mediaType"]), &bytes) {
                Err(error) => self.problem(format!("layer {name} cannot be decompressed: {error}")),
                Ok(tar) => {
                    if digest(&tar) != text_of(diff_id) {
                        self.problem(format!("layer {name} has the diff id {}, not {diff_id}", digest(&tar)));
                    }
                    self.layer(&name, &tar);
                }
            }
        }
    }

    /// Checks the paths of a layer: each once, inside the root, links after what they lead to.
    fn layer(&mut self, layer: &str, bytes: &[u8]) {
        if !bytes.ends_with(&[0; 1024]) {
            self.problem(format!("layer {layer} has no end"));
        }
        let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
        let mut archive = tar::Archive::new(bytes);
        for entry in archive.entries().unwrap() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.problem(format!("layer {layer} is no tar: {error}")),
            };
            let path = entry.path_bytes().trim_ascii_end().to_vec();
            let path: Vec<u8> = path.strip_suffix(b"/").unwrap_or(&path).to_vec();
            let shown = String::from_utf8_lossy(&path).into_owned();
            if path.split(|byte| *byte == b'/').any(|part| matches!(part, b"" | b"..")) {
                self.problem(format!("layer {layer} has the path `{shown}`"));
            }
            if entry.header().entry_type().is_hard_link() {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                if !seen.contains(&target) {
                    let target = String::from_utf8_lossy(&target).into_owned();
                    self.problem(format!("layer {layer} links `{shown}` to `{target}` before it is there"));
                }
            }
            if !seen.insert(path) {
                self.problem(format!("layer {layer} has `{shown}` twice"));
            }
        }
        for path in &seen {
            let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
            let Some(hidden) = path[start..].strip_prefix(b".wh.") else { continue };
            if seen.contains(&[&path[..start], hidden].concat()) {
                let shown = String::from_utf8_lossy(path).into_owned();
                self.problem(format!("layer {layer} has `{shown}` and the file that it removes"));
            }
        }
    }

    /// Checks that docker's list, if there is one, leads to the same files.
    fn docker_list(&mut self) {
        let Some(images) = self.json("manifest.json") else { return };
        for image in list(&images) {
            for file in list(&image["Layers"]).iter().chain([&image["Config"]]) {
                if !self.reached.contains(&text_of(file)) {
                    self.problem(format!("`manifest.json` names {file}, the index does not"));
                }
            }
        }
    }
}

fn decompress(media_type: &str, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut tar = Vec::new();
    if media_type.ends_with("gzip") {
        flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut tar)?;
    } else if media_type.ends_with("zstd") {
        zstd::Decoder::new(bytes)?.read_to_end(&mut tar)?;
    } else {
        tar.extend_from_slice(bytes);
    }
    Ok(tar)
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
