//! Caches that leave the store: what a second, empty store does with them.

use std::path::Path;

use serde_json::Value;

use crate::support::kiln::{Ended, Kiln, ended};
use crate::support::skip;

const STAGES: &str = "\
FROM busybox AS made
WORKDIR /app
COPY main.c .
RUN cat main.c > /program && echo \"log\" > /log
FROM busybox
COPY --from=made /program /program
COPY config /etc/config
RUN wc -c < /program > /size
";

/// How many steps of [`STAGES`] there are, not counting bases.
const STEPS: usize = 6;

fn project() -> Option<Kiln> {
    let kiln = Kiln::with_busybox()?;
    kiln.dockerfile(STAGES);
    kiln.write("context/main.c", "main\n");
    kiln.write("context/config", "config\n");
    Some(kiln)
}

/// Builds with the store `store`, which is empty the first time.
pub(crate) fn build(kiln: &Kiln, store: &str, line: &str) -> Ended {
    let mut command = kiln.build_command();
    command.env("KILN_STORE", kiln.at(store)).args(["--progress", "plain", "--metadata-file", "meta"]);
    ended(command.args(line.split(' ')).arg("context"))
}

/// Returns the manifest's digest of the last build.
pub(crate) fn digest(kiln: &Kiln) -> String {
    let meta: Value = serde_json::from_slice(&std::fs::read(kiln.at("meta")).unwrap()).unwrap();
    meta["containerimage.digest"].as_str().unwrap().to_owned()
}

/// Returns the instructions of the steps that were done.
pub(crate) fn done(ended: &Ended) -> Vec<String> {
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let name = |number: &str| {
        let of_step = |line: &&&str| line.starts_with(&format!("{number} [")) && !line.contains("] FROM ");
        lines.iter().find(of_step).map(|line| line.split_once("] ").unwrap().1.to_owned())
    };
    let numbers = lines.iter().filter_map(|line| line.split_once(" DONE ")).map(|(number, _)| number);
    numbers.filter_map(name).collect()
}

/// Returns the names of the blobs in a layout.
fn blobs(layout: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn read(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn blob(layout: &Path, descriptor: &Value) -> std::path::PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())
}

#[test]
fn an_empty_store_with_a_cache_of_everything_does_nothing_and_makes_the_same() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    let first = build(&kiln, "one", "--cache-to type=local,dest=cache,mode=max").success();
    assert_eq!(done(&first).len(), STEPS, "{}", first.stderr);
    let made = digest(&kiln);
    // The time of the build is in the image: only the cache can make the manifests equal.
    std::thread::sleep(std::time::Duration::from_millis(1100));

    let line = "--cache-from type=local,src=cache --cache-to type=local,dest=again,mode=max";
    let second = build(&kiln, "two", &format!("{line} --output type=oci,dest=image.tar")).success();
    assert_eq!(done(&second), [""; 0], "{}", second.stderr);
    assert_eq!(digest(&kiln), made);
    crate::support::validate::assert_sound(&kiln.at("image.tar"));
    // What the second build did not look at is passed on.
    assert_eq!(blobs(&kiln.at("again")), blobs(&kiln.at("cache")));
    // The store that has done it all writes the same, too.
    build(&kiln, "one", "--cache-to type=local,dest=third,mode=max").success();
    assert_eq!(blobs(&kiln.at("third")), blobs(&kiln.at("cache")));
}

#[test]
fn a_changed_file_does_again_only_what_follows_it() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    build(&kiln, "one", "--cache-to type=local,dest=cache,mode=max").success();
    kiln.write("context/config", "another\n");
    let changed = build(&kiln, "two", "--cache-from type=local,src=cache").success();
    assert_eq!(
        done(&changed),
        ["COPY config /etc/config", "RUN wc -c < /program > /size"],
        "{}",
        changed.stderr
    );

    // The program comes out the same: nothing that stands on it is done again.
    kiln.write("context/config", "config\n");
    kiln.dockerfile(&STAGES.replace("> /log", "> /log # differently"));
    let same = build(&kiln, "three", "--cache-from type=local,src=cache").success();
    assert_eq!(done(&same).len(), 1, "{}", same.stderr);
    assert!(done(&same)[0].starts_with("RUN cat main.c"), "{}", same.stderr);
}

