//! The images of the store, and which one a user means.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use kiln::assemble;
use kiln::digest::{DiffId, Digest};
use kiln::image::{Blob, Image, Layer};
use kiln::oci::{NoPlatform, Platform};
use kiln::reference::Reference;
use kiln::solve;
use kiln::store::Store;
use kiln::time::Timestamp;

use super::super::report::Failure;

/// An image of the store.
pub(crate) struct Stored {
    /// Its manifest, or an index.
    pub(crate) root: Blob,
    /// Its names, sorted.
    pub(crate) names: Vec<Reference>,
    /// `repository@digest` of the repositories that have it too.
    pub(crate) repo_digests: Vec<Reference>,
    /// When it last got a name.
    pub(crate) named: Option<Timestamp>,
    /// The image; of several platforms the one of this machine.
    pub(crate) image: Image,
}

/// All images of a store, the newest first.
pub(crate) struct Catalog<'a> {
    store: &'a Store,
    /// Those whose documents are there.
    pub(crate) images: Vec<Stored>,
    sizes: RefCell<BTreeMap<DiffId, u64>>,
}

impl<'a> Catalog<'a> {
    /// Reads what the store has. An image whose documents are gone is left out.
    pub(crate) fn read(store: &'a Store) -> Result<Self, Failure> {
        let names = store.names().map_err(Failure::from_error)?;
        let mut images = Vec::new();
        for root in store.images().map_err(Failure::from_error)? {
            let Ok(image) = read(store, &root) else { continue };
            let own = names.iter().filter(|named| named.blob.digest == root.digest);
            let named = own.clone().map(|named| named.since).max();
            let mut names: Vec<Reference> = own.map(|named| named.reference.clone()).collect();
            names.sort_by_key(Reference::familiar);
            let repo_digests =
                store.seen(&root.digest).iter().map(|place| place.at_digest(root.digest)).collect();
            images.push(Stored { root, names, repo_digests, named, image });
        }
        images.sort_by(|a, b| {
            let age = |stored: &Stored| std::cmp::Reverse(stored.image.config.created);
            (age(a), a.repo_tags()).cmp(&(age(b), b.repo_tags()))
        });
        Ok(Self { store, images, sizes: RefCell::default() })
    }

    /// Finds an image: by its name, a digest that it has in a repository, its id or the beginning of it. The same image
    /// may be there in two forms with one id: one with a name is meant.
    pub(crate) fn find(&self, text: &str) -> Result<&Stored, Failure> {
        self.find_preferring(text, |stored| !stored.names.is_empty())
    }

    /// Finds the image to remove: of two forms with one id the one that has no name goes first.
    pub(crate) fn find_to_remove(&self, text: &str) -> Result<&Stored, Failure> {
        self.find_preferring(text, |stored| stored.names.is_empty())
    }

    fn find_preferring(&self, text: &str, preferred: impl Fn(&Stored) -> bool) -> Result<&Stored, Failure> {
        if let Ok(name) = text.parse::<Reference>()
            && let Some(stored) = self.images.iter().find(|stored| stored.is_called(&name))
        {
            return Ok(stored);
        }
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let is_hex = !hex.is_empty() && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let begins = |stored: &&Stored| {
            is_hex && [stored.image.id, stored.root.digest].iter().any(|digest| digest.hex().starts_with(hex))
        };
        let found: Vec<&Stored> = self.images.iter().filter(begins).collect();
        let ids: BTreeSet<Digest> = found.iter().map(|stored| stored.image.id).collect();
        if ids.len() > 1 {
            return Err(Failure::plain(format!(
                "multiple IDs found with provided prefix: {text}; give more of the id"
            )));
        }
        let stored = found.iter().find(|stored| preferred(stored)).or(found.first()).copied();
        stored.ok_or_else(|| Failure::plain(format!("No such image: {text}")))
    }

    /// Returns what docker calls the size of an image: the bytes of its layers' files.
    pub(crate) fn size(&self, stored: &Stored) -> Result<u64, Failure> {
        stored.image.layers.iter().map(|layer| self.layer_size(layer)).sum()
    }

    /// Returns the bytes of a layer's files.
    pub(crate) fn layer_size(&self, layer: &Layer) -> Result<u64, Failure> {
        if let Some(size) = self.sizes.borrow().get(&layer.diff_id) {
            return Ok(*size);
        }
        let size = solve::unpacked_size(self.store, layer).map_err(Failure::from_error)?;
        self.sizes.borrow_mut().insert(layer.diff_id, size);
        Ok(size)
    }
}

/// Reads an image: of an index the one for this machine, else the first.
fn read(store: &Store, root: &Blob) -> Result<Image, assemble::Error> {
    match assemble::read(store, root, &Platform::host()) {
        Err(assemble::Error::Platform(NoPlatform { offered, wanted })) => {
            assemble::read(store, root, offered.first().unwrap_or(&wanted))
        }
        result => result,
    }
}

impl Stored {
    fn is_called(&self, name: &Reference) -> bool {
        if self.names.contains(name) {
            return true;
        }
        let Some(digest) = name.digest else { return false };
        digest == self.root.digest
            && self.names.iter().chain(&self.repo_digests).any(|own| own.name() == name.name())
    }

    /// Returns the name that a user called the image by, if it is one of its names.
    pub(crate) fn name_of(&self, text: &str) -> Option<Reference> {
        text.parse::<Reference>().ok().filter(|name| self.names.contains(name))
    }

    /// Returns the names as docker shows them, those without a tag left out.
    pub(crate) fn repo_tags(&self) -> Vec<String> {
        let tagged = self.names.iter().filter(|name| name.tag.is_some());
        tagged.map(|name| Reference { digest: None, ..name.clone() }.familiar()).collect()
    }

    /// Returns the digests as docker shows them.
    pub(crate) fn repo_digests(&self) -> Vec<String> {
        let by_digest = self.names.iter().filter(|name| name.digest.is_some());
        let all =
            by_digest.map(|name| name.at_digest(self.root.digest)).chain(self.repo_digests.iter().cloned());
        all.map(|reference| reference.familiar()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Returns the part of a digest that users see.
pub(crate) fn short(digest: &Digest) -> String {
    digest.hex()[..12].to_owned()
}
