//! What the tar is made of, block by block, before any file is opened.
//!
//! Where a block ends is decided by the headers: after an entry, if the block has at least 512 KiB and the
//! hash of the entry's header says so (the likelier the longer the entry, so that blocks
//! have 2 MiB on average), or has 4 MiB; and inside a longer file than 2 MiB at every multiple of that. Equal
//! runs of entries so give equal blocks even behind entries that changed, and a block never has more than
//! 6 MiB and a header. With the digests of its files a block has a key before any of its bytes is read: blocks of one key
//! have the same bytes.
//!
//! Shorter blocks would be better to take over from an earlier layer. But no codec finds what is alike in two of them, and
//! threads hand each of them on (benches/README.md).

use std::collections::HashMap;
use std::sync::Arc;

use super::buffers::{Buffer, Buffers};
use super::{Error, PackOptions};
use crate::digest::Digest;
use crate::layer::header::{self, Header};
use crate::layer::{BLOCK, OPAQUE_NAME, WHITEOUT_PREFIX};
use crate::path::RelPath;
use crate::time::Timestamp;
use crate::tree::list::Iter;
use crate::tree::{Change, Changes, Entry, Kind, LinkGroup};

/// A block that is shorter does not end after an entry.
const LEAST_BYTES: usize = 512 << 10;
/// The mean of what a block has beyond that.
const MEAN_BYTES: u64 = 1536 << 10;
/// A block that is as long ends after any entry.
const MOST_BYTES: usize = 4 << 20;
/// Longer files are cut inside, at multiples of this.
pub(super) const STRETCH_BYTES: usize = 2 << 20;
/// No block is longer: it ends at [`MOST_BYTES`] or behind the stretch of a file that began before, but for a header's
/// extensions.
pub(super) const LONGEST_BYTES: usize = MOST_BYTES + STRETCH_BYTES;

/// What the parts of a key begin with, each of which has a fixed length.
const HEADER: u8 = 0;
const CONTENT: u8 = 1;
const END: u8 = 2;

/// A stretch of the tar that is compressed on its own.
#[derive(Debug)]
pub(super) struct Block {
    /// Headers and padding; where content belongs are gaps.
    pub(super) bytes: Buffer,
    /// The stretches of files, each with where it begins in the block.
    pub(super) contents: Vec<(usize, Content)>,
    /// What the key is made of beside them: the hashes of the headers, in order.
    headers: Vec<u8>,
}

/// A file of the layer: what finding its bytes takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: RelPath,
    pub(super) origin: u16,
}

/// A stretch of the content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) file: Arc<File>,
    pub(super) offset: u64,
    pub(super) len: usize,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

impl Content {
    /// Whether this is the file from its first byte to its last.
    pub(super) const fn is_whole(&self) -> bool {
        self.offset == 0 && self.len as u64 == self.size
    }

    /// Returns the stretch of the file that begins at `offset` and goes into one block.
    fn stretch(self, offset: u64) -> Self {
        let len = (self.size - offset).min(STRETCH_BYTES as u64) as usize;
        Self { offset, len, ..self }
    }

    /// Whether the file ends here.
    pub(super) const fn is_last(&self) -> bool {
        self.offset + self.len as u64 == self.size
    }
}

/// Yields the blocks of a layer.
pub(super) struct Plan<'a> {
    changes: Iter<'a>,
    clamp_mtime: Option<Timestamp>,
    buffers: &'a Buffers,
    /// The first name of each link group, with the content it stands for.
    leaders: HashMap<LinkGroup, (RelPath, Digest)>,
    /// The file that the last block was cut in, and whether a block ends behind it.
    open: Option<(Content, bool)>,
    ended: bool,
}

impl<'a> Plan<'a> {
    /// Plans the layer of `changes` as it is packed with `options`, in blocks of `buffers`.
    pub(super) fn new(changes: &'a Changes, options: &PackOptions, buffers: &'a Buffers) -> Self {
        Self {
            changes: changes.list.iter(),
            clamp_mtime: options.clamp_mtime,
            buffers,
            leaders: HashMap::new(),
            open: None,
            ended: false,
        }
    }

