//! Flags of instructions: `--name`, `--name=value`.
//!
//! A flag may stand once, unless it is a list; a text needs `=value`; a boolean takes nothing, `true` or
//! `false`. An empty text counts as not given.

use crate::diagnostic::Diagnostic;

use super::command::Cooked;
use super::instruction::{Spanned, Word};
use crate::diagnostic::suggest::nearest;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Boolean,
    Text,
    List,
}

/// The flags of one instruction, checked.
pub(super) struct Flags {
    given: Vec<(&'static str, Spanned<String>)>,
}

/// Returns how a flag is written.
fn usage(name: &str, takes: Takes) -> String {
    match takes {
        Takes::Boolean => format!("write `--{name}` or `--{name}=false`"),
        Takes::Text | Takes::List => format!("write `--{name}=VALUE`"),
    }
}

impl Flags {
    /// Checks `flags` against the ones that the instruction knows.
    pub(super) fn parse(flags: &[Cooked<'_>], known: &[(&'static str, Takes)]) -> Result<Self, Diagnostic> {
        let mut given: Vec<(&'static str, Spanned<String>)> = Vec::new();
        for flag in flags {
            let (name, value) = match flag.text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag.text.as_str(), None),
            };
            let bare = name.strip_prefix("--").unwrap_or(name);
            let written = flag.written.as_str();
            let equals = written.find('=').unwrap_or(written.len());
            let Some((known_name, takes)) = known.iter().find(|(known, _)| *known == bare) else {
                let error =
                    Diagnostic::error(flag.written.slice(0, equals).span(), format!("unknown flag {name}"));
                return Err(match nearest(bare, known.iter().map(|(name, _)| *name)) {
                    Some(near) => error.with_help(format!("did you mean `--{near}`?")),
                    None if known.is_empty() => error.with_help("this instruction takes no flags"),
                    None => {
                        let names: Vec<_> = known.iter().map(|(name, _)| format!("--{name}")).collect();
                        error.with_help(format!("known here: {}", names.join(", ")))
                    }
                });
            };
            if *takes != Takes::List && given.iter().any(|(name, _)| name == known_name) {
                return Err(Diagnostic::error(flag.written.span(), format!("flag {name} is given twice"))
                    .with_help("remove one of the two"));
            }
            let value = check(name, value, *takes)
                .map_err(|message| Diagnostic::error(flag.written.span(), message))
                .map_err(|error| error.with_help(usage(known_name, *takes)))?;
            let span = flag.written.from((equals + 1).min(written.len())).span();
            given.push((
                known_name,
                Spanned::new(value, if equals < written.len() { span } else { flag.written.span() }),
            ));
        }
        Ok(Self { given })
    }

    /// Returns a text flag; `None` if it is not given or empty.
    pub(super) fn text(&self, name: &str) -> Option<Spanned<String>> {
        self.any(name).filter(|text| !text.value.is_empty())
    }

    /// Returns a text flag, empty or not.
    pub(super) fn any(&self, name: &str) -> Option<Spanned<String>> {
        self.list(name).into_iter().next()
    }

    /// Returns a text flag whose value is expanded later.
    pub(super) fn word(&self, name: &str) -> Option<Word> {
        self.text(name).map(|text| Word { raw: text.value, span: text.span })
    }

    /// Returns all values of a list flag in their order.
    pub(super) fn list(&self, name: &str) -> Vec<Spanned<String>> {
        self.given.iter().filter(|(given, _)| *given == name).map(|(_, value)| value.clone()).collect()
    }

    /// Returns a boolean flag.
    pub(super) fn boolean(&self, name: &str) -> Option<Spanned<bool>> {
        self.any(name).map(|flag| Spanned::new(flag.value == "true", flag.span))
    }
}

/// Returns the value that is kept, or what is wrong with it.
fn check(name: &str, value: Option<&str>, takes: Takes) -> Result<String, String> {
    match (takes, value) {
        (Takes::Boolean, None) => Ok("true".to_owned()),
        (Takes::Boolean, Some("")) | (Takes::Text | Takes::List, None) => {
            Err(format!("flag {name} needs a value"))
        }
        (Takes::Boolean, Some(value)) => match value.to_ascii_lowercase() {
            boolean if boolean == "true" || boolean == "false" => Ok(boolean),
            _ => Err(format!("flag {name} takes true or false, not `{value}`")),
        },
        (Takes::Text | Takes::List, Some(value)) => Ok(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::Command;
    use super::super::text::Joined;
    use super::*;

    const KNOWN: &[(&str, Takes)] =
        &[("chown", Takes::Text), ("link", Takes::Boolean), ("exclude", Takes::List)];

    fn parse(line: &str) -> Result<String, String> {
        let mut joined = Joined::default();
        joined.push(0, line);
        let command = Command::split(joined.fragment(), '\\');
        let flags = Flags::parse(&command.flags, KNOWN).map_err(|error| {
            let help = error.help.map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{}: {}{help}", &line[error.span.range()], error.message)
        })?;
        let shown: Vec<String> = flags
            .given
            .iter()
            .map(|(name, value)| format!("{name}={} at {}", value.value, &line[value.span.range()]))
            .collect();
        Ok(shown.join(", "))
    }

    #[test]
    fn flags_are_checked() {
        for (line, expected) in [
            ("X --chown=a --link b", Ok("chown=a at a, link=true at --link")),
            ("X --link=TRUE b", Ok("link=true at TRUE")),
            ("X --link=False b", Ok("link=false at False")),
            ("X --exclude=a --exclude=b c", Ok("exclude=a at a, exclude=b at b")),
            ("X --chown='a b' c", Ok("chown=a b at 'a b'")),
            ("X --link= b", Err("--link=: flag --link needs a value (write `--link` or `--link=false`)")),
            (
                "X --link=1 b",
                Err("--link=1: flag --link takes true or false, not `1` (write `--link` or `--link=false`)"),
            ),
            ("X --chown b", Err("--chown: flag --chown needs a value (write `--chown=VALUE`)")),
            ("X --link --link b", Err("--link: flag --link is given twice (remove one of the two)")),
            ("X --chwn=a b", Err("--chwn: unknown flag --chwn (did you mean `--chown`?)")),
            (
                "X --nothing b",
                Err("--nothing: unknown flag --nothing (known here: --chown, --link, --exclude)"),
            ),
        ] {
            assert_eq!(parse(line), expected.map(str::to_owned).map_err(str::to_owned), "for {line}");
        }
    }
}
