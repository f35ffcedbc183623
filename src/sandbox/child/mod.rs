//! The child of a step: a fresh process with one thread, from reading its spec to the command's end.
//!
//! ```text
//! builder ── stage: leaves namespaces, waits
//!              └── init: process 1 of the step: mounts, changes root, reaps
//!                    └── the command: becomes the user, executes
//! ```
//! The stage and init get SIGKILL when their parent dies, and init ends when the lifeline closes; with
//! process 1 the kernel kills all others of its namespace. On the chroot rung there is no such namespace:
//! the stage is the reaper of all descendants and kills them itself (`chroot`).

mod chroot;
mod command;
mod devices;
mod init;
pub(super) mod mount;
mod resolve;
mod root;
pub(super) mod view;

use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitOptions, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;

use super::spec::{Network, Spec};
use super::sys::{self, Fork};
use super::wire::{self, Failure, Message};

/// The hidden first argument that makes the program the child of a step.
pub(super) const CHILD_ARGUMENT: &str = "\u{1}kiln-step";

/// Runs a step and ends the process, if this process was started as the child of one; returns otherwise.
///
/// Must be the first thing in `main`: it needs a process with one thread.
pub fn child_main() {
    if std::env::args_os().nth(1).is_none_or(|argument| argument != CHILD_ARGUMENT) {
        return;
    }
    let Ok(control) = sys::take_stdin().map(UnixStream::from) else { sys::exit_now(70) };
    if let Err(failure) = stage(&control) {
        // If the builder is gone nobody wants to know.
        let _ = wire::send(&control, &Message::Failed(failure));
        sys::exit_now(1);
    }
    sys::exit_now(0)
}

/// Adds to a failed call what it was for.
trait Doing<T> {
    /// Names what was being done, as it follows "cannot".
    fn doing<D: Display>(self, what: impl FnOnce() -> D) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing<D: Display>(self, what: impl FnOnce() -> D) -> Result<T, Failure> {
        self.map_err(|error| {
            let error = error.into();
            let errno = error.raw_os_error();
            let message = if errno.is_some() { String::new() } else { error.to_string() };
            Failure::Setup { doing: what().to_string(), errno, message }
        })
    }
}

/// The first process: reads the spec, cleans up what it inherited, makes namespaces, waits for process 1.
fn stage(control: &UnixStream) -> Result<(), Failure> {
    sys::close_others(control.as_fd()).doing(|| "close inherited descriptors")?;
    let null = open_null().doing(|| "open /dev/null")?;
    sys::duplicate_onto(null.as_fd(), 0).doing(|| "set the standard input")?;
    die_with_parent(control).doing(|| "tie the step to its builder")?;
    let spec = wire::receive_spec(control).doing(|| "read the step's description")?;
    // A session of its own: no terminal, and no signal that its keys send.
    rustix::process::setsid().doing(|| "start a session")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    if !spec.rung.has_namespaces() {
        return chroot::run(&spec, control);
    }
    let mut namespaces =
        UnshareFlags::NEWNS | UnshareFlags::NEWPID | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if spec.network == Network::None {
        namespaces |= UnshareFlags::NEWNET;
    }
    sys::unshare(namespaces).doing(|| "make namespaces")?;
    match sys::fork().doing(|| "start the step's first process")? {
        Fork::Child => init_main(control, &spec),
        Fork::Parent(pid) => {
            rustix::process::waitpid(Some(pid), WaitOptions::empty()).doing(|| "wait for the step")?;
            Ok(())
        }
    }
}

fn init_main(control: &UnixStream, spec: &Spec) -> ! {
    let result = die_with_parent(control)
        .doing(|| "tie the step to its builder")
        .and_then(|()| root::enter(spec, control))
        .and_then(|()| open_root().doing(|| "open the root"))
        .and_then(|root| init::run(spec, control, root.as_fd()));
    let message = match result {
        Ok(Some(exit)) => Message::Exited(exit),
        // The builder is gone.
        Ok(None) => sys::exit_now(1),
        Err(failure) => Message::Failed(failure),
    };
    let told = wire::send(control, &message);
    sys::exit_now(i32::from(told.is_err()))
}

/// Asks for SIGKILL when the parent ends, and makes sure that it had not ended before the asking.
fn die_with_parent(control: &UnixStream) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut lifeline = [PollFd::new(control, PollFlags::RDHUP)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut lifeline, Some(&at_once))?;
    if lifeline[0].revents().intersects(PollFlags::HUP | PollFlags::RDHUP) {
        sys::exit_now(1);
    }
    Ok(())
}

fn open_root() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn open_null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}
