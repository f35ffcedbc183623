//! Who a step runs as: USER looked up in the root's passwd and group, as texts.
//!
//! Lines that do not parse are skipped, as the programs that write these files expect. A numeric user needs
//! no line: its group is the one of its passwd line, else 0. A user without a group has all groups that list
//! it; a user with a group only that one.

use serde::{Deserialize, Serialize};

/// The ids of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The supplementary groups, `gid` first, each once.
    pub groups: Vec<u32>,
    /// The home directory of the passwd line; `/root` for root and `/` for others without a line.
    pub home: String,
}

/// Why a USER has no ids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Error {
    /// A name without line in passwd.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
    /// A name without line in group.
    #[error("unable to find group {0}: no matching entries in group file")]
    UnknownGroup(String),
}

/// Resolves `user` (`""`, `name`, `uid`, each with `:group` or `:gid`) against the texts of `/etc/passwd` and
/// `/etc/group`.
///
/// # Errors
/// If a name is in neither file.
pub fn resolve(user: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, Error> {
    let (user, wanted_group) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = parse_id(user);
    let account = accounts(passwd)
        .find(|account| account.name == user.as_bytes() || number.is_some_and(|uid| account.uid == uid));
    let (uid, own_gid) = match (&account, number) {
        (Some(account), _) => (account.uid, account.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) if user == "root" => (0, 0),
        (None, None) => return Err(Error::UnknownUser(user.to_owned())),
    };
    let home = match &account {
        Some(account) if !account.home.is_empty() => String::from_utf8_lossy(account.home).into_owned(),
        _ if uid == 0 => "/root".to_owned(),
        _ => "/".to_owned(),
    };
    let (gid, listed) = match wanted_group {
        Some(wanted) => (resolve_group(wanted, group)?, Vec::new()),
        None => {
            let name = account.as_ref().map_or(user.as_bytes(), |account| account.name);
            let listed = memberships(group).filter(|line| line.members().any(|member| member == name));
            (own_gid, listed.map(|line| line.gid).collect())
        }
    };
    let mut groups = vec![gid];
    for other in listed {
        if !groups.contains(&other) {
            groups.push(other);
        }
    }
    Ok(Identity { uid, gid, groups, home })
}

fn resolve_group(wanted: &str, group: &[u8]) -> Result<u32, Error> {
    let number = parse_id(wanted);
    let line = memberships(group)
        .find(|line| line.name == wanted.as_bytes() || number.is_some_and(|gid| line.gid == gid));
    match (line, number) {
        (Some(line), _) => Ok(line.gid),
        (None, Some(gid)) => Ok(gid),
        (None, None) if wanted == "root" => Ok(0),
        (None, None) => Err(Error::UnknownGroup(wanted.to_owned())),
    }
}

fn parse_id(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

struct Account<'a> {
    name: &'a [u8],
    uid: u32,
    gid: u32,
    home: &'a [u8],
}

fn accounts(passwd: &[u8]) -> impl Iterator<Item = Account<'_>> {
    passwd.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with(b"#"))?;
        let uid = field_id(fields.nth(1)?)?;
        let gid = field_id(fields.next()?)?;
        let home = fields.nth(1).unwrap_or_default();
        Some(Account { name, uid, gid, home })
    })
}

struct Membership<'a> {
    name: &'a [u8],
    gid: u32,
    list: &'a [u8],
}

impl<'a> Membership<'a> {
    fn members(&self) -> impl Iterator<Item = &'a [u8]> {
        self.list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
    }
}

fn memberships(group: &[u8]) -> impl Iterator<Item = Membership<'_>> {
    group.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with(b"#"))?;
        let gid = field_id(fields.nth(1)?)?;
        let list = fields.next().unwrap_or_default();
        Some(Membership { name, gid, list })
    })
}

fn field_id(field: &[u8]) -> Option<u32> {
    parse_id(std::str::from_utf8(field.trim_ascii()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"root:x:0:0:root:/root:/bin/sh\nbroken\n# note\napp:x:1000:1001::/home/app:/bin/sh\n\
        bin:x:2:2:bin:/bin\n";
    const GROUP: &[u8] = b"root:x:0:\napp:x:1001:\ndocker:x:999:app,bin\nwheel:x:10: app\nstaff:x:50:\n";

    #[test]
    fn users_and_groups() {
        let cases: [(&str, u32, u32, &[u32], &str); 12] = [
            ("", 0, 0, &[0], "/root"),
            ("root", 0, 0, &[0], "/root"),
            ("app", 1000, 1001, &[1001, 999, 10], "/home/app"),
            ("1000", 1000, 1001, &[1001, 999, 10], "/home/app"),
            ("1000:1001", 1000, 1001, &[1001], "/home/app"),
            ("app:staff", 1000, 50, &[50], "/home/app"),
            ("app:77", 1000, 77, &[77], "/home/app"),
            ("app:", 1000, 1001, &[1001, 999, 10], "/home/app"),
            ("4711", 4711, 0, &[0], "/"),
            ("4711:staff", 4711, 50, &[50], "/"),
            (":staff", 0, 50, &[50], "/root"),
            ("bin", 2, 2, &[2, 999], "/bin"),
        ];
        for (user, uid, gid, groups, home) in cases {
            let expected = Identity { uid, gid, groups: groups.to_vec(), home: home.to_owned() };
            assert_eq!(resolve(user, PASSWD, GROUP), Ok(expected), "{user}");
        }
    }

    #[test]
    fn without_files_only_numbers_and_root() {
        for (user, uid, gid) in [("", 0, 0), ("root", 0, 0), ("root:root", 0, 0), ("5:6", 5, 6)] {
            let identity = resolve(user, b"", b"").unwrap();
            assert_eq!((identity.uid, identity.gid), (uid, gid), "{user}");
        }
        let error = resolve("app", b"", b"").unwrap_err();
        assert_eq!(error.to_string(), "unable to find user app: no matching entries in passwd file");
        assert_eq!(resolve("0:app", b"", b""), Err(Error::UnknownGroup("app".to_owned())));
    }
}
