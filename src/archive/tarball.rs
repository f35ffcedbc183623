//! The tar around an archive's files: regular files with nothing but a name, a size and a mode.

use std::io::{self, Write};

use super::{Error, blob_file};
use crate::image::Blob;
use crate::store::Store;

/// The unit of a tar.
const BLOCK: u64 = 512;

/// The directories in which blobs lie.
const DIRECTORIES: [&str; 2] = ["blobs/", "blobs/sha256/"];

/// Where the first blob's header is.
pub(super) const FIRST_BLOB: u64 = DIRECTORIES.len() as u64 * BLOCK;

/// How long the header of a blob is, which lies right before it.
pub(super) const HEADER: u64 = BLOCK;

/// An archive that is to be written.
#[derive(Debug)]
pub struct Archive {
    /// Layers, and then documents.
    pub(super) blobs: Vec<Blob>,
    /// What says what the blobs are.
    pub(super) files: Vec<(&'static str, Vec<u8>)>,
}

impl Archive {
    /// Returns the blobs that it holds, in order.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }

    /// Returns how many bytes it has.
    pub fn size(&self) -> u64 {
        let files = self.files.iter().map(|(_, content)| content.len() as u64);
        let contents = self.blobs.iter().map(|blob| blob.size).chain(files);
        FIRST_BLOB + contents.map(|size| HEADER + padded(size)).sum::<u64>() + 2 * BLOCK
    }

    /// Writes it; what comes from the store is verified.
    ///
    /// # Errors
    /// If the store lacks a blob or `out` fails.
    pub fn write(&self, store: &Store, mut out: impl Write) -> Result<(), Error> {
        directories(&mut out)?;
        self.write_rest(store, 0, out)
    }

    /// Writes what comes behind the first blobs, of which `present` are there.
    ///
    /// # Errors
    /// As with [`write`](Self::write).
    pub fn write_rest(&self, store: &Store, present: usize, mut out: impl Write) -> Result<(), Error> {
        self.blobs[present..].iter().try_for_each(|blob| add_blob(store, blob, &mut out))?;
        for (name, content) in &self.files {
            out.write_all(&header(name, tar::EntryType::Regular, 0o644, content.len() as u64)?)?;
            out.write_all(content)?;
            out.write_all(padding(content.len() as u64))?;
        }
        // The end of a tar; without it, it is cut off.
        out.write_all(&[0; 2 * BLOCK as usize])?;
        Ok(out.flush()?)
    }
}

/// Writes what an archive begins with.
pub(super) fn directories(out: &mut impl Write) -> io::Result<()> {
    DIRECTORIES.iter().try_for_each(|name| out.write_all(&header(name, tar::EntryType::Directory, 0o755, 0)?))
}

/// Adds a blob; copying verifies it.
pub(super) fn add_blob(store: &Store, blob: &Blob, out: &mut impl Write) -> Result<(), Error> {
    out.write_all(&blob_header(blob)?)?;
    store.open_blob(blob)?.copy_to(out)?;
    Ok(out.write_all(padding(blob.size))?)
}

pub(super) fn blob_header(blob: &Blob) -> io::Result<[u8; HEADER as usize]> {
    header(&blob_file(&blob.digest), tar::EntryType::Regular, 0o644, blob.size)
}

fn header(name: &str, kind: tar::EntryType, mode: u32, size: u64) -> io::Result<[u8; HEADER as usize]> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// Returns how much room a content of `size` bytes takes.
pub(super) const fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK)
}

/// Returns what fills the last block of a content of `size` bytes.
pub(super) fn padding(size: u64) -> &'static [u8] {
    &[0; BLOCK as usize][..(padded(size) - size) as usize]
}
