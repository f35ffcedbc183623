//! `kiln push` and `kiln build --push`, as users call them.

use serde_json::Value;

use crate::pull_faults::noise;
use crate::support::kiln::Kiln;
use crate::support::registry::TestRegistry;
use crate::support::{listing, require, run, validate};

fn digest_of(server: &TestRegistry, name: &str) -> String {
    let name = format!("docker://{}/{name}", server.host());
    let text =
        run("skopeo", ["inspect", "--no-tags", "--tls-verify=false", "--format", "{{.Digest}}", &name]);
    text.trim().to_owned()
}

/// A context whose image has a large layer, and a small one made of `text`.
fn context(kiln: &Kiln, text: &str) {
    kiln.write("context/noise", noise(200_000));
    kiln.write("context/text", text);
    kiln.write("context/Dockerfile", "FROM scratch\nCOPY noise /noise\nCOPY text /text\nENV A=b\n");
}

#[test]
fn the_output_is_dockers() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    let kiln = Kiln::new();
    context(&kiln, "one");
    let name = format!("{}/team/app", server.host());
    kiln.run(&format!("build -t {name}:1 -t {name}:2 context")).success();
    let pushed = kiln.run(&format!("push {name}:1")).success();
    let digest = digest_of(&server, "team/app:1");
    let lines: Vec<&str> = pushed.text().lines().collect();
    assert_eq!(lines[0], format!("The push refers to repository [{name}]"));
    assert!(lines[4].starts_with(&format!("1: digest: {digest} size: ")), "{lines:?}");
    let words: Vec<&str> = lines[1..4].iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(words, ["Pushed"; 3], "{lines:?}");
    let again = kiln.run(&format!("push {name}:1")).success();
    assert_eq!(again.text().matches(": Layer already exists\n").count(), 3);
    assert_eq!(kiln.run(&format!("push -q {name}:1")).success().text(), format!("{name}:1\n"));
    let all = kiln.run(&format!("push -a {name}")).success();
    assert_eq!(all.text().matches(&digest).count(), 2);
    assert_eq!(digest_of(&server, "team/app:2"), digest);

    let missing = kiln.run(&format!("push {name}:3"));
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("no such image"), "{}", missing.stderr);
}

#[test]
fn the_digest_is_the_same_wherever_the_image_comes_from() {
    require!("docker-registry", "skopeo", "umoci");
    let server = TestRegistry::start();
    let kiln = Kiln::new();
    context(&kiln, "one");
    kiln.run("build -t app:1 context").success();
    kiln.run("save --format oci -o oci.tar app:1").success();
    kiln.run("save --format docker -o docker.tar app:1").success();
    let layout = kiln.at("layout");
    run(
        "skopeo",
        [
            "copy",
            &format!("oci-archive:{}", kiln.at("oci.tar").display()),
            &format!("oci:{}:x", layout.display()),
        ],
    );
    let host = server.host();
    kiln.run(&format!("push app:1 {host}/a:1")).success();
    let expected = digest_of(&server, "a:1");
    for (source, name) in [
        ("oci-archive:oci.tar", "b:1"),
        ("docker-archive:docker.tar", "c:1"),
        ("oci:layout", "d:1"),
        ("oci:layout:x", "d:2"),
    ] {
        // Another machine: nothing is known of where the blobs are.
        let other = Kiln::new();
        let mut command = other.command();
        command.current_dir(kiln.at("")).args(["push", source, &format!("{host}/{name}")]);
        crate::support::kiln::ended(&mut command).success();
        assert_eq!(digest_of(&server, name), expected, "{source}");
    }
    let nameless = kiln.run("push oci-archive:oci.tar");
    assert_eq!(nameless.code, Some(125), "{}", nameless.stderr);

    // Other tools read what kiln has pushed.
    let copied = kiln.at("copied");
    let to = format!("oci:{}:x", copied.display());
    run("skopeo", ["copy", "--src-tls-verify=false", &format!("docker://{host}/a:1"), &to]);
    validate::assert_sound(&copied);
    let bundle = kiln.at("bundle");
    run(
        "umoci",
        ["unpack", "--rootless", "--image", &format!("{}:x", copied.display()), bundle.to_str().unwrap()],
    );
    assert_eq!(std::fs::read(bundle.join("rootfs/noise")).unwrap(), noise(200_000));
}

