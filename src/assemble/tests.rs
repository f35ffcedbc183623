use super::*;
use crate::digest::DiffId;
use crate::oci::{HISTORY_COMMENT, History};

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

fn layer(name: &str) -> Layer {
    let blob =
        Blob { media_type: media_type::LAYER_GZIP.into(), digest: Digest::of(name), size: name.len() as u64 };
    Layer { blob, diff_id: DiffId(Digest::of(format!("{name} uncompressed"))) }
}

fn old(created: i64, created_by: &str, empty_layer: bool) -> History {
    History {
        created: Some(Timestamp(created)),
        created_by: created_by.into(),
        empty_layer,
        ..History::default()
    }
}

fn new(created_by: &str, created: Option<i64>, has_layer: bool) -> NewEntry {
    NewEntry {
        created_by: created_by.into(),
        author: String::new(),
        created: created.map(Timestamp),
        has_layer,
        comment: HISTORY_COMMENT.to_owned(),
    }
}

fn parts(base: Vec<History>, layers: &[&str], history: Vec<NewEntry>) -> Parts {
    let config = ImageConfig {
        os: "linux".into(),
        architecture: "amd64".into(),
        history: base,
        ..ImageConfig::default()
    };
    Parts {
        config,
        layers: layers.iter().map(|name| layer(name)).collect(),
        history,
        created: None,
        epoch: None,
        annotations: BTreeMap::new(),
        flavor: Flavor::Oci,
    }
}

/// `seconds created_by`, empty ones in brackets.
fn printed(history: &[History]) -> Vec<String> {
    let line = |entry: &History| {
        let time = entry.created.map_or("-".to_owned(), |time| time.0.to_string());
        let text = format!("{time} {}", entry.created_by);
        if entry.empty_layer { format!("[{text}]") } else { text }
    };
    history.iter().map(line).collect()
}

#[test]
fn history_and_layers_agree() {
    const INVENTED: &str = "- layer of the base image, not in its history";
    for (base, layers, history, expected) in [
        (vec![], &[][..], vec![], &[][..]),
        (vec![old(1, "b", false)], &["b", "n"], vec![new("n", Some(5), true)], &["1 b", "5 n"]),
        (vec![], &["b", "c", "n"], vec![new("n", Some(5), true)], &[INVENTED, INVENTED, "5 n"]),
        (
            vec![old(1, "b", false), old(2, "c", false), old(3, "d", true)],
            &["b", "n"],
            vec![new("n", Some(5), true)],
            &["1 b", "[2 c]", "[3 d]", "5 n"],
        ),
        (
            vec![old(1, "b", false)],
            &["b", "x", "y"],
            vec![
                new("env", None, false),
                new("x", Some(5), true),
                new("cmd", None, false),
                new("y", Some(7), true),
                new("label", None, false),
            ],
            &["1 b", "[5 env]", "5 x", "[5 cmd]", "7 y", "[7 label]"],
        ),
        (vec![old(1, "b", false)], &["b"], vec![new("env", None, false)], &["1 b", "[1 env]"]),
        (vec![], &[], vec![new("env", None, false)], &["[- env]"]),
    ] {
        let (_directory, store) = store();
        let assembled = image(&store, parts(base, layers, history)).unwrap();
        let history = &assembled.image.config.history;
        assert_eq!(printed(history), expected);
        assert_eq!(history.iter().filter(|entry| !entry.empty_layer).count(), layers.len());
        let last = history.iter().rev().find_map(|entry| entry.created);
        assert_eq!(assembled.image.config.created, last);
    }
}

#[test]
fn times_are_clamped_but_not_the_bases() {
    let (_directory, store) = store();
    let mut parts = parts(
        vec![old(100, "b", false)],
        &["b", "x", "y"],
        vec![new("x", Some(20), true), new("y", Some(60), true), new("env", None, false)],
    );
    parts.epoch = Some(Timestamp(50));
    parts.created = Some(Timestamp(70));
    let assembled = image(&store, parts.clone()).unwrap();
    assert_eq!(printed(&assembled.image.config.history), ["100 b", "20 x", "50 y", "[50 env]"]);
    assert_eq!(assembled.image.config.created, Some(Timestamp(50)));
    parts.created = Some(Timestamp(30));
    assert_eq!(image(&store, parts).unwrap().image.config.created, Some(Timestamp(30)), "never raised");
}

