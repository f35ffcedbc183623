use clap::{CommandFactory as _, FromArgMatches as _};

use super::*;
use crate::cli::docker::with_go_booleans;

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn translated(line: &str) -> Result<Translation, String> {
    let words = ["kaniko"].into_iter().chain(line.split_whitespace());
    let matches = with_go_booleans(Line::command()).try_get_matches_from(words);
    let line =
        matches.and_then(|matches| Line::from_arg_matches(&matches)).map_err(|error| error.to_string())?;
    translate(&line.args)
}

fn build(line: &str) -> String {
    let words = translated(line).unwrap_or_else(|error| panic!("{line}: {error}")).build;
    words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn flags_become_those_of_build() {
    for (line, expected) in [
        (
            "--context dir:///w -f Dockerfile.x --destination r.example/a:1",
            "--tag r.example/a:1 --output type=registry --file /w/Dockerfile.x /w",
        ),
        ("-c /w --context-sub-path=sub --no-push", "--output type=image --file /w/sub/Dockerfile /w/sub"),
        (
            "--no-push --tar-path /o.tar -d a -d b:2 -c /w --build-arg A=1 --label l=2 --target t",
            "--build-arg A=1 --label l=2 --target t --tag a --tag b:2 --output type=docker,dest=/o.tar --file /w/Dockerfile /w",
        ),
        (
            "--no-push --oci-layout-path=/o --customPlatform=linux/arm64 --compression zstd --compression-level 7 -c /w",
            "--platform linux/arm64 --output type=oci,tar=false,dest=/o,compression=zstd,compression-level=7 --file /w/Dockerfile /w",
        ),
        (
            "-d r.example/team/a:1 --cache=true -c /w",
            "--tag r.example/team/a:1 --output type=registry --cache-from type=registry,ref=r.example/team/a/cache --cache-to type=registry,ref=r.example/team/a/cache,mode=max --file /w/Dockerfile /w",
        ),
        (
            "--no-push --cache --cache-repo=oci:/c --no-push-cache -c /w",
            "--output type=image --cache-from type=local,src=/c --file /w/Dockerfile /w",
        ),
        (
            "--no-push --reproducible --single-snapshot --log-format=json -c /w",
            "--squash --build-arg SOURCE_DATE_EPOCH=0 --progress rawjson --output type=image,rewrite-timestamp=true --file /w/Dockerfile /w",
        ),
        (
            "--no-push -c git://h.example/o/r.git#refs/heads/main --context-sub-path d",
            "--output type=image --file Dockerfile https://h.example/o/r.git#refs/heads/main:d",
        ),
        (
            "--no-push -c git://h.example/o/r#refs/heads/main#0123abc",
            "--output type=image --file Dockerfile https://h.example/o/r.git#0123abc",
        ),
        ("--no-push -c tar://stdin", "--output type=image --file Dockerfile -"),
        (
            "--no-push=true -c https://h.example/c.tgz",
            "--output type=image --file Dockerfile https://h.example/c.tgz",
        ),
        (
            "--no-push --cache=false --reproducible=0 -c tar://stdin",
            "--output type=image --file Dockerfile -",
        ),
    ] {
        assert_eq!(build(line), expected, "{line}");
    }
}

#[test]
fn an_archive_becomes_standard_input() {
    assert_eq!(translated("--no-push -c tar:///c.tgz").unwrap().stdin, Some(PathBuf::from("/c.tgz")));
    assert_eq!(translated("--no-push -c tar://stdin").unwrap().stdin, None);
}

#[test]
fn what_has_no_effect_is_said_and_what_is_not_done_is_refused() {
    let notes =
        translated("--no-push --cleanup --snapshotMode redo --push-retry=3 -v debug -c /w").unwrap().notes;
    assert_eq!(notes.len(), 4, "{notes:?}");
    assert!(notes[1].starts_with("--push-retry has no effect: uploads are"), "{notes:?}");
    for (line, part) in [
        ("--cache-ttl=24h --no-push", "--cache-ttl of kaniko is not supported: a cached step"),
        ("--registry-map a=b --no-push", "mirror in registries.conf"),
        ("--git branch=x --no-push", "name the branch in the address"),
        ("--frobnicate --no-push", "--frobnicate"),
        ("-c s3://b/c.tgz --no-push", "tar://FILE"),
        ("-c oops://b --no-push", "dir://"),
        ("-c /w", "--destination is missing"),
        ("--no-push --tar-path=/x", "--destination is missing"),
        ("--no-push --cache", "--cache-repo"),
        ("--no-push --log-format=xml", "text, color, json"),
        ("--no-push -c https://h/c --context-sub-path=x", "goes with a directory"),
    ] {
        let error = translated(line).expect_err(line);
        assert!(error.contains(part), "{line}: {error}");
    }
}

#[test]
fn hosts_are_described_as_registries_conf_does() {
    let line = "-d lan:5000/a -d lan:5000/b --insecure --insecure-registry old:1 --registry-mirror lan:5000 --registry-mirror m.example -c /w";
    let text = translated(line).unwrap().registries;
    assert_eq!(
        text,
        "[[registry]]\nlocation = \"lan:5000\"\ninsecure = true\n\
         [[registry]]\nlocation = \"old:1\"\ninsecure = true\n\
         [[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\n\
         [[registry.mirror]]\nlocation = \"lan:5000\"\ninsecure = true\n\
         [[registry.mirror]]\nlocation = \"m.example\"\ninsecure = false\n"
    );
    kiln::registry::Hosts::default().add(Path::new("flags"), &text).unwrap();
}

#[test]
fn files_for_digests_are_kept_with_their_form() {
    let line =
        "-d a --digest-file /1 --image-name-with-digest-file=/2 --image-name-tag-with-digest-file /3 -c /w";
    assert_eq!(
        translated(line).unwrap().digests,
        [("/1", DigestForm::Digest), ("/2", DigestForm::Name), ("/3", DigestForm::NameAndTag)]
            .map(|(path, form)| (PathBuf::from(path), form))
    );
}
