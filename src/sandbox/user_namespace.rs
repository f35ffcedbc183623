//! Takes the whole builder into a user and mount namespace of its own.
//!
//! The process forks once, at the start of `main`: the child leaves the machine's user namespace and goes on
//! as the builder, the parent stays outside as its guardian, writes the id maps (by `newuidmap`, which may
//! only be done from outside) and passes signals and the exit code. So no argument or variable has to tell a
//! second `main` where it is. The builder dies with its guardian, and every step with the builder.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, getegid, geteuid, kill_process, set_dumpable_behavior,
    set_parent_process_death_signal, waitpid,
};
use rustix::thread::UnshareFlags;

use super::isolation::Rung;
use super::probe;
use super::subordinate::{self, Ranges};
use super::sys::{self, Fork};

/// Why the builder cannot be where it was asked to be, or anywhere.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A user namespace cannot be made.
    #[error(
        "cannot make a user namespace; allow it (sysctl kernel.unprivileged_userns_clone, \
         user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns) or build as root"
    )]
    Unshare(#[source] io::Error),
    /// The isolation that was asked for is not to be had.
    #[error("isolation `{}` is not possible here: {reason}", rung.name())]
    Impossible {
        /// What was asked for.
        rung: Rung,
        /// Why not.
        reason: String,
    },
    /// A system call failed.
    #[error("cannot {doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Where the builder is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ground {
    /// The rung.
    pub rung: Rung,
    /// Why it is not a stronger one, if that is worth telling.
    pub reason: Option<String>,
}

/// Finds the strongest rung, or makes sure of `wanted`, and takes the process there.
///
/// Must be called before any thread exists. On the rungs with a user namespace it returns in a child of the
/// process that called it; the caller itself ends with the child's code or signal.
///
/// # Errors
/// If nothing works, or not what was wanted.
pub fn enter_user_namespace(wanted: Option<Rung>) -> Result<Ground, Error> {
    let root = geteuid().is_root();
    let impossible = |rung, reason: &str| Err(Error::Impossible { rung, reason: reason.to_owned() });
    match wanted {
        None if root => {
            if probe::namespaces() {
                return Ok(Ground { rung: Rung::Root, reason: None });
            }
            if probe::chroot() {
                let reason = "namespaces and mounts are not allowed to this root".to_owned();
                return Ok(Ground { rung: Rung::Chroot, reason: Some(reason) });
            }
            impossible(Rung::Chroot, "this root has not even CAP_SYS_CHROOT")
        }
        Some(Rung::Root) if !root => impossible(Rung::Root, "this is not root"),
        Some(Rung::Root) if !probe::namespaces() => {
            impossible(Rung::Root, "namespaces and mounts are not allowed to this root")
        }
        Some(Rung::Root) => Ok(Ground { rung: Rung::Root, reason: None }),
        Some(Rung::Chroot) if !probe::chroot() => impossible(Rung::Chroot, "CAP_SYS_CHROOT is missing"),
        Some(Rung::Chroot) => Ok(Ground { rung: Rung::Chroot, reason: None }),
        None | Some(Rung::SubordinateIds | Rung::SingleId) => in_namespace(wanted),
    }
}

fn in_namespace(wanted: Option<Rung>) -> Result<Ground, Error> {
    let (rung, ranges, reason) = match (wanted, subordinate::ranges()) {
        (Some(Rung::SingleId), _) => (Rung::SingleId, None, None),
        (_, Ok(ranges)) => (Rung::SubordinateIds, Some(ranges), None),
        (Some(rung), Err(reason)) => return Err(Error::Impossible { rung, reason: reason.to_string() }),
        (None, Err(reason)) => (Rung::SingleId, None, Some(reason.to_string())),
    };
    match enter(ranges.as_ref())? {
        Maps::Written => Ok(Ground { rung, reason }),
        Maps::Failed(reason) if wanted == Some(Rung::SubordinateIds) => {
            Err(Error::Impossible { rung: Rung::SubordinateIds, reason })
        }
        // The guardian wrote the single id's map instead.
        Maps::Failed(reason) => Ok(Ground { rung: Rung::SingleId, reason: Some(reason) }),
    }
}

/// What the guardian told about the maps.
enum Maps {
    Written,
    Failed(String),
}

