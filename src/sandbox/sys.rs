//! The system calls that rustix does not have or marks unsafe, behind safe functions.
#![expect(unsafe_code, reason = "fork, exec, seccomp and mount_setattr have no safe wrapper")]

use std::ffi::{CStr, CString, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::process::Pid;
use rustix::thread::UnshareFlags;

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_long(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Which side of a [`fork`] this is.
pub(super) enum Fork {
    /// The new process.
    Child,
    /// The old one, with the new one's id.
    Parent(Pid),
}

/// Forks. Only for a process with one thread: the child may then do whatever its parent could.
pub(super) fn fork() -> io::Result<Fork> {
    // SAFETY: callers have one thread, so no lock is held by a thread that the child lacks.
    match check(unsafe { libc::fork() })? {
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Pid::from_raw(pid).expect("fork returns a positive id to the parent"))),
    }
}

/// Leaves namespaces. Only for a process with one thread.
pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES), "descriptors stay shared");
    // SAFETY: the file descriptor table is not unshared.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// Ends the process at once, without running what is registered for exit.
pub(super) fn exit_now(code: i32) -> ! {
    // SAFETY: always allowed.
    unsafe { libc::_exit(code) }
}

/// Replaces the process; returns only on failure.
pub(super) fn execve(program: &CStr, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays are null-terminated and, like their strings, outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Puts `from` at the number `to`, inherited by programs.
pub(super) fn duplicate_onto(from: BorrowedFd<'_>, to: c_int) -> io::Result<()> {
    // SAFETY: only numbers 0 to 2 are passed, which no Rust value owns in the single-threaded child.
    check(unsafe { libc::dup2(from.as_raw_fd(), to) }).map(drop)
}

/// Takes the standard input's descriptor away from number 0.
pub(super) fn take_stdin() -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC returns a new descriptor that nobody owns yet.
    unsafe {
        let fd = check(libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Closes every descriptor above 2 but `kept`.
pub(super) fn close_others(kept: BorrowedFd<'_>) -> io::Result<()> {
    let kept = kept.as_raw_fd() as libc::c_uint;
    let close = |first: libc::c_uint, last: libc::c_uint| -> io::Result<()> {
        if first > last {
            return Ok(());
        }
        // SAFETY: called once, at the start of the child, before any value owns a descriptor but `kept`.
        check_long(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
    };
    close(3, kept - 1)?;
    close(kept + 1, libc::c_uint::MAX)
}

/// Gives every signal its default disposition and unblocks all.
pub(super) fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is valid for every signal; the few that refuse it have it already.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: the set is initialised by sigemptyset before use.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Blocks `signals` and returns a descriptor that becomes readable when one of them arrives.
pub(super) fn signal_descriptor(signals: &[c_int]) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset; signalfd returns a descriptor that nobody owns yet.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()))?;
        let fd = check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// Unblocks `signals`.
pub(super) fn unblock_signals(signals: &[c_int]) -> io::Result<()> {
    // SAFETY: the set is initialised by sigemptyset before use.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        check(libc::sigprocmask(libc::SIG_UNBLOCK, &set, std::ptr::null_mut())).map(drop)
    }
}

/// A signal that arrived at a [`signal_descriptor`].
pub(super) struct Arrived {
    /// Its number.
    pub(super) signal: c_int,
    /// Whether the kernel sent it (a key on the terminal reaches the whole group) and not a process.
    pub(super) from_kernel: bool,
}

/// Returns the next signal that arrived, if any.
pub(super) fn next_signal(descriptor: BorrowedFd<'_>) -> io::Result<Option<Arrived>> {
    // SAFETY: signalfd_siginfo is plain data of the size that is read.
    unsafe {
        let mut info: libc::signalfd_siginfo = std::mem::zeroed();
        let size = size_of::<libc::signalfd_siginfo>();
        let read = libc::read(descriptor.as_raw_fd(), (&raw mut info).cast::<c_void>(), size);
        if read == size as isize {
            let from_kernel = info.ssi_code > 0;
            return Ok(Some(Arrived { signal: info.ssi_signo as c_int, from_kernel }));
        }
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
        _ => Err(error),
    }
}

/// Ends the process by `signal`, so that its parent sees that.
pub(super) fn die_by(signal: c_int) -> ! {
    reset_signals();
    // SAFETY: raising a signal at oneself is always allowed.
    unsafe { libc::raise(signal) };
    exit_now(128 + signal)
}

/// Makes a mount and everything mounted below it read-only.
pub(super) fn set_read_only(mount: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let attributes =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure and the empty string outlive the call, and the size is the structure's.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    check_long(result).map(drop)
}

/// Brings the loopback interface up in the network namespace of this process.
pub(super) fn loopback_up() -> io::Result<()> {
    // SAFETY: the request is plain data; the name "lo" fits and is terminated by the zeros around it.
    unsafe {
        let socket = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        let socket = OwnedFd::from_raw_fd(socket);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request))?;
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request)).map(drop)
    }
}

/// Loads a seccomp program into this thread and what it starts. Needs CAP_SYS_ADMIN or no_new_privs.
pub(super) fn load_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    seccomp_set_filter(program, 0).map(drop)
}

/// Loads a seccomp program whose answers may be "ask"; returns the descriptor on which it asks.
pub(super) fn load_asking_filter(program: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let fd = seccomp_set_filter(program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?;
    // SAFETY: with this flag the call returns a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn seccomp_set_filter(program: &[libc::sock_filter], flags: libc::c_ulong) -> io::Result<c_int> {
    let length =
        libc::c_ushort::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program outlives the call, which only reads it.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    check_long(result).map(|fd| fd as c_int)
}

/// A call on which a program asks.
pub(super) struct Asked {
    /// Names the asking.
    pub(super) id: u64,
    /// Who calls, as the asked process sees it.
    pub(super) pid: u32,
    /// The call's number.
    pub(super) call: libc::c_long,
    /// Its arguments.
    pub(super) arguments: [u64; 6],
}

/// Receives the next call on which a program asks; `None` if the caller is gone.
pub(super) fn receive_asked(listener: BorrowedFd<'_>) -> io::Result<Option<Asked>> {
    // SAFETY: the structure is plain data, zeroed as the call wants it, and outlives the call.
    let asked = unsafe {
        let mut asked: libc::seccomp_notif = std::mem::zeroed();
        let result = libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut asked);
        check(result).map(|_| asked)
    };
    match asked {
        Ok(libc::seccomp_notif { id, pid, data, .. }) => {
            Ok(Some(Asked { id, pid, call: data.nr.into(), arguments: data.args }))
        }
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Answers: the call has succeeded, or fails with EPERM. A caller that is gone needs none.
pub(super) fn answer_asked(listener: BorrowedFd<'_>, id: u64, succeeded: bool) -> io::Result<()> {
    let error = if succeeded { 0 } else { -libc::EPERM };
    let answer = libc::seccomp_notif_resp { id, val: 0, error, flags: 0 };
    // SAFETY: the structure outlives the call, which only reads it.
    let result =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw const answer) };
    match check(result) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result.map(drop),
    }
}
