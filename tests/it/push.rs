//! Images from the store into a real registry.

use std::sync::Mutex;

use kiln::image::Blob;
use kiln::oci::Platform;
use kiln::registry::{Credentials, Error, How, Limits, Pushed};

use crate::pull::{Client, layer};
use crate::pull_faults::noise;
use crate::support::bases;
use crate::support::fault::{Fault, FaultProxy};
use crate::support::registry::{Options, PASSWORD, TestRegistry, USER};
use crate::support::{require, run};

/// Puts an image of these layers into the client's store.
pub(crate) fn stored(client: &Client, layers: Vec<Vec<u8>>) -> Blob {
    stored_platforms(client, &[bases::Image::new(layers)])
}

fn stored_platforms(client: &Client, images: &[bases::Image]) -> Blob {
    let folder = tempfile::tempdir().unwrap();
    let layout = folder.path().join("layout");
    bases::write_layout(&layout, "1", images);
    kiln::archive::open_layout(&client.store, &layout, None).unwrap()
}

pub(crate) fn push(client: &Client, name: &str, root: &Blob) -> Result<Pushed, Error> {
    client.registry.push(&name.parse().unwrap(), root, &Limits::default(), &|_| ())
}

/// Reads an image with everything in it from a registry into a store of its own, which verifies all of it.
#[track_caller]
pub(crate) fn assert_whole(name: &str, root: &Blob) {
    let client = Client::new();
    let image = client.resolve(name).unwrap();
    if image.remote.is_some() {
        client.fetch(&image).unwrap();
    }
    assert_eq!(image.manifest, root.digest, "{name}");
}

fn hows(pushed: &Pushed) -> Vec<&'static str> {
    let word = |how: &How| match how {
        How::Present => "present",
        How::Mounted { .. } => "mounted",
        How::Uploaded { .. } => "uploaded",
        How::Foreign => "foreign",
    };
    pushed.blobs.iter().map(|blob| word(&blob.how)).collect()
}

fn methods(proxy: &FaultProxy) -> Vec<String> {
    proxy.requests("").into_iter().map(|request| request.method).collect()
}

#[test]
fn only_what_is_missing_is_sent() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    let client = Client::new();
    let first = stored(&client, vec![layer("a", b"a"), layer("b", b"b")]);

    let proxy = FaultProxy::start(&server.host(), |_, _| Fault::None);
    let name = format!("{}/team/app:1", proxy.host());
    let pushed = push(&client, &name, &first).unwrap();
    assert_eq!(hows(&pushed), ["uploaded"; 3]);
    assert!(!pushed.unchanged);
    assert_whole(&format!("{}/team/app:1", server.host()), &first);
    run("skopeo", ["inspect", "--tls-verify=false", &format!("docker://{}/team/app:1", server.host())]);

    let unchanged = FaultProxy::start(&server.host(), |_, _| Fault::None);
    let again = Client::new();
    let root = stored(&again, vec![layer("a", b"a"), layer("b", b"b")]);
    let pushed = push(&again, &format!("{}/team/app:1", unchanged.host()), &root).unwrap();
    assert!(pushed.unchanged);
    assert_eq!(hows(&pushed), ["present"; 3]);
    assert_eq!(methods(&unchanged), ["HEAD"], "an unchanged image costs one request");

    let changed = FaultProxy::start(&server.host(), |_, _| Fault::None);
    let root = stored(&again, vec![layer("a", b"a"), layer("b", b"changed")]);
    let pushed = push(&again, &format!("{}/team/app:1", changed.host()), &root).unwrap();
    assert_eq!(hows(&pushed), ["present", "uploaded", "uploaded"]);
    assert_eq!(
        changed.requests("").iter().filter(|request| request.length > 0).count(),
        3,
        "layer, config, manifest"
    );
    assert_whole(&format!("{}/team/app:1", server.host()), &root);
}

