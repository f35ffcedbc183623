//! How hosts are spoken to: authorities, client certificates, proxies, and what a redirect's host gets to see.

use std::sync::atomic::{AtomicUsize, Ordering};

use kiln::registry::{Certificates, Credentials, Error, Problem};

use crate::pull::{Client, hosts, layer};
use crate::support::fault::{Fault, FaultProxy};
use crate::support::kiln::{Kiln, ended};
use crate::support::pki::{Authority, Proxy, tls_before};
use crate::support::registry::{Options, PASSWORD, TestRegistry, USER};
use crate::support::{bases, push, require};

/// Pushes an image of one layer as `team/app:1`.
fn fill(server: &TestRegistry) {
    let layout = server.folder().join("layout");
    bases::write_layout(&layout, "1", &[bases::Image::new(vec![layer("a", b"a")])]);
    push(&layout, "1", &format!("{}/team/app:1", server.host()), None);
}

/// 127.0.0.1 is spoken to without TLS. Connecting to 0.0.0.0 reaches this machine too, and does not look it.
fn far(server: &TestRegistry) -> String {
    server.host().replace("127.0.0.1", "0.0.0.0")
}

const NAMES: &str = "IP:127.0.0.1,IP:0.0.0.0,DNS:registry.test";

/// A registry that speaks TLS, with a certificate that `authority` issued.
fn with_tls(authority: &Authority, options: Options) -> TestRegistry {
    TestRegistry::start_with(&Options { tls: Some(authority.issue("server", NAMES)), ..options })
}

#[test]
fn an_authority_is_trusted_for_its_host_where_docker_and_containers_keep_it() {
    require!("docker-registry", "skopeo", "openssl");
    let kiln = Kiln::new();
    let authority = Authority::new(&kiln.at(""));
    let server = with_tls(&authority, Options::default());
    fill(&server);
    let name = format!("{}/team/app:1", far(&server));
    let refused = kiln.run(&format!("pull {name}"));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("certs.d") && refused.stderr.contains("not trusted"), "{refused:?}");
    for folder in ["containers", "docker"] {
        let file = format!("home/.config/{folder}/certs.d/{}/ca.crt", far(&server));
        kiln.write(&file, std::fs::read(authority.certificate()).unwrap());
        kiln.run(&format!("pull {name}")).success();
        assert!(kiln.run("info").success().text().contains(&format!("{folder}/certs.d")));
        std::fs::remove_dir_all(kiln.at(&format!("home/.config/{folder}"))).unwrap();
    }
    // For another host it counts nothing.
    kiln.write(
        "home/.config/containers/certs.d/other.test/ca.crt",
        std::fs::read(authority.certificate()).unwrap(),
    );
    assert_eq!(kiln.run(&format!("pull {name}")).code, Some(1));

    let pull = |file: &std::path::Path| {
        ended(kiln.command().env("SSL_CERT_FILE", file).args(["pull", "-q", &name])).code
    };
    assert_eq!(pull(&authority.certificate()), Some(0));
    let other = Kiln::new();
    assert_eq!(pull(&Authority::new(&other.at("")).certificate()), Some(1));
}

#[test]
fn a_client_certificate_is_shown_to_the_host_that_it_is_for() {
    require!("docker-registry", "skopeo", "openssl");
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let client_authority = Some(authority.certificate());
    let server = with_tls(&authority, Options { client_authority, ..Options::default() });
    let name = format!("{}/team/app:1", far(&server));
    let certs = folder.path().join("certs.d");
    let own = certs.join(far(&server));
    std::fs::create_dir_all(&own).unwrap();
    std::fs::copy(authority.certificate(), own.join("ca.crt")).unwrap();
    let resolve =
        || Client::with(|config| config.certificates = Certificates::new(vec![certs.clone()])).resolve(&name);
    let refused = resolve().unwrap_err();
    assert!(matches!(refused, Error::Network { .. }), "no certificate, no answer: {refused:?}");
    let (certificate, key) = authority.issue("client", "DNS:client.test");
    std::fs::copy(certificate, own.join("client.cert")).unwrap();
    std::fs::copy(key, own.join("client.key")).unwrap();
    assert_eq!(resolve().unwrap_err().status(), Some(404), "it is let in, and has no image");
}

