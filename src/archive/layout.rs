//! OCI layouts, in: which images an index names, and their blobs.

use std::io;
use std::path::Path;

use fs_err as fs;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};

use super::load::Loaded;
use super::{CONTAINERD_NAME, Error, INDEX_FILE, blob_file, reachable};
use crate::assemble::{self, Document};
use crate::digest::Digest;
use crate::image::Blob;
use crate::oci::{Platform, REF_NAME, select_platform};
use crate::reference::Reference;
use crate::store::{self, Store};

/// Finds an image in a layout's directory (`oci-layout://directory:tag` and `@digest`) and puts it into the
/// store.
///
/// The selector is a digest, a tag or a whole name; without one the layout has one image, or one tagged
/// `latest`.
///
/// # Errors
/// If there is no such image, or a blob is missing or damaged.
pub fn open_layout(store: &Store, directory: &Path, selector: Option<&str>) -> Result<Blob, Error> {
    let root = find(directory, selector)?;
    import_blobs(store, directory, &root)?;
    Ok(root)
}

/// Reads the manifest that the selector names as in [`open_layout`], the one for `platform` if there are several, and
/// the bytes of its config, whatever they are; puts both into the store, and nothing else.
///
/// # Errors
/// If there is no such manifest, or one of the two is missing or damaged.
pub fn documents(
    store: &Store,
    directory: &Path,
    selector: Option<&str>,
    platform: &Platform,
) -> Result<(ImageManifest, Vec<u8>), Error> {
    let read = |blob: &Blob| {
        copy_in(store, directory, blob)?;
        Ok::<_, Error>(store.read_blob(blob)?)
    };
    let mut root = find(directory, selector)?;
    let mut document = assemble::parse(root.digest, &read(&root)?)?;
    if let Document::Index(index) = &document {
        root = checked(select_platform(index, platform).map_err(assemble::Error::from)?)?;
        document = assemble::parse(root.digest, &read(&root)?)?;
    }
    match document {
        Document::Manifest(manifest) => {
            let config = read(&checked(manifest.config())?)?;
            Ok((*manifest, config))
        }
        Document::Index(_) => Err(assemble::Error::Nested { digest: root.digest }.into()),
    }
}

/// Puts blobs of a layout's directory into the store.
///
/// # Errors
/// If one is missing or damaged.
pub fn copy_blobs(store: &Store, directory: &Path, blobs: &[Blob]) -> Result<(), Error> {
    blobs.iter().try_for_each(|blob| match copy_in(store, directory, blob)? {
        true => Ok(()),
        false => Err(store::Error::Missing { digest: blob.digest, size: blob.size }.into()),
    })
}

/// Returns the root that the selector names.
fn find(directory: &Path, selector: Option<&str>) -> Result<Blob, Error> {
    let index = parse_index(&fs::read(directory.join(INDEX_FILE))?)?;
    Ok(match select(&index, selector) {
        Choice::One(entry) => checked(entry)?,
        Choice::Several => {
            return Err(Error::Ambiguous { path: directory.to_owned(), offered: names_in(&index) });
        }
        Choice::None => match selector.and_then(|text| text.parse().ok()) {
            Some(digest) if directory.join(blob_file(&digest)).is_file() => by_digest(directory, digest)?,
            _ => {
                let selector = selector.unwrap_or("latest").to_owned();
                let offered = names_in(&index);
                return Err(Error::NoSuchImage { path: directory.to_owned(), selector, offered });
            }
        },
    })
}

/// Puts every image of a layout's directory into the store.
pub(super) fn import(store: &Store, directory: &Path) -> Result<Vec<Loaded>, Error> {
    let index = fs::read(directory.join(INDEX_FILE))?;
    let roots = roots(&index)?;
    for (root, _) in &roots {
        import_blobs(store, directory, root)?;
    }
    Ok(loaded(roots))
}

/// Checks that every image of an index, whose blobs are in the store already, is complete.
pub(super) fn check(store: &Store, index: &[u8]) -> Result<Vec<Loaded>, Error> {
    let roots = roots(index)?;
    for (root, _) in &roots {
        for blob in reachable(store, root, &mut |blob| Ok(store.contains(blob)))? {
            if !store.contains(&blob) {
                return Err(store::Error::Missing { digest: blob.digest, size: blob.size }.into());
            }
        }
    }
    Ok(loaded(roots))
}

/// One entry per name, in the index's order.
fn loaded(roots: Vec<(Blob, Option<Reference>)>) -> Vec<Loaded> {
    roots.into_iter().map(|(manifest, reference)| Loaded { reference, manifest }).collect()
}

