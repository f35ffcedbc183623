//! An archive that is written while its layers are made.
//!
//! Layers come first in an archive, so where one begins is known as soon as those below it are. Its bytes are added while
//! it is packed, and the header before them, which names their digest, in the end. What then turns out not to be in the
//! archive is cut off: nothing of all this shows in it.

use std::fs::File;
use std::io::{self, BufWriter, Seek as _, SeekFrom, Write};
use std::os::unix::fs::FileExt as _;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::Error;
use super::tarball::{FIRST_BLOB, HEADER, add_blob, blob_header, directories, padded, padding};
use crate::disk;
use crate::image::Blob;
use crate::store::Store;

/// Room is asked for in steps of so many bytes.
const STEP_BYTES: u64 = 64 << 20;

/// After so many bytes of a layer of the store somebody is asked whether to go on.
const COPY_BYTES: usize = 1 << 20;

/// The beginning of an archive.
#[derive(Debug)]
pub struct Growing {
    file: File,
    /// The layers that are whole, each with where the next one begins.
    layers: Vec<(Blob, u64)>,
    open: Option<Open>,
    reserved: u64,
}

/// A layer that is being written.
#[derive(Debug)]
struct Open {
    from: File,
    /// How much of it is in the archive.
    len: u64,
}

impl Growing {
    /// Begins an archive in an empty file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn new(mut file: File) -> io::Result<Self> {
        directories(&mut file)?;
        Ok(Self { file, layers: Vec::new(), open: None, reserved: 0 })
    }

    /// Makes it the beginning of an archive of these layers, as far as the store has them.
    ///
    /// # Errors
    /// If a layer cannot be read or the archive not be written, or if `go_on` says no. It is of no use then.
    pub fn hold(&mut self, store: &Store, layers: &[Blob], go_on: &dyn Fn() -> bool) -> Result<(), Error> {
        if self.common(layers) == layers.len() {
            return Ok(());
        }
        self.keep(layers);
        for blob in layers[self.layers.len()..].iter().take_while(|blob| store.contains(blob)) {
            self.reserve(self.len_with(blob))?;
            (&self.file).seek(SeekFrom::Start(self.len()))?;
            let mut out = BufWriter::with_capacity(COPY_BYTES, Asking { out: &self.file, go_on });
            add_blob(store, blob, &mut out)?;
            out.flush()?;
            self.layers.push((blob.clone(), self.len_with(blob)));
        }
        Ok(())
    }

    /// Begins a layer above those `below`, if it holds all of them. It is being written to `from`.
    pub fn begin(&mut self, below: &[Blob], from: File) {
        self.keep(below);
        self.open = (self.layers.len() == below.len()).then_some(Open { from, len: 0 });
    }

    /// Adds what there is by now of the layer that was begun: `len` bytes in all.
    ///
    /// # Errors
    /// If it cannot be read, or the archive not be written. It is of no use then.
    pub fn grow(&mut self, len: u64) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let start = self.len() + HEADER;
        self.reserve(start + len)?;
        while open.len < len {
            // Not by the position of the file, which is that of who writes to it.
            let (mut from, mut to) = (open.len, start + open.len);
            let left = usize::try_from(len - open.len).unwrap_or(usize::MAX);
            match rustix::fs::copy_file_range(&open.from, Some(&mut from), &self.file, Some(&mut to), left) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => open.len += count as u64,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.open = Some(open);
        Ok(())
    }

    /// Ends the layer that was begun, which became this blob.
    ///
    /// # Errors
    /// As with [`grow`](Self::grow).
    pub fn end(&mut self, blob: &Blob) -> io::Result<()> {
        self.grow(blob.size)?;
        if self.open.take().is_some_and(|open| open.len == blob.size) {
            let start = self.len();
            self.file.write_all_at(&blob_header(blob)?, start)?;
            self.file.write_all_at(padding(blob.size), start + HEADER + blob.size)?;
            self.layers.push((blob.clone(), self.len_with(blob)));
        }
        Ok(())
    }

    /// Returns the file of an archive of these blobs, ready for the rest of them, and how many it holds.
    ///
    /// # Errors
    /// If what is not of the archive cannot be cut off.
    pub fn finish(mut self, blobs: &[Blob]) -> io::Result<(File, usize)> {
        self.keep(blobs);
        self.file.set_len(self.len())?;
        self.file.seek(SeekFrom::Start(self.len()))?;
        Ok((self.file, self.layers.len()))
    }

    /// Forgets what is not as in an archive of these blobs.
    fn keep(&mut self, blobs: &[Blob]) {
        self.layers.truncate(self.common(blobs));
        self.open = None;
    }

    /// Returns how many of its layers an archive of these blobs begins with.
    fn common(&self, blobs: &[Blob]) -> usize {
        self.layers.iter().zip(blobs).take_while(|((layer, _), blob)| layer.digest == blob.digest).count()
    }

    /// Returns where the layers that are whole end.
    fn len(&self) -> u64 {
        self.layers.last().map_or(FIRST_BLOB, |(_, end)| *end)
    }

    /// Returns where it ends with one more layer.
    fn len_with(&self, blob: &Blob) -> u64 {
        self.len() + HEADER + padded(blob.size)
    }

    fn reserve(&mut self, end: u64) -> io::Result<()> {
        if end > self.reserved {
            let step = (end - self.reserved).next_multiple_of(STEP_BYTES);
            if self.reserved + step > disk::share(&self.file, self.reserved)? {
                return Err(io::ErrorKind::StorageFull.into());
            }
            reserve(&self.file, self.reserved, step)?;
            self.reserved += step;
        }
        Ok(())
    }
}

/// Writes as long as somebody wants it.
struct Asking<'a> {
    out: &'a File,
    go_on: &'a dyn Fn() -> bool,
}

impl Write for Asking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match (self.go_on)() {
            true => self.out.write(bytes),
            false => Err(io::Error::other("nobody waits for the archive")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Asks for room in a long file, so that a disk that is too full says so at once. ext4 would also write all of a file that has
/// none yet before it lets it replace another one (`auto_da_alloc`), while everybody waits.
///
/// # Errors
/// If there is none.
pub fn reserve(file: &File, start: u64, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, start, len) {
        Err(full @ (Errno::NOSPC | Errno::DQUOT)) => Err(full.into()),
        // Not every file system knows it.
        Ok(()) | Err(_) => Ok(()),
    }
}
