//! Content digests of the files of a context.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::Stat;
use rustix::io::Errno;

use crate::context::Error;
use crate::context::listing::Identity;
use crate::context::stat_cache::Horizon;
use crate::context::walk::identity;
use crate::digest::{Digest, Hasher};
use crate::open;
use crate::path::RelPath;
use crate::tree::Xattrs;

const CAPABILITY: &str = "security.capability";
/// Enough for most files at once.
pub(super) const READ_BUFFER_BYTES: usize = 128 * 1024;

/// What was read of a file.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) digest: Digest,
    pub(super) capability: Option<Box<[u8]>>,
    /// Whether the same stat data will still mean the same content at the next build.
    pub(super) lasting: bool,
}

impl Content {
    /// Returns the extended attributes as an entry has them.
    pub(super) fn xattrs(&self) -> Option<Arc<Xattrs>> {
        let capability = self.capability.clone()?;
        Some(Arc::new(Xattrs::from([(CAPABILITY.as_bytes().into(), capability)])))
    }
}

/// Why the content of a file is not known.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    /// It is not what was listed.
    Changed,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

impl Failure {
    pub(super) fn at(self, path: RelPath) -> Error {
        match self {
            Self::Io(source) => Error::Read { path, source },
            Self::Changed => Error::Changed { path },
        }
    }
}

/// Reads the file `name` of `directory`, which was listed with `expected`, through `buffer`.
pub(super) fn read(
    buffer: &mut [u8],
    directory: &OwnedFd,
    name: &[u8],
    expected: &Identity,
    horizon: Horizon,
) -> Result<Content, Failure> {
    let file = open::for_reading(directory, name)?;
    let capability = capability(&file)?;
    let mut file = std::fs::File::from(file);
    let (digest, size) = hash(&mut file, expected.size, buffer).map_err(Failure::Io)?;
    let now = rustix::fs::fstat(&file)?;
    if size != expected.size || u64::try_from(now.st_size) != Ok(size) {
        return Err(Failure::Changed);
    }
    Ok(Content { digest, capability, lasting: is_lasting(&now, expected, horizon) })
}

/// Whether a file that was listed with `expected`, and had the stat data `now` after it was read, surely has the content that
/// was read as long as it has them.
pub(super) fn is_lasting(now: &Stat, expected: &Identity, horizon: Horizon) -> bool {
    identity(now) == *expected && horizon.is_past(expected)
}

/// Hashes up to `expected` bytes; returns how many there were.
fn hash(file: &mut std::fs::File, expected: u64, buffer: &mut [u8]) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::new();
    let mut size = 0;
    loop {
        let left = usize::try_from(expected - size).map_or(buffer.len(), |left| left.min(buffer.len()));
        // The kernel is not asked for the end: stat data tells whether there is more.
        if left == 0 {
            return Ok((hasher.finish(), size));
        }
        match file.read(&mut buffer[..left]) {
            Ok(0) => return Ok((hasher.finish(), size)),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Returns the file capabilities; they have at most 24 bytes.
pub(super) fn capability(file: impl AsFd) -> Result<Option<Box<[u8]>>, Errno> {
    let mut value = [0; 256];
    match rustix::fs::fgetxattr(file, CAPABILITY, &mut value) {
        Ok(size) => Ok(Some(value[..size].into())),
        // None set, or the file system knows no extended attributes.
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}
