//! A compact printed form of a file, for snapshots, and the list of its spans.

use std::fmt::Write as _;

use super::super::instruction::*;
use crate::diagnostic::Span;

/// Prints one line per instruction, its details below it.
pub(super) fn dockerfile(file: &Dockerfile) -> String {
    let mut out = String::new();
    let directives = &file.directives;
    if let Some(syntax) = &directives.syntax {
        writeln!(out, "# syntax {}", syntax.value).unwrap();
    }
    if let Some(escape) = &directives.escape {
        writeln!(out, "# escape {}", escape.value).unwrap();
    }
    if let Some(check) = &directives.check {
        writeln!(out, "# check {}", check.value).unwrap();
    }
    for instruction in &file.global_args {
        print(&mut out, "", file, instruction);
    }
    for stage in &file.stages {
        let name = stage.from.name.as_ref().map(|name| format!(" as {}", name.value)).unwrap_or_default();
        let platform =
            stage.from.platform.as_ref().map(|word| format!(" platform {}", word.raw)).unwrap_or_default();
        let doc = stage.doc.as_ref().map(|doc| format!(" ({doc})")).unwrap_or_default();
        writeln!(
            out,
            "{}: FROM {:?}{name}{platform}{doc}",
            file.source.line(stage.span.start),
            stage.from.image.raw
        )
        .unwrap();
        for instruction in &stage.instructions {
            print(&mut out, "  ", file, instruction);
        }
    }
    out
}

fn print(out: &mut String, indent: &str, file: &Dockerfile, instruction: &Instruction) {
    let (first, last) =
        (file.source.line(instruction.span.start), file.source.line(instruction.span.end - 1));
    let lines = if first == last { first.to_string() } else { format!("{first}-{last}") };
    let doc =
        instruction.doc.as_ref().map(|doc| format!(" ({})", doc.replace('\n', "; "))).unwrap_or_default();
    writeln!(out, "{indent}{lines}: {}{doc}", kind(&instruction.kind)).unwrap();
    if let Kind::Onbuild(trigger) = &instruction.kind {
        print(out, &format!("{indent}  "), file, &trigger.instruction);
    }
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Add(add) => format!("ADD {}", transfer(add)),
        Kind::Copy(copy) => format!("COPY {}", transfer(copy)),
        Kind::Arg(declarations) => {
            let one = |arg: &ArgDeclaration| match &arg.default {
                Some(default) => format!("{} = {:?}", arg.name.value, default.raw),
                None => arg.name.value.clone(),
            };
            format!("ARG {}", declarations.iter().map(one).collect::<Vec<_>>().join(", "))
        }
        Kind::Cmd(command) => format!("CMD {command:?}"),
        Kind::Entrypoint(command) => format!("ENTRYPOINT {command:?}"),
        Kind::Env(pairs) => format!("ENV {}", key_values(pairs)),
        Kind::Label(pairs) => format!("LABEL {}", key_values(pairs)),
        Kind::Expose(ports) => format!("EXPOSE {:?}", raws(ports)),
        Kind::Volume(volumes) => format!("VOLUME {:?}", raws(volumes)),
        Kind::Healthcheck(check) => format!("HEALTHCHECK {check:?}"),
        Kind::Maintainer(text) => format!("MAINTAINER {:?}", text.raw),
        Kind::Stopsignal(text) => format!("STOPSIGNAL {:?}", text.raw),
        Kind::User(text) => format!("USER {:?}", text.raw),
        Kind::Workdir(text) => format!("WORKDIR {:?}", text.raw),
        Kind::Shell(words) => format!("SHELL {words:?}"),
        Kind::Onbuild(trigger) => format!("ONBUILD {:?}", trigger.text),
        Kind::Run(run) => {
            let mut parts = vec![format!("RUN {:?}", run.command)];
            parts.extend(run.network.as_ref().map(|network| format!("network {:?}", network.value)));
            parts.extend(run.security.as_ref().map(|security| format!("security {:?}", security.value)));
            parts.extend(run.devices.iter().map(|device| format!("device {:?}", device.raw)));
            parts.extend(
                run.mounts.iter().map(|mount| format!("mount {:?} {:?}", mount.kind, mount.text.raw)),
            );
            parts.extend(run.heredocs.iter().map(heredoc));
            parts.join(", ")
        }
    }
}

fn transfer(transfer: &Transfer) -> String {
    let source = |source: &TransferSource| match source {
        TransferSource::Path(path) => format!("{:?}", path.raw),
        TransferSource::Heredoc(one) => heredoc(one),
    };
    let sources: Vec<_> = transfer.sources.iter().map(source).collect();
    let mut parts = vec![format!("{} -> {:?}", sources.join(" "), transfer.destination.raw)];
    parts.extend(transfer.from.as_ref().map(|from| format!("from {:?}", from.value)));
    let words = [("chown", &transfer.chown), ("chmod", &transfer.chmod), ("checksum", &transfer.checksum)];
    parts.extend(words.iter().filter_map(|(name, word)| Some(format!("{name} {:?}", word.as_ref()?.raw))));
    parts.extend(transfer.link.then(|| "link".to_owned()));
    parts.extend(transfer.parents.then(|| "parents".to_owned()));
    parts.extend(transfer.excludes.iter().map(|exclude| format!("exclude {:?}", exclude.value)));
    parts.extend(transfer.keep_git_dir.as_ref().map(|flag| format!("keep-git-dir {}", flag.value)));
    parts.extend(transfer.unpack.as_ref().map(|flag| format!("unpack {}", flag.value)));
    parts.join(", ")
}

fn heredoc(heredoc: &Heredoc) -> String {
    let expand = if heredoc.expand { "" } else { " raw" };
    format!("<<{}{expand} {:?}", heredoc.name, heredoc.body)
}

fn key_values(pairs: &[KeyValue]) -> String {
    let one = |pair: &KeyValue| {
        format!("{:?}{}{:?}", pair.key.raw, if pair.legacy { " " } else { "=" }, pair.value.raw)
    };
    pairs.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn raws(words: &[Word]) -> Vec<&str> {
    words.iter().map(|word| word.raw.as_str()).collect()
}

/// Returns every span of a file, found in its debug form so that none is forgotten.
pub(super) fn spans(file: &Dockerfile) -> Vec<Span> {
    let text = format!("{:?} {:?} {:?}", file.directives, file.global_args, file.stages);
    let number = |text: &str| {
        text.split(|char: char| !char.is_ascii_digit()).next().and_then(|digits| digits.parse().ok())
    };
    text.split("Span { start: ")
        .skip(1)
        .filter_map(|rest| Some(Span::new(number(rest)?, number(rest.split_once("end: ")?.1)?)))
        .collect()
}
