//! Calls that give files or processes an owner: where only one id exists, those for another id are asked
//! about, refused, and reported.
//!
//! The kernel would refuse most of them too (EINVAL, as the id has no name here), but a program may go on
//! after that, and then the image would have the wrong owner and nobody would know.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::program::{Action, Rule, Test, compile};
use crate::sandbox::sys;
use crate::sandbox::wire::RefusedCall;

/// How a call says what it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A path, then user and group.
    Path,
    /// A descriptor, then user and group.
    Descriptor,
    /// A directory and a path, then user and group.
    DirectoryAndPath,
    /// This many ids and nothing else.
    Ids(u32),
    /// A number of ids, and where they are.
    List,
}

/// A call that gives an owner.
struct Call {
    name: &'static str,
    number: libc::c_long,
    shape: Shape,
}

const fn call(name: &'static str, number: libc::c_long, shape: Shape) -> Call {
    Call { name, number, shape }
}

const CALLS: &[Call] = &[
    #[cfg(target_arch = "x86_64")]
    call("chown", libc::SYS_chown, Shape::Path),
    #[cfg(target_arch = "x86_64")]
    call("lchown", libc::SYS_lchown, Shape::Path),
    call("fchown", libc::SYS_fchown, Shape::Descriptor),
    call("fchownat", libc::SYS_fchownat, Shape::DirectoryAndPath),
    call("setuid", libc::SYS_setuid, Shape::Ids(1)),
    call("setgid", libc::SYS_setgid, Shape::Ids(1)),
    call("setfsuid", libc::SYS_setfsuid, Shape::Ids(1)),
    call("setfsgid", libc::SYS_setfsgid, Shape::Ids(1)),
    call("setreuid", libc::SYS_setreuid, Shape::Ids(2)),
    call("setregid", libc::SYS_setregid, Shape::Ids(2)),
    call("setresuid", libc::SYS_setresuid, Shape::Ids(3)),
    call("setresgid", libc::SYS_setresgid, Shape::Ids(3)),
    call("setgroups", libc::SYS_setgroups, Shape::List),
];

impl Shape {
    /// The positions of the ids among the arguments.
    fn ids(self) -> std::ops::Range<u32> {
        match self {
            Self::Path | Self::Descriptor => 1..3,
            Self::DirectoryAndPath => 2..4,
            Self::Ids(count) => 0..count,
            Self::List => 0..0,
        }
    }
}

/// Root, and "leave as it is".
const REPRESENTABLE: [u32; 2] = [0, u32::MAX];

/// Returns the program that asks about every call for another id than 0. Programs for another architecture
/// than the machine's get no call at all: theirs would go unasked. Calls for 0, or for no change,
/// never reach the builder.
pub(in crate::sandbox) fn program() -> Vec<libc::sock_filter> {
    let mut rules = Vec::new();
    for call in CALLS {
        let ids = call.shape.ids();
        if !ids.is_empty() {
            for choice in 0..1_u32 << ids.len() {
                let tests = ids.clone().enumerate().map(|(bit, position)| {
                    (position, Test::Is(REPRESENTABLE[usize::from(choice >> bit & 1 == 1)]))
                });
                rules.push(Rule { call: call.number, tests: tests.collect(), action: Action::Allow });
            }
        }
        rules.push(Rule { call: call.number, tests: Vec::new(), action: Action::Ask });
    }
    compile(&rules, None, &[], Action::Allow)
}

/// What a call that was asked about gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Answer {
    /// It has succeeded, without anything being done.
    Done,
    /// It fails with EPERM.
    Refused,
}

/// Answers for a step's command.
pub(in crate::sandbox) struct Watcher(OwnedFd);

impl Watcher {
    /// Answers on the descriptor that loading [`program`] gave.
    pub(in crate::sandbox) const fn new(listener: OwnedFd) -> Self {
        Self(listener)
    }

    /// Returns the descriptor that is readable when there is something to answer.
    pub(in crate::sandbox) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Answers one call; returns it if it was refused.
    pub(in crate::sandbox) fn answer(&self) -> io::Result<Option<RefusedCall>> {
        let Some(asked) = sys::receive_asked(self.0.as_fd())? else { return Ok(None) };
        let call = CALLS.iter().find(|call| call.number == asked.call);
        let groups = call.is_some_and(|call| call.shape == Shape::List).then(|| read_groups(&asked));
        // Only group 0, or none: that is what the process has already.
        let harmless = groups.as_ref().is_some_and(|groups| {
            groups.as_ref().is_some_and(|groups| groups.iter().all(|group| *group == 0))
        });
        let answer = if harmless { Answer::Done } else { Answer::Refused };
        // Described while the caller waits: afterwards its memory says something else.
        let refused = (answer == Answer::Refused).then(|| RefusedCall {
            call: call.map_or_else(
                || format!("call {}", asked.call),
                |call| describe(call, &asked, groups.flatten()),
            ),
            program: program_name(asked.pid),
        });
        sys::answer_asked(self.0.as_fd(), asked.id, answer == Answer::Done)?;
        Ok(refused)
    }
}

