//! What other tools leave in registries: their formats, and what is no image.

use kiln::digest::Digest;
use serde_json::{Value, json};

use crate::pull::layer;
use crate::support::kiln::{Kiln, ended};
use crate::support::registry::TestRegistry;
use crate::support::web::{Answer, WebServer};
use crate::support::{bases, require, run};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

#[test]
fn formats_of_skopeo_are_read() {
    require!("docker-registry", "skopeo");
    let (server, kiln) = (TestRegistry::start(), Kiln::new());
    let layout = kiln.at("layout");
    bases::write_layout(&layout, "1", &[bases::Image::new(vec![layer("file", b"content")])]);
    let from = format!("oci:{}:1", layout.display());
    for (tag, options, media_type) in [
        ("oci", &["--format", "oci"][..], "application/vnd.oci.image.layer.v1.tar+gzip"),
        ("v2s2", &["--format", "v2s2"], "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        (
            "zstd",
            &["--format", "oci", "--dest-compress-format", "zstd"],
            "application/vnd.oci.image.layer.v1.tar+zstd",
        ),
    ] {
        let name = format!("{}/formats:{tag}", server.host());
        let to = format!("docker://{name}");
        // skopeo takes a layer that the repository has already, however it is compressed.
        let to = to.replace("/formats:", &format!("/formats-{tag}:"));
        let name = name.replace("/formats:", &format!("/formats-{tag}:"));
        run("skopeo", [&["copy", "--dest-tls-verify=false"], options, &[&from, &to]].concat());
        let manifest = kiln.run(&format!("manifest inspect {name}")).success();
        let manifest: Value = serde_json::from_slice(&manifest.stdout).unwrap();
        if tag != "zstd" {
            assert_eq!(manifest["layers"][0]["mediaType"], media_type, "{tag}");
        }
        reads(&kiln, &name);
    }
}

/// Pulls a name and reads its file.
fn reads(kiln: &Kiln, name: &str) {
    kiln.run(&format!("pull {name}")).success();
    kiln.dockerfile(&format!("FROM scratch\nCOPY --from={name} /file /copy\n"));
    ended(kiln.command().args(["build", "--no-cache", "--output", "type=local,dest=out", "context"]))
        .success();
    assert_eq!(std::fs::read_to_string(kiln.at("out/copy")).unwrap(), "content", "{name}");
    std::fs::remove_dir_all(kiln.at("out")).unwrap();
}

#[test]
fn an_image_of_buildah_is_read() {
    require!("docker-registry", "buildah");
    let (server, kiln) = (TestRegistry::start(), Kiln::new());
    kiln.write("file", "content");
    let (root, state) = (kiln.at("storage").display().to_string(), kiln.at("state").display().to_string());
    let buildah = |arguments: &[&str]| {
        let fixed = ["--storage-driver", "vfs", "--root", &root, "--runroot", &state];
        run("buildah", [&fixed, arguments].concat()).trim().to_owned()
    };
    let container = buildah(&["from", "scratch"]);
    buildah(&["copy", &container, kiln.at("file").to_str().unwrap(), "/file"]);
    buildah(&["commit", &container, "image"]);
    for (tag, options) in [
        ("plain", &["--disable-compression"][..]),
        ("docker", &["--format", "docker"]),
        ("oci", &["--format", "oci"]),
        ("zstd", &["--format", "oci", "--compression-format", "zstd"]),
    ] {
        let name = format!("{}/{tag}:1", server.host());
        let to = format!("docker://{name}");
        buildah(&[&["push", "--tls-verify=false"], options, &["image", &to]].concat());
        reads(&kiln, &name);
    }
}

/// A registry of one manifest and some blobs.
struct Small {
    blobs: Vec<(Digest, Vec<u8>)>,
}

impl Small {
    fn start(self) -> WebServer {
        WebServer::start(move |request, _| {
            let served = self.blobs.iter().find(|(digest, _)| request.path.ends_with(&digest.to_string()));
            let newest = self.blobs.last().filter(|_| request.path.ends_with("/manifests/1"));
            served.or(newest).map_or(Answer::status(404), |(digest, bytes)| {
                Answer::file(bytes.clone()).with("Docker-Content-Digest", digest.to_string())
            })
        })
    }

    fn add(&mut self, bytes: impl Into<Vec<u8>>) -> (Digest, usize) {
        let bytes = bytes.into();
        let (digest, size) = (Digest::of(&bytes), bytes.len());
        self.blobs.push((digest, bytes));
        (digest, size)
    }
}

fn host(server: &WebServer) -> String {
    server.url("").replace("http://", "")
}

#[test]
fn a_foreign_layer_is_fetched_where_its_manifest_says_that_it_lies() {
    let kiln = Kiln::new();
    let tar = layer("file", b"content");
    let digest = Digest::of(&tar);
    let (elsewhere, size) =
        (WebServer::start(move |_, _| Answer::file(tar.clone())), layer("file", b"content").len());
    let mut small = Small { blobs: Vec::new() };
    let config = json!({
        "architecture": bases::host_architecture(), "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest.to_string()]},
    });
    let (config, config_size) = small.add(config.to_string());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": config.to_string(), "size": config_size,
        },
        "layers": [{
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar",
            "digest": digest.to_string(), "size": size,
            "urls": ["http://127.0.0.1:1/nobody", elsewhere.url("/layer")],
        }],
    });
    small.add(manifest.to_string());
    let server = small.start();
    kiln.write(
        "home/.docker/config.json",
        format!(r#"{{"auths": {{"{}": {{"auth": "dXNlcjpwdw=="}}}}}}"#, host(&server)),
    );
    reads(&kiln, &format!("{}/foreign:1", host(&server)));
    let asked = elsewhere.requests();
    assert!(!asked.is_empty() && asked.iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn what_is_no_image_is_refused_by_its_kind() {
    let kiln = Kiln::new();
    let signed = json!({
        "schemaVersion": 1, "name": "old", "tag": "1", "architecture": "amd64", "fsLayers": [], "history": [],
        "signatures": [],
    });
    let chart = |config: Digest, size: usize| {
        json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.cncf.helm.config.v1+json", "digest": config.to_string(), "size": size},
            "layers": [],
        })
    };
    let typed = |config: Digest, size: usize| {
        json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.sbom",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config.to_string(), "size": size},
            "layers": [],
        })
    };
    type Make<'m> = &'m dyn Fn(Digest, usize) -> Value;
    for (make, said) in [
        (&(|_, _| signed.clone()) as Make<'_>, "schema 1"),
        (&chart, "an artifact of the type `application/vnd.cncf.helm.config.v1+json`"),
        (&typed, "an artifact of the type `application/vnd.example.sbom`"),
    ] {
        let mut small = Small { blobs: Vec::new() };
        let (config, size) = small.add("{}");
        small.add(make(config, size).to_string());
        let server = small.start();
        let name = format!("{}/thing:1", host(&server));
        kiln.dockerfile(&format!("FROM {name}\n"));
        let build = ended(kiln.command().args(["build", "context"]));
        for ended in [kiln.run(&format!("pull {name}")), build] {
            assert_eq!(ended.code, Some(1), "{said}");
            assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
        }
        let blobs = server.requests().into_iter().filter(|request| request.path.contains("/blobs/")).count();
        assert_eq!(blobs, 0, "{said}: what is refused is not fetched");
    }
}
