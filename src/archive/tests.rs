use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use fs_err as fs;

use super::*;
use crate::assemble::{Assembled, Flavor, NewEntry, Parts};
use crate::image::Layer;
use crate::oci::{ImageConfig, Platform, media_type};
use crate::reference::Reference;
use crate::time::Timestamp;

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

fn platform() -> Platform {
    "linux/amd64".parse().unwrap()
}

fn names(texts: &[&str]) -> Vec<Reference> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn saved(root: &Blob, names: &[Reference]) -> Saved {
    Saved { root: root.clone(), names: names.to_vec() }
}

/// A tar with files of the given names and contents; `name -> target` is a symlink.
fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        if let Some((name, target)) = name.split_once(" -> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, name, target).unwrap();
        } else {
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, *content).unwrap();
        }
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn layer(store: &Store, media_type: &str, file: &str) -> Layer {
    let tar = tar_of(&[(file, file.as_bytes())]);
    let bytes = match media_type {
        media_type::LAYER_GZIP => gzip(&tar),
        media_type::LAYER_ZSTD => zstd::encode_all(tar.as_slice(), 1).unwrap(),
        _ => tar.clone(),
    };
    let digest = store.put(&bytes).unwrap();
    let blob = Blob { media_type: media_type.into(), digest, size: bytes.len() as u64 };
    Layer { blob, diff_id: DiffId(Digest::of(tar)) }
}

fn sample(store: &Store, flavor: Flavor) -> Assembled {
    let config = ImageConfig { os: "linux".into(), architecture: "amd64".into(), ..ImageConfig::default() };
    let entry = |text: &str| NewEntry {
        created_by: text.into(),
        author: String::new(),
        created: Some(Timestamp(1)),
        has_layer: true,
        comment: String::new(),
    };
    let types = [media_type::LAYER_GZIP, media_type::LAYER, media_type::LAYER_ZSTD];
    let parts = Parts {
        config,
        layers: types
            .iter()
            .map(|media_type| layer(store, media_type, &media_type.replace('/', "_")))
            .collect(),
        history: types.iter().map(|text| entry(text)).collect(),
        created: None,
        epoch: None,
        annotations: BTreeMap::new(),
        flavor,
    };
    assemble::image(store, parts).unwrap()
}

fn written(store: &Store, archive: &Archive) -> Vec<u8> {
    let mut bytes = Vec::new();
    archive.write(store, &mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_exported_is_loaded() {
    type Export = fn(&Store, &Blob, &[Reference]) -> Result<Archive, Error>;
    let exports: [(&str, Export); 2] = [
        ("oci", |s, r, n| oci(s, &[saved(r, n)], &BTreeMap::new())),
        ("docker", |s, r, n| docker(s, &[saved(r, n)])),
    ];
    for (format, export) in exports {
        for flavor in [Flavor::Oci, Flavor::Docker] {
            let (_directory, from) = store();
            let assembled = sample(&from, flavor);
            let names = names(&["app:1", "localhost:5000/x/app"]);
            let planned = export(&from, &assembled.manifest, &names).unwrap();
            let [archive, again] = [(); 2].map(|()| written(&from, &planned));
            assert!(archive == again, "{format} {flavor:?} is not the same twice");
            assert_eq!(archive.len() as u64, planned.size(), "{format} {flavor:?}");
            for bytes in [archive.clone(), gzip(&archive), zstd::encode_all(&*archive, 1).unwrap()] {
                let (_directory, to) = store();
                let loaded = load(&to, bytes.as_slice()).unwrap();
                let expected: Vec<_> = names
                    .iter()
                    .map(|name| Loaded {
                        reference: Some(name.clone()),
                        manifest: assembled.manifest.clone(),
                    })
                    .collect();
                assert_eq!(loaded, expected, "{format} {flavor:?}");
                let image = assemble::read(&to, &assembled.manifest, &platform()).unwrap();
                assert_eq!(image, assembled.image);
                assert!(image.layers.iter().all(|layer| to.contains(&layer.blob)), "{format} {flavor:?}");
            }
        }
    }
}

#[test]
fn an_archive_lists_layers_before_documents() {
    let (_directory, store) = store();
    let assembled = sample(&store, Flavor::Docker);
    let archive = docker(&store, &[saved(&assembled.manifest, &names(&["app:1"]))]).unwrap();
    let archive = written(&store, &archive);
    let mut archive = tar::Archive::new(archive.as_slice());
    let mut listing = Vec::new();
    let mut list = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        if name == "manifest.json" {
            entry.read_to_string(&mut list).unwrap();
        }
        let header = entry.header();
        assert_eq!(
            (header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()),
            (0, 0, 0),
            "{name}"
        );
        listing.push(name);
    }
    let mut expected: Vec<String> = ["blobs/", "blobs/sha256/"].map(str::to_owned).into();
    let layers: Vec<_> = assembled.image.layers.iter().map(|layer| blob_file(&layer.blob.digest)).collect();
    expected.extend(layers.iter().cloned());
    expected.extend([&assembled.manifest, &assembled.config].map(|blob| blob_file(&blob.digest)));
    expected.extend(["index.json", "oci-layout", "manifest.json"].map(str::to_owned));
    assert_eq!(listing, expected);
    let expected = serde_json::json!([
        {"Config": blob_file(&assembled.config.digest), "RepoTags": ["app:1"], "Layers": layers}
    ]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&list).unwrap(), expected);
}

