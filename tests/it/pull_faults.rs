//! Pulls over a network that breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln::registry::{Credentials, Error, Problem};

use crate::pull::{Client, blobs, layer};
use crate::support::bases;
use crate::support::fault::{Fault, FaultProxy, Request};
use crate::support::registry::{Options, PASSWORD, TestRegistry, USER};
use crate::support::{push, require, run};

/// Bytes that do not compress: a layer large enough to be cut in the middle.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(count)
    .collect()
}

fn push_large(server: &TestRegistry) {
    let layout = server.folder().join("layout");
    let layers = vec![layer("noise", &noise(1 << 20)), layer("small", b"x")];
    bases::write_layout(&layout, "1", &[bases::Image::new(layers)]);
    push(&layout, "1", &format!("{}/large:1", server.host()), None);
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    push_large(&server);
    for ignores_ranges in [false, true] {
        let proxy = FaultProxy::start(&server.host(), move |request, earlier| {
            match (request.path.contains("/blobs/") && request.method == "GET", earlier) {
                (true, 0) => Fault::CutAfter(300_000),
                (true, _) if ignores_ranges => Fault::IgnoreRange,
                _ => Fault::None,
            }
        });
        let client = Client::new();
        let image = client.resolve(&format!("{}/large:1", proxy.host())).unwrap();
        client.fetch(&image).unwrap();
        let large = &image.layers[0].blob;
        assert!(blobs(&image).iter().all(|blob| client.store.contains(blob)));
        let requests = proxy.requests(&large.digest.to_string());
        assert_eq!(requests.len(), 2, "{requests:?}");
        assert_eq!(requests[0].range, None);
        let range = requests[1].range.as_deref().expect("the second request asks for the rest");
        let offset: u64 = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
        assert!((1..=300_000).contains(&offset), "{range}");
    }
}

#[test]
fn a_bad_second_half_costs_one_more_download() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    push_large(&server);
    for (bad_answers, works) in [(1, true), (2, false)] {
        let proxy = FaultProxy::start(&server.host(), move |request, earlier| {
            match (request.path.contains("/blobs/") && request.method == "GET", earlier) {
                (true, 0) => Fault::CutAfter(300_000),
                (true, earlier) if earlier <= bad_answers => Fault::Flip,
                _ => Fault::None,
            }
        });
        let client = Client::new();
        // The config is cut too, but 300,000 bytes are all of it.
        let image = client.resolve(&format!("{}/large:1", proxy.host())).unwrap();
        let large = &image.layers[0].blob;
        let from = image.remote.as_ref().unwrap();
        let result = client.registry.fetch(from, std::slice::from_ref(large), &|_, _| ());
        assert_eq!(result.is_ok(), works, "{bad_answers}: {result:?}");
        assert_eq!(client.store.contains(large), works);
        let ranges =
            proxy.requests(&large.digest.to_string()).into_iter().map(|request| request.range.is_some());
        assert_eq!(ranges.collect::<Vec<_>>(), [false, true, false], "whole, rest, whole again");
    }
}

