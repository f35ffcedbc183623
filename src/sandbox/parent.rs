//! The builder's side of a step: starts the child, hands it the spec, passes its output on, waits.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::cancel::Cancel;
use super::child::CHILD_ARGUMENT;
use super::isolation::Rung;
use super::spec::{Network, Spec};
use super::wire::{self, Exit, Failure, Message, Outcome, RefusedCall};
use crate::event::Stream;

/// Why a step did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The child process of the step cannot be started.
    #[error("cannot start the step's process from {}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The root, a mount or a namespace cannot be made.
    #[error("cannot {doing}")]
    Setup {
        /// What was being done.
        doing: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// USER names nobody of the root.
    #[error(transparent)]
    User(#[from] super::identity::Error),
    /// The ids of USER cannot be taken on where there is only one id.
    #[error(
        "USER {user} is {uid}:{gid}, but only 0:0 exists with a single id; give this user a range in \
         /etc/subuid and /etc/subgid"
    )]
    Unmapped {
        /// USER as written.
        user: String,
        /// Its user id.
        uid: u32,
        /// Its group id.
        gid: u32,
    },
    /// The program is not there.
    #[error("executable `{program}` not found in PATH")]
    NotFound {
        /// The program.
        program: String,
    },
    /// The program is there but cannot be executed.
    #[error("cannot execute `{program}`")]
    Exec {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The command asked for owners that a single id cannot represent; the image would be wrong.
    #[error("{}", describe_refused(calls))]
    Refused {
        /// The calls in order, each kind once, the first few.
        calls: Vec<RefusedCall>,
    },
    /// The rung cannot do what the spec asks for.
    #[error("{what} is not possible with isolation `{}`", rung.name())]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// The rung.
        rung: Rung,
    },
    /// The child ended without saying how the command did.
    #[error("the step's process was killed before its command ended (out of memory?)")]
    Died,
    /// The wish to stop came first.
    #[error("cancelled")]
    Cancelled,
    /// Talking to the child failed.
    #[error("lost the step's process")]
    Io(#[from] io::Error),
}

fn describe_refused(calls: &[RefusedCall]) -> String {
    let list: Vec<_> = calls.iter().map(|call| format!("`{}` by {}", call.call, call.program)).collect();
    format!(
        "{} cannot be represented with a single id; give this user a range in /etc/subuid and /etc/subgid \
         (and install newuidmap), or build as root",
        list.join(", ")
    )
}

/// How children of steps are started.
#[derive(Debug, Clone)]
pub struct Launcher {
    program: PathBuf,
}

impl Launcher {
    /// Starts this very program again, whose `main` begins with [`super::child_main`].
    pub fn this_program() -> Self {
        Self::program("/proc/self/exe")
    }

    /// Starts another program whose `main` begins with [`super::child_main`].
    pub fn program(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }
}

/// Runs a command to its end and gives `output` what it writes.
///
/// When this returns, nothing that the command started is alive any more.
///
/// # Errors
/// If the command cannot be started as `spec` says, is cancelled, or asked for owners that cannot be
/// represented. A command that ran and failed is no error but an [`Outcome`].
pub fn run(
    launcher: &Launcher,
    spec: &Spec,
    output: &mut dyn FnMut(Stream, &[u8]),
    cancel: &Cancel,
) -> Result<Outcome, Error> {
    if spec.network == Network::None && !spec.rung.has_namespaces() {
        return Err(Error::Unsupported { what: "a step without network", rung: spec.rung });
    }
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let (mut control, lifeline) = UnixStream::pair()?;
    let start = |source| Error::Start { program: launcher.program.clone(), source };
    let mut child = Command::new(&launcher.program)
        .arg0("kiln-step")
        .arg(CHILD_ARGUMENT)
        .env_clear()
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(lifeline)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    // A child that failed before it had read everything says why.
    let sent = wire::send_spec(&mut control, spec);
    let told = pump(&mut child, &mut control, output, cancel);
    // The child ends when its lifeline does, and everything of the step with it.
    drop(control);
    child.wait()?;
    let told = told?;
    if told.failure.is_none() {
        sent?;
    }
    told.conclude(spec, cancel)
}

/// What the child told.
#[derive(Default)]
struct Told {
    exit: Option<Exit>,
    failure: Option<Failure>,
    stubs: Vec<crate::path::RelPath>,
    refused: Vec<RefusedCall>,
}

