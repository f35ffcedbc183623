//! Builds the step's root in its mount namespace and makes it the root of the process.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Gid, Uid};

use super::resolve::{self, Kind};
use super::{Doing as _, devices, mount, view};
use crate::path::RelPath;
use crate::sandbox::spec::{Content, Mount, Network, Spec};
use crate::sandbox::sys;
use crate::sandbox::wire::{self, Failure, Message};

/// Where nothing may be read: files become empty, directories bare.
const MASKED: [&str; 13] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/system/cpu/cpu0/thermal_throttle",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];

/// Where nothing may be written.
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// Makes the root and enters it. What had to be made in it for mounts is told to the builder.
pub(super) fn enter(spec: &Spec, control: &UnixStream) -> Result<(), Failure> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing(|| "make mounts private")?;
    rustix::system::sethostname(spec.hostname.as_bytes()).doing(|| "set the host name")?;
    if spec.network == Network::None {
        sys::loopback_up().doing(|| "bring the loopback interface up")?;
    }
    let scratch = Scratch::mount(spec)?;
    let root = view::open(&spec.root, &spec.scratch.join("empty"))?;
    mount::attach(&root, scratch.open("root")?).doing(|| "mount the root")?;
    let builder = Builder { root: scratch.open("root")?, scratch, spec, control };
    builder.file_systems()?;
    builder.network_files()?;
    for (index, item) in spec.mounts.iter().enumerate() {
        builder.mount(index, item)?;
    }
    builder.working_dir()?;
    change_root(builder.root.as_fd()).doing(|| "change the root")
}

