//! Removing a directory that commands have worked in: with whatever modes they left, and never through a
//! mount.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fs_err as fs;

/// Removes a directory with everything in it, including directories that their owner may not write to.
/// A missing directory is no error. Nothing is removed while something is mounted below it: what is seen
/// there may be the user's own files.
///
/// # Errors
/// [`io::ErrorKind::ResourceBusy`] for a mount; or if something cannot be removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    // Without /proc, mounting was not possible either.
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    if has_mount_below(&mounts, path) {
        let message = format!("something is mounted below {}", path.display());
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, message));
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path);
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Gives the owner all rights on every directory; symlinks are not followed.
fn make_writable(directory: &Path) {
    let _ = fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700));
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

/// Looks through the mount points of `/proc/self/mountinfo`: the fifth field, its odd bytes in octal
/// (proc(5)).
fn has_mount_below(mountinfo: &[u8], directory: &Path) -> bool {
    let directory = directory.as_os_str().as_bytes();
    mountinfo.split(|byte| *byte == b'\n').any(|line| {
        let point = line.split(|byte| *byte == b' ').nth(4).map(unescape);
        point.is_some_and(|point| {
            point.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    })
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let escaped = after
            .first_chunk::<3>()
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[3..] } else { after };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_whole_components() {
        let table = b"22 1 0:20 / /proc rw - proc proc rw\n23 1 0:21 /x /a\\040b/c/root rw - overlay o rw\n";
        for (directory, expected) in [
            ("/a b/c", true),
            ("/a b/c/root", true),
            ("/a b/c/roo", false),
            ("/a b/c/root/d", false),
            ("/proc", true),
            ("/pro", false),
            ("/x", false),
        ] {
            assert_eq!(has_mount_below(table, Path::new(directory)), expected, "{directory}");
        }
    }

    #[test]
    fn nothing_is_removed_through_a_mount() {
        use rustix::mount::{UnmountFlags, mount_bind, unmount};
        let directory = tempfile::tempdir().unwrap();
        let (theirs, ours) = (directory.path().join("theirs"), directory.path().join("ours"));
        fs::create_dir_all(ours.join("mounted")).unwrap();
        fs::create_dir_all(&theirs).unwrap();
        fs::write(theirs.join("precious"), b"").unwrap();
        if let Err(error) = mount_bind(&theirs, ours.join("mounted")) {
            eprintln!("SKIPPED: mounting is not allowed here: {error}");
            return;
        }
        let result = remove_tree(&ours);
        let is_kept = theirs.join("precious").exists();
        unmount(ours.join("mounted"), UnmountFlags::DETACH).unwrap();
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        assert!(is_kept);
        remove_tree(&ours).unwrap();
        assert!(!ours.exists());
        remove_tree(&ours).unwrap();
    }

    #[test]
    fn closed_directories_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::create_dir_all(path.join("b/c")).unwrap();
        fs::write(path.join("b/c/file"), b"").unwrap();
        for closed in ["b/c", "b", ""] {
            fs::set_permissions(path.join(closed), std::fs::Permissions::from_mode(0o000)).unwrap();
        }
        make_writable(&path);
        let mode = fs::metadata(path.join("b/c")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "root needs no rights, others do");
        remove_tree(&path).unwrap();
        assert!(!path.exists());
    }
}
