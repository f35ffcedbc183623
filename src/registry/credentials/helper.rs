//! Credential helpers: programs `docker-credential-NAME` that keep secrets elsewhere (the protocol of
//! docker-credential-helpers: a verb as argument, the server or a JSON object on standard input).

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::json;

use super::super::error::{Error, excerpt};
use super::Credential;

/// The user name with which a helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// What `docker-credential-NAME get` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Returns the program that a credentials file calls `name`.
pub(super) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// Asks for what is kept for `server`; `host` is for messages.
pub(super) fn get(program: &str, host: &str, server: &str) -> Result<Option<Credential>, Error> {
    let Some(said) = run(program, "get", server, host)? else { return Ok(None) };
    let answer: HelperAnswer =
        serde_json::from_slice(&said).map_err(|_| failed(program, host, "its answer is not JSON".into()))?;
    Ok(Some(match answer.username.as_str() {
        TOKEN_USER => Credential::IdentityToken(answer.secret),
        _ => Credential::Password { user: answer.username, password: answer.secret },
    }))
}

/// Hands a password over.
pub(super) fn store(program: &str, server: &str, user: &str, password: &str) -> Result<(), Error> {
    let input = json!({ "ServerURL": server, "Username": user, "Secret": password }).to_string();
    run(program, "store", &input, server).map(|_| ())
}

/// Has what is kept for `server` removed; nothing there is no failure.
pub(super) fn erase(program: &str, server: &str) -> Result<(), Error> {
    run(program, "erase", server, server).map(|_| ())
}

/// Runs a verb and returns what the program printed; `None` if it says that it knows nothing of the server.
fn run(program: &str, verb: &str, input: &str, host: &str) -> Result<Option<Vec<u8>>, Error> {
    let failed = |reason: String| failed(program, host, reason);
    let mut child = Command::new(program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let asked = child.stdin.take().expect("stdin is piped").write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        // Helpers print their errors on stdout.
        let said = excerpt(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
        return if said.contains("credentials not found") { Ok(None) } else { Err(failed(said)) };
    }
    asked.map_err(|error| failed(error.to_string()))?;
    Ok(Some(output.stdout))
}

fn failed(program: &str, host: &str, reason: String) -> Error {
    Error::Helper { program: program.to_owned(), host: host.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Password { user: user.into(), password: password.into() })
    }

    #[test]
    fn a_helper_answers_in_its_own_way() {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/registry/docker-credential-test");
        let ask = |server| get(program, "h.example", server);
        assert!(ask("password.example").unwrap() == password("u", "p"));
        assert!(ask("token.example").unwrap() == Some(Credential::IdentityToken("t".into())));
        assert!(ask("unknown.example").unwrap().is_none());
        for (server, reason) in [("locked.example", "locked"), ("broken.example", "not JSON")] {
            let error = ask(server).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(reason), "{server}: {error}");
        }
    }
}
