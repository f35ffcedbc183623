//! Findings about a Dockerfile as data: where, what, and what to try. Rendering is one pure function.

pub mod suggest;

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A range of bytes in a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// Returns the span from `start` up to `end`.
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// Returns the smallest span that holds both.
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Returns the span as a range, for slicing.
    pub const fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// A named text that spans point into.
#[derive(Debug, Clone)]
pub struct Source {
    /// What the user calls it: a path, `-` for standard input.
    pub name: String,
    /// The whole text. A changed one is another source.
    pub text: Arc<str>,
    /// Where the lines begin; made when somebody asks for the first time. A file may have many findings.
    lines: Arc<OnceLock<Vec<usize>>>,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.text) == (&other.name, &other.text)
    }
}

impl Eq for Source {}

impl Source {
    /// Names `text`.
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), text: text.into(), lines: Arc::default() }
    }

    /// Returns where each line begins.
    fn lines(&self) -> &[usize] {
        self.lines.get_or_init(|| {
            let feeds = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(feeds.map(|(at, _)| at + 1)).collect()
        })
    }

    /// Returns the 1-based line that holds `offset`.
    pub fn line(&self, offset: usize) -> usize {
        self.lines().partition_point(|start| *start <= offset.min(self.text.len()))
    }

    /// Returns the 1-based line and the 1-based column, in characters, of `offset`.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.line(offset);
        let before =
            self.text[self.lines()[line - 1]..offset].chars().filter(|char| *char != BYTE_ORDER_MARK);
        (line, before.count() + 1)
    }

    /// Returns the text of a 1-based line without its line end.
    pub fn line_text(&self, line: usize) -> &str {
        let lines = self.lines();
        let Some(start) = lines.get(line.saturating_sub(1)) else { return "" };
        let end = lines.get(line.max(1)).map_or(self.text.len(), |next| next - 1);
        let text = &self.text[*start..end];
        text.strip_suffix('\r').filter(|_| end < self.text.len()).unwrap_or(text)
    }
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The build goes on.
    Warning,
    /// The build stops.
    Error,
}

impl Severity {
    /// Returns the word that begins a message.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One finding about a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How grave it is.
    pub severity: Severity,
    /// The name of the build check that found it, for example `UndefinedVar`; `None` for plain errors.
    pub rule: Option<&'static str>,
    /// What is wrong: one sentence, lower case, no full stop.
    pub message: String,
    /// The marked text.
    pub span: Span,
    /// One thing to try, for example "did you mean `RUN`?".
    pub help: Option<String>,
}

impl Diagnostic {
    /// Makes an error at `span`.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, rule: None, message: message.into(), span, help: None }
    }

    /// Makes a warning of the build check `rule` at `span`.
    pub fn warning(rule: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, rule: Some(rule), message: message.into(), span, help: None }
    }

    /// Adds one thing to try.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A span over more lines than this is shown with its first lines only.
const SHOWN_LINES: usize = 4;

/// Tabs of the source are shown as so many blanks, so that marks stand below what they mark.
const TAB: &str = "    ";

/// It may begin a file and is never shown.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Shows a finding with the lines that it is about, as plain text that ends in a line feed.
///
/// ```text
/// error: unknown instruction `FORM`
///  --> Dockerfile:1:1
///   |
/// 1 | FORM alpine
///   | ^^^^
///   = help: did you mean `FROM`?
/// ```
pub fn render(source: &Source, diagnostic: &Diagnostic) -> String {
    let text = &*source.text;
    let start = text.floor_char_boundary(diagnostic.span.start);
    let end = text.floor_char_boundary(diagnostic.span.end).max(start);
    let first = source.line(start);
    // A span that ends with a line feed does not reach into the next line.
    let last = source.line(end.saturating_sub(1).max(start)).max(first);
    let shown_last = last.min(first + SHOWN_LINES - 1);
    let width = shown_last.to_string().len();
    let line_start = source.lines()[first - 1];
    let (_, column) = source.position(start);

    let mut out = String::new();
    let rule = diagnostic.rule.map(|rule| format!("[{rule}]")).unwrap_or_default();
    let mut put = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = out.write_fmt(line);
        while out.ends_with(' ') {
            out.pop();
        }
        out.push('\n');
    };
    put(format_args!("{}{rule}: {}", diagnostic.severity.label(), printable(&diagnostic.message)));
    put(format_args!("{:width$}--> {}:{first}:{column}", "", printable(&source.name)));
    put(format_args!("{:width$} |", ""));
    let mut at = line_start;
    for (number, line) in (first..=shown_last).zip(text[line_start..].split('\n')) {
        let bare = line.strip_suffix('\r').unwrap_or(line);
        put(format_args!("{number:width$} | {}", printable(bare)));
        let from = start.clamp(at, at + bare.len());
        let to = end.clamp(from, at + bare.len());
        // Blanks in front of a continued line are not what the finding is about.
        let marked = &text[from..to];
        let indent = if number > first { marked.len() - marked.trim_start().len() } else { 0 };
        let from = from + indent;
        let marks = columns(&text[from..to]).max(usize::from(number == first));
        put(format_args!("{:width$} | {:2$}{3}", "", "", columns(&text[at..from]), "^".repeat(marks)));
        at += line.len() + 1;
    }
    if last > shown_last {
        put(format_args!("{:>1$}", "...", width + 2));
    }
    if let Some(help) = &diagnostic.help {
        let mut lines = help.lines();
        put(format_args!("{:width$} = help: {}", "", printable(lines.next().unwrap_or_default())));
        for line in lines {
            put(format_args!("{:width$}         {}", "", printable(line)));
        }
    }
    out
}

