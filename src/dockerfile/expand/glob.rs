//! The patterns of `${v#p}` and its kin: `*` and `?`, neither of which crosses a line end; `*` does cross `/`.

use super::ExpandError;

/// Which of several matches is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Shortest,
    Longest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Star,
    Any,
    Char(char),
}

/// A parsed pattern.
#[derive(Debug, Clone)]
pub(super) struct Glob(Vec<Token>);

impl Glob {
    pub(super) fn parse(pattern: &str) -> Result<Self, ExpandError> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(char) = chars.next() {
            tokens.push(match char {
                '*' => Token::Star,
                '?' => Token::Any,
                // The braces' own characters need a backslash in `${…}`; it is not part of the pattern.
                '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\')) => Token::Char(escaped),
                    _ => return Err(ExpandError::BadPattern { pattern: pattern.to_owned() }),
                },
                other => Token::Char(other),
            });
        }
        Ok(Self(tokens))
    }

    /// Returns `value` without the prefix that matches.
    pub(super) fn trim_prefix(&self, value: &str, reach: Reach) -> String {
        let chars: Vec<char> = value.chars().collect();
        let end = ends(&self.0, &chars, reach).unwrap_or(0);
        chars[end..].iter().collect()
    }

    /// Returns `value` without the suffix that matches: the prefix of everything reversed.
    pub(super) fn trim_suffix(&self, value: &str, reach: Reach) -> String {
        let tokens: Vec<Token> = self.0.iter().rev().copied().collect();
        let chars: Vec<char> = value.chars().rev().collect();
        let end = ends(&tokens, &chars, reach).unwrap_or(0);
        chars[end..].iter().rev().collect()
    }

    /// Returns `value` with the first match, or every one, replaced; matches are the longest.
    pub(super) fn replace(&self, value: &str, replacement: &str, all: bool) -> String {
        let chars: Vec<char> = value.chars().collect();
        let mut out = String::new();
        let mut copied = 0;
        let mut at = 0;
        while at <= chars.len() {
            let Some(length) = ends(&self.0, &chars[at..], Reach::Longest) else {
                at += 1;
                continue;
            };
            // An empty match right behind another match is not one.
            if length > 0 || at == 0 || at > copied {
                out.extend(&chars[copied..at]);
                out += replacement;
                copied = at + length;
            }
            at += length.max(1);
            if !all {
                break;
            }
        }
        out.extend(&chars[copied..]);
        out
    }
}

/// Returns where a match that begins at the start of `chars` ends.
///
/// All lengths that match are computed at once, token by token, so no pattern is slow by backtracking.
fn ends(tokens: &[Token], chars: &[char], reach: Reach) -> Option<usize> {
    let mut live = vec![false; chars.len() + 1];
    live[0] = true;
    for token in tokens {
        let mut next = vec![false; chars.len() + 1];
        for at in 0..=chars.len() {
            match token {
                Token::Star => next[at] |= live[at] || at > 0 && next[at - 1] && chars[at - 1] != '\n',
                Token::Any => next[at] = at > 0 && live[at - 1] && chars[at - 1] != '\n',
                Token::Char(char) => next[at] = at > 0 && live[at - 1] && chars[at - 1] == *char,
            }
        }
        live = next;
    }
    match reach {
        Reach::Shortest => live.iter().position(|live| *live),
        Reach::Longest => live.iter().rposition(|live| *live),
    }
}