#[test]
fn a_copy_on_a_cached_layer_needs_none_of_its_bytes() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    kiln.dockerfile("FROM busybox\nRUN mkdir /data\nCOPY main.c /data/\n");
    build(&kiln, "one", "--cache-to type=local,dest=cache").success();
    let cache = kiln.at("cache");
    let manifest = read(blob(&cache, &read(cache.join("index.json"))["manifests"][0]));
    // Without layers the cache is good for whatever needs but the entries.
    for layer in manifest["layers"].as_array().unwrap() {
        if layer["mediaType"].as_str().unwrap().contains("layer") {
            std::fs::remove_file(blob(&cache, layer)).unwrap();
        }
    }
    kiln.write("context/main.c", "another\n");
    let line = "--cache-from type=local,src=cache --cache-to type=local,dest=next,ignore-error=true --output";
    let built = build(&kiln, "two", &format!("{line} type=tar,dest=/dev/null"));
    // The tar needs the bytes, the COPY did not.
    let copied = built.stderr.find("COPY main.c").unwrap();
    let broken = built.stderr.find("going on without this cache").unwrap();
    assert!(copied < broken, "{}", built.stderr);
    assert_eq!(built.code, Some(0), "{}", built.stderr);
}

#[test]
fn mode_min_knows_the_steps_of_the_image_alone() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    build(&kiln, "one", "--cache-to type=local,dest=min --cache-to type=local,dest=max,mode=max").success();
    for cache in ["min", "max"] {
        let unchanged = build(&kiln, &format!("{cache}-1"), &format!("--cache-from type=local,src={cache}"));
        assert_eq!(done(&unchanged.success()), [""; 0]);
    }
    kiln.dockerfile(&format!("{STAGES}COPY --from=made /log /log\n"));
    for (cache, expected) in [("min", 4), ("max", 1)] {
        let line = format!("--cache-from type=local,src={cache}");
        let more = build(&kiln, &format!("{cache}-2"), &line).success();
        assert_eq!(done(&more).len(), expected, "{cache}: {}", more.stderr);
    }
}

#[test]
fn an_image_is_its_own_cache_with_type_inline() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    let output = "--cache-to type=inline --output type=oci,tar=false,dest";
    for flavor in ["oci", "docker"] {
        let media_types = format!("oci-mediatypes={}", flavor == "oci");
        let layout = format!("layout-{flavor}");
        build(&kiln, "one", &format!("{output}={layout},{media_types}")).success();
        let made = digest(&kiln);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let line = format!("--cache-from type=local,src={layout} {output}=again-{flavor},{media_types}");
        let second = build(&kiln, &format!("two-{flavor}"), &line).success();
        assert_eq!(done(&second), [""; 0], "{}", second.stderr);
        assert_eq!(digest(&kiln), made);
        // The store that made it, too.
        build(&kiln, "one", &format!("{output}=third-{flavor},{media_types}")).success();
        assert_eq!(digest(&kiln), made);
    }
    // What stands on such an image does not say that it has made its layers.
    kiln.dockerfile("FROM own\nRUN true\n");
    let own = "--build-context own=oci-layout://layout-oci --output type=oci,tar=false,dest=next";
    build(&kiln, "three", own).success();
    let index = read(kiln.at("next/index.json"));
    let config = &read(blob(&kiln.at("next"), &index["manifests"][0]))["config"];
    assert_eq!(read(blob(&kiln.at("next"), config)).get("kiln.cache.v1"), None);
}