    fn block(&mut self) -> Result<Block, Error> {
        let mut block = Block { bytes: self.buffers.take(0), contents: Vec::new(), headers: Vec::new() };
        loop {
            let cut = match self.open.take() {
                Some((content, cut_behind)) => {
                    let size = content.size;
                    let behind = (!content.is_last())
                        .then(|| content.clone().stretch(content.offset + content.len as u64));
                    block.push_content(content);
                    if let Some(behind) = behind {
                        self.open = Some((behind, cut_behind));
                        return Ok(block);
                    }
                    block.bytes.push_zeros(header::padding(size));
                    cut_behind
                }
                None => match self.changes.next() {
                    None => {
                        // The end of the archive: two blocks of zeros (POSIX.1 pax).
                        block.bytes.push_zeros(2 * BLOCK);
                        block.headers.push(END);
                        self.ended = true;
                        return Ok(block);
                    }
                    Some(change) => {
                        let cut_behind = self.begin(change, &mut block)?;
                        if self.open.is_some() {
                            continue;
                        }
                        cut_behind
                    }
                },
            };
            let len = block.bytes.len();
            if len >= MOST_BYTES || cut && len >= LEAST_BYTES {
                return Ok(block);
            }
        }
    }

    /// Adds the header of `change` and opens its content; tells whether a block may end behind it.
    fn begin(&mut self, change: Change, block: &mut Block) -> Result<bool, Error> {
        let mut header = Vec::with_capacity(BLOCK);
        let content = self.write_change(change, &mut header)?;
        let hash = header_hash(&header);
        block.bytes.push(&header);
        block.headers.push(HEADER);
        block.headers.extend_from_slice(hash.as_bytes());
        let len = header.len() as u64 + content.as_ref().map_or(0, |content| content.size);
        let cut_behind = ends_block(hash, len);
        // An empty file too, so that it is looked at: it may have grown.
        self.open = content.map(|content| (content.stretch(0), cut_behind));
        Ok(cut_behind)
    }

    /// Writes the header of `change`; returns the content that follows.
    fn write_change(&mut self, change: Change, out: &mut Vec<u8>) -> Result<Option<Content>, Error> {
        match change {
            Change::Whiteout { path } => {
                let (parent, name) =
                    (path.parent().unwrap_or_default(), path.file_name().unwrap_or_default());
                write_mark(&parent, &[WHITEOUT_PREFIX, name].concat(), out);
                Ok(None)
            }
            Change::Opaque { path } => {
                write_mark(&path, OPAQUE_NAME, out);
                Ok(None)
            }
            Change::Upsert { path, entry, origin } => {
                if path.file_name().is_some_and(|name| name.starts_with(WHITEOUT_PREFIX)) {
                    return Err(Error::ReservedName { path });
                }
                let content = self.write_entry(&path, &entry, out);
                Ok(content.map(|(size, digest)| {
                    let file = Arc::new(File { path, origin });
                    Content { file, offset: 0, len: 0, size, digest }
                }))
            }
        }
    }

    /// Writes the header of an entry; returns size and digest of the content that follows.
    fn write_entry(&mut self, path: &RelPath, entry: &Entry, out: &mut Vec<u8>) -> Option<(u64, Digest)> {
        let Entry { meta, kind } = entry;
        let clamped = |limit: Timestamp| meta.mtime.min(limit);
        let name = if path.is_root() { b"." } else { path.as_bytes() };
        // Directories have a slash behind.
        let directory = matches!(kind, Kind::Directory).then(|| [name, b"/"].concat());
        let mut header = Header {
            kind: header::FILE,
            path: directory.as_deref().unwrap_or(name),
            link: &[],
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            size: 0,
            mtime: self.clamp_mtime.map_or(meta.mtime, clamped),
            major: 0,
            minor: 0,
            xattrs: meta.xattrs.as_deref(),
        };
        let mut content = None;
        match kind {
            Kind::Directory => header.kind = header::DIRECTORY,
            Kind::File { size, digest, link } => {
                let first = || (path.clone(), *digest);
                let leader = link.map(|group| &*self.leaders.entry(group).or_insert_with(first));
                match leader {
                    Some((first, first_digest)) if first != path && first_digest == digest => {
                        header.kind = header::HARD_LINK;
                        header.link = first.as_bytes();
                    }
                    Some(_) | None => {
                        header.size = *size;
                        content = Some((*size, *digest));
                    }
                }
            }
            Kind::Symlink { target } => {
                header.kind = header::SYMLINK;
                header.link = target;
            }
            Kind::CharDevice { major, minor } => {
                header.kind = header::CHAR_DEVICE;
                (header.major, header.minor) = (*major, *minor);
            }
            Kind::BlockDevice { major, minor } => {
                header.kind = header::BLOCK_DEVICE;
                (header.major, header.minor) = (*major, *minor);
            }
            Kind::Fifo => header.kind = header::FIFO,
        }
        header.write(out);
        content
    }
}

