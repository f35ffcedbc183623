//! `# syntax=`: which frontends are the language that we speak.

use crate::diagnostic::Diagnostic;
use crate::dockerfile::instruction::Directives;

/// The repositories of Docker's frontend; every tag and digest of them is read natively.
const NATIVE: [&str; 2] = ["docker/dockerfile", "docker/dockerfile-upstream"];

/// Refuses a file that is written for another frontend.
pub(super) fn check(directives: &Directives) -> Result<(), Diagnostic> {
    let Some(syntax) = &directives.syntax else { return Ok(()) };
    if is_native(&syntax.value) {
        return Ok(());
    }
    let message = format!("`# syntax={}` asks for a frontend that is not built in", syntax.value);
    Err(Diagnostic::error(syntax.span, message).with_help(
        "only docker/dockerfile and docker/dockerfile-upstream are read, natively, whatever their tag",
    ))
}

fn is_native(syntax: &str) -> bool {
    let name = syntax.split_once('@').map_or(syntax, |(name, _)| name);
    let name =
        ["docker.io/", "index.docker.io/"].iter().find_map(|host| name.strip_prefix(host)).unwrap_or(name);
    let repository = name.split_once(':').map_or(name, |(repository, _)| repository);
    NATIVE.contains(&repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_frontend_is_native_whatever_its_tag() {
        for syntax in [
            "docker/dockerfile",
            "docker/dockerfile:1",
            "docker/dockerfile:1.7-labs",
            "docker.io/docker/dockerfile:1@sha256:00",
            "docker/dockerfile-upstream:master",
        ] {
            assert!(is_native(syntax), "{syntax}");
        }
        for syntax in [
            "example.com/docker/dockerfile:1",
            "docker/dockerfiles",
            "r2d4/mocker",
            "tonistiigi/dockerfile:1",
        ] {
            assert!(!is_native(syntax), "{syntax}");
        }
    }
}
