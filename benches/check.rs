//! How long looking at a Dockerfile takes: in one process, and as a process.

#![allow(clippy::disallowed_methods, reason = "benches have surroundings of their own")]

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use divan::Bencher;
use kiln::checkup;
use kiln::diagnostic::Source;
use kiln::lower::Options;
use kiln::pattern::Ignore;

fn main() {
    divan::main();
}

/// A file of 50 lines as people write them.
fn usual() -> String {
    written(2, 24)
}

/// A file of 2,000 lines.
fn long() -> String {
    written(40, 50)
}

fn written(stages: usize, lines: usize) -> String {
    let mut text = String::from("ARG VERSION=1\n");
    for stage in 0..stages {
        let _ = writeln!(text, "FROM debian:$VERSION AS stage{stage}");
        for line in 1..lines {
            let _ = match line % 5 {
                0 => writeln!(text, "ENV NAME_{line}=value-$VERSION OTHER_{line}=\"a b\""),
                1 => writeln!(text, "RUN apt-get update && \\\n    apt-get install -y package-{line}"),
                2 => writeln!(text, "COPY --chown=1:1 src/{line} /app/$NAME_5/"),
                3 => writeln!(text, "LABEL org.example.{line}=$OTHER_5"),
                _ => writeln!(text, "RUN --mount=type=cache,target=/c make target-{line}"),
            };
        }
    }
    text
}

fn examine(text: &str) -> usize {
    let mut options = Options::new(checkup::assumed_platform());
    options.all_stages = true;
    let source = Source::new("Dockerfile", text);
    checkup::examine(source, None, &options, &Ignore::default(), checkup::assume).findings.len()
}

#[divan::bench]
fn a_usual_file(bencher: Bencher<'_, '_>) {
    let text = usual();
    bencher.bench_local(|| examine(&text));
}

#[divan::bench]
fn two_thousand_lines(bencher: Bencher<'_, '_>) {
    let text = long();
    bencher.bench_local(|| examine(&text));
}

/// The whole command: start, read, check, print.
#[divan::bench]
fn the_command(bencher: Bencher<'_, '_>) {
    command(bencher, &usual());
}

#[divan::bench]
fn the_command_on_two_thousand_lines(bencher: Bencher<'_, '_>) {
    command(bencher, &long());
}

fn command(bencher: Bencher<'_, '_>, text: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("Dockerfile");
    std::fs::write(&file, text).expect("the file can be written");
    bencher.bench_local(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(["check", "--offline"]).arg(&file).stdout(Stdio::null());
        command.status().expect("kiln can be started")
    });
}
