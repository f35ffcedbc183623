//! The rung without namespaces and mounts: the command runs in a changed root, and this process, outside of
//! it, is what process 1 is elsewhere.
//!
//! It adopts every orphan of the step, so that it can kill all of them when the command has ended or the
//! builder is gone; then it takes away what it had put into the root.

mod copy;
mod place;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{
    Gid, Pid, Signal, Uid, WaitOptions, kill_process, set_child_subreaper, set_parent_process_death_signal,
    wait,
};

use self::place::Places;
use super::resolve::{self, Kind};
use super::{Doing as _, devices, init};
use crate::path::RelPath;
use crate::sandbox::spec::{Content, Mount, Root, Spec};
use crate::sandbox::sys;
use crate::sandbox::wire::{self, Failure, Message};

/// Runs the command and cleans up after it.
pub(super) fn run(spec: &Spec, control: &UnixStream) -> Result<(), Failure> {
    // Killing this process would leave the step's alone; the lifeline tells it when the builder is gone.
    set_parent_process_death_signal(None).doing(|| "stay until the step is cleaned up")?;
    set_child_subreaper(Some(rustix::process::getpid())).doing(|| "adopt the step's orphans")?;
    let Root::Directory(directory) = &spec.root else {
        return Err(Failure::Setup {
            doing: "use overlayfs without mounts".to_owned(),
            errno: Some(libc::EPERM),
            message: String::new(),
        });
    };
    let root = open_directory(directory).doing(|| format!("open the root {}", directory.display()))?;
    let mut places = Places::new(&root, &spec.scratch, control);
    let ended = fill(&mut places, &root, spec).and_then(|()| init::run(spec, control, root.as_fd()));
    kill_descendants().doing(|| "end what the command left running")?;
    let cleaned = places.clear();
    let Some(exit) = ended? else { sys::exit_now(1) };
    cleaned?;
    wire::send(control, &Message::Exited(exit)).doing(|| "report the command's end")
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Puts devices, network files and mounts into the root.
fn fill(places: &mut Places<'_>, root: &OwnedFd, spec: &Spec) -> Result<(), Failure> {
    for (name, major, minor) in devices::NODES {
        let path = RelPath::clean(format!("dev/{name}"));
        if resolve::open(root.as_fd(), &path).is_ok() {
            continue;
        }
        places
            .put(&path, |parent, name| {
                let (mode, number) = (Mode::from_raw_mode(0o666), rustix::fs::makedev(major, minor));
                match rustix::fs::mknodat(parent, name, FileType::CharacterDevice, mode, number) {
                    // Without devices at least a place to write to and an empty one to read from: no script
                    // does without null.
                    Err(rustix::io::Errno::PERM) if (major, minor) == (1, 3) => {
                        rustix::fs::mknodat(parent, name, FileType::RegularFile, mode, 0)?;
                    }
                    Err(rustix::io::Errno::PERM) => return Ok(()),
                    result => result?,
                }
                Ok(rustix::fs::chmodat(parent, name, mode, rustix::fs::AtFlags::empty())?)
            })
            .doing(|| format!("make /{path}"))?;
    }
    if resolve::open(root.as_fd(), &RelPath::clean("dev/shm")).is_err() {
        put_directory(places, &RelPath::clean("dev/shm"))?;
    }
    let files = [("etc/resolv.conf", &spec.resolv_conf), ("etc/hosts", &spec.hosts)];
    for (path, bytes) in files {
        if let Some(bytes) = bytes {
            put_file(places, &RelPath::clean(path), bytes, 0o644, (0, 0))?;
        }
    }
    for item in &spec.mounts {
        put_mount(places, item)?;
    }
    let working_dir = &spec.working_dir;
    resolve::open_or_make(root.as_fd(), working_dir, Kind::Directory, &mut |_| Ok(()))
        .map(drop)
        .doing(|| format!("make the working directory /{working_dir}"))
}

fn put_file(
    places: &mut Places<'_>,
    path: &RelPath,
    bytes: &[u8],
    mode: u32,
    (uid, gid): (u32, u32),
) -> Result<(), Failure> {
    let write = |parent: std::os::fd::BorrowedFd<'_>, name: &std::ffi::OsStr| -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?;
        if (uid, gid) != (0, 0) {
            rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        io::Write::write_all(&mut std::fs::File::from(file), bytes)
    };
    places.put(path, write).doing(|| format!("place /{path}"))
}

fn put_directory(places: &mut Places<'_>, path: &RelPath) -> Result<(), Failure> {
    let make = |parent: std::os::fd::BorrowedFd<'_>, name: &std::ffi::OsStr| -> io::Result<()> {
        let mode = Mode::from_raw_mode(0o1777);
        rustix::fs::mkdirat(parent, name, mode)?;
        Ok(rustix::fs::chmodat(parent, name, mode, rustix::fs::AtFlags::empty())?)
    };
    places.put(path, make).doing(|| format!("place /{path}"))
}

fn put_mount(places: &mut Places<'_>, item: &Mount) -> Result<(), Failure> {
    let doing = || format!("place /{}", item.target);
    match &item.content {
        Content::Tmpfs { .. } => put_directory(places, &item.target),
        Content::File { bytes, mode, uid, gid } => put_file(places, &item.target, bytes, *mode, (*uid, *gid)),
        Content::Bind { root: Root::Directory(directory), source } if !item.readonly => {
            let source = real_path(directory, source).doing(doing)?;
            places.lend(&item.target, source).doing(doing)
        }
        Content::Bind { root, source } => {
            let layers = match root {
                Root::Directory(directory) => vec![directory],
                Root::Overlay { lower, .. } => lower.iter().rev().collect(),
            };
            let sources = layers.into_iter().filter_map(|layer| real_path(layer, source).ok());
            let sources: Vec<_> = sources.collect();
            if sources.is_empty() {
                return Err(io::Error::from_raw_os_error(libc::ENOENT)).doing(doing);
            }
            places
                .put(&item.target, |parent, name| {
                    let target = place::path_of(parent, name);
                    sources.iter().try_for_each(|source| copy::copy(source, &target))
                })
                .doing(doing)
        }
    }
}

/// Returns where a path of a root really lies; it may not lead out.
fn real_path(root: &Path, path: &RelPath) -> io::Result<std::path::PathBuf> {
    let top = open_directory(root)?;
    let real = resolve::follow(top.as_fd(), path)?;
    resolve::open(top.as_fd(), &real)?;
    // Not `root/.`: that name cannot be moved.
    Ok(if real.is_root() { root.to_owned() } else { root.join(real.as_path()) })
}

/// Kills children until there are none; grandchildren become children on the way.
fn kill_descendants() -> io::Result<()> {
    const PAUSE: Duration = Duration::from_millis(1);
    loop {
        for child in children()? {
            let _ = kill_process(child, Signal::KILL);
        }
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) => std::thread::sleep(PAUSE),
            Err(rustix::io::Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn children() -> io::Result<Vec<Pid>> {
    let own = rustix::process::getpid().as_raw_nonzero();
    if let Ok(list) = fs_err::read_to_string(format!("/proc/self/task/{own}/children")) {
        let pids = list.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        return Ok(pids.collect());
    }
    // A kernel without that list: everybody's parent.
    let mut found = Vec::new();
    for entry in fs_err::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        let stat = fs_err::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        // The name, in parentheses, may hold anything; behind it come the state and the parent.
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(1));
        if parent.and_then(|parent| parent.parse().ok()) == Some(own.get()) {
            found.push(pid);
        }
    }
    Ok(found)
}