#[test]
fn a_proxy_of_the_environment_is_asked_for_far_hosts_only() {
    require!("docker-registry", "skopeo", "openssl");
    let kiln = Kiln::new();
    let authority = Authority::new(&kiln.at(""));
    let server = with_tls(&authority, Options::default());
    fill(&server);
    let proxy = Proxy::start(&server.host());
    // Only the proxy knows where this is.
    let name = "registry.test:7777/team/app:1";
    let run = |no_proxy: &str, line: &str| {
        let mut command = kiln.command();
        command.env("SSL_CERT_FILE", authority.certificate()).env("NO_PROXY", no_proxy);
        command.env("HTTPS_PROXY", format!("http://u:pr0xy-secret@127.0.0.1:{}", proxy.port));
        ended(command.args(line.split(' ')))
    };
    run("", &format!("pull {name}")).success();
    assert!(
        proxy.asked().iter().all(|line| line == "CONNECT registry.test:7777 HTTP/1.1"),
        "{:?}",
        proxy.asked()
    );
    let before = proxy.asked().len();
    assert!(before > 0);
    assert_eq!(run("registry.test", &format!("pull {name}")).code, Some(1));
    let plain = TestRegistry::start();
    assert!(run("", &format!("tags {}/none", plain.host())).stderr.contains("has no none"));
    assert_eq!(proxy.asked().len(), before, "neither an exception nor this machine itself");
    let info = run("", "info").success();
    assert!(info.text().contains("HTTPS_PROXY=http://****@127.0.0.1"), "{}", info.text());
    assert!(!info.text().contains("pr0xy-secret"));
}

/// A client that knows the password of `host`.
fn with_password(host: &str) -> Client {
    Client::with(|config| config.credentials = Credentials::only(host, USER, PASSWORD))
}

fn is_blob(path: &str) -> bool {
    path.contains("/blobs/")
}

fn to(location: String) -> Fault {
    Fault::Answer { status: 307, header: format!("Location: {location}"), body: String::new() }
}

#[test]
fn a_redirects_host_sees_no_credential() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    fill(&server);
    let elsewhere = FaultProxy::start(&server.host(), |_, _| Fault::None);
    let other = elsewhere.host();
    let own = FaultProxy::start(&server.host(), move |request, _| match &request.authorization {
        None => Fault::Answer {
            status: 401,
            header: "WWW-Authenticate: Basic realm=x".into(),
            body: String::new(),
        },
        Some(_) if is_blob(&request.path) => to(format!("http://{other}{}", request.path)),
        Some(_) => Fault::None,
    });
    let client = with_password(&own.host());
    let image = client.resolve(&format!("{}/team/app:1", own.host())).unwrap();
    client.fetch(&image).unwrap();
    let seen = elsewhere.requests("/blobs/");
    assert_eq!(seen.len(), 2, "config and layer");
    assert!(seen.iter().all(|request| request.authorization.is_none()), "{seen:?}");
    assert!(own.requests("/manifests/").iter().any(|request| request.authorization.is_some()));
}

#[test]
fn a_redirects_host_names_no_token_server() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    fill(&server);
    let thief = FaultProxy::start("127.0.0.1:1", |_, _| Fault::Status(200));
    let realm = format!(r#"WWW-Authenticate: Bearer realm="http://{}/token",service="s""#, thief.host());
    let elsewhere = FaultProxy::start("127.0.0.1:1", move |_, _| Fault::Answer {
        status: 401,
        header: realm.clone(),
        body: String::new(),
    });
    let other = elsewhere.host();
    let own = FaultProxy::start(&server.host(), move |request, _| {
        if is_blob(&request.path) { to(format!("http://{other}/x")) } else { Fault::None }
    });
    let refused = with_password(&own.host()).resolve(&format!("{}/team/app:1", own.host())).unwrap_err();
    assert_eq!(refused.status(), Some(401), "{refused}");
    assert!(!elsewhere.requests("/x").is_empty());
    assert!(thief.requests("").is_empty(), "{:?}", thief.requests(""));
}

