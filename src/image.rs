//! The two nouns that everything shares: a layer and an image.

use oci_spec::image::{Descriptor, MediaType};

use crate::digest::{self, DiffId, Digest};
use crate::oci::ImageConfig;
use crate::reference::Reference;

/// One layer: how its blob is named, and what its bytes are uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Media type, digest and size of the blob as stored and sent.
    pub blob: Blob,
    /// The digest of the uncompressed tar.
    pub diff_id: DiffId,
}

/// A blob by its name: what oci-spec's descriptor says, in checked types.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Blob {
    /// What the bytes are, for example `application/vnd.oci.image.layer.v1.tar+gzip`.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// The number of bytes.
    pub size: u64,
}

impl Blob {
    /// Returns the descriptor for a manifest or an index.
    pub fn descriptor(&self) -> Descriptor {
        let digest: oci_spec::image::Sha256Digest =
            self.digest.hex().parse().expect("64 hexadecimal digits are a sha256 digest");
        Descriptor::new(MediaType::from(self.media_type.as_str()), self.size, digest)
    }
}

impl TryFrom<&Descriptor> for Blob {
    type Error = digest::ParseError;

    /// Fails if the digest is not a sha256.
    fn try_from(descriptor: &Descriptor) -> Result<Self, Self::Error> {
        Ok(Self {
            media_type: descriptor.media_type().to_string(),
            digest: descriptor.digest().to_string().parse()?,
            size: descriptor.size(),
        })
    }
}

/// An image of one platform. A pulled base and a built image are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The manifest's digest: the image's identity.
    pub manifest: Digest,
    /// The config's digest: what docker calls the image id.
    pub id: Digest,
    /// The config document.
    pub config: ImageConfig,
    /// Base first, as many as the config has diff ids.
    pub layers: Vec<Layer>,
    /// Where blobs that the store lacks can be fetched; `None` if the store has them all.
    pub remote: Option<Reference>,
}
