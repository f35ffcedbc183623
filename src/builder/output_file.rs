//! The file that a result is written to.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, OFlags};

use super::{Destination, Error};
use crate::archive::reserve;

/// Writes to a new file that appears whole or not at all, or to standard output. `size` says how many bytes that will be,
/// as far as it is known.
pub(super) fn to_file(
    destination: &Destination,
    size: u64,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<(), Error>,
) -> Result<(), Error> {
    let path = match destination {
        Destination::Path(path) => path,
        // As a plain file, so that the kernel can copy to it.
        Destination::Stdout => {
            return whole(&File::from(std::io::stdout().as_fd().try_clone_to_owned()?), write);
        }
    };
    let in_place = || -> Result<(), Error> {
        // Devices and pipes are written as they are.
        if !may_be_replaced(path) {
            return whole(fs_err::OpenOptions::new().write(true).open(path)?.file(), write);
        }
        let file = temporary().tempfile_in(directory_of(path))?;
        fill(file.as_file(), size, write)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    in_place().map_err(|source| Error::Output { path: path.clone(), source: Box::new(source) })
}

/// Writes the rest of a [`nameless`] file for `path`, and puts it there. `size` says how many bytes it will have.
pub(super) fn complete(
    file: File,
    path: &Path,
    size: u64,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<(), Error>,
) -> Result<(), Error> {
    fill(&file, size, write)?;
    let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link =
        |name: &Path| Ok(rustix::fs::linkat(CWD, opened.as_str(), CWD, name, AtFlags::SYMLINK_FOLLOW)?);
    // A link takes no other one's place, a name does.
    let named = temporary().make_in(directory_of(path), link)?;
    named.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Opens a file for `path` that nobody sees before it is [complete](complete()), and that is gone with this
/// process otherwise.
pub(super) fn nameless(path: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open(directory_of(path), flags, MODE.into())?.into())
}

/// Tells whether there is nothing, or a plain file.
pub(super) fn may_be_replaced(path: &Path) -> bool {
    !path.exists() || path.is_file()
}

/// What files may be for whom, but for the umask.
const MODE: u32 = 0o666;

fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kiln-").permissions(Permissions::from_mode(MODE));
    builder
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn fill(
    file: &File,
    size: u64,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<(), Error>,
) -> Result<(), Error> {
    reserve(file, 0, size)?;
    whole(file, write)?;
    // What was reserved behind the end is given back.
    Ok(file.set_len(file.metadata()?.len())?)
}

fn whole(file: &File, write: impl FnOnce(&mut BufWriter<&File>) -> Result<(), Error>) -> Result<(), Error> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    write(&mut out)?;
    Ok(out.flush()?)
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
