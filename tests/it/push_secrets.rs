//! Credentials on pushes: to their own host, and into no output.

use std::path::Path;

use kiln::registry::{Certificates, Credentials, How};

use crate::pull::{Client, layer};
use crate::pull_faults::noise;
use crate::push::{assert_whole, push, stored};
use crate::support::fault::{Fault, FaultProxy, Request};
use crate::support::kiln::{Kiln, ended};
use crate::support::registry::{Options, PASSWORD, TestRegistry, USER};
use crate::support::{require, run};

/// What must never be seen: the password, the same as basic authentication sends it, and a token.
const SECRET: &str = "correct-horse-battery";
const SECRET_BASIC: &str = "dXNlcjpjb3JyZWN0LWhvcnNlLWJhdHRlcnk=";
const TOKEN: &str = "a-token-of-the-token-server";

fn config(path: &Path, host: &str, password: &str) {
    let text = format!(r#"{{"auths":{{"{host}":{{"username":"{USER}","password":"{password}"}}}}}}"#);
    std::fs::write(path, text).unwrap();
}

/// A registry that asks for [`TOKEN`], which its own token server gives to whoever knows [`SECRET`]. Reading the
/// repository `denied` is not allowed to anybody.
fn with_token_server(upstream: &str) -> FaultProxy {
    FaultProxy::start(upstream, |request, _| {
        let answer = |status, header: String, body: &str| Fault::Answer { status, header, body: body.into() };
        let json = |status, body: &str| answer(status, "Content-Type: application/json".into(), body);
        let authorization = request.authorization.as_deref();
        if request.path.starts_with("/token?") {
            let body = format!(r#"{{"token":"{TOKEN}"}}"#);
            return match authorization {
                _ if request.path.contains("denied") => json(403, r#"{"details":"not for you"}"#),
                Some(basic) if basic == format!("Basic {SECRET_BASIC}") => json(200, &body),
                _ => json(401, r#"{"details":"incorrect username or password"}"#),
            };
        }
        if authorization == Some(&format!("Bearer {TOKEN}")) {
            return Fault::None;
        }
        let challenge = format!(r#"Bearer realm="http://{}/token",service="tests""#, request.host);
        answer(401, format!("WWW-Authenticate: {challenge}"), "")
    })
}

#[test]
fn a_token_is_asked_for_with_the_scopes_of_the_push() {
    require!("docker-registry");
    let server = TestRegistry::start();
    let proxy = with_token_server(&server.host());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    config(&path, &proxy.host(), SECRET);
    let client = Client::with(|config| config.credentials = Credentials::load(&[path]).unwrap());
    let root = stored(&client, vec![layer("a", b"a")]);
    push(&client, &format!("{}/first:1", proxy.host()), &root).unwrap();
    let tokens = proxy.requests("/token?");
    assert_eq!(tokens.len(), 1, "one token for the whole push: {tokens:?}");
    assert!(tokens[0].path.contains("scope=repository%3Afirst%3Apull%2Cpush"), "{}", tokens[0].path);

    // One of the places in which the layer was seen may not be read: the other one is used.
    for place in ["first", "denied"] {
        for blob in push(&client, &format!("{}/first:1", proxy.host()), &root).unwrap().blobs {
            client
                .store
                .note_seen(&blob.digest, &format!("{}/{place}", proxy.host()).parse().unwrap())
                .unwrap();
        }
    }
    let pushed = push(&client, &format!("{}/second:1", proxy.host()), &root).unwrap();
    let from_first = |how: &How| matches!(how, How::Mounted { from } if from == "first");
    assert!(pushed.blobs.iter().all(|blob| from_first(&blob.how)), "{:?}", pushed.blobs);
    let mount = proxy.requests("/token?").into_iter().any(|request| {
        request.path.contains("scope=repository%3Afirst%3Apull&scope=repository%3Asecond%3Apull%2Cpush")
    });
    assert!(mount, "{:?}", proxy.requests("/token?"));
    let basic = |request: &Request| request.authorization.as_deref().is_some_and(|a| a.starts_with("Basic"));
    assert!(!proxy.requests("/v2/").iter().any(basic), "the password goes to the token server only");
    assert_whole(&format!("{}/second:1", server.host()), &root);
}

#[test]
fn another_host_sees_no_credential() {
    require!("docker-registry");
    let server = TestRegistry::start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let elsewhere = std::sync::Arc::new(FaultProxy::start(&server.host(), |_, _| Fault::None));
    let other = elsewhere.host();
    // Half of the hosts redirect, the other half gives the address of uploads at another host.
    for redirects in [true, false] {
        let other = other.clone();
        let asked = Fault::Answer {
            status: 401,
            header: "WWW-Authenticate: Basic realm=\"x\"".into(),
            body: String::new(),
        };
        let proxy = FaultProxy::start(&server.host(), move |request, _| {
            if request.authorization.is_none() {
                return asked.clone();
            }
            match (request.method.as_str(), request.path.contains("/blobs/")) {
                ("PUT" | "PATCH", true) if redirects => Fault::Redirect { status: 307, to: other.clone() },
                ("POST", true) if !redirects => Fault::SwapHost(other.clone()),
                _ => Fault::None,
            }
        });
        config(&path, &proxy.host(), SECRET);
        let credentials = Credentials::load(std::slice::from_ref(&path)).unwrap();
        let client = Client::with(|config| config.credentials = credentials);
        let root = stored(&client, vec![layer("a", &noise(300_000)), layer(&format!("{redirects}"), b"x")]);
        let repository = format!("redirects-{redirects}");
        push(&client, &format!("{}/{repository}:1", proxy.host()), &root).unwrap();
        assert_whole(&format!("{}/{repository}:1", server.host()), &root);
        assert!(proxy.requests("").iter().any(|request| request.authorization.is_some()));
        let uploads = elsewhere.requests(&repository);
        assert!(!uploads.is_empty(), "the bytes went to the other host");
        assert!(uploads.iter().all(|request| request.authorization.is_none()), "{uploads:?}");
    }
}

#[test]
fn a_private_authority_is_trusted_through_certs_d() {
    require!("docker-registry", "openssl");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let openssl = |line: &str| run("openssl", line.split(' '));
    openssl(&format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority -keyout {} -out {}",
        at("ca.key"),
        at("ca.crt")
    ));
    openssl(&format!(
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=host.test -keyout {} -out {}",
        at("key.pem"),
        at("csr.pem")
    ));
    std::fs::write(at("extensions"), "subjectAltName=IP:0.0.0.0").unwrap();
    openssl(&format!(
        "x509 -req -in {} -CA {} -CAkey {} -CAcreateserial -days 2 -extfile {} -out {}",
        at("csr.pem"),
        at("ca.crt"),
        at("ca.key"),
        at("extensions"),
        at("cert.pem")
    ));
    let tls = Some((at("cert.pem").into(), at("key.pem").into()));
    let server = TestRegistry::start_with(&Options { tls, ..Options::default() });
    // 127.0.0.1 is spoken to without TLS. Connecting to 0.0.0.0 reaches this machine too, and does not look it.
    let host = server.host().replace("127.0.0.1", "0.0.0.0");
    let certificates = folder.path().join("certs.d");
    std::fs::create_dir_all(certificates.join(&host)).unwrap();
    std::fs::copy(at("ca.crt"), certificates.join(&host).join("ca.crt")).unwrap();
    let trusting = Client::with(|config| config.certificates = Certificates::new(vec![certificates]));
    let root = stored(&trusting, vec![layer("a", &noise(300_000))]);
    let refused = Client::new().registry.check_push(&format!("{host}/app").parse().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("not trusted"), "{refused}");
    let pushed = push(&trusting, &format!("{host}/app:1"), &root).unwrap();
    assert!(pushed.blobs.iter().all(|blob| matches!(blob.how, How::Uploaded { .. })));
    assert!(push(&trusting, &format!("{host}/app:1"), &root).unwrap().unchanged);
}

#[test]
fn no_output_holds_a_credential() {
    require!("docker-registry");
    let server = TestRegistry::start();
    let closed = TestRegistry::start_with(&Options { password: true, ..Options::default() });
    let kiln = Kiln::new();
    kiln.write("context/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    kiln.run("build -t app context").success();
    let proxy = with_token_server(&server.host());
    std::fs::create_dir_all(kiln.at("docker")).unwrap();
    let hosts = [proxy.host(), closed.host()];
    let mut outputs = String::new();
    for password in [SECRET, PASSWORD, "wrong-but-secret"] {
        for host in &hosts {
            config(&kiln.at("docker/config.json"), host, password);
            for line in [
                format!("push app {host}/team/app:1"),
                format!("push app {host}/denied/app:1"),
                format!("build --progress plain --push -t {host}/team/app:2 context"),
                format!("build --progress rawjson --pull --build-arg X --push -t {host}/team/app:3 context"),
            ] {
                let mut command = kiln.command();
                command.args(line.split(' ')).env("DOCKER_CONFIG", kiln.at("docker"));
                command.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full").env("KILN_LOG", "trace");
                let ended = ended(&mut command);
                outputs += &format!("{line}\n{}{}\n", ended.text(), ended.stderr);
            }
        }
    }
    assert!(outputs.contains("digest: sha256:"), "some pushes work: {outputs}");
    assert!(outputs.contains("incorrect username or password"), "some are refused: {outputs}");
    for secret in
        [SECRET, SECRET_BASIC, TOKEN, "wrong-but-secret", "dXNlcjpwdw==", "dXNlcjp3cm9uZy1idXQtc2VjcmV0"]
    {
        assert!(!outputs.contains(secret), "{secret} is seen in\n{outputs}");
    }
}
