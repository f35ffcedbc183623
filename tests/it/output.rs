//! Where results go, what is printed beside them, and the exit codes.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use serde_json::Value;

use crate::support::kiln::{EPOCH, Ended, Kiln, ended};
use crate::support::listing::Image;
use crate::support::{find_program, require, run, skip, validate};

const DOCKERFILE: &str = "\
FROM busybox
RUN mkdir /made && echo made > /made/file && ln -s file /made/link && rm /etc/shadow && chmod 4755 /made/file
COPY --chown=5:6 --chmod=640 copied /copied
CMD [\"cat\", \"/made/file\"]
";

fn project() -> Option<Kiln> {
    let kiln = Kiln::with_busybox()?;
    kiln.dockerfile(DOCKERFILE);
    kiln.write("context/copied", "copied\n");
    Some(kiln)
}

/// Builds with a fixed time.
fn build(kiln: &Kiln, line: &str) -> Ended {
    let mut command = kiln.build_command();
    ended(command.env("SOURCE_DATE_EPOCH", EPOCH).args(line.split(' ')).arg("context"))
}

#[test]
fn every_form_holds_the_same_image() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    let first = build(&kiln, "--output type=oci,dest=oci.tar").success();
    for line in [
        "--output type=oci,dest=layout,tar=false",
        "--output type=docker,dest=docker.tar -t app:1",
        "--output type=oci,dest=zstd.tar,compression=zstd",
        "--output type=oci,dest=plain.tar,compression=uncompressed",
        "--output type=oci,dest=docker-types.tar,oci-mediatypes=false",
        "--output type=oci,dest=two.tar --output type=docker,dest=two-docker.tar",
        "--output type=image,name=example.org/named:2",
    ] {
        // The image id is the same in every form: it says nothing of how layers are compressed.
        assert_eq!(build(&kiln, line).success().text(), first.text(), "{line}");
    }
    let expected = Image::read(&kiln.at("oci.tar"));
    for form in [
        "oci.tar",
        "layout",
        "docker.tar",
        "zstd.tar",
        "plain.tar",
        "docker-types.tar",
        "two.tar",
        "two-docker.tar",
    ] {
        validate::assert_sound(&kiln.at(form));
        let image = Image::read(&kiln.at(form));
        assert_eq!(image.config, expected.config, "{form}");
        assert_eq!(image.tree().since(&expected.tree()), "", "{form}");
    }
    assert_eq!(Image::read(&kiln.at("layout")).digest, expected.digest);
    assert_eq!(Image::read(&kiln.at("two.tar")).digest, expected.digest);
    let media_type = |form: &str| Image::read(&kiln.at(form)).manifest["layers"][1]["mediaType"].clone();
    assert_eq!(media_type("oci.tar"), "application/vnd.oci.image.layer.v1.tar+gzip");
    assert_eq!(media_type("zstd.tar"), "application/vnd.oci.image.layer.v1.tar+zstd");
    assert_eq!(media_type("plain.tar"), "application/vnd.oci.image.layer.v1.tar");
    assert_eq!(media_type("docker-types.tar"), "application/vnd.docker.image.rootfs.diff.tar.gzip");
}

#[test]
fn plain_files_are_those_of_the_image() {
    if !rustix::process::geteuid().is_root() {
        skip!("only root gives files away");
    }
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    build(&kiln, "--output rootfs").success();
    build(&kiln, "--output type=local,dest=again").success();
    for root in ["rootfs", "again"].map(|name| kiln.at(name)) {
        assert_eq!(std::fs::read_to_string(root.join("made/link")).unwrap(), "made\n");
        assert!(root.join("bin/busybox").exists() && !root.join("etc/shadow").exists());
        let copied = root.join("copied").metadata().unwrap();
        assert_eq!(copied.permissions().mode() & 0o7777, 0o640);
        let links = root.join("bin/sh").metadata().unwrap().nlink();
        assert!(links > 10, "the applets are one file: {links}");
    }
}

