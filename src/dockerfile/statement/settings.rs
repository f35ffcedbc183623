//! Instructions that set one thing of the image: EXPOSE, VOLUME, USER, WORKDIR, STOPSIGNAL, MAINTAINER.

use crate::diagnostic::Diagnostic;

use super::super::instruction::Word;
use super::super::text::Fragment;
use super::Line;

/// The ports, sorted by their text: their order means nothing, and BuildKit sorts them as well.
pub(super) fn expose(line: &Line<'_>) -> Result<Vec<Word>, Diagnostic> {
    let mut ports: Vec<Word> = line.command.args.split_blanks().into_iter().map(Fragment::word).collect();
    if ports.is_empty() {
        return Err(line.needs_an_argument());
    }
    line.flags(&[])?;
    ports.sort_by(|a, b| a.raw.cmp(&b.raw));
    Ok(ports)
}

pub(super) fn volume(line: &Line<'_>) -> Result<Vec<Word>, Diagnostic> {
    let mut volumes = line.words()?;
    if volumes.is_empty() {
        return Err(line.needs_an_argument());
    }
    line.flags(&[])?;
    for volume in &mut volumes {
        volume.raw = volume.raw.trim().to_owned();
        if volume.raw.is_empty() {
            return Err(Diagnostic::error(volume.span, "a volume cannot be an empty string"));
        }
    }
    Ok(volumes)
}

/// One argument: all that follows.
pub(super) fn one_text(line: &Line<'_>) -> Result<Word, Diagnostic> {
    let text = one_text_any_flags(line)?;
    line.flags(&[])?;
    Ok(text)
}

/// One argument; flags are not looked at, as BuildKit does not.
pub(super) fn one_text_any_flags(line: &Line<'_>) -> Result<Word, Diagnostic> {
    if line.command.args.is_empty() {
        return Err(line.error(format!("{} needs exactly one argument", line.name)));
    }
    Ok(line.command.args.word())
}