#[test]
fn a_docker_archive_holds_one_platform() {
    let (_directory, store) = store();
    let assembled = sample(&store, Flavor::Oci);
    let list = [(assembled.manifest, platform())];
    let index = assemble::index(&store, &list, BTreeMap::new(), Flavor::Oci).unwrap();
    assert!(matches!(docker(&store, &[saved(&index, &[])]), Err(Error::SeveralPlatforms { .. })));
    let archive = written(&store, &oci(&store, &[saved(&index, &[])], &BTreeMap::new()).unwrap());
    let (_directory, to) = self::store();
    assert_eq!(load(&to, archive.as_slice()).unwrap(), [Loaded { reference: None, manifest: index.clone() }]);
    assert_eq!(assemble::read(&to, &index, &platform()).unwrap(), assembled.image);
}

#[test]
fn an_index_may_keep_what_the_archive_left_out() {
    let (_directory, store) = store();
    let assembled = sample(&store, Flavor::Oci);
    let absent = Blob { digest: Digest::of("another platform"), ..assembled.manifest.clone() };
    let list = [(absent, "linux/arm64".parse().unwrap()), (assembled.manifest, platform())];
    let index = assemble::index(&store, &list, BTreeMap::new(), Flavor::Oci).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let error = oci(&store, &[saved(&index, &[])], &BTreeMap::new()).unwrap_err();
    assert!(matches!(error, Error::Store(store::Error::Missing { .. })), "an export is whole: {error}");
    for blob in [&index, &assembled.image.layers[0].blob, &list[1].0, &assembled.config] {
        fs::create_dir_all(directory.path().join("blobs/sha256")).unwrap();
        fs::copy(store.blob_path(&blob.digest), directory.path().join(blob_file(&blob.digest))).unwrap();
    }
    let entry =
        serde_json::json!({"mediaType": index.media_type, "digest": index.digest, "size": index.size});
    let text = serde_json::json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
    fs::write(directory.path().join("index.json"), text).unwrap();
    let (_directory, to) = self::store();
    let error = load_path(&to, directory.path()).unwrap_err();
    assert!(matches!(error, Error::Store(store::Error::Missing { .. })), "two layers are left out: {error}");
    for layer in &assembled.image.layers {
        let file = directory.path().join(blob_file(&layer.blob.digest));
        fs::copy(store.blob_path(&layer.blob.digest), file).unwrap();
    }
    assert_eq!(load_path(&to, directory.path()).unwrap(), [Loaded { reference: None, manifest: index }]);
}

