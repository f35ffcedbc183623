//! Docker's default seccomp profile, for a container with Docker's default capabilities.
//!
//! The calls are those that <https://github.com/moby/profiles> allows there, grouped by what they are for.
//! A call that is not listed fails with EPERM; one newer than the list does not exist, so that the C library
//! falls back. On x86 the same list holds for 32-bit programs, by their numbers.

use super::program::{Action, Other, Rule, Test, compile};

/// Calls that are allowed whatever their arguments, on every architecture.
#[rustfmt::skip]
const COMMON: &[&[libc::c_long]] = &[
    // Files and directories by descriptor or by name.
    &[
        libc::SYS_chdir, libc::SYS_chroot, libc::SYS_close, libc::SYS_close_range,
        libc::SYS_copy_file_range, libc::SYS_dup, libc::SYS_dup3, libc::SYS_faccessat, libc::SYS_faccessat2,
        libc::SYS_fadvise64, libc::SYS_fallocate, libc::SYS_fchdir, libc::SYS_fchmod, libc::SYS_fchmodat,
        libc::SYS_fchown, libc::SYS_fchownat, libc::SYS_fcntl, libc::SYS_fdatasync, libc::SYS_flock,
        libc::SYS_fstat, libc::SYS_fstatfs, libc::SYS_fsync, libc::SYS_ftruncate, libc::SYS_getcwd,
        libc::SYS_getdents64, libc::SYS_ioctl, libc::SYS_linkat, libc::SYS_lseek, libc::SYS_mkdirat,
        libc::SYS_mknodat, libc::SYS_name_to_handle_at, libc::SYS_newfstatat, libc::SYS_openat,
        libc::SYS_openat2, libc::SYS_readlinkat, libc::SYS_renameat, libc::SYS_renameat2, libc::SYS_statfs,
        libc::SYS_statx, libc::SYS_symlinkat, libc::SYS_sync, libc::SYS_sync_file_range, libc::SYS_syncfs,
        libc::SYS_truncate, libc::SYS_umask, libc::SYS_unlinkat, libc::SYS_utimensat,
    ],
    // Reading and writing.
    &[
        libc::SYS_pipe2, libc::SYS_pread64, libc::SYS_preadv, libc::SYS_preadv2, libc::SYS_pwrite64,
        libc::SYS_pwritev, libc::SYS_pwritev2, libc::SYS_read, libc::SYS_readahead, libc::SYS_readv,
        libc::SYS_sendfile, libc::SYS_splice, libc::SYS_tee, libc::SYS_vmsplice, libc::SYS_write,
        libc::SYS_writev,
    ],
    // Extended attributes.
    &[
        libc::SYS_fgetxattr, libc::SYS_flistxattr, libc::SYS_fremovexattr, libc::SYS_fsetxattr,
        libc::SYS_getxattr, libc::SYS_lgetxattr, libc::SYS_listxattr, libc::SYS_llistxattr,
        libc::SYS_lremovexattr, libc::SYS_lsetxattr, libc::SYS_removexattr, libc::SYS_setxattr,
    ],
    // Waiting for descriptors, and events.
    &[
        libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2,
        libc::SYS_eventfd2, libc::SYS_fanotify_mark, libc::SYS_inotify_add_watch, libc::SYS_inotify_init1,
        libc::SYS_inotify_rm_watch, libc::SYS_io_cancel, libc::SYS_io_destroy, libc::SYS_io_getevents,
        libc::SYS_io_setup, libc::SYS_io_submit, libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_signalfd4,
        libc::SYS_timerfd_create, libc::SYS_timerfd_gettime, libc::SYS_timerfd_settime,
    ],
    // Sockets but socket(2) itself, and queues.
    &[
        libc::SYS_accept, libc::SYS_accept4, libc::SYS_bind, libc::SYS_connect, libc::SYS_getpeername,
        libc::SYS_getsockname, libc::SYS_getsockopt, libc::SYS_listen, libc::SYS_mq_getsetattr,
        libc::SYS_mq_notify, libc::SYS_mq_open, libc::SYS_mq_timedreceive, libc::SYS_mq_timedsend,
        libc::SYS_mq_unlink, libc::SYS_msgctl, libc::SYS_msgget, libc::SYS_msgrcv, libc::SYS_msgsnd,
        libc::SYS_recvfrom, libc::SYS_recvmmsg, libc::SYS_recvmsg, libc::SYS_semctl, libc::SYS_semget,
        libc::SYS_semop, libc::SYS_semtimedop, libc::SYS_sendmmsg, libc::SYS_sendmsg, libc::SYS_sendto,
        libc::SYS_setsockopt, libc::SYS_shmat, libc::SYS_shmctl, libc::SYS_shmdt, libc::SYS_shmget,
        libc::SYS_shutdown, libc::SYS_socketpair,
    ],
    // Memory.
    &[
        libc::SYS_brk, libc::SYS_madvise, libc::SYS_membarrier, libc::SYS_memfd_create,
        libc::SYS_memfd_secret, libc::SYS_mincore, libc::SYS_mlock, libc::SYS_mlock2, libc::SYS_mlockall,
        libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_mremap, libc::SYS_mseal, libc::SYS_msync,
        libc::SYS_munlock, libc::SYS_munlockall, libc::SYS_munmap, libc::SYS_pkey_alloc,
        libc::SYS_pkey_free, libc::SYS_pkey_mprotect, libc::SYS_process_mrelease,
        libc::SYS_remap_file_pages,
    ],
    // Processes and threads.
    &[
        libc::SYS_execve, libc::SYS_execveat, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_futex,
        libc::SYS_futex_waitv, libc::SYS_get_robust_list, libc::SYS_getcpu, libc::SYS_getpgid,
        libc::SYS_getpid, libc::SYS_getppid, libc::SYS_getpriority, libc::SYS_getrlimit,
        libc::SYS_getrusage, libc::SYS_getsid, libc::SYS_gettid, libc::SYS_ioprio_get, libc::SYS_ioprio_set,
        libc::SYS_kill, libc::SYS_pidfd_open, libc::SYS_pidfd_send_signal, libc::SYS_prctl,
        libc::SYS_prlimit64, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_ptrace,
        libc::SYS_restart_syscall, libc::SYS_rseq, libc::SYS_sched_get_priority_max,
        libc::SYS_sched_get_priority_min, libc::SYS_sched_getaffinity, libc::SYS_sched_getattr,
        libc::SYS_sched_getparam, libc::SYS_sched_getscheduler, libc::SYS_sched_rr_get_interval,
        libc::SYS_sched_setaffinity, libc::SYS_sched_setattr, libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler, libc::SYS_sched_yield, libc::SYS_set_robust_list,
        libc::SYS_set_tid_address, libc::SYS_setpgid, libc::SYS_setpriority, libc::SYS_setrlimit,
        libc::SYS_setsid, libc::SYS_tgkill, libc::SYS_tkill, libc::SYS_wait4, libc::SYS_waitid,
    ],
    // Signals.
    &[
        libc::SYS_rt_sigaction, libc::SYS_rt_sigpending, libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigqueueinfo, libc::SYS_rt_sigreturn, libc::SYS_rt_sigsuspend,
        libc::SYS_rt_sigtimedwait, libc::SYS_rt_tgsigqueueinfo, libc::SYS_sigaltstack,
    ],
    // Who one is, and giving up rights.
    &[
        libc::SYS_capget, libc::SYS_capset, libc::SYS_getegid, libc::SYS_geteuid, libc::SYS_getgid,
        libc::SYS_getgroups, libc::SYS_getresgid, libc::SYS_getresuid, libc::SYS_getuid,
        libc::SYS_landlock_add_rule, libc::SYS_landlock_create_ruleset, libc::SYS_landlock_restrict_self,
        libc::SYS_seccomp, libc::SYS_setfsgid, libc::SYS_setfsuid, libc::SYS_setgid, libc::SYS_setgroups,
        libc::SYS_setregid, libc::SYS_setresgid, libc::SYS_setresuid, libc::SYS_setreuid, libc::SYS_setuid,
    ],
    // Time and the machine.
    &[
        libc::SYS_adjtimex, libc::SYS_clock_adjtime, libc::SYS_clock_getres, libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep, libc::SYS_getitimer, libc::SYS_getrandom, libc::SYS_gettimeofday,
        libc::SYS_nanosleep, libc::SYS_setitimer, libc::SYS_sysinfo, libc::SYS_timer_create,
        libc::SYS_timer_delete, libc::SYS_timer_getoverrun, libc::SYS_timer_gettime,
        libc::SYS_timer_settime, libc::SYS_times, libc::SYS_uname,
    ],
    // Calls with the same number everywhere that are younger than most C libraries.
    &[
        CACHESTAT, FCHMODAT2, MAP_SHADOW_STACK, FUTEX_WAKE, FUTEX_WAIT, FUTEX_REQUEUE,
    ],
    &[
        STATMOUNT, LISTMOUNT, SETXATTRAT, GETXATTRAT, LISTXATTRAT, REMOVEXATTRAT,
    ],
];

