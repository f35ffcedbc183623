//! Keys in files: served to steps and used for repositories over ssh, and gone afterwards.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::build_bench::{Bench, Built};
use crate::support::sshd::{SshServer, keygen};
use crate::support::{copy_with_libraries, find_program, require, run};

fn fingerprint(key: &Path) -> String {
    run("ssh-keygen", ["-l", "-f", key.to_str().unwrap()]).split(' ').nth(1).unwrap().to_owned()
}

/// What is left of agents in a directory for sockets, and the processes that have to do with it.
fn left(runtime: &Path) -> Vec<String> {
    let mut left: Vec<String> = std::fs::read_dir(runtime)
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    for process in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&format!("{}/kiln-ssh-", runtime.display())) {
            left.push(line);
        }
    }
    left
}

/// Waits until nothing is left, at most half a minute.
fn all_gone(runtime: &Path) -> bool {
    (0..600).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        left(runtime).is_empty()
    })
}

/// A directory for sockets, whose paths must be short.
fn runtime() -> tempfile::TempDir {
    tempfile::tempdir_in("/tmp").unwrap()
}

/// The lines of a key's body: what must be nowhere.
fn body(key: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(key).unwrap();
    text.lines().filter(|line| !line.starts_with("-----")).map(str::to_owned).collect()
}

/// Fails if a file below `directory` holds a part of the key.
fn assert_without(directory: &Path, key: &Path) {
    let needles = body(key);
    let mut seen = HashSet::new();
    for entry in walkdir::WalkDir::new(directory).into_iter().map(Result::unwrap) {
        // The programs of busybox are hundreds of names of one file.
        if entry.file_type().is_file() && seen.insert(entry.metadata().unwrap().ino()) {
            let bytes = std::fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!needles.iter().any(|needle| text.contains(needle)), "{}", entry.path().display());
        }
    }
}

#[test]
fn keys_in_files_are_served_by_an_agent_that_ends_with_the_build() {
    require!("ssh-agent", "ssh-add", "ssh-keygen", "ldd");
    let Some(bench) = Bench::new() else { return };
    let runtime = runtime();
    copy_with_libraries("ssh-add", &bench.at("context/root"));
    let keys = bench.at("keys");
    std::fs::create_dir(&keys).unwrap();
    let (own, pem) = (keys.join("own"), keys.join("pem"));
    keygen(&own, "ed25519", "");
    keygen(&pem, "rsa", "");
    run("ssh-keygen", ["-q", "-p", "-m", "PEM", "-N", "", "-P", "", "-f", pem.to_str().unwrap()]);
    assert!(std::fs::read_to_string(&pem).unwrap().contains("BEGIN RSA PRIVATE KEY"));
    let ssh = format!("--ssh=hub={},{}", own.display(), pem.display());
    let steps = ["COPY root /", "RUN --mount=type=ssh,id=hub ssh-add -l && ! ssh-add -D"];
    for isolation in ["root", "chroot"] {
        let isolation = format!("--isolation={isolation}");
        let mut command = bench.command(&steps, &[&ssh, &isolation, "--no-cache"]);
        let built = Built::of(command.env("XDG_RUNTIME_DIR", runtime.path()).output().unwrap());
        let prints = [fingerprint(&own), fingerprint(&pem)];
        built.says(&prints.each_ref().map(String::as_str));
        assert_eq!(left(runtime.path()), [""; 0]);
    }
    for key in [&own, &pem] {
        assert_without(&bench.at("store"), key);
    }
    // Another key is no other step: it is no part of what a step is made of.
    let built = bench.build(&steps, &[&format!("--ssh=hub={}", own.display())]);
    assert_eq!(built.says(&[]).text.matches("CACHED").count(), 2);
}