impl Told {
    fn take(&mut self, message: Message) {
        const SHOWN: usize = 5;
        match message {
            Message::Stub(path) => self.stubs.push(path),
            Message::Refused(call) => {
                if self.refused.len() < SHOWN && !self.refused.contains(&call) {
                    self.refused.push(call);
                }
            }
            // The first failure is the cause of those after it.
            Message::Failed(failure) => self.failure = self.failure.take().or(Some(failure)),
            Message::Exited(exit) => self.exit = Some(exit),
        }
    }

    fn conclude(self, spec: &Spec, cancel: &Cancel) -> Result<Outcome, Error> {
        if let Some(failure) = self.failure {
            return Err(match failure {
                Failure::Setup { doing, errno, message } => {
                    let source = match errno {
                        Some(errno) if message.is_empty() => io::Error::from_raw_os_error(errno),
                        _ => io::Error::other(message),
                    };
                    Error::Setup { doing, source }
                }
                Failure::User(error) => Error::User(error),
                Failure::Unmapped { uid, gid } => Error::Unmapped { user: spec.user.clone(), uid, gid },
                Failure::Exec { program, errno } => {
                    Error::Exec { program, source: io::Error::from_raw_os_error(errno) }
                }
                Failure::NotFound { program } => Error::NotFound { program },
            });
        }
        if !self.refused.is_empty() {
            return Err(Error::Refused { calls: self.refused });
        }
        match self.exit {
            Some(exit) => Ok(Outcome { exit, stubs: self.stubs }),
            None if cancel.is_cancelled() => Err(Error::Cancelled),
            None => Err(Error::Died),
        }
    }
}

/// Passes output on and collects messages until the child has closed all three.
fn pump(
    child: &mut Child,
    control: &mut UnixStream,
    output: &mut dyn FnMut(Stream, &[u8]),
    cancel: &Cancel,
) -> Result<Told, Error> {
    let mut stdout = child.stdout.take();
    let mut stderr = child.stderr.take();
    let mut told = Told::default();
    let mut received = Vec::new();
    let mut control_open = true;
    let mut killed = false;
    let mut buffer = vec![0; 64 * 1024];
    while control_open || stdout.is_some() || stderr.is_some() {
        let ready = {
            let none = PollFlags::empty();
            let wanted = |wanted| if wanted { PollFlags::IN } else { none };
            // A closed stream's place is taken by the cancel descriptor with no wish, so that places stay.
            let idle = cancel.descriptor();
            let mut descriptors = [
                PollFd::from_borrowed_fd(idle, wanted(!killed)),
                if control_open {
                    PollFd::new(&*control, PollFlags::IN)
                } else {
                    PollFd::from_borrowed_fd(idle, none)
                },
                stdout
                    .as_ref()
                    .map_or(PollFd::from_borrowed_fd(idle, none), |pipe| PollFd::new(pipe, PollFlags::IN)),
                stderr
                    .as_ref()
                    .map_or(PollFd::from_borrowed_fd(idle, none), |pipe| PollFd::new(pipe, PollFlags::IN)),
            ];
            match poll(&mut descriptors, None) {
                Ok(_) => descriptors.map(|descriptor| !descriptor.revents().is_empty()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(io::Error::from(error).into()),
            }
        };
        let [cancelled, message, out, err] = ready;
        if cancelled && !killed {
            killed = true;
            // Half-closing is enough for the child to see the end of its lifeline; what it still says is
            // read below.
            control.shutdown(std::net::Shutdown::Write)?;
        }
        if message && control_open {
            let count = read(&*control, &mut buffer)?;
            control_open = count > 0;
            received.extend_from_slice(&buffer[..count]);
            for message in wire::take_messages(&mut received)? {
                told.take(message);
            }
        }
        if out && let Some(pipe) = &stdout {
            match read(pipe, &mut buffer)? {
                0 => stdout = None,
                count => output(Stream::Stdout, &buffer[..count]),
            }
        }
        if err && let Some(pipe) = &stderr {
            match read(pipe, &mut buffer)? {
                0 => stderr = None,
                count => output(Stream::Stderr, &buffer[..count]),
            }
        }
    }
    if killed { Err(Error::Cancelled) } else { Ok(told) }
}

/// Reads once; a connection that was reset is at its end.
fn read(from: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(&from, &mut *buffer) {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(0),
            result => return Ok(result?),
        }
    }
}
