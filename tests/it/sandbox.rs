//! Steps in real roots: what a command sees, what it may do, how it ends.

use std::path::{Path, PathBuf};

use kiln::event::Stream;
use kiln::path::RelPath;
use kiln::sandbox::{
    Cancel, Content, Error, Exit, Launcher, Mount, Network, Outcome, Root, Rung, Spec, Upper, default_hosts,
    run,
};

/// A store-like directory with a root of busybox, and what a step needs beside it.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    /// `None`, said aloud, where this machine cannot do it.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return None;
        }
        if !Path::new("/bin/busybox").exists() {
            eprintln!("skipped: needs busybox-static");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let bench = Self { directory };
        for name in ["lower/bin", "lower/etc", "upper", "work", "scratch"] {
            fs_err::create_dir_all(bench.at(name)).unwrap();
        }
        fs_err::copy("/bin/busybox", bench.at("lower/bin/busybox")).unwrap();
        for applet in
            ["sh", "cat", "id", "ls", "su", "mount", "chown", "env", "sleep", "hostname", "stat", "ps"]
        {
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

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn spec(&self, script: &str) -> Spec {
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
            hosts: Some(default_hosts("buildkitsandbox")),
            seccomp: true,
        }
    }
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
