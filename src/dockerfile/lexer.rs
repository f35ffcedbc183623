//! From physical lines to logical ones: comments, continuations, here-document bodies.
//!
//! A logical line is everything that makes one instruction. Rules that surprise: a comment inside a
//! continuation disappears and does not end it; so does a blank line, with a warning; white space before
//! a continued line stays; a here-document's body is taken as it is, comments included.

use crate::diagnostic::{Diagnostic, Source, Span};

use super::command::Command;
use super::directives::{self, bom_length, directive};
use super::heredoc::{Redirection, redirections};
use super::instruction::{Directives, Heredoc};
use super::text::Joined;

/// The build check about blank lines inside an instruction.
pub(super) const NO_EMPTY_CONTINUATION: &str = "NoEmptyContinuation";

/// No physical line, its line feed included, may be longer.
const LINE_LIMIT: usize = 65536;

/// A file as logical lines.
pub(super) struct Lexed {
    pub directives: Directives,
    pub lines: Vec<LogicalLine>,
    /// What is wrong with the directives and the lines as such.
    pub diagnostics: Vec<Diagnostic>,
}

/// One instruction's worth of text.
pub(super) struct LogicalLine {
    /// Continuations joined, comments and bodies left out.
    pub text: Joined,
    /// The texts of the comment lines since the last instruction or empty comment.
    pub comments: Vec<String>,
    /// From the first character that is no blank to the end of the last line, bodies included.
    pub span: Span,
    /// The bodies that belong to the line's redirections.
    pub bodies: Vec<Body>,
}

/// A here-document with its body.
pub(super) struct Body {
    pub redirection: Redirection,
    /// The text as written, tabs of `<<-` included.
    pub text: String,
    pub span: Span,
}

impl Body {
    /// Returns the here-document as instructions hold it.
    pub(super) fn heredoc(&self) -> Heredoc {
        let Redirection { name, expand, chomp } = self.redirection.clone();
        let body = if chomp {
            self.text.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
        } else {
            self.text.clone()
        };
        Heredoc { name, expand, chomp, body, span: self.span }
    }
}

/// Reads `source` up to its end; nothing stops it.
pub(super) fn lex(source: &Source) -> Lexed {
    let mut diagnostics = Vec::new();
    let directives = directives::read(source, &mut diagnostics);
    let mut lexer = Lexer {
        text: &source.text,
        at: bom_length(&source.text),
        escape: directives.escape_char(),
        comments: Vec::new(),
        in_directives: true,
        diagnostics,
    };
    let mut lines = Vec::new();
    while let Some(line) = lexer.logical_line() {
        lines.push(line);
    }
    Lexed { directives, lines, diagnostics: lexer.diagnostics }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    escape: char,
    comments: Vec<String>,
    in_directives: bool,
    diagnostics: Vec<Diagnostic>,
}

/// A physical line.
#[derive(Clone, Copy)]
struct Physical<'a> {
    start: usize,
    /// Without its line end.
    text: &'a str,
    /// With its line end.
    whole: &'a str,
}

impl Physical<'_> {
    fn is_comment(&self) -> bool {
        self.text.trim_start().starts_with('#')
    }

    const fn span(&self) -> Span {
        Span::new(self.start, self.start + self.text.len())
    }
}

