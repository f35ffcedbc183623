//! Caches of registries: what an empty store asks for, and what it does not.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cache_exchange::{build, digest, done};
use crate::support::fault::{Fault, FaultProxy, Request};
use crate::support::kiln::Kiln;
use crate::support::registry::TestRegistry;
use crate::support::{push, require, skip};

const STAGES: &str = "\
FROM HOST/busybox AS made
WORKDIR /app
COPY main.c .
RUN cat main.c > /program
FROM HOST/busybox
RUN mkdir /data
COPY --from=made /program /program
COPY config /data/config
";

/// How many steps of [`STAGES`] there are, not counting bases.
const STEPS: usize = 6;

/// A registry behind a proxy that counts, with the base in it, and a context.
struct World {
    kiln: Kiln,
    registry: TestRegistry,
    proxy: FaultProxy,
}

impl World {
    fn new() -> Option<Self> {
        let kiln = Kiln::with_busybox()?;
        let registry = TestRegistry::start();
        push(&kiln.at("bases"), "busybox", &format!("{}/busybox:latest", registry.host()), None);
        let proxy = FaultProxy::start(&registry.host(), |_, _| Fault::None);
        kiln.dockerfile(&STAGES.replace("HOST", &proxy.host()));
        kiln.write("context/main.c", "main\n");
        kiln.write("context/config", "config\n");
        Some(Self { kiln, registry, proxy })
    }

    /// Builds with a store; returns the steps that were done, the requests, and what was said.
    fn build(&self, store: &str, line: &str) -> (Vec<String>, Vec<Request>, String) {
        let before = self.proxy.requests("").len();
        let built = build(&self.kiln, store, &line.replace("HOST", &self.proxy.host())).success();
        (done(&built), self.proxy.requests("").split_off(before), built.stderr)
    }

    /// Returns what a manifest of the registry names.
    fn manifest(&self, name: &str) -> Value {
        let raw = crate::support::run(
            "skopeo",
            ["inspect", "--raw", "--tls-verify=false", &format!("docker://{}/{name}", self.registry.host())],
        );
        serde_json::from_str(&raw).unwrap()
    }

    /// Returns the digests of the layers that a manifest names: of those with files, not of what describes them.
    fn layers(&self, name: &str) -> BTreeSet<String> {
        let manifest = self.manifest(name);
        let layers = manifest["layers"].as_array().unwrap().iter();
        let layers = layers.filter(|layer| layer["mediaType"].as_str().unwrap().contains("image.layer"));
        layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    }
}

/// Returns the digests of the blobs that were downloaded.
fn downloaded(requests: &[Request]) -> Vec<String> {
    let of_blobs =
        requests.iter().filter(|request| request.method == "GET" && request.path.contains("/blobs/sha256"));
    of_blobs.map(|request| request.path.rsplit_once('/').unwrap().1.to_owned()).collect()
}

fn sent(requests: &[Request]) -> Vec<String> {
    let writes = requests.iter().filter(|request| ["PUT", "PATCH"].contains(&request.method.as_str()));
    writes.map(|request| format!("{} {}", request.method, request.path)).collect()
}

const EVERYTHING: &str = "--cache-from type=registry,ref=HOST/cache --cache-to type=registry,ref=HOST/cache,mode=max --push -t HOST/";

#[test]
fn the_second_build_of_an_empty_store_asks_for_documents_alone() {
    require!("docker-registry", "skopeo");
    let Some(world) = World::new() else { skip!("busybox-static is not installed") };
    let line = format!("{EVERYTHING}app");
    let (steps, _, said) = world.build("one", &line);
    assert_eq!(steps.len(), STEPS, "{said}");
    assert!(said.contains("warning: no cache from"), "{said}");
    let made = digest(&world.kiln);
    std::thread::sleep(std::time::Duration::from_millis(1100));

    let (steps, requests, said) = world.build("two", &line);
    assert_eq!(steps, [""; 0], "{said}");
    assert_eq!(digest(&world.kiln), made);
    let config = |name: &str| world.manifest(name)["config"]["digest"].as_str().unwrap().to_owned();
    let documents: BTreeSet<String> = downloaded(&requests).into_iter().collect();
    assert_eq!(documents, [config("busybox"), config("cache")].into());
    assert_eq!(sent(&requests), [""; 0], "nothing is new: {requests:?}");

    // Another repository gets the layers from that of the cache, and they do not pass through this machine.
    let (steps, requests, said) = world.build("three", &format!("{EVERYTHING}other"));
    assert_eq!(steps, [""; 0], "{said}");
    let layers = world.layers("other");
    assert!(layers.len() > 2 && downloaded(&requests).iter().all(|blob| !layers.contains(blob)));
    let sent = sent(&requests);
    assert_eq!(sent.len(), 2, "a config and a manifest: {sent:?}");
    assert_eq!(world.manifest("other"), world.manifest("app"));
}

