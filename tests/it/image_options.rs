//! Options for the image that a build makes, by the built program.

use std::path::Path;

use serde_json::Value;

use crate::support::{self, build_bench::Bench};

/// Reads a JSON document.
fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The one manifest of a layout and its config, with the descriptor of the manifest.
struct Layout {
    descriptor: Value,
    manifest: Value,
    config: Value,
}

impl Layout {
    fn read(directory: &Path) -> Self {
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap();
            json(&directory.join("blobs").join(digest.replace(':', "/")))
        };
        let descriptor = json(&directory.join("index.json"))["manifests"][0].clone();
        let manifest = blob(&descriptor);
        let config = blob(&manifest["config"]);
        Self { descriptor, manifest, config }
    }

    fn layers(&self) -> &[Value] {
        self.manifest["layers"].as_array().unwrap()
    }
}

const STEPS: [&str; 5] = [
    "RUN echo one >/one && echo gone >/gone",
    "COPY Dockerfile /copied",
    "ENV A=b",
    "RUN rm /gone /etc/shadow && ln /one /two",
    "LABEL l=m",
];

#[test]
fn new_layers_are_squashed_and_the_base_is_kept() {
    let Some(bench) = Bench::new() else { return };
    let build = |name: &str, more: &[&str]| {
        let output = format!("--output=type=oci,dest={name},tar=false");
        bench.build(&STEPS, &[&[&*output], more].concat()).says(&[]);
        Layout::read(&bench.at(name))
    };
    let whole = build("whole", &[]);
    let squashed = build("squashed", &["--squash"]);
    assert_eq!((whole.layers().len(), squashed.layers().len()), (4, 2));
    assert_eq!(squashed.layers()[0], whole.layers()[0], "the base's layer stays");
    assert_eq!(whole.config["config"], squashed.config["config"]);
    let layer = squashed.layers()[1]["digest"].as_str().unwrap().replace(':', "/");
    let listed = support::run("tar", ["tzf", bench.at("squashed/blobs").join(layer).to_str().unwrap()]);
    let mut names: Vec<_> = listed.lines().collect();
    names.sort_unstable();
    assert_eq!(names, ["copied", "etc/", "etc/.wh.shadow", "one", "two"]);

    let history = squashed.config["history"].as_array().unwrap();
    let (merge, instructions) = history.split_last().unwrap();
    let comment = merge["comment"].as_str().unwrap();
    let whole_id = whole.manifest["config"]["digest"].as_str().unwrap();
    assert!(comment.starts_with(&format!("merge {whole_id} to sha256:")), "{comment}");
    assert!(merge["empty_layer"].is_null());
    let new = &instructions[instructions.len() - STEPS.len()..];
    assert!(new.iter().all(|entry| entry["empty_layer"] == true), "{history:?}");
    assert!(new[0]["created_by"].as_str().unwrap().contains("echo one"));
    assert_eq!(build("again", &["--squash"]).descriptor, squashed.descriptor, "a rebuild is the same image");

    let elsewhere = build("elsewhere", &["--squash", "--isolation=chroot", "--no-cache"]);
    let layer = elsewhere.layers()[1]["digest"].as_str().unwrap().replace(':', "/");
    let listed = support::run("tar", ["tzf", bench.at("elsewhere/blobs").join(layer).to_str().unwrap()]);
    assert_eq!(listed.lines().filter(|line| names.contains(line)).count(), names.len(), "{listed}");
}

#[test]
fn without_a_base_everything_is_squashed() {
    let Some(bench) = Bench::new() else { return };
    let lines = ["FROM scratch", "COPY Dockerfile /a", "COPY Dockerfile /b"];
    bench.build(&lines, &["--output=type=oci,dest=image,tar=false", "--squash"]).says(&[]);
    let image = Layout::read(&bench.at("image"));
    assert_eq!(image.layers().len(), 1);
    let history = image.config["history"].as_array().unwrap();
    assert_eq!(history.len(), 3);
    assert!(history[2]["comment"].as_str().unwrap().starts_with("create new from sha256:"), "{history:?}");
    // Nothing new: nothing to merge.
    bench.build(&["LABEL l=m"], &["--output=type=oci,dest=same,tar=false", "--squash"]).says(&[]);
    assert_eq!(Layout::read(&bench.at("same")).layers().len(), 1);
}

