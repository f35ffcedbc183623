//! Which further ids a user may use: `/etc/subuid` and `/etc/subgid`.

use std::io;

use rustix::process::geteuid;

/// Ranges of ids of the machine: first and count.
pub(super) type Range = (u32, u32);

/// The ranges of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges {
    pub(super) uids: Vec<Range>,
    pub(super) gids: Vec<Range>,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{file} has no line for {user}")]
    NoLine { file: &'static str, user: String },
    #[error("{file} cannot be read: {source}")]
    Read { file: &'static str, source: io::Error },
    #[error("{0} is not installed (package uidmap)")]
    NoTool(&'static str),
}

/// Returns the ranges of the user of this process.
#[expect(clippy::disallowed_methods, reason = "where programs are is the machine's, not the build's")]
pub(super) fn ranges() -> Result<Ranges, Error> {
    for tool in ["newuidmap", "newgidmap"] {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|directory| directory.join(tool).is_file()) {
            return Err(Error::NoTool(tool));
        }
    }
    let uid = geteuid().as_raw();
    let passwd = fs_err::read("/etc/passwd").unwrap_or_default();
    let name = user_name(&passwd, uid);
    let read = |file: &'static str| {
        let text = std::fs::read(file).map_err(|source| Error::Read { file, source })?;
        let list = parse(&text, name.as_deref(), uid);
        let user = || name.clone().unwrap_or_else(|| uid.to_string());
        if list.is_empty() { Err(Error::NoLine { file, user: user() }) } else { Ok(list) }
    };
    Ok(Ranges { uids: read("/etc/subuid")?, gids: read("/etc/subgid")? })
}

fn user_name(passwd: &[u8], uid: u32) -> Option<String> {
    let text = String::from_utf8_lossy(passwd);
    let mut lines = text.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// Returns the ranges whose line names the user or has the number.
fn parse(text: &[u8], name: Option<&str>, uid: u32) -> Vec<Range> {
    let number = uid.to_string();
    let text = String::from_utf8_lossy(text);
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        ((Some(owner) == name || owner == number) && count > 0).then_some((first, count))
    };
    text.lines().filter_map(range).collect()
}

/// Returns the arguments of newuidmap after the process id: the own id becomes 0, the ranges follow from 1.
pub(super) fn map(own: u32, ranges: &[Range]) -> Vec<u32> {
    let mut numbers = vec![0, own, 1];
    let mut inside = 1_u32;
    for (first, count) in ranges {
        numbers.extend([inside, *first, *count]);
        inside = inside.saturating_add(*count);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_by_name_and_by_number() {
        let text = b"root:1:2\napp:100000:65536\n1000:300000:10\nbroken\napp:x:1\napp:5:0\n";
        assert_eq!(parse(text, Some("app"), 1000), [(100_000, 65536), (300_000, 10)]);
        assert_eq!(parse(text, None, 1000), [(300_000, 10)]);
        assert_eq!(parse(text, Some("other"), 7), []);
        assert_eq!(
            map(1000, &[(100_000, 65536), (300_000, 10)]),
            [0, 1000, 1, 1, 100_000, 65536, 65537, 300_000, 10]
        );
    }

    #[test]
    fn names_of_users() {
        let passwd = b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("app"));
        assert_eq!(user_name(passwd, 1), None);
    }
}
