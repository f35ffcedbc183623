//! Layers that are pushed while later steps run.

use std::time::Duration;

use serde_json::Value;

use super::cache_exchange::build;
use crate::pull_faults::noise;
use crate::support::fault::{Fault, FaultProxy, Request};
use crate::support::kiln::Kiln;
use crate::support::registry::TestRegistry;
use crate::support::{require, run, skip};

/// A step that ends when it can have the layer of the step before from the registry, and fails if that takes too long.
const WAIT: &str = "RUN for i in $(seq 600); do wget -q -O /dev/null $URL && exit 0; sleep 0.05; done; echo not there; exit 1";

struct World {
    kiln: Kiln,
    registry: TestRegistry,
    /// The digest of the layer of `COPY noise /noise`.
    layer: String,
}

impl World {
    fn new() -> Option<Self> {
        let kiln = Kiln::with_busybox()?;
        kiln.write("context/noise", noise(700_000));
        kiln.dockerfile("FROM scratch\nCOPY noise /noise\n");
        build(&kiln, "other", "-o type=oci,dest=layer,tar=false").success();
        let manifest = run("skopeo", ["inspect", "--raw", &format!("oci:{}", kiln.at("layer").display())]);
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();
        Some(Self { kiln, registry: TestRegistry::start(), layer })
    }

    /// Returns the argument that tells [`WAIT`] where the layer will be.
    fn url(&self, repository: &str) -> String {
        format!("--build-arg URL=http://{}/v2/{repository}/blobs/{}", self.registry.host(), self.layer)
    }

    /// Takes an image out of the registry with all that it names.
    fn take(&self, name: &str) {
        let (from, to) = (format!("docker://{}/{name}", self.registry.host()), self.kiln.at("taken"));
        run("skopeo", ["copy", "--src-tls-verify=false", &from, &format!("dir:{}", to.display())]);
    }

    fn tags(&self, repository: &str) -> String {
        let url = format!("http://{}/v2/{repository}/tags/list", self.registry.host());
        run("curl", ["--silent", &url])
    }
}

/// Counts the requests that put the blob into the repository.
fn sent(requests: &[Request], repository: &str, digest: &str) -> usize {
    let (uploads, hex) = (format!("/v2/{repository}/blobs/uploads/"), digest.replace(':', "%3A"));
    let of_blob = |path: &str| path.starts_with(&uploads) && path.contains(&hex);
    requests.iter().filter(|request| request.method == "PUT" && of_blob(&request.path)).count()
}

#[test]
fn a_layer_is_in_the_registry_while_the_next_step_runs() {
    require!("docker-registry", "skopeo");
    let Some(world) = World::new() else { skip!("busybox-static is not installed") };
    world.kiln.dockerfile(&format!("FROM busybox\nCOPY noise /noise\nARG URL\n{WAIT}\n"));
    let proxy = FaultProxy::start(&world.registry.host(), |_, _| Fault::None);
    let line = format!("--push -t {0}/team/app:1 -t {0}/team/app:2 {1}", proxy.host(), world.url("team/app"));
    let built = build(&world.kiln, "store", &line).success();
    let requests = proxy.requests("");
    assert_eq!(sent(&requests, "team/app", &world.layer), 1);
    assert_eq!(built.stderr.matches(&format!("{}: uploaded, ", world.layer)).count(), 1, "{}", built.stderr);
    world.take("team/app:1");
    world.take("team/app:2");

    // Nothing is sent ahead where nothing is done: the registry has the image, and is asked for its name alone.
    let before = proxy.requests("").len();
    let built = build(&world.kiln, "store", &line).success();
    let requests = proxy.requests("").split_off(before);
    let about_blobs = requests.iter().filter(|request| request.path.contains("/blobs/sha256"));
    assert_eq!(about_blobs.count(), 0, "{requests:?}");
    assert!(!built.stderr.contains("pushing layers"), "{}", built.stderr);
}

