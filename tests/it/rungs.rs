//! One Dockerfile on every rung of the ladder: who builds makes no difference to what is built.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::support::kiln::{EPOCH, Kiln, ended};
use crate::support::listing::Image;
use crate::support::surroundings::{container, user_with_subordinate_ids};
use crate::support::{find_program, skip, validate};

/// No step changes an owner or the user, which a single id cannot do; owners come from the base and from COPY. No step
/// changes one name of a file of a lower layer that has others: overlayfs breaks such links, a plain directory does not.
const DOCKERFILE: &str = "\
FROM layered AS tools
RUN mkdir /tools && echo tool > /tools/tool && chmod 755 /tools/tool
FROM layered
COPY --chown=5:6 --chmod=640 file /owned/file
RUN mkdir -p /made/sub && echo one > /made/one && ln /made/one /made/hard && ln -s one /made/symbolic && mkfifo /made/fifo && echo two > /made/two
RUN rm -r /data/opaque /etc/shadow && mv /made/sub /made/moved && mkdir -m 1777 /made/sub && chmod 4711 /made/two
RUN echo more >> /data/becomes-file; echo more >> /owned/file; cat /owned/file /data/becomes-dir/below > /seen
RUN --mount=type=cache,target=/cache --mount=type=bind,from=tools,source=/tools,target=/tools --mount=type=tmpfs,target=/t \\
    echo kept > /cache/kept && cat /tools/tool /cache/kept > /from-mounts && touch /t/gone
RUN id -u > /id && grep -c localhost /etc/hosts >> /id && ! test -e /cache && ! ls /tools 2>/dev/null
WORKDIR /app/dir
COPY --from=tools /tools .
RUN ls -l tool | cut -c 1-10 > listed
";

const ARGUMENTS: &str = "build --progress plain --build-context layered=oci-layout://bases:layered --output type=oci,dest=out/image.tar,rewrite-timestamp=true context";

