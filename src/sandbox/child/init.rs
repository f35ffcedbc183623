//! Process 1 of a step: starts the command, reaps what is left to it, ends with the command or the
//! builder.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{DumpableBehavior, Pid, WaitOptions, WaitStatus, set_dumpable_behavior, wait};

use super::{Doing as _, command};
use crate::sandbox::isolation::Rung;
use crate::sandbox::seccomp::Watcher;
use crate::sandbox::spec::Spec;
use crate::sandbox::sys::{self, Fork};
use crate::sandbox::wire::{self, Exit, Failure, Message};

/// Starts the command in `root` and stays until it has ended; `None` if the builder is gone before. In a
/// namespace of its own the caller then ends too, and with it everything that the command left behind.
pub(super) fn run(spec: &Spec, control: &UnixStream, root: BorrowedFd<'_>) -> Result<Option<Exit>, Failure> {
    // The command must not look into this process, which is the builder's program.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).doing(|| "hide the step's first process")?;
    let children = sys::signal_descriptor(&[libc::SIGCHLD]).doing(|| "wait for signals")?;
    let prepared = command::Prepared::new(spec, root)?;
    let (ours, theirs) = UnixStream::pair().doing(|| "make a socket")?;
    match sys::fork().doing(|| "start the command's process")? {
        Fork::Child => {
            drop(ours);
            let failure = prepared.execute(theirs);
            let _ = wire::send(control, &Message::Failed(failure));
            sys::exit_now(1)
        }
        Fork::Parent(command) => {
            drop(theirs);
            // Only the command holds its output now, so that its end is seen.
            close_output().doing(|| "let go of the command's output")?;
            let watcher = if spec.rung == Rung::SingleId { receive_watcher(&ours) } else { Ok(None) };
            let mut watcher = watcher.doing(|| "watch calls that change owners")?;
            watch(command, &children, control, &mut watcher).doing(|| "wait for the command")
        }
    }
}

/// Receives the descriptor on which the command asks; `None` if its process failed before it had one.
fn receive_watcher(from: &UnixStream) -> io::Result<Option<Watcher>> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut buffers = [io::IoSliceMut::new(&mut byte)];
    recvmsg(from, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(descriptors.flatten().next().map(Watcher::new))
}

fn close_output() -> io::Result<()> {
    let null = super::open_null()?;
    sys::duplicate_onto(null.as_fd(), 1)?;
    sys::duplicate_onto(null.as_fd(), 2)
}

/// Reaps until the command is among the dead.
fn watch(
    command: Pid,
    children: &OwnedFd,
    control: &UnixStream,
    watcher: &mut Option<Watcher>,
) -> io::Result<Option<Exit>> {
    loop {
        let mut descriptors =
            vec![PollFd::new(children, PollFlags::IN), PollFd::new(control, PollFlags::RDHUP)];
        let asking = watcher.as_ref().map(Watcher::descriptor);
        descriptors.extend(asking.map(|asking| PollFd::from_borrowed_fd(asking, PollFlags::IN)));
        match poll(&mut descriptors, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let lifeline = descriptors[1].revents();
        if lifeline.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR) {
            return Ok(None);
        }
        let asked = descriptors.get(2).map_or(PollFlags::empty(), PollFd::revents);
        drop(descriptors);
        if let Some(asking) = watcher.as_ref().filter(|_| asked.contains(PollFlags::IN)) {
            if let Some(refused) = asking.answer()? {
                wire::send(control, &Message::Refused(refused))?;
            }
        } else if asked.contains(PollFlags::HUP) {
            // Nobody is left who could ask.
            *watcher = None;
        }
        while sys::next_signal(children.as_fd())?.is_some() {}
        if let Some(exit) = reap(command)? {
            return Ok(Some(exit));
        }
    }
}

/// Takes every dead child; returns how the command ended if it was one of them.
fn reap(command: Pid) -> io::Result<Option<Exit>> {
    let mut ended = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == command => ended = exit_of(status).or(ended),
            Ok(Some(_)) => {}
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(ended),
            Err(error) => return Err(error.into()),
        }
    }
}

fn exit_of(status: WaitStatus) -> Option<Exit> {
    status.exit_status().map(Exit::Code).or_else(|| status.terminating_signal().map(Exit::Signal))
}