fn change_root(root: BorrowedFd<'_>) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    // The old root is stacked on the new one, and then taken away.
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// A file system in memory beside the root: places and small files to mount.
struct Scratch(OwnedFd);

impl Scratch {
    fn mount(spec: &Spec) -> Result<Self, Failure> {
        let doing = || format!("mount a file system in memory on {}", spec.scratch.display());
        let place = rustix::fs::open(
            &spec.scratch,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .doing(doing)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let memory = mount::new("tmpfs", &[("mode", "755")], attributes).doing(doing)?;
        mount::attach(&memory, place).doing(doing)?;
        let top = rustix::fs::open(
            &spec.scratch,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .doing(doing)?;
        for name in ["root", "empty"] {
            rustix::fs::mkdirat(&top, name, Mode::from_raw_mode(0o755)).doing(doing)?;
        }
        Ok(Self(top))
    }

    /// Opens what is mounted at a name.
    fn open(&self, name: &str) -> Result<OwnedFd, Failure> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::openat(&self.0, name, flags, Mode::empty()).doing(|| format!("open the scratch {name}"))
    }

    /// Writes a file and returns a detached mount of it.
    fn file(&self, name: &str, bytes: &[u8], mode: u32, (uid, gid): (u32, u32)) -> io::Result<OwnedFd> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.0, name, flags, Mode::from_raw_mode(0o600))?;
        if (uid, gid) != (0, 0) {
            rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        io::Write::write_all(&mut std::fs::File::from(file), bytes)?;
        let place = rustix::fs::openat(&self.0, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        mount::bind(place, false)
    }
}

struct Builder<'a> {
    root: OwnedFd,
    scratch: Scratch,
    spec: &'a Spec,
    control: &'a UnixStream,
}

impl Builder<'_> {
    /// Opens a place to mount on; what must be made for it is told to the builder.
    fn place(&self, path: &RelPath, kind: Kind) -> Result<OwnedFd, Failure> {
        let mut made = |path| wire::send(self.control, &Message::Stub(path));
        resolve::open_or_make(self.root.as_fd(), path, kind, &mut made)
            .doing(|| format!("make the mount point /{path}"))
    }

    fn place_of(&self, path: &str) -> Result<OwnedFd, Failure> {
        self.place(&RelPath::clean(path), Kind::Directory)
    }

    /// `/proc`, `/sys`, `/dev`.
    fn file_systems(&self) -> Result<(), Failure> {
        let plain = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let processes = mount::new("proc", &[], plain)
            // Where the builder's own /proc is partly covered, no fresh one is allowed.
            .or_else(|error| bind_machine("/proc").map_err(|_| error))
            .doing(|| "mount /proc")?;
        mount::attach(processes, self.place_of("proc")?).doing(|| "mount /proc")?;
        let insecure = self.spec.insecure;
        let writable = if insecure { MountAttrFlags::empty() } else { MountAttrFlags::MOUNT_ATTR_RDONLY };
        let shown =
            |mount: OwnedFd| if insecure { Ok(mount) } else { mount::read_only(&mount).map(|()| mount) };
        let system = mount::new("sysfs", &[], plain | writable)
            // Allowed only to the owner of the network namespace; a user namespace shows the machine's.
            .or_else(|_| bind_machine("/sys").and_then(shown))
            .doing(|| "mount /sys")?;
        mount::attach(system, self.place_of("sys")?).doing(|| "mount /sys")?;
        devices::mount_dev(self.root.as_fd(), &self.place_of("dev")?)?;
        if insecure {
            // A user namespace can neither make the machine's devices nor use them.
            if !self.spec.rung.in_user_namespace() {
                devices::add_the_machines(self.root.as_fd())?;
            }
            return Ok(());
        }
        for path in READ_ONLY {
            self.make_read_only(path).doing(|| format!("make /{path} read-only"))?;
        }
        for path in MASKED {
            self.mask(path).doing(|| format!("mask /{path}"))?;
        }
        Ok(())
    }

    fn make_read_only(&self, path: &str) -> io::Result<()> {
        let Some(place) = self.existing(path)? else { return Ok(()) };
        let covered = mount::bind(&place, true)?;
        mount::read_only(&covered)?;
        mount::attach(covered, place)
    }

    fn mask(&self, path: &str) -> io::Result<()> {
        let Some(place) = self.existing(path)? else { return Ok(()) };
        let found = rustix::fs::fstat(&place)?;
        let cover = if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            mount::new("tmpfs", &[("mode", "755")], MountAttrFlags::MOUNT_ATTR_RDONLY)?
        } else {
            mount::bind(resolve::open(self.root.as_fd(), &RelPath::clean("dev/null"))?, false)?
        };
        mount::attach(cover, place)
    }

    fn existing(&self, path: &str) -> io::Result<Option<OwnedFd>> {
        match resolve::open(self.root.as_fd(), &RelPath::clean(path)) {
            Ok(place) => Ok(Some(place)),
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn network_files(&self) -> Result<(), Failure> {
        let files = [("etc/resolv.conf", &self.spec.resolv_conf), ("etc/hosts", &self.spec.hosts)];
        for (path, bytes) in files {
            let Some(bytes) = bytes else { continue };
            let place = self.place(&RelPath::clean(path), Kind::File)?;
            let doing = || format!("mount /{path}");
            let file = self.scratch.file(&path.replace('/', "-"), bytes, 0o644, (0, 0)).doing(doing)?;
            mount::attach(file, place).doing(doing)?;
        }
        Ok(())
    }

    fn mount(&self, index: usize, item: &Mount) -> Result<(), Failure> {
        let doing = || format!("mount /{}", item.target);
        let (content, kind) = match &item.content {
            Content::Bind { root, source } => self.bind_content(index, root, source)?,
            Content::Tmpfs { size_bytes } => {
                let size = size_bytes.map(|size| size.to_string());
                let mut options = vec![("mode", "1777")];
                options.extend(size.iter().map(|size| ("size", size.as_str())));
                let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
                (mount::new("tmpfs", &options, attributes).doing(doing)?, Kind::Directory)
            }
            Content::File { bytes, mode, uid, gid } => {
                let file = self.scratch.file(&format!("file-{index}"), bytes, *mode, (*uid, *gid));
                (file.doing(doing)?, Kind::File)
            }
        };
        if item.readonly {
            mount::read_only(&content).doing(doing)?;
        }
        let place = self.place(&item.target, kind)?;
        mount::attach(content, place).doing(doing)
    }

    fn bind_content(
        &self,
        index: usize,
        root: &crate::sandbox::spec::Root,
        source: &RelPath,
    ) -> Result<(OwnedFd, Kind), Failure> {
        let name = format!("view-{index}");
        let doing = || format!("open the mount's source /{source}");
        let view = view::open(root, &self.spec.scratch.join("empty"))?;
        // Attached beside the root first: only what is attached can be looked into and bound again.
        rustix::fs::mkdirat(&self.scratch.0, &name, Mode::from_raw_mode(0o755)).doing(doing)?;
        mount::attach(&view, self.scratch.open(&name)?).doing(doing)?;
        let top = self.scratch.open(&name)?;
        let place = resolve::open(top.as_fd(), source).doing(doing)?;
        let found = rustix::fs::fstat(&place).doing(doing)?;
        let directory = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        let content = mount::bind(place, false).doing(doing)?;
        Ok((content, if directory { Kind::Directory } else { Kind::File }))
    }

    /// Makes the working directory: it belongs to the root, not to the mounts, so it stays.
    fn working_dir(&self) -> Result<(), Failure> {
        let path = &self.spec.working_dir;
        resolve::open_or_make(self.root.as_fd(), path, Kind::Directory, &mut |_| Ok(()))
            .map(drop)
            .doing(|| format!("make the working directory /{path}"))
    }
}

fn bind_machine(path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    mount::bind(rustix::fs::open(OsStr::from_bytes(path.as_bytes()), flags, Mode::empty())?, true)
}
