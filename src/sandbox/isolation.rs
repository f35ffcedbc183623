//! The rungs of the ladder, strongest first.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::rootfs::{Disk, Marks};

/// How a step is walled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rung {
    /// Root of the machine, or as good: namespaces and mounts without a user namespace.
    Root,
    /// A normal user in a user namespace with subordinate ids.
    SubordinateIds,
    /// A normal user in a user namespace with one id.
    SingleId,
    /// Root in an unprivileged container: chroot.
    Chroot,
}

impl Rung {
    /// All rungs, strongest first.
    pub const ALL: [Self; 4] = [Self::Root, Self::SubordinateIds, Self::SingleId, Self::Chroot];

    /// Returns the word by which a user asks for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::SubordinateIds => "subordinate-ids",
            Self::SingleId => "single-id",
            Self::Chroot => "chroot",
        }
    }

    /// Tells what it is in some words.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Root => "root with namespaces",
            Self::SubordinateIds => "user namespace with subordinate ids",
            Self::SingleId => "user namespace with a single id: steps that change owners fail",
            Self::Chroot => "chroot, without namespaces, /proc and /sys: guards against accident, not malice",
        }
    }

    /// Tells whether steps have mounts and namespaces of their own.
    pub const fn has_namespaces(self) -> bool {
        !matches!(self, Self::Chroot)
    }

    /// Tells whether the builder runs in a user namespace that it made.
    pub const fn in_user_namespace(self) -> bool {
        matches!(self, Self::SubordinateIds | Self::SingleId)
    }
}

/// A word that names no rung.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no isolation; it is one of root, subordinate-ids, single-id, chroot")]
pub struct ParseError(pub String);

impl FromStr for Rung {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::ALL.into_iter().find(|rung| rung.name() == text).ok_or_else(|| ParseError(text.to_owned()))
    }
}

/// How roots of steps are made on the store's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overlay {
    /// overlayfs with its marks in `trusted.overlay.*`.
    Trusted,
    /// overlayfs with its marks in `user.overlay.*`.
    User,
    /// None: one plain directory, scanned before and after.
    Absent,
}

/// What a probe found.
#[derive(Debug, Clone)]
pub struct Isolation {
    /// The rung.
    pub rung: Rung,
    /// How roots are made.
    pub overlay: Overlay,
    /// Whether device nodes can be made.
    pub devices: bool,
    /// Why it is not a stronger one, if that is worth telling.
    pub reason: Option<String>,
}

impl Isolation {
    /// Returns the weakest isolation, for commands that run no step and so need not find out.
    pub const fn unprobed() -> Self {
        Self { rung: Rung::Chroot, overlay: Overlay::Absent, devices: false, reason: None }
    }

    /// Returns what directories can hold here.
    pub const fn disk(&self) -> Disk {
        Disk {
            owners: !matches!(self.rung, Rung::SingleId),
            devices: self.devices,
            marks: if matches!(self.overlay, Overlay::User) { Marks::User } else { Marks::Trusted },
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overlay = match self.overlay {
            Overlay::Trusted | Overlay::User => "overlayfs",
            Overlay::Absent => "plain directory with scan",
        };
        write!(f, "{}, {overlay}", self.rung.description())?;
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_back() {
        for rung in Rung::ALL {
            assert_eq!(rung.name().parse(), Ok(rung));
        }
        assert!("docker".parse::<Rung>().is_err());
    }
}
