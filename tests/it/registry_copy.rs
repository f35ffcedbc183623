//! Copies between registries, repositories, archives and layouts: what arrives is what left.

use crate::pull::layer;
use crate::support::fault::{Fault, FaultProxy};
use crate::support::kiln::Kiln;
use crate::support::registry::TestRegistry;
use crate::support::{bases, push, require, run, validate};

/// Pushes an image for two platforms as `team/app:1` and returns the digest of its index.
fn fill(server: &TestRegistry) -> String {
    let layout = server.folder().join("layout");
    let image = |name: &str| bases::Image::new(vec![layer("base", b"b"), layer("etc/arch", name.as_bytes())]);
    let several = [
        image("host").for_platform(bases::host_architecture(), ""),
        image("other").for_platform("s390x", ""),
    ];
    let index = bases::write_layout(&layout, "1", &several);
    push(&layout, "1", &format!("{}/team/app:1", server.host()), None);
    index
}

/// Returns the digest that a name has in a registry.
fn digest_of(name: &str) -> String {
    let raw = run("skopeo", ["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")]);
    kiln::digest::Digest::of(raw).to_string()
}

#[test]
fn between_registries_with_all_platforms_or_one() {
    require!("docker-registry", "skopeo");
    let (from, to, kiln) = (TestRegistry::start(), TestRegistry::start(), Kiln::new());
    let index = fill(&from);
    let (source, target) = (format!("{}/team/app:1", from.host()), format!("{}/copies/app:2", to.host()));
    let copied = kiln.run(&format!("copy {source} docker://{target}")).success();
    assert!(copied.text().contains(&format!("2: digest: {index}")), "{}", copied.text());
    assert_eq!(digest_of(&target), index);
    for architecture in [bases::host_architecture(), "s390x"] {
        let taken = kiln.at(architecture);
        run(
            "skopeo",
            [
                "copy",
                "--src-tls-verify=false",
                &format!("--override-arch={architecture}"),
                &format!("docker://{target}"),
                &format!("oci:{}:1", taken.display()),
            ],
        );
    }
    let one = format!("{}/one:1", to.host());
    kiln.run(&format!("copy -q --platform linux/s390x {source} {one}")).success();
    let inspected = run("skopeo", ["inspect", "--tls-verify=false", "--config", &format!("docker://{one}")]);
    assert!(inspected.contains("s390x"), "{inspected}");
    let missing = kiln.run(&format!("copy {}/team/app:none {one}", from.host()));
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.contains("has no team/app:none"), "{}", missing.stderr);
}

#[test]
fn within_a_registry_no_layer_passes_through_this_machine() {
    require!("docker-registry", "skopeo");
    let (server, kiln) = (TestRegistry::start(), Kiln::new());
    let index = fill(&server);
    let proxy = FaultProxy::start(&server.host(), |_, _| Fault::None);
    let target = format!("{}/other/app:1", proxy.host());
    let copied = kiln.run(&format!("copy {}/team/app:1 {target}", proxy.host())).success();
    assert!(copied.text().contains("Mounted from team/app"), "{}", copied.text());
    assert!(!copied.text().contains("Pushed"), "{}", copied.text());
    let blobs = proxy.requests("/blobs/");
    assert!(!blobs.iter().any(|request| matches!(&*request.method, "GET" | "PUT" | "PATCH")), "{blobs:?}");
    assert_eq!(digest_of(&format!("{}/other/app:1", server.host())), index);
}

#[test]
fn through_archives_and_layouts_and_back() {
    require!("docker-registry", "skopeo");
    let (server, kiln) = (TestRegistry::start(), Kiln::new());
    let index = fill(&server);
    let source = format!("{}/team/app:1", server.host());
    for (step, (from, to)) in [
        (source.as_str(), "oci-archive:a.tar"),
        ("oci-archive:a.tar", "oci:layout:x"),
        ("oci:layout:x", "oci-archive:b.tar"),
    ]
    .into_iter()
    .enumerate()
    {
        let copied = Kiln::command(&kiln)
            .env("KILN_STORE", kiln.at(&format!("store{step}")))
            .args(["copy", from, to])
            .output()
            .unwrap();
        assert!(copied.status.success(), "{from}: {}", String::from_utf8_lossy(&copied.stderr));
        assert_eq!(String::from_utf8(copied.stdout).unwrap(), format!("{index}\n"), "{from} to {to}");
    }
    validate::assert_sound(&kiln.at("b.tar"));
    let back = format!("{}/back:1", server.host());
    kiln.run(&format!("copy oci-archive:b.tar {back}")).success();
    assert_eq!(digest_of(&back), index);

    let whole = kiln.run(&format!("copy {source} docker-archive:d.tar"));
    assert!(whole.code == Some(1) && whole.stderr.contains("--platform"), "{whole:?}");
    kiln.run(&format!("copy --platform linux/s390x {source} docker-archive:d.tar")).success();
    let inspected =
        run("skopeo", ["inspect", "--config", &format!("docker-archive:{}", kiln.at("d.tar").display())]);
    assert!(inspected.contains("s390x"), "{inspected}");
    kiln.run("copy --platform linux/s390x oci:layout:x oci:one:1").success();
    let inspected = run("skopeo", ["inspect", "--config", &format!("oci:{}:1", kiln.at("one").display())]);
    assert!(inspected.contains("s390x"), "{inspected}");
}

#[test]
fn transports_that_kiln_lacks_are_refused_by_name() {
    let kiln = Kiln::new();
    for place in ["docker-daemon:x:1", "containers-storage:x", "dir:x"] {
        let refused = kiln.run(&format!("copy {place} oci:x"));
        assert_eq!(refused.code, Some(125));
        let transport = place.split(':').next().unwrap();
        assert!(refused.stderr.contains(&format!("no transport `{transport}:`")), "{}", refused.stderr);
    }
}
