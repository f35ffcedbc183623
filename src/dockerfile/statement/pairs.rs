//! ENV, LABEL and ARG: names and values.

use crate::diagnostic::Diagnostic;

use super::super::command::{Cooked, quoted_words};
use super::super::instruction::{ArgDeclaration, KeyValue, Spanned, Word};
use super::Line;

/// ENV and LABEL: `KEY=VALUE…`, or the old `KEY VALUE` with all the rest as one value.
pub(super) fn key_values(line: &Line<'_>) -> Result<Vec<KeyValue>, Diagnostic> {
    let words = quoted_words(line.command.args, line.escape);
    let Some(first) = words.first() else {
        line.flags(&[])?;
        return Err(line.needs_an_argument());
    };
    let pairs = if first.text.contains('=') {
        words.iter().map(|word| pair(line, word)).collect::<Result<_, _>>()?
    } else {
        let (key, Some(value)) = line.command.args.split_once_blank() else {
            return Err(line
                .error(format!("{} needs a name and a value", line.name))
                .with_help(format!("write `{} {}=VALUE`", line.name, first.text)));
        };
        vec![KeyValue { key: key.word(), value: value.word(), legacy: true }]
    };
    line.flags(&[])?;
    Ok(pairs)
}

/// Tells whether every word of `KEY=VALUE…` has its `=`, or the old form its value.
pub(super) fn can_split(line: &Line<'_>) -> bool {
    let words = quoted_words(line.command.args, line.escape);
    match words.first() {
        Some(first) if first.text.contains('=') => words.iter().all(|word| word.text.contains('=')),
        Some(_) => line.command.args.split_once_blank().1.is_some(),
        None => true,
    }
}

fn pair(line: &Line<'_>, word: &Cooked<'_>) -> Result<KeyValue, Diagnostic> {
    let Some((key, value)) = split(word) else {
        return Err(Diagnostic::error(word.written.span(), format!("no `=` in `{}`", word.text))
            .with_help("write NAME=VALUE; a value with blanks needs quotes"));
    };
    if key.raw.is_empty() {
        return Err(Diagnostic::error(
            word.written.span(),
            format!("a name of {} cannot be empty", line.name),
        ));
    }
    Ok(KeyValue { key, value, legacy: false })
}

/// ARG: `NAME` or `NAME=DEFAULT`, one or several.
pub(super) fn arg(line: &Line<'_>) -> Result<Vec<ArgDeclaration>, Diagnostic> {
    let words = quoted_words(line.command.args, line.escape);
    if words.is_empty() {
        return Err(line.needs_an_argument());
    }
    let declaration = |word: &Cooked<'_>| match split(word) {
        Some((name, _)) if name.raw.is_empty() => {
            Err(Diagnostic::error(word.written.span(), "a name of ARG cannot be empty"))
        }
        Some((name, default)) => {
            Ok(ArgDeclaration { name: Spanned::new(name.raw, name.span), default: Some(default) })
        }
        None => {
            Ok(ArgDeclaration { name: Spanned::new(word.text.clone(), word.written.span()), default: None })
        }
    };
    words.iter().map(declaration).collect()
}

/// Splits at the first `=`, which stands at the same place in the text as written unless an escape vanished
/// at the end.
fn split(word: &Cooked<'_>) -> Option<(Word, Word)> {
    let at = word.text.find('=')?;
    Some((
        Word { raw: word.text[..at].to_owned(), span: word.written.slice(0, at).span() },
        Word { raw: word.text[at + 1..].to_owned(), span: word.written.from(at + 1).span() },
    ))
}
