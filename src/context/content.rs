//! Content digests of the files of a context.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::context::Error;
use crate::context::listing::Identity;
use crate::context::stat_cache::Horizon;
use crate::context::walk::identity;
use crate::digest::{Digest, Hasher};
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

/// Reads the file `path` below `root`, which was listed with `expected`, through `buffer`.
pub(super) fn read(
    buffer: &mut [u8],
    root: &OwnedFd,
    path: &RelPath,
    expected: &Identity,
    horizon: Horizon,
) -> Result<Content, Error> {
    let read_error = |source| Error::Read { path: path.clone(), source };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat(root, path.as_path(), flags, Mode::empty())
        .map_err(|errno| read_error(errno.into()))?;
    let capability = capability(&file).map_err(|errno| read_error(errno.into()))?;
    let mut file = std::fs::File::from(file);
    let (digest, size) = hash(&mut file, buffer).map_err(read_error)?;
    if size != expected.size {
        return Err(Error::Changed { path: path.clone() });
    }
    let now = rustix::fs::fstat(&file).map_err(|errno| read_error(errno.into()))?;
    let lasting = identity(&now) == *expected && horizon.is_past(expected);
    Ok(Content { digest, capability, lasting })
}

fn hash(file: &mut std::fs::File, buffer: &mut [u8]) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::new();
    let mut size = 0;
    loop {
        match file.read(buffer) {
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
fn capability(file: &OwnedFd) -> Result<Option<Box<[u8]>>, Errno> {
    let mut value = [0; 256];
    match rustix::fs::fgetxattr(file, CAPABILITY, &mut value) {
        Ok(size) => Ok(Some(value[..size].into())),
        // None set, or the file system knows no extended attributes.
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}
