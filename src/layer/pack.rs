//! Writing a layer: changes in, a compressed tar out, with both of its digests, in one pass.
//!
//! ```text
//!           readers (4)           compressors (jobs)
//! plan ───► read the block's ─┬─► check its files,    ───► writer: in order, digest of what it writes
//! blocks    files             │   compress it
//!     │                       └─► hasher: in order, diff id, check files of many blocks
//!     └───► or its compressed ──► verify it, and    ───► writer and hasher; nothing is to be hashed up to the
//!           bytes                 decompress it          first block that differs
//! ```
//!
//! * The stream is cut into blocks, and where it is cut follows from the entries alone (see `plan`). Blocks
//!   are compressed on their own and joined in order: gzip members or zstd frames, which every reader of
//!   layers takes (RFC 1952 section 2.2, RFC 8878 section 3.1). So the bytes do not depend on the number of
//!   threads. A block that seems not to be worth compressing is stored in its member (RFC 1951 section 3.2.4).
//! * Blocks that an earlier version of the layer has too are copied from its blob, compressed, and their files are
//!   not opened ([`Earlier`]). Blocks that were compressed while a command was still making other ones are not
//!   compressed again ([`Prepared`]). The bytes are the same with and without.
//! * Memory is a constant. A block is read only when it is less than a window ahead of the one that is
//!   written, so nobody who computes ever waits for somebody who waits for space.
//! * What was promised is what is packed: a file whose size or content is not what its entry says is an
//!   error, never a wrong layer. Of files that nobody has read yet the digests are learned on the way ([`pack_unread`]):
//!   the hasher makes them, and then the blocks have their keys.
//!
//! Threads are plain ones, scoped; the first error stops all, and is returned when all have ended.

mod buffers;
mod codec;
mod earlier;
mod hashing;
mod pipeline;
mod plan;
mod prepared;
mod progress;
mod recompress;
mod source;
mod table;

use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;

pub use earlier::Earlier;
pub use prepared::{Prepared, Preparer};
pub use recompress::recompress;

use buffers::Buffers;
use plan::Plan;
use table::Table;

use crate::digest::{DiffId, Digest};
use crate::path::RelPath;
use crate::time::Timestamp;
use crate::tree::Changes;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, made by libdeflate.
    Gzip {
        /// 0 (stored) to 12; beyond is taken as 12.
        level: u8,
    },
    /// Zstandard.
    Zstd {
        /// 1 to 22; beyond is taken as the nearest.
        level: u8,
    },
}

impl Default for Compression {
    /// gzip of level 4: its layers are as long as those that other builders make with their default level, 6 of Go's
    /// or zlib's compressors (benches/README.md).
    fn default() -> Self {
        Self::Gzip { level: 4 }
    }
}

/// What [`PackOptions::memory_bytes`] is if nobody says otherwise.
pub const DEFAULT_MEMORY_BYTES: u64 = 192 << 20;

/// How a layer is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PackOptions {
    /// The codec.
    pub compression: Compression,
    /// How many threads compress, from 1 to 32; beyond is taken as the nearest. The result does not depend
    /// on it.
    pub jobs: usize,
    /// How many bytes of blocks may be held at the same time. With less than `jobs` need, fewer blocks are read ahead and
    /// fewer threads compress; one block is held whatever this says. The result does not depend on it.
    pub memory_bytes: u64,
    /// Later modification times become this one.
    pub clamp_mtime: Option<Timestamp>,
}

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// The digest of what was written.
    pub digest: Digest,
    /// The number of bytes written.
    pub size: u64,
    /// The length of the tar.
    pub uncompressed_size: u64,
    /// What [`Earlier`] needs beside the bytes written; `None` for a layer that is not compressed.
    pub blocks: Option<Vec<u8>>,
}

