//! Base images made from Debian packages, by code that shares nothing with kiln's own packing: it is the judge.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Of every file in a base; a fixed time makes equal bases equal.
const MTIME: u64 = 1_700_000_000;

/// Where the Debian root is kept between runs: making it takes a minute and a network.
const CACHE: &str = "/var/tmp/kiln-test-bases";

/// One image of one platform.
pub(crate) struct Image {
    /// For example `amd64`.
    pub architecture: String,
    /// For example `v7`; mostly empty.
    pub variant: String,
    /// The `config` object.
    pub config: Value,
    /// Uncompressed tars, base first.
    pub layers: Vec<Vec<u8>>,
}

impl Image {
    /// Returns an image of this machine's architecture.
    pub(crate) fn new(layers: Vec<Vec<u8>>) -> Self {
        Self {
            architecture: host_architecture().into(),
            variant: String::new(),
            config: json!({
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                "Cmd": ["sh"],
            }),
            layers,
        }
    }

    /// Returns the same image, said to be for another platform.
    #[must_use]
    pub(crate) fn for_platform(self, architecture: &str, variant: &str) -> Self {
        Self { architecture: architecture.into(), variant: variant.into(), ..self }
    }
}

/// Returns Docker's name of this machine's architecture.
pub(crate) fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A tar in the making, with a fixed time.
pub(crate) struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    /// Begins an empty layer.
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// Adds a directory.
    pub(crate) fn dir(&mut self, path: &str, mode: u32) -> &mut Self {
        self.entry(tar::EntryType::Directory, &format!("{path}/"), mode, &[])
    }

    /// Adds a file of root.
    pub(crate) fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> &mut Self {
        self.entry(tar::EntryType::Regular, path, mode, bytes)
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.link(tar::EntryType::Symlink, path, target)
    }

    /// Adds a further name of a file that the layer has.
    pub(crate) fn hard_link(&mut self, path: &str, target: &str) -> &mut Self {
        self.link(tar::EntryType::Link, path, target)
    }

    /// Adds a character device.
    pub(crate) fn device(&mut self, path: &str, mode: u32, major: u32, minor: u32) -> &mut Self {
        let mut header = header(tar::EntryType::Char, mode, 0);
        header.set_device_major(major).expect("a ustar or GNU header");
        header.set_device_minor(minor).expect("a ustar or GNU header");
        self.0.append_data(&mut header, path, &[][..]).expect("a tar in memory");
        self
    }

    /// Adds a file with a `security.capability`.
    pub(crate) fn capable_file(
        &mut self,
        path: &str,
        mode: u32,
        bytes: &[u8],
        capability: &[u8],
    ) -> &mut Self {
        let extension = [("SCHILY.xattr.security.capability", capability)];
        self.0.append_pax_extensions(extension).expect("a tar in memory");
        self.file(path, mode, bytes)
    }

    /// Returns the tar.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("a tar in memory")
    }

    fn entry(&mut self, kind: tar::EntryType, path: &str, mode: u32, bytes: &[u8]) -> &mut Self {
        let mut header = header(kind, mode, bytes.len() as u64);
        self.0.append_data(&mut header, path, bytes).expect("a tar in memory");
        self
    }

    fn link(&mut self, kind: tar::EntryType, path: &str, target: &str) -> &mut Self {
        let mut header = header(kind, 0o777, 0);
        self.0.append_link(&mut header, path, target).expect("a tar in memory");
        self
    }
}

impl Default for Layer {
    fn default() -> Self {
        Self::new()
    }
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(MTIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Makes the layer of a small system around Debian's static busybox; `None` if it is not installed.
///
/// The applets are hard links, as in the image that everybody knows.
pub(crate) fn busybox_layer() -> Option<Vec<u8>> {
    let program = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists())?;
    let bytes = std::fs::read(program).expect("busybox can be read");
    let applets = super::run(program, ["--list"]);
    let mut layer = Layer::new();
    for (directory, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("root", 0o700),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/bin", 0o755),
        ("usr/sbin", 0o755),
        ("var", 0o755),
    ] {
        layer.dir(directory, mode);
    }
    layer.file("bin/busybox", 0o755, &bytes);
    for applet in applets.lines().filter(|applet| !applet.is_empty() && *applet != "busybox") {
        layer.hard_link(&format!("bin/{applet}"), "bin/busybox");
    }
    layer
        .symlink("usr/bin/env", "../../bin/env")
        .file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
        )
        .file("etc/group", 0o644, b"root:x:0:\ndaemon:x:1:\nstaff:x:50:daemon\nnogroup:x:65534:\n")
        .file("etc/shadow", 0o640, b"root:*:::::::\n");
    Some(layer.finish())
}

