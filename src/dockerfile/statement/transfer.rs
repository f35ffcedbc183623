//! COPY and ADD.

use crate::diagnostic::Diagnostic;

use super::super::flags::{Flags, Takes};
use super::super::heredoc::redirection;
use super::super::instruction::{Heredoc, Transfer, TransferSource, Word};
use super::super::lexer::Body;
use super::Line;

pub(super) fn copy(line: &Line<'_>) -> Result<Transfer, Diagnostic> {
    parse(
        line,
        &[
            ("chown", Takes::Text),
            ("from", Takes::Text),
            ("chmod", Takes::Text),
            ("link", Takes::Boolean),
            ("exclude", Takes::List),
            ("parents", Takes::Boolean),
        ],
    )
}

pub(super) fn add(line: &Line<'_>) -> Result<Transfer, Diagnostic> {
    parse(
        line,
        &[
            ("chown", Takes::Text),
            ("chmod", Takes::Text),
            ("link", Takes::Boolean),
            ("keep-git-dir", Takes::Boolean),
            ("checksum", Takes::Text),
            ("unpack", Takes::Boolean),
            ("exclude", Takes::List),
        ],
    )
}

fn parse(line: &Line<'_>, known: &[(&'static str, Takes)]) -> Result<Transfer, Diagnostic> {
    let mut words = line.words()?;
    let (Some(destination), false) = (words.pop(), words.is_empty()) else {
        return Err(line.error(format!("{} needs a source and a destination", line.name)));
    };
    let flags = line.flags(known)?;
    if matches!(redirection(&destination.raw), Ok(Some(_))) {
        return Err(Diagnostic::error(destination.span, "a here-document cannot be the destination")
            .with_help("put the destination last"));
    }
    let from = flags.text("from");
    let on = |flags: &Flags, name| flags.boolean(name).is_some_and(|flag| flag.value);
    Ok(Transfer {
        sources: words.into_iter().map(|word| source(word, line.bodies)).collect(),
        destination,
        from,
        chown: flags.word("chown"),
        chmod: flags.word("chmod"),
        link: on(&flags, "link"),
        parents: on(&flags, "parents"),
        excludes: flags.list("exclude"),
        checksum: flags.word("checksum"),
        keep_git_dir: flags.boolean("keep-git-dir"),
        unpack: flags.boolean("unpack"),
    })
}

fn source(word: Word, bodies: &[Body]) -> TransferSource {
    let Ok(Some(found)) = redirection(&word.raw) else { return TransferSource::Path(word) };
    // Of several bodies with one name the last counts: they would be one file anyway.
    let body = bodies.iter().rfind(|body| body.redirection.name == found.name);
    TransferSource::Heredoc(match body {
        Some(body) => Heredoc { expand: found.expand, ..body.heredoc() },
        None => Heredoc {
            name: found.name,
            expand: found.expand,
            chomp: found.chomp,
            body: String::new(),
            span: word.span,
        },
    })
}
