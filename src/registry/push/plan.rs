//! What a push is made of: documents read, nothing asked.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::super::error::Error;
use super::super::store_error;
use crate::assemble::{self, Document};
use crate::digest::Digest;
use crate::image::Blob;

/// As deep as [`assemble::read`] goes.
const NESTING_LIMIT: usize = 4;

/// Everything below a root descriptor.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Manifests and indexes, children first, the root last; each once.
    pub(super) documents: Vec<Planned>,
    /// Documents that an index names and the store lacks: the registry has to have them already.
    pub(super) absent: Vec<Blob>,
}

/// A manifest or an index.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) blob: Blob,
    pub(super) bytes: Vec<u8>,
    /// What a manifest names; none for an index.
    pub(super) parts: Vec<Part>,
    /// The documents that an index names.
    pub(super) children: Vec<Digest>,
}

/// A layer or a config: what a manifest names, layers first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) blob: Blob,
    /// The instruction that made a layer, if the history says so.
    pub(super) made_by: Option<String>,
    /// Whether it may only be had from somewhere else (`urls` of a non-distributable layer).
    pub(super) foreign: bool,
}

/// Reads a document of the store; `None` if it is not there.
pub(super) type Read<'r> = dyn FnMut(&Blob) -> Result<Option<Vec<u8>>, Error> + 'r;

impl Plan {
    /// Follows `root`.
    pub(super) fn of(root: &Blob, read: &mut Read<'_>) -> Result<Self, Error> {
        let mut plan = Self::default();
        plan.add(root, read, NESTING_LIMIT)?;
        match plan.absent.first() {
            Some(absent) if *absent == *root => {
                let missing = crate::store::Error::Missing { digest: root.digest, size: root.size };
                Err(store_error(&root.digest, missing))
            }
            _ => Ok(plan),
        }
    }

    fn add(&mut self, blob: &Blob, read: &mut Read<'_>, depth: usize) -> Result<(), Error> {
        if self.documents.iter().any(|known| known.blob.digest == blob.digest) {
            return Ok(());
        }
        let unusable = |source| store_error(&blob.digest, source);
        if depth == 0 {
            return Err(unusable(assemble::Error::Nested { digest: blob.digest }));
        }
        let Some(bytes) = read(blob)? else {
            self.absent.push(blob.clone());
            return Ok(());
        };
        let checked = |descriptor: &_| {
            Blob::try_from(descriptor)
                .map_err(|source| unusable(assemble::Error::Digest { digest: blob.digest, source }))
        };
        let (mut parts, mut children) = (Vec::new(), Vec::new());
        match assemble::parse(blob.digest, &bytes).map_err(unusable)? {
            Document::Index(index) => {
                for child in index.manifests() {
                    let child = checked(child)?;
                    self.add(&child, read, depth - 1)?;
                    children.push(child.digest);
                }
            }
            Document::Manifest(manifest) => {
                let config = checked(manifest.config())?;
                let mut made_by = history(read(&config).ok().flatten().as_deref()).into_iter();
                for layer in manifest.layers() {
                    let blob = checked(layer)?;
                    let foreign =
                        layer.urls().as_ref().is_some_and(|urls| !urls.is_empty()) && is_foreign(&blob);
                    parts.push(Part { blob, made_by: made_by.next(), foreign });
                }
                parts.push(Part { blob: config, made_by: None, foreign: false });
            }
        }
        self.documents.push(Planned { blob: blob.clone(), bytes, parts, children });
        Ok(())
    }

    /// Returns the root.
    pub(super) fn root(&self) -> &Planned {
        self.documents.last().expect("a plan has a root")
    }

    /// Returns the blobs below all documents that are not `settled`, each once: layers first, then configs.
    pub(super) fn blobs(&self, settled: &BTreeSet<Digest>) -> Vec<&Part> {
        let open = || self.documents.iter().filter(|document| !settled.contains(&document.blob.digest));
        let layers = open().flat_map(|document| document.parts.split_last().map_or(&[][..], |(_, all)| all));
        let configs = open().filter_map(|document| document.parts.last());
        let mut seen = BTreeSet::new();
        layers.chain(configs).filter(|part| seen.insert(part.blob.digest)).collect()
    }

    /// Returns some documents with all documents below them.
    pub(super) fn below(&self, mut roots: BTreeSet<Digest>) -> BTreeSet<Digest> {
        // Whatever names a document stands after it.
        for document in self.documents.iter().rev() {
            if roots.contains(&document.blob.digest) {
                roots.extend(&document.children);
            }
        }
        roots
    }
}