#[test]
fn a_changed_copy_downloads_what_is_in_layers_and_none_of_them() {
    require!("docker-registry", "skopeo");
    let Some(world) = World::new() else { skip!("busybox-static is not installed") };
    world.build("one", &format!("{EVERYTHING}app"));
    let layers: BTreeSet<String> =
        ["busybox", "cache", "app"].iter().flat_map(|name| world.layers(name)).collect();
    world.kiln.write("context/config", "another\n");
    let (steps, requests, said) = world.build("two", &format!("{EVERYTHING}app"));
    assert_eq!(steps, ["COPY config /data/config"], "{said}");
    let downloaded = downloaded(&requests);
    assert!(downloaded.len() > 2 && downloaded.iter().all(|blob| !layers.contains(blob)), "{requests:?}");
    assert_eq!(world.layers("app").difference(&layers).count(), 1);
    // A step behind the image was not looked at by the second build, and yet it is in the cache that this wrote.
    world
        .kiln
        .dockerfile(&STAGES.replace("HOST", &world.proxy.host()).replace("/program\nCOPY", "/renamed\nCOPY"));
    let (steps, _, said) = world.build("three", &format!("{EVERYTHING}app"));
    assert_eq!(steps, ["COPY --from=made /program /renamed", "COPY config /data/config"], "{said}");
}

#[test]
fn an_image_with_its_own_cache() {
    require!("docker-registry", "skopeo");
    let Some(world) = World::new() else { skip!("busybox-static is not installed") };
    let line = "--cache-from HOST/app --cache-to type=inline --push -t HOST/app";
    world.build("one", line);
    let made = digest(&world.kiln);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (steps, requests, said) = world.build("two", line);
    assert_eq!(steps, [""; 0], "{said}");
    assert_eq!(digest(&world.kiln), made);
    let layers = world.layers("app");
    assert!(downloaded(&requests).iter().all(|blob| !layers.contains(blob)), "{requests:?}");
    assert_eq!(sent(&requests), [""; 0]);
    // An image that has none says so.
    let (_, _, said) = world.build("three", "--cache-from HOST/busybox --push -t HOST/app:3");
    assert!(said.contains("neither a cache of kiln's nor an image with one"), "{said}");
}

#[test]
fn a_layer_that_is_gone_from_the_cache_is_made_again() {
    require!("docker-registry", "skopeo");
    let Some(world) = World::new() else { skip!("busybox-static is not installed") };
    world.build("one", &format!("{EVERYTHING}app"));
    let of_base = world.layers("busybox");
    for layer in world.layers("cache").difference(&of_base) {
        std::fs::remove_file(world.registry.blob_path(layer)).unwrap();
    }
    let (steps, _, said) = world.build("two", &format!("{EVERYTHING}other"));
    assert!(said.contains("going on without this cache"), "{said}");
    assert_eq!(steps.len(), STEPS, "{said}");
    crate::support::run(
        "skopeo",
        [
            "copy",
            "--src-tls-verify=false",
            &format!("docker://{}/other", world.registry.host()),
            &format!("dir:{}", world.kiln.at("copied").display()),
        ],
    );
}

#[test]
fn a_local_cache_is_pushed_and_a_registry_is_exported_to_a_directory() {
    require!("docker-registry", "skopeo");
    let Some(world) = World::new() else { skip!("busybox-static is not installed") };
    world.build("one", "--cache-to type=local,dest=cache,mode=max --push -t HOST/app");
    let made = digest(&world.kiln);
    let from_local = "--cache-from type=local,src=cache --cache-to type=registry,ref=HOST/cache,mode=max --push -t HOST/new";
    let (steps, _, said) = world.build("two", from_local);
    assert_eq!((steps.len(), digest(&world.kiln)), (0, made.clone()), "{said}");
    let back = "--cache-from type=registry,ref=HOST/cache --cache-to type=local,dest=back,mode=max --push -t HOST/new";
    let (steps, _, said) = world.build("three", back);
    assert_eq!((steps.len(), digest(&world.kiln)), (0, made), "{said}");
    let index = |name: &str| std::fs::read_to_string(world.kiln.at(name).join("index.json")).unwrap();
    assert_eq!(index("back"), index("cache"));
}

#[test]
fn a_registry_that_refuses_is_an_error_before_anything_is_done() {
    require!("docker-registry", "skopeo");
    let Some(world) = World::new() else { skip!("busybox-static is not installed") };
    let proxy = FaultProxy::start(&world.registry.host(), |request, _| {
        if request.method == "GET" || request.method == "HEAD" { Fault::None } else { Fault::Status(403) }
    });
    let refused = build(&world.kiln, "one", &format!("--cache-to type=registry,ref={}/cache", proxy.host()));
    assert_eq!((refused.code, done(&refused).len()), (Some(1), 0), "{}", refused.stderr);
    let line = format!("--cache-to type=registry,ref={}/cache,ignore-error=true", proxy.host());
    let ignored = build(&world.kiln, "one", &line).success();
    assert!(ignored.stderr.contains("warning: the cache was not exported"), "{}", ignored.stderr);
}
