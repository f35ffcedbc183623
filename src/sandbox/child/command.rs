//! The last process before the command: becomes the user, loses what a container must not have, executes.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::mount::MountPropagationFlags;
use rustix::process::{Gid, Signal, Uid, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;

use super::{Doing as _, resolve};
use crate::path::RelPath;
use crate::sandbox::capability;
use crate::sandbox::identity::{self, Identity};
use crate::sandbox::isolation::Rung;
use crate::sandbox::limit;
use crate::sandbox::seccomp;
use crate::sandbox::spec::{Root, Spec};
use crate::sandbox::sys;
use crate::sandbox::wire::Failure;

/// All that can be decided before the command's process exists.
pub(super) struct Prepared<'a> {
    spec: &'a Spec,
    root: BorrowedFd<'a>,
    identity: Identity,
    argv: Vec<CString>,
    env: Vec<CString>,
    candidates: Vec<CString>,
    filter: Option<Vec<libc::sock_filter>>,
}

impl<'a> Prepared<'a> {
    /// Looks the user up and turns texts into what exec takes.
    pub(super) fn new(spec: &'a Spec, root: BorrowedFd<'a>) -> Result<Self, Failure> {
        let identity = identity::resolve(&spec.user, &read(root, "etc/passwd")?, &read(root, "etc/group")?)
            .map_err(Failure::User)?;
        if spec.rung == Rung::SingleId && (identity.uid, identity.gid) != (0, 0) {
            return Err(Failure::Unmapped { uid: identity.uid, gid: identity.gid });
        }
        let text = |text: String| CString::new(text).doing(|| "pass a text with a zero byte to the command");
        let argv = spec.argv.iter().cloned().map(text).collect::<Result<_, _>>()?;
        let mut env = spec.env.clone();
        if !env.iter().any(|variable| variable.starts_with("HOME=")) {
            env.push(format!("HOME={}", identity.home));
        }
        let program = spec.argv.first().map_or("", String::as_str);
        let candidates = candidates(program, &env).into_iter().map(text).collect::<Result<_, _>>()?;
        let env = env.into_iter().map(text).collect::<Result<_, _>>()?;
        let filtered = spec.seccomp && !spec.insecure && spec.rung.has_namespaces();
        let filter = filtered.then(seccomp::default_program);
        Ok(Self { spec, root, identity, argv, env, candidates, filter })
    }

    /// Becomes the command; returns only why not.
    ///
    /// With a single id, the descriptor on which the command asks goes to `init` first.
    pub(super) fn execute(&self, init: UnixStream) -> Failure {
        let ready = self.change_root().and_then(|()| self.watch_owners(init));
        match ready.and_then(|()| self.become_user()) {
            Ok(()) => self.exec(),
            Err(failure) => failure,
        }
    }

    /// On the chroot rung only the command leaves the machine's root.
    fn change_root(&self) -> Result<(), Failure> {
        if self.spec.rung.has_namespaces() {
            return Ok(());
        }
        set_parent_process_death_signal(Some(Signal::KILL)).doing(|| "tie the command to its step")?;
        match &self.spec.root {
            Root::Directory(path) if self.spec.insecure && leave_mounts()? => rustix::process::chdir(path),
            _ => rustix::process::fchdir(self.root),
        }
        .doing(|| "enter the root")?;
        let change = || -> io::Result<()> {
            rustix::process::chroot(".")?;
            Ok(rustix::process::chdir("/")?)
        };
        change().doing(|| "change the root")
    }

