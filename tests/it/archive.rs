//! Archives in the eyes of others: the validator, skopeo and umoci.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use kiln::archive;
use kiln::assemble::{self, Assembled, Flavor, NewEntry, Parts};
use kiln::digest::{DiffId, Digest};
use kiln::image::{Blob, Layer};
use kiln::oci::{ImageConfig, media_type};
use kiln::reference::Reference;
use kiln::store::Store;
use kiln::time::Timestamp;

use crate::support::validate;

fn tar_with(name: &str, content: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    builder.into_inner().unwrap()
}

/// Compresses by gzip, as two members, since layers may be packed so.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    [first, second]
        .map(|part| {
            let mut encoder = flate2::read::GzEncoder::new(part, flate2::Compression::default());
            let mut zipped = Vec::new();
            std::io::Read::read_to_end(&mut encoder, &mut zipped).unwrap();
            zipped
        })
        .concat()
}

/// An image of two layers: `etc/one`, then `two`.
fn image(store: &Store, flavor: Flavor) -> Assembled {
    let layer = |name: &str, content: &str| {
        let tar = tar_with(name, content);
        let zipped = gzip(&tar);
        let digest = store.put(&zipped).unwrap();
        let blob = Blob { media_type: media_type::LAYER_GZIP.into(), digest, size: zipped.len() as u64 };
        Layer { blob, diff_id: DiffId(Digest::of(tar)) }
    };
    let mut config =
        ImageConfig { os: "linux".into(), architecture: "amd64".into(), ..ImageConfig::default() };
    config.config.env = vec!["PATH=/bin".into()];
    config.config.cmd = Some(vec!["/two".into()]);
    let entry = |created_by: &str, has_layer| NewEntry {
        created_by: created_by.into(),
        author: String::new(),
        created: Some(Timestamp(1_700_000_000)),
        has_layer,
        comment: String::new(),
    };
    let parts = Parts {
        config,
        layers: vec![layer("etc/one", "1"), layer("two", "22")],
        history: vec![
            entry("COPY one /etc/ # buildkit", true),
            entry("COPY two / # buildkit", true),
            entry("CMD [\"/two\"]", false),
        ],
        created: None,
        epoch: None,
        annotations: BTreeMap::new(),
        flavor,
    };
    assemble::image(store, parts).unwrap()
}

fn names(texts: &[&str]) -> Vec<Reference> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Writes the three forms of an image: `oci.tar`, `layout/` and `docker.tar`.
fn export(directory: &Path, flavor: Flavor) -> (Store, Assembled) {
    let store = Store::open(&directory.join("store")).unwrap();
    let assembled = image(&store, flavor);
    let names = names(&["example.org/app:1"]);
    let create = |name: &str| fs::File::create(directory.join(name)).unwrap();
    let image = archive::Saved { root: assembled.manifest.clone(), names };
    let images = std::slice::from_ref(&image);
    archive::oci(&store, images, &BTreeMap::new()).unwrap().write(&store, create("oci.tar")).unwrap();
    archive::docker(&store, images).unwrap().write(&store, create("docker.tar")).unwrap();
    archive::oci_directory(&store, &image, &BTreeMap::new(), &directory.join("layout")).unwrap();
    store.tag(&image.names[0], &assembled.manifest).unwrap();
    (store, assembled)
}

/// Tells whether a judge is installed; if not, says so, and fails where `KILN_TEST_STRICT` asks for every
/// judge.
fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        assert!(std::env::var_os("KILN_TEST_STRICT").is_none(), "`{program}` is not installed");
        eprintln!("SKIPPED: `{program}` is not installed");
    }
    found
}