#[test]
fn a_build_can_push() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    let host = server.host();
    let kiln = Kiln::new();
    context(&kiln, "one");
    let built =
        kiln.run(&format!("build --push -t {host}/a:1 -t {host}/b:1 --metadata-file metadata.json context"));
    let built = built.success();
    let digest = digest_of(&server, "a:1");
    assert_eq!(digest_of(&server, "b:1"), digest);
    assert_eq!(built.stderr.matches(": uploaded, ").count(), 3, "{}", built.stderr);
    assert_eq!(built.stderr.matches(": mounted from a\n").count(), 3, "{}", built.stderr);
    let metadata: Value = serde_json::from_slice(&std::fs::read(kiln.at("metadata.json")).unwrap()).unwrap();
    assert_eq!(metadata["containerimage.digest"], digest.as_str());
    assert_eq!(kiln.run("image ls -q").success().text(), "", "--push alone names nothing in the store");

    kiln.run(&format!("build --output type=image,name={host}/c:1,push=true context")).success();
    assert_eq!(digest_of(&server, "c:1"), digest);
    assert!(kiln.run("image ls").success().text().contains(&format!("{host}/c ")));

    kiln.run(&format!("build --output type=registry,name={host}/d,push-by-digest=true context")).success();
    assert_eq!(digest_of(&server, &format!("d@{digest}")), digest);
    let tags = run("skopeo", ["list-tags", "--tls-verify=false", &format!("docker://{host}/a")]);
    assert!(tags.contains("\"1\""), "{tags}");

    for (line, code, text) in [
        ("build --push context", 125, "needs a name"),
        ("build --output type=registry context", 125, "needs a name"),
        (&format!("build --push --max-layer-size 1k -t {host}/e:1 context"), 1, "COPY noise /noise"),
        (&format!("build --push --max-image-size 100k -t {host}/e:1 context"), 1, "the image has"),
    ] {
        let ended = kiln.run(line);
        assert_eq!(ended.code, Some(code), "{line}: {}", ended.stderr);
        assert!(ended.stderr.contains(text), "{line}: {}", ended.stderr);
    }
}

#[test]
fn a_build_that_may_not_push_does_nothing() {
    require!("docker-registry");
    use crate::support::registry::Options;
    let server = TestRegistry::start_with(&Options { password: true, ..Options::default() });
    let kiln = Kiln::new();
    context(&kiln, "one");
    let refused = kiln.run(&format!("build --push -t {}/a:1 context", server.host()));
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("kiln login"), "{}", refused.stderr);
    assert_eq!(refused.stderr.matches("COPY").count(), 0, "no step was begun: {}", refused.stderr);
}

#[test]
fn the_base_of_a_pushed_image_does_not_come_through_this_machine() {
    require!("docker-registry", "skopeo");
    let server = TestRegistry::start();
    let host = server.host();
    let base = Kiln::new();
    context(&base, "base");
    base.run(&format!("build --push -t {host}/bases/noise:1 context")).success();

    for (name, steps, new_layers) in [
        ("metadata", "ENV C=d\n", 0),
        ("links", "COPY --link --chown=5:6 text /linked\nCOPY --link text /again\n", 2),
    ] {
        let kiln = Kiln::new();
        kiln.write("context/text", "text");
        kiln.write("context/Dockerfile", format!("FROM {host}/bases/noise:1\n{steps}"));
        let built = kiln.run(&format!("build --push -t {host}/{name}:1 context")).success();
        assert_eq!(built.stderr.matches(": mounted from bases/noise\n").count(), 2, "{}", built.stderr);
        assert!(!built.stderr.contains("pulling"), "{}", built.stderr);
        let blobs = kiln.at("store/v1/blobs/sha256").read_dir().unwrap();
        let largest = blobs.map(|entry| entry.unwrap().metadata().unwrap().len()).max().unwrap();
        assert!(largest < 10_000, "only documents and small layers are here: {largest}");
        let copied = kiln.at("copied.tar");
        let to = format!("oci-archive:{}", copied.display());
        run("skopeo", ["copy", "--src-tls-verify=false", &format!("docker://{host}/{name}:1"), &to]);
        assert_eq!(listing::Image::read(&copied).layers.len(), 2 + new_layers);
    }
}