/// Forks; returns in the child, inside the namespace.
fn enter(ranges: Option<&Ranges>) -> Result<Maps, Error> {
    let system = |doing| move |source: io::Error| Error::System { doing, source };
    let (uid, gid) = (geteuid(), getegid());
    let guardian = rustix::process::getpid();
    let (mut inside, mut outside) = UnixStream::pair().map_err(system("make a socket"))?;
    // Blocked before the fork, so that none is lost; the child unblocks them.
    let signals = sys::signal_descriptor(&GUARDED).map_err(system("wait for signals"))?;
    let child = match sys::fork().map_err(system("fork"))? {
        Fork::Parent(child) => child,
        Fork::Child => {
            drop((outside, signals));
            sys::unblock_signals(&GUARDED).map_err(system("unblock signals"))?;
            sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).map_err(Error::Unshare)?;
            inside.write_all(b"?").map_err(system("ask for id maps"))?;
            let mut told = String::new();
            inside.read_to_string(&mut told).map_err(system("wait for id maps"))?;
            let maps = match told.split_at_checked(1) {
                Some(("+", _)) => Maps::Written,
                Some(("-", reason)) => Maps::Failed(reason.to_owned()),
                _ => return Err(Error::Unshare(io::Error::other("the guardian ended"))),
            };
            // Some security modules let the namespace be made, but nothing be done in it.
            become_root().map_err(Error::Unshare)?;
            if rustix::process::getppid() != Some(guardian) {
                // It ended before this process could ask to be told.
                sys::exit_now(1);
            }
            return Ok(maps);
        }
    };
    drop(inside);
    // The child tells its own failure on the terminal; here it is only an end without a question.
    let mut question = [0];
    if outside.read_exact(&mut question).is_ok() {
        let told = write_maps(child, ranges, uid.as_raw(), gid.as_raw());
        let _ = outside.write_all(told.as_bytes());
        drop(outside);
    }
    guard(child, &signals)
}

fn become_root() -> io::Result<()> {
    rustix::thread::set_thread_res_gid(
        rustix::process::Gid::ROOT,
        rustix::process::Gid::ROOT,
        rustix::process::Gid::ROOT,
    )?;
    rustix::thread::set_thread_res_uid(
        rustix::process::Uid::ROOT,
        rustix::process::Uid::ROOT,
        rustix::process::Uid::ROOT,
    )?;
    // Changing ids forgets both.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(())
}

/// Writes the maps of `child` and returns what it is told: `+`, or `-` and why there is only one id.
fn write_maps(child: Pid, ranges: Option<&Ranges>, uid: u32, gid: u32) -> String {
    let refusal = match ranges {
        Some(ranges) => match write_ranges(child, ranges, uid, gid) {
            Ok(()) => return "+".to_owned(),
            Err(reason) => Some(reason),
        },
        None => None,
    };
    let pid = child.as_raw_nonzero();
    let single = fs_err::write(format!("/proc/{pid}/setgroups"), "deny")
        .and_then(|()| fs_err::write(format!("/proc/{pid}/uid_map"), format!("0 {uid} 1\n")))
        .and_then(|()| fs_err::write(format!("/proc/{pid}/gid_map"), format!("0 {gid} 1\n")));
    match (single, refusal) {
        (Err(_), _) => String::new(),
        (Ok(()), None) => "+".to_owned(),
        (Ok(()), Some(reason)) => format!("-{reason}"),
    }
}

fn write_ranges(child: Pid, ranges: &Ranges, uid: u32, gid: u32) -> Result<(), String> {
    for (tool, own, list) in [("newuidmap", uid, &ranges.uids), ("newgidmap", gid, &ranges.gids)] {
        let mut command = Command::new(tool);
        command.arg(child.as_raw_nonzero().to_string());
        for number in subordinate::map(own, list) {
            command.arg(number.to_string());
        }
        let output = command.output().map_err(|error| format!("{tool} cannot be run: {error}"))?;
        if !output.status.success() {
            return Err(format!("{tool} failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
    }
    Ok(())
}

/// The signals that ask a program to end or do something.
const GUARDED: [i32; 7] =
    [libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// Stays until the builder has ended, and ends as it did.
fn guard(child: Pid, signals: &std::os::fd::OwnedFd) -> ! {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        let mut descriptors = [PollFd::new(signals, PollFlags::IN)];
        let _ = poll(&mut descriptors, None);
        while let Ok(Some(arrived)) = sys::next_signal(signals.as_fd()) {
            // The terminal's keys reach the builder as they reached this process.
            if arrived.signal != libc::SIGCHLD && !arrived.from_kernel {
                let _ = Signal::from_named_raw(arrived.signal).map(|signal| kill_process(child, signal));
            }
        }
        match waitpid(Some(child), WaitOptions::NOHANG) {
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Ok(Some((_, status))) => {
                if let Some(code) = status.exit_status() {
                    sys::exit_now(code);
                }
                if let Some(signal) = status.terminating_signal() {
                    sys::die_by(signal);
                }
            }
            Err(_) => sys::exit_now(70),
        }
    }
}
