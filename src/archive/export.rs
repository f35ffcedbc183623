//! OCI layouts, out: as a tar or as a directory.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use fs_err as fs;
use serde_json::{Value, json};

use super::{
    Archive, CONTAINERD_NAME, Error, INDEX_FILE, LAYOUT, LAYOUT_FILE, Saved, all_reachable, blob_file,
    reachable,
};
use crate::oci::{REF_NAME, media_type};
use crate::reference::Reference;
use crate::store::Store;

/// Returns an OCI archive: a tar of an OCI layout. `annotations` are those of the images' descriptors in the index.
///
/// # Errors
/// If the store lacks a document.
pub fn oci(
    store: &Store,
    images: &[Saved],
    annotations: &BTreeMap<String, String>,
) -> Result<Archive, Error> {
    let files = layout_files(entries(images, annotations));
    Ok(Archive { blobs: all_reachable(store, images)?, files: files.into() })
}

/// Returns the two files that make a tar an OCI layout.
pub(super) fn layout_files(entries: Vec<Value>) -> [(&'static str, Vec<u8>); 2] {
    [(INDEX_FILE, index(entries)), (LAYOUT_FILE, LAYOUT.to_vec())]
}

/// Writes an image into a directory that is or becomes an OCI layout. Other images in it stay; they lose the
/// names that this one gets. `annotations` are those of the image's descriptor in the index.
///
/// # Errors
/// If the store lacks a blob, or the directory cannot be written or holds a damaged index.
pub fn oci_directory(
    store: &Store,
    image: &Saved,
    annotations: &BTreeMap<String, String>,
    directory: &Path,
) -> Result<(), Error> {
    let blobs = reachable(store, &image.root, &mut |_| Ok(true))?;
    fs::create_dir_all(directory.join("blobs/sha256"))?;
    for blob in &blobs {
        let path = directory.join(blob_file(&blob.digest));
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == blob.size) {
            continue;
        }
        let blob = store.open_blob(blob)?;
        replace(&path, |file| blob.copy_to(file))?;
    }
    replace(&directory.join(LAYOUT_FILE), |file| file.write_all(LAYOUT))?;
    let path = directory.join(INDEX_FILE);
    let new = entries(std::slice::from_ref(image), annotations);
    let mut all = match fs::read(&path) {
        Ok(text) => kept(&text, &new)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    all.extend(new);
    replace(&path, |file| file.write_all(&index(all)))?;
    Ok(())
}

/// Writes a file beside its place, then renames it: a reader never meets half a file.
fn replace(path: &Path, write: impl FnOnce(&mut std::fs::File) -> io::Result<()>) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = path.parent().expect("a file of a layout has a directory");
    let permissions = std::fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(directory)?;
    write(file.as_file_mut())?;
    file.persist(path)?;
    Ok(())
}

/// Returns the entries of an existing index that the new ones do not replace.
fn kept(text: &[u8], new: &[Value]) -> Result<Vec<Value>, Error> {
    let index: Value =
        serde_json::from_slice(text).map_err(|source| Error::Json { file: INDEX_FILE.into(), source })?;
    let old = index["manifests"].as_array().cloned().unwrap_or_default();
    let is_replaced = |old: &Value| {
        new.iter().any(|new| match (name_of(old), name_of(new)) {
            (None, _) => old["digest"] == new["digest"],
            (old, new) => old == new,
        })
    };
    Ok(old.into_iter().filter(|old| !is_replaced(old)).collect())
}

fn name_of(entry: &Value) -> Option<&str> {
    let annotations = &entry["annotations"];
    annotations[CONTAINERD_NAME].as_str().or_else(|| annotations[REF_NAME].as_str())
}

/// Returns an index entry per name, or one without for an image that has none.
pub(super) fn entries(images: &[Saved], annotations: &BTreeMap<String, String>) -> Vec<Value> {
    images.iter().flat_map(|image| entries_of(image, annotations)).collect()
}

fn entries_of(Saved { root, names }: &Saved, annotations: &BTreeMap<String, String>) -> Vec<Value> {
    let entry = |annotations: &BTreeMap<String, String>| {
        let mut entry = json!({"mediaType": root.media_type, "digest": root.digest, "size": root.size});
        if !annotations.is_empty() {
            entry["annotations"] = json!(annotations);
        }
        entry
    };
    let named = |name: &Reference| {
        let mut annotations = annotations.clone();
        annotations.insert(CONTAINERD_NAME.to_owned(), name.to_string());
        if let Some(tag) = &name.tag {
            annotations.insert(REF_NAME.to_owned(), tag.clone());
        }
        entry(&annotations)
    };
    if names.is_empty() { vec![entry(annotations)] } else { names.iter().map(named).collect() }
}

fn index(manifests: Vec<Value>) -> Vec<u8> {
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests});
    serde_json::to_vec(&index).expect("a value can be written")
}