#[test]
fn a_second_name_costs_two_requests() {
    require!("docker-registry");
    let server = TestRegistry::start();
    let client = Client::new();
    let root = stored(&client, vec![layer("a", b"a")]);
    let proxy = FaultProxy::start(&server.host(), |_, _| Fault::None);
    push(&client, &format!("{}/app:1", proxy.host()), &root).unwrap();
    let before = methods(&proxy).len();
    push(&client, &format!("{}/app:2", proxy.host()), &root).unwrap();
    assert_eq!(methods(&proxy)[before..], ["HEAD", "PUT"]);
    let by_digest = format!("{}/app@{}", proxy.host(), root.digest);
    assert!(push(&client, &by_digest, &root).unwrap().unchanged);
    assert_whole(&format!("{}/app:2", server.host()), &root);

    let other = stored(&client, vec![layer("b", b"b")]);
    assert!(matches!(push(&client, &by_digest, &other), Err(Error::OtherDigest { .. })));
}

#[test]
fn a_blob_is_mounted_from_wherever_it_was_seen() {
    require!("docker-registry");
    let server = TestRegistry::start();
    let builder = Client::new();
    let base = stored(&builder, vec![layer("base", &noise(200_000))]);
    push(&builder, &format!("{}/bases/debian:1", server.host()), &base).unwrap();

    // Another machine, which has seen the base's documents only.
    let client = Client::new();
    let proxy = FaultProxy::start(&server.host(), |_, _| Fault::None);
    let image = client.resolve(&format!("{}/bases/debian:1", proxy.host())).unwrap();
    let layer = &image.layers[0].blob;
    assert!(!client.store.contains(layer));
    let pushed = push(&client, &format!("{}/team/app:1", proxy.host()), &base).unwrap();
    assert_eq!(hows(&pushed), ["mounted"; 2]);
    assert!(matches!(&pushed.blobs[0].how, How::Mounted { from } if from == "bases/debian"));
    assert!(!client.store.contains(layer), "no byte of the base came through this machine");
    assert!(proxy.requests("").iter().all(|request| request.length < 10_000));
    assert_whole(&format!("{}/team/app:1", server.host()), &base);
}

#[test]
fn a_base_of_another_registry_is_fetched_and_sent() {
    require!("docker-registry");
    let (origin, target) = (TestRegistry::start(), TestRegistry::start());
    let builder = Client::new();
    let base = stored(&builder, vec![layer("base", &noise(200_000))]);
    push(&builder, &format!("{}/bases/debian:1", origin.host()), &base).unwrap();
    let client = Client::new();
    client.resolve(&format!("{}/bases/debian:1", origin.host())).unwrap();
    let pushed = push(&client, &format!("{}/team/app:1", target.host()), &base).unwrap();
    assert_eq!(hows(&pushed), ["uploaded"; 2]);
    assert_whole(&format!("{}/team/app:1", target.host()), &base);

    // Nobody is known to have it.
    let unknown = Client::new();
    let lost = stored(&unknown, vec![layer("lost", b"lost")]);
    let image = kiln::assemble::read(&unknown.store, &lost, &Platform::host()).unwrap();
    unknown.store.remove_blob(&image.layers[0].blob.digest).unwrap();
    let failed = push(&unknown, &format!("{}/team/lost:1", target.host()), &lost).unwrap_err();
    assert!(matches!(failed, Error::Nowhere { .. }), "{failed}");
    assert_eq!(
        Client::new().resolve(&format!("{}/team/lost:1", target.host())).unwrap_err().status(),
        Some(404)
    );
}

