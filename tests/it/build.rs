//! The cases of `testdata/build`: a directory per case, the image that comes of it as a snapshot.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::kiln::{self, Kiln};
use crate::support::listing::Image;
use crate::support::registry::TestRegistry;
use crate::support::{find_program, push, require, run, skip, validate};

/// Builds every case: whatever lies in `testdata/build` is a case, so none is forgotten.
#[test]
fn cases() {
    require!("umoci", "skopeo", "bzip2", "xz", "zstd");
    if !rustix::process::geteuid().is_root() {
        skip!("the cases make devices and give files away, as root");
    }
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    let only = std::env::var("KILN_CASE").ok();
    let mut failed = Vec::new();
    for case in directories(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/build")) {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        if only.as_ref().is_none_or(|only| *only == name)
            && std::panic::catch_unwind(|| check(&kiln, &case, &name)).is_err()
        {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "cases that failed: {failed:?}");
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.is_dir());
    found.sort();
    found
}

/// Builds a case and compares the image with `expected.snap`; other tools must take it too.
fn check(kiln: &Kiln, case: &Path, name: &str) {
    let known = ["Dockerfile", "Dockerfile.dockerignore", "context", "args", "prepare", "expected.snap"];
    for entry in std::fs::read_dir(case).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            known.contains(&file.as_str()) || file.ends_with(".snap.new"),
            "{name}: {file} means nothing"
        );
    }
    let context = kiln.at(name);
    std::fs::create_dir(&context).unwrap();
    if case.join("context").exists() {
        kiln::copy_checkout(&case.join("context"), &context);
    }
    if case.join("prepare").exists() {
        run(
            "sh",
            [
                "-euc",
                "umask 022; cd \"$1\"; . \"$0\"",
                case.join("prepare").to_str().unwrap(),
                context.to_str().unwrap(),
            ],
        );
    }
    let args = std::fs::read_to_string(case.join("args")).unwrap_or_default();
    let mut line = format!("--file {}", case.join("Dockerfile").display());
    for arg in args.lines() {
        line += " ";
        line += arg;
    }
    let (image, _) = kiln.image(&format!("{line} {name}"));
    judge(kiln, name);
    insta::with_settings!({
        snapshot_path => case,
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!("expected", print(&image));
    });
}

/// Prints what an image says of itself and what it adds to the base.
fn print(image: &Image) -> String {
    let base_layers = image.layers.len() - new_layers(image);
    let mut config = image.config.clone();
    let diff_ids = config["rootfs"]["diff_ids"].as_array_mut().unwrap();
    // The base's busybox is the machine's.
    diff_ids.drain(..base_layers);
    let (base, tree) = (image.tree_of(base_layers), image.tree());
    for (path, node) in &tree.0 {
        assert!(node.mtime <= kiln::EPOCH.parse().unwrap(), "{} is too new", path.escape_ascii());
    }
    format!("{config:#}\n\nfiles on {base_layers} layers of the base:\n{}", tree.since(&base))
}

/// Returns how many layers are none of the base: their history is BuildKit's.
fn new_layers(image: &Image) -> usize {
    let history = image.config["history"].as_array().unwrap();
    history.iter().filter(|entry| entry["empty_layer"] != true && entry["created_by"] != "test base").count()
}

/// Other tools must take the image: skopeo copies it, umoci unpacks it.
fn judge(kiln: &Kiln, name: &str) {
    let (archive, layout) = (kiln.at("image.tar"), kiln.at(&format!("{name}-copy")));
    run("skopeo", ["inspect", &format!("oci-archive:{}", archive.display())]);
    let copy = [&format!("oci-archive:{}", archive.display()), &format!("oci:{}:1", layout.display())];
    run("skopeo", ["--insecure-policy", "copy", copy[0], copy[1]]);
    let bundle = kiln.at(&format!("{name}-bundle"));
    run("umoci", ["unpack", "--image", &format!("{}:1", layout.display()), bundle.to_str().unwrap()]);
    // What it unpacked has the names that our own reading of the layers has.
    let listed = Command::new(find_program("find").unwrap())
        .args([bundle.join("rootfs").to_str().unwrap(), "-mindepth", "1", "-printf", "%P\\0"])
        .output()
        .unwrap();
    let mut found: Vec<&[u8]> =
        listed.stdout.split(|byte| *byte == 0).filter(|path| !path.is_empty()).collect();
    found.sort_unstable();
    let tree = Image::read(&archive).tree();
    let expected: Vec<&[u8]> = tree.0.keys().map(Vec::as_slice).filter(|path| !path.is_empty()).collect();
    assert_eq!(found.len(), expected.len(), "{name}");
    let differing = found.iter().zip(&expected).find(|(a, b)| a != b);
    assert!(
        differing.is_none(),
        "{name}: {:?}",
        differing.map(|(a, b)| (a.escape_ascii().to_string(), b.escape_ascii().to_string()))
    );
    for directory in [layout, bundle] {
        std::fs::remove_dir_all(directory).unwrap();
    }
}

