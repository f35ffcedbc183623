//! BuildKit's build checks that need values: their names and messages, word for word, and what they look for.
//!
//! Checks of the text alone (casing, comments) belong to the language.

use crate::diagnostic::suggest::nearest;
use crate::diagnostic::{Diagnostic, Span};
use crate::oci::Platform;

fn did_you_mean(suggestion: Option<&str>, sigil: &str) -> String {
    suggestion.map(|name| format!(" (did you mean {sigil}{name}?)")).unwrap_or_default()
}

/// A variable without a value in an instruction.
pub(super) fn undefined_var<'a>(
    span: Span,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    let hint = did_you_mean(nearest(name, known), "$");
    Diagnostic::warning("UndefinedVar", span, format!("Usage of undefined variable '${name}'{hint}"))
}

/// A variable in FROM that no ARG before it declares.
pub(super) fn undefined_arg_in_from<'a>(
    span: Span,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    let hint = did_you_mean(nearest(name, known), "");
    Diagnostic::warning("UndefinedArgInFrom", span, format!("FROM argument '{name}' is not declared{hint}"))
}

/// A base that is no image name with the defaults of its arguments.
pub(super) fn invalid_default_arg_in_from(span: Span, base: &str) -> Diagnostic {
    let message = format!("Default value for ARG {base} results in empty or invalid base image name");
    Diagnostic::warning("InvalidDefaultArgInFrom", span, message)
}

/// `--platform=$TARGETPLATFORM`.
pub(super) fn redundant_target_platform(span: Span, written: &str) -> Diagnostic {
    let message = format!(
        "Setting platform to predefined {written} in FROM is redundant as this is the default behavior"
    );
    Diagnostic::warning("RedundantTargetPlatform", span, message)
}

/// `--platform=linux/amd64`, unless the stage's name says so too.
pub(super) fn constant_platform(span: Span, written: &str) -> Diagnostic {
    let message = format!("FROM --platform flag should not use constant value \"{written}\"");
    Diagnostic::warning("FromPlatformFlagConstDisallowed", span, message)
}

/// A base of another platform than asked for.
pub(super) fn invalid_base_image_platform(
    span: Span,
    image: &str,
    actual: &Platform,
    expected: &Platform,
) -> Diagnostic {
    let message = format!(
        "Base image {image} was pulled with platform \"{actual}\", expected \"{expected}\" for current build"
    );
    Diagnostic::warning("InvalidBaseImagePlatform", span, message)
}

/// A relative WORKDIR before any absolute one of the build.
pub(super) fn workdir_relative_path(span: Span, path: &str) -> Diagnostic {
    let message = format!("Relative workdir {path:?} can have unexpected results if the base image changes");
    Diagnostic::warning("WorkdirRelativePath", span, message)
}

/// The old `KEY VALUE` form of ENV or LABEL.
pub(super) fn legacy_key_value(span: Span, instruction: &str) -> Diagnostic {
    let message = format!(
        "\"{instruction} key=value\" should be used instead of legacy \"{instruction} key value\" format"
    );
    Diagnostic::warning("LegacyKeyValueFormat", span, message)
}

/// Shell form of CMD or ENTRYPOINT, where no SHELL chose it.
pub(super) fn json_args_recommended(span: Span, instruction: &str) -> Diagnostic {
    let message = format!(
        "JSON arguments recommended for {instruction} to prevent unintended behavior related to OS signals"
    );
    Diagnostic::warning("JSONArgsRecommended", span, message)
}

/// An instruction that a later one of the stage replaces.
pub(super) fn multiple_instructions(span: Span, instruction: &str) -> Diagnostic {
    let message = format!(
        "Multiple {instruction} instructions should not be used in the same stage because only the last one will be used"
    );
    Diagnostic::warning("MultipleInstructionsDisallowed", span, message)
}

/// EXPOSE with a protocol that is not lower-case.
pub(super) fn expose_proto_casing(span: Span, port: &str) -> Diagnostic {
    let message = format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
    Diagnostic::warning("ExposeProtoCasing", span, message)
}

/// EXPOSE with an address or a port of the host.
pub(super) fn expose_invalid_format(span: Span, port: &str) -> Diagnostic {
    let message =
        format!("EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'");
    Diagnostic::warning("ExposeInvalidFormat", span, message)
}

/// A variable whose name says that it holds a secret.
pub(super) fn secret_in_variable(span: Span, instruction: &str, name: &str) -> Option<Diagnostic> {
    names_a_secret(name).then(|| {
        let message =
            format!("Do not use ARG or ENV instructions for sensitive data ({instruction} \"{name}\")");
        Diagnostic::warning("SecretsUsedInArgOrEnv", span, message)
    })
}

/// Whole words between underscores count: `API_KEY`, `token_x`, but not `KEYBOARD`.
fn names_a_secret(name: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const PUBLIC: [&str; 3] = ["public", "file", "version"];
    let has =
        |words: &[&str]| name.split('_').any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)));
    has(&SECRET) && !has(&PUBLIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_whole_words() {
        for name in ["API_KEY", "DATABASE_PASSWORD", "token", "secret_MESSAGE", "AUTH", "apikey"] {
            assert!(names_a_secret(name), "{name}");
        }
        for name in ["KEYBOARD", "PUBLIC_KEY", "TOKEN_FILE", "KEY_VERSION", "AUTHOR", "tokens"] {
            assert!(!names_a_secret(name), "{name}");
        }
    }
}
