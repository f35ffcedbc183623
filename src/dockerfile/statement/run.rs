//! RUN.

use crate::diagnostic::Diagnostic;

use super::super::flags::{Flags, Takes};
use super::super::instruction::{Network, Run, Security, Spanned, Word};
use super::super::lexer::Body;
use super::super::mount;
use super::{Line, command_line};
use crate::diagnostic::suggest::nearest;

const NETWORKS: &[(&str, Network)] =
    &[("default", Network::Default), ("none", Network::None), ("host", Network::Host)];

const SECURITY: &[(&str, Security)] = &[("sandbox", Security::Sandbox), ("insecure", Security::Insecure)];

pub(super) fn parse(line: &Line<'_>) -> Result<Run, Diagnostic> {
    let command = command_line::command_line(line.command.args)?;
    let flags = line.flags(&[
        ("mount", Takes::List),
        ("network", Takes::Text),
        ("security", Takes::Text),
        ("device", Takes::List),
    ])?;
    let written = line.command.flags.iter().filter(|flag| flag.text.starts_with("--mount="));
    let mounts = flags
        .list("mount")
        .iter()
        .zip(written)
        .map(|(value, flag)| mount::parse(value, flag.written, line.escape))
        .collect::<Result<_, _>>()?;
    Ok(Run {
        command,
        heredocs: line.bodies.iter().map(Body::heredoc).collect(),
        mounts,
        network: one_of(&flags, "network", NETWORKS)?,
        security: one_of(&flags, "security", SECURITY)?,
        devices: flags
            .list("device")
            .into_iter()
            .map(|flag| Word { raw: flag.value, span: flag.span })
            .collect(),
    })
}

/// Reads a flag that takes one of a few names.
fn one_of<T: Copy>(
    flags: &Flags,
    flag: &str,
    choices: &[(&'static str, T)],
) -> Result<Option<Spanned<T>>, Diagnostic> {
    let Some(given) = flags.any(flag) else { return Ok(None) };
    if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == given.value) {
        return Ok(Some(Spanned::new(*choice, given.span)));
    }
    let names = || choices.iter().map(|(name, _)| *name);
    let error = Diagnostic::error(given.span, format!("invalid value `{}` of flag --{flag}", given.value));
    Err(error.with_help(match nearest(&given.value, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("use one of: {}", names().collect::<Vec<_>>().join(", ")),
    }))
}