/// overlayfs copies one name of a file up and breaks its links to the others, a plain directory does not:
/// either way the image holds what the steps saw.
#[test]
fn links_to_files_of_lower_layers() {
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    kiln.dockerfile(
        "FROM busybox\nRUN echo one > /one && ln /one /two && mkdir /d && ln /one /d/three\n\
         RUN ln /one /four\nRUN echo more >> /two\nRUN cat /one /two /d/three /four > /seen\n\
         FROM scratch\nCOPY --from=0 /one /two /four /seen /d/three /\n",
    );
    let (image, _) = kiln.image("context");
    let tree = image.tree();
    let text = |name: &str| tree.0[name.as_bytes()].text.clone();
    assert_eq!(text("seen"), ["one", "two", "three", "four"].map(text).concat());
    assert!(text("two").ends_with("more\n"));
    let (again, _) = kiln.image("--no-cache context");
    assert_eq!(again.digest, image.digest);
}

/// A base from a registry is pulled once, by tag and by digest, and is the same as from a layout.
#[test]
fn a_base_from_a_registry() {
    require!("docker-registry", "skopeo");
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    let registry = TestRegistry::start();
    let name = format!("{}/library/base", registry.host());
    push(&kiln.at("bases"), "busybox", &format!("{name}:1"), None);
    let dockerfile = |base: &str| format!("FROM {base}\nRUN echo made > /made\n");
    kiln.dockerfile(&dockerfile("busybox"));
    let (expected, _) = kiln.image("context");
    kiln.dockerfile(&dockerfile(&format!("{name}:1")));
    let (image, _) = kiln.image("--no-cache context");
    assert_eq!(image.digest, expected.digest);
    // With a digest, and all of it in the store, nobody is asked.
    let digest = run(
        "skopeo",
        ["inspect", "--tls-verify=false", "--format={{.Digest}}", &format!("docker://{name}:1")],
    );
    kiln.dockerfile(&dockerfile(&format!("{name}@{}", digest.trim())));
    let (by_digest, _) = kiln.image("context");
    drop(registry);
    let (again, _) = kiln.image("context");
    assert_eq!((by_digest.digest, again.digest), (expected.digest.clone(), expected.digest));
}

/// What is made again just as it was is there, though nothing about it differs from what was removed.
#[test]
fn a_directory_that_is_made_again_as_it_was() {
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    let make = "mkdir -p /d/e && echo same > /d/e/f && touch -d @1000000000 /d/e/f /d/e /d";
    kiln.dockerfile(&format!("FROM busybox\nRUN {make} && touch /d/gone\nRUN rm -r /d && {make}\n"));
    for isolation in ["auto", "chroot"] {
        let ended = kiln
            .build(&format!("--isolation {isolation} --no-cache --output type=oci,dest=image.tar context"));
        ended.success();
        let tree = Image::read(&kiln.at("image.tar")).tree();
        let names: Vec<_> = tree.0.keys().filter(|path| path.starts_with(b"d/")).collect();
        assert_eq!(names, [&b"d/e"[..], b"d/e/f"], "{isolation}");
        assert_eq!(tree.0[&b"d/e"[..]].mtime, 1_000_000_000, "{isolation}");
        assert_eq!(tree.0[&b"d/e/f"[..]].mtime, 1_000_000_000, "{isolation}");
    }
}

/// What the README builds first.
#[test]
fn the_demonstration() {
    let Some(busybox) =
        ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists())
    else {
        skip!("busybox-static is not installed")
    };
    let kiln = Kiln::new();
    std::fs::create_dir(kiln.at("tools")).unwrap();
    std::fs::copy(busybox, kiln.at("tools/busybox")).unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/demo");
    let mut command = kiln.command();
    command.args(["build", "--build-context", "tools=tools", "--output", "type=oci,dest=app.tar"]).arg(demo);
    let ended = kiln::ended(&mut command).success();
    assert!(!ended.stderr.contains("[unused"), "{}", ended.stderr);
    let archive = kiln.at("app.tar");
    validate::assert_sound(&archive);
    let tree = Image::read(&archive).tree();
    let page = &tree.0[&b"srv/www/index.html"[..]];
    assert_eq!(page.owner, (80, 80));
    assert!(page.text.contains("<h1>Welcome</h1>"), "{}", page.text);
    assert!(!tree.0.contains_key(&b"site"[..]) && tree.0.contains_key(&b"etc/site-passed"[..]));
    let again = kiln::ended(&mut command).success();
    assert!(!again.stderr.contains("rendered at") && again.count("CACHED") > 5, "{}", again.stderr);
}
