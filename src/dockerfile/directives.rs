//! Parser directives: `# name=value` lines at the top of a file.
//!
//! Only `syntax`, `escape` and `check` exist. The first line that is none of them, even a comment that looks
//! like one, ends them. `syntax` is found in more places than the others, because it chooses who reads the file.

use crate::diagnostic::{Diagnostic, Source, Span};

use super::instruction::{Directives, Spanned};

/// A directive as it stands in a line.
pub(super) struct Directive<'a> {
    pub name: String,
    pub value: &'a str,
    /// Where the value begins in the line.
    pub at: usize,
}

/// Reads the directive in `line`, whose comments begin with `marker`.
pub(super) fn directive<'a>(line: &'a str, marker: &str) -> Option<Directive<'a>> {
    let (name, value) = line.strip_prefix(marker)?.split_once('=')?;
    let name = name.trim_start().trim_end_matches([' ', '\t', '\r', '\u{c}']);
    let value = value.trim();
    let well_formed = name.starts_with(|char: char| char.is_ascii_alphabetic())
        && name.chars().all(|char| char.is_ascii_alphanumeric());
    let name = name.to_ascii_lowercase();
    let known = matches!(name.as_str(), "syntax" | "escape" | "check");
    (well_formed && known && !value.is_empty()).then(|| Directive {
        name,
        value,
        at: value.as_ptr().addr() - line.as_ptr().addr(),
    })
}

/// Reads the directives of a whole file.
pub(super) fn read(source: &Source, diagnostics: &mut Vec<Diagnostic>) -> Directives {
    let bom = bom_length(&source.text);
    let lines = || physical(&source.text, bom);
    // A `#!` line ends the directives that change the parser, but not the search for the other two.
    let after_shebang = || lines().skip(usize::from(source.text[bom..].starts_with("#!")));
    Directives {
        syntax: find("syntax", after_shebang(), "#")
            .or_else(|| find("syntax", after_shebang(), "//"))
            .or_else(|| json_syntax(source, bom)),
        escape: escape(lines(), diagnostics),
        check: find("check", after_shebang(), "#"),
    }
}

/// Returns the length of the byte order mark at the start of `text`.
pub(super) fn bom_length(text: &str) -> usize {
    if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 }
}

/// Yields each line without its end, and where it starts.
fn physical(text: &str, start: usize) -> impl Iterator<Item = (usize, &str)> {
    text[start..].split_inclusive('\n').scan(start, |at, line| {
        let here = *at;
        *at += line.len();
        let bare = line.trim_end_matches(['\r', '\n']);
        let trimmed = bare.trim_start();
        Some((here + (bare.len() - trimmed.len()), trimmed))
    })
}

/// Returns the text of directive `name` up to its first blank.
fn find<'a>(
    name: &str,
    lines: impl Iterator<Item = (usize, &'a str)>,
    marker: &str,
) -> Option<Spanned<String>> {
    lines
        .map_while(|(start, line)| directive(line, marker).map(|found| (start, found)))
        .find(|(_, found)| found.name == name)
        .map(|(start, found)| {
            let value = found.value.split(' ').next().unwrap_or_default();
            let start = start + found.at;
            Spanned::new(value.to_owned(), Span::new(start, start + value.len()))
        })
}

/// Finds the escape character, and everything that is wrong with the directives before it and after it.
fn escape<'a>(
    lines: impl Iterator<Item = (usize, &'a str)>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Spanned<char>> {
    let mut seen = Vec::new();
    let mut escape = None;
    for (start, line) in lines {
        let Some(found) = directive(line, "#") else { break };
        let span = Span::new(start + found.at, start + found.at + found.value.len());
        if seen.contains(&found.name) {
            let whole = Span::new(start, start + line.trim_end().len());
            diagnostics.push(
                Diagnostic::error(whole, format!("only one `{}` parser directive can be used", found.name))
                    .with_help("remove one of the two"),
            );
            continue;
        }
        if found.name == "escape" {
            match found.value {
                "\\" => escape = Some(Spanned::new('\\', span)),
                "`" => escape = Some(Spanned::new('`', span)),
                other => diagnostics.push(
                    Diagnostic::error(span, format!("invalid escape character `{other}`"))
                        .with_help("use a backslash or a backtick"),
                ),
            }
        }
        seen.push(found.name);
    }
    escape
}

/// Finds `syntax` in a file that is a JSON object, which another frontend may read.
fn json_syntax(source: &Source, start: usize) -> Option<Spanned<String>> {
    let body = &source.text[start..];
    if !body.trim_start().starts_with('{') {
        return None;
    }
    let document: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).ok()?;
    let value = document.get("syntax")?.as_str()?.to_owned();
    Some(Spanned::new(value, Span::new(start, source.text.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syntax_of(text: &str) -> Option<String> {
        let source = Source::new("Dockerfile", text);
        let found = read(&source, &mut Vec::new()).syntax?;
        if !text.starts_with('{') {
            assert_eq!(&text[found.span.range()], found.value, "in {text:?}");
        }
        Some(found.value)
    }

    #[test]
    fn syntax_is_found_in_all_its_places() {
        for (text, expected) in [
            ("# syntax=a/b:1\nFROM x", Some("a/b:1")),
            ("#syntax = a/b:1 more\r\nFROM x", Some("a/b:1")),
            ("\u{feff}# SYNTAX=a\n", Some("a")),
            ("#!/bin/x\n# syntax=a\n", Some("a")),
            ("# escape=`\n# syntax=a\n", Some("a")),
            ("// syntax=a\n", Some("a")),
            ("{\"syntax\": \"a\"}", Some("a")),
            ("# a comment\n# syntax=a\n", None),
            ("# other=1\n# syntax=a\n", None),
            ("\n# syntax=a\n", None),
            ("FROM x\n# syntax=a\n", None),
        ] {
            assert_eq!(syntax_of(text).as_deref(), expected, "in {text:?}");
        }
    }

    #[test]
    fn escape_takes_two_characters_only() {
        for (text, escape, errors) in [
            ("# escape=`\n", '`', 0),
            ("# escape = \\ \n", '\\', 0),
            ("# escape=x\n", '\\', 1),
            ("# escape=`\n# escape=\\\n", '`', 1),
            ("#!/x\n# escape=`\n", '\\', 0),
            ("# hello\n# escape=`\n", '\\', 0),
        ] {
            let mut diagnostics = Vec::new();
            let directives = read(&Source::new("Dockerfile", text), &mut diagnostics);
            assert_eq!((directives.escape_char(), diagnostics.len()), (escape, errors), "in {text:?}");
        }
    }
}
