//! `RUN --mount=type=…,target=…`: comma-separated options, quoted as in CSV.
//!
//! Option names ignore case and have short forms. Values may hold variables. An option that is text is kept
//! unexpanded; one that must be understood (`type`, `sharing`, numbers, booleans) is read at once when it
//! holds no variable. If it does, the mount is [`late`](Mount::late): only [`Mount::expanded`] knows it.

use crate::diagnostic::{Diagnostic, Span};

use super::expand::{ExpandError, Mode, expand};
use super::instruction::{Mount, MountKind, Sharing, Spanned, Word};
use super::text::Fragment;
use crate::diagnostic::suggest::nearest;

/// Replaces the variables of one option's value.
pub type Expander<'a> = dyn FnMut(&str) -> Result<String, ExpandError> + 'a;

/// Every name an option may have.
const OPTIONS: &[&str] = &[
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];

const KINDS: &[(&str, MountKind)] = &[
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];

const SHARING: &[(&str, Sharing)] =
    &[("shared", Sharing::Shared), ("private", Sharing::Private), ("locked", Sharing::Locked)];

/// Reads a mount before anything is expanded. `written` is where the value stands.
pub(super) fn parse(
    value: &Spanned<String>,
    written: Fragment<'_>,
    escape: char,
) -> Result<Mount, Diagnostic> {
    let text = written.as_str();
    let base = text.len() - text.split_once('=').map_or(text, |(_, value)| value).len();
    let locate = |field: &str| match text[base..].find(field) {
        Some(at) if !field.is_empty() => written.slice(base + at, base + at + field.len()).span(),
        _ => value.span,
    };
    let mut early = |value: &str| {
        if value.contains('$') {
            return Ok(None);
        }
        expand(value, escape, &|_| None, Mode::Word).map(|expansion| Some(expansion.text))
    };
    let text = Word { raw: value.value.clone(), span: value.span };
    Reader { mount: empty(text), locate: &locate, resolve: &mut early, keep_words: true }.read()
}

impl Mount {
    /// Returns the mount with every value expanded by `expand`: its words are plain text then.
    ///
    /// # Errors
    /// When a value cannot be expanded, or is none that its option takes.
    pub fn expanded(&self, expand: &mut Expander<'_>) -> Result<Self, Diagnostic> {
        let span = self.span;
        let mut resolve = |value: &str| expand(value).map(Some);
        Reader {
            mount: empty(self.text.clone()),
            locate: &|_| span,
            resolve: &mut resolve,
            keep_words: false,
        }
        .read()
    }
}

fn empty(text: Word) -> Mount {
    Mount {
        kind: MountKind::Bind,
        target: None,
        source: None,
        from: None,
        readonly: None,
        id: None,
        sharing: None,
        size: None,
        required: false,
        mode: None,
        uid: None,
        gid: None,
        env: None,
        span: text.span,
        late: false,
        text,
    }
}

/// Reads the options one after the other; some depend on the type written before them.
struct Reader<'a> {
    mount: Mount,
    locate: &'a dyn Fn(&str) -> Span,
    /// Expands a value; `None` if that is not possible yet.
    resolve: &'a mut dyn FnMut(&str) -> Result<Option<String>, ExpandError>,
    /// Whether text options stay as written.
    keep_words: bool,
}

