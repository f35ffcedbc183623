//! Docker's verbs about images: what they find, print and remove.

use kiln::store::Store;
use serde_json::Value;

use crate::docker_cli::{build, kiln, lines, project};
use crate::support::kiln::{EPOCH, Kiln, ended};
use crate::support::{require, run};

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
    assert_eq!(kiln(&project, &["image", "ls", "--format", "{{.Tag"]).code, Some(1));
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
        store.note_seen(&manifest.parse().unwrap(), &name).unwrap();
        store.note_seen(&manifest.parse().unwrap(), &"library/app".parse().unwrap()).unwrap();
        store.note_seen(&manifest.parse().unwrap(), &name).unwrap();
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

/// One image in two forms, by codec, has one id.
#[test]
fn of_two_forms_of_an_image_the_one_without_a_name_is_removed() {
    let project = Kiln::new();
    let id = build(&project, "app", "one\n", &["-t", "app"]).text().trim().to_owned();
    let manifest =
        || lines(&project, &["image", "inspect", &id, "-f", "{{.Descriptor.digest}} {{.RepoTags}}"]);
    let gzip = manifest();
    let mut command = project.command();
    command.env("SOURCE_DATE_EPOCH", EPOCH).args(["build", "-q", "--platform", "linux/amd64", "-t", "app"]);
    command.args(["--output", "type=image,rewrite-timestamp=true,compression=zstd", "app"]);
    assert_eq!(ended(&mut command).success().text().trim(), id);
    let zstd = manifest();
    assert_ne!(gzip, zstd);
    assert!(zstd.ends_with(" [app:latest]"), "one with a name is meant");
    assert_eq!(lines(&project, &["images", "-q", "--no-trunc", "--filter", "dangling=true"]), id);
    assert_eq!(kiln(&project, &["rmi", &id]).success().text(), format!("Deleted: {id}\n"));
    assert_eq!(manifest(), zstd);
}