#[test]
fn keys_that_cannot_be_served_are_refused_before_anything_is_done() {
    require!("ssh-agent", "ssh-add", "ssh-keygen");
    let Some(bench) = Bench::new() else { return };
    let runtime = runtime();
    let at = |name: &str| bench.at(name).display().to_string();
    for (name, passphrase) in [("plain", ""), ("locked", "secret"), ("old", "secret")] {
        keygen(&bench.at(name), "rsa", passphrase);
    }
    run("ssh-keygen", ["-q", "-p", "-m", "PEM", "-P", "secret", "-N", "secret", "-f", &at("old")]);
    std::fs::write(
        bench.at("damaged"),
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    )
    .unwrap();
    let socket = std::os::unix::net::UnixListener::bind(runtime.path().join("socket")).unwrap();
    let socket_path = socket.local_addr().unwrap().as_pathname().unwrap().display().to_string();
    for (argument, said) in [
        ("default=locked".to_owned(), "the key locked is encrypted"),
        ("default=old".to_owned(), "add it to an agent with `ssh-add old`"),
        ("default=plain,locked".to_owned(), "the key locked is encrypted"),
        ("default=plain.pub".to_owned(), "plain.pub holds no private key"),
        ("default=damaged".to_owned(), "ssh-add does not take the key damaged"),
        (format!("default={socket_path},plain"), "either a socket or keys"),
        (format!("default={socket_path},{socket_path}"), "only one socket"),
        ("default=none".to_owned(), "none"),
    ] {
        let mut command = bench.command(&["RUN true"], &[&format!("--ssh={argument}")]);
        let built = Built::of(command.env("XDG_RUNTIME_DIR", runtime.path()).output().unwrap());
        let text = built.fails_with(&["--ssh default", said]).text;
        assert!(!text.contains("RUN true"), "{text}");
    }
    std::fs::remove_file(&socket_path).unwrap();
    assert_eq!(left(runtime.path()), [""; 0]);
    // Where OpenSSH is missing, it is named.
    let tools = bench.at("tools");
    std::fs::create_dir(&tools).unwrap();
    std::os::unix::fs::symlink(find_program("sh").unwrap(), tools.join("sh")).unwrap();
    let mut command = bench.command(&["RUN true"], &["--ssh=default=plain"]);
    let built = Built::of(command.env("PATH", &tools).output().unwrap());
    built.fails_with(&["`ssh-agent`", "openssh-client"]);
}