fn roots(index: &[u8]) -> Result<Vec<(Blob, Option<Reference>)>, Error> {
    parse_index(index)?.manifests().iter().map(|entry| Ok((checked(entry)?, name_of(entry)))).collect()
}

fn import_blobs(store: &Store, directory: &Path, root: &Blob) -> Result<(), Error> {
    let mut fetch = |blob: &Blob| copy_in(store, directory, blob);
    for blob in reachable(store, root, &mut fetch)? {
        if !copy_in(store, directory, &blob)? {
            return Err(store::Error::Missing { digest: blob.digest, size: blob.size }.into());
        }
    }
    Ok(())
}

/// Copies a blob into the store, verified; tells whether it is there now.
fn copy_in(store: &Store, directory: &Path, blob: &Blob) -> Result<bool, Error> {
    if store.contains(blob) {
        return Ok(true);
    }
    let file = match fs::File::open(directory.join(blob_file(&blob.digest))) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let mut writer = store.writer()?;
    io::copy(&mut io::BufReader::with_capacity(1 << 20, file), &mut writer)?;
    writer.commit_as(blob)?;
    Ok(true)
}

/// A manifest that no entry of the index names: its kind is in the document itself.
fn by_digest(directory: &Path, digest: Digest) -> Result<Blob, Error> {
    let path = directory.join(blob_file(&digest));
    let size = fs::metadata(&path)?.len();
    if size > store::DOCUMENT_LIMIT_BYTES {
        return Err(store::Error::TooLarge { digest, size }.into());
    }
    let media_type = assemble::parse(digest, &fs::read(&path)?)?.media_type();
    Ok(Blob { media_type, digest, size })
}

enum Choice<'a> {
    One(&'a Descriptor),
    Several,
    None,
}

/// Decides which entry is meant. Entries that lead to the same manifest are one image.
fn select<'a>(index: &'a ImageIndex, selector: Option<&str>) -> Choice<'a> {
    let entries = index.manifests();
    let matching = |selector: &str| -> Vec<&Descriptor> {
        let digest: Option<Digest> = selector.parse().ok();
        let is_meant = |entry: &&Descriptor| match digest {
            Some(digest) => entry.digest().to_string() == digest.to_string(),
            None => is_named(entry, selector),
        };
        entries.iter().filter(is_meant).collect()
    };
    let all = entries.iter().collect();
    let found = match selector {
        Some(selector) => matching(selector),
        None => match matching("latest") {
            latest if latest.is_empty() => all,
            latest => latest,
        },
    };
    match found.as_slice() {
        [] => Choice::None,
        [first, rest @ ..] if rest.iter().all(|entry| entry.digest() == first.digest()) => Choice::One(first),
        _ => Choice::Several,
    }
}

/// A selector is what an annotation says, literally or as the tag of a whole name.
fn is_named(entry: &Descriptor, selector: &str) -> bool {
    let tag_or_name = |text: &str| {
        text == selector
            || text.parse::<Reference>().is_ok_and(|name| {
                name.familiar() == selector
                    || (name.tag.as_deref() == Some(selector) && text.contains(['/', ':']))
            })
    };
    [REF_NAME, CONTAINERD_NAME].iter().any(|key| annotation(entry, key).is_some_and(tag_or_name))
}

/// Returns the image's whole name; a bare tag is none.
fn name_of(entry: &Descriptor) -> Option<Reference> {
    let whole = annotation(entry, CONTAINERD_NAME)
        .or_else(|| annotation(entry, REF_NAME).filter(|text| text.contains(['/', ':'])))?;
    whole.parse().ok()
}

fn names_in(index: &ImageIndex) -> Vec<String> {
    let name = |entry| annotation(entry, CONTAINERD_NAME).or_else(|| annotation(entry, REF_NAME));
    index.manifests().iter().filter_map(name).map(str::to_owned).collect()
}

fn annotation<'a>(entry: &'a Descriptor, key: &str) -> Option<&'a str> {
    entry.annotations().as_ref()?.get(key).map(String::as_str)
}

fn parse_index(text: &[u8]) -> Result<ImageIndex, Error> {
    serde_json::from_slice(text).map_err(|source| Error::Json { file: INDEX_FILE.into(), source })
}

fn checked(descriptor: &Descriptor) -> Result<Blob, Error> {
    Blob::try_from(descriptor).map_err(|source| Error::Digest { file: INDEX_FILE.into(), source })
}
