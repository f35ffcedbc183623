//! Limits of a step's resources: set before its rights go, for only rights can raise one.

use rustix::io::Errno;
use rustix::process::{Resource as Kernel, Rlimit, getrlimit, setrlimit};

use crate::ulimit::{Resource, Ulimit};

/// Sets the limits of this process, and of its program.
///
/// # Errors
/// With what was being done, as it follows "cannot", and why it failed.
pub(super) fn set(limits: &[Ulimit]) -> Result<(), (String, Errno)> {
    for limit in limits {
        let resource = kernel(limit.resource);
        setrlimit(resource, Rlimit { current: limit.soft, maximum: limit.hard }).map_err(|errno| {
            let mut doing = format!("set the limit {limit}");
            if errno == Errno::PERM {
                let most =
                    getrlimit(resource).maximum.map_or_else(|| "-1".to_owned(), |most| most.to_string());
                doing +=
                    &format!(": the hard limit is {most} here, and this user may lower it but not raise it");
            }
            (doing, errno)
        })?;
    }
    Ok(())
}

const fn kernel(resource: Resource) -> Kernel {
    match resource {
        Resource::Core => Kernel::Core,
        Resource::Cpu => Kernel::Cpu,
        Resource::Data => Kernel::Data,
        Resource::Fsize => Kernel::Fsize,
        Resource::Locks => Kernel::Locks,
        Resource::Memlock => Kernel::Memlock,
        Resource::Msgqueue => Kernel::Msgqueue,
        Resource::Nice => Kernel::Nice,
        Resource::Nofile => Kernel::Nofile,
        Resource::Nproc => Kernel::Nproc,
        Resource::Rss => Kernel::Rss,
        Resource::Rtprio => Kernel::Rtprio,
        Resource::Rttime => Kernel::Rttime,
        Resource::Sigpending => Kernel::Sigpending,
        Resource::Stack => Kernel::Stack,
    }
}
