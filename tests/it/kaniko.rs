//! `kiln kaniko`: what kaniko's users call, against a real registry.

use crate::support::kiln::{Ended, Kiln, ended};
use crate::support::listing::Image;
use crate::support::registry::TestRegistry;
use crate::support::{push, require, run, skip, validate};

const DOCKERFILE: &str = "FROM HOST/busybox\nARG WORD\nRUN echo $WORD > /word\nCOPY file /file\n";

/// A registry with the base in it, and a context.
fn world() -> Option<(Kiln, TestRegistry)> {
    let kiln = Kiln::with_busybox()?;
    let registry = TestRegistry::start();
    push(&kiln.at("bases"), "busybox", &format!("{}/busybox:latest", registry.host()), None);
    kiln.dockerfile(&DOCKERFILE.replace("HOST", &registry.host()));
    kiln.write("context/file", "one\n");
    Some((kiln, registry))
}

fn kaniko(kiln: &Kiln, registry: &TestRegistry, store: &str, line: &str) -> Ended {
    let line = line.replace("HOST", &registry.host());
    ended(kiln.command().env("KILN_STORE", kiln.at(store)).arg("kaniko").args(line.split(' ')))
}

#[test]
fn an_image_is_pushed_and_its_digest_written() {
    require!("docker-registry", "skopeo");
    let Some((kiln, registry)) = world() else { skip!("busybox-static is not installed") };
    let directory = format!("dir://{}", kiln.at("context").display());
    let line = format!(
        "--context {directory} --dockerfile Dockerfile --destination HOST/team/app:1 --destination HOST/team/app:2 \
         --build-arg WORD=hello --cache=true --snapshot-mode redo --digest-file digest \
         --image-name-tag-with-digest-file=names"
    );
    let first = kaniko(&kiln, &registry, "first", &line).success();
    assert!(first.stderr.contains("note: --snapshot-mode has no effect"), "{}", first.stderr);
    let digest = std::fs::read_to_string(kiln.at("digest")).unwrap();
    for tag in ["1", "2"] {
        let name = format!("docker://{}/team/app:{tag}", registry.host());
        let theirs = run("skopeo", ["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &name]);
        assert_eq!(theirs.trim(), digest, "{tag}");
    }
    let host = registry.host();
    assert_eq!(
        std::fs::read_to_string(kiln.at("names")).unwrap(),
        format!("{host}/team/app:1@{digest}\n{host}/team/app:2@{digest}\n")
    );

    // A runner that starts empty has everything from the cache beside the image.
    let second = kaniko(&kiln, &registry, "second", &line).success();
    assert_eq!(second.count("CACHED"), 2, "{}", second.stderr);
    assert_eq!(std::fs::read_to_string(kiln.at("digest")).unwrap(), digest);
}

#[test]
fn archives_come_in_and_go_out() {
    require!("docker-registry", "skopeo");
    let Some((kiln, registry)) = world() else { skip!("busybox-static is not installed") };
    run(
        "tar",
        ["-czf", kiln.at("context.tgz").to_str().unwrap(), "-C", kiln.at("context").to_str().unwrap(), "."],
    );
    let archive = kiln.at("context.tgz");
    let line = format!(
        "--context tar://{} --no-push --destination app:1 --tar-path out.tar --oci-layout-path layout",
        archive.display()
    );
    kaniko(&kiln, &registry, "store", &line).success();
    validate::assert_sound(&kiln.at("out.tar"));
    assert!(Image::read(&kiln.at("out.tar")).tree().0.contains_key(&b"file"[..]));
    let layout = format!("oci:{}", kiln.at("layout").display());
    let manifest = run("skopeo", ["inspect", "--raw", &layout]);
    assert!(manifest.contains("image.layer"), "{manifest}");
}

#[test]
fn what_is_not_done_is_refused_before_anything_is() {
    let kiln = Kiln::new();
    kiln.dockerfile("FROM scratch\n");
    for (line, said) in [
        ("kaniko -c context --no-push --cache-ttl 6h", "--cache-ttl of kaniko is not supported"),
        ("kaniko -c context", "--destination is missing"),
        ("kaniko -c context --no-push --frobnicate", "unexpected argument '--frobnicate'"),
        ("kaniko -c context --no-push --custom-platform=nonsense/x/y/z", "--platform"),
    ] {
        let ended = kiln.run(line);
        assert_eq!((ended.code, ended.text()), (Some(125), ""), "{line}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{line}: {}", ended.stderr);
    }
}
