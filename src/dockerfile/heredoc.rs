//! The redirections of here-documents: `[fd]<<[-]WORD`.

use super::expand::{ExpandError, shell_words};

/// A redirection that asks for a here-document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirection {
    /// The delimiter without its quotes.
    pub name: String,
    /// Whether no part of the delimiter is quoted.
    pub expand: bool,
    /// Whether it is `<<-`.
    pub chomp: bool,
}

/// Finds the redirections of a logical line, in their order.
///
/// A line whose quotes do not match has none: it is left to the shell.
pub(super) fn redirections(line: &str) -> Result<Vec<Redirection>, ExpandError> {
    let words = shell_words(line, true, true).unwrap_or_default();
    words.iter().filter_map(|word| redirection(word).transpose()).collect()
}

/// Reads one word as a redirection.
pub(super) fn redirection(word: &str) -> Result<Option<Redirection>, ExpandError> {
    let operator = word.trim_start_matches(|char: char| char.is_ascii_digit());
    let Some(rest) = operator.strip_prefix("<<") else { return Ok(None) };
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start_matches([' ', '\t', '\r', '\n', '\u{c}']);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let words = shell_words(rest, false, false)?;
    let raw = shell_words(rest, true, false)?;
    let ([name], [raw]) = (words.as_slice(), raw.as_slice()) else { return Ok(None) };
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Ok(Some(Redirection { name: name.clone(), expand: quotes(name) == quotes(raw), chomp }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirections_of_a_line() {
        type Found<'a> = (&'a str, bool, bool);
        let cases: &[(&str, &[Found<'_>])] = &[
            ("RUN <<EOF", &[("EOF", true, false)]),
            ("RUN <<-EOF", &[("EOF", true, true)]),
            ("RUN << EOF", &[("EOF", true, false)]),
            ("RUN cat 3<<A <<'B' <<\"C\"", &[("A", true, false), ("B", false, false), ("C", false, false)]),
            ("RUN <<E'O'F", &[("EOF", false, false)]),
            ("RUN <<'one two'", &[("one two", false, false)]),
            ("RUN <<'e'o\\'f", &[("eo'f", false, false)]),
            ("RUN <<eo\\'f", &[("eo'f", true, false)]),
            ("RUN <<  EOF  > out", &[("EOF", true, false)]),
            // Unlike a shell, and as BuildKit does.
            ("RUN <<- EOF", &[]),
            ("RUN << -EOF", &[("-EOF", true, false)]),
            ("RUN cat <<", &[]),
            ("RUN <<\\EOF", &[("EOF", true, false)]),
            ("RUN cat<<EOF", &[]),
            ("RUN cat <<<EOF", &[]),
            ("RUN echo '<<EOF'", &[]),
            ("RUN echo \"x <<EOF\"", &[]),
            ("RUN echo $((1<<2))", &[]),
            ("RUN it's <<EOF", &[]),
            ("RUN <<$EOF", &[("$EOF", true, false)]),
        ];
        for (line, expected) in cases {
            let found = redirections(line).unwrap();
            let found: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.expand, one.chomp)).collect();
            assert_eq!(&found, expected, "in {line}");
        }
    }
}