/// A config of the layers' diff ids, as docker wrote them before it knew of OCI.
fn old_config(layers: &[&[u8]]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(Digest::of).collect();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "docker_version": "1.13", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

#[test]
fn an_old_docker_archive_is_loaded() {
    let (a, b) = (tar_of(&[("a", b"1")]), tar_of(&[("b", b"2")]));
    let config = old_config(&[&a, &b, &a]);
    let zipped = gzip(&b);
    let manifest = br#"[{"Config":"c.json","RepoTags":["app:1","x.io/app:2"],"Layers":["1/layer.tar","2/layer.tar","3/layer.tar"]}]"#;
    let archive = tar_of(&[
        ("1/VERSION", b"1.0"),
        ("1/json", b"{}"),
        ("1/layer.tar", &a),
        ("2/layer.tar", &zipped),
        ("3/layer.tar -> ../1/layer.tar", b""),
        ("c.json", &config),
        ("repositories", b"{}"),
        ("manifest.json", manifest),
    ]);
    let (_directory, store) = store();
    let loaded = load(&store, archive.as_slice()).unwrap();
    let references: Vec<_> = loaded.iter().filter_map(|loaded| loaded.reference.clone()).collect();
    assert_eq!(references, names(&["app:1", "x.io/app:2"]));
    let image = assemble::read(&store, &loaded[0].manifest, &platform()).unwrap();
    let layers: Vec<_> =
        image.layers.iter().map(|layer| (layer.blob.media_type.as_str(), layer.blob.digest)).collect();
    let expected = [
        (media_type::LAYER, Digest::of(&a)),
        (media_type::LAYER_GZIP, Digest::of(&zipped)),
        (media_type::LAYER, Digest::of(&a)),
    ];
    assert_eq!(layers, expected);
    assert!(store.blob_path(&Digest::of(&config)).exists(), "the image id is kept");
}

#[test]
fn damage_is_an_error() {
    let layer = tar_of(&[("a", b"1")]);
    let config = old_config(&[&layer]);
    let wrong = old_config(&[b"something else"]);
    let list = br#"[{"Config":"c.json","RepoTags":null,"Layers":["l.tar"]}]"#;
    let hex = "0".repeat(64);
    let misnamed = format!("blobs/sha256/{hex}");
    let layout = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{}","digest":"sha256:{hex}","size":2}}]}}"#,
        media_type::MANIFEST
    );
    let digest_of_another_kind = layout.replace("sha256:", "sha512:");
    for (files, expected) in [
        (vec![("x", &b"y"[..])], "neither an OCI layout"),
        (vec![("c.json", &config), ("manifest.json", list)], "the archive has no file `l.tar`"),
        (vec![("l.tar", &layer), ("manifest.json", list)], "the archive has no file `c.json`"),
        (vec![("l.tar", &layer), ("c.json", &wrong), ("manifest.json", list)], "has the diff id"),
        (vec![("l.tar", &layer), ("c.json", &old_config(&[])), ("manifest.json", list)], "lists 1 layers"),
        (vec![("manifest.json", b"x")], "cannot read `manifest.json`"),
        (vec![("c.json", b"x"), ("l.tar", b""), ("manifest.json", list)], "cannot read `c.json`"),
        (
            vec![
                ("l.tar -> m.tar", b""),
                ("m.tar -> l.tar", b""),
                ("c.json", &config),
                ("manifest.json", list),
            ],
            "the archive has no file `l.tar`",
        ),
        (
            vec![("l.tar -> ../../etc/passwd", b""), ("c.json", &config), ("manifest.json", list)],
            "the archive has no file `l.tar`",
        ),
        (vec![(&misnamed, b"x")], "expected sha256:0000"),
        (vec![("oci-layout", LAYOUT), ("index.json", layout.as_bytes())], "is not in the store"),
        (
            vec![("oci-layout", LAYOUT), ("index.json", digest_of_another_kind.as_bytes())],
            "cannot read `index.json`",
        ),
        (vec![("oci-layout", LAYOUT), ("index.json", b"[]")], "cannot read `index.json`"),
    ] {
        let (_directory, store) = store();
        let names: Vec<_> = files.iter().map(|(name, _)| (*name).to_owned()).collect();
        let error = load(&store, tar_of(&files).as_slice()).unwrap_err().to_string();
        assert!(error.contains(expected), "{names:?}: {error}");
    }
    let (_directory, store) = store();
    let archive = tar_of(&[("l.tar", &layer), ("c.json", &config), ("manifest.json", list)]);
    assert!(load(&store, &archive[..archive.len() / 2]).is_err(), "an archive that is cut off");
    assert!(load(&store, &b""[..]).is_err(), "an empty file");
}

