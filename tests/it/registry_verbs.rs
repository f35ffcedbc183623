//! The verbs that speak with registries, as a user types them.

use serde_json::{Value, json};

use crate::pull::layer;
use crate::support::fault::{Fault, FaultProxy};
use crate::support::kiln::{Kiln, ended};
use crate::support::registry::{Options, TestRegistry};
use crate::support::{bases, push, require};

/// Pushes `team/app:multi` for two platforms and `team/app:1` for this one; returns their digests.
fn fill(server: &TestRegistry) -> (String, String) {
    let layout = server.folder().join("layout");
    let image = |name: &str| bases::Image::new(vec![layer("base", b"b"), layer("etc/arch", name.as_bytes())]);
    let several = [image("amd64").for_platform("amd64", ""), image("arm64").for_platform("arm64", "v8")];
    let index = bases::write_layout(&layout, "multi", &several);
    let one = bases::write_layout(&layout, "1", &[image("one")]);
    for tag in ["multi", "1"] {
        push(&layout, tag, &format!("{}/team/app:{tag}", server.host()), None);
    }
    (index, one)
}

#[test]
fn pull_prints_what_docker_prints() {
    require!("docker-registry", "skopeo");
    let (server, kiln) = (TestRegistry::start(), Kiln::new());
    let (index, one) = fill(&server);
    let name = format!("{}/team/app:1", server.host());
    let first = kiln.run(&format!("pull {name}")).success();
    let lines: Vec<&str> = first.text().lines().collect();
    assert_eq!(lines[0], "1: Pulling from team/app");
    assert_eq!(lines.iter().filter(|line| line.ends_with(": Pull complete")).count(), 2, "{lines:?}");
    let end = [format!("Digest: {one}"), format!("Status: Downloaded newer image for {name}"), name.clone()];
    assert_eq!(lines[lines.len() - 3..], end);
    let again = kiln.run(&format!("pull {name}")).success();
    assert!(again.text().contains(&format!("Status: Image is up to date for {name}\n")), "{}", again.text());
    assert_eq!(kiln.run(&format!("pull -q {name}")).success().text(), format!("{name}\n"));
    drop(kiln.run(&format!("save -o saved.tar {name}")).success());

    let multi = format!("{}/team/app:multi", server.host());
    let pulled = kiln.run(&format!("pull --platform linux/arm64 {multi}")).success();
    assert!(pulled.text().contains(&format!("Digest: {index}\n")), "{}", pulled.text());
    assert_eq!(pulled.stderr, "");
    let other = kiln.run(&format!("pull --platform linux/riscv64 {name}")).success();
    assert_eq!(other.stderr, format!("warning: {name} is for linux/amd64, not for linux/riscv64\n"));
    let pinned = format!("{}/team/app@{index}", server.host());
    assert_eq!(kiln.run(&format!("pull -q {pinned}")).success().text(), format!("{pinned}\n"));
    let all = kiln.run(&format!("pull -q -a {}/team/app", server.host())).success();
    let mut names: Vec<&str> = all.text().lines().collect();
    names.sort_unstable();
    assert_eq!(names, [&name, &multi]);

    for (line, code, said) in [
        (format!("pull {}/team/app:2", server.host()), 1, "has no team/app:2"),
        (format!("pull -a {name}"), 125, "without tag"),
        (format!("pull --platform linux/s390x {multi}"), 1, "no image for linux/s390x"),
        ("pull A".to_owned(), 125, "lower-case"),
    ] {
        let ended = kiln.run(&line);
        assert_eq!(ended.code, Some(code), "{line}: {ended:?}");
        assert!(ended.stderr.contains(said), "{line}: {ended:?}");
    }
}

#[test]
fn a_pulled_image_is_built_upon_without_the_registry() {
    require!("docker-registry", "skopeo");
    let (server, kiln) = (TestRegistry::start(), Kiln::new());
    fill(&server);
    let name = format!("{}/team/app:1", server.host());
    kiln.run(&format!("pull {name}")).success();
    drop(server);
    kiln.dockerfile(&format!("FROM {name}\nCOPY --from={name} /etc/arch /arch\n"));
    let built = ended(kiln.command().args(["build", "--output", "type=local,dest=out", "context"])).success();
    assert!(built.text().is_empty() || built.code == Some(0));
    assert_eq!(std::fs::read_to_string(kiln.at("out/arch")).unwrap(), "one");
}

