//! ONBUILD.

use crate::diagnostic::Diagnostic;

use super::super::instruction::{Instruction, Trigger};
use super::{Line, Statement, statement};

pub(super) fn parse(line: &Line<'_>) -> Result<Trigger, Diagnostic> {
    if line.command.args.is_empty() {
        return Err(line.needs_an_argument());
    }
    line.flags(&[])?;
    let inner = Line::new(line.command.args, line.bodies, line.escape);
    match inner.name.as_str() {
        "ONBUILD" => {
            return Err(Diagnostic::error(inner.command.name.span(), "ONBUILD cannot follow ONBUILD"));
        }
        "FROM" | "MAINTAINER" => {
            return Err(Diagnostic::error(
                inner.command.name.span(),
                format!("{} cannot be a trigger of ONBUILD", inner.name),
            ));
        }
        _ => {}
    }
    let kind = match statement(&inner)? {
        Statement::Instruction(kind) => kind,
        Statement::From(_) => return Err(inner.error("FROM cannot be a trigger of ONBUILD")),
    };
    let mut text = line.rest.as_str().to_owned();
    for body in line.bodies {
        text.push('\n');
        text += &body.text;
        text += &body.redirection.name;
    }
    let instruction = Instruction {
        kind,
        span: line.command.args.span(),
        text: line.command.args.as_str().to_owned(),
        doc: None,
    };
    Ok(Trigger { text, instruction: Box::new(instruction) })
}
