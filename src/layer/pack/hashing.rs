//! The thread that hashes a layer's blocks in their order: the diff id, and files.
//!
//! Where digests are promised, the files are those that lie in several blocks; compressors check the others. Where they
//! are open, it is all files: their bytes pass here in order anyway, and then cost little more
//! ([`Hasher::update_both`]). The keys of blocks follow from them.

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::buffers::Buffer;
use super::plan::{Content, Draft};
use super::progress::{InOrder, Progress};
use super::source::Sources;
use super::table::Row;
use super::{Digests, Error};
use crate::digest::{Digest, Hasher, SavedHasher};

/// What the hasher takes.
pub(super) enum Tar {
    Block(Filled),
    /// Everything up to and with this block is as in the earlier layer.
    Known {
        number: u64,
        row: Box<Row>,
    },
}

impl Tar {
    pub(super) const fn number(&self) -> u64 {
        match self {
            Self::Block(Filled { number, .. }) | Self::Known { number, .. } => *number,
        }
    }
}

/// A block with its bytes.
#[derive(Clone)]
pub(super) struct Filled {
    pub(super) number: u64,
    pub(super) key: Key,
    pub(super) bytes: Arc<Buffer>,
    /// The stretches of files in it that are to be hashed.
    pub(super) stretches: Arc<[Stretch]>,
}

/// A stretch of a file in a block.
pub(super) struct Stretch {
    /// Where it begins in the block's bytes.
    pub(super) start: usize,
    pub(super) content: Content,
    /// Whether the file's stat data was what it was expected to be.
    pub(super) as_expected: bool,
}

/// What the hasher knows in the end.
pub(super) struct Hashed {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) keys: Vec<Digest>,
    pub(super) blocks: Vec<HashedBlock>,
}

pub(super) struct HashedBlock {
    pub(super) len: u32,
    pub(super) tar: SavedHasher,
    pub(super) file: Option<SavedHasher>,
}

/// Hashes blocks, which come in any order, and the files that no compressor hashes.
pub(super) fn run(
    sources: &Sources<'_>,
    progress: &Progress,
    blocks: Receiver<Tar>,
) -> Result<Hashed, Error> {
    let (mut tar, mut size) = (Hasher::new(), 0);
    let (mut keys, mut hashed) = (Keys::default(), Vec::new());
    // The file that the last block ended in, and whether its stat data was as expected up to there.
    let mut file: Option<(Hasher, bool)> = None;
    for block in InOrder::new(blocks, Tar::number) {
        let len = match block {
            Tar::Known { row, .. } => {
                tar = resume(&row.tar)?;
                let saved = row.file.as_ref().map(resume).transpose()?;
                file = saved.map(|hasher| (hasher, true));
                keys.push(Key::Known(row.key), None);
                row.len
            }
            Tar::Block(Filled { mut key, bytes, stretches, .. }) => {
                let (mut end, mut unfinished) = (0, None);
                let mine = |stretch: &&Stretch| is_in_order(sources, &stretch.content);
                for Stretch { start, content, as_expected } in stretches.iter().filter(mine) {
                    tar.update(&bytes[end..*start]);
                    end = start + content.len;
                    let (mut hasher, before) = file.take().unwrap_or((Hasher::new(), true));
                    tar.update_both(&mut hasher, &bytes[*start..end]);
                    let as_expected = before && *as_expected;
                    if content.is_last() {
                        let digest = hasher.finish();
                        if let Key::Open(draft) = &mut key {
                            draft.push(content, digest);
                        }
                        keys.settle(digest);
                        sources.hashed(content, digest, as_expected)?;
                    } else {
                        file = Some((hasher, as_expected));
                        unfinished = Some(content);
                    }
                }
                tar.update(&bytes[end..]);
                keys.push(key, unfinished);
                bytes.len() as u32
            }
        };
        size += u64::from(len);
        let file = file.as_ref().map(|(hasher, _)| hasher.save());
        hashed.push(HashedBlock { len, tar: tar.save(), file });
        progress.advance(|done| &mut done.hashed);
    }
    Ok(Hashed { digest: tar.finish(), size, keys: keys.into_inner(), blocks: hashed })
}

/// Whether a file is hashed here, and not by a compressor.
pub(super) const fn is_in_order(sources: &Sources<'_>, content: &Content) -> bool {
    match sources.digests {
        Digests::Promised(_) => !content.is_whole(),
        Digests::Open(_) => true,
    }
}

/// Goes on from the state that a hash had in the earlier layer.
pub(super) fn resume(saved: &SavedHasher) -> Result<Hasher, Error> {
    Hasher::resume(saved).ok_or_else(Error::damaged)
}

/// What a block is called.
#[derive(Clone)]
pub(super) enum Key {
    Known(Digest),
    /// It waits for the digests of the files that end in the block.
    Open(Draft),
}

/// The keys so far.
#[derive(Default)]
struct Keys {
    keys: Vec<Digest>,
    /// Blocks that end in the file whose digest is not known yet, each with its stretch of that file.
    waiting: Vec<(usize, Draft, Content)>,
}

impl Keys {
    /// Adds the key of the next block, which ends with the stretch `unfinished` if that file goes on in the next one.
    fn push(&mut self, key: Key, unfinished: Option<&Content>) {
        match (key, unfinished) {
            (Key::Known(key), _) => self.keys.push(key),
            (Key::Open(draft), None) => self.keys.push(draft.finish()),
            (Key::Open(draft), Some(content)) => {
                self.waiting.push((self.keys.len(), draft, content.clone()));
                self.keys.push(Digest::of(b""));
            }
        }
    }

    /// Gives the digest of the file that the last blocks ended in.
    fn settle(&mut self, digest: Digest) {
        for (number, mut draft, content) in self.waiting.drain(..) {
            draft.push(&content, digest);
            self.keys[number] = draft.finish();
        }
    }

    /// Returns the keys of all blocks; by then every file has ended.
    fn into_inner(self) -> Vec<Digest> {
        self.keys
    }
}
