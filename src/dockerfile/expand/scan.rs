//! The scanner behind word expansion: one pass over the characters, recursing into `${…}`.

use std::collections::BTreeSet;

use super::glob::{Glob, Reach};
use super::{ExpandError, Expansion};

/// How deep `${…}` may be nested: far beyond any use, far below the end of a stack.
const DEEPEST: usize = 64;

/// How one text is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// Backslash or backtick.
    pub escape: char,
    /// Whether quotes are special at all.
    pub quotes: bool,
    /// Whether special quotes stay in the result.
    pub keep_quotes: bool,
    /// Whether escapes stay in the result.
    pub keep_escapes: bool,
    /// Whether a variable without a value stays as written.
    pub keep_unset: bool,
}

impl Rules {
    /// The rules of an ordinary argument.
    pub(super) const fn plain(escape: char) -> Self {
        Self { escape, quotes: true, keep_quotes: false, keep_escapes: false, keep_unset: false }
    }
}

/// One expansion under way.
pub(super) struct Scan<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    rules: Rules,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    used: BTreeSet<String>,
    unset: BTreeSet<String>,
    depth: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str, rules: Rules, lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            rest: text.chars().peekable(),
            rules,
            lookup,
            used: BTreeSet::new(),
            unset: BTreeSet::new(),
            depth: 0,
        }
    }

    pub(super) fn run(mut self) -> Result<Expansion, ExpandError> {
        let (text, words) = self.until(None, self.rules.keep_escapes)?;
        let list = |names: BTreeSet<String>| names.into_iter().collect();
        Ok(Expansion { text, words, used: list(self.used), unset: list(self.unset) })
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn next_is(&mut self, wanted: char) -> bool {
        self.rest.next_if_eq(&wanted).is_some()
    }

    /// Reads up to `stop`, which is consumed, or to the end; `keep_escapes` holds for this stretch only.
    fn until(
        &mut self,
        stop: Option<char>,
        keep_escapes: bool,
    ) -> Result<(String, Vec<String>), ExpandError> {
        let outer = std::mem::replace(&mut self.rules.keep_escapes, keep_escapes);
        let result = self.stretch(stop);
        self.rules.keep_escapes = outer;
        result
    }

    fn stretch(&mut self, stop: Option<char>) -> Result<(String, Vec<String>), ExpandError> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(next) = self.peek() {
            if Some(next) == stop {
                self.rest.next();
                return Ok((text, words.finish()));
            }
            match next {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|char| words.push(char));
                    text += &value;
                }
                '<' | '\'' | '"' if next == '<' || self.rules.quotes => {
                    let piece = match next {
                        '<' => self.redirection(),
                        '"' => self.double_quoted()?,
                        _ => self.single_quoted()?,
                    };
                    words.push_quoted(&piece);
                    text += &piece;
                }
                _ => {
                    self.rest.next();
                    if next != self.rules.escape {
                        words.push(next);
                        text.push(next);
                        continue;
                    }
                    if self.rules.keep_escapes {
                        words.push_quoted(next.encode_utf8(&mut [0; 4]));
                        text.push(next);
                    }
                    // An escape at the very end escapes nothing and vanishes.
                    let Some(escaped) = self.rest.next() else { break };
                    words.push_quoted(escaped.encode_utf8(&mut [0; 4]));
                    text.push(escaped);
                }
            }
        }
        match stop {
            None => Ok((text, words.finish())),
            Some('/') => Err(ExpandError::MissingSlash),
            Some(_) => Err(ExpandError::MissingBrace),
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        self.keep_quote(&mut text);
        loop {
            match self.peek() {
                None => return Err(ExpandError::UnterminatedQuote { quote: '\'' }),
                Some('\'') => {
                    self.keep_quote(&mut text);
                    return Ok(text);
                }
                Some(other) => {
                    self.rest.next();
                    text.push(other);
                }
            }
        }
    }

    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        let escape = self.rules.escape;
        let mut text = String::new();
        self.keep_quote(&mut text);
        loop {
            match self.peek() {
                None => return Err(ExpandError::UnterminatedQuote { quote: '"' }),
                Some('"') => {
                    self.keep_quote(&mut text);
                    return Ok(text);
                }
                Some('$') => text += &self.dollar()?,
                Some(char) => {
                    self.rest.next();
                    if char != escape {
                        text.push(char);
                        continue;
                    }
                    if self.rules.keep_escapes {
                        text.push(char);
                    }
                    // Inside double quotes the escape is special before these three only.
                    match self.rest.next_if(|next| matches!(next, '"' | '$') || *next == escape) {
                        Some(escaped) => text.push(escaped),
                        None if self.peek().is_some() => text.push(char),
                        None => {}
                    }
                }
            }
        }
    }

    /// Consumes a quote, which stays in `text` if the rules say so.
    fn keep_quote(&mut self, text: &mut String) {
        text.extend(self.rest.next().filter(|_| self.rules.keep_quotes));
    }

    /// Keeps `<<` and the blanks after it together, as they are one redirection.
    fn redirection(&mut self) -> String {
        self.rest.next();
        let mut text = String::from("<");
        if self.next_is('<') {
            text.push('<');
            while let Some(blank) = self.rest.next_if(|next| matches!(next, '\t' | '\r' | ' ')) {
                text.push(blank);
            }
        }
        text
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.rest.next();
        if !self.next_is('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.get(&name) {
                None if self.rules.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        match self.peek() {
            None => return Err(ExpandError::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        match self.rest.next() {
            None => Err(ExpandError::MissingBrace),
            Some('}') => Ok(match self.get(&name) {
                None if self.rules.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            Some('/') => self.replacement(&name),
            Some(':') => {
                let operator = self.rest.next().ok_or(ExpandError::MissingBrace)?;
                self.operation(&name, operator, true)
            }
            Some(operator) => self.operation(&name, operator, false),
        }
    }

    /// Applies `-`, `+`, `?`, `#` or `%`; `colon` makes the empty value count as unset.
    fn operation(&mut self, name: &str, operator: char, colon: bool) -> Result<String, ExpandError> {
        let modifier = if colon { format!(":{operator}") } else { operator.to_string() };
        let trims = matches!(operator, '#' | '%');
        let known = trims || matches!(operator, '-' | '+' | '?');
        if colon && trims || !colon && !known {
            return Err(ExpandError::UnsupportedModifier { modifier });
        }
        let word = self.operand('}', trims, ExpandError::MissingBrace)?;
        let value = self.get(name);
        if value.is_none() && self.rules.keep_unset {
            return Ok(format!("${{{name}{modifier}{word}}}"));
        }
        let usable = value.as_ref().filter(|value| !(colon && value.is_empty()));
        match operator {
            '-' => Ok(usable.cloned().unwrap_or(word)),
            '+' => Ok(usable.map(|_| word).unwrap_or_default()),
            '?' => match usable {
                Some(value) => Ok(value.clone()),
                None => {
                    let default = if value.is_none() {
                        "is not allowed to be unset"
                    } else {
                        "is not allowed to be empty"
                    };
                    let message = if word.is_empty() { default.to_owned() } else { word };
                    Err(ExpandError::Required { name: name.to_owned(), message })
                }
            },
            '#' | '%' => {
                let (pattern, reach) = match word.strip_prefix(operator) {
                    Some(pattern) => (pattern, Reach::Longest),
                    None => (word.as_str(), Reach::Shortest),
                };
                let glob = Glob::parse(pattern)?;
                let value = value.unwrap_or_default();
                Ok(if operator == '#' {
                    glob.trim_prefix(&value, reach)
                } else {
                    glob.trim_suffix(&value, reach)
                })
            }
            _ => Err(ExpandError::UnsupportedModifier { modifier }),
        }
    }

    fn replacement(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.next_is('/');
        let pattern = self.operand('/', true, ExpandError::MissingSlash)?;
        let replacement = self.operand('}', true, ExpandError::MissingBrace)?;
        let value = self.get(name);
        if value.is_none() && self.rules.keep_unset {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        let glob = Glob::parse(&pattern)?;
        Ok(glob.replace(&value.unwrap_or_default(), &replacement, all))
    }

    /// Reads an operand up to `stop`. A text that ends too early is the braces' fault, whatever was open.
    fn operand(
        &mut self,
        stop: char,
        keep_escapes: bool,
        missing: ExpandError,
    ) -> Result<String, ExpandError> {
        if self.depth == DEEPEST {
            return Err(ExpandError::TooDeep);
        }
        self.depth += 1;
        let operand = self.until(Some(stop), keep_escapes);
        self.depth -= 1;
        match operand {
            Ok((text, _)) => Ok(text),
            Err(ExpandError::TooDeep) => Err(ExpandError::TooDeep),
            Err(_) if self.peek().is_none() => Err(missing),
            Err(error) => Err(error),
        }
    }

    /// Reads a name: letters, digits and underscores, digits alone, or one special character.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(first) if is_digit(first) => {
                while let Some(digit) = self.rest.next_if(|next| is_digit(*next)) {
                    name.push(digit);
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.rest.next()),
            _ => {
                while let Some(char) =
                    self.rest.next_if(|next| is_letter(*next) || is_digit(*next) || *next == '_')
                {
                    name.push(char);
                }
            }
        }
        name
    }

    fn get(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name);
        if value.is_some() { &mut self.used } else { &mut self.unset }.insert(name.to_owned());
        value
    }
}

/// Unicode's decimal digits, as far as the standard library can tell them from other numbers.
fn is_digit(char: char) -> bool {
    char.is_ascii_digit() || !char.is_ascii() && char.is_numeric() && !char.is_alphabetic()
}

fn is_letter(char: char) -> bool {
    char.is_alphabetic()
}

/// Collects words: blanks end a word unless they are quoted, and empty words do not count.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
}

impl Words {
    fn push(&mut self, char: char) {
        if !char.is_whitespace() {
            self.word.push(char);
        } else if !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
        }
    }

    fn push_quoted(&mut self, text: &str) {
        self.word += text;
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}
