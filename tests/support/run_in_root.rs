//! Runs one command in a root directory, on the rung that this machine and user allow.
//!
//! ```text
//! run_in_root [--isolation NAME] [--user USER] [--plain] [--layer FILE] [--changes]
//!     STATE COMMAND [ARGUMENT...]
//! ```
//! `STATE/root` is the root; `--layer` makes it from a layer if it is not there. With overlayfs it stays as
//! it is and changes go to `STATE/upper`; with `--plain`, or where there is no overlayfs, the root is changed in
//! place. `--changes` lists what the command changed.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use kiln::event::Stream;
use kiln::layer::{self, decompress};
use kiln::path::RelPath;
use kiln::rootfs::{
    Contents, Disk, Form, Index, index, prepare_upper, remove_stubs, remove_tree, scan_plain, scan_upper,
    write_layer,
};
use kiln::sandbox::{
    Cancel, Launcher, Network, Overlay, Root, Spec, Upper, child_main, enter_user_namespace, hosts, probe,
    run,
};
use kiln::tree::{Change, Changes, Tree};

type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

fn main() {
    child_main();
    match run_command() {
        Ok(code) => std::process::exit(code),
        Err(error) => {
            let causes =
                std::iter::successors(Some(&*error as &dyn std::error::Error), |error| error.source());
            let chain: Vec<_> = causes.map(ToString::to_string).collect();
            eprintln!("run_in_root: {}", chain.join(": "));
            std::process::exit(125);
        }
    }
}

fn run_command() -> Fallible<i32> {
    let mut arguments = std::env::args().skip(1).peekable();
    let (mut wanted, mut user, mut plain) = (None, String::new(), false);
    let (mut layer, mut list_changes) = (None, false);
    while let Some(option) = arguments.next_if(|argument| argument.starts_with("--")) {
        match &*option {
            "--isolation" => wanted = Some(arguments.next().ok_or("--isolation needs a name")?.parse()?),
            "--user" => user = arguments.next().ok_or("--user needs a name")?,
            "--plain" => plain = true,
            "--layer" => layer = Some(arguments.next().ok_or("--layer needs a file")?),
            "--changes" => list_changes = true,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let state = PathBuf::from(arguments.next().ok_or("which directory?")?);
    let isolation = probe(enter_user_namespace(wanted)?, &state)?;
    eprintln!("# {isolation}");
    // Overlayfs takes a work directory once.
    remove_tree(&state.join("work"))?;
    for name in ["work", "scratch"] {
        fs_err::create_dir_all(state.join(name))?;
    }
    let overlay = !plain && isolation.overlay != Overlay::Absent;
    let disk = isolation.disk();
    let directory = state.join("root");
    let lower = match layer {
        Some(layer) => unpack(&directory, &layer, disk)?,
        // What the directory itself says is all that is known.
        None => Tree::empty().apply(&scan_upper(&directory, &Tree::empty(), disk, Contents::Read)?),
    };
    let before = if overlay { Index::default() } else { index(&directory)? };
    let root = if overlay {
        remove_tree(&state.join("upper"))?;
        prepare_upper(&state.join("upper"), &lower, disk)?;
        Root::Overlay {
            lower: vec![state.join("root")],
            upper: Some(Upper { upper: state.join("upper"), work: state.join("work") }),
            userxattr: isolation.overlay == Overlay::User,
        }
    } else {
        Root::Directory(state.join("root"))
    };
    let hostname = "buildkitsandbox".to_owned();
    let spec = Spec {
        rung: isolation.rung,
        root,
        scratch: state.join("scratch"),
        argv: arguments.collect(),
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        working_dir: RelPath::root(),
        user,
        hosts: Some(hosts(&hostname, &[])),
        hostname,
        mounts: Vec::new(),
        network: Network::Host,
        resolv_conf: fs_err::read("/etc/resolv.conf").ok(),
        seccomp: true,
        insecure: false,
        ulimits: Vec::new(),
    };
    let mut output = |stream, bytes: &[u8]| {
        // Whoever reads may be gone; the command goes on.
        let _ = match stream {
            Stream::Stdout => std::io::stdout().write_all(bytes),
            Stream::Stderr => std::io::stderr().write_all(bytes),
        };
    };
    let outcome = run(&Launcher::this_program(), &spec, &mut output, &Cancel::new()?)?;
    let changed = if overlay { state.join("upper") } else { directory.clone() };
    remove_stubs(&changed, &outcome.stubs)?;
    if list_changes {
        let changes = match overlay {
            true => scan_upper(&changed, &lower, disk, Contents::Read)?,
            false => scan_plain(&changed, &before, &lower, disk, Contents::Read)?,
        };
        for change in &changes.list {
            match change {
                Change::Upsert { path, entry, .. } => {
                    eprintln!("# + {path} {:o} {}:{}", entry.meta.mode, entry.meta.uid, entry.meta.gid);
                }
                Change::Whiteout { path } | Change::Opaque { path } => eprintln!("# - {path}"),
            }
        }
    }
    Ok(outcome.exit.code())
}

/// Unpacks a layer, unless it was before, and returns what is in it.
fn unpack(directory: &Path, file: &str, disk: Disk) -> Fallible<Tree> {
    let stream = decompress(fs_err::File::open(file)?)?;
    let changes = if directory.exists() {
        layer::read(stream, &mut layer::Discard)?.0
    } else {
        prepare_upper(directory, &Tree::empty(), disk)?;
        let read = |sink: &mut dyn layer::Sink| -> Fallible<Changes> { Ok(layer::read(stream, sink)?.0) };
        write_layer(directory, Form::Layer, disk, read)?
    };
    Ok(Tree::empty().apply(&changes))
}
