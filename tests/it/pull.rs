//! Images from a real registry into the store.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use kiln::digest::Digest;
use kiln::image::{Blob, Image};
use kiln::oci::Platform;
use kiln::reference::Reference;
use kiln::registry::{Config, Credentials, Error, Hosts, Patience, Problem, Registry};
use kiln::store::Store;

use crate::support::bases::{self, Layer};
use crate::support::registry::{Options, PASSWORD, TestRegistry, USER};
use crate::support::{push, require, skip};

/// A client with a store of its own.
pub(crate) struct Client {
    pub registry: Registry,
    pub store: Store,
    _folder: tempfile::TempDir,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut config = Config::new(store.clone());
        config.patience =
            Patience { first_pause: Duration::from_millis(1), attempts: 4, ..Patience::default() };
        configure(&mut config);
        Self { registry: Registry::new(config).unwrap(), store, _folder: folder }
    }

    pub(crate) fn resolve(&self, name: &str) -> Result<Image, Error> {
        self.registry.resolve(&name.parse().unwrap(), &Platform::host())
    }

    pub(crate) fn fetch(&self, image: &Image) -> Result<(), Error> {
        let from: &Reference = image.remote.as_ref().expect("the store lacks a layer");
        self.registry.fetch(from, &blobs(image), &|_, _| ())
    }
}

pub(crate) fn blobs(image: &Image) -> Vec<Blob> {
    image.layers.iter().map(|layer| layer.blob.clone()).collect()
}

pub(crate) fn hosts(text: &str) -> Hosts {
    let mut hosts = Hosts::default();
    hosts.add(Path::new("registries.conf"), text).unwrap();
    hosts
}

pub(crate) fn layer(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut layer = Layer::new();
    layer.file(name, 0o644, bytes);
    layer.finish()
}

/// Pushes an image of three small layers as `team/app:1` and returns its digest.
fn push_small(registry: &TestRegistry, credentials: Option<&str>) -> String {
    let layout = registry.folder().join("layout");
    let layers = ["a", "b", "c"].map(|name| layer(name, name.as_bytes())).to_vec();
    let digest = bases::write_layout(&layout, "1", &[bases::Image::new(layers)]);
    push(&layout, "1", &format!("{}/team/app:1", registry.host()), credentials);
    digest
}

#[test]
fn by_tag_and_by_digest() {
    require!("docker-registry", "skopeo");
    let Some(busybox) = bases::busybox_layer() else { skip!("busybox-static is not installed") };
    let server = TestRegistry::start();
    let layout = server.folder().join("layout");
    let digest = bases::write_layout(&layout, "1", &[bases::Image::new(vec![busybox, layer("x", b"x")])]);
    push(&layout, "1", &format!("{}/library/busybox:1", server.host()), None);

    let client = Client::new();
    let image = client.resolve(&format!("{}/library/busybox:1", server.host())).unwrap();
    assert_eq!(image.manifest.to_string(), digest);
    assert_eq!(image.config.config.cmd, Some(vec!["sh".to_owned()]));
    assert!(blobs(&image).iter().all(|blob| !client.store.contains(blob)), "resolving fetches no layer");

    let seen = Mutex::new(Vec::new());
    let from = image.remote.clone().unwrap();
    client
        .registry
        .fetch(&from, &blobs(&image), &|done, total| seen.lock().unwrap().push((done, total)))
        .unwrap();
    let total: u64 = blobs(&image).iter().map(|blob| blob.size).sum();
    assert_eq!(seen.lock().unwrap().iter().max(), Some(&(total, total)));
    for blob in blobs(&image) {
        assert_eq!(Digest::of(std::fs::read(client.store.blob_path(&blob.digest)).unwrap()), blob.digest);
    }

    let pinned = format!("{}/library/busybox@{digest}", server.host());
    let again = client.resolve(&pinned).unwrap();
    assert_eq!((again.manifest, again.remote), (image.manifest, None));
    drop(server);
    assert_eq!(
        client.resolve(&pinned).unwrap().manifest,
        image.manifest,
        "the store answers without the registry"
    );
}