#[test]
fn a_mirror_sees_no_credential_of_the_registry() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    fill(&server);
    let mirror = FaultProxy::start("127.0.0.1:1", |_, _| Fault::Answer {
        status: 401,
        header: "WWW-Authenticate: Basic realm=x".into(),
        body: String::new(),
    });
    let client = Client::with(|config| {
        config.hosts = hosts(&format!(
            "[[registry]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{}'\n",
            server.host(),
            mirror.host()
        ));
        config.credentials = Credentials::only(&server.host(), USER, PASSWORD);
    });
    client.resolve(&format!("{}/team/app:1", server.host())).unwrap();
    assert!(!mirror.requests("").is_empty());
    assert!(mirror.requests("").iter().all(|request| request.authorization.is_none()));
}

#[test]
fn nothing_leads_from_tls_to_plain_http() {
    require!("docker-registry", "skopeo", "openssl");
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let server = TestRegistry::start();
    fill(&server);
    let elsewhere = FaultProxy::start(&server.host(), |_, _| Fault::None);
    let other = elsewhere.host();
    let own = FaultProxy::start(&server.host(), move |request, _| {
        if is_blob(&request.path) { to(format!("http://{other}{}", request.path)) } else { Fault::None }
    });
    let port = tls_before(&own.host(), &authority.issue("server", NAMES));
    let certs = folder.path().join("certs.d");
    std::fs::create_dir_all(certs.join(format!("0.0.0.0:{port}"))).unwrap();
    std::fs::copy(authority.certificate(), certs.join(format!("0.0.0.0:{port}/ca.crt"))).unwrap();
    let client = Client::with(|config| config.certificates = Certificates::new(vec![certs]));
    let refused = client.resolve(&format!("0.0.0.0:{port}/team/app:1")).unwrap_err();
    assert!(refused.to_string().contains("without TLS"), "{refused}");
    assert!(elsewhere.requests("").is_empty());
    assert!(!own.requests("/blobs/").is_empty(), "it got as far as the redirect");
}

#[test]
fn a_token_that_ends_during_a_pull_is_renewed() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    let layout = server.folder().join("layout");
    let layers = ["a", "b", "c", "d", "e", "f"].map(|name| layer(name, name.as_bytes())).to_vec();
    bases::write_layout(&layout, "1", &[bases::Image::new(layers)]);
    push(&layout, "1", &format!("{}/team/app:1", server.host()), None);
    let (issued, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let proxy = FaultProxy::start(&server.host(), move |request, _| {
        if request.path.starts_with("/token?") {
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            let body = format!(r#"{{"token":"t{number}","expires_in":300}}"#);
            return Fault::Answer { status: 200, header: "X-A: 1".into(), body };
        }
        // A token is good for four answers.
        let current = format!("Bearer t{}", issued.load(Ordering::SeqCst));
        if request.authorization.as_deref() == Some(&*current)
            && served.fetch_add(1, Ordering::SeqCst) < 4 * issued.load(Ordering::SeqCst)
        {
            return Fault::None;
        }
        let realm = format!(r#"Bearer realm="http://{}/token",service="s""#, request.host);
        Fault::Answer { status: 401, header: format!("WWW-Authenticate: {realm}"), body: String::new() }
    });
    let client = with_password(&proxy.host());
    let image = client.resolve(&format!("{}/team/app:1", proxy.host())).unwrap();
    for layer in &image.layers {
        let from = image.remote.as_ref().unwrap();
        client.registry.fetch(from, std::slice::from_ref(&layer.blob), &|_, _| ()).unwrap();
    }
    assert!(proxy.requests("/token?").len() > 1, "{:?}", proxy.requests("/token?"));
}

#[test]
fn an_unknown_authority_is_named_as_such() {
    require!("docker-registry", "skopeo", "openssl");
    let folder = tempfile::tempdir().unwrap();
    let server = with_tls(&Authority::new(folder.path()), Options::default());
    let refused = Client::new().resolve(&format!("{}/x:1", far(&server))).unwrap_err();
    assert!(matches!(refused, Error::Network { problem: Problem::Certificate, .. }), "{refused:?}");
}
