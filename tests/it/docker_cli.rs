//! Docker's command line, as scripts and deploy tools call it: builds, builders, the system. The verbs about images stand in
//! `docker_images.rs`.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use serde_json::Value;

use crate::support::kiln::{EPOCH, Ended, Kiln, ended};
use crate::support::listing::Image;
use crate::support::{skip, validate};

const DOCKERFILE: &str =
    "FROM scratch\nCOPY file /\nCOPY file /again\nENV A=1\nLABEL org.test=x kind=app\nCMD [\"/file\"]\n";

/// Runs a command line whose words are given one by one.
pub(crate) fn kiln(kiln: &Kiln, words: &[&str]) -> Ended {
    ended(kiln.command().args(words))
}

/// Builds the directory `name`, whose one file says `content`.
pub(crate) fn build(kiln: &Kiln, name: &str, content: &str, words: &[&str]) -> Ended {
    kiln.write(&format!("{name}/Dockerfile"), DOCKERFILE);
    kiln.write(&format!("{name}/file"), content);
    let mut command = kiln.command();
    command.env("SOURCE_DATE_EPOCH", EPOCH).args(["build", "-q", "--platform", "linux/amd64"]);
    command.args(["--output", "type=image,rewrite-timestamp=true"]).args(words).arg(name);
    ended(&mut command).success()
}

/// A store with `app:1`, `app:2` (the same image) and `example.org/tools/other:latest`.
pub(crate) fn project() -> Kiln {
    let kiln = Kiln::new();
    build(&kiln, "app", "one\n", &["-t", "app:1", "-t", "app:2"]);
    build(&kiln, "other", "other\n", &["-t", "example.org/tools/other"]);
    kiln
}

/// Returns what a command prints, its lines sorted and joined.
pub(crate) fn lines(kiln_: &Kiln, words: &[&str]) -> String {
    let ended = kiln(kiln_, words).success();
    let mut lines: Vec<&str> = ended.text().lines().collect();
    lines.sort_unstable();
    lines.join(" ")
}

/// The Dockerfile comes through a socket, which cannot be opened by a name such as /dev/stdin.
#[test]
fn a_dockerfile_on_a_socket() {
    let project = Kiln::new();
    project.write("app/file", "one\n");
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.write_all(DOCKERFILE.as_bytes()).unwrap();
    drop(ours);
    let mut command = project.command();
    command.args(
        "build --load -t wrangler:test --platform linux/amd64 --provenance=false --network host -f - app"
            .split(' '),
    );
    ended(command.stdin(OwnedFd::from(theirs))).success();
    assert_eq!(lines(&project, &["images", "--format", "{{.Repository}}:{{.Tag}}"]), "wrangler:test");
}

