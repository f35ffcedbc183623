//! Steps in real roots: what a command sees, what it may do, how it ends.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln::event::Stream;
use kiln::path::RelPath;
use kiln::sandbox::{
    Cancel, Content, Error, Exit, Launcher, Mount, Network, Outcome, Root, Rung, Spec, Upper, hosts, run,
};

use crate::support::surroundings::{container, user_with_subordinate_ids};
use crate::support::{require, skip, skipped};

/// The programs of a test's root.
const APPLETS: [&str; 23] = [
    "sh", "cat", "id", "ls", "su", "mount", "chown", "env", "sleep", "hostname", "stat", "ps", "touch", "rm",
    "mkdir", "unshare", "chmod", "kill", "ln", "mv", "ip", "grep", "true",
];

/// A store-like directory with a root of busybox, and what a step needs beside it.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    /// `None`, said aloud, where this machine cannot do it.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped("only root can be every user");
            return None;
        }
        if !Path::new("/bin/busybox").exists() {
            skipped("busybox-static is not installed");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let bench = Self { directory };
        for name in ["lower/bin", "lower/etc", "upper", "work", "scratch"] {
            fs_err::create_dir_all(bench.at(name)).unwrap();
        }
        copy_program(Path::new("/bin/busybox"), &bench.at("lower/bin/busybox"));
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", bench.at("lower/bin").join(applet)).unwrap();
        }
        fs_err::write(
            bench.at("lower/etc/passwd"),
            "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
        )
        .unwrap();
        fs_err::write(bench.at("lower/etc/group"), "root:x:0:\napp:x:1001:\nextra:x:77:app\n").unwrap();
        Some(bench)
    }

    /// Forgets what steps did.
    fn renew(&self) {
        for name in ["upper", "work"] {
            kiln::rootfs::remove_tree(&self.at(name)).unwrap();
            fs_err::create_dir(self.at(name)).unwrap();
        }
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn spec(&self, script: &str) -> Spec {
        Spec {
            rung: Rung::Root,
            root: Root::Overlay {
                lower: vec![self.at("lower")],
                upper: Some(Upper { upper: self.at("upper"), work: self.at("work") }),
                userxattr: false,
            },
            scratch: self.at("scratch"),
            argv: ["/bin/busybox", "sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec!["PATH=/bin".to_owned(), "COLOUR=blue".to_owned()],
            working_dir: RelPath::root(),
            user: String::new(),
            hostname: "buildkitsandbox".to_owned(),
            mounts: Vec::new(),
            network: Network::Host,
            resolv_conf: Some(b"nameserver 192.0.2.1\n".to_vec()),
            hosts: Some(hosts("buildkitsandbox", &[])),
            seccomp: true,
            insecure: false,
            ulimits: Vec::new(),
        }
    }
}

/// Copies a program by another process: a descriptor open for writing in this one could be inherited by a
/// child that another test starts just then, and the program could not be executed.
fn copy_program(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
}

/// Runs a step to its end: its outcome, what it wrote to stdout, and to stderr.
fn try_step(spec: &Spec) -> (Result<Outcome, Error>, String, String) {
    let launcher = Launcher::program(env!("CARGO_BIN_EXE_kiln"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut output = |stream, bytes: &[u8]| match stream {
        Stream::Stdout => out.extend_from_slice(bytes),
        Stream::Stderr => err.extend_from_slice(bytes),
    };
    let result = run(&launcher, spec, &mut output, &Cancel::new().unwrap());
    (result, String::from_utf8_lossy(&out).into_owned(), String::from_utf8_lossy(&err).into_owned())
}

/// Runs a step that is to do well and returns what came of it.
pub(crate) fn run_to_end(spec: &Spec) -> Outcome {
    let (result, _, err) = try_step(spec);
    let outcome = result.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(outcome.exit, Exit::Code(0), "{err}");
    outcome
}

/// Runs a step that is to do well and returns its stdout.
fn step(spec: &Spec) -> String {
    let (result, out, err) = try_step(spec);
    match result {
        Ok(outcome) => assert_eq!(outcome.exit, Exit::Code(0), "stdout: {out}\nstderr: {err}"),
        Err(error) => panic!("{}\nstdout: {out}\nstderr: {err}", chain(&error)),
    }
    out
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[test]
fn a_command_runs_in_its_root() {
    let Some(bench) = Bench::new() else { return };
    let spec = bench.spec(
        "cat /etc/hosts /etc/resolv.conf; hostname; env; pwd; id -u; echo new > /etc/new; echo $$; umask",
    );
    let out = step(&spec);
    let expected = "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                    nameserver 192.0.2.1\nbuildkitsandbox\n";
    assert!(out.starts_with(expected), "{out}");
    let mut environment: Vec<_> = out.lines().filter(|line| line.contains('=')).collect();
    environment.sort_unstable();
    assert_eq!(environment, ["COLOUR=blue", "HOME=/root", "PATH=/bin", "PWD=/", "SHLVL=1"]);
    assert_eq!(fs_err::read_to_string(bench.at("upper/etc/new")).unwrap(), "new\n");
    assert!(!bench.at("lower/etc/new").exists());
    assert_eq!(fs_err::read_dir(bench.at("scratch")).unwrap().count(), 0, "mounts are gone with the step");
    assert!(out.ends_with("/\n0\n2\n0022\n"), "{out}");
}

#[test]
fn what_was_made_for_mounts_is_named() {
    let Some(bench) = Bench::new() else { return };
    let mut spec = bench.spec("true");
    let file = Content::File { bytes: b"#!/bin/sh\n".to_vec(), mode: 0o555, uid: 0, gid: 0 };
    spec.mounts.push(Mount { target: RelPath::clean("run/deep/file"), content: file, readonly: true });
    let (outcome, _, _) = try_step(&spec);
    let stubs: Vec<_> = outcome.unwrap().stubs.iter().map(ToString::to_string).collect();
    let expected = ["proc", "sys", "dev", "etc/resolv.conf", "etc/hosts", "run", "run/deep", "run/deep/file"];
    assert_eq!(stubs, expected);
}

#[test]
fn users_have_their_ids_and_su_works() {
    let Some(bench) = Bench::new() else { return };
    let ids = |user: &str| {
        let mut spec = bench.spec("id -u; id -g; id -G; echo $HOME");
        spec.user = user.to_owned();
        let (result, out, _) = try_step(&spec);
        result.map(|_| out.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    for (user, expected) in [
        ("", ["0", "0", "0", "/root"]),
        ("app", ["1000", "1001", "1001 77", "/home/app"]),
        ("1000:77", ["1000", "77", "77", "/home/app"]),
        ("4711", ["4711", "0", "0", "/"]),
    ] {
        bench.renew();
        assert_eq!(ids(user).unwrap(), expected, "{user}");
    }
    bench.renew();
    let error = ids("nobody").unwrap_err();
    assert_eq!(error.to_string(), "unable to find user nobody: no matching entries in passwd file");
    // Setuid programs do what they are for.
    bench.renew();
    let busybox = bench.at("lower/bin/busybox");
    fs_err::set_permissions(&busybox, std::fs::Permissions::from_mode(0o4755)).unwrap();
    fs_err::write(bench.at("lower/etc/shadow"), "root::1::::::\napp::1::::::\n").unwrap();
    let mut spec = bench.spec("id -u; su root -c 'id -u'");
    spec.user = "app".to_owned();
    assert_eq!(step(&spec), "1000\n0\n");
}

#[test]
fn rights_are_dockers() {
    let Some(bench) = Bench::new() else { return };
    let out = step(&bench.spec("grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status"));
    let values: Vec<_> = out.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    let (none, docker) = ("0000000000000000", "00000000a80425fb");
    assert_eq!(values, [none, docker, docker, docker, none, "0", "2"]);
    for refused in [
        "unshare -m true",
        "mount -t tmpfs x /etc",
        "echo 1 > /proc/sys/kernel/hostname",
        "echo 1 > /sys/kernel/mm/ksm/run",
        "cat /proc/1/environ",
        "ls /proc/1/root/",
        "ls /proc/1/cwd/",
        "grep . /proc/keys",
        "ls /sys/firmware/*",
    ] {
        bench.renew();
        let (outcome, out, _) = try_step(&bench.spec(refused));
        assert_ne!(outcome.unwrap().exit, Exit::Code(0), "{refused}: {out}");
        assert_eq!(out, "", "{refused}");
    }
}

#[test]
fn the_end_of_a_command_is_told() {
    let Some(bench) = Bench::new() else { return };
    for (script, expected) in
        [("exit 7", Exit::Code(7)), ("kill -TERM $$", Exit::Signal(15)), ("true", Exit::Code(0))]
    {
        bench.renew();
        let (outcome, _, _) = try_step(&bench.spec(script));
        assert_eq!(outcome.unwrap().exit, expected, "{script}");
    }
    bench.renew();
    let mut spec = bench.spec("");
    spec.argv = vec!["nothing".to_owned()];
    assert_eq!(try_step(&spec).0.unwrap_err().to_string(), "executable `nothing` not found in PATH");
    bench.renew();
    spec.argv = vec!["/etc/passwd".to_owned()];
    assert!(matches!(try_step(&spec).0, Err(Error::Exec { program, .. }) if program == "/etc/passwd"));
}

#[test]
fn what_the_command_leaves_running_ends_with_it() {
    let Some(bench) = Bench::new() else { return };
    let mark = unique_seconds();
    let begun = std::time::Instant::now();
    let out = step(&bench.spec(&format!("sleep {mark} & (sleep {mark} &) ; echo out")));
    assert_eq!(out, "out\n");
    assert!(begun.elapsed().as_secs() < 20);
    assert_eq!(running(&mark), 0);
}

#[test]
fn a_wish_to_stop_kills_the_step() {
    let Some(bench) = Bench::new() else { return };
    let mark = unique_seconds();
    let cancel = Cancel::new().unwrap();
    let other = cancel.clone();
    let launcher = Launcher::program(env!("CARGO_BIN_EXE_kiln"));
    let mut output = |_: Stream, _: &[u8]| other.cancel();
    let result = run(&launcher, &bench.spec(&format!("echo started; sleep {mark}")), &mut output, &cancel);
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert_eq!(running(&mark), 0);
    let later = run(&launcher, &bench.spec("true"), &mut |_, _| {}, &cancel);
    assert!(matches!(later, Err(Error::Cancelled)), "{later:?}");
}

#[test]
fn without_network_only_loopback_is_there() {
    let Some(bench) = Bench::new() else { return };
    let mut spec = bench.spec("ls /sys/class/net; ip addr show lo | grep -c 127.0.0.1");
    spec.network = Network::None;
    assert_eq!(step(&spec), "lo\n1\n");
}

#[test]
fn mounts_show_their_content_and_leave_nothing() {
    let Some(bench) = Bench::new() else { return };
    fs_err::create_dir_all(bench.at("source/dir")).unwrap();
    fs_err::write(bench.at("source/dir/file"), "content").unwrap();
    let bind = |source: &str| Content::Bind {
        root: Root::Directory(bench.at("source")),
        source: RelPath::clean(source),
    };
    let mut spec = bench.spec(
        "cat /ro/file; (echo x > /ro/new) 2>/dev/null || echo refused; echo kept > /rw/new; cat /one; \
         echo t > /tmp/x; stat -c %a /tmp; cat /script; stat -c %a /script",
    );
    let mount = |target: &str, content, readonly| Mount { target: RelPath::clean(target), content, readonly };
    spec.mounts = vec![
        mount("ro", bind("dir"), true),
        mount("rw", bind("dir"), false),
        mount("one", bind("dir/file"), true),
        mount("tmp", Content::Tmpfs { size_bytes: Some(1 << 20) }, false),
        mount("script", Content::File { bytes: b"text".to_vec(), mode: 0o500, uid: 0, gid: 0 }, false),
    ];
    assert_eq!(step(&spec), "contentrefused\ncontent1777\ntext500\n");
    assert_eq!(fs_err::read_to_string(bench.at("source/dir/new")).unwrap(), "kept\n");
    assert_eq!(fs_err::read_dir(bench.at("upper/tmp")).unwrap().count(), 0);
}

/// A number of seconds that no other process sleeps for.
fn unique_seconds() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}{:04}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Counts the processes that sleep for `mark` seconds, shells that say so not included.
fn running(mark: &str) -> usize {
    let sleeps = |line: Vec<u8>| line.split(|byte| *byte == 0).nth(1) == Some(mark.as_bytes());
    let processes = fs_err::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes.filter(|entry| fs_err::read(entry.path().join("cmdline")).is_ok_and(sleeps)).count()
}

/// The example program, put where every user can reach it.
fn example(directory: &Path) -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_kiln")).with_file_name("examples").join("run_in_root");
    assert!(built.exists(), "first: cargo build --examples");
    let program = directory.join("run_in_root");
    copy_program(&built, &program);
    program
}

/// The rungs that can be tried here, with the user who is on each.
fn rungs() -> Vec<(&'static str, (u32, u32))> {
    let mut rungs = vec![("root", (0, 0)), ("chroot", (0, 0)), ("single-id", (65_533, 65_533))];
    match user_with_subordinate_ids() {
        Some(user) => rungs.push(("subordinate-ids", user)),
        None => skipped("no user has subordinate ids, and none can be made"),
    }
    rungs
}

/// Prepares a root for the user and returns the command that runs `script` in it.
fn command_on(bench: &Bench, rung: &str, (uid, gid): (u32, u32), script: &str) -> Command {
    let place = bench.directory.path();
    fs_err::set_permissions(place, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = example(place);
    fs_err::create_dir_all(bench.at("state")).unwrap();
    fs_err::rename(bench.at("lower"), bench.at("state/root")).unwrap();
    let status = Command::new("chown").args(["-R", &format!("{uid}:{gid}")]).arg(bench.at("state")).status();
    assert!(status.unwrap().success());
    let mut command = Command::new(program);
    command.args(["--isolation", rung]).arg(bench.at("state")).args(["sh", "-c", script]);
    command.uid(uid).gid(gid).current_dir("/");
    command
}

#[test]
fn every_rung_runs_a_command() {
    for (rung, user) in rungs() {
        let Some(bench) = Bench::new() else { return };
        let script =
            "id -u; cat /etc/hosts | grep -c buildkitsandbox; echo new > /new; env | grep -c SECRET; exit 5";
        let mut command = command_on(&bench, rung, user, script);
        let output = command.env("SECRET", "x").output().unwrap();
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n1\n0\n", "{rung}: {shown}");
        assert_eq!(output.status.code(), Some(5), "{rung}: {shown}");
        let changed = if rung == "chroot" { "state/root/new" } else { "state/upper/new" };
        assert_eq!(fs_err::read_to_string(bench.at(changed)).unwrap(), "new\n", "{rung}: {shown}");
    }
}

/// Waits until something holds, at most ten seconds.
fn soon(holds: impl Fn() -> bool) -> bool {
    (0..400).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(25));
        holds()
    })
}

#[test]
fn a_killed_builder_takes_its_step_with_it() {
    for (rung, user) in rungs() {
        let Some(bench) = Bench::new() else { return };
        let mark = unique_seconds();
        let script = format!("(sleep {mark} &); sleep {mark}");
        let mut builder = command_on(&bench, rung, user, &script).spawn().unwrap();
        assert!(soon(|| running(&mark) == 2), "{rung}: {} began", running(&mark));
        builder.kill().unwrap();
        builder.wait().unwrap();
        assert!(soon(|| running(&mark) == 0), "{rung}: {} are left", running(&mark));
        let placed = || bench.at("state/root/etc/hosts").exists();
        assert!(rung != "chroot" || soon(|| !placed()), "what was placed is taken away");
    }
}

#[test]
fn a_single_id_refuses_other_owners() {
    let user = (65_533, 65_533);
    for (script, expected) in [
        ("touch /x; chown 0:0 /x; chown 7:8 /x; true", "`chown(\"/x\", 7, 8)` by chown"),
        ("su app -c id; true", "`setgroups([1001, 77])` by su"),
    ] {
        let Some(bench) = Bench::new() else { return };
        let output = command_on(&bench, "single-id", user, script).output().unwrap();
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(125), "{script}: {shown}");
        assert!(shown.contains(expected) && shown.contains("/etc/subuid"), "{script}: {shown}");
    }
}

#[test]
fn without_mounts_content_is_placed_and_taken_away() {
    let Some(bench) = Bench::new() else { return };
    for name in ["source/dir", "cache", "lower/there/below"] {
        fs_err::create_dir_all(bench.at(name)).unwrap();
    }
    fs_err::write(bench.at("source/dir/file"), "content").unwrap();
    fs_err::write(bench.at("cache/old"), "old").unwrap();
    fs_err::write(bench.at("lower/there/hidden"), "hidden").unwrap();
    fs_err::write(bench.at("lower/etc/hosts"), "the image's").unwrap();
    fs_err::create_dir(bench.at("lower/etc/sub")).unwrap();
    std::os::unix::fs::symlink("sub/resolv", bench.at("lower/etc/resolv.conf")).unwrap();
    // Without the root's own time: that the command removes something from it is for the command to say.
    let listing = || {
        let mut find = Command::new("find");
        find.arg(bench.at("lower")).args(["-mindepth", "1", "-printf", "%p %y %m %T@ %s\\n"]);
        let text = String::from_utf8(find.output().unwrap().stdout).unwrap();
        text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    let before = listing();
    let bind = |root: &str, source: &str| Content::Bind {
        root: Root::Directory(bench.at(root)),
        source: RelPath::clean(source),
    };
    let mount = |target: &str, content, readonly| Mount { target: RelPath::clean(target), content, readonly };
    let mut spec = bench.spec(
        "cat /there/file; ls /there; cat /cache/old; echo new > /cache/new; cat /etc/hosts | grep -c sandbox; \
         cat /etc/resolv.conf; echo x > /scratch/x; rm -r /there; cat /script; echo > /dev/null",
    );
    spec.rung = Rung::Chroot;
    spec.root = Root::Directory(bench.at("lower"));
    spec.mounts = vec![
        mount("there", bind("source", "dir"), true),
        mount("cache", bind("cache", ""), false),
        mount("scratch", Content::Tmpfs { size_bytes: None }, false),
        mount("script", Content::File { bytes: b"text".to_vec(), mode: 0o500, uid: 0, gid: 0 }, false),
    ];
    let (outcome, out, err) = try_step(&spec);
    let outcome = outcome.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(out, "contentfile\nold1\nnameserver 192.0.2.1\ntext", "{err}");
    kiln::rootfs::remove_stubs(&bench.at("lower"), &outcome.stubs).unwrap();
    assert_eq!(listing(), before);
    assert_eq!(fs_err::read_to_string(bench.at("cache/new")).unwrap(), "new\n");
    assert_eq!(fs_err::read_to_string(bench.at("source/dir/file")).unwrap(), "content");
    assert_eq!(fs_err::read_dir(bench.at("scratch")).unwrap().count(), 0);

    spec.network = Network::None;
    assert!(matches!(try_step(&spec).0, Err(Error::Unsupported { .. })));
}

#[test]
fn writes_to_a_mount_can_be_thrown_away() {
    let Some(bench) = Bench::new() else { return };
    for name in ["one", "two", "throw", "throw-work"] {
        fs_err::create_dir(bench.at(name)).unwrap();
    }
    fs_err::write(bench.at("one/file"), "1").unwrap();
    fs_err::write(bench.at("two/file"), "2").unwrap();
    fs_err::write(bench.at("two/other"), "other").unwrap();
    let view = |upper| Content::Bind {
        root: Root::Overlay { lower: vec![bench.at("one"), bench.at("two")], upper, userxattr: false },
        source: RelPath::root(),
    };
    let upper = Upper { upper: bench.at("throw"), work: bench.at("throw-work") };
    let mut spec =
        bench.spec("cat /rw/* /ro/*; echo x > /rw/file; (echo x > /ro/file) 2>/dev/null || echo refused");
    let mount = |target: &str, content, readonly| Mount { target: RelPath::clean(target), content, readonly };
    spec.mounts = vec![mount("rw", view(Some(upper)), false), mount("ro", view(None), false)];
    assert_eq!(step(&spec), "1other1otherrefused\n");
    assert_eq!(fs_err::read_to_string(bench.at("one/file")).unwrap(), "1");
}

#[test]
fn signals_and_codes_pass_through_the_guardian() {
    for (rung, user) in
        rungs().into_iter().filter(|(rung, _)| rung.ends_with("-id") || rung.ends_with("-ids"))
    {
        let Some(bench) = Bench::new() else { return };
        let mark = unique_seconds();
        let mut builder = command_on(&bench, rung, user, &format!("sleep {mark}")).spawn().unwrap();
        assert!(soon(|| running(&mark) == 1), "{rung}");
        let guardian = rustix::process::Pid::from_child(&builder);
        rustix::process::kill_process(guardian, rustix::process::Signal::TERM).unwrap();
        use std::os::unix::process::ExitStatusExt as _;
        assert_eq!(builder.wait().unwrap().signal(), Some(15), "{rung}");
        assert!(soon(|| running(&mark) == 0), "{rung}");
    }
}

#[test]
fn root_of_an_unprivileged_container_finds_the_chroot_rung() {
    require!("runc");
    let Some(bench) = Bench::new() else { return };
    let state = bench.at("state");
    fs_err::create_dir_all(bench.at("bundle/rootfs")).unwrap();
    fs_err::create_dir(&state).unwrap();
    fs_err::rename(bench.at("lower"), state.join("root")).unwrap();
    let program = example(&state);
    let script = "id -u; chown 5:6 /etc/group; stat -c %u:%g /etc/group; su app -c 'id -u'; echo > /dev/null; echo end";
    let (program, place) = (program.to_str().unwrap(), state.to_str().unwrap());
    let description = container(&state, &[program, "--changes", place, "sh", "-c", script], &[]);
    fs_err::write(bench.at("bundle/config.json"), description.to_string()).unwrap();
    let name = format!("kiln-test-{}", unique_seconds());
    let output = Command::new("runc").arg("run").arg(&name).current_dir(bench.at("bundle")).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if err.contains("cgroup") {
        skip!("runc cannot run here: {err}");
    }
    assert_eq!(out, "0\n5:6\n1000\nend\n", "{err}");
    assert!(err.starts_with("# chroot"), "{err}");
    let changes: Vec<_> =
        err.lines().filter(|line| line.starts_with("# +") || line.starts_with("# -")).collect();
    assert_eq!(changes, ["# + etc 755 0:0", "# + etc/group 644 5:6"]);
}