/// Runs a judge and returns what it prints.
#[track_caller]
fn run(directory: &Path, command: &str) -> String {
    let mut words = command.split(' ');
    let program = words.next().unwrap();
    let output = Command::new(program).args(words).current_dir(directory).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_form_is_sound() {
    for flavor in [Flavor::Oci, Flavor::Docker] {
        let directory = tempfile::tempdir().unwrap();
        export(directory.path(), flavor);
        for form in ["oci.tar", "docker.tar", "layout"] {
            validate::assert_sound(&directory.path().join(form));
        }
    }
}

#[test]
fn the_validator_finds_what_is_wrong() {
    let zeros = "0".repeat(64);
    type Damage = Box<dyn Fn(&Path, &Assembled)>;
    let layer_path = |layout: &Path, image: &Assembled, index: usize| {
        layout.join("blobs/sha256").join(image.image.layers[index].blob.digest.hex())
    };
    let replace_in_index = |from: &'static str, to: &'static str| -> Damage {
        Box::new(move |layout, _| {
            let path = layout.join("index.json");
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(path, text.replace(from, to)).unwrap();
        })
    };
    let unnamed = zeros.clone();
    let damages: Vec<(Damage, &str)> = vec![
        (Box::new(move |layout, image| fs::remove_file(layer_path(layout, image, 0)).unwrap()), "is missing"),
        (
            Box::new(move |layout, image| fs::write(layer_path(layout, image, 1), b"x").unwrap()),
            "holds the bytes of",
        ),
        (
            Box::new(move |layout, _| fs::write(layout.join("blobs/sha256").join(&unnamed), b"x").unwrap()),
            "nothing names",
        ),
        (Box::new(|layout, _| fs::remove_file(layout.join("oci-layout")).unwrap()), "imageLayoutVersion"),
        (replace_in_index("\"schemaVersion\":2", "\"schemaVersion\":1"), "schemaVersion"),
        (replace_in_index("\"size\":", "\"size\":1"), "bytes, not"),
        (replace_in_index("image.manifest.v1", "image.index.v1"), "calls itself"),
        (replace_in_index("\"manifests\":[", "\"manifests\":[],\"others\":["), "names no image"),
    ];
    for (damage, expected) in damages {
        let directory = tempfile::tempdir().unwrap();
        let (_, image) = export(directory.path(), Flavor::Oci);
        let layout = directory.path().join("layout");
        damage(&layout, &image);
        let problems = validate::layout(&layout);
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:?}");
    }
}

#[test]
fn the_validator_looks_into_layers() {
    let tar_of = |files: &[&str]| {
        let mut builder = tar::Builder::new(Vec::new());
        for name in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            match name.split_once(" -> ") {
                None => builder.append_data(&mut header, name, &b""[..]).unwrap(),
                Some((name, target)) => {
                    header.set_entry_type(tar::EntryType::Link);
                    builder.append_link(&mut header, name, target).unwrap();
                }
            }
        }
        builder.into_inner().unwrap()
    };
    let sound = tar_of(&["a", "b -> a", ".wh.c", "d/.wh..wh..opq"]);
    for (tar, diff_id, expected) in [
        (sound.clone(), None, None),
        (sound.clone(), Some(Digest::of("x")), Some("has the diff id")),
        (sound[..sound.len() - 1024].to_vec(), None, Some("has no end")),
        (tar_of(&["a", "b", "a"]), None, Some("has `a` twice")),
        (tar_of(&["b -> a", "a"]), None, Some("before it is there")),
        (tar_of(&["d/a", "d/.wh.a"]), None, Some("the file that it removes")),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let digest = store.put(&tar).unwrap();
        let blob = Blob { media_type: media_type::LAYER.into(), digest, size: tar.len() as u64 };
        let parts = Parts {
            config: ImageConfig {
                os: "linux".into(),
                architecture: "amd64".into(),
                ..ImageConfig::default()
            },
            layers: vec![Layer { blob, diff_id: DiffId(diff_id.unwrap_or(digest)) }],
            history: vec![],
            created: None,
            epoch: None,
            annotations: BTreeMap::new(),
            flavor: Flavor::Oci,
        };
        let assembled = assemble::image(&store, parts).unwrap();
        let layout = directory.path().join("layout");
        archive::oci_directory(
            &store,
            &archive::Saved { root: assembled.manifest, names: vec![] },
            &BTreeMap::new(),
            &layout,
        )
        .unwrap();
        let problems = validate::layout(&layout);
        match expected {
            None => assert!(problems.is_empty(), "{problems:?}"),
            Some(expected) => {
                assert!(
                    problems.iter().any(|problem| problem.contains(expected)),
                    "{expected}: {problems:?}"
                );
            }
        }
    }
}

