//! One logical line becomes one typed instruction: a module per family.
//!
//! The checks are those that need no variable; an instruction has at most one error, the first.

mod command_line;
mod from;
mod onbuild;
mod pairs;
mod run;
mod settings;
mod transfer;
mod usage;

use crate::diagnostic::Diagnostic;

use super::command::Command;
use super::flags::{Flags, Takes};
use super::instruction::{From, Kind, Word};
use super::json;
use super::lexer::{Body, LogicalLine};
use super::text::Fragment;
use crate::diagnostic::suggest::nearest;

/// The names of all instructions.
pub(super) const NAMES: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What a line says.
pub(super) enum Statement {
    /// A new stage begins.
    From(From),
    /// Everything else.
    Instruction(Kind),
}

/// A line on its way to an instruction.
struct Line<'a> {
    /// The upper-case name.
    name: String,
    command: Command<'a>,
    /// The text after the name, flags included, blanks at its end included.
    rest: Fragment<'a>,
    bodies: &'a [Body],
    escape: char,
}

/// Reads a logical line.
pub(super) fn parse(line: &LogicalLine, escape: char) -> Result<Statement, Diagnostic> {
    let line = Line::new(line.text.fragment(), &line.bodies, escape);
    statement(&line).map_err(|error| usage::advise(error, &line.name))
}

/// Tells whether a line can be taken apart into words, as far as that is the business of its instruction: whatever
/// those words may mean.
pub(super) fn can_be_split(line: &LogicalLine, escape: char) -> bool {
    can_split(&Line::new(line.text.fragment(), &line.bodies, escape))
}

fn can_split(line: &Line<'_>) -> bool {
    let args = line.command.args;
    match line.name.as_str() {
        "ENV" | "LABEL" => pairs::can_split(line),
        "ADD" | "CMD" | "COPY" | "ENTRYPOINT" | "RUN" | "SHELL" | "VOLUME" => json::array(args).is_ok(),
        "HEALTHCHECK" => args.split_once_blank().1.is_none_or(|rest| json::array(rest).is_ok()),
        "ONBUILD" => args.is_empty() || can_split(&Line::new(args, line.bodies, line.escape)),
        _ => true,
    }
}

fn statement(line: &Line<'_>) -> Result<Statement, Diagnostic> {
    let kind = match line.name.as_str() {
        "FROM" => return from::parse(line).map(Statement::From),
        "ADD" => Kind::Add(transfer::add(line)?),
        "ARG" => Kind::Arg(pairs::arg(line)?),
        "CMD" => Kind::Cmd(command_line::without_flags(line)?),
        "COPY" => Kind::Copy(transfer::copy(line)?),
        "ENTRYPOINT" => Kind::Entrypoint(command_line::without_flags(line)?),
        "ENV" => Kind::Env(pairs::key_values(line)?),
        "EXPOSE" => Kind::Expose(settings::expose(line)?),
        "HEALTHCHECK" => Kind::Healthcheck(command_line::healthcheck(line)?),
        "LABEL" => Kind::Label(pairs::key_values(line)?),
        "MAINTAINER" => Kind::Maintainer(settings::one_text(line)?),
        "ONBUILD" => Kind::Onbuild(onbuild::parse(line)?),
        "RUN" => Kind::Run(run::parse(line)?),
        "SHELL" => Kind::Shell(command_line::shell(line)?),
        "STOPSIGNAL" => Kind::Stopsignal(settings::one_text_any_flags(line)?),
        "USER" => Kind::User(settings::one_text(line)?),
        "VOLUME" => Kind::Volume(settings::volume(line)?),
        "WORKDIR" => Kind::Workdir(settings::one_text(line)?),
        _ => return Err(unknown(line)),
    };
    Ok(Statement::Instruction(kind))
}

fn unknown(line: &Line<'_>) -> Diagnostic {
    let written = line.command.name.as_str();
    let error = Diagnostic::error(line.command.name.span(), format!("unknown instruction `{written}`"));
    match nearest(&line.name, NAMES.iter().copied()) {
        Some(near) if written.chars().any(char::is_uppercase) => {
            error.with_help(format!("did you mean `{near}`?"))
        }
        Some(near) => error.with_help(format!("did you mean `{}`?", near.to_lowercase())),
        None => error,
    }
}

impl<'a> Line<'a> {
    fn new(whole: Fragment<'a>, bodies: &'a [Body], escape: char) -> Self {
        let command = Command::split(whole, escape);
        let text = whole.as_str();
        let after = text.len() - text.trim_start().len() + command.name.as_str().len();
        let blanks = text[after..].len() - text[after..].trim_start().len();
        Self {
            name: command.name.as_str().to_uppercase(),
            rest: whole.from(after + blanks),
            command,
            bodies,
            escape,
        }
    }

    /// Checks the flags against those that the instruction knows.
    fn flags(&self, known: &[(&'static str, Takes)]) -> Result<Flags, Diagnostic> {
        Flags::parse(&self.command.flags, known)
    }

    /// Makes an error about the whole line.
    fn error(&self, message: impl Into<String>) -> Diagnostic {
        let all =
            if self.command.args.is_empty() { self.command.name.span() } else { self.command.args.span() };
        Diagnostic::error(self.command.name.span().to(all), message)
    }

    fn needs_an_argument(&self) -> Diagnostic {
        self.error(format!("{} needs at least one argument", self.name))
    }

    /// Returns the arguments of the exec form, or else those between blanks.
    fn words(&self) -> Result<Vec<Word>, Diagnostic> {
        Ok(match json::array(self.command.args)? {
            Some(words) => words,
            None => self.command.args.split_blanks().into_iter().map(Fragment::word).collect(),
        })
    }
}
