//! JSON arrays of strings: the exec form.
//!
//! What does not parse as a JSON array is not an error but another form; a JSON array of anything but
//! strings is one.

use serde_json::Value;

use crate::diagnostic::Diagnostic;

use super::instruction::Word;
use super::text::Fragment;

/// Tells whether `args` is in the exec form.
pub(super) fn is_array(args: Fragment<'_>) -> bool {
    values(args).is_some()
}

fn values(args: Fragment<'_>) -> Option<Vec<Value>> {
    let text = args.as_str();
    text.trim_start().starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// Reads `args` as an array of strings; `None` if it is no JSON array.
pub(super) fn array(args: Fragment<'_>) -> Result<Option<Vec<Word>>, Diagnostic> {
    let Some(values) = values(args) else { return Ok(None) };
    let mut rest = 0;
    let mut words = Vec::with_capacity(values.len());
    for value in values {
        let Value::String(raw) = value else {
            return Err(Diagnostic::error(
                args.span(),
                "only strings are allowed in a JSON array of arguments",
            )
            .with_help("put every argument in double quotes"));
        };
        let (start, end) = next_string(args.as_str(), rest);
        rest = end;
        words.push(Word { raw, span: args.slice(start, end).span() });
    }
    Ok(Some(words))
}

/// Returns where the next string literal stands, quotes included, in JSON that is known to be valid.
fn next_string(text: &str, from: usize) -> (usize, usize) {
    let start = text[from..].find('"').map_or(text.len(), |found| from + found);
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(start + 1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return (start, at + 1),
            _ => {}
        }
    }
    (start, text.len())
}

#[cfg(test)]
mod tests {
    use super::super::text::Joined;
    use super::*;

    fn read(text: &str) -> Result<Option<Vec<String>>, String> {
        let mut joined = Joined::default();
        joined.push(0, text);
        let words = array(joined.fragment()).map_err(|diagnostic| diagnostic.message)?;
        Ok(words.map(|words| {
            words.into_iter().map(|word| format!("{} {}", word.raw, &text[word.span.range()])).collect()
        }))
    }

    #[test]
    fn strings_know_where_they_stand() {
        assert_eq!(read(r#"["a", "b\"c"]"#), Ok(Some(vec![r#"a "a""#.into(), r#"b"c "b\"c""#.into()])));
        assert_eq!(read("[]"), Ok(Some(Vec::new())));
    }

    #[test]
    fn what_is_no_json_is_another_form() {
        for text in ["", "a", "[", "['a']", r#"["a"] b"#, r#"["a",]"#, "[ -f x ]", r#"["a""#] {
            assert_eq!(read(text), Ok(None), "for {text}");
        }
    }

    #[test]
    fn other_values_than_strings_are_errors() {
        for text in ["[1]", r#"["a", ["b"]]"#, "[null]", r#"["a", {}]"#] {
            assert!(read(text).is_err(), "for {text}");
        }
    }
}