/// Why a layer cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A place that holds files cannot be opened.
    #[error("cannot open the directory `{}`", directory.display())]
    Origin {
        /// The place.
        directory: std::path::PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read `{}` for `{path}`", file.display())]
    Read {
        /// The path in the layer.
        path: RelPath,
        /// The file.
        file: std::path::PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A tar that is to be compressed cannot be read.
    #[error("cannot read the layer")]
    Tar(#[source] io::Error),
    /// A file is not what it was when the changes were made.
    #[error("`{}` changed while it was being packed as `{path}`", file.display())]
    Changed {
        /// The path in the layer.
        path: RelPath,
        /// The file.
        file: std::path::PathBuf,
    },
    /// A layer cannot hold the name, since it would be read as a whiteout.
    #[error("a layer cannot hold `{path}`: names beginning with `.wh.` mean deletions")]
    ReservedName {
        /// The path.
        path: RelPath,
    },
    /// Nothing says where the bytes of a file lie.
    #[error("nothing says where the content of `{path}` is")]
    NoOrigin {
        /// The path.
        path: RelPath,
    },
    /// A tar that was packed before cannot be read.
    #[error("cannot read the layer")]
    Stream(#[source] io::Error),
    /// The codec fails.
    #[error("cannot compress the layer")]
    Compress(#[source] io::Error),
    /// The earlier version of the layer cannot be read, or is not what it was. Without it the layer can be packed.
    #[error("cannot take blocks from an earlier version of the layer")]
    Earlier(#[source] io::Error),
    /// The layer cannot be written.
    #[error("cannot write the layer")]
    Write(#[source] io::Error),
}

impl Error {
    /// The earlier version of the layer is not what was remembered of it.
    fn damaged() -> Self {
        Self::Earlier(io::ErrorKind::InvalidData.into())
    }
}

/// What is known beforehand. Nothing of it shows in the result.
#[derive(Clone, Copy, Default)]
pub struct Hints<'a> {
    /// A layer that may have blocks in common.
    pub earlier: Option<&'a Earlier>,
    /// Blocks that were compressed while the files were made.
    pub prepared: Option<&'a Prepared>,
    /// Tells of a file of a directory whether its content is what its entry says if this is its stat data. Then it is
    /// not hashed again.
    pub is_as_hashed: Option<&'a IsAsHashed<'a>>,
}

/// See [`Hints`]; of a place that holds files, a path in it, and stat data that was read after the file.
pub type IsAsHashed<'a> = dyn Fn(&Path, &RelPath, &rustix::fs::Stat) -> bool + Sync + 'a;

/// Where the digests come from of what is packed.
#[derive(Clone, Copy)]
enum Digests<'a> {
    /// The entries say them.
    Promised(Hints<'a>),
    /// They become known while the files are packed.
    Open(&'a dyn Learn),
}

/// Learns the digests of files while they are packed.
pub trait Learn: Sync {
    /// Looks at an open file of which a stretch was read, and at its stat data from after that; tells whether the file is
    /// what it was expected to be.
    ///
    /// # Errors
    /// If the file cannot be packed as its entry says.
    fn look(
        &self,
        directory: &Path,
        file: &RelPath,
        opened: BorrowedFd<'_>,
        stat: &rustix::fs::Stat,
    ) -> io::Result<bool>;

    /// Takes the digest of a file; `as_expected` if every [`look`](Self::look) at it said so.
    fn learn(&self, directory: &Path, file: &RelPath, digest: Digest, as_expected: bool);
}

/// Writes the layer of `changes` to `out`, and says what it is.
///
/// `changes` must be sorted by path. Hard links whose group has its first name in `changes` become links to
/// that; of a whole group (as [`diff`](crate::tree::diff) gives it) the content is written once.
///
/// # Errors
/// If a file cannot be read or is not what its entry says, if `out` fails, or if the earlier layer turns out to be damaged.
/// What was written then is of no use.
pub fn pack(
    changes: &Changes,
    options: &PackOptions,
    hints: Hints<'_>,
    out: impl Write,
) -> Result<Packed, Error> {
    pipeline::run(changes, options, Digests::Promised(hints), out)
}

/// Writes the layer of `changes`, whose files nobody has read yet, and tells `learn` their digests: what the entries say
/// instead counts for nothing. There must be no hard links among them, which are known by their digests.
///
/// The result is that of [`pack`] with the entries that have the digests.
///
/// # Errors
/// As with [`pack`], and if `learn` refuses a file.
pub fn pack_unread(
    changes: &Changes,
    options: &PackOptions,
    learn: &dyn Learn,
    out: impl Write,
) -> Result<Packed, Error> {
    pipeline::run(changes, options, Digests::Open(learn), out)
}

/// Tells whether a layer is what [`pack`] would make of `changes`, by its blocks: a layer that is not compressed
/// has none.
pub fn is_layer_of(packed: &Packed, changes: &Changes, options: &PackOptions) -> bool {
    let table = packed.blocks.as_deref().and_then(|blocks| Table::decode(blocks, options.compression));
    table.is_some_and(|table| {
        let buffers = Buffers::default();
        let keys = Plan::new(changes, options, &buffers).map(|block| Some(block.ok()?.key()));
        keys.eq(table.keys().map(Some))
    })
}

#[cfg(test)]
mod tests;