/// Tells whether a layer may not be distributed by its kind.
pub(super) fn is_foreign(blob: &Blob) -> bool {
    blob.media_type.contains(".foreign.") || blob.media_type.contains(".nondistributable.")
}

/// Returns what made each layer, base first; nothing of a config that says nothing.
fn history(config: Option<&[u8]>) -> Vec<String> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        created_by: String,
        #[serde(default)]
        empty_layer: bool,
    }
    #[derive(Deserialize)]
    struct Config {
        history: Option<Vec<Entry>>,
    }
    let config: Option<Config> = config.and_then(|bytes| serde_json::from_slice(bytes).ok());
    let entries = config.and_then(|config| config.history).unwrap_or_default();
    entries.into_iter().filter(|entry| !entry.empty_layer).map(|entry| entry.created_by).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

    #[derive(Default)]
    struct Documents(BTreeMap<Digest, Vec<u8>>);

    impl Documents {
        fn put(&mut self, media_type: &str, value: &Value) -> Blob {
            let bytes = value.to_string().into_bytes();
            let digest = Digest::of(&bytes);
            let size = bytes.len() as u64;
            self.0.insert(digest, bytes);
            Blob { media_type: media_type.to_owned(), digest, size }
        }

        fn manifest(&mut self, history: &Value, layers: &[Value]) -> Blob {
            let config = self.put(CONFIG, &json!({ "history": history }));
            let config = json!(config.descriptor());
            self.put(
                MANIFEST,
                &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}),
            )
        }

        fn index(&mut self, children: &[&Blob]) -> Blob {
            let children: Vec<_> = children.iter().map(|child| child.descriptor()).collect();
            self.put(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}))
        }

        fn plan(&self, root: &Blob) -> Result<Plan, Error> {
            Plan::of(root, &mut |blob| Ok(self.0.get(&blob.digest).cloned()))
        }
    }

    fn layer(name: &str, media_type: &str, urls: &[&str]) -> Value {
        let layer = json!({"mediaType": media_type, "digest": Digest::of(name), "size": 3});
        let Value::Object(mut fields) = layer else { unreachable!("it was written as an object") };
        if !urls.is_empty() {
            fields.insert("urls".into(), json!(urls));
        }
        fields.into()
    }

    #[test]
    fn children_come_before_what_names_them_and_configs_after_layers() {
        let mut documents = Documents::default();
        let (shared, own) = (layer("shared", "l", &[]), layer("own", "l", &[]));
        let first = documents.manifest(&json!([{"created_by": "COPY a"}]), std::slice::from_ref(&shared));
        let second = documents.manifest(&json!(null), &[shared.clone(), own]);
        let absent = Blob { media_type: MANIFEST.into(), digest: Digest::of("absent"), size: 5 };
        let inner = documents.index(&[&second]);
        let root = documents.index(&[&first, &inner, &first, &absent]);
        let plan = documents.plan(&root).unwrap();
        let order: Vec<_> = plan.documents.iter().map(|document| document.blob.digest).collect();
        assert_eq!(order, [first.digest, second.digest, inner.digest, root.digest]);
        assert_eq!(plan.absent, [absent]);
        let blobs = plan.blobs(&BTreeSet::new());
        let digests: Vec<_> = blobs.iter().map(|part| part.blob.digest).collect();
        assert_eq!(digests[..2], [Digest::of("shared"), Digest::of("own")]);
        assert_eq!(digests.len(), 4);
        assert_eq!(blobs[0].made_by.as_deref(), Some("COPY a"));

        let settled = plan.below(BTreeSet::from([inner.digest]));
        let left: Vec<_> = plan.blobs(&settled).into_iter().map(|part| part.blob.digest).collect();
        assert_eq!((left.len(), left[0]), (2, Digest::of("shared")), "what the inner index names is there");
    }

    #[test]
    fn layers_that_may_not_be_distributed_stay_where_they_are() {
        let mut documents = Documents::default();
        let layers = [layer("a", FOREIGN, &["https://example.com/a"]), layer("b", FOREIGN, &[])];
        let root = documents.manifest(&json!([]), &layers);
        let plan = documents.plan(&root).unwrap();
        let foreign: Vec<_> = plan.root().parts.iter().map(|part| part.foreign).collect();
        assert_eq!(foreign, [true, false, false]);
    }

    #[test]
    fn a_root_that_is_not_there_is_an_error() {
        let root = Blob { media_type: MANIFEST.into(), digest: Digest::of("x"), size: 1 };
        assert!(matches!(Documents::default().plan(&root), Err(Error::Store { .. })));
    }
}
