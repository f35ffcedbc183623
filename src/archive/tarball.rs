//! The tar around an archive's files: regular files with nothing but a name, a size and a mode.

use std::io::{self, Write};

use super::blob_file;
use crate::image::Blob;
use crate::store::Store;

/// The unit of a tar.
const BLOCK: usize = 512;

/// A tar that is being written.
pub(super) struct Tarball<W: Write>(tar::Builder<W>);

impl<W: Write> Tarball<W> {
    pub(super) fn new(out: W) -> Self {
        Self(tar::Builder::new(out))
    }

    /// Adds `blobs/` and every blob; copying verifies them.
    pub(super) fn blobs(&mut self, store: &Store, blobs: &[Blob]) -> Result<(), super::Error> {
        for directory in ["blobs/", "blobs/sha256/"] {
            self.header(directory, tar::EntryType::Directory, 0o755, 0)?;
        }
        for blob in blobs {
            self.header(&blob_file(&blob.digest), tar::EntryType::Regular, 0o644, blob.size)?;
            store.open_blob(blob)?.copy_to(self.0.get_mut())?;
            self.pad(blob.size)?;
        }
        Ok(())
    }

    pub(super) fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let size = content.len() as u64;
        self.header(name, tar::EntryType::Regular, 0o644, size)?;
        self.0.get_mut().write_all(content)?;
        self.pad(size)
    }

    fn header(&mut self, name: &str, kind: tar::EntryType, mode: u32, size: u64) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name)?;
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        self.0.get_mut().write_all(header.as_bytes())
    }

    /// Fills the last block of a content of `size` bytes.
    fn pad(&mut self, size: u64) -> io::Result<()> {
        let missing = (size.wrapping_neg() % BLOCK as u64) as usize;
        self.0.get_mut().write_all(&[0; BLOCK][..missing])
    }

    /// Writes the end of the tar; without it, the tar is cut off.
    pub(super) fn finish(self) -> io::Result<()> {
        self.0.into_inner()?.flush()
    }
}