/// The line by which wrangler asks for zstd: no dest, so into the store; the base's layers too.
#[test]
fn layers_of_the_base_are_compressed_anew() {
    let Some(project) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    project.dockerfile("FROM busybox\nCOPY file /\n");
    project.write("context/file", "one\n");
    let line = "--output type=docker,oci-mediatypes=true,compression=zstd,compression-level=3,force-compression=true -t app context";
    project.build(line).success();
    let types = |name: &str| {
        kiln(&project, &["save", "--format", "oci", "-o", "image.tar", name]).success();
        validate::assert_sound(&project.at("image.tar"));
        let image = Image::read(&project.at("image.tar"));
        let layers = image.manifest["layers"].as_array().unwrap();
        layers
            .iter()
            .map(|layer| layer["mediaType"].as_str().unwrap().rsplit(['.', '+']).next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(types("app"), ["zstd", "zstd"]);
    let diff_ids = lines(&project, &["image", "inspect", "app", "-f", "{{json .RootFS.Layers}}"]);
    let manifest = lines(&project, &["image", "inspect", "app", "-f", "{{.Descriptor.digest}}"]);
    project.build(line).success();
    assert_eq!(lines(&project, &["image", "inspect", "app", "-f", "{{.Descriptor.digest}}"]), manifest);
    project.build("--output type=docker,compression=zstd -t mixed context").success();
    assert_eq!(types("mixed"), ["gzip", "zstd"]);
    assert_eq!(lines(&project, &["image", "inspect", "mixed", "-f", "{{json .RootFS.Layers}}"]), diff_ids);
}

#[test]
fn info_version_and_contexts() {
    let project = Kiln::new();
    let status = kiln(&project, &["info", "--format", "{{json .DriverStatus}}"]).success();
    assert!(status.text().contains("io.containerd.snapshotter.v1"));
    let host = kiln(
        &project,
        &["--host", "unix:///run/x.sock", "-D", "info", "--format", "{{json .SecurityOptions}}"],
    )
    .success();
    assert!(serde_json::from_str::<Vec<String>>(host.text()).is_ok());
    assert_eq!(
        host.stderr,
        "note: --debug makes no difference: there is no daemon\nnote: --host makes no difference: there is no daemon\n"
    );
    assert!(kiln(&project, &["system", "info"]).success().text().contains(" Isolation: "));
    assert_eq!(lines(&project, &["version", "-f", "{{.Server.Version}}"]), env!("CARGO_PKG_VERSION"));
    assert_eq!(
        lines(&project, &["version", "-f", "{{.Client.Os}}/{{.Client.Arch}}"]).split('/').next(),
        Some("linux")
    );
    assert_eq!(kiln(&project, &["version", "-f", "{{.Client.Foo}}"]).code, Some(1));
    let context: Value =
        serde_json::from_str(&lines(&project, &["context", "ls", "--format", "json"])).unwrap();
    assert_eq!((&context["Name"], &context["Current"]), (&"default".into(), &true.into()));
    assert!(context["DockerEndpoint"].as_str().unwrap().starts_with("unix://"));
    assert_eq!(lines(&project, &["context", "show"]), "default");
    assert_eq!(lines(&project, &["context", "inspect", "--format", "{{.Name}}"]), "default");
    assert_eq!(kiln(&project, &["context", "inspect", "other"]).code, Some(1));
    // Tools ask so whether there is a plugin.
    for words in [&[][..], &["buildx"], &["image"], &["system"], &["--host", "x", "context"]] {
        let help = kiln(&project, words).success();
        assert!(help.text().contains("Usage: "), "{words:?}");
    }
}

#[test]
fn what_is_not_kilns_business_is_refused_with_a_reason() {
    let project = Kiln::new();
    project.write("Dockerfile", "FROM scratch\n");
    for (line, code, expected) in [
        ("run -it alpine", 1, "error: run: kiln builds images and runs no containers\n"),
        ("ps -a", 1, "error: ps: kiln builds images and runs no containers\n"),
        ("compose up", 1, "error: compose: kiln builds images and runs no containers\n"),
        ("swarm init", 1, "error: swarm: kiln builds images and has no swarm\n"),
        ("buildx bake", 1, "error: buildx bake: kiln builds images and does not do this\n"),
        ("context create x", 1, "error: context create: kiln builds images and does not do this\n"),
        ("biuld .", 125, "error: unknown command `biuld`; did you mean `build`?; see `kiln --help`\n"),
        ("inspect --type volume x", 1, "error: --type volume: kiln has images only\n"),
        (
            "build --builder nobody .",
            1,
            "error: no builder \"nobody\" found; `kiln buildx create --name nobody` makes it\n",
        ),
    ] {
        let ended = project.run(line);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(code), expected), "{line}");
    }
    for (option, reason) in [
        ("-m", "limit the process"),
        ("--cgroup-parent=x", "limit the process"),
        ("--security-opt=x", "seccomp profile"),
        ("--attest=type=sbom", "attestations"),
        ("--provenance=true", "attestations"),
        ("--sbom", "attestations"),
        ("--output=type=image,push=true", "push"),
    ] {
        let ended = kiln(&project, &["build", option, "."]);
        assert_eq!(ended.code, Some(125), "{option}");
        let name = option.split('=').next().unwrap();
        assert!(ended.stderr.contains(name) && ended.stderr.contains(reason), "{option}: {}", ended.stderr);
    }
}

/// What docker/setup-buildx-action and docker/build-push-action call.
#[test]
fn recipes_for_buildx() {
    let project = Kiln::new();
    build(&project, "app", "one\n", &[]);
    let version = kiln(&project, &["buildx", "version"]).success();
    assert!(version.text().starts_with("github.com/docker/buildx v0."), "{version:?}");
    let create = "buildx create --name builder-1 --driver docker-container --buildkitd-flags --debug --use";
    let created = project.run(create).success();
    assert_eq!(
        (created.text(), created.stderr.as_str()),
        ("builder-1\n", "note: --buildkitd-flags makes no difference: kiln is its own builder\n")
    );
    assert_eq!(project.run(create).code, Some(1), "it exists");
    let shown = project.run("buildx inspect --bootstrap --builder builder-1").success();
    assert!(
        shown.text().starts_with("Name:          builder-1\nDriver:        docker-container\n"),
        "{shown:?}"
    );
    assert_eq!(
        lines(&project, &["buildx", "ls", "--format", "{{.Name}} {{.Current}}"]),
        "builder-1 true default false"
    );
    project.run("buildx build --builder builder-1 --provenance=false --iidfile id --metadata-file meta -t app:x app").success();
    let meta: Value = serde_json::from_slice(&std::fs::read(project.at("meta")).unwrap()).unwrap();
    assert_eq!(meta["containerimage.config.digest"], std::fs::read_to_string(project.at("id")).unwrap());
    assert_eq!(project.run("buildx use nobody").code, Some(1));
    project.run("buildx rm builder-1").success();
    assert_eq!(project.run("buildx inspect builder-1").code, Some(1));
    assert_eq!(project.run("buildx rm default").code, Some(1));
    assert!(project.run("buildx inspect").success().text().contains("Name:          default\n"));
}