#[test]
fn an_agent_is_gone_after_a_signal() {
    require!("ssh-agent", "ssh-add", "ssh-keygen");
    for signal in [Signal::TERM, Signal::INT, Signal::KILL] {
        let Some(bench) = Bench::new() else { return };
        let runtime = runtime();
        keygen(&bench.at("key"), "ed25519", "");
        let step = "RUN --mount=type=ssh echo begun && sleep 600";
        let mut command = bench.command(&[step], &["--ssh=default=key"]);
        command.env("XDG_RUNTIME_DIR", runtime.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
        assert!(lines.any(|line| line.unwrap().ends_with(" begun")), "the step began");
        assert_eq!(left(runtime.path()).len(), 3, "a directory, a shell and an agent");
        kill_process(Pid::from_child(&child), signal).unwrap();
        child.wait().unwrap();
        assert!(all_gone(runtime.path()), "after {signal:?}: {:?}", left(runtime.path()));
    }
}

/// A server, a key that it knows and one that it does not, and a repository.
struct Host {
    bench: Bench,
    server: SshServer,
    runtime: tempfile::TempDir,
    scp_url: String,
    url: String,
}

impl Host {
    fn new() -> Option<Self> {
        let bench = Bench::new()?;
        for name in ["key", "stranger"] {
            keygen(&bench.at(name), "ed25519", "");
        }
        let server = SshServer::start(&bench.at("sshd"), &[&bench.at("key.pub")]);
        let work = bench.at("work");
        std::fs::create_dir(&work).unwrap();
        std::fs::write(work.join("file"), "over ssh\n").unwrap();
        std::fs::write(work.join("Dockerfile"), "FROM scratch\nCOPY file /\n").unwrap();
        let work = work.display().to_string();
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        run("git", ["init", "-q", "-b", "main", &work]);
        run("git", ["-C", &work, "add", "."]);
        run("git", ["-C", &work].into_iter().chain(identity).chain(["commit", "-qm", "one"]));
        let url = format!("ssh://root@127.0.0.1:{}{work}", server.port);
        // The short form has no place for a port.
        let scp_url = format!("git@127.0.0.1:{work}");
        Some(Self { bench, server, runtime: runtime(), scp_url, url })
    }

    fn build(&self, lines: &[&str], arguments: &[&str]) -> Built {
        Built::of(self.with_home(self.bench.command(lines, arguments)).output().unwrap())
    }

    fn with_home(&self, mut command: Command) -> Command {
        command.env("HOME", self.bench.at("home")).env("XDG_RUNTIME_DIR", self.runtime.path());
        command
    }

    /// Builds with a repository for the context.
    fn context(&self, arguments: &[&str]) -> Built {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.current_dir(self.bench.at("")).env_clear().env("KILN_STORE", self.bench.at("store"));
        command.args(["build", "--progress=plain"]).args(arguments).arg(&self.url).stdin(Stdio::null());
        Built::of(self.with_home(command).output().unwrap())
    }

    fn known_hosts(&self, line: &str) {
        std::fs::create_dir_all(self.bench.at("home/.ssh")).unwrap();
        std::fs::write(self.bench.at("home/.ssh/known_hosts"), line).unwrap();
    }
}

#[test]
fn repositories_over_ssh_are_read_with_the_keys_given() {
    require!("ssh-agent", "ssh-add", "ssh-keygen", "sshd", "git");
    let Some(host) = Host::new() else { return };
    let add = format!("ADD {} /r", host.url);
    let lines = [add.as_str(), "RUN cat /r/file"];
    // Nothing is given: nothing is asked, and the line is named.
    let text = host.build(&lines, &[]).fails_with(&["Dockerfile:2", "--ssh default"]).text;
    assert!(!host.server.log().contains("root"), "{text}");
    host.build(&lines, &["--ssh=default=stranger"]).fails_with(&["Permission denied (publickey)"]);
    let built = host.build(&lines, &["--ssh=default=key"]).says(&["over ssh"]);
    for key in ["key", "stranger"] {
        assert_without(&host.bench.at("store"), &host.bench.at(key));
        let needles = body(&host.bench.at(key));
        assert!(!needles.iter().any(|needle| built.text.contains(needle)), "{}", built.text);
    }
    // Nothing is written into the user's list.
    assert!(!host.bench.at("home").exists());
    // A context over ssh, for which an agent of the environment is as good as given.
    host.context(&["--ssh=default=key"]).says(&[]);
    host.context(&[]).fails_with(&["--ssh default=FILE"]);
    let from = ["COPY --from=source /file /from", "RUN cat /from"];
    let named = format!("--build-context=source={}", host.url);
    host.build(&from, &[&named, "--ssh=default=key"]).says(&["over ssh"]);
    // The short form means port 22, where this server is not.
    let short = format!("ADD {} /r", host.scp_url);
    host.build(&[&short], &["--ssh=default=key"]).fails_with(&["Dockerfile:2"]);
    assert_eq!(left(host.runtime.path()), [""; 0]);
}

#[test]
fn a_host_with_another_key_than_the_user_knows_is_not_believed() {
    require!("ssh-agent", "ssh-add", "ssh-keygen", "sshd", "git");
    let Some(host) = Host::new() else { return };
    let add = format!("ADD {} /r", host.url);
    let place = format!("[127.0.0.1]:{}", host.server.port);
    let other = std::fs::read_to_string(host.bench.at("stranger.pub")).unwrap();
    host.known_hosts(&format!("{place} {other}"));
    host.build(&[&add], &["--ssh=default=key"]).fails_with(&["Host key verification failed"]);
    let line = format!("{place} {}\n", host.server.host_key);
    host.known_hosts(&line);
    host.build(&[&add, "RUN cat /r/file"], &["--ssh=default=key"]).says(&["over ssh"]);
    let after = std::fs::read_to_string(host.bench.at("home/.ssh/known_hosts")).unwrap();
    assert_eq!(after, line, "the user's list stays as it is");
}