#[test]
fn a_token_is_asked_for_with_the_password_and_the_registry_sees_only_the_token() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    push_large(&server);
    let proxy = FaultProxy::start(&server.host(), |request, _| {
        let json = |status, body: &str| Fault::Answer {
            status,
            header: "Content-Type: application/json".into(),
            body: body.into(),
        };
        let authorization = request.authorization.as_deref();
        if request.path.starts_with("/token?") {
            let asks_for_pull = request.path.contains("scope=repository%3Alarge%3Apull")
                && request.path.contains("service=tests");
            return match authorization {
                Some("Basic dXNlcjpwdw==") if asks_for_pull => json(200, r#"{"token":"good"}"#),
                _ => json(401, r#"{"details":"incorrect username or password"}"#),
            };
        }
        if authorization == Some("Bearer good") {
            return Fault::None;
        }
        Fault::Answer {
            status: 401,
            header: format!(
                r#"WWW-Authenticate: Bearer realm="http://{}/token",service="tests",scope="repository:large:pull""#,
                request.host
            ),
            body: String::new(),
        }
    });
    let name = format!("{}/large:1", proxy.host());
    let folder = tempfile::tempdir().unwrap();
    let with_password = |password: &str| {
        let path = folder.path().join("config.json");
        let auths =
            format!(r#"{{"auths":{{"{}":{{"username":"{USER}","password":"{password}"}}}}}}"#, proxy.host());
        std::fs::write(&path, auths).unwrap();
        Client::with(|config| config.credentials = Credentials::load(&[path]).unwrap())
    };
    let client = with_password(PASSWORD);
    client.fetch(&client.resolve(&name).unwrap()).unwrap();
    let basic = |request: &Request| request.authorization.as_deref().is_some_and(|a| a.starts_with("Basic"));
    assert!(!proxy.requests("/v2/").iter().any(basic), "the password goes to the token server only");

    let refused = with_password("wrong").resolve(&name).unwrap_err();
    assert_eq!(refused.status(), Some(401));
    assert!(refused.to_string().contains("incorrect username or password"), "{refused}");
    assert_eq!(Client::new().resolve(&name).unwrap_err().status(), Some(401));
}

#[test]
fn busy_registries_are_asked_again_a_few_times() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    push_large(&server);
    for (status, failures, works) in
        [(503, 2, true), (429, 1, true), (408, 3, true), (502, 4, false), (403, 1, false)]
    {
        let proxy = FaultProxy::start(&server.host(), move |request, earlier| {
            let fails = request.path.contains("/blobs/") && earlier < failures;
            if fails { Fault::Status(status) } else { Fault::None }
        });
        let client = Client::new();
        let result = client.resolve(&format!("{}/large:1", proxy.host()));
        match result {
            Ok(_) => assert!(works, "{status} × {failures}"),
            Err(error) => {
                assert!(!works, "{status} × {failures}: {error}");
                assert_eq!(error.status(), Some(status));
            }
        }
    }
}

#[test]
fn a_blob_is_fetched_once_however_many_ask() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    push_large(&server);
    let proxy = FaultProxy::start(&server.host(), |_, _| Fault::None);
    let client = Client::new();
    let image = client.resolve(&format!("{}/large:1", proxy.host())).unwrap();
    let progress = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let from = image.remote.as_ref().unwrap();
                let all: Vec<_> = blobs(&image).into_iter().chain(blobs(&image)).collect();
                client
                    .registry
                    .fetch(from, &all, &|done, total| {
                        assert!(done <= total);
                        if done == total {
                            progress.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                    .unwrap();
            });
        }
    });
    assert_eq!(progress.load(Ordering::Relaxed), 6, "each caller hears of the end");
    for blob in blobs(&image) {
        assert_eq!(proxy.requests(&blob.digest.to_string()).len(), 1, "{}", blob.digest);
    }
    let tag = proxy.requests("/manifests/1");
    assert!(tag.len() == 1 && tag[0].method == "HEAD", "{tag:?}");
}

#[test]
fn an_unknown_authority_is_refused_unless_the_host_is_insecure() {
    require!("docker-registry", "skopeo", "openssl");
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    run(
        "openssl",
        [
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=host.test",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            key.to_str().unwrap(),
            "-out",
            certificate.to_str().unwrap(),
        ],
    );
    let server = TestRegistry::start_with(&Options { tls: Some((certificate, key)), ..Options::default() });
    push_large(&server);
    // 127.0.0.1 is spoken to without TLS. Connecting to 0.0.0.0 reaches this machine too, and does not look it.
    let host = server.host().replace("127.0.0.1", "0.0.0.0");
    let name = format!("{host}/large:1");
    let refused = Client::new().resolve(&name).unwrap_err();
    assert!(matches!(refused, Error::Network { problem: Problem::Certificate, .. }), "{refused:?}");
    assert!(refused.to_string().contains("insecure"), "{refused}");

    let client = Client::with(|config| {
        config.hosts = crate::pull::hosts(&format!("[[registry]]\nlocation = '{host}'\ninsecure = true\n"));
    });
    client.fetch(&client.resolve(&name).unwrap()).unwrap();
}