impl Reader<'_> {
    fn read(mut self) -> Result<Mount, Diagnostic> {
        let whole = self.mount.span;
        let wrong = |message| Diagnostic::error(whole, message).with_help(FORM);
        let fields = fields(&self.mount.text.raw).map_err(|message| wrong(message.to_owned()))?;
        let mut kind_known = true;
        for field in &fields {
            self.option(field, &mut kind_known).map_err(|mut error| {
                error.span = (self.locate)(field);
                error
            })?;
        }
        if kind_known {
            self.check_whole().map_err(wrong)?;
        }
        Ok(self.mount)
    }

    fn option(&mut self, field: &str, kind_known: &mut bool) -> Result<(), Diagnostic> {
        let (written, value) = match field.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (field, None),
        };
        let name = written.to_ascii_lowercase();
        let Some(value) = value else { return self.bare(&name, field, *kind_known) };
        if name == "from" {
            if value.find('$').is_some_and(|at| at + 1 != value.len()) {
                return Err(error("`from` of a mount takes no variables")
                    .with_help("define a stage `FROM ${…} AS name` and use its name"));
            }
            self.mount.from =
                (!value.is_empty()).then(|| Spanned::new(value.to_owned(), (self.locate)(field)));
            return Ok(());
        }
        let resolved = (self.resolve)(value)
            .map_err(|cause| error(format!("cannot expand `{value}`: {cause}")).with_help(cause.help()))?;
        let raw = if self.keep_words { value } else { resolved.as_deref().unwrap_or(value) };
        // An empty environment name means the default one; any other empty text is as good as none.
        let word = (name == "env" || !raw.is_empty())
            .then(|| Word { raw: raw.to_owned(), span: (self.locate)(field) });
        if let Some(slot) = self.word_slot(&name) {
            *slot = word;
            return Ok(());
        }
        if !OPTIONS.contains(&name.as_str()) {
            let unknown = error(format!("unknown option `{written}` of a mount"));
            return Err(match nearest(&name, OPTIONS.iter().copied()) {
                Some(near) => unknown.with_help(format!("did you mean `{near}`?")),
                None => unknown.with_help(format!("known here: {}", OPTIONS.join(", "))),
            });
        }
        let Some(text) = resolved else {
            self.mount.late = true;
            *kind_known &= name != "type";
            return Ok(());
        };
        self.typed(&name, &text, *kind_known)
    }

    /// Handles an option without `=value`.
    fn bare(&mut self, name: &str, field: &str, kind_known: bool) -> Result<(), Diagnostic> {
        match name {
            "readonly" | "ro" => self.mount.readonly = Some(true),
            "readwrite" | "rw" => self.mount.readonly = Some(false),
            "required" => {
                self.only_for(name, &[MountKind::Secret, MountKind::Ssh], kind_known)?;
                self.mount.required = true;
            }
            _ => {
                return Err(error(format!("`{field}` is no `name=value` option of a mount"))
                    .with_help("write options as `name=value`, separated by commas"));
            }
        }
        Ok(())
    }

    fn word_slot(&mut self, name: &str) -> Option<&mut Option<Word>> {
        match name {
            "target" | "dst" | "destination" => Some(&mut self.mount.target),
            "source" | "src" => Some(&mut self.mount.source),
            "id" => Some(&mut self.mount.id),
            "env" => Some(&mut self.mount.env),
            _ => None,
        }
    }

    fn typed(&mut self, name: &str, text: &str, kind_known: bool) -> Result<(), Diagnostic> {
        let invalid =
            || error(format!("invalid value `{text}` of mount option `{name}`")).with_help(form(name));
        match name {
            "type" => {
                self.mount.kind =
                    choice(text, KINDS).ok_or_else(|| unknown_choice("mount type", text, KINDS))?
            }
            "sharing" => {
                let sharing =
                    choice(text, SHARING).ok_or_else(|| unknown_choice("sharing mode", text, SHARING))?;
                self.mount.sharing = Some(sharing);
            }
            "readonly" | "ro" => self.mount.readonly = Some(boolean(text).ok_or_else(invalid)?),
            "readwrite" | "rw" => self.mount.readonly = Some(!boolean(text).ok_or_else(invalid)?),
            "required" => {
                self.only_for(name, &[MountKind::Secret, MountKind::Ssh], kind_known)?;
                self.mount.required = boolean(text).ok_or_else(invalid)?;
            }
            "size" => {
                self.only_for(name, &[MountKind::Tmpfs], kind_known)?;
                self.mount.size = Some(parse_size(text).ok_or_else(invalid)?);
            }
            "mode" => self.mount.mode = Some(number(text, 8).ok_or_else(invalid)?),
            "uid" => self.mount.uid = Some(number(text, 10).ok_or_else(invalid)?),
            "gid" => self.mount.gid = Some(number(text, 10).ok_or_else(invalid)?),
            _ => return Err(invalid()),
        }
        Ok(())
    }

    fn only_for(&self, name: &str, kinds: &[MountKind], kind_known: bool) -> Result<(), Diagnostic> {
        if !kind_known || kinds.contains(&self.mount.kind) {
            return Ok(());
        }
        Err(error(format!("option `{name}` is not allowed for mounts of type {}", name_of(self.mount.kind)))
            .with_help("`type=` must stand before the options that depend on it"))
    }

    /// Checks what only the whole list of options can tell.
    fn check_whole(&self) -> Result<(), String> {
        let mount = &self.mount;
        let kind = name_of(mount.kind);
        if matches!(mount.kind, MountKind::Bind | MountKind::Tmpfs) {
            for (name, given) in [("mode", mount.mode), ("uid", mount.uid), ("gid", mount.gid)] {
                if given.is_some() {
                    return Err(format!("option `{name}` is not allowed for mounts of type {kind}"));
                }
            }
        }
        if mount.kind == MountKind::Secret {
            if mount.from.is_some() {
                return Err("a secret mount takes no `from`".to_owned());
            }
            if mount.source.is_none() && mount.target.is_none() && mount.id.is_none() {
                return Err("a secret mount needs an `id`, a `source` or a `target`".to_owned());
            }
            if mount.source.is_some() && mount.id.is_some() {
                return Err("a secret mount takes either `source` or `id`, not both".to_owned());
            }
        }
        if mount.sharing.is_some() && mount.kind != MountKind::Cache {
            return Err(format!("option `sharing` is not allowed for mounts of type {kind}"));
        }
        Ok(())
    }
}

