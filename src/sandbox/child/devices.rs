//! `/dev` of a step: the devices that every container has, nothing of the machine's.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::mount::MountAttrFlags;

use super::resolve::{self, Kind};
use super::{Doing as _, mount};
use crate::path::RelPath;
use crate::sandbox::wire::Failure;

/// Name, major, minor of the devices, all 0666.
pub(super) const NODES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Name, kind, major, minor of the machine's devices that a command with all rights has besides: BuildKit's.
const MACHINE: [(&str, FileType, u32, u32); 6] = [
    ("kmsg", FileType::CharacterDevice, 1, 11),
    ("cuse", FileType::CharacterDevice, 10, 203),
    ("fuse", FileType::CharacterDevice, 10, 229),
    ("kvm", FileType::CharacterDevice, 10, 232),
    ("net/tun", FileType::CharacterDevice, 10, 200),
    ("loop-control", FileType::CharacterDevice, 10, 237),
];

/// How many loop devices beyond those in use a command with all rights has.
const SPARE_LOOPS: u32 = 8;

/// The links that programs expect.
pub(super) const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Mounts a new `/dev` on `place` in `root`.
pub(super) fn mount_dev(root: BorrowedFd<'_>, place: &OwnedFd) -> Result<(), Failure> {
    let plain = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let nodev = plain | MountAttrFlags::MOUNT_ATTR_NODEV;
    let dev = mount::new("tmpfs", &[("mode", "755"), ("size", "65536k")], MountAttrFlags::MOUNT_ATTR_NOSUID)
        .doing(|| "make /dev")?;
    mount::attach(&dev, place).doing(|| "mount /dev")?;
    // From here on through the mount's own root: the place lies below it.
    let dev = resolve::open_with(root, &RelPath::clean("dev"), OFlags::PATH).doing(|| "open /dev")?;
    rustix::process::umask(Mode::empty());
    for (name, major, minor) in NODES {
        node(dev.as_fd(), name, major, minor).doing(|| format!("make /dev/{name}"))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, name).doing(|| format!("make /dev/{name}"))?;
    }
    let sub = |name: &'static str| -> Result<OwnedFd, Failure> {
        let path = RelPath::clean(name);
        resolve::open_or_make(dev.as_fd(), &path, Kind::Directory, &mut |_| Ok(()))
            .doing(|| format!("make /dev/{name}"))
    };
    let pts = devpts(plain).doing(|| "make /dev/pts")?;
    mount::attach(pts, sub("pts")?).doing(|| "mount /dev/pts")?;
    let shm =
        mount::new("tmpfs", &[("mode", "1777"), ("size", "65536k")], nodev).doing(|| "make /dev/shm")?;
    mount::attach(shm, sub("shm")?).doing(|| "mount /dev/shm")?;
    let queues = mount::new("mqueue", &[], nodev).doing(|| "make /dev/mqueue")?;
    mount::attach(queues, sub("mqueue")?).doing(|| "mount /dev/mqueue")
}

/// Adds the machine's devices to the `/dev` of a command that has all rights.
pub(super) fn add_the_machines(root: BorrowedFd<'_>) -> Result<(), Failure> {
    let dev = resolve::open_with(root, &RelPath::clean("dev"), OFlags::PATH).doing(|| "open /dev")?;
    let used = std::fs::read_dir("/sys/block").into_iter().flatten().flatten().filter_map(|device| {
        // A loop device that nothing stands behind has no such directory.
        device
            .path()
            .join("loop")
            .exists()
            .then(|| device.file_name().to_str()?.strip_prefix("loop")?.parse().ok())?
    });
    let loops = used.max().map_or(0, |last: u32| last + 1) + SPARE_LOOPS;
    let loops: Vec<String> = (0..loops).map(|number| format!("loop{number}")).collect();
    let loops = loops.iter().zip(0..).map(|(name, minor)| (name.as_str(), FileType::BlockDevice, 7, minor));
    rustix::fs::mkdirat(&dev, "net", Mode::from_raw_mode(0o755)).doing(|| "make /dev/net")?;
    rustix::process::umask(Mode::empty());
    for (name, kind, major, minor) in MACHINE.into_iter().chain(loops) {
        let number = rustix::fs::makedev(major, minor);
        rustix::fs::mknodat(&dev, name, kind, Mode::from_raw_mode(0o666), number)
            .doing(|| format!("make /dev/{name}"))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    Ok(())
}

/// Terminals belong to group 5 where it exists; with a single id it does not.
fn devpts(attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")];
    mount::new("devpts", &options, attributes).or_else(|_| mount::new("devpts", &options[..3], attributes))
}

/// Makes a device, or shows the machine's one where devices cannot be made (in a user namespace).
fn node(dev: BorrowedFd<'_>, name: &str, major: u32, minor: u32) -> io::Result<()> {
    let number = rustix::fs::makedev(major, minor);
    let mode = Mode::from_raw_mode(0o666);
    match rustix::fs::mknodat(dev, name, FileType::CharacterDevice, mode, number) {
        Err(rustix::io::Errno::PERM) => {}
        result => return Ok(result?),
    }
    rustix::fs::mknodat(dev, name, FileType::RegularFile, mode, 0)?;
    let here = rustix::fs::openat(dev, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let machine = CString::new(format!("/dev/{name}"))?;
    let there = rustix::fs::open(machine.as_c_str(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    mount::attach(mount::bind(there, false)?, here)
}
