//! FROM.

use crate::diagnostic::Diagnostic;

use super::super::flags::Takes;
use super::super::instruction::{From, Spanned};
use super::super::text::Fragment;
use super::Line;

pub(super) fn parse(line: &Line<'_>) -> Result<From, Diagnostic> {
    let args = line.command.args.split_blanks();
    let (image, keyword, name) = match args.as_slice() {
        [image] => (image, None, None),
        [image, keyword, name] if keyword.as_str().eq_ignore_ascii_case("as") => {
            let written = Spanned::new(keyword.as_str().to_owned(), keyword.span());
            (image, Some(written), Some(stage_name(*name)?))
        }
        [_, keyword, _] => {
            return Err(Diagnostic::error(
                keyword.span(),
                format!("expected `AS`, found `{}`", keyword.as_str()),
            ));
        }
        _ => {
            return Err(line
                .error("FROM takes an image, or an image, `AS` and a name")
                .with_help("write `FROM IMAGE` or `FROM IMAGE AS NAME`"));
        }
    };
    let flags = line.flags(&[("platform", Takes::Text)])?;
    Ok(From { platform: flags.word("platform"), image: image.word(), keyword, name })
}

/// Checks a stage's name and folds it to lower case.
fn stage_name(written: Fragment<'_>) -> Result<Spanned<String>, Diagnostic> {
    let name = written.as_str().to_lowercase();
    let allowed =
        |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || matches!(char, '-' | '_' | '.');
    if name.starts_with(|first: char| first.is_ascii_lowercase()) && name.chars().all(allowed) {
        return Ok(Spanned::new(name, written.span()));
    }
    Err(Diagnostic::error(written.span(), format!("`{}` cannot be the name of a stage", written.as_str()))
        .with_help("begin with a letter; then letters, digits, `-`, `_` and `.` may follow"))
}