#[test]
fn manifests_have_dockers_shapes() {
    require!("docker-registry", "skopeo");
    let (server, kiln) = (TestRegistry::start(), Kiln::new());
    let (index, one) = fill(&server);
    let inspect = |arguments: &str| -> Value {
        let ended = kiln.run(&format!("manifest inspect {arguments}")).success();
        serde_json::from_slice(&ended.stdout).unwrap()
    };
    let name = format!("{}/team/app", server.host());
    let raw = std::fs::read(server.blob_path(&one)).unwrap();
    let manifest: Value = serde_json::from_slice(&raw).unwrap();
    assert_eq!(inspect(&format!("{name}:1")), manifest);
    let shown = inspect(&format!("-v {name}:1"));
    assert_eq!(
        shown["Descriptor"],
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": one, "size": raw.len(),
            "platform": {"architecture": bases::host_architecture(), "os": "linux"},
        })
    );
    assert_eq!((&shown["Ref"], &shown["OCIManifest"]), (&json!(format!("{name}:1")), &manifest));
    let several = inspect(&format!("-v {name}@{index}"));
    let platforms: Vec<&Value> = several
        .as_array()
        .unwrap()
        .iter()
        .map(|each| &each["Descriptor"]["platform"]["architecture"])
        .collect();
    assert_eq!(platforms, [&json!("amd64"), &json!("arm64")]);
    assert_eq!(
        several[1]["Ref"],
        json!(format!("{name}@{}", several[1]["Descriptor"]["digest"].as_str().unwrap()))
    );
    assert_eq!(inspect(&format!("{name}:multi"))["manifests"].as_array().unwrap().len(), 2);

    let missing = kiln.run(&format!("manifest inspect -v {name}:none"));
    assert_eq!((missing.code, missing.stdout.len()), (Some(1), 0));
    assert!(missing.stderr.contains(&format!("no such manifest: {name}:none")), "{}", missing.stderr);
    // What the store has is no answer.
    kiln.run(&format!("pull {name}:1")).success();
    drop(server);
    assert_eq!(kiln.run(&format!("manifest inspect {name}:1")).code, Some(1));
}

