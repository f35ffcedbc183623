//! The phases of a build, in order, and nothing else.
//!
//! 1. [`dockerfile::parse`](crate::dockerfile::parse): text to typed instructions, all findings at once
//! 2. [`lower`](crate::lower): instructions to a graph; asks for bases until it has each manifest and config
//! 3. [`context`](crate::context): lists the files that steps read
//! 4. [`solve`](crate::solve): runs what the cache does not answer, packs the layers of the images
//! 5. [`assemble`](crate::assemble): config and manifest
//! 6. [`archive`](crate::archive) and friends: the image goes where it was asked for
//!
//! Everything that depends on the surroundings (time, user, credentials) arrives in the [`Request`].

mod bases;
mod error;
mod export;
mod request;

pub use error::Error;
pub use request::{Destination, Export, ExportKind, NamedContext, NamedContextError, Request};