const CACHESTAT: libc::c_long = 451;
const FCHMODAT2: libc::c_long = 452;
const MAP_SHADOW_STACK: libc::c_long = 453;
const FUTEX_WAKE: libc::c_long = 454;
const FUTEX_WAIT: libc::c_long = 455;
const FUTEX_REQUEUE: libc::c_long = 456;
const STATMOUNT: libc::c_long = 457;
const LISTMOUNT: libc::c_long = 458;
const SETXATTRAT: libc::c_long = 463;
const GETXATTRAT: libc::c_long = 464;
const LISTXATTRAT: libc::c_long = 465;
const REMOVEXATTRAT: libc::c_long = 466;

/// The youngest call that the profile knows.
const NEWEST: libc::c_long = REMOVEXATTRAT;

/// What only one architecture has: older forms, and what sets up its threads.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const NATIVE: &[libc::c_long] = &[
    libc::SYS_access, libc::SYS_alarm, libc::SYS_arch_prctl, libc::SYS_chmod, libc::SYS_chown,
    libc::SYS_creat, libc::SYS_dup2, libc::SYS_epoll_create, libc::SYS_epoll_ctl_old, libc::SYS_epoll_wait,
    libc::SYS_epoll_wait_old, libc::SYS_eventfd, libc::SYS_fork, libc::SYS_futimesat,
    libc::SYS_get_thread_area, libc::SYS_getdents, libc::SYS_getpgrp, libc::SYS_inotify_init,
    libc::SYS_lchown, libc::SYS_link, libc::SYS_lstat, libc::SYS_mkdir, libc::SYS_mknod,
    libc::SYS_modify_ldt, libc::SYS_open, libc::SYS_pause, libc::SYS_pipe, libc::SYS_poll,
    libc::SYS_readlink, libc::SYS_rename, libc::SYS_rmdir, libc::SYS_select, libc::SYS_set_thread_area,
    libc::SYS_signalfd, libc::SYS_stat, libc::SYS_symlink, libc::SYS_time, libc::SYS_unlink,
    libc::SYS_utime, libc::SYS_utimes, libc::SYS_vfork, IO_PGETEVENTS, URETPROBE,
];
#[cfg(target_arch = "x86_64")]
const IO_PGETEVENTS: libc::c_long = 333;
#[cfg(target_arch = "x86_64")]
const URETPROBE: libc::c_long = 335;

