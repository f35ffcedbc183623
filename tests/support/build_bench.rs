//! Builds of a few lines on busybox, by the built program, in a directory of their own.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::bases;

/// A directory with a base, a context, and a store.
pub(crate) struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    /// `None`, said aloud, where this machine cannot do it.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            super::skipped("needs root");
            return None;
        }
        let Some(busybox) = bases::busybox_layer() else {
            super::skipped("needs busybox-static");
            return None;
        };
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let bench = Self { directory };
        bases::write_layout(&bench.at("bases"), "busybox", &[bases::Image::new(vec![busybox])]);
        std::fs::create_dir(bench.at("context")).unwrap();
        Some(bench)
    }

    /// Returns a path in the directory.
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Prepares a build of `lines` on the base.
    pub(crate) fn command(&self, lines: &[&str], arguments: &[&str]) -> Command {
        let text = format!("FROM base\n{}\n", lines.join("\n"));
        std::fs::write(self.at("context/Dockerfile"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.current_dir(self.directory.path()).env_clear().env("KILN_STORE", self.at("store"));
        command.env("BUILDKIT_PROGRESS", "plain");
        command.args(["build", "--build-context=base=oci-layout://bases:busybox"]);
        command.args(arguments).arg("context").stdin(Stdio::null());
        command
    }

    /// Builds `lines` on the base.
    pub(crate) fn build(&self, lines: &[&str], arguments: &[&str]) -> Built {
        Built::of(self.command(lines, arguments).output().unwrap())
    }
}

/// What came of a build.
pub(crate) struct Built {
    /// Whether it did its work.
    pub(crate) succeeded: bool,
    /// Both streams.
    pub(crate) text: String,
}

impl Built {
    /// Reads a program's end and output.
    pub(crate) fn of(output: Output) -> Self {
        let text = [output.stdout, output.stderr].concat();
        Self { succeeded: output.status.success(), text: String::from_utf8(text).unwrap() }
    }

    /// Asserts success and what was said.
    #[track_caller]
    pub(crate) fn says(self, expected: &[&str]) -> Self {
        assert!(self.succeeded, "{}", self.text);
        self.contains(expected)
    }

    /// Asserts failure and what was said.
    #[track_caller]
    pub(crate) fn fails_with(self, expected: &[&str]) -> Self {
        assert!(!self.succeeded, "{}", self.text);
        self.contains(expected)
    }

    #[track_caller]
    fn contains(self, expected: &[&str]) -> Self {
        for text in expected {
            assert!(self.text.contains(text), "`{text}` is missing in:\n{}", self.text);
        }
        self
    }
}