/// `cap_net_raw=ep`, as the kernel stores it (`struct vfs_cap_data`, version 2).
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Returns two layers for the top of busybox: the second hides, replaces and links what the first brought.
pub(crate) fn whiteout_layers() -> [Vec<u8>; 2] {
    let (mut first, mut second) = (Layer::new(), Layer::new());
    first
        .dir("data", 0o755)
        .file("data/removed", 0o644, b"hidden by a whiteout\n")
        .dir("data/opaque", 0o755)
        .file("data/opaque/old", 0o644, b"hidden by an opaque directory\n")
        .dir("data/gone", 0o755)
        .file("data/gone/below", 0o644, b"hidden with its directory\n")
        .dir("data/becomes-file", 0o755)
        .file("data/becomes-file/below", 0o644, b"hidden by a file\n")
        .file("data/becomes-dir", 0o644, b"hidden by a directory\n")
        .file("data/linked", 0o640, b"two names\n")
        .hard_link("data/second-name", "data/linked")
        .capable_file("bin/capable", 0o755, b"#!/bin/sh\n", &NET_RAW)
        .device("data/device", 0o660, 1, 7);
    second
        .dir("data", 0o711)
        .file("data/.wh.removed", 0, b"")
        .file("data/.wh.gone", 0, b"")
        .dir("data/opaque", 0o750)
        .file("data/opaque/new", 0o644, b"new\n")
        .file("data/opaque/.wh..wh..opq", 0, b"")
        .file("data/becomes-file", 0o644, b"a file now\n")
        .dir("data/becomes-dir", 0o755)
        .file("data/becomes-dir/below", 0o644, b"a directory now\n")
        .file("data/.wh.never-was", 0, b"");
    [first.finish(), second.finish()]
}

/// Writes images into an OCI layout under `tag`: one as a manifest, several as an index. Returns the digest.
pub(crate) fn write_layout(layout: &Path, tag: &str, images: &[Image]) -> String {
    std::fs::create_dir_all(layout.join("blobs/sha256")).expect("the layout's folder");
    std::fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("oci-layout");
    let manifests: Vec<Value> = images.iter().map(|image| write_image(layout, image)).collect();
    let mut named = match &manifests[..] {
        [one] => one.clone(),
        several => put_json(
            layout,
            "application/vnd.oci.image.index.v1+json",
            &json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": several,
            }),
        ),
    };
    let digest = named["digest"].as_str().expect("a descriptor has a digest").to_owned();
    named["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
    let path = layout.join("index.json");
    let mut index = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).expect("index.json is JSON"),
        Err(_) => json!({"schemaVersion": 2, "manifests": []}),
    };
    index["manifests"].as_array_mut().expect("a list").push(named);
    std::fs::write(path, index.to_string()).expect("index.json");
    digest
}

fn write_image(layout: &Path, image: &Image) -> Value {
    let mut layers = Vec::new();
    let mut diff_ids = Vec::new();
    for tar in &image.layers {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(tar).expect("gzip in memory");
        let bytes = gzip.finish().expect("gzip in memory");
        diff_ids.push(digest_of(tar));
        layers.push(put(layout, "application/vnd.oci.image.layer.v1.tar+gzip", &bytes));
    }
    let history: Vec<Value> = layers
        .iter()
        .map(|_| json!({"created": "2023-11-14T22:13:20Z", "created_by": "test base"}))
        .collect();
    let mut platform = json!({"os": "linux", "architecture": image.architecture});
    if !image.variant.is_empty() {
        platform["variant"] = json!(image.variant);
    }
    let mut config = platform.clone();
    config["created"] = json!("2023-11-14T22:13:20Z");
    config["config"] = image.config.clone();
    config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
    config["history"] = json!(history);
    let config = put_json(layout, "application/vnd.oci.image.config.v1+json", &config);
    let mut manifest = put_json(
        layout,
        "application/vnd.oci.image.manifest.v1+json",
        &json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        }),
    );
    manifest["platform"] = platform;
    manifest
}