/// What only one architecture has.
#[cfg(target_arch = "aarch64")]
const NATIVE: &[libc::c_long] = &[IO_PGETEVENTS];
#[cfg(target_arch = "aarch64")]
const IO_PGETEVENTS: libc::c_long = 292;

/// Execution domains that change nothing that a container relies on: Linux, the 32-bit name of the
/// machine, both without the 2.6 version, and the question which it is.
const PERSONALITIES: [u32; 5] = [0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Families of sockets that reach out of the container or into the kernel's crypto.
const REFUSED_SOCKETS: [libc::c_int; 2] = [libc::AF_ALG, libc::AF_VSOCK];

const NAMESPACES: libc::c_int = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// The numbers that the same list has for 32-bit programs on x86.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const ALLOWED_32_BIT: &[(u32, u32)] = &[
    (0, 16), (19, 20), (23, 24), (26, 27), (29, 30), (33, 33), (36, 43), (45, 47), (49, 50), (54, 55),
    (57, 57), (60, 61), (63, 66), (70, 71), (75, 78), (80, 83), (85, 85), (90, 97), (99, 100), (102, 102),
    (104, 108), (114, 114), (116, 119), (122, 126), (132, 133), (138, 148), (150, 165), (168, 168),
    (170, 187), (190, 216), (218, 221), (224, 250), (252, 252), (254, 263), (265, 272), (277, 282),
    (284, 284), (289, 293), (295, 309), (311, 316), (318, 335), (337, 337), (339, 341), (343, 345),
    (347, 348), (351, 356), (358, 358), (360, 373), (375, 386), (393, 403), (405, 414), (416, 424),
    (434, 434), (436, 437), (439, 439), (441, 441), (444, 449), (451, 458), (462, 466),
];

/// What 32-bit programs get. Their socketcall cannot be looked into, as its arguments are in memory.
#[cfg(target_arch = "x86_64")]
fn others() -> Vec<Other> {
    const I386: u32 = 0x4000_0003;
    let numbers = Numbers { personality: 136, socket: 359, clone: 120, clone3: 435 };
    vec![Other { architecture: I386, rules: numbers.rules(), allowed: ALLOWED_32_BIT }]
}