#[test]
fn a_layout_directory_keeps_its_other_images() {
    let (_directory, from) = store();
    let first = sample(&from, Flavor::Oci).manifest;
    let second = sample(&from, Flavor::Docker).manifest;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layout");
    oci_directory(&from, &saved(&first, &names(&["app:1", "app:2"])), &BTreeMap::new(), &path).unwrap();
    oci_directory(&from, &saved(&second, &names(&["app:2", "y.io/z:3"])), &BTreeMap::new(), &path).unwrap();
    oci_directory(&from, &saved(&second, &[]), &BTreeMap::new(), &path).unwrap();
    oci_directory(&from, &saved(&second, &[]), &BTreeMap::new(), &path).unwrap();
    let (_directory, to) = store();
    let name = |text: &str| Some(text.parse().unwrap());
    let expected =
        [(name("app:1"), &first), (name("app:2"), &second), (name("y.io/z:3"), &second), (None, &second)];
    let loaded = load_path(&to, &path).unwrap();
    let loaded: Vec<_> = loaded.iter().map(|loaded| (loaded.reference.clone(), &loaded.manifest)).collect();
    assert_eq!(loaded, expected);

    let by_digest = first.digest.to_string();
    for (selector, expected) in [
        (Some("1"), Ok(&first)),
        (Some("app:1"), Ok(&first)),
        (Some("docker.io/library/app:2"), Ok(&second)),
        (Some("3"), Ok(&second)),
        (Some(by_digest.as_str()), Ok(&first)),
        (Some("4"), Err("no image `4`")),
        (None, Err("has several images, name one of `docker.io/library/app:1`")),
    ] {
        let (_directory, to) = store();
        match (open_layout(&to, &path, selector), expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(&found, expected, "{selector:?}");
                assemble::read(&to, &found, &platform()).unwrap();
            }
            (Err(error), Err(expected)) => {
                assert!(error.to_string().contains(expected), "{selector:?}: {error}");
            }
            (found, _) => panic!("{selector:?}: {found:?}"),
        }
    }
}

#[test]
fn a_manifest_of_a_layout_is_found_by_digest_without_a_name() {
    let (_directory, from) = store();
    let assembled = sample(&from, Flavor::Docker);
    let list = [(assembled.manifest.clone(), platform())];
    let index = assemble::index(&from, &list, BTreeMap::new(), Flavor::Oci).unwrap();
    let directory = tempfile::tempdir().unwrap();
    oci_directory(&from, &saved(&index, &[]), &BTreeMap::new(), directory.path()).unwrap();
    let (_directory, to) = store();
    let selector = assembled.manifest.digest.to_string();
    assert_eq!(open_layout(&to, directory.path(), Some(&selector)).unwrap(), assembled.manifest);
    assert_eq!(open_layout(&to, directory.path(), None).unwrap(), index);
    let damaged = directory.path().join(blob_file(&assembled.image.layers[0].blob.digest));
    let size = fs::metadata(&damaged).unwrap().len();
    fs::write(&damaged, vec![0; usize::try_from(size).unwrap()]).unwrap();
    let (_directory, to) = store();
    let error = open_layout(&to, directory.path(), None).unwrap_err();
    assert!(matches!(error, Error::Store(store::Error::Mismatch { .. })), "{error}");
}

/// An image of some layers that are longer than a block of a tar.
fn image_of(store: &Store, layers: &[&[u8]]) -> Archive {
    let blob = |bytes: &[u8]| {
        let digest = store.put(bytes).unwrap();
        Blob { media_type: media_type::LAYER.into(), digest, size: bytes.len() as u64 }
    };
    let config = blob(b"{}");
    let layers: Vec<Layer> =
        layers.iter().map(|bytes| Layer { blob: blob(bytes), diff_id: DiffId(Digest::of(bytes)) }).collect();
    let root = assemble::manifest(store, &config, &layers, BTreeMap::new(), Flavor::Oci).unwrap();
    oci(store, &[saved(&root, &[])], &BTreeMap::new()).unwrap()
}

