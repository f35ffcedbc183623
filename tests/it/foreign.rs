//! Commands of other architectures, by the kernel itself and by a handler that it knows.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::support::{find_program, require, skip};

/// What the programs write.
const WORDS: &[u8; 8] = b"foreign\n";

/// A program that writes [`WORDS`] and ends well.
fn program(class: u8, machine: u16, code: &[u8]) -> Vec<u8> {
    let wide = class == 2;
    let headers: u64 = if wide { 64 + 56 } else { 52 + 32 };
    let base = 0x1_0000_u64;
    let size = headers + code.len() as u64;
    let mut bytes = vec![0x7f, b'E', b'L', b'F', class, 1, 1];
    bytes.resize(16, 0);
    let (half, word) = (|value: u16| value.to_le_bytes(), |value: u32| value.to_le_bytes());
    let address = |value: u64| value.to_le_bytes()[..if wide { 8 } else { 4 }].to_vec();
    bytes.extend([half(2), half(machine)].concat());
    bytes.extend(word(1));
    bytes.extend([address(base + headers), address(if wide { 64 } else { 52 }), address(0)].concat());
    bytes.extend(word(0));
    let sizes: [u16; 6] = if wide { [64, 56, 1, 0, 0, 0] } else { [52, 32, 1, 0, 0, 0] };
    bytes.extend(sizes.iter().flat_map(|size| half(*size)));
    bytes.extend(word(1));
    if wide {
        bytes.extend(word(5));
    }
    bytes.extend([address(0), address(base), address(base), address(size), address(size)].concat());
    if !wide {
        bytes.extend(word(5));
    }
    bytes.extend(address(0x1000));
    assert_eq!(bytes.len() as u64, headers);
    bytes.extend(code);
    bytes
}

/// write(1, words, 8); exit(0)
fn i386() -> Vec<u8> {
    let mut code = vec![0xb8, 4, 0, 0, 0, 0xbb, 1, 0, 0, 0, 0xb9, 0, 0, 0, 0, 0xba, 8, 0, 0, 0, 0xcd, 0x80];
    code.extend([0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80]);
    let words = 0x1_0000 + 52 + 32 + code.len() as u32;
    code[11..15].copy_from_slice(&words.to_le_bytes());
    code.extend(WORDS);
    program(1, 3, &code)
}

/// write(1, words, 8); exit(0)
fn arm64() -> Vec<u8> {
    let instructions: [u32; 8] = [
        0xd280_0020,
        0x1000_00e1,
        0xd280_0102,
        0xd280_0808,
        0xd400_0001,
        0xd280_0000,
        0xd280_0ba8,
        0xd400_0001,
    ];
    let mut code: Vec<u8> = instructions.iter().flat_map(|word| word.to_le_bytes()).collect();
    code.extend(WORDS);
    program(2, 183, &code)
}

struct Place(tempfile::TempDir);

impl Place {
    fn new(program: &[u8]) -> Self {
        let place = Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        std::fs::create_dir(place.at("context")).unwrap();
        std::fs::write(place.at("context/words"), program).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(place.at("context/words"), executable).unwrap();
        let text = "FROM scratch\nCOPY words /\nRUN [\"/words\"]\n";
        std::fs::write(place.at("context/Dockerfile"), text).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Prepares a build for a platform, to be started by other programs if some are given.
    fn command(&self, platform: &str, before: &[&str]) -> Command {
        let kiln = env!("CARGO_BIN_EXE_kiln");
        let mut words = before.iter().chain([&kiln]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        command.args(["build", "--progress=plain", "--output=type=oci,dest=image.tar", "--no-cache"]);
        command.args([&format!("--platform={platform}"), "context"]).stdin(Stdio::null());
        command.env("KILN_STORE", self.at("store")).env_remove("KILN_ISOLATION").current_dir(self.0.path());
        command
    }
}

/// Returns whether a command did well, and what it said.
fn ended(output: &std::process::Output) -> (bool, String) {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn a_kernel_executes_the_narrow_programs_of_its_own_processor() {
    if !cfg!(target_arch = "x86_64") {
        skip!("only x86-64 has 32-bit programs here");
    }
    let place = Place::new(&i386());
    let output = loop {
        match Command::new(place.at("context/words")).output() {
            // Another test's process was begun while the program was written, and has not let go of it yet.
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            output => break output,
        }
    };
    match output {
        Ok(output) => assert_eq!(output.stdout, WORDS),
        Err(error) => skip!("this kernel executes no 32-bit programs: {error}"),
    }
    let (success, said) = ended(&place.command("linux/386", &[]).output().unwrap());
    assert!(success && said.lines().any(|line| line.ends_with(" foreign")), "{said}");
}

/// Waits until it has ids, then starts what follows with a list of handlers of its own (Linux 6.7), with one for arm64
/// whose interpreter and flags are the first arguments; 77 if that cannot be.
const WITH_HANDLER: &str = r#"
echo unshared
read -r _
exec </dev/null
exec sh -c '
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc || exit 77
interpreter=$1; flags=$2; shift 2
zero="\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00"; ones="\\xff\\xff\\xff\\xff\\xff\\xff\\xff"
magic="\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01\\x00$zero\\x02\\x00\\xb7\\x00"
mask="$ones\\x00$ones\\xff\\xfe\\xff\\xff\\xff"
test "$flags" = none ||
  printf "%s" ":kiln:M::$magic:$mask:$interpreter:$flags" >/proc/sys/fs/binfmt_misc/register || exit 77
exec "$@"
' sh "$@"
"#;

/// Runs a command with a list of handlers of its own, in which there is one with these flags, or none.
fn with_handler(flags: &str, command: impl FnOnce(&[&str]) -> Command) -> (Option<i32>, String) {
    let emulator = find_program("qemu-aarch64-static").unwrap().display().to_string();
    let before = ["unshare", "--user", "--mount", "sh", "-c", WITH_HANDLER, "sh", &emulator, flags];
    let mut command = command(&before);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    if line == "unshared\n" {
        // All ids, which only root can give.
        for map in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{}/{map}", child.id()), "0 0 4294967295").unwrap();
        }
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
    }
    said.read_to_string(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), line + &String::from_utf8(output.stderr).unwrap())
}

#[test]
fn commands_of_another_architecture_run_where_a_handler_works_in_any_root() {
    require!("unshare", "qemu-aarch64-static");
    if cfg!(target_arch = "aarch64") {
        skip!("arm64 is no foreign architecture here");
    }
    if !rustix::process::geteuid().is_root() {
        skip!("only root gives all ids to a user namespace");
    }
    let place = Place::new(&arm64());
    let attempt = |flags| with_handler(flags, |before| place.command("linux/arm64", before));
    let (code, said) = attempt("F");
    if code == Some(77) || code == Some(1) && said.contains("unshare") {
        skip!("no list of handlers of one's own: {said}");
    }
    assert!(code == Some(0) && said.lines().any(|line| line.ends_with(" foreign")), "{said}");
    for (flags, advice) in [("C", "the flag F"), ("none", "qemu-user-static")] {
        let (code, said) = attempt(flags);
        assert_eq!(code, Some(1), "{flags}: {said}");
        for part in ["cannot execute linux/arm64", "Dockerfile:3:1", advice] {
            assert!(said.contains(part), "{flags}: `{part}` is not in {said}");
        }
        assert!(!said.contains("COPY words"), "{flags}: something was done: {said}");
    }
}