impl<'a> Lexer<'a> {
    fn physical(&mut self) -> Option<Physical<'a>> {
        let start = self.at;
        let whole = self.text[start..].split_inclusive('\n').next()?;
        self.at += whole.len();
        let line = Physical { start, text: whole.trim_end_matches(['\r', '\n']), whole };
        if whole.trim_end_matches('\n').len() >= LINE_LIMIT {
            self.diagnostics.push(
                Diagnostic::error(
                    Span::new(start, start + line.text.chars().next().map_or(0, char::len_utf8)),
                    format!("line is longer than the allowed {} bytes", LINE_LIMIT - 1),
                )
                .with_help("split the line, or put its content into a file and COPY that"),
            );
        }
        Some(line)
    }

    /// Reads up to the end of the next instruction.
    fn logical_line(&mut self) -> Option<LogicalLine> {
        let first = loop {
            let line = self.physical()?;
            if line.is_comment() {
                self.comment(line.text);
            } else if line.text.trim_start().is_empty() {
                self.in_directives = false;
            } else {
                break line;
            }
        };
        self.in_directives = false;
        let indent = first.text.len() - first.text.trim_start().len();
        let mut text = Joined::default();
        let mut last = first;
        let mut blank_inside = false;
        let (start, mut open) = (first.start + indent, self.append(&mut text, first, indent));
        while open {
            let Some(line) = self.physical() else { break };
            last = line;
            if line.is_comment() {
                continue;
            }
            if line.text.trim().is_empty() {
                blank_inside = true;
                continue;
            }
            open = self.append(&mut text, line, 0);
        }
        if blank_inside {
            self.diagnostics.push(
                Diagnostic::warning(
                    "NoEmptyContinuation",
                    last.span(),
                    "empty line inside a continued instruction",
                )
                .with_help("remove the empty line, or make it a comment"),
            );
        }
        let mut line = LogicalLine {
            text,
            comments: std::mem::take(&mut self.comments),
            span: Span::new(start, (last.start + last.text.len()).max(start)),
            bodies: Vec::new(),
        };
        self.read_bodies(&mut line);
        Some(line)
    }

    /// Remembers a comment for the instruction below it. A directive is none, and an empty one ends the block.
    fn comment(&mut self, line: &str) {
        self.in_directives = self.in_directives && directive(line.trim_start(), "#").is_some();
        if self.in_directives {
            return;
        }
        let line = line.trim_start();
        let comment = line.strip_prefix('#').unwrap_or(line).trim();
        if comment.is_empty() {
            self.comments.clear();
        } else {
            self.comments.push(comment.to_owned());
        }
    }

    /// Appends a line from byte `from`; tells whether it continues.
    fn append(&self, text: &mut Joined, line: Physical<'_>, from: usize) -> bool {
        let content = &line.text[from..];
        let start = line.start + from;
        let continued = content
            .trim_end_matches([' ', '\t'])
            .strip_suffix(self.escape)
            // A doubled escape is an escaped escape; a tripled one is taken for that as well.
            .filter(|before| !before.ends_with(self.escape));
        text.push(start, continued.unwrap_or(content));
        continued.is_some()
    }

    /// Reads the bodies that the instruction asks for.
    fn read_bodies(&mut self, line: &mut LogicalLine) {
        let command = Command::split(line.text.fragment(), self.escape);
        if !line.text.as_str().contains("<<") || !command.takes_heredocs(self.escape) {
            return;
        }
        let redirections = match redirections(line.text.as_str()) {
            Ok(redirections) => redirections,
            Err(error) => {
                self.diagnostics.push(
                    Diagnostic::error(line.text.fragment().trim().span(), error.to_string())
                        .with_help(error.help()),
                );
                return;
            }
        };
        let mut searched = 0;
        for redirection in redirections {
            let mark = redirection_span(line, &redirection, &mut searched);
            let start = self.at;
            let (end, terminated) = self.body_end(&redirection);
            line.span.end = self.text[..self.at].trim_end_matches(['\r', '\n']).len().max(line.span.end);
            if !terminated {
                self.diagnostics.push(
                    Diagnostic::error(mark, format!("unterminated here-document `{}`", redirection.name))
                        .with_help(format!("end it with a line that is exactly `{}`", redirection.name)),
                );
            }
            let text = self.text[start..end].to_owned();
            line.bodies.push(Body { redirection, text, span: Span::new(start, end) });
        }
    }

    /// Skips past a terminator; returns where the body ends and whether there was one.
    fn body_end(&mut self, redirection: &Redirection) -> (usize, bool) {
        while let Some(line) = self.physical() {
            let candidate = line.whole.trim_end_matches(['\r', '\n']);
            let candidate = if redirection.chomp { candidate.trim_start_matches('\t') } else { candidate };
            if candidate == redirection.name {
                return (line.start, true);
            }
        }
        (self.at, false)
    }
}

/// Finds where a redirection stands, to point at it; the whole line if its quoting hides it.
fn redirection_span(line: &LogicalLine, redirection: &Redirection, searched: &mut usize) -> Span {
    let text = line.text.as_str();
    let mut from = *searched;
    while let Some(found) = text[from..].find("<<").map(|found| from + found) {
        let operator = text[found..].trim_start_matches(['<', '-', ' ', '\t', '\'', '"']);
        let begin = text.len() - operator.len();
        if operator.starts_with(&redirection.name) {
            let close = begin + redirection.name.len();
            let end = close + usize::from(text[close..].starts_with(['\'', '"']));
            *searched = end;
            return line.text.fragment().slice(found, end).span();
        }
        from = found + "<<".len();
    }
    line.text.fragment().trim().span()
}
