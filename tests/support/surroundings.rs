//! The surroundings that kiln is made for: users with subordinate ids, and root of an unprivileged container.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::find_program;

/// Returns a user of this machine with subordinate ids, as uid and gid; made if there is none.
pub(crate) fn user_with_subordinate_ids() -> Option<(u32, u32)> {
    let find = || {
        let owners = std::fs::read_to_string("/etc/subuid").ok()?;
        let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
        owners.lines().filter_map(|line| line.split(':').next()).find_map(|owner| {
            let mut accounts = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
            let account =
                accounts.find(|fields| fields.len() > 3 && fields[0] == owner && fields[2] != "0")?;
            Some((account[2].parse().ok()?, account[3].parse().ok()?))
        })
    };
    find().or_else(|| {
        // Debian's useradd gives new users ranges in /etc/subuid and /etc/subgid.
        let made = Command::new(find_program("useradd")?).args(["--no-create-home", "kiln-test"]).status();
        made.is_ok_and(|status| status.success()).then(find)?
    })
}

/// docker's default capabilities.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// What docker's default seccomp profile refuses without CAP_SYS_ADMIN, as far as a builder would try it.
const REFUSED: [&str; 14] = [
    "mount",
    "umount2",
    "unshare",
    "setns",
    "pivot_root",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "open_tree",
    "move_mount",
    "mount_setattr",
    "swapon",
    "keyctl",
];

/// Describes an unprivileged container (OCI runtime-spec) in which root runs `arguments`: the machine's programs and
/// libraries are seen, and the directory `place`, at its own path.
pub(crate) fn container(place: &Path, arguments: &[&str], environment: &[String]) -> Value {
    let bind = |path: &str, mode: &str| json!({"destination": path, "type": "bind", "source": path, "options": ["rbind", mode]});
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}),
        bind(place.to_str().expect("temporary directories have plain names"), "rw"),
    ];
    let shared = ["/usr", "/bin", "/lib", "/lib64"].into_iter().filter(|path| Path::new(path).exists());
    mounts.extend(shared.map(|path| bind(path, "ro")));
    let environment: Vec<_> =
        ["PATH=/usr/bin:/bin"].into_iter().chain(environment.iter().map(String::as_str)).collect();
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": arguments,
            "env": environment,
            "cwd": place,
            "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
        },
        "root": {"path": "rootfs"},
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}],
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": REFUSED, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
            },
        },
    })
}
