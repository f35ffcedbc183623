//! Whether the blocks of a template are closed: gotmpl 0.6 takes a missing `{{end}}` for one at the end of the text, and
//! leaves out what stands behind one too many. Go refuses both.

/// Checks a template that was parsed; the error begins with line and column.
pub(super) fn check(text: &str) -> Result<(), String> {
    let mut open = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let at = text.len() - rest.len() + start;
        let action = &rest[start + 2..];
        let content = action.strip_prefix("- ").unwrap_or(action).trim_start();
        let word = content.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
        match word {
            "if" | "range" | "with" | "define" | "block" => open.push((at, word)),
            "end" if open.pop().is_none() => {
                return Err(format!("{}: unexpected {{{{end}}}}", position(text, at)));
            }
            "else" if open.is_empty() => {
                return Err(format!("{}: unexpected {{{{else}}}}", position(text, at)));
            }
            _ => {}
        }
        rest = behind(content);
    }
    match open.pop() {
        Some((at, word)) => Err(format!("{}: {{{{{word}}}}} has no {{{{end}}}}", position(text, at))),
        None => Ok(()),
    }
}

/// Returns what stands behind an action, whose texts and comments may hold braces.
fn behind(action: &str) -> &str {
    if let Some(comment) = action.strip_prefix("/*") {
        return comment.split_once("*/").map_or("", |(_, rest)| rest);
    }
    let mut letters = action.char_indices();
    let mut quote = None;
    while let Some((at, letter)) = letters.next() {
        match (quote, letter) {
            (Some('"' | '\''), '\\') => drop(letters.next()),
            (Some(open), _) if open == letter => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(letter),
            (None, '}') if action[at..].starts_with("}}") => return &action[at + 2..],
            _ => {}
        }
    }
    ""
}

fn position(text: &str, at: usize) -> String {
    let before = &text[..at];
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    format!("{}:{column}", before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_closed_once() {
        for (template, expected) in [
            ("{{if .A}}{{range .B}}x{{else}}y{{end}}{{- end -}}", None),
            ("{{if .A}}a{{else if .B}}b{{else}}c{{end}}", None),
            ("{{/* {{end}} */}}{{println \"{{end}}\" `}}{{end}}` '}'}}", None),
            (r#"{{println "\"}}{{end}}"}}"#, None),
            ("{{.end}}{{ending}}", None),
            ("{{if .A}}", Some("1:1: {{if}} has no {{end}}")),
            ("a\n é{{with .A}}{{range .B}}{{end}}", Some("2:3: {{with}} has no {{end}}")),
            ("{{.A}}{{ end }}{{.B}}", Some("1:7: unexpected {{end}}")),
            ("{{- else}}", Some("1:1: unexpected {{else}}")),
        ] {
            assert_eq!(check(template).err().as_deref(), expected, "{template}");
        }
    }
}