#[test]
fn a_layer_is_in_the_registry_of_the_cache_while_the_next_step_runs() {
    require!("docker-registry", "skopeo");
    let Some(world) = World::new() else { skip!("busybox-static is not installed") };
    let behind = format!("FROM busybox AS behind\nCOPY noise /noise\nARG URL\n{WAIT}\n");
    world.kiln.dockerfile(&format!("{behind}FROM busybox\nCOPY --from=behind /bin/busybox /copy\n"));
    let host = world.registry.host();
    let of_cache = |mode: &str| format!("--cache-to type=registry,ref={host}/cache,mode={mode}");
    build(&world.kiln, "store", &format!("{} {}", of_cache("max"), world.url("cache"))).success();
    assert_eq!(world.tags("cache"), "{\"name\":\"cache\",\"tags\":[\"latest\"]}\n");

    // The image does not name it, so it does not go where the image goes.
    let line = format!("{} --push -t {host}/app:1 --no-cache {}", of_cache("max"), world.url("cache"));
    build(&world.kiln, "store", &line).success();
    let url = format!("http://{host}/v2/app/blobs/{}", world.layer);
    assert_eq!(run("curl", ["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]), "404");
}

#[test]
fn what_cannot_be_sent_ahead_is_sent_in_the_end() {
    require!("docker-registry", "skopeo");
    let Some(world) = World::new() else { skip!("busybox-static is not installed") };
    world.kiln.dockerfile("FROM busybox\nCOPY noise /noise\nRUN sleep 1\n");
    // The second upload is that of a layer: the first asks whether there may be any.
    let proxy = FaultProxy::start(&world.registry.host(), |request, nth| match request.method.as_str() {
        "POST" if (1..4).contains(&nth) => Fault::Status(403),
        _ => Fault::None,
    });
    let line = format!("--push -t {}/app:1", proxy.host());
    build(&world.kiln, "store", &line).success();
    world.take("app:1");
}

#[test]
fn a_build_that_fails_names_nothing_and_ends_what_it_sends() {
    require!("docker-registry", "skopeo");
    let Some(world) = World::new() else { skip!("busybox-static is not installed") };
    world.kiln.dockerfile("FROM busybox\nCOPY noise /noise\nRUN sleep 1; exit 7\n");
    // As slow as this, the layer would take minutes.
    let proxy = FaultProxy::start(&world.registry.host(), |request, _| match request.method.as_str() {
        "PATCH" | "PUT" => Fault::SlowBody(Duration::from_secs(30)),
        _ => Fault::None,
    });
    let built = build(&world.kiln, "store", &format!("--push -t {}/app:1", proxy.host()));
    assert_eq!(built.code, Some(1), "{}", built.stderr);
    assert!(built.stderr.contains("RUN sleep 1; exit 7"), "{}", built.stderr);
    let requests = proxy.requests("/blobs/uploads/");
    assert!(
        requests.iter().any(|request| request.method == "DELETE"),
        "given up, not waited for: {requests:?}"
    );
    assert!(world.tags("app").contains("NAME_UNKNOWN"), "{}", world.tags("app"));
}

#[test]
fn what_is_too_large_does_not_go_ahead() {
    require!("docker-registry", "skopeo");
    let Some(world) = World::new() else { skip!("busybox-static is not installed") };
    world.kiln.dockerfile("FROM busybox\nCOPY noise /noise\nRUN sleep 1\n");
    let proxy = FaultProxy::start(&world.registry.host(), |_, _| Fault::None);
    let built =
        build(&world.kiln, "store", &format!("--push --max-layer-size 600k -t {}/app:1", proxy.host()));
    assert_eq!(built.code, Some(1), "{}", built.stderr);
    assert!(built.stderr.contains("COPY noise /noise"), "{}", built.stderr);
    let requests = proxy.requests("");
    let bytes: u64 = requests.iter().map(|request| request.length).sum();
    assert!(bytes < 600_000 * 2, "the base, and not the layer: {requests:?}");
    assert_eq!(sent(&requests, "app", &world.layer), 0);
}
