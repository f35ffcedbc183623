//! Makes the mount that shows a [`Root`]: an overlay, or a directory itself.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags, fsconfig_set_flag, fsconfig_set_string, fsopen,
};

use super::{Doing as _, mount};
use crate::sandbox::spec::{Root, Upper};
use crate::sandbox::wire::Failure;

/// Returns a detached mount of `root`. `empty` is an empty directory that stands for no lower directory.
pub(in crate::sandbox) fn open(root: &Root, empty: &Path) -> Result<OwnedFd, Failure> {
    match root {
        Root::Directory(path) => bind_path(path),
        // Overlayfs wants two lower directories where there is no upper.
        Root::Overlay { lower, upper: None, .. } if lower.len() <= 1 => {
            bind_path(lower.first().map_or(empty, |path| path))
        }
        Root::Overlay { lower, upper, userxattr } => {
            let empty = [empty.to_owned()];
            let lower = if lower.is_empty() { &empty[..] } else { lower };
            overlay(lower, upper.as_ref(), *userxattr)
                .doing(|| format!("mount overlayfs over {} directories", lower.len()))
        }
    }
}

fn bind_path(path: &Path) -> Result<OwnedFd, Failure> {
    let doing = || format!("open the root {}", path.display());
    let place = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .doing(doing)?;
    mount::bind(place, false).doing(doing)
}

fn overlay(lower: &[std::path::PathBuf], upper: Option<&Upper>, userxattr: bool) -> io::Result<OwnedFd> {
    match overlay_by_context(lower, upper, userxattr) {
        // A kernel before 5.10 has no `volatile`, one before 6.8 no `lowerdir+`.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => overlay_by_data(lower, upper, userxattr),
        result => result,
    }
}

fn overlay_by_context(
    lower: &[std::path::PathBuf],
    upper: Option<&Upper>,
    userxattr: bool,
) -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    for directory in lower {
        fsconfig_set_string(&context, "lowerdir+", directory.as_path())?;
    }
    if let Some(Upper { upper, work }) = upper {
        fsconfig_set_string(&context, "upperdir", upper.as_path())?;
        fsconfig_set_string(&context, "workdir", work.as_path())?;
        // The upper directory is disposable until its step is done: no sync of the command need wait for a
        // disk.
        fsconfig_set_flag(&context, "volatile")?;
    }
    // Whatever the kernel's defaults are: the upper directory must say by itself what changed.
    for (option, value) in SELF_CONTAINED {
        fsconfig_set_string(&context, *option, *value)?;
    }
    if userxattr {
        fsconfig_set_flag(&context, "userxattr")?;
    }
    mount::create(context.as_fd(), MountAttrFlags::empty())
}

const SELF_CONTAINED: &[(&str, &str)] =
    &[("redirect_dir", "nofollow"), ("metacopy", "off"), ("index", "off")];

/// The older way: one page of text for all, which short names relative to the lower directories' common
/// parent make the most of.
fn overlay_by_data(
    lower: &[std::path::PathBuf],
    upper: Option<&Upper>,
    userxattr: bool,
) -> io::Result<OwnedFd> {
    let parent = common_parent(lower);
    let names: Vec<_> = lower.iter().map(|path| escape(path.strip_prefix(&parent).unwrap_or(path))).collect();
    let mut data = format!("lowerdir={}", names.join(":"));
    if let Some(Upper { upper, work }) = upper {
        data += &format!(",upperdir={},workdir={}", escape(upper), escape(work));
    }
    for (option, value) in SELF_CONTAINED {
        data += &format!(",{option}={value}");
    }
    if userxattr {
        data += ",userxattr";
    }
    rustix::process::chdir(&parent)?;
    // Mounted on the parent itself only to be picked up from there; the directories are already open.
    let data = std::ffi::CString::new(data)?;
    rustix::mount::mount("overlay", ".", "overlay", MountFlags::empty(), Some(data.as_c_str()))?;
    let place = rustix::fs::open(&parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let view = mount::bind(&place, false);
    rustix::mount::unmount(&parent, UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    view
}

fn common_parent(paths: &[std::path::PathBuf]) -> std::path::PathBuf {
    let mut parent = paths.first().and_then(|path| path.parent()).unwrap_or(Path::new("/")).to_owned();
    while !paths.iter().all(|path| path.starts_with(&parent)) && parent.pop() {}
    parent
}

/// Colons separate lower directories and commas options.
fn escape(path: &Path) -> String {
    let mut escaped = String::new();
    for character in path.to_string_lossy().chars() {
        if matches!(character, ':' | ',' | '\\') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn the_parent_of_all() {
        for (paths, parent) in [
            (&["/s/trees/a", "/s/trees/b"][..], "/s/trees"),
            (&["/s/trees/a/x", "/s/tree"][..], "/s"),
            (&["/a"][..], "/"),
            (&["/a/b", "/c"][..], "/"),
        ] {
            let list: Vec<_> = paths.iter().map(PathBuf::from).collect();
            assert_eq!(common_parent(&list), PathBuf::from(parent), "{paths:?}");
        }
    }

    #[test]
    fn separators_in_names_are_escaped() {
        assert_eq!(escape(Path::new("/a:b,c\\d")), "/a\\:b\\,c\\\\d");
    }
}