#[test]
fn a_broken_cache_is_a_warning_and_the_image_is_right() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    let export = "--output type=oci,dest=image.tar,rewrite-timestamp=true";
    let fixed = |store: &str, line: &str| {
        let mut command = kiln.build_command();
        command.env("KILN_STORE", kiln.at(store)).env("SOURCE_DATE_EPOCH", crate::support::kiln::EPOCH);
        command.args(["--progress", "plain", "--metadata-file", "meta"]);
        ended(
            command
                .args(export.split(' '))
                .args(line.split(' ').filter(|word| !word.is_empty()))
                .arg("context"),
        )
    };
    fixed("one", "--cache-to type=local,dest=cache,mode=max").success();
    let made = digest(&kiln);
    let cache = kiln.at("cache");
    let root = blob(&cache, &read(cache.join("index.json"))["manifests"][0]);
    let manifest = read(&root);
    let of_type = |part: &str| {
        let layers = manifest["layers"].as_array().unwrap().iter();
        let of_type = layers.filter(|layer| layer["mediaType"].as_str().unwrap().contains(part));
        of_type.map(|layer| blob(&cache, layer)).collect::<Vec<_>>()
    };
    let config = vec![blob(&cache, &manifest["config"])];
    let (layers, entries) = (of_type("image.layer"), of_type("entries"));
    kiln.write("context/config", "other\n");
    fixed("uncached", "").success();
    let changed = digest(&kiln);
    let index = vec![cache.join("index.json")];
    for (what, files) in [
        ("index", index),
        ("manifest", vec![root.clone()]),
        ("config", config),
        ("layers", layers),
        ("entries", entries),
    ] {
        for damage in ["gone", "cut", "flipped"] {
            let whole: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
            for (file, bytes) in files.iter().zip(&whole) {
                std::fs::remove_file(file).unwrap();
                let mut damaged = bytes.clone();
                match damage {
                    "gone" => continue,
                    "cut" => damaged.truncate(bytes.len() / 2),
                    _ => damaged[bytes.len() / 2] ^= 1,
                }
                std::fs::write(file, damaged).unwrap();
            }
            for (content, expected) in [("config\n", &made), ("other\n", &changed)] {
                kiln.write("context/config", content);
                let store = format!("{what}-{damage}-{}", content.len());
                let built = fixed(&store, "--cache-from type=local,src=cache").success();
                crate::support::validate::assert_sound(&kiln.at("image.tar"));
                assert_eq!(&digest(&kiln), expected, "{what} {damage}: {}", built.stderr);
                // An unchanged build does not look at the entries.
                let unseen = what == "entries" && content == "config\n";
                assert_eq!(built.stderr.contains("warning: "), !unseen, "{what} {damage}: {}", built.stderr);
            }
            for (file, bytes) in files.iter().zip(whole) {
                std::fs::write(file, bytes).unwrap();
            }
        }
    }
}

/// Writes a cache's document, and the manifest and index that name it.
fn rewrite(cache: &Path, change: impl FnOnce(&mut Value)) {
    let mut index = read(cache.join("index.json"));
    let mut manifest = read(blob(cache, &index["manifests"][0]));
    let mut document = read(blob(cache, &manifest["config"]));
    change(&mut document);
    let put = |value: &Value, descriptor: &mut Value| {
        let bytes = value.to_string();
        let digest = kiln::digest::Digest::of(&bytes);
        std::fs::write(cache.join("blobs/sha256").join(digest.hex()), &bytes).unwrap();
        descriptor["digest"] = digest.to_string().into();
        descriptor["size"] = bytes.len().into();
    };
    put(&document, &mut manifest["config"]);
    put(&manifest, &mut index["manifests"][0]);
    std::fs::write(cache.join("index.json"), index.to_string()).unwrap();
}

