//! What came of a build.

use serde_json::{Value, json};

use crate::digest::Digest;
use crate::image::Blob;
use crate::reference::Reference;
use crate::registry::Pushed;

/// What came of a build.
#[derive(Debug, Clone, Default)]
pub struct Built {
    /// The image, unless only files were asked for.
    pub image: Option<BuiltImage>,
    /// What came of each push, in the order of the names.
    pub pushed: Vec<Pushed>,
}

/// The documents of a built image.
#[derive(Debug, Clone)]
pub struct BuiltImage {
    /// The manifest: the root of the image.
    pub manifest: Blob,
    /// The config: its digest is what docker calls the image id.
    pub config: Blob,
}

impl Built {
    /// Returns what docker calls the image id: the config's digest.
    pub fn image_id(&self) -> Option<Digest> {
        self.image.as_ref().map(|image| image.config.digest)
    }

    /// Returns what `--metadata-file` holds: the keys are buildx's.
    pub fn metadata(&self, names: &[Reference]) -> Value {
        let Some(image) = &self.image else { return json!({}) };
        let mut metadata = json!({
            "containerimage.config.digest": image.config.digest,
            "containerimage.descriptor": image.manifest.descriptor(),
            "containerimage.digest": image.manifest.digest,
        });
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            metadata["image.name"] = names.join(",").into();
        }
        metadata
    }
}
