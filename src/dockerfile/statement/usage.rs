//! How each instruction is written: what is advised where nothing better is known.

use crate::diagnostic::Diagnostic;

/// Returns the form of the instruction `name`, in upper case.
fn form(name: &str) -> Option<&'static str> {
    Some(match name {
        "ADD" => "ADD [--FLAG=VALUE] SOURCE… DESTINATION",
        "ARG" => "ARG NAME[=DEFAULT]",
        "CMD" => r#"CMD ["PROGRAM", "ARGUMENT"]"#,
        "COPY" => "COPY [--FLAG=VALUE] SOURCE… DESTINATION",
        "ENTRYPOINT" => r#"ENTRYPOINT ["PROGRAM", "ARGUMENT"]"#,
        "ENV" => "ENV NAME=VALUE",
        "EXPOSE" => "EXPOSE PORT[/PROTOCOL]",
        "FROM" => "FROM [--platform=OS/ARCH] IMAGE [AS NAME]",
        "HEALTHCHECK" => "HEALTHCHECK [--interval=30s] CMD COMMAND",
        "LABEL" => "LABEL NAME=VALUE",
        "MAINTAINER" => "LABEL org.opencontainers.image.authors=NAME",
        "ONBUILD" => "ONBUILD INSTRUCTION",
        "RUN" => "RUN [--FLAG=VALUE] COMMAND",
        "SHELL" => r#"SHELL ["/bin/sh", "-c"]"#,
        "STOPSIGNAL" => "STOPSIGNAL SIGTERM",
        "USER" => "USER NAME[:GROUP]",
        "VOLUME" => "VOLUME PATH",
        "WORKDIR" => "WORKDIR PATH",
        _ => return None,
    })
}

/// Adds the form of the instruction to an error that advises nothing.
pub(super) fn advise(error: Diagnostic, name: &str) -> Diagnostic {
    if error.help.is_some() {
        return error;
    }
    match form(name) {
        Some(form) => error.with_help(format!("write `{form}`")),
        None => error.with_help(format!("the instructions are {}", super::NAMES.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_has_a_form() {
        for name in super::super::NAMES {
            assert!(form(name).is_some(), "{name}");
        }
    }
}
