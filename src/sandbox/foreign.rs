//! Programs of other architectures: which ones the kernel executes, itself or through a handler.
//!
//! A handler (the kernel's `binfmt_misc`) matches the first bytes of a program and names the interpreter that runs
//! it. With the flag F the kernel holds the interpreter open since the handler was registered, so it works in any
//! root; without, the interpreter would have to lie in the step's root. Whether the kernel executes the 32-bit
//! programs of its own architecture is tried with a program of a few instructions, for nothing says so. The
//! decision is [`execution`], which is pure.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::MemfdFlags;

/// Where the kernel shows its handlers.
const HANDLERS: &str = "/proc/sys/fs/binfmt_misc";

/// The architectures by the names that images use, each with class, order of bytes and number of its ELF header.
const ARCHITECTURES: [(&str, u8, u8, u16); 13] = [
    ("386", 1, LITTLE, 3),
    ("amd64", 2, LITTLE, 62),
    ("arm", 1, LITTLE, 40),
    ("arm64", 2, LITTLE, 183),
    ("loong64", 2, LITTLE, 258),
    ("mips", 1, BIG, 8),
    ("mipsle", 1, LITTLE, 8),
    ("mips64", 2, BIG, 8),
    ("mips64le", 2, LITTLE, 8),
    ("ppc64", 2, BIG, 21),
    ("ppc64le", 2, LITTLE, 21),
    ("riscv64", 2, LITTLE, 243),
    ("s390x", 2, BIG, 22),
];

const LITTLE: u8 = 1;
const BIG: u8 = 2;

/// The kinds of program: at a fixed address, and at any.
const TYPES: [u16; 2] = [2, 3];

/// How programs of an architecture are executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Execution {
    /// By the kernel, in any root.
    Anywhere,
    /// By this interpreter, if the root has it.
    Interpreter(String),
}

/// A handler that is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Handler {
    interpreter: String,
    /// Whether the interpreter was opened when the handler was registered.
    fixed: bool,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

impl Handler {
    /// Reads what the kernel says of a handler; `None` for one that is disabled, or goes by the names of files.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some("enabled") {
            return None;
        }
        let fields: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once(' ')).collect();
        let magic = bytes(fields.get("magic")?)?;
        let mask = fields.get("mask").map_or_else(|| Some(vec![0xff; magic.len()]), |mask| bytes(mask))?;
        Some(Self {
            interpreter: (*fields.get("interpreter")?).to_owned(),
            fixed: fields.get("flags:").is_some_and(|flags| flags.contains('F')),
            offset: fields.get("offset")?.parse().ok()?,
            magic,
            mask,
        })
    }

    fn matches(&self, start: &[u8]) -> bool {
        let wanted = self.magic.iter().zip(&self.mask);
        // What the kernel looks at is longer than any header, and zero behind it.
        wanted.enumerate().all(|(index, (magic, mask))| {
            let byte = start.get(self.offset + index).copied().unwrap_or(0);
            (byte ^ magic) & mask == 0
        })
    }
}

fn bytes(hexadecimal: &str) -> Option<Vec<u8>> {
    let digits = hexadecimal.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Returns the start of a program.
fn header((_, class, order, machine): (&str, u8, u8, u16), kind: u16) -> [u8; 24] {
    let mut header = [0; 24];
    header[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, order, 1]);
    let number = |value: u16| if order == LITTLE { value.to_le_bytes() } else { value.to_be_bytes() };
    header[16..18].copy_from_slice(&number(kind));
    header[18..20].copy_from_slice(&number(machine));
    header[if order == LITTLE { 20 } else { 23 }] = 1;
    header
}

/// Decides how programs of an architecture are executed; `None` if they are not.
fn execution(architecture: &str, native: &[&str], handlers: &[Handler]) -> Option<Execution> {
    if native.contains(&architecture) {
        return Some(Execution::Anywhere);
    }
    let facts = *ARCHITECTURES.iter().find(|(name, ..)| *name == architecture)?;
    let serves = |handler: &&Handler| TYPES.iter().all(|kind| handler.matches(&header(facts, *kind)));
    // Of several the kernel takes the newest, which it does not tell: the one that asks for less is believed.
    let handler = handlers.iter().filter(serves).max_by_key(|handler| handler.fixed)?;
    Some(match handler.fixed {
        true => Execution::Anywhere,
        false => Execution::Interpreter(handler.interpreter.clone()),
    })
}

/// Returns the architectures besides `own` whose programs can be executed here.
pub fn foreign_architectures(own: &str) -> BTreeMap<String, Execution> {
    let handlers = handlers(Path::new(HANDLERS));
    let narrow = narrow(own).filter(|(_, program)| executes(program)).map(|(name, _)| name);
    let native: Vec<&str> = narrow.into_iter().collect();
    let others = ARCHITECTURES.iter().map(|(name, ..)| *name).filter(|name| *name != own);
    others.filter_map(|name| Some((name.to_owned(), execution(name, &native, &handlers)?))).collect()
}