/// Writes the rest of an archive that grew; returns it, and how many blobs it held before.
fn completed(store: &Store, archive: &Archive, grown: Growing) -> (Vec<u8>, usize) {
    let (mut file, present) = grown.finish(archive.blobs()).unwrap();
    archive.write_rest(store, present, &mut file).unwrap();
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).unwrap();
    (bytes, present)
}

#[test]
fn an_archive_that_grew_is_as_one_that_was_written_at_once() {
    let (_directory, store) = store();
    let layers: [&[u8]; 3] = [&[1; 5000], &[2; 512], &[3; 70_001]];
    let archive = image_of(&store, &layers);
    let expected = written(&store, &archive);
    let writer = |bytes: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    };
    let grown = || Growing::new(tempfile::tempfile().unwrap()).unwrap();
    let (below, top) = (&archive.blobs()[..2], &archive.blobs()[2]);
    let other = image_of(&store, &[layers[0], layers[2]]);
    type Grow<'a> = &'a dyn Fn(&mut Growing);
    let cases: [(&str, usize, Grow<'_>); 8] = [
        ("nothing is known", 0, &|_| ()),
        ("layers of the store", 2, &|archive| archive.hold(&store, below, &|| true).unwrap()),
        ("a layer while it is written", 3, &|archive| {
            archive.hold(&store, below, &|| true).unwrap();
            let mut file = writer(&layers[2][..100]);
            archive.begin(below, file.try_clone().unwrap());
            archive.grow(100).unwrap();
            // What is below is known again.
            archive.hold(&store, &below[..1], &|| true).unwrap();
            file.write_all(&layers[2][100..]).unwrap();
            archive.end(top).unwrap();
        }),
        ("a layer that does not end", 2, &|archive| {
            archive.hold(&store, below, &|| true).unwrap();
            archive.begin(below, writer(layers[2]));
            archive.grow(5000).unwrap();
        }),
        ("a layer that is begun again", 3, &|archive| {
            archive.hold(&store, below, &|| true).unwrap();
            archive.begin(below, writer(&[9; 90_000]));
            archive.grow(90_000).unwrap();
            archive.begin(below, writer(layers[2]));
            archive.end(top).unwrap();
        }),
        ("what is below is not there", 1, &|archive| {
            archive.hold(&store, &below[..1], &|| true).unwrap();
            archive.begin(below, writer(layers[2]));
            archive.end(top).unwrap();
        }),
        ("other layers", 1, &|archive| archive.hold(&store, &other.blobs()[..2], &|| true).unwrap()),
        ("a layer that nobody has", 1, &|archive| {
            let digest = Digest::of(b"of another machine");
            let missing = Blob { digest, ..top.clone() };
            archive.hold(&store, &[below[0].clone(), missing, below[1].clone()], &|| true).unwrap();
        }),
    ];
    for (case, held, grow) in cases {
        let mut grown = grown();
        grow(&mut grown);
        let (bytes, present) = completed(&store, &archive, grown);
        assert_eq!(present, held, "{case}");
        assert!(bytes == expected, "{case}");
    }
}

#[test]
fn an_archive_does_not_grow_by_what_is_not_there() {
    let (_directory, store) = store();
    let mut grown = Growing::new(tempfile::tempfile().unwrap()).unwrap();
    grown.begin(&[], tempfile::tempfile().unwrap());
    assert_eq!(grown.grow(1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    let archive = image_of(&store, &[&[1; 5000]]);
    assert!(grown.hold(&store, &archive.blobs()[..1], &|| false).is_err(), "nobody waits for it");
    let (bytes, present) = completed(&store, &archive, grown);
    assert_eq!(present, 0);
    assert!(bytes == written(&store, &archive));
}
