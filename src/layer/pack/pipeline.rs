//! The threads that turn a plan into a layer.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::plan::{Block, Content, Piece, Plan};
use super::source::Sources;
use super::{Compression, Error, PackOptions, Packed};
use crate::digest::{DiffId, Digest, Hasher};
use crate::tree::Changes;

/// Files are read by as many threads, so that a disk has something to choose from.
const READERS: usize = 4;

/// More compressors would need more memory, and more than four readers to feed them (unmeasured).
const MOST_JOBS: usize = 32;

/// A block with its bytes.
#[derive(Clone)]
struct Filled {
    number: u64,
    bytes: Arc<Vec<u8>>,
    /// The stretches of files in it, each with where it begins in the bytes.
    contents: Arc<[(usize, Content)]>,
}

struct Compressed {
    number: u64,
    bytes: Arc<Vec<u8>>,
}

pub(super) fn run(changes: &Changes, options: &PackOptions, mut out: impl Write) -> Result<Packed, Error> {
    let jobs = options.jobs.clamp(1, MOST_JOBS);
    let sources = Sources::open(changes)?;
    let plan = Mutex::new((0, Plan::new(changes, options.clamp_mtime)));
    // Every compressor has a block in work and one waiting, every reader one in hand.
    let progress = Progress::new(2 * jobs + READERS);
    let (to_hasher, for_hasher) = mpsc::channel::<Filled>();
    let (to_compressor, for_compressor) = mpsc::channel::<Filled>();
    let for_compressor = Mutex::new(for_compressor);
    let (to_writer, for_writer) = mpsc::channel::<Compressed>();

    let (hashed, written) = thread::scope(|scope| {
        let (progress, sources, plan, for_compressor) = (&progress, &sources, &plan, &for_compressor);
        for _ in 0..READERS {
            let (to_hasher, to_compressor) = (to_hasher.clone(), to_compressor.clone());
            scope.spawn(move || {
                progress.guard(|| fill_blocks(plan, sources, progress, &to_hasher, &to_compressor))
            });
        }
        for _ in 0..jobs {
            let to_writer = to_writer.clone();
            scope.spawn(move || {
                progress.guard(|| compress_blocks(for_compressor, sources, options.compression, &to_writer))
            });
        }
        // The channels end with the last thread that sends.
        drop((to_hasher, to_compressor, to_writer));
        let hasher = scope.spawn(move || progress.guard(|| hash_blocks(for_hasher, sources, progress)));
        let written = progress.guard(|| write_blocks(for_writer, &mut out, progress));
        (hasher.join(), written)
    });
    if let Some(error) = progress.into_error() {
        return Err(error);
    }
    let hashed = hashed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let ((diff_id, uncompressed_size), (digest, size)) =
        hashed.zip(written).expect("who fails leaves an error behind");
    Ok(Packed { diff_id: DiffId(diff_id), digest, size, uncompressed_size })
}

/// Reads blocks, each as soon as there is space for it, and hands them to hasher and compressors.
fn fill_blocks(
    plan: &Mutex<(u64, Plan<'_>)>,
    sources: &Sources<'_>,
    progress: &Progress,
    to_hasher: &Sender<Filled>,
    to_compressor: &Sender<Filled>,
) -> Result<(), Error> {
    loop {
        let (number, block) = {
            let mut plan = lock(plan);
            let Some(block) = plan.1.next() else { return Ok(()) };
            plan.0 += 1;
            (plan.0 - 1, block?)
        };
        if !progress.wait_for_space(number) {
            return Ok(());
        }
        let filled = fill(number, &block, sources)?;
        // A receiver that is gone has failed, and said so.
        if to_hasher.send(filled.clone()).is_err() || to_compressor.send(filled).is_err() {
            return Ok(());
        }
    }
}

fn fill(number: u64, block: &Block, sources: &Sources<'_>) -> Result<Filled, Error> {
    let mut bytes = Vec::with_capacity(block.len);
    let mut contents = Vec::new();
    for piece in &block.pieces {
        match piece {
            Piece::Bytes(piece) => bytes.extend_from_slice(piece),
            Piece::Content(content) => {
                contents.push((bytes.len(), *content));
                sources.read(content, &mut bytes)?;
            }
        }
    }
    Ok(Filled { number, bytes: Arc::new(bytes), contents: contents.into() })
}

/// Compresses blocks, and checks the files that lie in one block.
fn compress_blocks(
    blocks: &Mutex<Receiver<Filled>>,
    sources: &Sources<'_>,
    compression: Compression,
    to_writer: &Sender<Compressed>,
) -> Result<(), Error> {
    let mut codec = Codec::new(compression)?;
    loop {
        let Ok(block) = lock(blocks).recv() else { return Ok(()) };
        for (start, content) in block.contents.iter().filter(|(_, content)| content.is_whole()) {
            if Digest::of(&block.bytes[*start..start + content.len]) != content.digest {
                return Err(sources.changed(content.change));
            }
        }
        let bytes = codec.compress(block.bytes)?;
        if to_writer.send(Compressed { number: block.number, bytes }).is_err() {
            return Ok(());
        }
    }
}

/// Hashes the blocks in order, and checks the files that lie in several.
fn hash_blocks(
    blocks: Receiver<Filled>,
    sources: &Sources<'_>,
    progress: &Progress,
) -> Result<(Digest, u64), Error> {
    let (mut hasher, mut size) = (Hasher::new(), 0);
    let mut file = Hasher::new();
    for block in InOrder::new(blocks, |block: &Filled| block.number) {
        hasher.update(&block.bytes);
        size += block.bytes.len() as u64;
        for (start, content) in block.contents.iter().filter(|(_, content)| !content.is_whole()) {
            file.update(&block.bytes[*start..start + content.len]);
            if content.is_last() && std::mem::take(&mut file).finish() != content.digest {
                return Err(sources.changed(content.change));
            }
        }
        drop(block.bytes);
        progress.advance(|done| &mut done.hashed);
    }
    Ok((hasher.finish(), size))
}

/// Writes the compressed blocks in order.
fn write_blocks(
    blocks: Receiver<Compressed>,
    out: &mut impl Write,
    progress: &Progress,
) -> Result<(Digest, u64), Error> {
    let (mut hasher, mut size) = (Hasher::new(), 0);
    for block in InOrder::new(blocks, |block: &Compressed| block.number) {
        hasher.update(&block.bytes);
        size += block.bytes.len() as u64;
        out.write_all(&block.bytes).map_err(Error::Write)?;
        drop(block.bytes);
        progress.advance(|done| &mut done.written);
    }
    out.flush().map_err(Error::Write)?;
    Ok((hasher.finish(), size))
}

/// Puts what threads send back into its order.
struct InOrder<T, N> {
    received: Receiver<T>,
    number: N,
    early: BTreeMap<u64, T>,
    next: u64,
}

impl<T, N: Fn(&T) -> u64> InOrder<T, N> {
    const fn new(received: Receiver<T>, number: N) -> Self {
        Self { received, number, early: BTreeMap::new(), next: 0 }
    }
}

impl<T, N: Fn(&T) -> u64> Iterator for InOrder<T, N> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(item) = self.early.remove(&self.next) {
                self.next += 1;
                return Some(item);
            }
            let item = self.received.recv().ok()?;
            self.early.insert((self.number)(&item), item);
        }
    }
}