#[test]
fn skopeo_reads_every_form_and_the_store() {
    if !is_there("skopeo") {
        return;
    }
    for flavor in [Flavor::Oci, Flavor::Docker] {
        let directory = tempfile::tempdir().unwrap();
        let (_, image) = export(directory.path(), flavor);
        let layers: Vec<_> = image.image.layers.iter().map(|layer| layer.blob.digest.to_string()).collect();
        // By name, skopeo finds only OCI's manifests in a layout.
        let by_name = ["oci-archive:oci.tar:1", "oci:layout:1", "oci:store/v1:example.org/app:1"];
        let named = by_name.into_iter().filter(|_| flavor == Flavor::Oci);
        for source in ["oci-archive:oci.tar", "oci:layout"].into_iter().chain(named) {
            let inspected = run(directory.path(), &format!("skopeo inspect {source}"));
            let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
            assert_eq!(inspected["Digest"], image.manifest.digest.to_string(), "{source}");
            assert_eq!(inspected["Layers"], serde_json::json!(layers), "{source}");
            assert_eq!(inspected["Created"], "2023-11-14T22:13:20Z", "{source}");
        }
        let config =
            run(directory.path(), "skopeo inspect --config docker-archive:docker.tar:example.org/app:1");
        let config: serde_json::Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"][1], image.image.layers[1].diff_id.to_string());
        for (number, source) in
            ["oci-archive:oci.tar", "docker-archive:docker.tar", "oci-archive:docker.tar"].iter().enumerate()
        {
            run(directory.path(), &format!("skopeo --insecure-policy copy {source} dir:copy{number}"));
        }
    }
}

#[test]
fn what_skopeo_writes_is_loaded() {
    if !is_there("skopeo") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (_, image) = export(directory.path(), Flavor::Oci);
    for (target, file, keeps_manifest) in [
        ("oci-archive:a.tar:example.org/app:1", "a.tar", true),
        ("docker-archive:b.tar:example.org/app:1", "b.tar", false),
        ("oci:c:example.org/app:1", "c", true),
    ] {
        run(directory.path(), &format!("skopeo --insecure-policy copy oci-archive:oci.tar {target}"));
        let store = Store::open(&directory.path().join("another")).unwrap();
        let loaded = archive::load_path(&store, &directory.path().join(file)).unwrap();
        assert_eq!(loaded.len(), 1, "{target}");
        assert_eq!(loaded[0].reference, Some("example.org/app:1".parse().unwrap()), "{target}");
        assert_eq!(loaded[0].manifest == image.manifest, keeps_manifest, "{target}");
        let platform = "linux/amd64".parse().unwrap();
        let read = assemble::read(&store, &loaded[0].manifest, &platform).unwrap();
        assert_eq!(read.config, image.image.config, "{target}");
        assert!(read.layers.iter().all(|layer| store.contains(&layer.blob)), "{target}");
    }
}

#[test]
fn umoci_unpacks_a_layout() {
    if !is_there("umoci") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    export(directory.path(), Flavor::Oci);
    run(directory.path(), "umoci unpack --rootless --image layout:1 bundle");
    let root = directory.path().join("bundle/rootfs");
    assert_eq!(fs::read_to_string(root.join("etc/one")).unwrap(), "1");
    assert_eq!(fs::read_to_string(root.join("two")).unwrap(), "22");
}