impl Iterator for Plan<'_> {
    type Item = Result<Block, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let block = self.block();
        self.ended |= block.is_err();
        Some(block)
    }
}

impl Block {
    /// Returns the block's key: the digest of what decides its bytes.
    pub(super) fn key(&self) -> Digest {
        let mut key = self.draft();
        self.contents.iter().for_each(|(_, content)| key.push(content, content.digest));
        key.finish()
    }

    /// Returns the key as far as it follows from the headers.
    pub(super) fn draft(&self) -> Draft {
        Draft(self.headers.clone())
    }

    fn push_content(&mut self, content: Content) {
        let start = self.bytes.push_gap(content.len);
        self.contents.push((start, content));
    }
}

/// A block's key in the making: what is in the block becomes known from its first file to its last.
#[derive(Debug, Clone)]
pub(super) struct Draft(Vec<u8>);

impl Draft {
    /// Adds the next stretch of content, of a file with this digest.
    pub(super) fn push(&mut self, content: &Content, digest: Digest) {
        self.0.push(CONTENT);
        self.0.extend_from_slice(digest.as_bytes());
        for number in [content.size, content.offset, content.len as u64] {
            self.0.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(super) fn finish(self) -> Digest {
        Digest::of(self.0)
    }
}

/// Returns a hash that tells headers apart. Most of their bytes are zeros, which take longest: of each block of the tar only
/// those words are hashed that are none, behind a bit for each word.
fn header_hash(header: &[u8]) -> Digest {
    const WORD: usize = 16;
    let mut rest = Vec::with_capacity(header.len());
    for block in header.chunks(BLOCK) {
        let mark = rest.len();
        let mut there = 0_u32;
        rest.extend_from_slice(&there.to_le_bytes());
        for (index, word) in block.chunks(WORD).enumerate() {
            if word != [0; WORD] {
                there |= 1 << index;
                rest.extend_from_slice(word);
            }
        }
        rest[mark..mark + 4].copy_from_slice(&there.to_le_bytes());
    }
    Digest::of(rest)
}

/// A whiteout is an empty file whose name says it all.
fn write_mark(parent: &RelPath, name: &[u8], out: &mut Vec<u8>) {
    let path = if parent.is_root() { name.to_vec() } else { [parent.as_bytes(), name].join(&b'/') };
    let header = Header {
        kind: header::FILE,
        path: &path,
        link: &[],
        mode: 0,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: Timestamp(0),
        major: 0,
        minor: 0,
        xattrs: None,
    };
    header.write(out);
}

/// Whether a block ends behind an entry of `len` bytes: in `len` of [`MEAN_BYTES`] cases.
fn ends_block(hash: Digest, len: u64) -> bool {
    let [a, b, c, d, e, f, g, h, ..] = *hash.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h]) / (u64::MAX / MEAN_BYTES) < len
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Blocks of a tar, mostly zeros, and many alike but for where the others are.
    fn arbitrary_header() -> impl Strategy<Value = Vec<u8>> {
        let bytes = prop::collection::vec((0..2 * BLOCK, 0..3_u8), 0..6);
        (1..=2_usize, bytes).prop_map(|(blocks, bytes)| {
            let mut header = vec![0; blocks * BLOCK];
            bytes.into_iter().for_each(|(at, byte)| header[at % (blocks * BLOCK)] = byte);
            header
        })
    }

    proptest! {
        #[test]
        fn headers_that_differ_have_other_hashes(headers in prop::collection::vec(arbitrary_header(), 1..20)) {
            let mut seen = HashMap::new();
            for header in headers {
                let before = seen.entry(header_hash(&header)).or_insert_with(|| header.clone());
                prop_assert!(*before == header);
            }
        }
    }
}
