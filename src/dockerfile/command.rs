//! The parts of a logical line: instruction name, flags, arguments.

use super::json;
use super::text::Fragment;

/// A logical line, split.
pub(super) struct Command<'a> {
    pub name: Fragment<'a>,
    pub flags: Vec<Cooked<'a>>,
    pub args: Fragment<'a>,
}

/// A word whose quotes or escapes may have been removed.
#[derive(Debug, Clone)]
pub(super) struct Cooked<'a> {
    pub text: String,
    pub written: Fragment<'a>,
}

impl<'a> Command<'a> {
    /// Splits `line`. Flags are the words in front that begin with `--`; a lone `--` ends them.
    pub(super) fn split(line: Fragment<'a>, escape: char) -> Self {
        let (name, rest) = line.trim().split_once_blank();
        let rest = rest.unwrap_or_else(|| name.from(name.as_str().len()));
        let (flags, args) = split_flags(rest, escape);
        Self { name, flags, args: args.trim() }
    }

    /// Tells whether `<<WORD` in this line begins a here-document.
    pub(super) fn takes_heredocs(&self, escape: char) -> bool {
        if self.is("ONBUILD") && !self.args.is_empty() {
            return Command::split(self.args, escape).reads_bodies();
        }
        self.reads_bodies()
    }

    fn reads_bodies(&self) -> bool {
        ["ADD", "COPY", "RUN"].iter().any(|name| self.is(name)) && !json::is_array(self.args)
    }

    fn is(&self, name: &str) -> bool {
        self.name.as_str().eq_ignore_ascii_case(name)
    }
}

/// Takes the flags off the front; returns them and the rest.
fn split_flags(line: Fragment<'_>, escape: char) -> (Vec<Cooked<'_>>, Fragment<'_>) {
    let text = line.as_str();
    let mut flags = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if !text[at..].starts_with("--") {
            return (flags, line.from(at));
        }
        let (flag, end) = flag(line, at, escape);
        at = end;
        if flag.text == "--" {
            return (flags, line.from(at));
        }
        flags.push(flag);
    }
}

/// Reads the flag at byte `start`; quotes and escapes go away here, before anything is expanded.
fn flag(line: Fragment<'_>, start: usize, escape: char) -> (Cooked<'_>, usize) {
    let rest = &line.as_str()[start..];
    let mut text = String::new();
    let mut quote = None;
    let mut end = rest.len();
    let mut chars = rest.char_indices();
    while let Some((at, char)) = chars.next() {
        if char == escape {
            text.extend(chars.next().map(|(_, escaped)| escaped));
        } else if quote == Some(char) {
            quote = None;
        } else if quote.is_some() {
            text.push(char);
        } else if char.is_whitespace() {
            end = at;
            break;
        } else if matches!(char, '\'' | '"') {
            quote = Some(char);
        } else {
            text.push(char);
        }
    }
    (Cooked { text, written: line.slice(start, start + end) }, start + end)
}

/// Splits at blanks outside of quotes, as ENV, LABEL and ARG do. Quotes and escapes stay: they go when the
/// word is expanded.
pub(super) fn quoted_words(line: Fragment<'_>, escape: char) -> Vec<Cooked<'_>> {
    let text = line.as_str();
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        if at == text.len() {
            return words;
        }
        let mut word = String::new();
        let mut quote = None;
        let mut end = text.len();
        let mut chars = text[at..].char_indices();
        while let Some((offset, char)) = chars.next() {
            if char == escape && quote != Some('\'') {
                // An escape at the very end escapes nothing and vanishes.
                let Some((_, escaped)) = chars.next() else { break };
                word.extend([char, escaped]);
                continue;
            }
            match quote {
                Some(open) if open == char => quote = None,
                Some(_) => {}
                None if char.is_whitespace() => {
                    end = at + offset;
                    break;
                }
                None if matches!(char, '\'' | '"') => quote = Some(char),
                None => {}
            }
            word.push(char);
        }
        if !word.is_empty() {
            words.push(Cooked { text: word, written: line.slice(at, end) });
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::Joined;
    use super::*;

    #[test]
    fn flags_come_first_and_lose_their_quotes() {
        let cases: &[(&str, &str, &[&str], &str)] = &[
            ("RUN a b", "RUN", &[], "a b"),
            ("RUN  --x=1   --y a --z", "RUN", &["--x=1", "--y"], "a --z"),
            ("COPY --chown='a b' x y", "COPY", &["--chown=a b"], "x y"),
            (r#"COPY --a="x\"y" --b=c\ d x"#, "COPY", &["--a=x\"y", "--b=c d"], "x"),
            ("RUN -- --x", "RUN", &[], "--x"),
            ("RUN --x --", "RUN", &["--x"], ""),
            ("RUN -x", "RUN", &[], "-x"),
            ("RUN --x='open y", "RUN", &["--x=open y"], ""),
            ("COPY --chown=ä x", "COPY", &["--chown=ä"], "x"),
            ("RUN", "RUN", &[], ""),
        ];
        for (line, name, flags, args) in cases {
            let mut joined = Joined::default();
            joined.push(0, line);
            let command = Command::split(joined.fragment(), '\\');
            let found: Vec<_> = command.flags.iter().map(|flag| flag.text.as_str()).collect();
            assert_eq!(
                (command.name.as_str(), found.as_slice(), command.args.as_str()),
                (*name, *flags, *args),
                "in {line}"
            );
        }
    }

    #[test]
    fn words_keep_their_quotes() {
        let cases: &[(&str, &[&str])] = &[
            ("a=b c=d", &["a=b", "c=d"]),
            ("a='x y' b=\"p q\"", &["a='x y'", "b=\"p q\""]),
            (r"a=x\ y b", &[r"a=x\ y", "b"]),
            (r#"a="x\" y" b"#, &[r#"a="x\" y""#, "b"]),
            (r"a='x\' b", &[r"a='x\'", "b"]),
            (r"a=x\", &["a=x"]),
            ("a='open b", &["a='open b"]),
            ("", &[]),
        ];
        for (line, expected) in cases {
            let mut joined = Joined::default();
            joined.push(0, line);
            let words = quoted_words(joined.fragment(), '\\');
            let found: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(&found, expected, "in {line}");
        }
    }
}
