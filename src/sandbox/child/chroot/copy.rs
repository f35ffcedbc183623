//! Copies files and directories with what stat says of them, over what is there.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, lchown};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

/// Copies `from` to `to`; a directory over a directory adds to it.
pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let found = fs_err::symlink_metadata(from)?;
    let kind = found.file_type();
    if kind.is_dir() {
        if !to.is_dir() {
            fs_err::create_dir(to)?;
        }
        for entry in fs_err::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
    } else {
        let _ = std::fs::remove_file(to);
        if kind.is_symlink() {
            std::os::unix::fs::symlink(fs_err::read_link(from)?, to)?;
        } else if kind.is_file() {
            fs_err::copy(from, to)?;
        } else {
            let node = match () {
                () if kind.is_fifo() => FileType::Fifo,
                () if kind.is_char_device() => FileType::CharacterDevice,
                () if kind.is_block_device() => FileType::BlockDevice,
                // A socket is of no use without who listens.
                () => return Ok(()),
            };
            rustix::fs::mknodat(CWD, to, node, Mode::RUSR | Mode::WUSR, found.rdev())?;
        }
    }
    lchown(to, Some(found.uid()), Some(found.gid()))?;
    if !kind.is_symlink() {
        rustix::fs::chmodat(CWD, to, Mode::from_raw_mode(found.mode() & 0o7777), AtFlags::empty())?;
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: found.atime(), tv_nsec: found.atime_nsec() as _ },
        last_modification: Timespec { tv_sec: found.mtime(), tv_nsec: found.mtime_nsec() as _ },
    };
    Ok(rustix::fs::utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}
