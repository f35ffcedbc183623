//! Limits of a process's resources, in docker's words: `nofile=1024:4096`.
//!
//! In: the text of `--ulimit`. Out: a resource with its soft and hard limit. Setting them is the sandbox's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A limit of one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// What is limited.
    pub resource: Resource,
    /// What a process may use; `None` for all it wants.
    pub soft: Option<u64>,
    /// How far a process may raise its soft limit itself; `None` for all the way.
    pub hard: Option<u64>,
}

/// What can be limited; the units are those of `setrlimit(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resource {
    /// The size of a core file.
    Core,
    /// Seconds of CPU time.
    Cpu,
    /// The size of the data segment.
    Data,
    /// The size of a file.
    Fsize,
    /// File locks (no longer enforced by Linux).
    Locks,
    /// Memory that is locked.
    Memlock,
    /// Bytes in POSIX message queues.
    Msgqueue,
    /// The ceiling of the nice value.
    Nice,
    /// Open files.
    Nofile,
    /// Processes of the user.
    Nproc,
    /// Resident memory (no longer enforced by Linux).
    Rss,
    /// The real-time priority.
    Rtprio,
    /// Microseconds of real-time CPU time without a system call that blocks.
    Rttime,
    /// Signals that are queued.
    Sigpending,
    /// The size of the stack.
    Stack,
}

impl Resource {
    /// All resources by their names.
    pub const ALL: [(&'static str, Self); 15] = [
        ("core", Self::Core),
        ("cpu", Self::Cpu),
        ("data", Self::Data),
        ("fsize", Self::Fsize),
        ("locks", Self::Locks),
        ("memlock", Self::Memlock),
        ("msgqueue", Self::Msgqueue),
        ("nice", Self::Nice),
        ("nofile", Self::Nofile),
        ("nproc", Self::Nproc),
        ("rss", Self::Rss),
        ("rtprio", Self::Rtprio),
        ("rttime", Self::Rttime),
        ("sigpending", Self::Sigpending),
        ("stack", Self::Stack),
    ];

    /// Returns the name.
    pub fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, resource)| *resource == self);
        named.expect("every resource is in the list").0
    }
}

/// A text that is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It is not of the form `NAME=SOFT[:HARD]`.
    #[error("`{0}` is not of the form NAME=SOFT[:HARD]")]
    Form(String),
    /// The name is none.
    #[error("`{name}` is no limit; the limits are {}", Resource::ALL.map(|(name, _)| name).join(", "))]
    Name {
        /// What was written.
        name: String,
    },
    /// A value is no number.
    #[error("`{0}` is no number; -1 stands for unlimited")]
    Number(String),
    /// The soft limit is above the hard one.
    #[error("the soft limit is above the hard one in `{0}`")]
    Order(String),
}

impl FromStr for Ulimit {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let form = || ParseError::Form(text.to_owned());
        let (name, values) = text.split_once('=').ok_or_else(form)?;
        let named = Resource::ALL.iter().find(|(known, _)| *known == name);
        let resource = named.ok_or_else(|| ParseError::Name { name: name.to_owned() })?.1;
        let number = |value: &str| match value {
            "-1" => Ok(None),
            value => value.parse().map(Some).map_err(|_| ParseError::Number(value.to_owned())),
        };
        let (soft, hard) = match values.split_once(':') {
            Some((soft, hard)) => (number(soft)?, number(hard)?),
            None => (number(values)?, number(values)?),
        };
        if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
            return Err(ParseError::Order(text.to_owned()));
        }
        Ok(Self { resource, soft, hard })
    }
}

impl fmt::Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |limit: Option<u64>| limit.map_or_else(|| "-1".to_owned(), |limit| limit.to_string());
        write!(f, "{}={}:{}", self.resource.name(), value(self.soft), value(self.hard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_limits() {
        for (text, expected) in [
            ("nofile=1024:2048", "nofile=1024:2048"),
            ("nproc=10", "nproc=10:10"),
            ("core=0:-1", "core=0:-1"),
            ("memlock=-1", "memlock=-1:-1"),
            ("stack=-1:-1", "stack=-1:-1"),
        ] {
            let limit: Ulimit = text.parse().unwrap();
            assert_eq!(limit.to_string(), expected, "{text}");
            assert_eq!(expected.parse(), Ok(limit), "{text}");
        }
        for wrong in [
            "nofile",
            "files=1",
            "nofile=",
            "nofile=x",
            "nofile=2:1",
            "nofile=-1:5",
            "nofile=1:2:3",
            "nofile=-2",
        ] {
            assert!(wrong.parse::<Ulimit>().is_err(), "{wrong}");
        }
    }
}
