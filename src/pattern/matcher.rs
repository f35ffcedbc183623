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
    if let (Some(token @ (Token::Any | Token::Class(_))), Some(byte)) = (tokens.last(), path.last())
        && byte.is_ascii()
        && !token.takes(char::from(*byte))
    {
        return false;
    }
    let mut live = vec![false; path.len() + 1];
    let mut next = live.clone();
    live[0] = true;
    for token in tokens {
        next.fill(false);
        advance(token, path, &live, &mut next);
        std::mem::swap(&mut live, &mut next);
    }
    live[path.len()]
}

/// Marks in `next` where a match may stand behind `token`, given in `live` where it may stand before it.
///
/// All places are followed at once: no pattern is slow by backtracking, or deep by recursion.
fn advance(token: &Token, path: &[u8], live: &[bool], next: &mut [bool]) {
    let places = || live.iter().enumerate().filter(|(_, live)| **live).map(|(at, _)| at);
    match token {
        Token::Literal(bytes) => {
            places().filter(|at| path[*at..].starts_with(bytes)).for_each(|at| next[at + bytes.len()] = true);
        }
        Token::Any | Token::Class(_) => {
            for at in places() {
                if let Some((char, rest)) = first(&path[at..])
                    && token.takes(char)
                {
                    next[path.len() - rest.len()] = true;
                }
            }
        }
        Token::Star => {
            for at in 0..live.len() {
                next[at] = live[at] || at > 0 && next[at - 1] && path[at - 1] != b'/';
            }
        }
        Token::Components => {
            let begin = places().next().unwrap_or(live.len());
            for at in begin..live.len() {
                next[at] = live[at] || at > begin && path[at - 1] == b'/';
            }
        }
        Token::Tail => {
            let begin = places().next().unwrap_or(live.len());
            next[begin..].fill(true);
        }
    }
}

impl Token {
    /// Tells whether this token, which stands for one character, may stand for `char`.
    fn takes(&self, char: char) -> bool {
        match self {
            Self::Class(class) => class.holds(char),
            _ => char != '/',
        }
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
    pub(super) fn parse(pattern: &[u8]) -> Option<Self> {
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

    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(prefix) => path.starts_with(prefix),
            Self::Suffix(suffix) => path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path),
            Self::Tokens(tokens) => matches(tokens, path),
        }
    }

    /// Tells whether a path below `directory` might match; it may say yes too often.
    pub(super) fn reaches_below(&self, directory: &[u8]) -> bool {
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