#[test]
fn the_store_is_measured_and_pruned() {
    let project = project();
    let count = |kind: &str| {
        let rows = kiln(&project, &["system", "df", "--format", "{{.Type}}={{.TotalCount}}"]).success();
        let row = rows.text().lines().find_map(|row| row.strip_prefix(&format!("{kind}="))).unwrap();
        row.parse::<u64>().unwrap()
    };
    assert_eq!((count("Images"), count("Containers")), (2, 0));
    assert!(count("Build Cache") > 0);
    assert!(project.run("system df -v").success().text().contains("example.org/tools/other"));
    let freed = kiln(&project, &["builder", "prune", "-f", "--filter", "until=1h"]).success();
    assert_eq!(freed.text(), "Total:\t0B\n", "everything is younger");
    assert!(kiln(&project, &["builder", "prune", "-a", "-f"]).success().text().starts_with("Total:\t"));
    assert_eq!((count("Images"), count("Build Cache")), (2, 0));
    let only = kiln(&project, &["system", "prune", "-a", "-f", "--filter", "label=none"]).success();
    assert_eq!(only.text(), "Total reclaimed space: 0B\n");
    let all = kiln(&project, &["system", "prune", "--all", "--force", "--volumes"]).success();
    assert!(
        all.text().starts_with("Deleted Images:\nuntagged: app:1\nuntagged: app:2\ndeleted: sha256:"),
        "{all:?}"
    );
    assert_eq!(count("Images"), 0);
    let blobs = project.at("store/v1/blobs/sha256");
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0);
}

#[test]
fn surroundings_of_docker() {
    let project = Kiln::new();
    project.write(
        "app/Dockerfile",
        "FROM scratch\nARG HTTP_PROXY\nARG no_proxy\nLABEL a=$HTTP_PROXY b=$no_proxy\n",
    );
    let proxies = r#"{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "x"}}}"#;
    project.write("home/.docker/config.json", proxies);
    project.write("other/config.json", proxies.replace("p:1", "other:2"));
    let labels = |command: &mut Command| {
        ended(command).success();
        lines(
            &project,
            &["image", "inspect", "app", "-f", "{{.Config.Labels.a}} {{.Config.Labels.b}} {{.Architecture}}"],
        )
    };
    let host = lines(&project, &["version", "-f", "{{.Client.Arch}}"]);
    let words = ["build", "-q", "-t", "app", "app"];
    assert_eq!(labels(project.command().args(words)), format!("http://p:1 x {host}"));
    assert_eq!(
        labels(project.command().args(words).args(["--build-arg", "HTTP_PROXY=mine"])),
        format!("mine x {host}")
    );
    assert_eq!(
        labels(project.command().args(["--config", "other"]).args(words)),
        format!("http://other:2 x {host}")
    );
    let mut command = project.command();
    command.env("DOCKER_DEFAULT_PLATFORM", "linux/s390x").env("DOCKER_CONFIG", "none").args(words);
    assert_eq!(labels(&mut command), "  s390x");
    // The program does not look at its own name.
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kiln"), project.at("docker")).unwrap();
    let mut docker = Command::new(project.at("docker"));
    docker.env("KILN_STORE", project.at("store")).args(["image", "ls", "--format", "{{.Repository}}", "app"]);
    assert_eq!(ended(&mut docker).success().text(), "app\n");
}

/// Switches take values as Go's flags do, and can be joined.
#[test]
fn switches_are_gos() {
    let project = project();
    let (ids, whole) = (lines(&project, &["images", "-q"]), lines(&project, &["images", "-q", "--no-trunc"]));
    for (words, expected) in [
        (&["--quiet=true"][..], &ids),
        (&["-q=1"], &ids),
        (&["-aq"], &ids),
        (&["-qa", "--no-trunc=T"], &whole),
        (&["--no-trunc=false", "-q"], &ids),
    ] {
        assert_eq!(lines(&project, &[&["images"], words].concat()), *expected, "{words:?}");
    }
    assert!(lines(&project, &["images", "-q=false"]).contains("REPOSITORY"));
    assert_eq!(kiln(&project, &["images", "-q=maybe"]).code, Some(125));
    let built = kiln(
        &project,
        &["build", "--no-cache=false", "--pull=false", "--rm=true", "--load=true", "-q", "app"],
    );
    assert_eq!(built.success().text().lines().count(), 1);
    assert!(kiln(&project, &["image", "prune", "-af"]).success().text().contains("untagged: app:1"));
}

#[test]
fn shells_complete_commands() {
    let project = Kiln::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = project.run(&format!("completion {shell}")).success();
        assert!(script.text().contains("buildx") && script.text().contains("no-trunc"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let project = Kiln::new();
    for line in ["--help", "images", "info", "system df", "version", "completion bash"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = project.command();
        let output = command.args(line.split(' ')).stdout(writer).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && told.is_empty(), "{line}: {}: {told}", output.status);
    }
    project.dockerfile("FROM scratch\nCOPY . /\n");
    for (line, code) in [
        ("build context", 0),
        ("kaniko --no-push --cleanup -c context", 0),
        ("push none:1", 1),
        ("none", 125),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = project.command();
        let output = command.args(line.split(' ')).stderr(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{line}: {}", output.status);
    }
}
