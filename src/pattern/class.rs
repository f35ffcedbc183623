//! Single characters of a path, and classes of them: `[a-z]`, `[^0-9]`.

/// A set of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    /// Reads a class behind its `[`; returns it and what follows its `]`. `None` if it is malformed.
    pub(super) fn parse(text: &[u8]) -> Option<(Self, &[u8])> {
        let (negated, mut rest) = match text.strip_prefix(b"^") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut ranges = Vec::new();
        loop {
            if !ranges.is_empty()
                && let Some(after) = rest.strip_prefix(b"]")
            {
                return Some((Self { negated, ranges }, after));
            }
            let low;
            (low, rest) = member(rest)?;
            let mut high = low;
            if let Some(after) = rest.strip_prefix(b"-") {
                (high, rest) = member(after)?;
            }
            ranges.push((low, high));
        }
    }

    pub(super) fn holds(&self, char: char) -> bool {
        self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&char)) != self.negated
    }
}

/// Reads one end of a range, which may be escaped.
fn member(text: &[u8]) -> Option<(char, &[u8])> {
    let text = match text {
        [b'-' | b']', ..] => return None,
        [b'\\', rest @ ..] => rest,
        _ => text,
    };
    let (char, rest) = first(text)?;
    // A class must be closed, so it cannot end here.
    (!rest.is_empty()).then_some((char, rest))
}

/// Returns the first character and the rest; a byte that is not UTF-8 counts as one replacement character.
pub(super) fn first(text: &[u8]) -> Option<(char, &[u8])> {
    let byte = *text.first()?;
    if byte.is_ascii() {
        return Some((byte.into(), &text[1..]));
    }
    let end = text.len().min(4);
    let chunk = text[..end].utf8_chunks().next()?;
    match chunk.valid().chars().next() {
        Some(char) => Some((char, &text[char.len_utf8()..])),
        None => Some((char::REPLACEMENT_CHARACTER, &text[1..])),
    }
}
