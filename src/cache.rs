//! Cache keys and records.
//!
//! A step has a *definition key* (what is to be done, and the definition keys of what it stands on) and, once
//! the results of its inputs exist, a *result key* (what is to be done, and the content of those results as
//! far as the step reads it). Either may find a [`Record`]: what the step made when it was last done.
//!
//! Keys are made by [`KeyBuilder`] alone, with three rules: a length before every sequence, an ordinal before
//! every variant, maps sorted. So two different inputs cannot make the same bytes. Values that are no secret
//! are hashed as well; a record holds no value of an environment variable, only digests.
//!
//! A [`Document`] is the form in which records travel to other stores.

mod document;

use serde::{Deserialize, Serialize};

pub use self::document::{
    ARTIFACT, DOCUMENT, Document, ENTRIES, Exported, ExportedLayer, INLINE, NotACache, Read,
};

use crate::digest::{DiffId, Digest, Hasher};
use crate::image::{Blob, Layer};
use crate::time::Timestamp;

/// The version of everything that keys and records mean; a change makes every older record a miss.
const DOMAIN: &str = "kiln cache 1";

/// The name of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub Digest);

/// Builds a key from framed parts, and remembers the parts by name so that a miss can say what changed.
pub struct KeyBuilder {
    hasher: Hasher,
    inputs: Vec<NamedInput>,
}

/// One named part of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedInput {
    /// What the user is told, for example `build argument VERSION`.
    pub name: String,
    /// The digest of the part.
    pub digest: Digest,
}

impl KeyBuilder {
    /// Starts the key of an operation of kind `kind`.
    pub fn new(kind: &str) -> Self {
        let mut builder = Self { hasher: Hasher::new(), inputs: Vec::new() };
        builder.frame(DOMAIN.as_bytes());
        builder.frame(kind.as_bytes());
        builder
    }

    /// Adds a part under a name that the user understands.
    pub fn input(&mut self, name: impl Into<String>, part: impl Part) -> &mut Self {
        let name = name.into();
        let mut own = Hasher::new();
        part.hash(&mut |bytes| own.update(bytes));
        let digest = own.finish();
        self.frame(name.as_bytes());
        self.frame(digest.as_bytes());
        self.inputs.push(NamedInput { name, digest });
        self
    }

    /// Adds a part that no message names: one of very many.
    pub fn unnamed(&mut self, part: impl Part) -> &mut Self {
        part.hash(&mut |bytes| self.hasher.update(bytes));
        self
    }

    /// Adds bytes in which parts are framed already: a stretch of very many.
    pub fn framed(&mut self, bytes: &[u8]) -> &mut Self {
        self.hasher.update(bytes);
        self
    }

    fn frame(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }

    /// Returns the key and the parts it was made of.
    pub fn finish(self) -> (Key, Vec<NamedInput>) {
        (Key(self.hasher.finish()), self.inputs)
    }
}

/// Something that can be written into a key without ambiguity.
pub trait Part {
    /// Hands the framed bytes to `sink`.
    fn hash(&self, sink: &mut dyn FnMut(&[u8]));
}

impl Part for [u8] {
    fn hash(&self, sink: &mut dyn FnMut(&[u8])) {
        sink(&(self.len() as u64).to_le_bytes());
        sink(self);
    }
}

impl Part for str {
    fn hash(&self, sink: &mut dyn FnMut(&[u8])) {
        self.as_bytes().hash(sink);
    }
}

impl Part for String {
    fn hash(&self, sink: &mut dyn FnMut(&[u8])) {
        self.as_bytes().hash(sink);
    }
}

impl Part for Digest {
    fn hash(&self, sink: &mut dyn FnMut(&[u8])) {
        self.as_bytes().as_slice().hash(sink);
    }
}

impl Part for Key {
    fn hash(&self, sink: &mut dyn FnMut(&[u8])) {
        self.0.hash(sink);
    }
}

impl Part for u64 {
    fn hash(&self, sink: &mut dyn FnMut(&[u8])) {
        sink(&self.to_le_bytes());
    }
}