#[test]
fn documents_are_exact() {
    let (_directory, store) = store();
    let mut parts = parts(vec![], &["x"], vec![new("COPY . / # buildkit", Some(0), true)]);
    parts.config.config.env = vec!["B=1".into(), "A=2".into()];
    parts.annotations = ('a'..='h').map(|key| (key.to_string(), "value".to_owned())).collect();
    let assembled = image(&store, parts.clone()).unwrap();
    let text = |blob: &Blob| String::from_utf8(store.read_blob(blob).unwrap()).unwrap();
    insta::assert_snapshot!(text(&assembled.config), @r#"{"architecture":"amd64","config":{"Env":["B=1","A=2"]},"created":"1970-01-01T00:00:00Z","history":[{"comment":"buildkit.dockerfile.v0","created":"1970-01-01T00:00:00Z","created_by":"COPY . / # buildkit"}],"os":"linux","rootfs":{"diff_ids":["sha256:56fd3e5e9290bd72515371adf2d5b11049c67720c1f0f039c565135e38940944"],"type":"layers"}}"#);
    insta::assert_snapshot!(text(&assembled.manifest), @r#"{"annotations":{"a":"value","b":"value","c":"value","d":"value","e":"value","f":"value","g":"value","h":"value"},"config":{"digest":"sha256:7300fc306a21ee2215f91082603198dc19ec7d75ba5c5c04407e813b326fcf04","mediaType":"application/vnd.oci.image.config.v1+json","size":332},"layers":[{"digest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":1}],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}"#);
    assert_eq!(image(&store, parts.clone()).unwrap(), assembled, "the same again");
    parts.flavor = Flavor::Docker;
    let assembled = image(&store, parts).unwrap();
    insta::assert_snapshot!(text(&assembled.manifest), @r#"{"config":{"digest":"sha256:7300fc306a21ee2215f91082603198dc19ec7d75ba5c5c04407e813b326fcf04","mediaType":"application/vnd.docker.container.image.v1+json","size":332},"layers":[{"digest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":1}],"mediaType":"application/vnd.docker.distribution.manifest.v2+json","schemaVersion":2}"#);
    insta::assert_snapshot!(
        text(&index(&store, &[(assembled.manifest, "linux/arm/v6".parse().unwrap())], BTreeMap::new(), Flavor::Oci).unwrap()),
        @r#"{"manifests":[{"digest":"sha256:72d11a85ffb8d70d08797c286fe0cbd7f17c4ea6fccc5941107d44f93d0d5e62","mediaType":"application/vnd.docker.distribution.manifest.v2+json","platform":{"architecture":"arm","os":"linux","variant":"v6"},"size":421}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}"#
    );
}

#[test]
fn what_is_written_is_read() {
    let (_directory, store) = store();
    let amd64: Platform = "linux/amd64".parse().unwrap();
    for flavor in [Flavor::Oci, Flavor::Docker] {
        let mut parts = parts(vec![], &["x", "y"], vec![new("y", Some(1), true)]);
        parts.flavor = flavor;
        let assembled = image(&store, parts).unwrap();
        assert_eq!(read(&store, &assembled.manifest, &amd64).unwrap(), assembled.image);
        let list = [(assembled.manifest, amd64.clone())];
        let outer = index(&store, &list, BTreeMap::new(), flavor).unwrap();
        assert_eq!(read(&store, &outer, &amd64).unwrap(), assembled.image);
        let error = read(&store, &outer, &"linux/arm64".parse().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "no image for linux/arm64, only for linux/amd64");
    }
}

#[test]
fn contradictions_are_errors() {
    let (_directory, store) = store();
    let mut without_os = parts(vec![], &[], vec![]);
    without_os.config.os.clear();
    assert!(matches!(image(&store, without_os), Err(Error::Incomplete { field: "os" })));
    let too_few = parts(vec![], &[], vec![new("x", None, true)]);
    assert!(matches!(image(&store, too_few), Err(Error::MissingLayers { layers: 0, new: 1 })));

    let assembled = image(&store, parts(vec![], &["x"], vec![])).unwrap();
    let bytes = store.read_blob(&assembled.manifest).unwrap();
    let Document::Manifest(manifest) = parse(assembled.manifest.digest, &bytes).unwrap() else {
        panic!("a manifest")
    };
    let error = image_of(Digest::of("m"), &manifest, b"{}").unwrap_err();
    assert!(matches!(error, Error::LayerCount { layers: 1, diff_ids: 0, .. }), "{error}");
    let error = image_of(Digest::of("m"), &manifest, b"[]").unwrap_err();
    assert!(matches!(error, Error::Json { what: "image config", .. }), "{error}");

    let digest = Digest::of("d");
    for (text, expected) in [
        (
            r#"{"schemaVersion":1,"mediaType":"application/vnd.docker.distribution.manifest.v1+json"}"#,
            "no image",
        ),
        (r#"{"schemaVersion":1}"#, "schema 1"),
        (r#"{"schemaVersion":2,"mediaType":"text/plain"}"#, "text/plain"),
        (r#"{"schemaVersion":2}"#, "cannot read manifest"),
        (r#"{"schemaVersion":2,"manifests":3}"#, "cannot read index"),
        ("x", "cannot read manifest"),
    ] {
        let error = parse(digest, text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
