//! What a copy does silently in BuildKit and a user should hear of.

use std::fmt;

use crate::path::RelPath;

/// Something that went through but is probably not what was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A pattern matched nothing, so nothing was copied.
    NoMatch {
        /// The pattern as written.
        pattern: String,
    },
    /// No such user in `/etc/passwd`: 0 was taken.
    UnknownUser {
        /// The name.
        name: String,
    },
    /// No such group in `/etc/group`: the user's group was taken.
    UnknownGroup {
        /// The name.
        name: String,
    },
    /// `--chmod` made a parent directory that nobody but root can enter.
    UnsearchableDirectory {
        /// The directory.
        path: RelPath,
        /// Its mode.
        mode: u16,
    },
    /// Several sources have one file as their destination: the last one stays.
    Overwritten {
        /// The file.
        path: RelPath,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMatch { pattern } => write!(f, "`{pattern}` matches nothing, so nothing is copied"),
            Self::UnknownUser { name } => {
                write!(f, "no user `{name}` in /etc/passwd of the destination: the owner is root")
            }
            Self::UnknownGroup { name } => {
                write!(f, "no group `{name}` in /etc/group of the destination: the group is the user's")
            }
            Self::UnsearchableDirectory { path, mode } => {
                write!(f, "the new directory `/{path}` gets mode {mode:04o} and cannot be entered")
            }
            Self::Overwritten { path } => {
                write!(f, "several sources are copied to the file `/{path}`: only the last one stays")
            }
        }
    }
}
