//! Expansion of one word, with the finding that its failure is.

use std::borrow::Cow;

use crate::diagnostic::{Diagnostic, Span};
use crate::dockerfile::expand::{ExpandError, Expansion, Mode, expand};

use super::variables::Variables;

/// Expands `text` against `variables`; a failure is a finding at `span`.
pub(super) fn expand_at(
    text: &str,
    span: Span,
    escape: char,
    variables: &Variables,
) -> Result<Expansion, Diagnostic> {
    let lookup = |name: &str| variables.get(name).map(str::to_owned);
    expand(text, escape, &lookup, Mode::Word).map_err(|error| failure(&error, span))
}

/// The body of a here-document: backslash is its escape whatever the file's is (statement 52).
pub(super) fn expand_body(text: &str, span: Span, variables: &Variables) -> Result<Expansion, Diagnostic> {
    let lookup = |name: &str| variables.get(name).map(str::to_owned);
    expand(text, '\\', &lookup, Mode::Heredoc).map_err(|error| failure(&error, span))
}

/// Tells whether `text` expands to itself whatever the variables are.
pub(super) fn is_plain(text: &str, escape: char) -> bool {
    !text.contains(['$', '\'', '"', escape])
}

/// Expands what a user is shown; where that fails, the text as written is good enough.
pub(super) fn expand_for_show<'a>(text: &'a str, escape: char, variables: &Variables) -> Cow<'a, str> {
    if is_plain(text, escape) {
        return Cow::Borrowed(text);
    }
    let lookup = |name: &str| variables.get(name).map(str::to_owned);
    expand(text, escape, &lookup, Mode::Word)
        .map_or(Cow::Borrowed(text), |expansion| Cow::Owned(expansion.text))
}

fn failure(error: &ExpandError, span: Span) -> Diagnostic {
    Diagnostic::error(span, format!("cannot expand this: {error}")).with_help(error.help())
}

/// A command as the user is shown it: variables that have a value are replaced, all else stays.
pub(super) fn expand_command_for_show(text: &str, escape: char, variables: &Variables) -> String {
    let lookup = |name: &str| variables.get(name).map(str::to_owned);
    expand(text, escape, &lookup, Mode::Shown).map_or_else(|_| text.to_owned(), |expansion| expansion.text)
}