#[test]
fn on_standard_output_is_nothing_but_the_tar() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    for line in ["--output type=tar,dest=-", "--output type=tar", "--output -"] {
        let output = build(&kiln, line).success().stdout;
        let mut archive = tar::Archive::new(&output[..]);
        let mut found = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let header = entry.header();
            let facts = (header.mode().unwrap() & 0o7777, header.uid().unwrap(), header.gid().unwrap());
            let mut text = Vec::new();
            entry.read_to_end(&mut text).unwrap();
            found.push((path, facts, text.len()));
        }
        assert!(found.contains(&("copied".to_owned(), (0o640, 5, 6), 7)), "{line}: {found:?}");
        assert!(found.contains(&("made/file".to_owned(), (0o4755, 0, 0), 5)), "{line}: {found:?}");
        assert!(!found.iter().any(|(path, ..)| path.contains("shadow") || path.contains(".wh.")), "{line}");
        assert!(output.ends_with(&[0; 1024]), "{line}");
    }
    for line in ["--output type=oci,dest=-", "--output type=oci"] {
        let image = Image::from_tar(&build(&kiln, line).success().stdout);
        assert!(image.tree().0.contains_key(&b"made/file"[..]), "{line}");
    }
    let docker = build(&kiln, "--output type=docker,dest=- -t app:1").success().stdout;
    std::fs::write(kiln.at("docker.tar"), docker).unwrap();
    validate::assert_sound(&kiln.at("docker.tar"));
}

#[test]
fn the_image_id_is_the_digest_of_the_config() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    let built =
        build(&kiln, "--output type=oci,dest=oci.tar --iidfile id --metadata-file meta -t app:1 -t app:2")
            .success();
    let image = Image::read(&kiln.at("oci.tar"));
    let id = image.manifest["config"]["digest"].as_str().unwrap();
    assert_eq!(built.text(), format!("{id}\n"));
    assert_eq!(std::fs::read_to_string(kiln.at("id")).unwrap(), id);
    let meta: Value = serde_json::from_slice(&std::fs::read(kiln.at("meta")).unwrap()).unwrap();
    assert_eq!(meta["containerimage.config.digest"], id);
    assert_eq!(meta["containerimage.digest"], image.digest);
    assert_eq!(meta["containerimage.descriptor"]["digest"], image.digest);
    assert_eq!(meta["image.name"], "docker.io/library/app:1,docker.io/library/app:2");
    let quiet = build(&kiln, "-q").success();
    assert_eq!((quiet.text(), quiet.stderr.as_str()), (&*format!("{id}\n"), ""));
}

#[test]
fn exit_codes_are_dockers() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    kiln.write("wrong/Dockerfile", "FROM busybox\nRUM true\n");
    kiln.write("failing/Dockerfile", "FROM busybox\nRUN exit 7\n");
    kiln.write("absent/Dockerfile", "FROM oci-missing.invalid/image\n");
    for (line, code) in [
        ("build context", 0),
        ("build wrong", 1),
        ("build failing", 1),
        ("build nowhere", 1),
        ("build --file nowhere context", 1),
        ("build --unknown context", 125),
        ("build --output type=unknown context", 125),
        ("build --platform linux/amd64,linux/arm64 context", 125),
        ("build", 125),
        ("unknown", 125),
        ("image inspect nothing", 1),
        ("--help", 0),
        ("--version", 0),
        ("build --help", 0),
    ] {
        let mut words = line.split(' ');
        let ended = match line.strip_prefix("build ") {
            Some(line) => kiln.build(line),
            None => ended(kiln.command().args(&mut words)),
        };
        assert_eq!(ended.code, Some(code), "{line}: {}", ended.stderr);
        assert_eq!(ended.stderr.is_empty(), line.contains("--help") || line.contains("--version"), "{line}");
        // Docker prints the list of what it found, which is empty then.
        let empty_list = line.starts_with("image inspect") && ended.text() == "[]\n";
        assert_eq!(ended.stdout.is_empty() || empty_list, code != 0, "{line}: {ended:?}");
    }
}

