//! Content digests remembered by stat data, so that an unchanged context is not read again.
//!
//! One file per context directory:
//!
//! ```text
//! "kiln stat cache 2\n"
//! chunk*
//!   length u32 of its records
//!   sha256 of the seal of the chunk before (of the first line for the first) and the records, 32 bytes: the seal
//!   record*                      in the order of paths
//!     flags u8: 1 another device than the record before, 2 a capability
//!     how many bytes of the path are those of the record before u16 (none in the first of a chunk)
//!     length of the rest u16, the rest
//!     size u64, mtime i64 + u32, ctime i64 + u32, inode u64
//!     digest 32 bytes
//!     device u64, if it is another one
//!     capability length u16, capability, if there is one
//! ```
//!
//! Numbers are little-endian. The file is read and written as a stream, a chunk at a time, and replaced atomically. A
//! chunk whose seal is not that of its records, or that is cut off, is not trusted, and nothing behind it; a file of
//! another version counts as empty.
//!
//! Stat data proves nothing about a file that was written in the same tick of the clock in which it was
//! hashed: another write in that tick would leave the same stat data. So, like git's index, the cache
//! takes only digests of files whose last change lies before the hashing began ([`Horizon`]). The
//! clock is that of the file system: the time that a file made there gets.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use fs_err as fs;

use crate::context::content::Content;
use crate::context::listing::{FileTime, Identity};
use crate::digest::{Digest, Hasher};
use crate::path::common_prefix;

const MAGIC: &[u8] = b"kiln stat cache 2\n";
const DIGEST_BYTES: usize = 32;
/// A chunk is sealed as soon as it has as many bytes.
const CHUNK_BYTES: usize = 128 * 1024;
/// No chunk is longer: a record has less than a tenth of the difference.
const CHUNK_LIMIT_BYTES: usize = 2 * CHUNK_BYTES;
const LENGTH_BYTES: usize = 4;

const OTHER_DEVICE: u8 = 1;
const CAPABILITY: u8 = 2;

/// What a file system's clock can tell apart: the kernel's tick (at most 10 ms), or two seconds where times
/// have no fraction, as on FAT.
const TICK_NANOSECONDS: i128 = 10_000_000;
const COARSE_TICK_NANOSECONDS: i128 = 2_000_000_000;

/// The time before which a file must have been written last to be remembered; none is far enough in the past
/// without a clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Horizon(Option<FileTime>);

impl Horizon {
    /// Asks the file system that holds `cache_file` what time it is.
    pub(super) fn now(cache_file: &Path) -> io::Result<Self> {
        let directory = cache_file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let stat = rustix::fs::fstat(tempfile::tempfile_in(directory)?)?;
        Ok(Self(Some(super::walk::identity(&stat).mtime)))
    }

    /// Tells whether a file with this stat data was surely written before.
    pub(super) fn is_past(self, identity: &Identity) -> bool {
        let Some(horizon) = self.0 else { return false };
        let nanoseconds =
            |time: FileTime| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
        let last = identity.mtime.max(identity.ctime);
        let coarse = identity.mtime.nanoseconds == 0 && identity.ctime.nanoseconds == 0;
        let tick = if coarse { COARSE_TICK_NANOSECONDS } else { TICK_NANOSECONDS };
        nanoseconds(last) + tick < nanoseconds(horizon)
    }
}

/// A cache that is being read.
pub(super) struct Reader {
    /// `None` behind the end of what can be trusted.
    file: Option<fs::File>,
    seal: Digest,
    chunk: Vec<u8>,
    /// Where the next record begins in the chunk.
    at: usize,
    path: Vec<u8>,
    device: u64,
}

impl Reader {
    /// Opens the cache in `file`; `None` if there is none, or one of another version.
    pub(super) fn open(file: &Path) -> Option<Self> {
        let mut file = fs::File::open(file).ok()?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).ok()?;
        let (file, seal) = (Some(file), Digest::of(MAGIC));
        (magic == MAGIC).then(|| Self { file, seal, chunk: Vec::new(), at: 0, path: Vec::new(), device: 0 })
    }

    /// Returns what is remembered of the next file in the order of paths; `None` at the end of what can be trusted,
    /// and ever after.
    pub(super) fn next(&mut self) -> Option<(Identity, Content)> {
        let record = self.read();
        if record.is_none() {
            self.file = None;
        }
        record
    }

    /// Returns the path of the file that [`Reader::next`] told of last.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    fn read(&mut self) -> Option<(Identity, Content)> {
        self.file.as_ref()?;
        if self.at == self.chunk.len() {
            self.read_chunk()?;
        }
        let mut fields = Fields(&self.chunk[self.at..]);
        let record = fields.record(&mut self.path, &mut self.device)?;
        self.at = self.chunk.len() - fields.0.len();
        Some(record)
    }

    fn read_chunk(&mut self) -> Option<()> {
        let file = self.file.as_mut()?;
        let mut head = [0; LENGTH_BYTES + DIGEST_BYTES];
        file.read_exact(&mut head).ok()?;
        let mut fields = Fields(&head);
        let length = usize::try_from(u32::from_le_bytes(fields.take()?)).ok()?;
        let seal = Digest::from_bytes(fields.take()?);
        if length == 0 || length > CHUNK_LIMIT_BYTES {
            return None;
        }
        self.chunk.resize(length, 0);
        file.read_exact(&mut self.chunk).ok()?;
        self.at = 0;
        self.path.clear();
        self.seal = seal_of(&self.seal, &self.chunk);
        (self.seal == seal).then_some(())
    }
}

