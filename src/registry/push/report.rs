//! What came of a push, blob by blob.

use std::fmt;
use std::time::Duration;

use crate::digest::Digest;
use crate::image::Blob;
use crate::reference::Reference;

/// What came of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The name that stands for it now.
    pub reference: Reference,
    /// The manifest or index.
    pub root: Blob,
    /// Whether the registry had the name and all below it already.
    pub unchanged: bool,
    /// The layers and configs below it, in the order of the manifests: layers first.
    pub blobs: Vec<PushedBlob>,
}

/// What came of one blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// How it came to be there.
    pub how: How,
}

/// How a blob came to be in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// It was there.
    Present,
    /// The registry took it from another of its repositories.
    Mounted {
        /// That repository.
        from: String,
    },
    /// It was sent.
    Uploaded {
        /// How many bytes went out for it: more than its size where some went out twice.
        bytes: u64,
        /// How long that took.
        elapsed: Duration,
    },
    /// It stays where its manifest says: a layer that may not be distributed.
    Foreign,
}

/// Something that happens during a push.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// Bytes went out: so many of all that have to.
    Sent {
        /// Bytes sent so far.
        done: u64,
        /// Bytes to send, as far as is known.
        total: u64,
    },
    /// A blob is there.
    Blob(&'a PushedBlob),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => write!(f, "present"),
            Self::Mounted { from } => write!(f, "mounted from {from}"),
            Self::Uploaded { bytes, elapsed } => {
                write!(f, "uploaded, {bytes} bytes in {:.1}s", elapsed.as_secs_f64())
            }
            Self::Foreign => write!(f, "left where it is"),
        }
    }
}
