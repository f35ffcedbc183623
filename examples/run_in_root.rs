//! Runs one command in a root directory, on the rung that this machine and user allow.
//!
//! ```text
//! run_in_root [--isolation NAME] [--user USER] [--plain] STATE COMMAND [ARGUMENT...]
//! ```
//! `STATE/root` is the root. With overlayfs it stays as it is and changes go to `STATE/upper`; with `--plain`,
//! or where there is no overlayfs, the root is changed in place.

use std::io::Write as _;
use std::path::PathBuf;

use kiln::event::Stream;
use kiln::path::RelPath;
use kiln::sandbox::{
    Cancel, Launcher, Network, Overlay, Root, Spec, Upper, child_main, default_hosts, enter_user_namespace,
    probe, run,
};

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
    while let Some(option) = arguments.next_if(|argument| argument.starts_with("--")) {
        match &*option {
            "--isolation" => wanted = Some(arguments.next().ok_or("--isolation needs a name")?.parse()?),
            "--user" => user = arguments.next().ok_or("--user needs a name")?,
            "--plain" => plain = true,
            other => return Err(format!("unknown option {other}").into()),
        }
    }
    let state = PathBuf::from(arguments.next().ok_or("which directory?")?);
    let isolation = probe(enter_user_namespace(wanted)?, &state)?;
    eprintln!("# {isolation}");
    // Overlayfs takes a work directory once.
    let _ = fs_err::remove_dir_all(state.join("work"));
    for name in ["upper", "work", "scratch"] {
        fs_err::create_dir_all(state.join(name))?;
    }
    let overlay = !plain && isolation.overlay != Overlay::Absent;
    let root = if overlay {
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
        hosts: Some(default_hosts(&hostname)),
        hostname,
        mounts: Vec::new(),
        network: Network::Host,
        resolv_conf: fs_err::read("/etc/resolv.conf").ok(),
        seccomp: true,
    };
    let mut output = |stream, bytes: &[u8]| {
        // Whoever reads may be gone; the command goes on.
        let _ = match stream {
            Stream::Stdout => std::io::stdout().write_all(bytes),
            Stream::Stderr => std::io::stderr().write_all(bytes),
        };
    };
    let outcome = run(&Launcher::this_program(), &spec, &mut output, &Cancel::new()?)?;
    for stub in outcome.stubs {
        eprintln!("# stub {stub}");
    }
    Ok(outcome.exit.code())
}