/// 32-bit programs get nothing here.
#[cfg(not(target_arch = "x86_64"))]
fn others() -> Vec<Other> {
    Vec::new()
}

/// Returns the program that is loaded into a step.
pub(in crate::sandbox) fn default_program() -> Vec<libc::sock_filter> {
    compile(&rules(), Some(NEWEST), &others(), Action::Fail(libc::EPERM))
}

fn rules() -> Vec<Rule> {
    let plain = COMMON.iter().copied().flatten().chain(NATIVE).map(|call| allow(*call, Vec::new()));
    let numbers = Numbers {
        personality: libc::SYS_personality,
        socket: libc::SYS_socket,
        clone: libc::SYS_clone,
        clone3: libc::SYS_clone3,
    };
    plain.chain(numbers.rules()).collect()
}

const fn allow(call: libc::c_long, tests: Vec<(u32, Test)>) -> Rule {
    Rule { call, tests, action: Action::Allow }
}

/// The calls whose arguments decide, by an architecture's numbers.
struct Numbers {
    personality: libc::c_long,
    socket: libc::c_long,
    clone: libc::c_long,
    clone3: libc::c_long,
}

impl Numbers {
    fn rules(&self) -> Vec<Rule> {
        let refuse = |call, tests, errno| Rule { call, tests, action: Action::Fail(errno) };
        let domains = PERSONALITIES.map(|domain| allow(self.personality, vec![(0, Test::Is(domain))]));
        let families = REFUSED_SOCKETS
            .map(|family| refuse(self.socket, vec![(0, Test::Is(family as u32))], libc::EPERM));
        let rest = [
            allow(self.socket, Vec::new()),
            allow(self.clone, vec![(0, Test::NoneOf(NAMESPACES as u32))]),
            // Its flags are in memory, where no filter can look: the C library then takes clone.
            refuse(self.clone3, Vec::new(), libc::ENOSYS),
        ];
        domains.into_iter().chain(families).chain(rest).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::seccomp::program::{THIS_ARCHITECTURE, machine};

    #[test]
    fn answers() {
        let program = default_program();
        let eperm = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        let allow = libc::SECCOMP_RET_ALLOW;
        for (call, argument, expected) in [
            (libc::SYS_openat, 0, allow),
            (libc::SYS_mount, 0, eperm),
            (libc::SYS_unshare, 0, eperm),
            (libc::SYS_bpf, 0, eperm),
            (libc::SYS_keyctl, 0, eperm),
            (libc::SYS_clone3, 0, enosys),
            (libc::SYS_clone, libc::SIGCHLD as u64, allow),
            (libc::SYS_clone, libc::CLONE_NEWUSER as u64, eperm),
            (libc::SYS_socket, libc::AF_INET as u64, allow),
            (libc::SYS_socket, libc::AF_UNIX as u64, allow),
            (libc::SYS_socket, libc::AF_VSOCK as u64, eperm),
            (libc::SYS_socket, libc::AF_ALG as u64, eperm),
            (libc::SYS_personality, 0, allow),
            (libc::SYS_personality, 0xffff_ffff, allow),
            (libc::SYS_personality, 0x004_0000, eperm),
            (NEWEST, 0, allow),
            (NEWEST + 1, 0, enosys),
            (1 << 30, 0, enosys),
        ] {
            let answer = machine::run(&program, THIS_ARCHITECTURE, call as u32, [argument, 0, 0, 0, 0, 0]);
            assert_eq!(answer, expected, "{call}({argument:#x})");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn answers_to_32_bit_programs() {
        let program = default_program();
        let eperm = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        let (openat, mount, socket, vsock) = (295, 21, 359, libc::AF_VSOCK as u64);
        for (call, argument, expected) in [
            (openat, 0, libc::SECCOMP_RET_ALLOW),
            (mount, 0, eperm),
            (socket, 2, libc::SECCOMP_RET_ALLOW),
            (socket, vsock, eperm),
        ] {
            let answer = machine::run(&program, 0x4000_0003, call, [argument, 0, 0, 0, 0, 0]);
            assert_eq!(answer, expected, "{call}({argument})");
        }
    }

    #[test]
    fn no_call_is_listed_twice() {
        let mut calls: Vec<_> = COMMON.iter().copied().flatten().chain(NATIVE).collect();
        let count = calls.len();
        calls.sort_unstable();
        calls.dedup();
        assert_eq!(calls.len(), count);
    }
}