fn put_json(layout: &Path, media_type: &str, value: &Value) -> Value {
    put(layout, media_type, value.to_string().as_bytes())
}

fn put(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = digest_of(bytes);
    let hex = digest.strip_prefix("sha256:").expect("our own digest");
    std::fs::write(layout.join("blobs/sha256").join(hex), bytes).expect("a blob");
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

fn digest_of(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Returns the tar of a minimal Debian root of this machine's release, made at first use.
///
/// # Errors
/// The reason why it cannot be made here.
pub(crate) fn debian_tar() -> Result<PathBuf, String> {
    let suite = debian_suite().ok_or("this machine is not Debian: no release to make a root of")?;
    let path = Path::new(CACHE).join(format!("{suite}-{}-minbase.tar", host_architecture()));
    std::fs::create_dir_all(CACHE).map_err(|error| format!("{CACHE}: {error}"))?;
    // Several test processes may come here at once: one makes it, the others wait.
    let lock = std::fs::File::create(path.with_extension("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    if path.exists() {
        return Ok(path);
    }
    let program =
        super::find_program("mmdebstrap").ok_or("mmdebstrap is missing; ./tests/run installs it")?;
    let unfinished = path.with_extension("part.tar");
    let mut command = Command::new(program);
    command.args(["--quiet", "--variant=minbase", &suite]).arg(&unfinished);
    // This machine's own sources, so that its mirror and its keys are used.
    let sources = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
    command.args(sources.into_iter().find(|path| Path::new(path).exists()));
    let output = command.output().map_err(|error| format!("mmdebstrap: {error}"))?;
    if !output.status.success() {
        let _ = std::fs::remove_file(&unfinished);
        let said = String::from_utf8_lossy(&output.stderr);
        let end: Vec<&str> = said.lines().rev().take(5).collect();
        return Err(format!("mmdebstrap cannot make a Debian root: {}", end.join(" / ")));
    }
    std::fs::rename(&unfinished, &path).map_err(|error| error.to_string())?;
    Ok(path)
}

fn debian_suite() -> Option<String> {
    let release = std::fs::read_to_string("/etc/os-release").ok()?;
    let field = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim_matches('"').to_owned())
    };
    (field("ID")? == "debian").then(|| field("VERSION_CODENAME"))?
}

/// Other tools must take the bases, or what the tests on them say means little.
mod tests {
    use super::*;
    use crate::support::{require, run, skip};

    #[test]
    fn the_busybox_base_is_a_system() {
        require!("umoci", "skopeo");
        let Some(busybox) = busybox_layer() else { skip!("busybox-static is not installed") };
        let folder = tempfile::tempdir().unwrap();
        let (layout, bundle) = (folder.path().join("layout"), folder.path().join("bundle"));
        let mut upper = Layer::new();
        upper.file("etc/motd", 0o644, b"second layer\n");
        let digest = write_layout(&layout, "1", &[Image::new(vec![busybox, upper.finish()])]);
        let name = format!("{}:1", layout.display());

        let inspected = run("skopeo", ["inspect", &format!("oci:{name}")]);
        assert!(inspected.contains(&digest), "{inspected}");
        let mut unpack = vec!["unpack", "--image", &name, bundle.to_str().unwrap()];
        if !rustix::process::geteuid().is_root() {
            unpack.insert(1, "--rootless");
        }
        run("umoci", unpack);
        let root = bundle.join("rootfs");
        assert_eq!(std::fs::read_to_string(root.join("etc/motd")).unwrap(), "second layer\n");
        assert!(std::fs::read_to_string(root.join("etc/passwd")).unwrap().starts_with("root:x:0:0:"));
        // The applet works from the unpacked tree: the program is whole and static.
        assert_eq!(run(root.join("bin/echo").to_str().unwrap(), ["works"]), "works\n");
    }

    #[test]
    fn the_debian_base_is_debian() {
        let path = match debian_tar() {
            Ok(path) => path,
            Err(reason) => skip!("{reason}"),
        };
        let listing = run("tar", ["--list", "--file", path.to_str().unwrap()]);
        for member in ["./etc/debian_version", "./usr/bin/dpkg", "./usr/bin/apt-get", "./etc/passwd"] {
            assert!(listing.lines().any(|line| line == member), "{member}");
        }
    }
}
