//! Layers: from changes to a tar and back.
//!
//! ```text
//! Changes --pack--> tar, compressed --decompress--> tar --read--> Changes, contents to a Sink
//! Changes <-index::decode-- bytes <-index::encode-- Changes          what lies beside a layer in the store
//! ```
//!
//! * [`pack`](pack::pack) writes a layer in one pass with constant memory; the same changes give the same
//!   bytes whatever the number of threads.
//! * [`read`](read::read) takes any builder's layer: ustar, PAX and GNU headers, sparse files, whiteouts.
//!   Whiteout names (image-spec `layer.md`, "Whiteouts") exist between [`read`](read::read) and
//!   [`pack`](pack::pack) and the tar, and nowhere else in kiln.
//! * [`archive`](archive::archive) reads tars that are no layers: what `ADD` extracts.
//!
//! Of extended attributes only `security.capability` is carried, as BuildKit's layers do.
//! Where bytes go to is the caller's: nothing here writes a file or knows the store.

pub mod archive;
mod decompress;
mod header;
pub mod index;
pub mod pack;
pub mod read;
mod read_full;
mod sparse;
mod tar;

pub use archive::{archive, is_archive};
pub use decompress::{Decoder, decompress};
pub use pack::{
    Compression, DEFAULT_MEMORY_BYTES, Earlier, Hints, Learn, PackOptions, Packed, Prepared, Preparer,
    is_layer_of, pack, pack_unread,
};
pub use read::{Discard, Error, Item, Sink, read};
pub(crate) use read_full::read_full;

/// What a whiteout's name begins with (image-spec `layer.md`, "Whiteouts").
const WHITEOUT_PREFIX: &[u8] = b".wh.";
/// The name in a directory that hides what lower layers have in it (image-spec `layer.md`, "Opaque Whiteout").
const OPAQUE_NAME: &[u8] = b".wh..wh..opq";
/// What the names begin with that AUFS kept for itself; other than the opaque mark they mean nothing.
const WHITEOUT_META_PREFIX: &[u8] = b".wh..wh.";
/// The one extended attribute that layers carry.
const CAPABILITY: &[u8] = b"security.capability";
/// How a PAX record names an extended attribute.
const PAX_XATTR: &[u8] = b"SCHILY.xattr.";
/// The unit of a tar.
const BLOCK: usize = 512;
