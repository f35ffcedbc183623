//! The file that a result is written to.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::{Destination, Error};

/// Writes to a new file that appears whole or not at all, or to standard output. `size` says about how many bytes that will
/// be, as far as it is known.
pub(super) fn to_file(
    destination: &Destination,
    size: u64,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<(), Error>,
) -> Result<(), Error> {
    let whole = |file: &File| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write(&mut out)?;
        Ok(out.flush()?)
    };
    let path = match destination {
        Destination::Path(path) => path,
        // As a plain file, so that the kernel can copy to it.
        Destination::Stdout => return whole(&File::from(std::io::stdout().as_fd().try_clone_to_owned()?)),
    };
    let in_place = || -> Result<(), Error> {
        // Devices and pipes are written as they are.
        if path.exists() && !path.is_file() {
            return whole(fs_err::OpenOptions::new().write(true).open(path)?.file());
        }
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let file = tempfile::Builder::new()
            .prefix(".kiln-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .tempfile_in(directory.unwrap_or(Path::new(".")))?;
        reserve(file.as_file(), size)?;
        whole(file.as_file())?;
        // What was reserved behind the end is given back.
        file.as_file().set_len(file.as_file().metadata()?.len())?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    in_place().map_err(|source| Error::Output { path: path.clone(), source: Box::new(source) })
}

/// Headers, documents and padding of an archive: mostly much less.
const BESIDE_LAYERS_BYTES: u64 = 64 << 10;

/// Asks for room for a long file, so that a disk that is too full says so at once. ext4 would also write all of a file that has
/// none yet before it lets it replace another one (`auto_da_alloc`), while everybody waits.
fn reserve(file: &File, size: u64) -> io::Result<()> {
    if size == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, size + BESIDE_LAYERS_BYTES) {
        Err(full @ (Errno::NOSPC | Errno::DQUOT)) => Err(full.into()),
        // Not every file system knows it.
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn what_was_reserved_and_not_needed_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive.tar");
        let to = Destination::Path(path.clone());
        for size in [0, 8 << 20] {
            to_file(&to, size, |out| Ok(out.write_all(b"short")?)).unwrap();
            let metadata = fs_err::metadata(&path).unwrap();
            assert_eq!(metadata.len(), 5);
            assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
        }
    }
}
