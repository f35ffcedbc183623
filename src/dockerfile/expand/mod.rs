//! Word expansion: quotes, escapes and `$variables` of a word become plain text.
//!
//! In: a [`Word`](super::instruction::Word)'s text, the escape character of the file, and a lookup.
//! Out: the [`Expansion`]: the text, the same text split into words, and which names were asked for.
//!
//! The language is a small part of the shell's: `$v`, `${v}`, `${v-w}`, `${v:-w}`, `${v+w}`, `${v:+w}`,
//! `${v?m}`, `${v:?m}`, `${v#p}`, `${v##p}`, `${v%p}`, `${v%%p}`, `${v/p/r}` and `${v//p/r}`, where patterns
//! know `*` and `?` only. An unset variable is the empty string; it is reported in [`Expansion::unset`].
//!
//! It knows no instruction: which words are expanded, and against which environment, is the caller's choice.

mod glob;
mod scan;

use scan::{Rules, Scan};

/// What kind of text is expanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// An argument of an instruction: quotes group and vanish, escapes vanish.
    Word,
    /// A command as the user is shown it: quotes stay, and variables without a value stay as written.
    Shown,
    /// The body of a here-document: quotes are ordinary characters, escapes vanish.
    Heredoc,
}

/// What a word expands to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expansion {
    /// The whole text as one word.
    pub text: String,
    /// The text split at the blanks that were not quoted, after the variables were replaced.
    pub words: Vec<String>,
    /// The names that had a value, sorted.
    pub used: Vec<String>,
    /// The names that had none, sorted; a default in the word does not take a name off this list.
    pub unset: Vec<String>,
}

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpandError {
    /// A quote is opened and never closed.
    #[error("unexpected end of text while looking for the matching {}", if *.quote == '"' { "double quote" } else { "single quote" })]
    UnterminatedQuote {
        /// The quote.
        quote: char,
    },
    /// A `${` without its `}`.
    #[error("missing `}}` after `${{`")]
    MissingBrace,
    /// A `${v/p` without the second slash.
    #[error("missing `/` in `${{…}}`")]
    MissingSlash,
    /// Nothing that could be a name after `${`.
    #[error("bad substitution")]
    BadSubstitution,
    /// `${…}` inside of `${…}`, too many times.
    #[error("substitutions are nested too deeply")]
    TooDeep,
    /// Something else than the known operators follows the name.
    #[error("unsupported modifier ({modifier}) in substitution")]
    UnsupportedModifier {
        /// The operator as written.
        modifier: String,
    },
    /// `${name?message}` or `${name:?message}` of a name without a value.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// What the word says about it, or a default text.
        message: String,
    },
    /// A backslash in a pattern before a character that needs none.
    #[error("invalid pattern ({pattern}) in substitution: invalid escape")]
    BadPattern {
        /// The pattern after expansion.
        pattern: String,
    },
}

impl ExpandError {
    /// Returns one thing to try.
    pub fn help(&self) -> String {
        match self {
            Self::UnterminatedQuote { quote } => {
                format!("close the quote, or write `\\{quote}` for the character")
            }
            Self::MissingBrace => "close it with `}`, or write `\\$` for a dollar sign".to_owned(),
            Self::MissingSlash => "write `${NAME/PATTERN/REPLACEMENT}`".to_owned(),
            Self::BadSubstitution => "write `${NAME}`, or `\\$` for a dollar sign".to_owned(),
            Self::TooDeep => "use an ARG or ENV for a part of it".to_owned(),
            Self::UnsupportedModifier { .. } => {
                "known are `-`, `+`, `?`, each also with `:`, and `#`, `##`, `%`, `%%`, `/`, `//`".to_owned()
            }
            Self::Required { name, .. } => {
                format!("set it with `--build-arg {name}=…` or declare it with ARG or ENV before")
            }
            Self::BadPattern { .. } => "escape only `*`, `?` and the backslash itself".to_owned(),
        }
    }
}

/// Expands `word` against the variables that `lookup` knows.
///
/// # Errors
/// When quotes or braces do not match, an operator is unknown, a pattern is malformed, or the word itself
/// demands a variable (`${v:?}`) that is not there.
pub fn expand(
    word: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
    mode: Mode,
) -> Result<Expansion, ExpandError> {
    let shown = mode == Mode::Shown;
    let rules = Rules {
        quotes: mode != Mode::Heredoc,
        keep_quotes: shown,
        keep_unset: shown,
        ..Rules::plain(escape)
    };
    Scan::new(word, rules, lookup).run()
}

/// Splits shell text into words without expanding anything: variables stay as written.
///
/// With `raw`, quotes and escapes stay too. A here-document's redirection is one word, blanks after `<<`
/// included. Used to find the redirections of a line.
pub(super) fn shell_words(
    text: &str,
    raw_quotes: bool,
    raw_escapes: bool,
) -> Result<Vec<String>, ExpandError> {
    let rules =
        Rules { keep_quotes: raw_quotes, keep_escapes: raw_escapes, keep_unset: true, ..Rules::plain('\\') };
    Scan::new(text, rules, &|_| None).run().map(|expansion| expansion.words)
}

#[cfg(test)]
mod tests;
