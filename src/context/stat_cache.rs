//! Content digests remembered by stat data, so that an unchanged context is not read again.
//!
//! One file per context directory:
//!
//! ```text
//! "kiln stat cache 1\n"
//! record*                      in the order of paths
//!   path length u16, path
//!   size u64, mtime i64 + u32, ctime i64 + u32, inode u64, device u64
//!   digest 32 bytes
//!   capability length u16, capability
//! sha256 of everything before, 32 bytes
//! ```
//!
//! Numbers are little-endian. The file is read in one go and replaced atomically. One that is damaged or of
//! another version counts as empty.
//!
//! Stat data proves nothing about a file that was written in the same tick of the clock in which it was
//! hashed: another write in that tick would leave the same stat data. So, like git's index, the cache
//! takes only digests of files whose last change lies before the hashing began ([`Horizon`]). The
//! clock is that of the file system: the time that a file made there gets.

use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use fs_err as fs;

use crate::context::listing::{FileTime, Identity};
use crate::digest::{Digest, Hasher};
use crate::path::RelPath;

const MAGIC: &[u8] = b"kiln stat cache 1\n";
const DIGEST_BYTES: usize = 32;
const WRITE_BUFFER_BYTES: usize = 256 * 1024;
/// Size, two times, inode, device.
const IDENTITY_BYTES: usize = 8 + 12 + 12 + 8 + 8;

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

/// One remembered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) identity: Identity,
    pub(super) digest: Digest,
    pub(super) capability: Option<Box<[u8]>>,
}

/// The content of a stat cache's file.
#[derive(Debug, Default)]
pub(super) struct StatCache {
    bytes: Vec<u8>,
    /// Where each record begins in `bytes`, in the order of paths.
    starts: Vec<usize>,
}

impl StatCache {
    /// Reads the cache; a missing, unreadable or damaged one is empty.
    pub(super) fn load(file: &Path) -> Self {
        fs::read(file).ok().and_then(Self::parse).unwrap_or_default()
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let end = bytes.len().checked_sub(DIGEST_BYTES)?;
        if !bytes.starts_with(MAGIC) || Digest::of(&bytes[..end]).as_bytes()[..] != bytes[end..] {
            return None;
        }
        let mut starts = Vec::new();
        let mut at = MAGIC.len();
        while at < end {
            starts.push(at);
            let mut reader = Reader(&bytes[at..end]);
            reader.path()?;
            reader.record()?;
            at = end - reader.0.len();
        }
        Some(Self { bytes, starts })
    }

    /// Returns how many bytes it holds in memory, or nearly.
    pub(super) const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Starts a series of look-ups.
    pub(super) const fn lookup(&self) -> Lookup<'_> {
        Lookup { cache: self, next: 0 }
    }

    fn path_at(&self, index: usize) -> Option<&[u8]> {
        Reader(&self.bytes[*self.starts.get(index)?..]).path()
    }

    fn record_at(&self, index: usize) -> Option<Record> {
        let mut reader = Reader(&self.bytes[*self.starts.get(index)?..]);
        reader.path()?;
        reader.record()
    }
}

/// Looks records up; fastest when asked in the order of paths.
pub(super) struct Lookup<'a> {
    cache: &'a StatCache,
    /// The index behind the record found last.
    next: usize,
}

impl Lookup<'_> {
    /// Returns what is remembered of `path`, if its stat data is still `identity`.
    pub(super) fn get(&mut self, path: &RelPath, identity: &Identity) -> Option<Record> {
        let index = self.index_of(path.as_bytes())?;
        self.next = index + 1;
        self.cache.record_at(index).filter(|record| record.identity == *identity)
    }

    fn index_of(&self, path: &[u8]) -> Option<usize> {
        if self.cache.path_at(self.next) == Some(path) {
            return Some(self.next);
        }
        // Component-wise, as paths are ordered.
        let components =
            |path: &'_ [u8]| path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
        let wanted = components(path);
        let compare = |start: &usize| {
            Reader(&self.cache.bytes[*start..]).path().map(components).cmp(&Some(wanted.clone()))
        };
        self.cache.starts.binary_search_by(compare).ok()
    }
}

/// A cache that is being written.
pub(super) struct Writer {
    file: BufWriter<tempfile::NamedTempFile>,
    hasher: Hasher,
    record: Vec<u8>,
}

impl Writer {
    /// Begins the cache that will replace the one in `file`.
    pub(super) fn new(file: &Path) -> io::Result<Self> {
        let directory = file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let temporary = tempfile::NamedTempFile::new_in(directory)?;
        let file = BufWriter::with_capacity(WRITE_BUFFER_BYTES, temporary);
        let mut writer = Self { file, hasher: Hasher::new(), record: MAGIC.to_vec() };
        writer.write()?;
        Ok(writer)
    }

    /// Adds the record of `path`, which comes behind all before in the order of paths.
    pub(super) fn push(&mut self, path: &RelPath, record: &Record) -> io::Result<()> {
        write_record(&mut self.record, path, record);
        self.write()
    }

    fn write(&mut self) -> io::Result<()> {
        self.hasher.update(&self.record);
        self.file.write_all(&self.record)?;
        self.record.clear();
        Ok(())
    }

    /// Replaces the cache in `file` by what was added.
    pub(super) fn save(mut self, file: &Path) -> io::Result<()> {
        self.file.write_all(self.hasher.finish().as_bytes())?;
        let temporary = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        temporary.persist(file).map(drop).map_err(|error| error.error)
    }
}

fn write_record(bytes: &mut Vec<u8>, path: &RelPath, record: &Record) {
    let Record { identity: Identity { size, mtime, ctime, inode, device }, digest, capability } = record;
    let capability = capability.as_deref().unwrap_or_default();
    // Neither can be longer: the kernel's limits are 4096 and 256 bytes.
    let (Ok(path_length), Ok(capability_length)) =
        (u16::try_from(path.as_bytes().len()), u16::try_from(capability.len()))
    else {
        return;
    };
    bytes.extend_from_slice(&path_length.to_le_bytes());
    bytes.extend_from_slice(path.as_bytes());
    bytes.extend_from_slice(&size.to_le_bytes());
    for time in [mtime, ctime] {
        bytes.extend_from_slice(&time.seconds.to_le_bytes());
        bytes.extend_from_slice(&time.nanoseconds.to_le_bytes());
    }
    bytes.extend_from_slice(&inode.to_le_bytes());
    bytes.extend_from_slice(&device.to_le_bytes());
    bytes.extend_from_slice(digest.as_bytes());
    bytes.extend_from_slice(&capability_length.to_le_bytes());
    bytes.extend_from_slice(capability);
}

/// Takes fields off the front of bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn path(&mut self) -> Option<&'a [u8]> {
        let length = self.take::<2>().map(u16::from_le_bytes)?;
        self.slice(length.into())
    }

    fn record(&mut self) -> Option<Record> {
        if self.0.len() < IDENTITY_BYTES {
            return None;
        }
        let size = u64::from_le_bytes(self.take()?);
        let (mtime, ctime) = (self.time()?, self.time()?);
        let (inode, device) = (u64::from_le_bytes(self.take()?), u64::from_le_bytes(self.take()?));
        let digest = Digest::from_bytes(self.take::<DIGEST_BYTES>()?);
        let length = self.take::<2>().map(u16::from_le_bytes)?;
        let capability = self.slice(length.into())?;
        let capability = (!capability.is_empty()).then(|| capability.into());
        Some(Record { identity: Identity { size, mtime, ctime, inode, device }, digest, capability })
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