#[test]
fn by_index_and_platform() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    let layout = server.folder().join("layout");
    let image = |name: &str| bases::Image::new(vec![layer("etc/arch", name.as_bytes())]);
    let index = bases::write_layout(
        &layout,
        "1",
        &[
            image("amd64").for_platform("amd64", ""),
            image("v6").for_platform("arm", "v6"),
            image("v7").for_platform("arm", "v7"),
            image("arm64").for_platform("arm64", "v8"),
        ],
    );
    let name = format!("{}/multi:1", server.host());
    push(&layout, "1", &name, None);

    let client = Client::new();
    for (platform, architecture, variant) in [
        ("linux/amd64", "amd64", ""),
        ("linux/arm/v7", "arm", "v7"),
        ("linux/arm/v6", "arm", "v6"),
        ("linux/arm64", "arm64", "v8"),
    ] {
        let image = client.registry.resolve(&name.parse().unwrap(), &platform.parse().unwrap()).unwrap();
        assert_eq!(
            (image.config.architecture.as_str(), image.config.variant.as_str()),
            (architecture, variant),
            "{platform}"
        );
        assert_ne!(image.manifest.to_string(), index, "{platform}: the digest is the platform's");
    }
    let missing = client.registry.resolve(&name.parse().unwrap(), &"linux/s390x".parse().unwrap());
    match missing {
        Err(Error::NoPlatform { source, .. }) => assert_eq!(
            source.to_string(),
            "no image for linux/s390x, only for linux/amd64, linux/arm/v6, linux/arm/v7, linux/arm64"
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mirror_of_docker_io_after_a_dead_one() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    let digest = push_small(&server, None);
    let dead = dead_port();
    let client = Client::with(|config| {
        config.hosts = hosts(&format!(
            "[[registry]]\nprefix = 'docker.io'\n[[registry.mirror]]\nlocation = '127.0.0.1:{dead}'\n[[registry.mirror]]\nlocation = '{}'\ninsecure = true\n",
            server.host()
        ));
    });
    let image = client.resolve("team/app:1").unwrap();
    assert_eq!(image.manifest.to_string(), digest);
    assert_eq!(image.remote.as_ref().map(ToString::to_string).as_deref(), Some("docker.io/team/app:1"));
    client.fetch(&image).unwrap();
    assert!(blobs(&image).iter().all(|blob| client.store.contains(blob)));
}

#[test]
fn the_registry_itself_answers_when_no_mirror_has_it() {
    require!("docker-registry", "skopeo");
    let (server, empty) = (TestRegistry::start(), TestRegistry::start());
    let digest = push_small(&server, None);
    let dead = dead_port();
    let client = Client::with(|config| {
        config.hosts = hosts(&format!(
            "[[registry]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '127.0.0.1:{dead}'\n",
            server.host(),
            empty.host()
        ));
    });
    let image = client.resolve(&format!("{}/team/app:1", server.host())).unwrap();
    assert_eq!(image.manifest.to_string(), digest);
    client.fetch(&image).unwrap();
    match client.resolve(&format!("{}/team/app:2", server.host())) {
        Err(Error::Everywhere { mirrors, last, .. }) => {
            assert_eq!(last.status(), Some(404));
            assert!(mirrors.contains("connection refused"), "{mirrors}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn damaged_bytes_never_enter_the_store() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    let digest = push_small(&server, None);
    let name = format!("{}/team/app:1", server.host());
    let client = Client::new();
    let image = client.resolve(&name).unwrap();

    let victim = &image.layers[1].blob;
    let path = server.blob_path(&victim.digest.to_string());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    match client.fetch(&image) {
        Err(Error::Mismatch { digest, .. }) => assert_eq!(digest, victim.digest),
        other => panic!("{other:?}"),
    }
    assert!(!client.store.contains(victim));

    let manifest = server.blob_path(&digest);
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("schemaVersion", "schemaVersioN")).unwrap();
    let refused = Client::new().resolve(&format!("{}/team/app@{digest}", server.host())).unwrap_err();
    assert!(!refused.is_transient(), "{refused}");
}

#[test]
fn a_password_from_config_json() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start_with(&Options { password: true, ..Options::default() });
    let digest = push_small(&server, Some(&format!("{USER}:{PASSWORD}")));
    let name = format!("{}/team/app:1", server.host());

    let refused = Client::new().resolve(&name).unwrap_err();
    assert_eq!(refused.status(), Some(401), "{refused}");
    assert!(refused.to_string().contains("kiln login"), "{refused}");

    for (auth, works) in [("dXNlcjpwdw==", true), ("dXNlcjp3cm9uZw==", false)] {
        let path = server.folder().join("config.json");
        std::fs::write(&path, format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, server.host())).unwrap();
        let client = Client::with(|config| config.credentials = Credentials::load(&[path]).unwrap());
        match client.resolve(&name) {
            Ok(image) => {
                assert!(works, "{auth}");
                assert_eq!(image.manifest.to_string(), digest);
                client.fetch(&image).unwrap();
            }
            Err(error) => {
                assert!(!works, "{auth}: {error}");
                assert_eq!(error.status(), Some(401), "{error}");
            }
        }
    }
}

#[test]
fn the_same_blobs_asked_for_at_once() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    push_small(&server, None);
    let client = Client::new();
    let image = client.resolve(&format!("{}/team/app:1", server.host())).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| client.fetch(&image).unwrap());
        }
    });
    assert!(blobs(&image).iter().all(|blob| client.store.contains(blob)));
}

#[test]
fn failures_say_what_to_try() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    push_small(&server, None);
    let client = Client::new();
    let missing = client.resolve(&format!("{}/team/app:2", server.host())).unwrap_err();
    assert_eq!(missing.status(), Some(404), "{missing}");
    let refused = client.resolve(&format!("127.0.0.1:{}/x:1", dead_port())).unwrap_err();
    assert!(matches!(refused, Error::Network { problem: Problem::Refused, .. }), "{refused}");
}

/// Returns a port at which nothing listens.
fn dead_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
