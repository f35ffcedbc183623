//! The base images of the other tests: other tools must take them, or what the tests say means little.

use crate::support::bases::{self, Image, Layer};
use crate::support::{require, run, skip};

#[test]
fn the_busybox_base_is_a_system() {
    require!("umoci", "skopeo");
    let Some(busybox) = bases::busybox_layer() else { skip!("busybox-static is not installed") };
    let folder = tempfile::tempdir().unwrap();
    let (layout, bundle) = (folder.path().join("layout"), folder.path().join("bundle"));
    let mut upper = Layer::new();
    upper.file("etc/motd", 0o644, b"second layer\n");
    let digest = bases::write_layout(&layout, "1", &[Image::new(vec![busybox, upper.finish()])]);
    let name = format!("{}:1", layout.display());

    let inspected = run("skopeo", ["inspect", &format!("oci:{name}")]);
    assert!(inspected.contains(&digest), "{inspected}");
    let rootless = if rustix::process::geteuid().is_root() { None } else { Some("--rootless") };
    let arguments = ["unpack", "--image", &name, bundle.to_str().unwrap()];
    run(
        "umoci",
        ["--log=warn"]
            .into_iter()
            .chain(arguments[..1].iter().copied())
            .chain(rootless)
            .chain(arguments[1..].iter().copied()),
    );
    let root = bundle.join("rootfs");
    assert_eq!(std::fs::read_to_string(root.join("etc/motd")).unwrap(), "second layer\n");
    assert!(std::fs::read_to_string(root.join("etc/passwd")).unwrap().starts_with("root:x:0:0:"));
    // The applet works from the unpacked tree: the program is whole and static.
    assert_eq!(run(root.join("bin/echo").to_str().unwrap(), ["works"]), "works\n");
}

#[test]
fn the_debian_base_is_debian() {
    let path = match bases::debian_tar() {
        Ok(path) => path,
        Err(reason) => skip!("{reason}"),
    };
    let listing = run("tar", ["--list", "--file", path.to_str().unwrap()]);
    for member in ["./etc/debian_version", "./usr/bin/dpkg", "./usr/bin/apt-get", "./etc/passwd"] {
        assert!(listing.lines().any(|line| line == member), "{member}");
    }
}
