//! Blobs on their way in and out: hashed while written, verified while read.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::PoisonError;

use super::{Error, Result, Store, persist};
use crate::digest::{Digest, Hasher};
use crate::image::Blob;

/// A blob that is being written by someone who hashes it. Dropping it unfinished removes the bytes.
#[derive(Debug)]
pub struct HashedWriter {
    store: Store,
    file: tempfile::NamedTempFile,
}

impl HashedWriter {
    pub(super) fn create(store: &Store) -> Result<Self> {
        Ok(Self { store: store.clone(), file: store.temporary_file()? })
    }

    /// Returns the file that is being written, for who reads what is there by now. Its position is the writer's.
    ///
    /// # Errors
    /// If the process has too many files open.
    pub fn file(&self) -> io::Result<File> {
        self.file.as_file().try_clone()
    }

    /// Puts the blob into the store under its digest, which is taken on trust, as is its size.
    ///
    /// # Errors
    /// If it cannot be renamed into place.
    pub fn commit(self, digest: Digest, size: u64) -> Result<()> {
        let Self { store, file } = self;
        // An equal blob that is already there may be synced and open elsewhere: it stays.
        if !store.has_size(&digest, size) {
            persist(file, &store.blob_path(&digest))?;
            store.0.written.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        }
        Ok(())
    }
}

impl Write for HashedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file_mut().flush()
    }
}

/// A blob that is being written and hashed. Dropping it unfinished removes the bytes.
#[derive(Debug)]
pub struct BlobWriter {
    out: HashedWriter,
    hasher: Hashing,
}

#[derive(Default)]
struct Hashing {
    hasher: Hasher,
    size: u64,
}

impl std::fmt::Debug for Hashing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.size)
    }
}

impl BlobWriter {
    pub(super) fn create(store: &Store) -> Result<Self> {
        Ok(Self { out: HashedWriter::create(store)?, hasher: Hashing::default() })
    }

    /// Returns how many bytes were written.
    pub const fn size(&self) -> u64 {
        self.hasher.size
    }

    /// Puts the blob into the store under the digest of its bytes; returns digest and size.
    ///
    /// # Errors
    /// If it cannot be renamed into place.
    pub fn commit(self) -> Result<(Digest, u64)> {
        let (digest, size) = (self.hasher.hasher.finish(), self.hasher.size);
        self.out.commit(digest, size)?;
        Ok((digest, size))
    }

    /// Puts the blob into the store if the bytes are those that `blob` promises.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if they are not; they are removed.
    pub fn commit_as(self, blob: &Blob) -> Result<()> {
        let actual = self.hasher.hasher.clone().finish();
        if (actual, self.hasher.size) != (blob.digest, blob.size) {
            return Err(Error::Mismatch {
                expected: blob.digest,
                expected_size: blob.size,
                actual,
                actual_size: self.hasher.size,
            });
        }
        self.commit()?;
        Ok(())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.hasher.update(&bytes[..count]);
        self.hasher.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A reader of a blob that ends in an error if the bytes are not those promised.
///
/// It reads no byte beyond the promised size. The last bytes are handed out only once the whole is verified,
/// so whoever has read everything has read the right thing.
pub struct Verifying<R> {
    inner: R,
    expected: Digest,
    size: u64,
    remaining: u64,
    /// Taken when the end was verified.
    hasher: Option<Hasher>,
    /// Whether this process has hashed the bytes already.
    proven: bool,
}

impl<R: Read> Verifying<R> {
    /// Reads from `inner` what `blob` promises.
    pub fn new(inner: R, blob: &Blob) -> Self {
        Self::expecting(inner, blob.digest, blob.size)
    }

    fn expecting(inner: R, expected: Digest, size: u64) -> Self {
        Self { inner, expected, size, remaining: size, hasher: Some(Hasher::new()), proven: false }
    }

    pub(super) fn proven(self, proven: bool) -> Self {
        Self { proven, ..self }
    }

    /// Leaves bytes alone that this process has hashed when it wrote them: for those who have a digest of what they make
    /// of them, and so find damage and a missing end themselves.
    pub fn hashed_once(mut self) -> Self {
        if self.proven {
            self.hasher = None;
        }
        self
    }

    fn verify_end(&mut self) -> io::Result<()> {
        let Some(hasher) = self.hasher.take() else { return Ok(()) };
        let (actual, actual_size) = (hasher.finish(), self.size - self.remaining);
        if actual == self.expected && self.remaining == 0 {
            return Ok(());
        }
        let mismatch =
            Error::Mismatch { expected: self.expected, expected_size: self.size, actual, actual_size };
        Err(io::Error::new(io::ErrorKind::InvalidData, mismatch))
    }
}

impl<R: Read> Read for Verifying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let limit = usize::try_from(self.remaining).map_or(buffer.len(), |most| most.min(buffer.len()));
        let count = if limit == 0 { 0 } else { self.inner.read(&mut buffer[..limit])? };
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.remaining -= count as u64;
        if count == 0 || self.remaining == 0 {
            self.verify_end()?;
        }
        Ok(count)
    }
}

/// Smaller blobs are not worth a thread.
const SMALL_BYTES: u64 = 1 << 20;
const COPY_BUFFER_BYTES: usize = 256 << 10;

impl Verifying<fs_err::File> {
    /// Copies the whole blob to `out`. If that is a file, the kernel moves the bytes, and they are verified
    /// beside it, unless this process has written them.
    ///
    /// # Errors
    /// If `out` fails, or the bytes are not those promised: then `out` holds something wrong.
    pub fn copy_to<W: Write>(self, out: &mut W) -> io::Result<()> {
        let (file, blob_size) = (self.inner.file(), self.size);
        if blob_size < SMALL_BYTES {
            io::copy(&mut BufReader::with_capacity(COPY_BUFFER_BYTES, self), out)?;
            return Ok(());
        }
        if self.proven {
            let copied = io::copy(&mut file.take(blob_size), out)?;
            return if copied == blob_size { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        std::thread::scope(|scope| {
            let check = scope.spawn(|| {
                let again = Verifying::expecting(Positioned { file, offset: 0 }, self.expected, self.size);
                io::copy(&mut BufReader::with_capacity(COPY_BUFFER_BYTES, again), &mut io::sink())
            });
            // Of plain files the standard library knows how the kernel copies them.
            io::copy(&mut file.take(blob_size), out)?;
            check.join().expect("reading returns its errors").map(drop)
        })
    }
}

/// Reads a file without moving the position that others read from.
struct Positioned<'a> {
    file: &'a std::fs::File,
    offset: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl<R> std::fmt::Debug for Verifying<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifying")
            .field("expected", &self.expected)
            .field("remaining", &self.remaining)
            .finish_non_exhaustive()
    }
}

/// Gives back the store's own error that [`Verifying`] had to dress as an I/O error.
pub(super) fn unwrap_mismatch(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(mismatch) => mismatch,
        Err(error) => Error::Io(error),
    }
}