/// How far the layer is, and whether it has failed.
struct Progress {
    done: Mutex<Done>,
    changed: Condvar,
    window: u64,
}

#[derive(Default)]
struct Done {
    hashed: u64,
    written: u64,
    failed: bool,
    error: Option<Error>,
}

impl Progress {
    fn new(window: usize) -> Self {
        Self { done: Mutex::default(), changed: Condvar::new(), window: window as u64 }
    }

    /// Waits until block `number` is within the window; false if there will be no need for it.
    ///
    /// Blocks are taken in order, so the one that everybody waits for always is within it.
    fn wait_for_space(&self, number: u64) -> bool {
        let mut done = lock(&self.done);
        while !done.failed && number >= done.hashed.min(done.written) + self.window {
            done = self.changed.wait(done).unwrap_or_else(PoisonError::into_inner);
        }
        !done.failed
    }

    fn advance(&self, counter: impl FnOnce(&mut Done) -> &mut u64) {
        *counter(&mut lock(&self.done)) += 1;
        self.changed.notify_all();
    }

    /// Runs the work of a thread. If it fails or panics, nobody waits any longer.
    fn guard<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Option<T> {
        struct Stop<'a>(&'a Progress);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.fail(None);
                }
            }
        }
        let _stop = Stop(self);
        match work() {
            Ok(result) => Some(result),
            Err(error) => {
                self.fail(Some(error));
                None
            }
        }
    }

    fn fail(&self, error: Option<Error>) {
        let mut done = lock(&self.done);
        done.failed = true;
        if done.error.is_none() {
            done.error = error;
        }
        drop(done);
        self.changed.notify_all();
    }

    fn into_error(self) -> Option<Error> {
        self.done.into_inner().unwrap_or_else(PoisonError::into_inner).error
    }
}

/// A lock is poisoned only if a thread panicked, and then the scope panics when it ends.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A compressor of blocks.
pub(super) enum Codec {
    None,
    Gzip(libdeflater::Compressor),
    Zstd(zstd::bulk::Compressor<'static>),
}

impl Codec {
    pub(super) fn new(compression: Compression) -> Result<Self, Error> {
        Ok(match compression {
            Compression::None => Self::None,
            Compression::Gzip { level } => {
                let level = libdeflater::CompressionLvl::new(i32::from(level).min(12));
                let level = level.unwrap_or_else(|_| libdeflater::CompressionLvl::best());
                Self::Gzip(libdeflater::Compressor::new(level))
            }
            Compression::Zstd { level } => {
                let level = i32::from(level.clamp(1, 22));
                Self::Zstd(zstd::bulk::Compressor::new(level).map_err(Error::Compress)?)
            }
        })
    }

    pub(super) fn compress(&mut self, block: Arc<Vec<u8>>) -> Result<Arc<Vec<u8>>, Error> {
        match self {
            Self::None => Ok(block),
            Self::Gzip(compressor) => {
                let mut member = vec![0; compressor.gzip_compress_bound(block.len())];
                let len = compressor
                    .gzip_compress(&block, &mut member)
                    .expect("the bound is enough for any member");
                member.truncate(len);
                member.shrink_to_fit();
                Ok(Arc::new(member))
            }
            Self::Zstd(compressor) => compressor.compress(&block).map(Arc::new).map_err(Error::Compress),
        }
    }
}
