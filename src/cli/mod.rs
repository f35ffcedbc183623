//! The command line: what docker's grammar says where the two overlap.
//!
//! Here, and nowhere in the library, arguments, environment, terminal and clock are read. Results go to
//! standard output, everything else to standard error.

mod build;
mod check;
mod context;
mod environment;
mod image;
mod image_options;
mod info;
mod interrupt;
mod output;
mod plan;
mod progress;
mod report;
mod secret;
mod ssh;
mod step_options;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::report::Failure;

/// Builds container images from Dockerfiles, without Docker, without a daemon, without being root.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, about, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 the build, a registry or a file failed; 70 a bug in kiln; 125 wrong usage; \
130 interrupted.";

/// What every command takes.
#[derive(Debug, clap::Args)]
struct Global {
    /// Where images, cache and unpacked trees are kept.
    ///
    /// The default is /var/lib/kiln for root, $XDG_DATA_HOME/kiln or ~/.local/share/kiln for others.
    #[arg(long, global = true, env = "KILN_STORE", value_name = "DIR")]
    store: Option<PathBuf>,
    /// How RUN steps are isolated: auto (the strongest that works here), root, subordinate-ids, single-id, chroot.
    #[arg(long, global = true, env = "KILN_ISOLATION", default_value = "auto", value_name = "RUNG")]
    isolation: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds an image from a Dockerfile.
    Build(Box<build::Args>),
    /// Looks at a Dockerfile without building it.
    Check(Box<check::Args>),
    /// Prints the build graph without building.
    Plan(Box<plan::Args>),
    /// Says why steps of the last build were not cached.
    Why(why::Args),
    /// Lists, inspects and removes the images of the store.
    #[command(subcommand)]
    Image(image::Command),
    /// Writes images of the store to an archive.
    Save(image::SaveArgs),
    /// Reads images from an archive into the store.
    Load(image::LoadArgs),
    /// Shows how kiln works on this machine.
    Info,
}

/// Runs the command line and returns the exit code.
pub(crate) fn run() -> ExitCode {
    report::show_panics_as_bugs();
    let command = Arguments::command()
        .mut_subcommand("check", check::with_optional_context)
        .mut_subcommand("why", why::with_optional_context);
    let parsed = command.try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let Arguments { global, command } = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return report::usage(&error),
    };
    let enter = || environment::enter(&global);
    let result = match command {
        Command::Build(args) => enter().and_then(|environment| build::run(&args, &environment)),
        Command::Check(args) => check::run(&args, &global),
        Command::Plan(args) => plan::run(&args, &global),
        Command::Why(args) => enter().and_then(|environment| why::run(&args, &environment)),
        Command::Image(command) => enter().and_then(|environment| image::run(&command, &environment)),
        Command::Save(args) => enter().and_then(|environment| image::save(&args, &environment)),
        Command::Load(args) => enter().and_then(|environment| image::load(&args, &environment)),
        Command::Info => enter().and_then(|environment| info::run(&environment)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report::failure(&failure),
    }
}

/// What a command returns.
type Outcome = Result<(), Failure>;