#[test]
fn an_unfinished_build_leaves_the_old_archive() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    build(&kiln, "--output type=oci,dest=oci.tar").success();
    let before = std::fs::read(kiln.at("oci.tar")).unwrap();
    kiln.dockerfile("FROM busybox\nRUN false\n");
    assert_eq!(build(&kiln, "--output type=oci,dest=oci.tar").code, Some(1));
    assert!(std::fs::read(kiln.at("oci.tar")).unwrap() == before);
}

#[test]
fn a_full_disk_is_named_with_what_makes_room() {
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    let built = build(&kiln, "--output type=oci,dest=/dev/full");
    assert_eq!(built.code, Some(1));
    let (error, help) =
        ("error: cannot write `/dev/full`: No space left on device", "  = help: `kiln system df`");
    let ending: Vec<&str> = built.stderr.lines().rev().take(2).collect();
    assert!(ending[1].starts_with(error) && ending[0].starts_with(help), "{}", built.stderr);
}

#[test]
fn dockers_own_reader_takes_the_docker_archive() {
    require!("skopeo");
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    build(&kiln, "--output type=docker,dest=docker.tar -t example.org/app:1").success();
    let name = format!("docker-archive:{}:example.org/app:1", kiln.at("docker.tar").display());
    let copied = format!("dir:{}", kiln.at("copied").display());
    run(find_program("skopeo").unwrap().to_str().unwrap(), ["--insecure-policy", "copy", &name, &copied]);
    let config: Value = serde_json::from_str(&run("skopeo", ["inspect", "--config", &name])).unwrap();
    assert_eq!(config["config"]["Cmd"], serde_json::json!(["cat", "/made/file"]));
}

#[test]
fn force_compression_reaches_the_layers_of_the_base() {
    require!("skopeo");
    let Some(kiln) = project() else { skip!("busybox-static is not installed") };
    build(&kiln, "--output type=oci,dest=oci.tar").success();
    let expected = Image::read(&kiln.at("oci.tar"));
    let media_types = |image: &Image| -> Vec<String> {
        let layers = image.manifest["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["mediaType"].as_str().unwrap().to_owned()).collect()
    };
    for (compression, suffix) in
        [("zstd", "+zstd"), ("uncompressed", ""), ("gzip,compression-level=1", "+gzip")]
    {
        for form in ["first", "again"] {
            let file = format!("{form}{suffix}.tar");
            let line =
                format!("--output type=oci,dest={file},compression={compression},force-compression=true");
            build(&kiln, &line).success();
            validate::assert_sound(&kiln.at(&file));
            let image = Image::read(&kiln.at(&file));
            let wanted = format!("application/vnd.oci.image.layer.v1.tar{suffix}");
            assert_eq!(media_types(&image), vec![wanted; media_types(&expected).len()], "{line}");
            // The diff ids are in the config.
            assert_eq!(image.config, expected.config, "{line}");
            assert_eq!(image.tree().since(&expected.tree()), "", "{line}");
            // Reads, and so decompresses and verifies, every layer.
            let name = format!("oci-archive:{}", kiln.at(&file).display());
            let copied = format!("dir:{}", kiln.at(&format!("copied-{file}")).display());
            run("skopeo", ["--insecure-policy", "copy", &name, &copied]);
        }
        let digest = |form: &str| Image::read(&kiln.at(&format!("{form}{suffix}.tar"))).digest;
        assert_eq!(digest("first"), digest("again"), "{compression}");
    }
    let zstd = "--output type=oci,dest=zstd.tar,compression=zstd";
    build(&kiln, zstd).success();
    let kept = media_types(&Image::read(&kiln.at("zstd.tar")));
    assert_eq!(kept[0], media_types(&expected)[0], "without it the base stays as it came");
}