#[test]
fn a_document_that_lies_or_cannot_be_read_makes_no_wrong_image() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    let swapped = |document: &mut Value| {
        // Each record names the layer of the one before.
        let records = document["records"].as_array_mut().unwrap();
        let layers: Vec<Value> = records.iter().map(|record| record["layer"].clone()).collect();
        let blobs = document["layers"].clone();
        for (index, layer) in layers.iter().enumerate() {
            let other = &blobs[layers[(index + 1) % layers.len()].as_str().unwrap()]["blob"];
            document["layers"][layer.as_str().unwrap()]["blob"] = other.clone();
        }
    };
    let damaged = |document: &mut Value| document["records"][0]["definition"] = "nonsense".into();
    let newer = |document: &mut Value| document["version"] = 99.into();
    type Change<'a> = &'a dyn Fn(&mut Value);
    let cases: [(&str, Change<'_>, &str); 3] = [
        ("swapped", &swapped, "instead of"),
        ("damaged", &damaged, "1 records of the cache"),
        ("newer", &newer, "version 99"),
    ];
    build(&kiln, "one", "--cache-to type=local,dest=cache,mode=max --output type=tar,dest=one.tar").success();
    for (name, change, warning) in cases {
        let cache = kiln.at(name);
        crate::support::kiln::copy_checkout(&kiln.at("cache"), &cache);
        rewrite(&cache, change);
        let line = format!("--cache-from type=local,src={name} --output type=local,dest=files-{name}");
        let built = build(&kiln, &format!("store-{name}"), &line).success();
        assert!(built.stderr.contains(warning), "{name}: {}", built.stderr);
        assert_eq!(std::fs::read_to_string(kiln.at(&format!("files-{name}/program"))).unwrap(), "main\n");
        assert_eq!(
            std::fs::read_to_string(kiln.at(&format!("files-{name}/etc/config"))).unwrap(),
            "config\n"
        );
    }
}

#[test]
fn the_first_cache_that_answers_counts_and_absent_ones_are_warnings() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    kiln.dockerfile("FROM busybox\nRUN head -c 8 /dev/urandom > /random\n");
    let made: Vec<String> = ["a", "b"]
        .map(|name| {
            build(&kiln, name, &format!("--cache-to type=local,dest=cache-{name}")).success();
            digest(&kiln)
        })
        .into();
    assert_ne!(made[0], made[1]);
    let orders = ["a b", "b a"].map(|order| order.split(' ').collect::<Vec<_>>());
    for (order, expected) in orders.iter().zip(&made) {
        let from: Vec<_> =
            order.iter().map(|name| format!("--cache-from type=local,src=cache-{name}")).collect();
        let line = format!("--cache-from type=local,src=nothing {}", from.join(" "));
        let built = build(&kiln, &format!("first-{}", order[0]), &line).success();
        assert_eq!(&digest(&kiln), expected);
        assert!(built.stderr.contains("warning: no cache from nothing"), "{}", built.stderr);
        assert!(!built.stderr.contains("ERROR"), "{}", built.stderr);
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_unless_it_may_be() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    kiln.write("file", "no directory");
    let failed = build(&kiln, "one", "--cache-to type=local,dest=file/cache");
    assert_eq!(failed.code, Some(1), "{}", failed.stderr);
    assert!(failed.stderr.contains("cannot export the cache to file/cache"), "{}", failed.stderr);
    let ignored = build(&kiln, "one", "--cache-to type=local,dest=file/cache,ignore-error=true").success();
    assert!(ignored.stderr.contains("warning: the cache was not exported"), "{}", ignored.stderr);
    let refused = build(&kiln, "one", "--cache-to type=gha");
    assert_eq!(refused.code, Some(125), "{}", refused.stderr);
    assert!(refused.stderr.contains("ghcr.io"), "{}", refused.stderr);
}

#[test]
fn what_the_cache_must_not_answer_it_does_not() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    build(&kiln, "one", "--cache-to type=local,dest=cache,mode=max").success();
    let all = build(&kiln, "two", "--no-cache --cache-from type=local,src=cache").success();
    assert_eq!(done(&all).len(), STEPS, "{}", all.stderr);
    let stage = build(&kiln, "three", "--no-cache-filter made --cache-from type=local,src=cache").success();
    assert_eq!(done(&stage).len(), 3, "{}", stage.stderr);
}