impl Part for bool {
    fn hash(&self, sink: &mut dyn FnMut(&[u8])) {
        sink(&[u8::from(*self)]);
    }
}

impl<P: Part + ?Sized> Part for &P {
    fn hash(&self, sink: &mut dyn FnMut(&[u8])) {
        (*self).hash(sink);
    }
}

impl<P: Part> Part for [P] {
    fn hash(&self, sink: &mut dyn FnMut(&[u8])) {
        sink(&(self.len() as u64).to_le_bytes());
        for part in self {
            part.hash(sink);
        }
    }
}

impl<P: Part> Part for Vec<P> {
    fn hash(&self, sink: &mut dyn FnMut(&[u8])) {
        self.as_slice().hash(sink);
    }
}

impl<P: Part> Part for Option<P> {
    fn hash(&self, sink: &mut dyn FnMut(&[u8])) {
        sink(&[u8::from(self.is_some())]);
        if let Some(part) = self {
            part.hash(sink);
        }
    }
}

impl<A: Part, B: Part> Part for (A, B) {
    fn hash(&self, sink: &mut dyn FnMut(&[u8])) {
        self.0.hash(sink);
        self.1.hash(sink);
    }
}

/// What a step made. A hint: if what it names is gone or damaged, the step is done again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The layer, if it was packed. A later build that needs it in another form packs it again from this one.
    pub layer: Option<PackedLayer>,
    /// The name of the unpacked directory that holds the step's changes, for results that were never packed.
    pub directory: Option<String>,
    /// When the step was done.
    pub created: Timestamp,
    /// The step's result key, if the record was made or found by it: whoever exports the record exports it under both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Key>,
    /// The parts of the definition key, to tell the user what changed when the next build misses.
    pub inputs: Vec<NamedInput>,
}

/// A layer as a record holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedLayer {
    /// The blob.
    pub blob: Blob,
    /// The digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The latest time that its files were given, if they were rewritten.
    pub clamp_mtime: Option<Timestamp>,
}

impl PackedLayer {
    /// Returns the layer as images name it.
    pub fn layer(&self) -> Layer {
        Layer { blob: self.blob.clone(), diff_id: self.diff_id }
    }
}

/// Returns the names of the parts in which two keys of the same step differ, in the order of the new one.
pub fn differing<'a>(old: &'a [NamedInput], new: &'a [NamedInput]) -> Vec<&'a str> {
    let find =
        |inputs: &[NamedInput], name: &str| inputs.iter().find(|input| input.name == name).map(|i| i.digest);
    let changed = new.iter().filter(|input| find(old, &input.name) != Some(input.digest));
    let gone = old.iter().filter(|input| find(new, &input.name).is_none());
    changed.chain(gone).map(|input| input.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(kind: &str, parts: &[(String, Vec<String>)]) -> Key {
        let mut builder = KeyBuilder::new(kind);
        for (name, values) in parts {
            builder.input(name.clone(), values);
        }
        builder.finish().0
    }

    proptest! {
        #[test]
        fn different_inputs_never_share_a_key(
            a in prop::collection::vec(("[ab]{0,2}", prop::collection::vec("[ab]{0,2}", 0..3)), 0..3),
            b in prop::collection::vec(("[ab]{0,2}", prop::collection::vec("[ab]{0,2}", 0..3)), 0..3),
        ) {
            prop_assert_eq!(key("run", &a) == key("run", &b), a == b);
            prop_assert_ne!(key("run", &a), key("copy", &a));
        }
    }

    #[test]
    fn a_miss_can_name_what_changed() {
        let inputs = |version: &str| {
            let mut builder = KeyBuilder::new("run");
            builder.input("command", "make").input("build argument VERSION", version);
            builder.finish().1
        };
        assert_eq!(differing(&inputs("1"), &inputs("2")), ["build argument VERSION"]);
        assert!(differing(&inputs("1"), &inputs("1")).is_empty());
    }
}