/// Returns `text` without what a terminal would obey: control characters, and those that reorder text.
fn printable(text: &str) -> String {
    let obeyed =
        |char: char| char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\t' => out += TAB,
            BYTE_ORDER_MARK => {}
            char if obeyed(char) => out.push(char::REPLACEMENT_CHARACTER),
            char => out.push(char),
        }
    }
    out
}

/// Returns how wide `text` is shown: a character is one column, a tab as many as [`TAB`].
fn columns(text: &str) -> usize {
    let width = |char| match char {
        '\t' => TAB.len(),
        BYTE_ORDER_MARK => 0,
        _ => 1,
    };
    text.chars().map(width).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, span: Span) -> String {
        let diagnostic = Diagnostic::error(span, "something is wrong").with_help("make it right");
        render(&Source::new("Dockerfile", text), &diagnostic)
    }

    #[test]
    fn one_word() {
        insta::assert_snapshot!(shown("FROM x\nRUN --mont=a b\n", Span::new(11, 17)), @r"
        error: something is wrong
         --> Dockerfile:2:5
          |
        2 | RUN --mont=a b
          |     ^^^^^^
          = help: make it right
        ");
    }

    #[test]
    fn a_warning_names_its_rule() {
        let warning =
            Diagnostic::warning("StageNameCasing", Span::new(10, 11), "stage name `B` is not lower-case");
        insta::assert_snapshot!(render(&Source::new("-", "FROM a AS B"), &warning), @r"
        warning[StageNameCasing]: stage name `B` is not lower-case
         --> -:1:11
          |
        1 | FROM a AS B
          |           ^
        ");
    }

    #[test]
    fn tabs_and_wide_characters() {
        insta::assert_snapshot!(shown("\tRUN\täö x\r\n", Span::new(5, 9)), @r"
        error: something is wrong
         --> Dockerfile:1:6
          |
        1 |     RUN    äö x
          |            ^^
          = help: make it right
        ");
    }

    #[test]
    fn several_lines() {
        insta::assert_snapshot!(shown("FROM x\nRUN a \\\n  b \\\n  c\nRUN d\n", Span::new(7, 24)), @r"
        error: something is wrong
         --> Dockerfile:2:1
          |
        2 | RUN a \
          | ^^^^^^^
        3 |   b \
          |   ^^^
        4 |   c
          |   ^
          = help: make it right
        ");
    }

    #[test]
    fn many_lines() {
        let text = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n";
        insta::assert_snapshot!(shown(text, Span::new(14, text.len())), @r"
        error: something is wrong
          --> Dockerfile:8:1
           |
         8 | 8
           | ^
         9 | 9
           | ^
        10 | 10
           | ^^
        11 | 11
           | ^^
         ...
           = help: make it right
        ");
    }

    #[test]
    fn the_end_of_the_file() {
        insta::assert_snapshot!(shown("FROM x\n", Span::new(7, 7)), @r"
        error: something is wrong
         --> Dockerfile:2:1
          |
        2 |
          | ^
          = help: make it right
        ");
        insta::assert_snapshot!(shown("", Span::new(0, 0)), @r"
        error: something is wrong
         --> Dockerfile:1:1
          |
        1 |
          | ^
          = help: make it right
        ");
    }

    #[test]
    fn terminals_are_not_commanded() {
        let rendered = shown("RUN \u{1b}[31m \u{202e}x", Span::new(4, 9));
        assert!(rendered.contains("RUN \u{fffd}[31m \u{fffd}x"), "{rendered}");
    }

    proptest::proptest! {
        #[test]
        fn any_span_can_be_shown(text in "[aä\t\r\n ]{0,20}", start in 0_usize..24, length in 0_usize..24) {
            let rendered = shown(&text, Span::new(start, start + length));
            proptest::prop_assert!(rendered.contains('^') && rendered.ends_with("make it right\n"));
        }
    }
}
