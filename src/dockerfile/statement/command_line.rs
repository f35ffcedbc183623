//! CMD, ENTRYPOINT, SHELL and HEALTHCHECK: instructions around a command line.

use crate::diagnostic::Diagnostic;

use super::super::duration::nanoseconds;
use super::super::flags::{Flags, Takes};
use super::super::instruction::{CommandLine, Healthcheck, Word};
use super::super::json;
use super::super::text::Fragment;
use super::Line;

/// The shortest time that a health check may be told to wait, in nanoseconds.
const SHORTEST: i64 = 1_000_000;

/// Reads the exec form, or else everything as the shell form.
pub(super) fn command_line(args: Fragment<'_>) -> Result<CommandLine, Diagnostic> {
    Ok(match json::array(args)? {
        Some(words) => CommandLine::Exec(texts(words)),
        None => CommandLine::Shell(args.as_str().to_owned()),
    })
}

fn texts(words: Vec<Word>) -> Vec<String> {
    words.into_iter().map(|word| word.raw).collect()
}

/// CMD and ENTRYPOINT.
pub(super) fn without_flags(line: &Line<'_>) -> Result<CommandLine, Diagnostic> {
    let command = command_line(line.command.args)?;
    line.flags(&[])?;
    Ok(command)
}

/// SHELL takes the exec form only.
pub(super) fn shell(line: &Line<'_>) -> Result<Vec<String>, Diagnostic> {
    let words = json::array(line.command.args)?;
    line.flags(&[])?;
    match words {
        Some(words) if !words.is_empty() => Ok(texts(words)),
        None if !line.command.args.is_empty() => {
            Err(Diagnostic::error(line.command.args.span(), "SHELL needs its arguments as a JSON array")
                .with_help(r#"for example `SHELL ["/bin/bash", "-c"]`"#))
        }
        _ => Err(line.needs_an_argument()),
    }
}

pub(super) fn healthcheck(line: &Line<'_>) -> Result<Healthcheck, Diagnostic> {
    if line.command.args.is_empty() {
        return Err(line.needs_an_argument());
    }
    let (kind, rest) = line.command.args.split_once_blank();
    let rest = rest.unwrap_or_else(|| kind.from(kind.as_str().len()));
    let command = command_line(rest)?;
    match kind.as_str().to_ascii_uppercase().as_str() {
        "NONE" if rest.is_empty() => return Ok(Healthcheck::None),
        "NONE" => return Err(Diagnostic::error(rest.span(), "HEALTHCHECK NONE takes no arguments")),
        _ => {}
    }
    let flags = line.flags(&[
        ("interval", Takes::Text),
        ("timeout", Takes::Text),
        ("start-period", Takes::Text),
        ("start-interval", Takes::Text),
        ("retries", Takes::Text),
    ])?;
    if !kind.as_str().eq_ignore_ascii_case("CMD") {
        return Err(Diagnostic::error(
            kind.span(),
            format!("unknown kind `{}` of HEALTHCHECK", kind.as_str()),
        )
        .with_help("write `HEALTHCHECK [flags] CMD command` or `HEALTHCHECK NONE`"));
    }
    let missing = match &command {
        CommandLine::Exec(words) => words.is_empty(),
        CommandLine::Shell(text) => text.is_empty(),
    };
    if missing {
        return Err(line.error("no command after HEALTHCHECK CMD"));
    }
    Ok(Healthcheck::Check {
        command,
        interval: interval(&flags, "interval")?,
        timeout: interval(&flags, "timeout")?,
        start_period: interval(&flags, "start-period")?,
        start_interval: interval(&flags, "start-interval")?,
        retries: retries(&flags)?,
    })
}

/// Reads a duration flag; not given means 0, which means inherit.
fn interval(flags: &Flags, name: &str) -> Result<i64, Diagnostic> {
    let Some(given) = flags.text(name) else { return Ok(0) };
    match nanoseconds(&given.value) {
        None => Err(Diagnostic::error(given.span, format!("invalid duration `{}`", given.value))
            .with_help("use a number with a unit, for example `30s` or `1m30s`")),
        Some(duration) if duration != 0 && duration < SHORTEST => {
            Err(Diagnostic::error(given.span, format!("flag --{name} cannot be less than 1ms")))
        }
        Some(duration) => Ok(duration),
    }
}

fn retries(flags: &Flags) -> Result<i64, Diagnostic> {
    let Some(given) = flags.text("retries") else { return Ok(0) };
    match given.value.parse::<i32>() {
        Ok(retries @ 0..) => Ok(retries.into()),
        Ok(_) => Err(Diagnostic::error(given.span, "flag --retries cannot be negative")),
        Err(_) => Err(Diagnostic::error(given.span, format!("invalid number `{}`", given.value))),
    }
}
