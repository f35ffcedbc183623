//! `kiln login` and `kiln logout` with real registries, and with a token server.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use crate::support::fault::{Fault, FaultProxy};
use crate::support::kiln::{Ended, Kiln, ended};
use crate::support::registry::{Options, PASSWORD, TestRegistry, USER};
use crate::support::require;

/// Runs a command line with a text on standard input.
fn with_input(kiln: &Kiln, line: &str, input: &str) -> Ended {
    kiln.write("input", input);
    let stdin = std::fs::File::open(kiln.at("input")).unwrap();
    ended(kiln.command().args(line.split(' ')).stdin(Stdio::from(stdin)))
}

fn password_registry() -> TestRegistry {
    TestRegistry::start_with(&Options { password: true, ..Options::default() })
}

#[test]
fn a_password_is_checked_before_it_is_kept() {
    require!("docker-registry");
    let (server, kiln) = (password_registry(), Kiln::new());
    let host = server.host();
    let before = "{\n\t\"proxies\": {\"default\": {}},\n\t\"detachKeys\": \"ctrl-e\"\n}";
    kiln.write("home/.docker/config.json", before);

    let wrong = with_input(&kiln, &format!("login -u {USER} --password-stdin {host}"), "wr0ng-secret");
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains("unauthorized") && wrong.stdout.is_empty(), "{wrong:?}");
    assert!(!wrong.stderr.contains("wr0ng-secret"), "{wrong:?}");
    let path = kiln.at("home/.docker/config.json");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before, "nothing is kept");

    let right =
        with_input(&kiln, &format!("login -u {USER} --password-stdin {host}"), &format!("{PASSWORD}\n"));
    let right = right.success();
    assert_eq!(right.text(), "Login Succeeded\n");
    assert!(right.stderr.contains("stored unencrypted in"), "{}", right.stderr);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("{\n\t\"proxies\": {\"default\": {}},\n\t\"detachKeys\": \"ctrl-e\","),
        "{text}"
    );
    assert!(text.contains(r#""auth": "dXNlcjpwdw==""#), "without the line end: {text}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    kiln.run(&format!("login {host}")).success();

    let tags = kiln.run(&format!("tags {host}/none"));
    assert!(tags.stderr.contains("has no none"), "the password is used: {tags:?}");

    let out = kiln.run(&format!("logout https://{host}/v2/")).success();
    assert_eq!(out.text(), format!("Removing login credentials for {host}\n"));
    let tags = kiln.run(&format!("tags {host}/none"));
    assert!(tags.stderr.contains("kiln login"), "{tags:?}");
}

#[test]
fn login_says_what_it_lacks() {
    let kiln = Kiln::new();
    for (line, code, said) in [
        ("login --password-stdin localhost:1", 1, "--username"),
        ("login -u u localhost:1", 1, "non TTY"),
        ("login -u u -p p --password-stdin localhost:1", 125, "cannot be used with"),
        ("login -u u -p pass-w0rd 127.0.0.1:1", 1, "--password via the CLI is insecure"),
        ("login -u u --password-stdin localhost:1", 1, "password is empty"),
    ] {
        let ended = kiln.run(line);
        assert_eq!(ended.code, Some(code), "{line}: {ended:?}");
        assert!(ended.stderr.contains(said), "{line}: {ended:?}");
        assert!(!ended.stderr.contains("pass-w0rd"), "{ended:?}");
    }
}

#[test]
fn a_helper_keeps_the_password_instead_of_the_file() {
    require!("docker-registry");
    let (server, kiln) = (password_registry(), Kiln::new());
    let host = server.host();
    let kept = kiln.at("kept");
    kiln.write(
        "bin/docker-credential-fake",
        format!(
            "#!/bin/sh\ncase $1 in\nstore) cat > {0} ;;\nget) read -r s; [ -f {0} ] || {{ echo 'credentials not found in native keychain'; exit 1; }}; cat {0} ;;\nerase) read -r s; echo \"$s\" > {0}.erased; rm -f {0} ;;\nesac\n",
            kept.display()
        ),
    );
    let program = kiln.at("bin/docker-credential-fake");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", kiln.at("bin").display(), std::env::var("PATH").unwrap());
    let run = |line: &str| ended(kiln.command().env("PATH", &path).args(line.split(' ')));
    for config in
        [r#"{"credsStore": "fake"}"#.to_owned(), format!(r#"{{"credHelpers": {{"{host}": "fake"}}}}"#)]
    {
        kiln.write("home/.docker/config.json", &config);
        let login = run(&format!("login -u {USER} -p {PASSWORD} {host}")).success();
        assert!(!login.stderr.contains("unencrypted"), "{login:?}");
        let given: serde_json::Value = serde_json::from_slice(&std::fs::read(&kept).unwrap()).unwrap();
        assert_eq!(given, serde_json::json!({"ServerURL": host, "Username": USER, "Secret": PASSWORD}));
        let text = std::fs::read_to_string(kiln.at("home/.docker/config.json")).unwrap();
        assert!(text.contains(&format!("\"{host}\": {{}}")) && !text.contains("dXNlcjpwdw"), "{text}");
        assert!(run(&format!("tags {host}/none")).stderr.contains("has no none"));
        run(&format!("logout {host}")).success();
        assert_eq!(std::fs::read_to_string(kiln.at("kept.erased")).unwrap(), format!("{host}\n"));
        assert!(run(&format!("tags {host}/none")).stderr.contains("kiln login"));
    }
}

#[test]
fn the_environment_goes_before_the_file() {
    require!("docker-registry");
    let (server, kiln) = (password_registry(), Kiln::new());
    let host = server.host();
    kiln.write(
        "home/.docker/config.json",
        format!(r#"{{"auths": {{"{host}": {{"auth": "dXNlcjp3cm9uZw=="}}}}}}"#),
    );
    let tags = format!("tags {host}/none");
    assert!(kiln.run(&tags).stderr.contains("kiln login"));
    let auths = format!(r#"{{"auths": {{"{host}": {{"auth": "dXNlcjpwdw=="}}}}}}"#);
    let run = |line: &str| ended(kiln.command().env("DOCKER_AUTH_CONFIG", &auths).args(line.split(' ')));
    assert!(run(&tags).stderr.contains("has no none"));
    let info = run("info").success();
    assert!(info.text().contains("DOCKER_AUTH_CONFIG") && !info.text().contains("dXNl"), "{}", info.text());
    let broken = ended(kiln.command().env("DOCKER_AUTH_CONFIG", "s3cret").args(tags.split(' ')));
    assert!(broken.stderr.contains("DOCKER_AUTH_CONFIG") && !broken.stderr.contains("s3cret"), "{broken:?}");
}

/// A registry with a token server that takes one password.
fn token_registry() -> FaultProxy {
    FaultProxy::start("127.0.0.1:1", |request, _| {
        let answer = |status, header: String, body: &str| Fault::Answer { status, header, body: body.into() };
        let authorization = request.authorization.as_deref();
        match (request.path.starts_with("/token?"), authorization) {
            (true, Some("Basic dXNlcjpwdw==")) => answer(200, "X-A: 1".into(), r#"{"token":"good"}"#),
            (true, _) => answer(401, "X-A: 1".into(), r#"{"details":"incorrect username or password"}"#),
            (false, Some("Bearer good")) => answer(200, "X-A: 1".into(), "{}"),
            (false, _) => {
                let realm = format!(r#"Bearer realm="http://{}/token",service="tests""#, request.host);
                answer(401, format!("WWW-Authenticate: {realm}"), "")
            }
        }
    })
}

#[test]
fn a_token_server_checks_the_password() {
    let (server, kiln) = (token_registry(), Kiln::new());
    let host = server.host();
    let wrong = with_input(&kiln, &format!("login -u {USER} --password-stdin {host}"), "no");
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("incorrect username or password"), "{wrong:?}");
    assert!(!kiln.at("home/.docker/config.json").exists());
    with_input(&kiln, &format!("login -u {USER} --password-stdin {host}"), PASSWORD).success();
    let versions = server.requests("/v2/");
    let basic = |text: &String| text.starts_with("Basic");
    assert!(
        !versions.iter().any(|request| request.authorization.as_ref().is_some_and(basic)),
        "{versions:?}"
    );
}
