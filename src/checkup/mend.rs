//! Rewriting what is certain: the file says the same afterwards, and the check is content.
//!
//! | check | becomes |
//! |---|---|
//! | ConsistentInstructionCasing, FromAsCasing, StageNameCasing, ExposeProtoCasing | the other case |
//! | LegacyKeyValueFormat | `KEY=VALUE`, quoted where a blank asks for it |
//! | MaintainerDeprecated | `LABEL org.opencontainers.image.authors="…"` |
//!
//! CMD and ENTRYPOINT are never made arrays (JSONArgsRecommended). That is what the check wants, but it is another
//! image: an entrypoint of the base gets other arguments, `docker run` can append some, a script without `#!` runs
//! only in a shell, and another process gets the signals. The author has to choose that.
//!
//! Only what is reported is touched, so a check that the file skips changes nothing. One mend can show another
//! (`from x AS b` in upper case is content with its AS), so it goes on until nothing is left to do.

use std::ops::Range;

use crate::diagnostic::{Diagnostic, Source, Span};
use crate::dockerfile::instruction::{Dockerfile, Instruction, KeyValue, Kind};
use crate::dockerfile::{self};

/// More rounds than any chain of mends that depend on each other.
const ROUNDS: usize = 4;

/// A file after mending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// The new text.
    pub source: Source,
    /// What was done, in order.
    pub changes: Vec<Change>,
}

/// One rewritten place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The check that found it.
    pub rule: &'static str,
    /// The 1-based line.
    pub line: usize,
    /// What stood there.
    pub before: String,
    /// What stands there now.
    pub after: String,
}

struct Edit {
    rule: &'static str,
    range: Range<usize>,
    text: String,
}

/// Mends `source` as far as that is certain; `find` is asked for the findings of each version.
pub fn mend(source: &Source, mut find: impl FnMut(&Source) -> Vec<Diagnostic>) -> Mended {
    let mut mended = Mended { source: source.clone(), changes: Vec::new() };
    for _ in 0..ROUNDS {
        let Some(file) = dockerfile::parse(mended.source.clone()).dockerfile else { break };
        let mut edits: Vec<Edit> =
            find(&mended.source).iter().filter_map(|finding| edit(&file, finding)).collect();
        edits.sort_by_key(|edit| edit.range.start);
        // A second finding about the same words waits for the next round.
        let mut free = 0;
        edits.retain(|edit| {
            let apart = edit.range.start >= free;
            free = free.max(edit.range.end);
            apart
        });
        if edits.is_empty() {
            break;
        }
        mended.apply(&edits);
    }
    mended
}

impl Mended {
    fn apply(&mut self, edits: &[Edit]) {
        let text = self.source.text.to_string();
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for Edit { rule, range, text: after } in edits {
            out += &text[at..range.start];
            out += after;
            at = range.end;
            self.changes.push(Change {
                rule,
                line: self.source.line(range.start),
                before: text[range.clone()].to_owned(),
                after: after.clone(),
            });
        }
        out += &text[at..];
        self.source = Source::new(std::mem::take(&mut self.source.name), out);
    }
}

/// Says how a finding is mended, if that is certain.
fn edit(file: &Dockerfile, finding: &Diagnostic) -> Option<Edit> {
    let rule = finding.rule?;
    let written = &file.source.text[finding.span.range()];
    let replace = |span: Span, text: String| Some(Edit { rule, range: span.range(), text });
    match rule {
        "ConsistentInstructionCasing" => {
            let text = if mostly_lower(file) { written.to_lowercase() } else { written.to_uppercase() };
            replace(finding.span, text)
        }
        "FromAsCasing" => {
            let from = file.stages.iter().find(|stage| holds(stage.span, finding.span))?;
            let lower = file.source.text[from.span.range()].starts_with(char::is_lowercase);
            replace(finding.span, if lower { written.to_lowercase() } else { written.to_uppercase() })
        }
        // Stages are looked up in lower case anyway.
        "StageNameCasing" => replace(finding.span, written.to_lowercase()),
        "ExposeProtoCasing" => {
            let (port, protocol) = written.split_once('/')?;
            let plain =
                port.chars().chain(protocol.chars()).all(|char| char.is_ascii_alphanumeric() || char == '-');
            plain.then(|| replace(finding.span, format!("{port}/{}", protocol.to_lowercase())))?
        }
        "LegacyKeyValueFormat" => {
            let instruction = instruction_at(file, finding.span)?;
            let (Kind::Env(pairs) | Kind::Label(pairs)) = &instruction.kind else { return None };
            let [pair] = pairs.as_slice() else { return None };
            let text = with_equals_sign(file, pair)?;
            replace(pair.key.span.to(pair.value.span), text)
        }
        "MaintainerDeprecated" => {
            let instruction = instruction_at(file, finding.span)?;
            let Kind::Maintainer(author) = &instruction.kind else { return None };
            let name = &file.source.text[instruction.span.range()];
            let label = if name.starts_with(char::is_lowercase) { "label" } else { "LABEL" };
            let one_line = !name.trim_end().contains('\n');
            let text = format!("{label} org.opencontainers.image.authors=\"{}\"", author.raw);
            let means_itself = one_line && !author.raw.contains(['"', '\'', '$', '\\', '`']);
            means_itself.then(|| replace(trimmed(file, instruction.span), text))?
        }
        _ => None,
    }
}

fn holds(outer: Span, inner: Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Returns `span` without the line feed at its end.
fn trimmed(file: &Dockerfile, span: Span) -> Span {
    let text = &file.source.text[span.range()];
    Span::new(span.start, span.start + text.trim_end().len())
}

fn instruction_at(file: &Dockerfile, span: Span) -> Option<&Instruction> {
    let mut instructions = file.stages.iter().flat_map(|stage| &stage.instructions);
    instructions.find(|own| holds(own.span, span))
}

/// Tells which case most instructions have; upper case wins a tie.
fn mostly_lower(file: &Dockerfile) -> bool {
    let spans = file.stages.iter().flat_map(|stage| {
        std::iter::once(stage.span).chain(stage.instructions.iter().map(|instruction| instruction.span))
    });
    let (mut lower, mut upper) = (0, 0);
    for span in spans {
        let name = file.source.text[span.range()].split(char::is_whitespace).next().unwrap_or_default();
        lower += usize::from(name == name.to_lowercase());
        upper += usize::from(name == name.to_uppercase());
    }
    lower > upper
}

/// Writes a pair of the old form with `=`. Quotes and escapes inside mean something else once there is a
/// quote around them, so such values are left alone, but for one pair of quotes around all.
fn with_equals_sign(file: &Dockerfile, pair: &KeyValue) -> Option<String> {
    let (key, value) = (pair.key.raw.as_str(), pair.value.raw.as_str());
    let as_written = file.source.text[pair.value.span.range()] == *value;
    let special = |text: &str| text.contains(['"', '\'', '\\', '`', '\n', '\r']);
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    if !as_written || special(key) || key.contains(['$', '=']) {
        None
    } else if inner.is_some_and(|inner| !special(inner)) {
        Some(format!("{key}={value}"))
    } else if special(value) || value.is_empty() {
        None
    } else if value.contains(char::is_whitespace) {
        Some(format!("{key}=\"{value}\""))
    } else {
        Some(format!("{key}={value}"))
    }
}
