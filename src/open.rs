//! Opening files that somebody else may be changing, and that are only read.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// Opens the file `name` of `directory` for reading. A symlink or a pipe that took its place is neither followed nor waited
/// for. Who owns the file does not see that it was read, where the kernel allows that: a time of access for each file of a new
/// checkout would have to be written as well.
///
/// # Errors
/// What openat(2) says; `LOOP` for a symlink.
pub fn for_reading(directory: impl AsFd, name: impl Arg) -> Result<OwnedFd, Errno> {
    /// Whether nobody has been refused yet. Who may not hide one file of a context may hide few.
    static MAY_HIDE: AtomicBool = AtomicBool::new(true);

    const FLAGS: OFlags = OFlags::RDONLY
        .union(OFlags::NOFOLLOW)
        .union(OFlags::NONBLOCK)
        .union(OFlags::NOCTTY)
        .union(OFlags::CLOEXEC);
    name.into_with_c_str(|name| {
        let open = |flags| rustix::fs::openat(&directory, name, flags, Mode::empty());
        if MAY_HIDE.load(Ordering::Relaxed) {
            match open(FLAGS | OFlags::NOATIME) {
                // Only the file's owner may, or who has CAP_FOWNER over it.
                Err(Errno::PERM) => MAY_HIDE.store(false, Ordering::Relaxed),
                result => return result,
            }
        }
        open(FLAGS)
    })
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;
    use std::io::Read as _;
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn reading_leaves_no_time_of_access() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        fs_err::write(&path, "text").expect("a file");
        // Older than the content, so that the kernel would write another one.
        let accessed = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let file = fs_err::File::options().write(true).open(&path).expect("a file").into_parts().0;
        file.set_times(FileTimes::new().set_accessed(accessed)).expect("a file of ours");
        let root = fs_err::File::open(directory.path()).expect("a directory").into_parts().0;
        let mut text = String::new();
        let opened = for_reading(&root, "file").expect("a file");
        std::fs::File::from(opened).read_to_string(&mut text).expect("a file");
        assert_eq!(text, "text");
        let metadata = fs_err::metadata(&path).expect("a file");
        assert_eq!(metadata.accessed().expect("a time"), accessed);
    }

    #[test]
    fn links_and_pipes_hold_nobody_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = fs_err::File::open(directory.path()).expect("a directory").into_parts().0;
        fs_err::os::unix::fs::symlink("elsewhere", directory.path().join("link")).expect("a link");
        assert_eq!(for_reading(&root, "link").map(drop), Err(Errno::LOOP));
        rustix::fs::mknodat(&root, "pipe", rustix::fs::FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
        assert_eq!(for_reading(&root, "pipe").map(drop), Ok(()));
        assert_eq!(for_reading(&root, "none").map(drop), Err(Errno::NOENT));
    }
}
