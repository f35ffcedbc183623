//! Real parts for tests: a registry, base images, the tools that judge what kiln writes.
//!
//! A test that cannot run here says so on stderr and passes; with `KILN_TEST_STRICT=1` it fails instead, so
//! that a machine that is meant to run everything does.
#![allow(dead_code, reason = "not every test binary uses every part")]

pub(crate) mod bases;
pub(crate) mod build_bench;
pub(crate) mod cloudflare;
pub(crate) mod fault;
pub(crate) mod http;
pub(crate) mod kiln;
pub(crate) mod listing;
pub(crate) mod pki;
pub(crate) mod registry;
pub(crate) mod sshd;
pub(crate) mod surroundings;
pub(crate) mod validate;
pub(crate) mod web;
pub(crate) mod wrangler;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Leaves the test with the reason why it cannot run here.
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::support::skipped(&format!($($reason)*));
        return;
    }};
}
pub(crate) use skip;

/// Leaves the test if one of the programs is missing.
macro_rules! require {
    ($($program:expr),+ $(,)?) => {
        for program in [$($program),+] {
            if $crate::support::find_program(program).is_none() {
                $crate::support::skip!("the program `{program}` is missing; ./tests/run installs it");
            }
        }
    };
}
pub(crate) use require;

/// Says that a test is skipped, or fails it where nothing may be skipped.
pub(crate) fn skipped(reason: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    assert!(std::env::var_os("KILN_TEST_STRICT").is_none_or(|strict| strict != "1"), "{test}: {reason}");
    eprintln!("SKIPPED {test}: {reason}");
}

/// Finds a program in PATH, or where Debian keeps the administrator's.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/bin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// Runs a program that must succeed, and returns what it printed on stdout.
pub(crate) fn run(program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the program prints UTF-8")
}

/// Puts a program of this machine with its libraries below `root`.
pub(crate) fn copy_with_libraries(program: &str, root: &Path) {
    let program = find_program(program).unwrap();
    let listed = run("ldd", [program.to_str().unwrap()]);
    let libraries = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    for file in libraries.chain([program]) {
        let to = root.join(file.strip_prefix("/").unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&file, to).unwrap();
    }
}

/// Copies an OCI layout's image, with all platforms, to a registry.
pub(crate) fn push(layout: &Path, tag: &str, destination: &str, credentials: Option<&str>) {
    let mut arguments = vec!["copy".to_owned(), "--all".into(), "--dest-tls-verify=false".into()];
    arguments.extend(credentials.map(|credentials| format!("--dest-creds={credentials}")));
    arguments.push(format!("oci:{}:{tag}", layout.display()));
    arguments.push(format!("docker://{destination}"));
    run("skopeo", arguments);
}