fn describe(call: &Call, asked: &sys::Asked, groups: Option<Vec<u32>>) -> String {
    let shown = |position: u32| match asked.arguments[position as usize] as u32 {
        u32::MAX => "-1".to_owned(),
        id => id.to_string(),
    };
    let mut arguments = match call.shape {
        Shape::Path => vec![quoted(read_text(asked.pid, asked.arguments[0]))],
        Shape::DirectoryAndPath => match read_text(asked.pid, asked.arguments[1]) {
            Some(path) if path.is_empty() => vec![quoted(descriptor_path(asked))],
            path => vec![quoted(path)],
        },
        Shape::Descriptor => vec![quoted(descriptor_path(asked))],
        Shape::Ids(_) => Vec::new(),
        Shape::List => vec![format!("{:?}", groups.unwrap_or_default())],
    };
    arguments.extend(call.shape.ids().map(shown));
    format!("{}({})", call.name, arguments.join(", "))
}

fn quoted(text: Option<String>) -> String {
    text.map_or_else(|| "?".to_owned(), |text| format!("\"{text}\""))
}

/// Returns what the first argument's descriptor is open at.
fn descriptor_path(asked: &sys::Asked) -> Option<String> {
    let link = PathBuf::from(format!("/proc/{}/fd/{}", asked.pid, asked.arguments[0] as i32));
    Some(fs_err::read_link(link).ok()?.to_string_lossy().into_owned())
}

fn program_name(pid: u32) -> String {
    let name = fs_err::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if name.trim().is_empty() { "a program".to_owned() } else { name.trim().to_owned() }
}

fn read_memory(pid: u32, at: u64, length: usize) -> Option<Vec<u8>> {
    let mut memory = fs_err::File::open(format!("/proc/{pid}/mem")).ok()?;
    memory.seek(SeekFrom::Start(at)).ok()?;
    let mut bytes = vec![0; length];
    let count = memory.read(&mut bytes).ok()?;
    bytes.truncate(count);
    Some(bytes)
}

/// Reads a text that ends with a zero byte, as far as it is worth showing.
fn read_text(pid: u32, at: u64) -> Option<String> {
    const SHOWN: usize = 256;
    let bytes = read_memory(pid, at, SHOWN)?;
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(String::from_utf8_lossy(text).into_owned())
}

fn read_groups(asked: &sys::Asked) -> Option<Vec<u32>> {
    const MOST: u64 = 65536;
    let count = asked.arguments[0] & 0xffff_ffff;
    if count == 0 {
        return Some(Vec::new());
    }
    let length = usize::try_from(count.min(MOST) * 4).ok()?;
    let bytes = read_memory(asked.pid, asked.arguments[1], length)?;
    (bytes.len() == length)
        .then(|| bytes.as_chunks::<4>().0.iter().map(|id| u32::from_ne_bytes(*id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::seccomp::program::{THIS_ARCHITECTURE, machine};

    #[test]
    fn only_other_ids_are_asked_about() {
        let program = program();
        let (allow, ask) = (libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_USER_NOTIF);
        let none = u64::from(u32::MAX);
        for (call, arguments, expected) in [
            (libc::SYS_fchown, [3, 0, 0, 0, 0, 0], allow),
            (libc::SYS_fchown, [3, none, 0, 0, 0, 0], allow),
            (libc::SYS_fchown, [3, 0, 5, 0, 0, 0], ask),
            (libc::SYS_fchown, [3, 5, none, 0, 0, 0], ask),
            (libc::SYS_fchownat, [3, 99, 0, none, 0, 0], allow),
            (libc::SYS_fchownat, [3, 99, 0, 1, 0, 0], ask),
            (libc::SYS_setresuid, [none, 0, none, 0, 0, 0], allow),
            (libc::SYS_setresuid, [none, 0, 7, 0, 0, 0], ask),
            (libc::SYS_setuid, [0; 6], allow),
            (libc::SYS_setuid, [33, 0, 0, 0, 0, 0], ask),
            (libc::SYS_setgroups, [0; 6], ask),
            (libc::SYS_openat, [1; 6], allow),
        ] {
            let answer = machine::run(&program, THIS_ARCHITECTURE, call as u32, arguments);
            assert_eq!(answer, expected, "{call} {arguments:?}");
        }
    }
}
