//! Text that was put together from pieces of the source and still knows where each byte came from.

use crate::diagnostic::Span;

use super::instruction::Word;

/// A logical line: physical lines joined at their continuations.
#[derive(Debug, Clone, Default)]
pub(super) struct Joined {
    text: String,
    /// Where each piece begins here and in the source, ascending.
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    here: usize,
    source: usize,
}

impl Joined {
    /// Appends `text`, which stands at byte `source` of the source.
    pub(super) fn push(&mut self, source: usize, text: &str) {
        self.pieces.push(Piece { here: self.text.len(), source });
        self.text += text;
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the whole line.
    pub(super) fn fragment(&self) -> Fragment<'_> {
        Fragment { line: self, start: 0, end: self.text.len() }
    }

    /// Returns where byte `here` stands in the source.
    fn locate(&self, here: usize) -> usize {
        let after = self.pieces.partition_point(|piece| piece.here <= here);
        match after.checked_sub(1).map(|index| self.pieces[index]) {
            Some(piece) => piece.source + (here - piece.here),
            None => 0,
        }
    }
}

/// A part of a logical line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment<'a> {
    line: &'a Joined,
    start: usize,
    end: usize,
}

/// What `\s` of the language's own separators means: a blank that is not a line feed.
pub(super) const fn is_blank(char: char) -> bool {
    matches!(char, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

impl<'a> Fragment<'a> {
    pub(super) fn as_str(self) -> &'a str {
        &self.line.text[self.start..self.end]
    }

    pub(super) const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Returns where the fragment stands in the source; what was removed inside is covered.
    pub(super) fn span(self) -> Span {
        if self.is_empty() {
            // An empty fragment at the end of a piece belongs to what stands before it.
            let at = self
                .start
                .checked_sub(1)
                .map_or_else(|| self.line.locate(0), |last| self.line.locate(last) + 1);
            return Span::new(at, at);
        }
        Span::new(self.line.locate(self.start), self.line.locate(self.end - 1) + 1)
    }

    /// Returns the bytes `start..end` of this fragment.
    pub(super) fn slice(self, start: usize, end: usize) -> Self {
        Self { line: self.line, start: self.start + start, end: self.start + end }
    }

    /// Returns everything from byte `start` of this fragment.
    pub(super) fn from(self, start: usize) -> Self {
        self.slice(start, self.end - self.start)
    }

    pub(super) fn trim(self) -> Self {
        let text = self.as_str();
        let start = text.len() - text.trim_start().len();
        self.slice(start, start + text.trim().len())
    }

    /// Splits at the first run of blanks, which is dropped.
    pub(super) fn split_once_blank(self) -> (Self, Option<Self>) {
        let text = self.as_str();
        match text.find(is_blank) {
            None => (self, None),
            Some(at) => {
                let rest = at + (text[at..].len() - text[at..].trim_start_matches(is_blank).len());
                (self.slice(0, at), Some(self.from(rest)))
            }
        }
    }

    /// Splits at every run of blanks.
    pub(super) fn split_blanks(self) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut rest = Some(self).filter(|all| !all.is_empty());
        while let Some(fragment) = rest {
            let (part, next) = fragment.split_once_blank();
            parts.push(part);
            rest = next;
        }
        parts
    }

    pub(super) fn word(self) -> Word {
        Word { raw: self.as_str().to_owned(), span: self.span() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_point_into_the_source() {
        // The source is `RUN a \⏎ # no⏎  b c`.
        let mut line = Joined::default();
        line.push(0, "RUN a ");
        line.push(14, "  b c");
        let parts = line.fragment().split_blanks();
        let shown: Vec<_> = parts.iter().map(|part| (part.as_str(), part.span())).collect();
        assert_eq!(
            shown,
            [
                ("RUN", Span::new(0, 3)),
                ("a", Span::new(4, 5)),
                ("b", Span::new(16, 17)),
                ("c", Span::new(18, 19))
            ]
        );
        assert_eq!(line.fragment().slice(4, 9).span(), Span::new(4, 17), "a fragment over a joint covers it");
    }
}