#[test]
fn an_index_with_all_its_platforms() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    let client = Client::new();
    let image = |name: &str| bases::Image::new(vec![layer("shared", b"s"), layer("arch", name.as_bytes())]);
    let root = stored_platforms(
        &client,
        &[image("amd64").for_platform("amd64", ""), image("arm64").for_platform("arm64", "v8")],
    );
    let name = format!("{}/multi:1", server.host());
    let pushed = push(&client, &name, &root).unwrap();
    assert_eq!(hows(&pushed), ["uploaded"; 5], "the shared layer once");
    let text = run("skopeo", ["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
    assert_eq!(kiln::digest::Digest::of(text), root.digest);
    for platform in ["linux/amd64", "linux/arm64"] {
        let client = Client::new();
        let image = client.registry.resolve(&name.parse().unwrap(), &platform.parse().unwrap()).unwrap();
        client.fetch(&image).unwrap();
    }
}

#[test]
fn a_password_is_needed_before_anything_is_built() {
    require!("docker-registry");
    let server = TestRegistry::start_with(&Options { password: true, ..Options::default() });
    let name = format!("{}/team/app:1", server.host());
    let with = |auth: Option<String>| {
        Client::with(|config| {
            if let Some(auth) = auth {
                let path = server.folder().join("config.json");
                std::fs::write(&path, format!(r#"{{"auths":{{"{}":{auth}}}}}"#, server.host())).unwrap();
                config.credentials = Credentials::load(&[path]).unwrap();
            }
        })
    };
    for (auth, allowed) in [
        (None, false),
        (Some(format!(r#"{{"username":"{USER}","password":"wrong"}}"#)), false),
        (Some(format!(r#"{{"username":"{USER}","password":"{PASSWORD}"}}"#)), true),
    ] {
        let client = with(auth.clone());
        let root = stored(&client, vec![layer("a", b"a")]);
        let checked = client.registry.check_push(&name.parse().unwrap());
        let pushed = push(&client, &name, &root);
        assert_eq!((checked.is_ok(), pushed.is_ok()), (allowed, allowed), "{auth:?}");
        if let Err(error) = checked {
            assert!(error.to_string().contains("kiln login"), "{error}");
        }
    }
    let uploads = walkdir::WalkDir::new(server.storage()).into_iter().map(Result::unwrap);
    // The registry itself forgets to remove what it knew of their hashes.
    let left = uploads
        .filter(|entry| entry.path().to_string_lossy().contains("_uploads/") && entry.file_name() == "data");
    assert_eq!(left.count(), 0, "uploads are taken back");
}

#[test]
fn what_is_too_large_is_not_begun() {
    require!("docker-registry");
    let server = TestRegistry::start();
    let client = Client::new();
    let root = stored(&client, vec![layer("small", b"s"), layer("large", &noise(100_000))]);
    let proxy = FaultProxy::start(&server.host(), |_, _| Fault::None);
    let name = format!("{}/app:1", proxy.host()).parse().unwrap();
    for (limits, expected) in [
        (Limits { layer: Some(50_000), image: None }, "layer 2 of 2"),
        (Limits { layer: None, image: Some(50_000) }, "the image has"),
        (Limits { layer: Some(200_000), image: Some(200_000) }, ""),
    ] {
        match client.registry.push(&name, &root, &limits, &|_| ()) {
            Ok(_) => assert_eq!(expected, ""),
            Err(error) => {
                assert!(!expected.is_empty() && error.to_string().contains(expected), "{error}");
                assert!(
                    error.to_string().contains(".dockerignore") || error.to_string().contains("base"),
                    "{error}"
                );
                assert!(proxy.requests("").is_empty(), "nothing was asked");
            }
        }
    }
}

#[test]
fn a_damaged_blob_is_found_out() {
    require!("docker-registry");
    let server = TestRegistry::start();
    let client = Client::new();
    let root = stored(&client, vec![layer("a", &noise(100_000))]);
    let image = kiln::assemble::read(&client.store, &root, &Platform::host()).unwrap();
    let path = client.store.blob_path(&image.layers[0].blob.digest);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let failed = push(&client, &format!("{}/app:1", server.host()), &root).unwrap_err();
    assert!(matches!(failed, Error::Store { .. }), "{failed}");
    assert_eq!(Client::new().resolve(&format!("{}/app:1", server.host())).unwrap_err().status(), Some(404));
}

#[test]
fn progress_ends_where_it_should() {
    require!("docker-registry");
    let server = TestRegistry::start();
    let client = Client::new();
    let root = stored(&client, vec![layer("a", &noise(300_000)), layer("b", b"b")]);
    let (sent, blobs) = (Mutex::new(Vec::new()), Mutex::new(0));
    let name = format!("{}/app:1", server.host()).parse().unwrap();
    let tell = |step: kiln::registry::Step<'_>| match step {
        kiln::registry::Step::Sent { done, total } => sent.lock().unwrap().push((done, total)),
        kiln::registry::Step::Blob(_) => *blobs.lock().unwrap() += 1,
    };
    let pushed = client.registry.push(&name, &root, &Limits::default(), &tell).unwrap();
    let total: u64 = pushed.blobs.iter().map(|blob| blob.size).sum();
    assert_eq!(sent.lock().unwrap().last(), Some(&(total, total)));
    assert_eq!(*blobs.lock().unwrap(), 3);
}