/// Makes everything that a build needs in one place that every user can read, owned by the user who builds.
fn project(owner: (u32, u32)) -> Option<Kiln> {
    let kiln = Kiln::for_everybody()?;
    kiln.dockerfile(DOCKERFILE);
    kiln.write("context/file", "owned\n");
    std::fs::copy(env!("CARGO_BIN_EXE_kiln"), kiln.at("kiln")).unwrap();
    std::fs::set_permissions(kiln.at("kiln"), std::fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["store", "home", "out"] {
        std::fs::create_dir(kiln.at(name)).unwrap();
        std::os::unix::fs::chown(kiln.at(name), Some(owner.0), Some(owner.1)).unwrap();
    }
    Some(kiln)
}

/// Builds on a rung as a user; returns the image, and the line that names the rung.
fn build(rung: &str, user: (u32, u32)) -> Option<(Image, String)> {
    let kiln = project(user)?;
    let mut command = Command::new(kiln.at("kiln"));
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("SOURCE_DATE_EPOCH", EPOCH);
    command.env("HOME", kiln.at("home")).env("KILN_STORE", kiln.at("store")).env("KILN_ISOLATION", rung);
    command.args(ARGUMENTS.split(' ')).current_dir(kiln.at("")).uid(user.0).gid(user.1);
    let first = ended(&mut command).success();
    let again = ended(&mut command).success();
    assert_eq!(again.stdout, first.stdout, "{rung}: the second build");
    assert!(again.count("CACHED") > 5, "{rung}: {}", again.stderr);
    let archive = kiln.at("out/image.tar");
    validate::assert_sound(&archive);
    let line = first.stderr.lines().next().unwrap_or_default().to_owned();
    Some((Image::read(&archive), line))
}

/// Compares an image with that of the first rung; the listing shows a difference better than digests do.
fn assert_same(name: &str, image: &Image, expected: &Image) {
    let base = expected.tree_of(1);
    assert_eq!(image.tree().since(&base), expected.tree().since(&base), "{name}");
    // What the members of a layer say twice is seen in them alone.
    let (found, wanted) = (image.members(), expected.members());
    let only = |text: &str, other: &str| -> Vec<String> {
        text.lines().filter(|line| !other.lines().any(|other| other == *line)).map(str::to_owned).collect()
    };
    let (added, missing) = (only(&found, &wanted), only(&wanted, &found));
    assert!(added.is_empty() && missing.is_empty(), "{name}\nadded: {added:#?}\nmissing: {missing:#?}");
    assert_eq!(image.config, expected.config, "{name}");
    assert_eq!(image.digest, expected.digest, "{name}");
}

#[test]
fn every_rung_builds_the_same_image() {
    if !rustix::process::geteuid().is_root() {
        skip!("only root can be every user");
    }
    let Some((expected, line)) = build("auto", (0, 0)) else { skip!("busybox-static is not installed") };
    let tree = expected.tree();
    let owner = |path: &str| tree.0[path.as_bytes()].owner;
    assert_eq!(
        (owner("owned/file"), owner("made/one"), owner("data/becomes-file")),
        ((5, 6), (0, 0), (0, 0)),
        "{line}"
    );
    assert!(!tree.0.contains_key(&b"etc/shadow"[..]) && !tree.0.contains_key(&b"cache"[..]));
    let mut users = vec![("chroot", (0, 0)), ("single-id", (65_533, 65_533))];
    match user_with_subordinate_ids() {
        Some(user) => users.push(("subordinate-ids", user)),
        None => crate::support::skipped("no user has subordinate ids, and none can be made"),
    }
    for (rung, user) in users {
        let (image, line) = build(rung, user).unwrap();
        assert_same(&format!("{rung}: {line}"), &image, &expected);
    }
}

#[test]
fn root_of_an_unprivileged_container_builds_the_same_image() {
    crate::support::require!("runc");
    if !rustix::process::geteuid().is_root() {
        skip!("only root can start the container");
    }
    let Some((expected, _)) = build("auto", (0, 0)) else { skip!("busybox-static is not installed") };
    let kiln = project((0, 0)).unwrap();
    std::fs::create_dir_all(kiln.at("bundle/rootfs")).unwrap();
    let at = |name: &str| kiln.at(name).display().to_string();
    let program = at("kiln");
    let arguments: Vec<&str> = [program.as_str()].into_iter().chain(ARGUMENTS.split(' ')).collect();
    let environment = [
        format!("SOURCE_DATE_EPOCH={EPOCH}"),
        format!("HOME={}", at("home")),
        format!("KILN_STORE={}", at("store")),
    ];
    let description = container(&kiln.at(""), &arguments, &environment);
    std::fs::write(kiln.at("bundle/config.json"), description.to_string()).unwrap();
    let name = format!("kiln-rungs-{}", std::process::id());
    let mut runc = Command::new(find_program("runc").unwrap());
    let ended = ended(runc.args(["run", &name]).current_dir(kiln.at("bundle")));
    if ended.code != Some(0) && ended.stderr.contains("cgroup") {
        skip!("runc cannot run here: {}", ended.stderr);
    }
    let ended = ended.success();
    assert!(ended.stderr.starts_with("kiln: chroot"), "{}", ended.stderr);
    validate::assert_sound(&kiln.at("out/image.tar"));
    assert_same("container", &Image::read(&kiln.at("out/image.tar")), &expected);
}

/// Steps of arbitrary commands, each of which leaves the links to files of lower layers alone.
fn arbitrary_steps(seed: u64) -> String {
    let mut state = seed;
    let mut next = |count: usize| {
        // Knuth's MMIX generator: the same steps everywhere.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % count
    };
    let names = ["a", "b", "c", "d"];
    let mut text = "FROM busybox\n".to_owned();
    for step in 0..4 {
        if step == 2 {
            text += "COPY dir /t/k/copied/\nWORKDIR /t/k/made\n";
        }
        // What is made again as it was is no change if its second is the same too.
        text += "RUN sleep 1; mkdir -p /t && cd /t";
        for _ in 0..12 {
            let depth = 1 + next(3);
            let path = (0..depth).map(|_| names[next(4)]).collect::<Vec<_>>().join("/");
            let other = names[next(4)];
            text += "; ";
            text += &match next(9) {
                0 => format!("mkdir -p {path}"),
                1 => format!("rm -rf {path}"),
                2 | 3 => format!("mkdir -p $(dirname {path}) && echo {step}{other} > {path}"),
                4 => format!("rm -rf {path} && mkdir -p {path} && echo again > {path}/{other}"),
                5 => format!("chmod {} {path}", ["700", "755", "4755", "1777"][next(4)]),
                6 => format!("mv {path} {other}{step}"),
                7 => format!("ln -sfn {other} {path}"),
                _ => format!("echo linked > l{step} && ln -f l{step} m{step} && chown {} m{step}", next(3)),
            };
        }
        // What fails, fails everywhere.
        text += "; true\n";
    }
    text
}

/// What an overlay shows of a step's changes, and what a scan of a plain directory finds, is the same layer.
#[test]
fn arbitrary_steps_give_the_same_layers_with_and_without_overlay() {
    if !rustix::process::geteuid().is_root() {
        skip!("only root is on both rungs");
    }
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || both_ways(seed));
        }
    });
}

fn both_ways(seed: u64) {
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    kiln.dockerfile(&arbitrary_steps(seed));
    kiln.write("context/dir/file", "copied\n");
    let (expected, _) = kiln.image("--isolation root context");
    let (image, ended) = kiln.image("--isolation chroot --no-cache context");
    let text = std::fs::read_to_string(kiln.at("context/Dockerfile")).unwrap();
    assert_same(&format!("seed {seed}\n{text}\n{}", ended.stderr), &image, &expected);
}