    fn watch_owners(&self, init: UnixStream) -> Result<(), Failure> {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        if self.spec.rung != Rung::SingleId {
            return Ok(());
        }
        let listener = sys::load_asking_filter(&seccomp::ownership_program())
            .doing(|| "watch calls that change owners (Linux 5.5 can)")?;
        let descriptors = [listener.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(&init, &[io::IoSlice::new(b"!")], &mut ancillary, SendFlags::empty())
            .map(drop)
            .doing(|| "hand the watch to the step's first process")
    }

    fn become_user(&self) -> Result<(), Failure> {
        sys::reset_signals();
        let directory = Path::new("/").join(self.spec.working_dir.as_path());
        let directory = directory.as_path();
        // As root first: the user may not be allowed to pass a parent. But then the directory may be one
        // that only the user can enter, on a network file system.
        let entered = rustix::process::chdir(directory);
        // Loading needs CAP_SYS_ADMIN, which is about to go; no_new_privs instead would break su.
        if let Some(filter) = &self.filter {
            sys::load_filter(filter).doing(|| "load the seccomp profile")?;
        }
        let Identity { uid, gid, groups, .. } = &self.identity;
        let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
        let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
        // Now, because raising one takes a right.
        limit::set(&self.spec.ulimits).map_err(|(doing, errno)| Failure::Setup {
            doing,
            errno: Some(errno.raw_os_error()),
            message: String::new(),
        })?;
        // A container that was given fewer rights than Docker's may lack the one to give up others.
        let frugal = self.spec.rung == Rung::Chroot && uid.is_root() && gid.is_root();
        if self.spec.insecure {
            capability::keep_over_change_of_user().doing(|| "keep capabilities")?;
        } else {
            let limited = capability::limit_bounding_set();
            if !frugal {
                limited.doing(|| "limit capabilities")?;
            }
        }
        // With a single id the kernel allows no call, and there is only one list.
        if self.spec.rung != Rung::SingleId {
            let set = rustix::thread::set_thread_groups(&groups);
            if !frugal {
                set.doing(|| "set supplementary groups")?;
            }
        }
        rustix::thread::set_thread_res_gid(gid, gid, gid).doing(|| format!("become group {gid}"))?;
        if !uid.is_root() {
            // Leaving uid 0 clears all capabilities that are not kept.
            rustix::thread::set_thread_res_uid(uid, uid, uid).doing(|| format!("become user {uid}"))?;
        }
        if self.spec.insecure {
            capability::hand_on_all().doing(|| "hand on capabilities")?;
        } else if uid.is_root() {
            capability::drop_others().doing(|| "drop capabilities")?;
        }
        if entered.is_err() {
            rustix::process::chdir(directory)
                .doing(|| format!("enter the working directory /{}", self.spec.working_dir))?;
        }
        Ok(())
    }

    /// Tries the candidates as a shell would.
    fn exec(&self) -> Failure {
        let program = self.spec.argv.first().cloned().unwrap_or_default();
        let mut denied = None;
        for candidate in &self.candidates {
            let error = sys::execve(candidate, &self.argv, &self.env);
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) => denied = Some(libc::EACCES),
                errno => return Failure::Exec { program, errno: errno.unwrap_or(libc::EIO) },
            }
        }
        match denied {
            Some(errno) => Failure::Exec { program, errno },
            None if program.contains('/') => Failure::Exec { program, errno: libc::ENOENT },
            None => Failure::NotFound { program },
        }
    }
}

/// Keeps mounts that a command with all rights makes to itself: on the chroot rung they would stay on the machine, where
/// whoever clears the root would reach through them. `false` where that is not allowed; then mounting is not either.
fn leave_mounts() -> Result<bool, Failure> {
    match sys::unshare(UnshareFlags::NEWNS) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Ok(false),
        result => result.doing(|| "make a mount namespace")?,
    }
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).doing(|| "make mounts private")?;
    Ok(true)
}

/// Where the program may lie: itself if it has a slash, else in each directory of PATH.
fn candidates(program: &str, env: &[String]) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let path = env.iter().rev().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default();
    let directories = path.split(':').filter(|directory| !directory.is_empty() && !program.is_empty());
    directories.map(|directory| format!("{}/{program}", directory.trim_end_matches('/'))).collect()
}

/// Reads a file of the root; one that is not there is empty.
fn read(root: BorrowedFd<'_>, path: &str) -> Result<Vec<u8>, Failure> {
    let doing = || format!("read /{path}");
    // Not blocking, should it be a pipe.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = match resolve::open_with(root, &RelPath::clean(path), flags) {
        Ok(file) => file,
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error).doing(doing),
    };
    let mut text = Vec::new();
    io::Read::read_to_end(&mut std::fs::File::from(file), &mut text).doing(doing)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_in_the_steps_own_path() {
        let env = |path: &str| vec!["A=b".to_owned(), format!("PATH={path}")];
        assert_eq!(candidates("sh", &env("/bin:/usr/bin/:")), ["/bin/sh", "/usr/bin/sh"]);
        assert_eq!(candidates("./sh", &env("/bin")), ["./sh"]);
        assert_eq!(candidates("sh", &[]), [""; 0]);
        assert_eq!(candidates("", &env("/bin")), [""; 0]);
    }
}
