//! What crosses between the builder and the child of a step: one frame there, lines of JSON back.
//!
//! Both go over one socket that is the child's standard input. It is also the lifeline: when the builder's
//! end closes, the child ends.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::spec::Spec;
use crate::path::RelPath;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// Tells whether the command says that it did its work.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    /// Returns the code as a shell shows it: 128 and the signal's number for a signal.
    pub const fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// What came of a command that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub exit: Exit,
    /// What was made in the root so that something could be mounted on it, parents first. To be removed
    /// again if still empty.
    pub stubs: Vec<RelPath>,
}

/// A call that would give a file or process an owner that a single id cannot represent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCall {
    /// The call with its arguments, for example `chown("/var/mail", 8, 8)`.
    pub call: String,
    /// The name of the program that called.
    pub program: String,
}

/// Why a command did not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Failure {
    /// A system call failed while the root was made ready.
    Setup { doing: String, errno: Option<i32>, message: String },
    /// USER is not in the root's passwd or group.
    User(super::identity::Error),
    /// The ids of USER cannot be taken on.
    Unmapped { uid: u32, gid: u32 },
    /// The program cannot be started.
    Exec { program: String, errno: i32 },
    /// The program is nowhere in PATH.
    NotFound { program: String },
}

/// What the child tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    Stub(#[serde(with = "rel_path")] RelPath),
    Refused(RefusedCall),
    Failed(Failure),
    Exited(Exit),
}

/// Sends the spec to the child.
pub(super) fn send_spec(mut to: impl Write, spec: &Spec) -> io::Result<()> {
    let bytes = serde_json::to_vec(spec)?;
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(&bytes)
}

/// Receives the spec in the child.
pub(super) fn receive_spec(mut from: impl Read) -> io::Result<Spec> {
    let mut length = [0; 8];
    from.read_exact(&mut length)?;
    let mut bytes = Vec::new();
    from.take(u64::from_le_bytes(length)).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Sends one message to the builder, in one write.
pub(super) fn send(mut to: impl Write, message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Reads the messages that the bytes in `received` hold; an unfinished one stays there.
pub(super) fn take_messages(received: &mut Vec<u8>) -> io::Result<Vec<Message>> {
    let Some(end) = received.iter().rposition(|byte| *byte == b'\n') else { return Ok(Vec::new()) };
    let rest = received.split_off(end + 1);
    let lines = std::mem::replace(received, rest);
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(io::Error::from)).collect()
}

/// Paths inside a root as JSON: a list of bytes, since names need not be text.
pub(super) mod rel_path {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use crate::path::RelPath;

    pub(in crate::sandbox) fn serialize<S: Serializer>(path: &RelPath, to: S) -> Result<S::Ok, S::Error> {
        path.as_bytes().serialize(to)
    }

    pub(in crate::sandbox) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<RelPath, D::Error> {
        Vec::<u8>::deserialize(from).map(RelPath::clean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_pieces() {
        let messages = [Message::Stub(RelPath::clean(b"etc/\xff")), Message::Exited(Exit::Code(3))];
        let mut bytes = Vec::new();
        for message in &messages {
            send(&mut bytes, message).unwrap();
        }
        let (mut received, mut seen) = (Vec::new(), Vec::new());
        for byte in bytes {
            received.push(byte);
            seen.extend(take_messages(&mut received).unwrap());
        }
        assert_eq!(seen, messages);
        assert!(received.is_empty());
    }
}
