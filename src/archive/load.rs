//! Archives and layouts, in: one pass over a tar, whatever it turns out to hold.
//!
//! The file that says what an archive is may be its last. So every file goes into the store when it comes by,
//! under the digest of its bytes, and only names are remembered; what turns out to be of no use is garbage
//! for [`Store::gc`].

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::path::Path;

use fs_err as fs;

use super::docker::{self, MANIFEST_FILE};
use super::{Error, INDEX_FILE, LAYOUT_FILE, layout};
use crate::digest::Digest;
use crate::image::Blob;
use crate::reference::Reference;
use crate::store::Store;

/// An image that was loaded, under one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its name, if the archive gives it a whole one.
    pub reference: Option<Reference>,
    /// The manifest or index, in the store with everything that it reaches.
    pub manifest: Blob,
}

impl Loaded {
    /// One for each name, or one without.
    pub(super) fn each(names: Vec<Reference>, manifest: &Blob) -> Vec<Self> {
        if names.is_empty() {
            return vec![Self { reference: None, manifest: manifest.clone() }];
        }
        let named = |name| Self { reference: Some(name), manifest: manifest.clone() };
        names.into_iter().map(named).collect()
    }
}

/// Loads the images of an OCI layout's directory, or of an OCI or docker archive, compressed or not.
///
/// # Errors
/// If it is neither, or is damaged or incomplete.
pub fn load_path(store: &Store, path: &Path) -> Result<Vec<Loaded>, Error> {
    if path.is_dir() {
        return layout::import(store, path);
    }
    load(store, fs::File::open(path)?)
}

/// Loads the images of an OCI or docker archive, compressed or not, from a stream. No name is tagged: that is
/// the caller's decision.
///
/// # Errors
/// If it is neither, or is damaged or incomplete.
pub fn load(store: &Store, archive: impl Read) -> Result<Vec<Loaded>, Error> {
    let mut archive = io::BufReader::with_capacity(1 << 17, archive);
    let files = match archive.fill_buf()? {
        [0x1f, 0x8b, ..] => Files::read(store, flate2::bufread::MultiGzDecoder::new(archive))?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Files::read(store, zstd::Decoder::with_buffer(archive)?)?,
        _ => Files::read(store, archive)?,
    };
    // An archive of docker 25 and later is both; the layout knows the manifests, and so keeps their digests.
    if let (Some(_), Some(index)) = (files.files.get(LAYOUT_FILE), files.files.get(INDEX_FILE)) {
        return layout::check(store, &store.read_blob(index)?);
    }
    let Some(list) = files.files.get(MANIFEST_FILE) else { return Err(Error::Unknown) };
    docker::import(store, &store.read_blob(list)?, &|file| files.find(file))
}

/// The files of an archive by their clean names.
#[derive(Default)]
struct Files {
    files: BTreeMap<String, Blob>,
    /// Hard and symbolic links, and the clean names that they lead to.
    links: BTreeMap<String, String>,
}

/// A link that leads to a link that leads to … a file: docker makes one step.
const LINK_LIMIT: usize = 8;

impl Files {
    fn read(store: &Store, archive: impl Read) -> Result<Self, Error> {
        let mut found = Self::default();
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let Some(name) = clean("", &entry.path_bytes()) else { continue };
            let kind = entry.header().entry_type();
            if kind.is_file() {
                let blob = put(store, &name, &mut entry)?;
                found.files.insert(name, blob);
            } else if let Some(target) = entry.link_name_bytes() {
                let directory = name.rsplit_once('/').map_or("", |(directory, _)| directory);
                let from = if kind.is_symlink() { directory } else { "" };
                if let Some(target) = clean(from, &target) {
                    found.links.insert(name, target);
                }
            }
        }
        Ok(found)
    }

    fn find(&self, file: &str) -> Result<Blob, Error> {
        let missing = || Error::MissingFile { file: file.to_owned() };
        let mut name = clean("", file.as_bytes()).ok_or_else(missing)?;
        for _ in 0..LINK_LIMIT {
            if let Some(blob) = self.files.get(&name) {
                return Ok(blob.clone());
            }
            name = self.links.get(&name).ok_or_else(missing)?.clone();
        }
        Err(missing())
    }
}

/// Stores a file; one that is named by a digest must have it.
fn put(store: &Store, name: &str, content: &mut impl Read) -> Result<Blob, Error> {
    let mut writer = store.writer()?;
    io::copy(content, &mut writer)?;
    let size = writer.size();
    let promised = name.strip_prefix("blobs/sha256/").and_then(|hex| Digest::from_hex(hex).ok());
    let digest = match promised {
        None => writer.commit()?.0,
        Some(digest) => {
            writer.commit_as(&Blob { media_type: String::new(), digest, size })?;
            digest
        }
    };
    Ok(Blob { media_type: "application/octet-stream".to_owned(), digest, size })
}

/// Returns a name without `.` and `..`, seen from a directory of the archive; `None` if it leads out of the
/// archive or is no text: such a name is never referred to.
fn clean(directory: &str, name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
