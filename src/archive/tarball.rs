//! The tar around an archive's files: regular files with nothing but a name, a size and a mode.

use std::io::{self, Read, Write};

use super::blob_file;
use crate::image::Blob;
use crate::store::Store;

/// A tar that is being written.
pub(super) struct Tarball<W: Write>(tar::Builder<W>);

impl<W: Write> Tarball<W> {
    pub(super) fn new(out: W) -> Self {
        Self(tar::Builder::new(out))
    }

    /// Adds `blobs/` and every blob; reading verifies them.
    pub(super) fn blobs(&mut self, store: &Store, blobs: &[Blob]) -> Result<(), super::Error> {
        for directory in ["blobs/", "blobs/sha256/"] {
            self.append(directory, tar::EntryType::Directory, 0o755, 0, io::empty())?;
        }
        for blob in blobs {
            self.file(&blob_file(&blob.digest), blob.size, store.open_blob(blob)?)?;
        }
        Ok(())
    }

    pub(super) fn file(&mut self, name: &str, size: u64, content: impl Read) -> io::Result<()> {
        self.append(name, tar::EntryType::Regular, 0o644, size, content)
    }

    fn append(
        &mut self,
        name: &str,
        kind: tar::EntryType,
        mode: u32,
        size: u64,
        content: impl Read,
    ) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name)?;
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        self.0.append(&header, content)
    }

    /// Writes the end of the tar; without it, the tar is cut off.
    pub(super) fn finish(self) -> io::Result<()> {
        self.0.into_inner()?.flush()
    }
}
