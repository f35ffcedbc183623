//! Docker's command line, as scripts and deploy tools call it.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use kiln::store::Store;
use serde_json::Value;

use crate::support::kiln::{EPOCH, Ended, Kiln, ended};
use crate::support::listing::Image;
use crate::support::{require, run, skip, validate};

const DOCKERFILE: &str =
    "FROM scratch\nCOPY file /\nCOPY file /again\nENV A=1\nLABEL org.test=x kind=app\nCMD [\"/file\"]\n";

/// Runs a command line whose words are given one by one.
fn kiln(kiln: &Kiln, words: &[&str]) -> Ended {
    ended(kiln.command().args(words))
}

/// Builds the directory `name`, whose one file says `content`.
fn build(kiln: &Kiln, name: &str, content: &str, words: &[&str]) -> Ended {
    kiln.write(&format!("{name}/Dockerfile"), DOCKERFILE);
    kiln.write(&format!("{name}/file"), content);
    let mut command = kiln.command();
    command.env("SOURCE_DATE_EPOCH", EPOCH).args(["build", "-q", "--platform", "linux/amd64"]);
    command.args(["--output", "type=image,rewrite-timestamp=true"]).args(words).arg(name);
    ended(&mut command).success()
}

/// A store with `app:1`, `app:2` (the same image) and `example.org/tools/other:latest`.
fn project() -> Kiln {
    let kiln = Kiln::new();
    build(&kiln, "app", "one\n", &["-t", "app:1", "-t", "app:2"]);
    build(&kiln, "other", "other\n", &["-t", "example.org/tools/other"]);
    kiln
}

/// Returns what a command prints, its lines sorted and joined.
fn lines(kiln_: &Kiln, words: &[&str]) -> String {
    let ended = kiln(kiln_, words).success();
    let mut lines: Vec<&str> = ended.text().lines().collect();
    lines.sort_unstable();
    lines.join(" ")
}

#[test]
fn listings_are_filtered_and_formatted() {
    let project = project();
    let both = "app:1 app:2";
    let all = "app:1 app:2 example.org/tools/other:latest";
    for (words, expected) in [
        (&[][..], all),
        (&["app"], both),
        (&["app:1"], "app:1"),
        (&["docker.io/library/app"], both),
        (&["nothing"], ""),
        (&["--filter", "reference=app"], both),
        (&["--filter", "reference=a*:1"], "app:1"),
        (&["--filter", "reference=example.org/*"], ""),
        (&["--filter", "reference=example.org/tools/*"], "example.org/tools/other:latest"),
        (&["--filter", "reference=app:1", "--filter", "reference=app:2"], both),
        (&["--filter", "label=kind"], all),
        (&["--filter", "label=kind=app", "--filter", "label=org.test=y"], ""),
        (&["--filter", "dangling=true"], ""),
        (&["--filter", "dangling=false"], all),
        (&["--filter", "until=2020-01-01"], ""),
        (&["--filter", "since=app:1"], ""),
        (&["-a"], all),
    ] {
        let words = [&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], words].concat();
        assert_eq!(lines(&project, &words), expected, "{words:?}");
        let words = [&["images"], &words[2..]].concat();
        assert_eq!(lines(&project, &words), expected, "{words:?}");
    }
    let id = lines(&project, &["image", "inspect", "app:1", "--format", "{{.Id}}"]);
    let short = &id[7..19];
    assert_eq!(lines(&project, &["images", "-q", "app"]), format!("{short} {short}"), "one for each name");
    assert_eq!(lines(&project, &["images", "-q", "--no-trunc", "app:1"]), id);
    let json = lines(&project, &["image", "ls", "app:1", "--format", "json"]);
    let row: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(row["CreatedAt"], "2023-11-14 22:13:20 +0000 UTC");
    assert_eq!(
        (&row["ID"], &row["Size"], &row["Digest"], &row["Containers"]),
        (&short.into(), &"8B".into(), &"<none>".into(), &"N/A".into())
    );
    for wrong in ["nope=1", "dangling", "dangling=maybe", "until=soon", "reference=[", "before=nothing"] {
        let ended = kiln(&project, &["image", "ls", "--filter", wrong]);
        assert_eq!(ended.code, Some(1), "{wrong}");
    }
}

