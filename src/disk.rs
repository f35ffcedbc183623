//! How much of a disk may be taken by what is only there to make a build faster.

use std::io;
use std::os::fd::AsFd;

/// Of the room on the disk, which steps need too, it takes one part in so many at most.
const PARTS_OF_ROOM: u64 = 4;

/// Returns how many bytes may lie in `file` at most, in which there is room for so many bytes by now.
///
/// # Errors
/// What fstatvfs(3) says.
pub fn share(file: impl AsFd, reserved: u64) -> io::Result<u64> {
    let disk = rustix::fs::fstatvfs(file)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_add(reserved) / PARTS_OF_ROOM)
}