/// A cache that is being written.
pub(super) struct Writer {
    file: tempfile::NamedTempFile,
    seal: Digest,
    chunk: Vec<u8>,
    /// Of the record before.
    path: Vec<u8>,
    device: u64,
}

impl Writer {
    /// Begins the cache that will replace the one in `file`.
    pub(super) fn new(file: &Path) -> io::Result<Self> {
        let directory = file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(MAGIC)?;
        let chunk = Vec::with_capacity(CHUNK_LIMIT_BYTES);
        Ok(Self { file, seal: Digest::of(MAGIC), chunk, path: Vec::new(), device: 0 })
    }

    /// Adds what is known of the file `path`, which comes behind all before in the order of paths.
    pub(super) fn push(&mut self, path: &[u8], identity: &Identity, content: &Content) -> io::Result<()> {
        let Identity { size, mtime, ctime, inode, device } = *identity;
        let shared = common_prefix(&self.path, path);
        let capability = content.capability.as_deref();
        // Neither can be longer: the kernel's limits are 4096 and 256 bytes.
        let (Ok(_), Ok(capability_length)) =
            (u16::try_from(path.len()), u16::try_from(capability.map_or(0, <[u8]>::len)))
        else {
            return Ok(());
        };
        let other_device = if device == self.device { 0 } else { OTHER_DEVICE };
        let bytes = &mut self.chunk;
        bytes.push(other_device | if capability.is_some() { CAPABILITY } else { 0 });
        bytes.extend_from_slice(&(shared as u16).to_le_bytes());
        bytes.extend_from_slice(&((path.len() - shared) as u16).to_le_bytes());
        bytes.extend_from_slice(&path[shared..]);
        bytes.extend_from_slice(&size.to_le_bytes());
        for time in [mtime, ctime] {
            bytes.extend_from_slice(&time.seconds.to_le_bytes());
            bytes.extend_from_slice(&time.nanoseconds.to_le_bytes());
        }
        bytes.extend_from_slice(&inode.to_le_bytes());
        bytes.extend_from_slice(content.digest.as_bytes());
        if other_device != 0 {
            bytes.extend_from_slice(&device.to_le_bytes());
        }
        if let Some(capability) = capability {
            bytes.extend_from_slice(&capability_length.to_le_bytes());
            bytes.extend_from_slice(capability);
        }
        self.path.truncate(shared);
        self.path.extend_from_slice(&path[shared..]);
        self.device = device;
        if self.chunk.len() >= CHUNK_BYTES { self.write_chunk() } else { Ok(()) }
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        let length = u32::try_from(self.chunk.len()).map_err(io::Error::other)?;
        self.seal = seal_of(&self.seal, &self.chunk);
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(self.seal.as_bytes())?;
        self.file.write_all(&self.chunk)?;
        self.chunk.clear();
        self.path.clear();
        Ok(())
    }

    /// Replaces the cache in `file` by what was added.
    pub(super) fn save(mut self, file: &Path) -> io::Result<()> {
        if !self.chunk.is_empty() {
            self.write_chunk()?;
        }
        self.file.persist(file).map(drop).map_err(|error| error.error)
    }
}

/// Returns what a chunk must be sealed with behind one with the seal `before`.
pub(super) fn seal_of(before: &Digest, chunk: &[u8]) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(before.as_bytes());
    hasher.update(chunk);
    hasher.finish()
}

/// Takes fields off the front of bytes.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Takes a record; `path` and `device` are those of the record before and become its own.
    fn record(&mut self, path: &mut Vec<u8>, device: &mut u64) -> Option<(Identity, Content)> {
        let [flags] = self.take()?;
        let (shared, rest) = (u16::from_le_bytes(self.take()?), u16::from_le_bytes(self.take()?));
        let rest = self.slice(rest.into())?;
        if usize::from(shared) > path.len() {
            return None;
        }
        path.truncate(shared.into());
        path.extend_from_slice(rest);
        let size = u64::from_le_bytes(self.take()?);
        let (mtime, ctime) = (self.time()?, self.time()?);
        let inode = u64::from_le_bytes(self.take()?);
        let digest = Digest::from_bytes(self.take::<DIGEST_BYTES>()?);
        if flags & OTHER_DEVICE != 0 {
            *device = u64::from_le_bytes(self.take()?);
        }
        let mut capability = None;
        if flags & CAPABILITY != 0 {
            let length = u16::from_le_bytes(self.take()?);
            capability = Some(self.slice(length.into())?.into());
        }
        let identity = Identity { size, mtime, ctime, inode, device: *device };
        Some((identity, Content { digest, capability, lasting: true }))
    }

    fn time(&mut self) -> Option<FileTime> {
        let seconds = i64::from_le_bytes(self.take()?);
        Some(FileTime { seconds, nanoseconds: u32::from_le_bytes(self.take()?) })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }
}
