//! Builds that are stopped: nothing runs on, nothing stays mounted, the next build works.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::kiln::Kiln;
use crate::support::skip;

/// A step that runs for long, with a child that outlives its shell, and a mark by which both are found.
fn project(seconds: &str) -> Option<Kiln> {
    let kiln = Kiln::with_busybox()?;
    kiln.dockerfile(&format!(
        "FROM busybox\nRUN echo before > /before\n\
         RUN --mount=type=cache,target=/cache --mount=type=tmpfs,target=/t (sleep {seconds} &) ; echo half > /half; sleep {seconds}\n"
    ));
    Some(kiln)
}

/// A number of seconds that nobody else sleeps for.
pub(crate) fn mark(test: u32) -> String {
    format!("{}{test:03}", std::process::id())
}

/// Counts the processes that sleep for `seconds`.
pub(crate) fn sleeping(seconds: &str) -> usize {
    let sleeps = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).nth(1) == Some(seconds.as_bytes())
    };
    std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter(sleeps).count()
}

pub(crate) fn mounts_below(path: &Path) -> Vec<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().filter(|line| line.contains(path.to_str().unwrap())).map(str::to_owned).collect()
}

/// Waits until something holds, at most half a minute.
pub(crate) fn soon(holds: impl Fn() -> bool) -> bool {
    (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        holds()
    })
}

fn start(kiln: &Kiln, seconds: &str) -> Child {
    let mut command = kiln.build_command();
    command.args(["--progress", "plain", "context"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    assert!(soon(|| sleeping(seconds) == 2), "the step began");
    child
}

fn scratch(kiln: &Kiln) -> Vec<String> {
    let entries = std::fs::read_dir(kiln.at("store/v1/scratch")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Builds what was stopped, with a step that ends: steps that were done are not done again.
fn assert_usable(kiln: &Kiln) {
    let text = std::fs::read_to_string(kiln.at("context/Dockerfile")).unwrap();
    let lines: Vec<&str> = text.lines().take(2).collect();
    kiln.dockerfile(&format!("{}\nRUN test ! -e /half && cat /before\n", lines.join("\n")));
    let (_, ended) = kiln.image("context");
    assert!(ended.count("CACHED") == 1, "{}", ended.stderr);
    assert!(scratch(kiln).is_empty(), "leftovers: {:?}", scratch(kiln));
}

#[test]
fn a_killed_build_leaves_no_process_and_no_mount() {
    let seconds = mark(1);
    let Some(kiln) = project(&seconds) else { skip!("busybox-static is not installed") };
    let mut child = start(&kiln, &seconds);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(soon(|| sleeping(&seconds) == 0), "{} processes are left", sleeping(&seconds));
    assert_eq!(mounts_below(&kiln.at("")), [""; 0]);
    assert_usable(&kiln);
}

#[test]
fn an_interrupted_build_cleans_up_and_says_so() {
    for signal in [Signal::INT, Signal::TERM] {
        let seconds = mark(2 + signal.as_raw() as u32);
        let Some(kiln) = project(&seconds) else { skip!("busybox-static is not installed") };
        let child = start(&kiln, &seconds);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(soon(|| sleeping(&seconds) == 0), "{} processes are left", sleeping(&seconds));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert_eq!(mounts_below(&kiln.at("")), [""; 0]);
        assert!(scratch(&kiln).is_empty(), "leftovers: {:?}\n{stderr}", scratch(&kiln));
        assert_usable(&kiln);
    }
}