fn handlers(directory: &Path) -> Vec<Handler> {
    let is = |name: &str, word: &str| {
        fs_err::read_to_string(directory.join(name)).is_ok_and(|text| text.trim() == word)
    };
    if !is("status", "enabled") {
        return Vec::new();
    }
    let Ok(entries) = fs_err::read_dir(directory) else { return Vec::new() };
    let texts = entries.filter_map(|entry| fs_err::read_to_string(entry.ok()?.path()).ok());
    texts.filter_map(|text| Handler::parse(&text)).collect()
}

/// Returns the 32-bit architecture that processors of a 64-bit one may execute as well, and a program for it that does
/// nothing but end well. Only for x86: on others the filter of a step's system calls knows no 32-bit calls.
fn narrow(own: &str) -> Option<(&'static str, Vec<u8>)> {
    const BASE: u32 = 0x1_0000;
    const HEADERS: u32 = 52 + 32;
    // exit(0): number and argument into registers, then the call.
    const CODE: [u8; 9] = [0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80];
    const SIZE: u32 = HEADERS + CODE.len() as u32;
    if own != "amd64" {
        return None;
    }
    let facts = *ARCHITECTURES.iter().find(|(known, ..)| *known == "386")?;
    let mut program = header(facts, TYPES[0]).to_vec();
    for word in [BASE + HEADERS, 52, 0, 0] {
        program.extend(word.to_le_bytes());
    }
    for half in [52_u16, 32, 1, 0, 0, 0] {
        program.extend(half.to_le_bytes());
    }
    // One segment: the file from its start, to be read and executed.
    for word in [1, 0, BASE, BASE, SIZE, SIZE, 5, 0x1000] {
        program.extend(word.to_le_bytes());
    }
    program.extend(CODE);
    Some(("386", program))
}

/// Tells whether this machine executes a program.
fn executes(program: &[u8]) -> bool {
    let attempt = || -> std::io::Result<bool> {
        let memory = rustix::fs::memfd_create("program", MemfdFlags::CLOEXEC)?;
        let mut file = std::fs::File::from(memory);
        file.write_all(program)?;
        // What is open for writing is not executed.
        let readable = fs_err::File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        drop(file);
        let mut command = Command::new(format!("/proc/self/fd/{}", readable.as_raw_fd()));
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command.status()?.success())
    };
    attempt().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's qemu-user-static registers it.
    const ARM64: &str = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: POF\noffset 0\n\
                         magic 7f454c460201010000000000000000000200b700\n\
                         mask ffffffffffffff00fffffffffffffffffeffffff\n";
    const S390X: &str = "enabled\ninterpreter /usr/bin/qemu-s390x-static\nflags: \noffset 0\n\
                         magic 7f454c4602020100000000000000000000020016\n\
                         mask ffffffffffffff00fffffffffffffffffffeffff\n";

    #[test]
    fn how_programs_of_other_architectures_are_executed() {
        let fixed = Some(Execution::Anywhere);
        let in_root = |path: &str| Some(Execution::Interpreter(path.to_owned()));
        let without_f = ARM64.replace("POF", "PO");
        let only_fixed_address = ARM64.replace("fffffffffffffffffeffffff", "ffffffffffffffffffffffff");
        for (texts, native, architecture, expected) in [
            (&[ARM64][..], &[][..], "arm64", fixed.clone()),
            (&[ARM64], &[], "arm", None),
            (&[ARM64], &[], "riscv64", None),
            (&[&without_f], &[], "arm64", in_root("/usr/libexec/qemu-binfmt/aarch64-binfmt-P")),
            (&[&without_f, ARM64], &[], "arm64", fixed.clone()),
            (&[&ARM64.replace("enabled", "disabled")], &[], "arm64", None),
            (&[&only_fixed_address], &[], "arm64", None),
            (&[S390X, ARM64], &[], "s390x", in_root("/usr/bin/qemu-s390x-static")),
            (&["enabled\ninterpreter /usr/bin/jar\nflags: F\nextension .jar\n"], &[], "arm64", None),
            (&["enabled\ninterpreter /x\nflags: F\noffset 0\nmagic 4d5a\n"], &[], "amd64", None),
            (&["enabled\n"], &[], "arm64", None),
            (&[], &["386"], "386", fixed.clone()),
            (&[], &[], "386", None),
            (&[], &[], "wasm", None),
        ] {
            let handlers: Vec<_> = texts.iter().filter_map(|text| Handler::parse(text)).collect();
            assert_eq!(execution(architecture, native, &handlers), expected, "{architecture}: {texts:?}");
        }
    }

    #[test]
    fn handlers_that_are_switched_off_together_are_none() {
        let directory = tempfile::tempdir().unwrap();
        fs_err::write(directory.path().join("qemu"), ARM64).unwrap();
        for (status, count) in [("enabled\n", 1), ("disabled\n", 0)] {
            fs_err::write(directory.path().join("status"), status).unwrap();
            assert_eq!(handlers(directory.path()).len(), count);
        }
        assert!(handlers(&directory.path().join("none")).is_empty());
    }

    #[test]
    fn a_program_is_executed_or_not() {
        let (name, mut program) = narrow("amd64").unwrap();
        let mut facts = *ARCHITECTURES.iter().find(|(known, ..)| *known == name).unwrap();
        assert_eq!(program[..24], header(facts, 2));
        // A machine that nobody has.
        facts.3 = 0xfff0;
        program[..24].copy_from_slice(&header(facts, 2));
        assert!(!executes(&program));
    }
}