#[test]
fn an_image_of_a_registry_is_inspected_without_its_layers() {
    require!("docker-registry", "skopeo");
    let (server, kiln) = (TestRegistry::start(), Kiln::new());
    let (_, one) = fill(&server);
    let proxy = FaultProxy::start(&server.host(), |_, _| Fault::None);
    let name = format!("{}/team/app", proxy.host());
    let shown = kiln.run(&format!("image inspect docker://{name}:1")).success();
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown[0]["RepoDigests"], json!([format!("{name}@{one}")]));
    assert_eq!(shown[0]["RepoTags"], json!([format!("{name}:1")]));
    assert_eq!(shown[0]["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    let config = shown[0]["Id"].as_str().unwrap();
    assert!(proxy.requests("/blobs/").iter().all(|request| request.path.ends_with(config)));
    assert_eq!(kiln.run(&format!("image inspect docker://{name}:none")).code, Some(1));
}

#[test]
fn tags_are_listed_over_all_pages() {
    let kiln = Kiln::new();
    let answer = |next: &str, body: &str| Fault::Answer {
        status: 200,
        header: next.to_owned(),
        body: body.to_owned(),
    };
    let proxy = FaultProxy::start("127.0.0.1:1", move |request, _| match request.path.as_str() {
        "/v2/a/tags/list?n=1000" => {
            answer(r#"Link: </v2/a/tags/list?n=2&last=2>; rel="next""#, r#"{"name":"a","tags":["1","2"]}"#)
        }
        "/v2/a/tags/list?n=2&last=2" => answer(
            &format!(r#"Link: <http://{}/v2/a/tags/list?n=2&last=3>; rel="next""#, request.host),
            r#"{"name":"a","tags":["3"]}"#,
        ),
        "/v2/a/tags/list?n=2&last=3" => answer("X-A: 1", r#"{"name":"a","tags":null}"#),
        "/v2/round/tags/list?n=1000" => {
            answer(r#"Link: </v2/round/tags/list?n=1000>; rel="next""#, r#"{"tags":["x"]}"#)
        }
        _ => Fault::Status(404),
    });
    let host = proxy.host();
    assert_eq!(kiln.run(&format!("tags {host}/a")).success().text(), "1\n2\n3\n");
    for (name, said) in [("round", "does not end"), ("none", "has no none"), ("a:1", "without tag")] {
        let ended = kiln.run(&format!("tags {host}/{name}"));
        assert!(ended.code != Some(0) && ended.stderr.contains(said), "{ended:?}");
    }
}

#[test]
fn what_is_deleted_is_gone_and_a_registry_that_keeps_all_says_so() {
    require!("docker-registry", "skopeo");
    let kiln = Kiln::new();
    for keeps_all in [false, true] {
        let server = TestRegistry::start_with(&Options { keeps_all, ..Options::default() });
        let (_, one) = fill(&server);
        let name = format!("{}/team/app", server.host());
        let tag = kiln.run(&format!("delete {name}:1"));
        assert_eq!(tag.code, Some(1), "this registry deletes no tags");
        assert!(tag.stderr.contains("--manifest"), "{}", tag.stderr);
        let manifest = kiln.run(&format!("delete --manifest {name}:1"));
        let exists = kiln.run(&format!("manifest inspect {name}:1")).code == Some(0);
        assert_eq!(exists, keeps_all);
        if keeps_all {
            assert!(manifest.stderr.contains("deletion is disabled"), "{}", manifest.stderr);
        } else {
            assert_eq!(manifest.success().text(), format!("Deleted: {name}@{one}\n"));
            assert!(kiln.run(&format!("delete {name}@{one}")).stderr.contains("404"));
        }
        for (what, said) in [(":nope", "has no"), ("", "name the tag")] {
            let ended = kiln.run(&format!("delete {name}{what}"));
            assert!(ended.code != Some(0) && ended.stderr.contains(said), "{ended:?}");
        }
    }
}

#[test]
fn a_tag_is_deleted_where_the_registry_can() {
    require!("docker-registry", "skopeo");
    let (server, kiln) = (TestRegistry::start(), Kiln::new());
    fill(&server);
    let proxy = FaultProxy::start(&server.host(), |request, _| {
        if request.method == "DELETE" { Fault::Status(202) } else { Fault::None }
    });
    let name = format!("{}/team/app:1", proxy.host());
    assert_eq!(kiln.run(&format!("delete {name}")).success().text(), format!("Untagged: {name}\n"));
    let asked: Vec<String> = proxy
        .requests("")
        .into_iter()
        .filter(|request| request.method == "DELETE")
        .map(|request| request.path)
        .collect();
    assert_eq!(asked, ["/v2/team/app/manifests/1"]);
}

#[test]
fn referrers_come_from_the_list_or_from_the_tag_in_its_place() {
    require!("docker-registry", "skopeo");
    let (server, kiln) = (TestRegistry::start(), Kiln::new());
    let (_, one) = fill(&server);
    let entry = |kind: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{one}","size":7,"artifactType":"{kind}"}}"#
        )
    };
    let list = format!(r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#, entry("a/b"), entry("c/d"));
    let fallback = one.replace(':', "-");
    for has_list in [true, false] {
        let (list, fallback) = (list.clone(), fallback.clone());
        let proxy = FaultProxy::start(&server.host(), move |request, _| {
            let answer = Fault::Answer {
                status: 200,
                header: "Content-Type: application/vnd.oci.image.index.v1+json".into(),
                body: list.clone(),
            };
            match request.path.as_str() {
                path if path.contains("/referrers/") && has_list => answer,
                path if path.contains("/referrers/") => Fault::Status(404),
                path if path.ends_with(&fallback) && !has_list => answer,
                _ => Fault::None,
            }
        });
        let name = format!("{}/team/app:1", proxy.host());
        let all = kiln.run(&format!("referrers {name}")).success();
        assert_eq!(all.text(), format!("{one} a/b 7\n{one} c/d 7\n"));
        let some = kiln.run(&format!("referrers --artifact-type c/d {name}")).success();
        assert_eq!(some.text(), format!("{one} c/d 7\n"));
    }
    assert_eq!(kiln.run(&format!("referrers {}/team/app:1", server.host())).success().text(), "");
}

#[test]
fn waiting_for_a_busy_registry_is_said_aloud() {
    require!("docker-registry", "skopeo");
    let (server, kiln) = (TestRegistry::start(), Kiln::new());
    fill(&server);
    let busy = |request: &crate::support::fault::Request, earlier| match (request.method.as_str(), earlier) {
        ("HEAD", 0) => Fault::Answer { status: 503, header: "Retry-After: 0".into(), body: String::new() },
        _ => Fault::None,
    };
    let proxy = FaultProxy::start(&server.host(), busy);
    let pull = kiln.run(&format!("pull {}/team/app:1", proxy.host())).success();
    assert!(pull.stderr.contains("503") && pull.stderr.contains("asking again"), "{}", pull.stderr);
    for (style, said) in [("plain", "warning: "), ("rawjson", r#"{"event":"notice","message":""#)] {
        let proxy = FaultProxy::start(&server.host(), busy);
        kiln.dockerfile(&format!("FROM {}/team/app:1\n", proxy.host()));
        let build = ended(kiln.command().args(["build", "--progress", style, "context"])).success();
        let notice = build.stderr.lines().find(|line| line.contains("asking again"));
        assert!(notice.is_some_and(|line| line.starts_with(said)), "{style}: {}", build.stderr);
    }
}
