//! The blocks of a layer, as they are remembered beside its blob so that the next version of the layer can take
//! over those that did not change.
//!
//! ```text
//! "kilnblk5"  digest of the form  row*  sha256 of all before
//! row         key[32] len compressed_len checksum blob[104] tar[104] in_file file[104]
//! ```
//!
//! Numbers are little-endian; a row has a fixed length. The key says what is in a block (see `plan`), the checksum is
//! the CRC-32 of its compressed bytes: it is there for disks that decay. `blob` and `tar` are the states of the sha256 of
//! the compressed layer and of the diff id behind the block; where a block ends inside a file, `file` is that of the file's. The form is everything else that compressed bytes depend on. A table that
//! is damaged, of another form or of another version is none.

use std::collections::HashMap;

use super::Compression;
use crate::digest::{Digest, SAVED_HASHER_BYTES, SavedHasher};

const MAGIC: &[u8] = b"kilnblk5";
const DIGEST_BYTES: usize = 32;
const ROW_BYTES: usize = DIGEST_BYTES + 4 + 4 + 4 + 3 * SAVED_HASHER_BYTES + 1;

/// One block of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: Digest,
    pub(super) len: u32,
    pub(super) compressed_len: u32,
    pub(super) checksum: u32,
    pub(super) blob: SavedHasher,
    pub(super) tar: SavedHasher,
    pub(super) file: Option<SavedHasher>,
}

/// The blocks of a layer in their order.
#[derive(Debug, Clone)]
pub(super) struct Table {
    rows: Vec<Row>,
    /// Where each block begins in the blob.
    offsets: Vec<u64>,
    by_key: HashMap<Digest, usize>,
}

impl Table {
    /// Returns a block of this key.
    pub(super) fn find(&self, key: &Digest) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// Returns the keys of the blocks in their order.
    pub(super) fn keys(&self) -> impl Iterator<Item = Digest> {
        self.rows.iter().map(|row| row.key)
    }

    pub(super) fn row(&self, number: usize) -> Option<&Row> {
        self.rows.get(number)
    }

    pub(super) fn offset(&self, number: usize) -> u64 {
        self.offsets[number]
    }

    /// Reads a table of layers that are compressed as `compression` says.
    pub(super) fn decode(bytes: &[u8], compression: Compression) -> Option<Self> {
        let (body, checksum) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
        if Digest::of(body).as_bytes() != checksum {
            return None;
        }
        let rows = body.strip_prefix(MAGIC)?.strip_prefix(form(compression)?.as_bytes())?;
        let (rows, []) = rows.as_chunks::<ROW_BYTES>() else { return None };
        let rows = rows.iter().map(decode_row).collect::<Option<Vec<_>>>()?;
        let offsets = rows.iter().scan(0, |end, row| {
            let begin = *end;
            *end += u64::from(row.compressed_len);
            Some(begin)
        });
        let offsets = offsets.collect();
        let by_key = rows.iter().enumerate().map(|(number, row)| (row.key, number)).collect();
        Some(Self { rows, offsets, by_key })
    }
}

/// Returns the table of `rows`; `None` for a form whose blocks are not worth taking over.
pub(super) fn encode(rows: impl ExactSizeIterator<Item = Row>, compression: Compression) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(MAGIC.len() + 2 * DIGEST_BYTES + rows.len() * ROW_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(form(compression)?.as_bytes());
    for row in rows {
        out.extend_from_slice(row.key.as_bytes());
        out.extend_from_slice(&row.len.to_le_bytes());
        out.extend_from_slice(&row.compressed_len.to_le_bytes());
        out.extend_from_slice(&row.checksum.to_le_bytes());
        out.extend_from_slice(&row.blob);
        out.extend_from_slice(&row.tar);
        out.push(u8::from(row.file.is_some()));
        out.extend_from_slice(&row.file.unwrap_or([0; SAVED_HASHER_BYTES]));
    }
    let checksum = Digest::of(&out);
    out.extend_from_slice(checksum.as_bytes());
    Some(out)
}

/// The digest of what the compressed bytes of a block depend on beside its content. Codecs are updated with kiln, so its
/// version stands for theirs.
fn form(compression: Compression) -> Option<Digest> {
    let codec = match compression {
        // Nothing is saved by copying what is the same as the files.
        Compression::None => return None,
        Compression::Gzip { level } => format!("gzip {level}"),
        Compression::Zstd { level } => format!("zstd {level} {}", zstd::zstd_safe::version_number()),
    };
    Some(Digest::of(format!("{codec} {}", env!("CARGO_PKG_VERSION"))))
}

fn decode_row(bytes: &[u8; ROW_BYTES]) -> Option<Row> {
    let mut rest = &bytes[..];
    let key = Digest::from_bytes(*take(&mut rest)?);
    let len = u32::from_le_bytes(*take(&mut rest)?);
    let compressed_len = u32::from_le_bytes(*take(&mut rest)?);
    let checksum = u32::from_le_bytes(*take(&mut rest)?);
    let blob = *take(&mut rest)?;
    let tar = *take(&mut rest)?;
    let [in_file] = *take::<1>(&mut rest)?;
    let file = *take(&mut rest)?;
    Some(Row { key, len, compressed_len, checksum, blob, tar, file: (in_file != 0).then_some(file) })
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (front, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(front)
}
