//! Owners as `--chown` and USER name them, and the ids that the accounts of a root file system give them.

use crate::place::Warning;

/// The accounts of a root file system: the content of `/etc/passwd` and `/etc/group`, where they exist.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    /// The content of `/etc/passwd`.
    pub passwd: Option<Vec<u8>>,
    /// The content of `/etc/group`.
    pub group: Option<Vec<u8>>,
}

/// An owner in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ids {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// An owner as written: `user`, `user:group` or `:group`, each a number or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    user: Id,
    group: Option<Id>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Id {
    Number(u32),
    Name(String),
}

impl Owner {
    /// Parses an owner; every text is one, since what is no number is a name.
    pub fn parse(text: &str) -> Self {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        Self { user: Id::parse(user), group: group.map(Id::parse) }
    }

    /// Tells whether `/etc/passwd` is needed to know the ids.
    pub const fn needs_passwd(&self) -> bool {
        self.user.is_looked_up()
    }

    /// Tells whether `/etc/group` is needed to know the ids.
    pub const fn needs_group(&self) -> bool {
        match &self.group {
            Some(group) => group.is_looked_up(),
            None => false,
        }
    }

    /// Returns the ids. A number alone is user and group; a name brings the group of its account. A name that
    /// nobody has counts as 0 for a user and leaves the group as it is, as in BuildKit, and gives a warning.
    pub fn ids(&self, accounts: &Accounts) -> (Ids, Vec<Warning>) {
        let mut warnings = Vec::new();
        let mut ids = match &self.user {
            Id::Number(id) => Ids { uid: *id, gid: *id },
            Id::Name(name) if name.is_empty() => Ids::default(),
            Id::Name(name) => user_ids(accounts, name).unwrap_or_else(|| {
                warnings.push(Warning::UnknownUser { name: name.clone() });
                Ids::default()
            }),
        };
        match &self.group {
            Some(Id::Number(id)) => ids.gid = *id,
            Some(Id::Name(name)) if !name.is_empty() => match group_id(accounts, name) {
                Some(gid) => ids.gid = gid,
                None => warnings.push(Warning::UnknownGroup { name: name.clone() }),
            },
            Some(Id::Name(_)) | None => {}
        }
        (ids, warnings)
    }
}

impl Id {
    fn parse(text: &str) -> Self {
        match text {
            "root" => Self::Number(0),
            _ => match text.parse::<i32>().ok().and_then(|id| u32::try_from(id).ok()) {
                Some(id) => Self::Number(id),
                None => Self::Name(text.to_owned()),
            },
        }
    }

    const fn is_looked_up(&self) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Name(name) => !name.is_empty(),
        }
    }
}

fn user_ids(accounts: &Accounts, name: &str) -> Option<Ids> {
    let mut fields = account(accounts.passwd.as_deref()?, name)?.skip(2).map(number);
    Some(Ids { uid: fields.next().unwrap_or(0), gid: fields.next().unwrap_or(0) })
}

fn group_id(accounts: &Accounts, name: &str) -> Option<u32> {
    let mut fields = account(accounts.group.as_deref()?, name)?.skip(2).map(number);
    Some(fields.next().unwrap_or(0))
}

/// Returns the fields of the first line whose first field is `name`.
fn account<'a>(file: &'a [u8], name: &str) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
    let fields = |line: &'a [u8]| line.trim_ascii().split(|byte| *byte == b':');
    file.split(|byte| *byte == b'\n').map(fields).find(|line| line.clone().next() == Some(name.as_bytes()))
}

/// A field that is no number counts as 0, as the parser of BuildKit has it.
fn number(field: &[u8]) -> u32 {
    std::str::from_utf8(field).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        let passwd = b"root:x:0:0::/root:/bin/sh\n\n app:x:1000:1001::/:\nodd:x:zz:\napp:x:7:7\n".to_vec();
        Accounts { passwd: Some(passwd), group: Some(b"root:x:0:\nstaff:x:50:app\n".to_vec()) }
    }

    #[test]
    fn statement_124_and_125_owners_become_ids() {
        for (text, uid, gid, warnings) in [
            ("55", 55, 55, 0),
            ("55:66", 55, 66, 0),
            ("root", 0, 0, 0),
            ("app", 1000, 1001, 0),
            ("app:staff", 1000, 50, 0),
            ("app:9", 1000, 9, 0),
            (":staff", 0, 50, 0),
            ("app:", 1000, 1001, 0),
            ("nobody", 0, 0, 1),
            ("55:nobody", 55, 55, 1),
            ("nobody:nobody", 0, 0, 2),
            ("odd", 0, 0, 0),
            ("", 0, 0, 0),
        ] {
            let (ids, found) = Owner::parse(text).ids(&accounts());
            assert_eq!((ids.uid, ids.gid, found.len()), (uid, gid, warnings), "{text}");
        }
    }

    #[test]
    fn statement_132_an_empty_root_knows_no_names() {
        for (text, warnings) in [("root", 0), ("app", 1), ("app:staff", 2), ("7:8", 0)] {
            let (ids, found) = Owner::parse(text).ids(&Accounts { passwd: None, group: None });
            let numbers = if text == "7:8" { (7, 8) } else { (0, 0) };
            assert_eq!(((ids.uid, ids.gid), found.len()), (numbers, warnings), "{text}");
        }
    }

    #[test]
    fn only_names_need_the_account_files() {
        for (text, passwd, group) in [
            ("1:2", false, false),
            ("root:root", false, false),
            ("app", true, false),
            ("1:staff", false, true),
            (":staff", false, true),
        ] {
            let owner = Owner::parse(text);
            assert_eq!((owner.needs_passwd(), owner.needs_group()), (passwd, group), "{text}");
        }
        let (ids, warnings) = Owner::parse("app").ids(&Accounts::default());
        assert_eq!((ids, warnings.len()), (Ids::default(), 1), "no passwd file at all");
    }
}
