//! Matching a path against a sequence of tokens, and the short cuts that make it rarely necessary.

use super::class::{Class, first};

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// These bytes.
    Literal(Vec<u8>),
    /// `?`: one character that is no slash.
    Any,
    /// `[…]`: one character of a class, even a slash.
    Class(Class),
    /// `*`: characters that are no slash.
    Star,
    /// `**` or `**/` with something behind it: nothing, or anything that ends in a slash.
    Components,
    /// `**` at the end: anything.
    Tail,
}

/// Splits a pattern into tokens; `None` if it is malformed. `**` is special only with `double_star`.
pub(super) fn tokens(pattern: &[u8], double_star: bool) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = pattern;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'*', [b'*', after @ ..]) if double_star => {
                rest = after.strip_prefix(b"/").unwrap_or(after);
                tokens.push(if rest.is_empty() { Token::Tail } else { Token::Components });
            }
            (b'*', _) => {
                if tokens.last() != Some(&Token::Star) {
                    tokens.push(Token::Star);
                }
            }
            (b'?', _) => tokens.push(Token::Any),
            (b'[', _) => {
                let (class, after) = Class::parse(after)?;
                tokens.push(Token::Class(class));
                rest = after;
            }
            (b'\\', _) => {
                let (escaped, after) = after.split_first()?;
                literal(&mut tokens, *escaped);
                rest = after;
            }
            (other, _) => literal(&mut tokens, *other),
        }
    }
    Some(tokens)
}

fn literal(tokens: &mut Vec<Token>, byte: u8) {
    match tokens.last_mut() {
        Some(Token::Literal(bytes)) => bytes.push(byte),
        _ => tokens.push(Token::Literal(vec![byte])),
    }
}

/// Tells whether the whole of `path` matches.
pub(super) fn matches(tokens: &[Token], path: &[u8]) -> bool {
    // Most paths of a walk differ from most patterns in their first or last bytes.
    if let Some(Token::Literal(bytes)) = tokens.first()
        && !path.starts_with(bytes)
    {
        return false;
    }
    if let Some(Token::Literal(bytes)) = tokens.last()
        && !path.ends_with(bytes)
    {
        return false;
    }
    Search { path, tokens, failed: vec![false; tokens.len() * (path.len() + 1)] }.matches(0, 0)
}

/// A search that tries no combination of token and place twice.
struct Search<'a> {
    path: &'a [u8],
    tokens: &'a [Token],
    failed: Vec<bool>,
}

impl Search<'_> {
    fn matches(&mut self, token: usize, at: usize) -> bool {
        let Some(current) = self.tokens.get(token) else { return at == self.path.len() };
        let seen = token * (self.path.len() + 1) + at;
        if self.failed[seen] {
            return false;
        }
        let rest = &self.path[at..];
        let matched = match current {
            Token::Literal(bytes) => rest.starts_with(bytes) && self.matches(token + 1, at + bytes.len()),
            Token::Any => match first(rest) {
                Some((char, after)) if char != '/' => self.matches(token + 1, self.path.len() - after.len()),
                _ => false,
            },
            Token::Class(class) => match first(rest) {
                Some((char, after)) if class.holds(char) => {
                    self.matches(token + 1, self.path.len() - after.len())
                }
                _ => false,
            },
            Token::Star => {
                let reach = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
                (0..=reach).any(|length| self.matches(token + 1, at + length))
            }
            Token::Components => {
                self.matches(token + 1, at)
                    || (at..self.path.len())
                        .any(|end| self.path[end] == b'/' && self.matches(token + 1, end + 1))
            }
            Token::Tail => true,
        };
        self.failed[seen] = !matched;
        matched
    }
}

/// A pattern of an ignore file with its short cut.
#[derive(Debug, Clone)]
pub(super) enum Pattern {
    /// No wildcard at all.
    Exact(Vec<u8>),
    /// A literal and a final `**`: everything that begins so.
    Prefix(Vec<u8>),
    /// A leading `**` and a literal: everything that ends so; with a slash first, also the literal alone.
    Suffix(Vec<u8>),
    /// The rest.
    Tokens(Vec<Token>),
}

impl Pattern {
    /// Parses a clean pattern; `None` if it is malformed.
    pub fn parse(pattern: &[u8]) -> Option<Self> {
        let tokens = tokens(pattern, true)?;
        Some(match tokens.as_slice() {
            [] => Self::Exact(Vec::new()),
            [Token::Literal(bytes)] => Self::Exact(bytes.clone()),
            [Token::Literal(bytes), Token::Tail] => Self::Prefix(bytes.clone()),
            [Token::Tail] => Self::Prefix(Vec::new()),
            // `**x` is not `**/x`: the slash was taken for part of the `**`, so look at the text.
            [Token::Components, Token::Literal(bytes)] if pattern.starts_with(b"**/") => {
                Self::Suffix([b"/", bytes.as_slice()].concat())
            }
            [Token::Components, Token::Literal(bytes)] => Self::Suffix(bytes.clone()),
            _ => Self::Tokens(tokens),
        })
    }

    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(prefix) => path.starts_with(prefix),
            Self::Suffix(suffix) => path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path),
            Self::Tokens(tokens) => matches(tokens, path),
        }
    }

    /// Tells whether a path below `directory` might match; it may say yes too often.
    pub fn reaches_below(&self, directory: &[u8]) -> bool {
        let below = [directory, b"/"].concat();
        let agrees =
            |prefix: &[u8]| directory.is_empty() || prefix.starts_with(&below) || below.starts_with(prefix);
        match self {
            Self::Exact(text) => directory.is_empty() || text.starts_with(&below),
            Self::Prefix(prefix) => agrees(prefix),
            Self::Suffix(_) => true,
            Self::Tokens(tokens) => match tokens.first() {
                Some(Token::Literal(prefix)) => agrees(prefix),
                _ => true,
            },
        }
    }
}