#[test]
fn images_are_inspected_by_templates() {
    let project = project();
    for (format, expected) in [
        ("{{ .Size }} {{ len .RootFS.Layers }}", "8 2"),
        ("{{ json .RepoDigests }}", "[]"),
        ("{{ .Os }}/{{ .Architecture }}", "linux/amd64"),
        ("{{json .RepoTags}}", r#"["app:1","app:2"]"#),
        (r#"{{index .Config.Labels "org.test"}}{{index .Config.Labels "none"}}"#, "x"),
        ("{{.Config.Labels}} {{.Config.User}}|{{.Config.Entrypoint}}", "map[kind:app org.test:x] |[]"),
        (
            "{{range .Config.Env}}{{println .}}{{end}}",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nA=1\n",
        ),
    ] {
        for verb in [&["image", "inspect"][..], &["inspect"], &["inspect", "--type", "image"]] {
            let ended = kiln(&project, &[verb, &["app:1", "--format", format]].concat()).success();
            assert_eq!(ended.text(), format!("{expected}\n"), "{format}");
        }
    }
    for (format, code) in [("{{.Size", 64), ("{{.Nope}}", 1), ("{{nope}}", 1)] {
        let ended = kiln(&project, &["image", "inspect", "app:1", "-f", format]);
        assert_eq!((ended.code, ended.text()), (Some(code), ""), "{format}: {}", ended.stderr);
    }
    let both = kiln(&project, &["inspect", "app:1", "nothing", "example.org/tools/other", "-f", "{{.Os}}"]);
    assert_eq!(
        (both.code, both.text(), both.stderr.as_str()),
        (Some(1), "linux\nlinux\n", "error: No such object: nothing\n")
    );
    let none = kiln(&project, &["image", "inspect", "nothing"]);
    assert_eq!(
        (none.code, none.text(), none.stderr.as_str()),
        (Some(1), "[]\n", "error: No such image: nothing\n")
    );
}

/// What kiln says of an image is what skopeo reads from its archive.
#[test]
fn another_tool_says_the_same() {
    require!("skopeo");
    let project = project();
    kiln(&project, &["save", "-o", "all.tar", "app:1", "app:2", "example.org/tools/other"]).success();
    for name in ["app:1", "app:2", "example.org/tools/other:latest"] {
        let archive = format!("docker-archive:{}:{name}", project.at("all.tar").display());
        let theirs: Value = serde_json::from_str(&run("skopeo", ["inspect", "--config", &archive])).unwrap();
        let id = run("skopeo", ["inspect", "--raw", &archive]);
        let manifest: Value = serde_json::from_str(&id).unwrap();
        let own: Value =
            serde_json::from_slice(&kiln(&project, &["image", "inspect", name]).success().stdout).unwrap();
        assert_eq!(own[0]["Id"], manifest["config"]["digest"], "{name}");
        assert_eq!(own[0]["RootFS"]["Layers"], theirs["rootfs"]["diff_ids"], "{name}");
        assert_eq!(own[0]["Config"], theirs["config"], "{name}");
        assert_eq!(own[0]["Architecture"], theirs["architecture"], "{name}");
        assert_eq!(own[0]["Created"], theirs["created"], "{name}");
    }
}

#[test]
fn several_images_are_saved_and_loaded() {
    let project = project();
    // A name without a tag means all tags of its repository; shared layers are written once.
    kiln(&project, &["image", "save", "--output", "all.tar", "app", "example.org/tools/other:latest"])
        .success();
    let other = |words: &[&str]| ended(project.command().env("KILN_STORE", project.at("second")).args(words));
    let loaded = other(&["image", "load", "-i", "all.tar"]).success();
    let expected = "Loaded image: app:1\nLoaded image: app:2\nLoaded image: example.org/tools/other:latest\n";
    assert_eq!(loaded.text(), expected);
    assert_eq!(other(&["load", "-q", "-i", "all.tar"]).success().text(), "");
    for name in ["app:2", "example.org/tools/other"] {
        let format = ["image", "inspect", name, "-f", "{{.Id}} {{.Size}} {{json .RepoTags}}"];
        assert_eq!(other(&format).success().text(), kiln(&project, &format).success().text());
    }
    // Under an id an image has no name.
    let id = lines(&project, &["image", "inspect", "app:1", "-f", "{{.Id}}"]);
    kiln(&project, &["save", "-o", "id.tar", &id[7..19]]).success();
    let third = |words: &[&str]| ended(project.command().env("KILN_STORE", project.at("third")).args(words));
    assert_eq!(third(&["load", "-i", "id.tar"]).success().text(), format!("Loaded image ID: {id}\n"));
    assert_eq!(
        third(&["images", "-q", "--no-trunc", "--filter", "dangling=true"]).success().text(),
        format!("{id}\n")
    );
    let missing = kiln(&project, &["save", "-o", "x.tar", "app:1", "nothing"]);
    assert_eq!((missing.code, missing.stderr.as_str()), (Some(1), "error: No such image: nothing\n"));
    assert!(!project.at("x.tar").exists());
}

#[test]
fn an_image_goes_with_its_last_name() {
    let project = project();
    let id = lines(&project, &["image", "inspect", "app:1", "-f", "{{.Id}}"]);
    let refused = kiln(&project, &["rmi", &id[7..15]]);
    assert_eq!(refused.code, Some(1));
    let expected = format!(
        "error: conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories: remove it \
         by name, or use --force\n",
        &id[7..19]
    );
    assert_eq!(refused.stderr, expected);
    assert_eq!(kiln(&project, &["image", "rm", "app:2"]).success().text(), "Untagged: app:2\n");
    let some = kiln(&project, &["rmi", "nothing", "app:1"]);
    assert_eq!(some.text(), format!("Untagged: app:1\nDeleted: {id}\n"));
    assert_eq!((some.code, some.stderr.as_str()), (Some(1), "error: No such image: nothing\n"));
    assert_eq!(kiln(&project, &["rmi", "--force", "nothing"]).success().text(), "");
    kiln(&project, &["tag", "example.org/tools/other", "a"]).success();
    let other = lines(&project, &["images", "-q", "a"]);
    let forced = kiln(&project, &["image", "remove", "-f", &other]).success();
    assert!(
        forced
            .text()
            .starts_with("Untagged: a:latest\nUntagged: example.org/tools/other:latest\nDeleted: sha256:")
    );
    assert_eq!(lines(&project, &["images", "-q"]), "");
}

#[test]
fn what_has_no_name_is_found_by_its_id_until_it_is_pruned() {
    let project = Kiln::new();
    let first = build(&project, "app", "one\n", &["-t", "app"]).text().trim().to_owned();
    let second = build(&project, "app", "two\n", &["-t", "app"]).text().trim().to_owned();
    let unnamed = build(&project, "app", "three\n", &[]).text().trim().to_owned();
    let mut ids = [first.as_str(), unnamed.as_str()];
    ids.sort_unstable();
    let dangling = ["images", "--filter", "dangling=true", "-q", "--no-trunc"];
    assert_eq!(lines(&project, &dangling), ids.join(" "), "the name moved to another image");
    kiln(&project, &["tag", &unnamed, "kept:1"]).success();
    assert_eq!(lines(&project, &dangling), first);
    assert_eq!(kiln(&project, &["image", "prune"]).success().text().matches("[y/N]").count(), 1);
    assert_eq!(lines(&project, &dangling), first, "nobody said yes");
    assert_eq!(
        kiln(&project, &["image", "prune", "-f", "--filter", "until=2000-01-01"]).success().text(),
        "Total reclaimed space: 0B\n"
    );
    let pruned = kiln(&project, &["image", "prune", "-f"]).success();
    assert!(
        pruned.text().starts_with(&format!("Deleted Images:\ndeleted: {first}\n\nTotal reclaimed")),
        "{pruned:?}"
    );
    assert_eq!(lines(&project, &["images", "--format", "{{.Repository}}"]), "app kept");
    let all = kiln(&project, &["image", "prune", "--all", "--force"]).success();
    assert!(all.text().contains(&format!("untagged: app:latest\ndeleted: {second}\n")), "{all:?}");
    assert_eq!(kiln(&project, &["image", "inspect", &unnamed]).code, Some(1));
}

#[test]
fn history_is_dockers() {
    let project = project();
    let format = r"table {{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
    insta::assert_snapshot!(kiln(&project, &["history", "app:1", "--format", format]).success().text(), @r#"
    CREATED BY                    SIZE      COMMENT
    CMD ["/file"]                 0B        buildkit.dockerfile.v0
    LABEL org.test=x kind=app     0B        buildkit.dockerfile.v0
    ENV A=1                       0B        buildkit.dockerfile.v0
    COPY file /again # buildkit   4B        buildkit.dockerfile.v0
    COPY file / # buildkit        4B        buildkit.dockerfile.v0
    "#);
    let exact =
        kiln(&project, &["image", "history", "app:1", "--human=false", "--no-trunc", "--format", "json"])
            .success();
    let rows: Vec<Value> = exact.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let id = lines(&project, &["image", "inspect", "app:1", "-f", "{{.Id}}"]);
    assert_eq!((&rows[0]["ID"], &rows[1]["ID"]), (&id.as_str().into(), &"<missing>".into()));
    assert_eq!(rows[4]["Size"], "4");
    assert_eq!(rows[4]["CreatedAt"], "2023-11-14T22:13:20Z");
}

/// What a registry has belongs to the content: it outlives all names, is there again after the same build, and ends
/// with the blobs.
#[test]
fn repositories_of_an_image_outlive_its_names() {
    let project = project();
    let digests = |name: &str| lines(&project, &["image", "inspect", name, "-f", "{{json .RepoDigests}}"]);
    let manifest = lines(&project, &["image", "inspect", "app:1", "-f", "{{.Descriptor.digest}}"]);
    {
        let store = Store::open(&project.at("store")).unwrap();
        let name = "registry.test:5000/a/app:1".parse().unwrap();
        store.add_repo_digest(&name, &manifest.parse().unwrap()).unwrap();
        store.add_repo_digest(&"library/app".parse().unwrap(), &manifest.parse().unwrap()).unwrap();
        store.add_repo_digest(&name, &manifest.parse().unwrap()).unwrap();
    }
    let expected = format!(r#"["app@{manifest}","registry.test:5000/a/app@{manifest}"]"#);
    assert_eq!(digests("app:1"), expected);
    assert_eq!(digests("app:2"), expected);
    assert_eq!(digests("example.org/tools/other"), "[]");
    assert_eq!(digests(&format!("registry.test:5000/a/app@{manifest}")), expected);
    assert_eq!(
        lines(&project, &["images", "--digests", "app:1", "--format", "{{.Digest}}"]),
        manifest,
        "the digest of the same repository"
    );
    kiln(&project, &["rmi", "app:1", "app:2"]).success();
    build(&project, "app", "one\n", &["-t", "again"]);
    assert_eq!(digests("again"), expected);
    build(&project, "app", "two\n", &["-t", "again"]);
    assert_eq!(digests("again"), "[]");
    kiln(&project, &["system", "prune", "-f"]).success();
    build(&project, "app", "one\n", &["-t", "again"]);
    assert_eq!(digests("again"), "[]", "the collection took the image");
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
        ("--memory=1g", "limit the process"),
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