/// What is advised where the options as a whole are wrong.
const FORM: &str = "write `--mount=type=TYPE,target=PATH`, then what this type takes, separated by commas";

/// Returns how the value of an option is written.
fn form(option: &str) -> &'static str {
    match option {
        "size" => "write a size such as 64m or 1g",
        "mode" => "write an octal number such as 0755",
        "uid" | "gid" => "write a number",
        _ => "write true or false",
    }
}

/// Makes an error whose place is filled in where the option's place is known.
fn error(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Span::default(), message)
}

fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Option<T> {
    choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, choice)| *choice)
}

fn unknown_choice<T>(what: &str, text: &str, choices: &[(&'static str, T)]) -> Diagnostic {
    let names = || choices.iter().map(|(name, _)| *name);
    error(format!("unknown {what} `{text}`")).with_help(match nearest(text, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("use one of: {}", names().collect::<Vec<_>>().join(", ")),
    })
}

fn name_of(kind: MountKind) -> &'static str {
    KINDS.iter().find(|(_, listed)| *listed == kind).map_or("bind", |(name, _)| name)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn number(text: &str, radix: u32) -> Option<u32> {
    // The standard parser takes a sign; the language does not.
    text.starts_with(|first: char| first.is_ascii_digit())
        .then(|| u32::from_str_radix(text, radix).ok())
        .flatten()
}

/// Reads a size such as `64m`, `1.5 GiB` or `512`; units are powers of 1024.
pub fn parse_size(text: &str) -> Option<u64> {
    let split = text.rfind(|char: char| char.is_ascii_digit() || matches!(char, '.' | ' '))? + 1;
    let (number, unit) = text.split_at(split);
    let number: f64 = number.strip_suffix(' ').unwrap_or(number).parse().ok()?;
    if !number.is_finite() || number < 0.0 {
        return None;
    }
    let unit = unit.to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit != "ib" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some((number * 1024_f64.powi(power)) as u64)
}

/// Splits at commas outside of double quotes.
fn fields(text: &str) -> Result<Vec<String>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_field(quoted)?
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return Err("a quote inside an unquoted option of a mount");
            }
            (rest[..end].to_owned(), &rest[end..])
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(fields),
        }
    }
}

/// Reads a field up to its closing quote; two quotes are one.
fn quoted_field(text: &str) -> Result<(String, &str), &'static str> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let (piece, after) = rest.split_once('"').ok_or("a quoted option of a mount has no closing quote")?;
        field += piece;
        if let Some(more) = after.strip_prefix('"') {
            field.push('"');
            rest = more;
        } else if after.is_empty() || after.starts_with(',') {
            return Ok((field, after));
        } else {
            return Err("text after the closing quote of a mount's option");
        }
    }
}

#[cfg(test)]
mod tests;
