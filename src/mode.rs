//! File modes as `--chmod` writes them: octal, or symbolic as chmod(1).

use std::fmt;

/// What `--chmod` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Chmod {
    /// A whole mode: at most 0o7777.
    Octal(u16),
    /// Clauses that change each entry's own mode.
    Symbolic(Vec<Clause>),
}

/// One `[ugoa]*[+-=][rwxXst]*` clause; `u+x-w` is two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Clause {
    /// Whose bits: any of user (0o4700), group (0o2070), others (0o1007).
    who: u16,
    operator: Operator,
    permissions: Permissions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operator {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Permissions {
    /// `rwxXst`: the bits for everybody, and whether `X` was among them.
    Bits { bits: u16, executable_if_any: bool },
    /// `g+u`: the bits that one class has now, 0 others, 3 group, 6 user.
    Same { shift: u16 },
}

const USER: u16 = 0o4700;
const GROUP: u16 = 0o2070;
const OTHERS: u16 = 0o1007;
const EVERYBODY: u16 = 0o7777;

/// A text that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid chmod parameter: `{0}`; it must be an octal number up to 07777 or a symbolic mode such as u+rwx,go=rX"
)]
pub struct ParseError(pub String);

impl Chmod {
    /// Parses the value of `--chmod`.
    ///
    /// # Errors
    /// If it is neither form, or an octal number over 07777.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let invalid = || ParseError(text.to_owned());
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let mode = u16::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Octal).ok_or_else(invalid);
        }
        let mut clauses = Vec::new();
        for group in text.split(',') {
            parse_group(group, &mut clauses).ok_or_else(invalid)?;
        }
        Ok(Self::Symbolic(clauses))
    }

    /// Returns what becomes of `mode` (with umask 0); `directory` matters for `X`.
    pub fn apply(&self, mode: u16, directory: bool) -> u16 {
        match self {
            Self::Octal(octal) => *octal,
            Self::Symbolic(clauses) => {
                clauses.iter().fold(mode, |mode, clause| clause.apply(mode, directory))
            }
        }
    }
}

fn parse_group(group: &str, clauses: &mut Vec<Clause>) -> Option<()> {
    let operators = group.trim_start_matches(['u', 'g', 'o', 'a']);
    let who = group[..group.len() - operators.len()].chars().fold(0, |who, class| {
        who | match class {
            'u' => USER,
            'g' => GROUP,
            'o' => OTHERS,
            _ => EVERYBODY,
        }
    });
    let who = if who == 0 { EVERYBODY } else { who };
    let mut rest = operators;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let operator = match rest.as_bytes()[0] {
            b'+' => Operator::Add,
            b'-' => Operator::Remove,
            b'=' => Operator::Set,
            _ => return None,
        };
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |at| at + 1);
        let permissions = parse_permissions(&rest[1..end])?;
        clauses.push(Clause { who, operator, permissions });
        rest = &rest[end..];
    }
    Some(())
}

fn parse_permissions(text: &str) -> Option<Permissions> {
    match text {
        "u" => return Some(Permissions::Same { shift: 6 }),
        "g" => return Some(Permissions::Same { shift: 3 }),
        "o" => return Some(Permissions::Same { shift: 0 }),
        _ => {}
    }
    let (mut bits, mut executable_if_any) = (0, false);
    for letter in text.chars() {
        match letter {
            'r' => bits |= 0o444,
            'w' => bits |= 0o222,
            'x' => bits |= 0o111,
            's' => bits |= 0o6000,
            't' => bits |= 0o1000,
            'X' => executable_if_any = true,
            _ => return None,
        }
    }
    Some(Permissions::Bits { bits, executable_if_any })
}

impl Clause {
    fn apply(&self, mode: u16, directory: bool) -> u16 {
        let wanted = match self.permissions {
            Permissions::Bits { bits, executable_if_any } => {
                let executable = executable_if_any && (directory || mode & 0o111 != 0);
                bits | if executable { 0o111 } else { 0 }
            }
            Permissions::Same { shift } => (mode >> shift & 7) * 0o111,
        };
        // The sticky bit belongs to no class: `t` counts only where others are meant, or nobody is named.
        match self.operator {
            Operator::Add => mode | wanted & self.who,
            Operator::Remove => mode & !(wanted & self.who),
            Operator::Set => mode & !self.who | wanted & self.who,
        }
    }
}

impl fmt::Display for Chmod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octal(mode) => write!(f, "{mode:04o}"),
            Self::Symbolic(clauses) => {
                for (index, clause) in clauses.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    let who: String = [('u', USER), ('g', GROUP), ('o', OTHERS)]
                        .into_iter()
                        .filter(|(_, class)| clause.who & class == *class)
                        .map(|(letter, _)| letter)
                        .collect();
                    let operator = match clause.operator {
                        Operator::Add => '+',
                        Operator::Remove => '-',
                        Operator::Set => '=',
                    };
                    write!(f, "{comma}{who}{operator}")?;
                    match clause.permissions {
                        Permissions::Same { shift } => {
                            write!(f, "{}", ["o", "g", "u"][usize::from(shift / 3)])?
                        }
                        Permissions::Bits { bits, executable_if_any } => {
                            for (letter, bit) in
                                [('r', 0o444), ('w', 0o222), ('x', 0o111), ('s', 0o6000), ('t', 0o1000)]
                            {
                                if bits & bit != 0 {
                                    write!(f, "{letter}")?;
                                }
                            }
                            if executable_if_any {
                                write!(f, "X")?;
                            }
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_applies() {
        for (text, mode, directory, expected) in [
            ("755", 0o644, false, 0o755),
            ("04755", 0, false, 0o4755),
            ("u+x", 0o644, false, 0o744),
            ("a+rX", 0o600, false, 0o644),
            ("a+rX", 0o700, true, 0o755),
            ("go-rwx", 0o755, false, 0o700),
            ("u=rwx,g=rx,o=", 0o777, false, 0o750),
            ("g=u", 0o640, false, 0o660),
            ("+x", 0o644, false, 0o755),
            ("u+s,+t", 0o755, true, 0o5755),
            ("u+x-w", 0o644, false, 0o544),
            ("=r", 0o4755, false, 0o444),
        ] {
            let chmod = Chmod::parse(text).unwrap();
            assert_eq!(chmod.apply(mode, directory), expected, "{text} on {mode:o}");
            assert_eq!(Chmod::parse(&chmod.to_string()), Ok(chmod), "{text}");
        }
        for wrong in ["", "u", "8", "10000", "u+y", "z+x", "u+x,", "go"] {
            assert!(Chmod::parse(wrong).is_err(), "{wrong}");
        }
    }
}