#[test]
fn annotations_stand_where_they_are_asked_for() {
    let Some(bench) = Bench::new() else { return };
    let output = "--output=type=oci,dest=image,tar=false";
    let annotations = ["--annotation=a=1", "--annotation=manifest,manifest-descriptor:b=2"];
    bench.build(&["LABEL l=m"], &[output, annotations[0], annotations[1], "-t", "app:1"]).says(&[]);
    let layout = Layout::read(&bench.at("image"));
    assert_eq!(layout.manifest["annotations"], serde_json::json!({"a": "1", "b": "2"}));
    assert_eq!(layout.descriptor["annotations"]["b"], "2");
    assert!(layout.descriptor["annotations"]["a"].is_null());
    bench.build(&["LABEL l=m"], &["--annotation=index:a=1"]).fails_with(&["has no index"]);
    bench.build(&["LABEL l=m"], &["--annotation=manifest-descriptor:a=1"]).fails_with(&["--output type=oci"]);
    // Docker's manifests have no annotations.
    bench.build(&["LABEL l=m"], &["--output=type=docker,dest=docker.tar", "--annotation=a=1"]).says(&[]);
    let listed = support::run("tar", ["xOf", bench.at("docker.tar").to_str().unwrap(), "index.json"]);
    assert!(listed.contains("application/vnd.oci.image.manifest.v1+json"), "{listed}");
}

#[test]
fn what_docker_accepts_is_accepted_or_refused_by_name() {
    let Some(bench) = Bench::new() else { return };
    let lines = ["LABEL l=m"];
    bench
        .build(
            &lines,
            &["--provenance=false", "--sbom=false", "--rm", "--force-rm=true", "--compress", "--load"],
        )
        .says(&["note: --rm makes no difference", "--compress"]);
    bench.build(&lines, &["--provenance=true"]).fails_with(&["--provenance: attestations are not supported"]);
    bench.build(&lines, &["--sbom"]).fails_with(&["--sbom: attestations are not supported"]);
    bench.build(&lines, &["--output=type=tar,dest=files.tar", "--load", "-t", "loaded:1"]).says(&[]);
    let mut list = std::process::Command::new(env!("CARGO_BIN_EXE_kiln"));
    let list = list.args(["image", "ls"]).env("KILN_STORE", bench.at("store")).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("loaded"), "{list}");
    assert!(bench.at("files.tar").exists());
}

#[test]
fn pull_asks_the_registry_although_the_store_has_the_name() {
    let Some(bench) = Bench::new() else { return };
    // Nobody listens there.
    let name = "127.0.0.1:1/app:1";
    bench.build(&["LABEL l=m"], &["-t", name]).says(&[]);
    let build = |more: &[&str]| {
        let context = format!("--build-context=base=docker-image://{name}");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.current_dir(bench.at("")).env("KILN_STORE", bench.at("store"));
        let output = command.args(["build", &context]).args(more).arg("context").output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (succeeded, text) = build(&[]);
    assert!(succeeded, "{text}");
    let (succeeded, text) = build(&["--pull"]);
    assert!(!succeeded && text.contains("127.0.0.1:1"), "{text}");
}

/// Statements 230 and 231: what the base's manifest says of itself is not said of the image.
#[test]
fn documents_are_oci_and_say_nothing_that_was_not_asked_for() {
    let Some(bench) = Bench::new() else { return };
    bench.build(&["LABEL l=m"], &["--output=type=oci,dest=image,tar=false"]).says(&[]);
    let layout = Layout::read(&bench.at("image"));
    assert_eq!(layout.manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(layout.manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    assert!(layout.manifest["annotations"].is_null(), "{}", layout.manifest);
    for layer in layout.layers() {
        let media_type = layer["mediaType"].as_str().unwrap();
        assert!(media_type.starts_with("application/vnd.oci.image.layer.v1.tar"), "{media_type}");
    }
}
