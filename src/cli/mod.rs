//! The command line: what docker's grammar says where the two overlap.
//!
//! A verb is one struct of arguments with `run`. Docker's verbs have two places, `kiln image ls` and `kiln images`:
//! the same struct stands in the enum of each, so there is one definition of it.
//!
//! Here, and nowhere in the library, arguments, environment, terminal and clock are read. Results go to
//! standard output, everything else to standard error.

mod bench;
mod build;
mod buildx;
mod cache_options;
mod check;
mod context;
mod contexts;
mod deploy;
mod docker;
mod docker_config;
mod environment;
mod format;
mod image;
mod image_options;
mod info;
mod interrupt;
mod kaniko;
mod output;
mod plan;
mod progress;
mod registry;
mod report;
mod secret;
mod ssh;
mod step_options;
mod system;
mod version;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use self::report::Failure;

/// Builds container images from Dockerfiles, without Docker, without a daemon, without being root.
#[derive(Debug, Parser)]
#[command(
    name = "kiln",
    version,
    about,
    max_term_width = 100,
    after_help = EXIT_CODES,
    disable_version_flag = true
)]
struct Arguments {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    docker: docker::GlobalArgs,
    /// Prints the version.
    #[arg(short = 'v', short_alias = 'V', long, action = ArgAction::Version)]
    version: (),
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 the build, a registry or a file failed; 64 a wrong --format; 70 a bug \
in kiln; 125 wrong usage; 130 interrupted.";

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
    /// Where docker's config.json lies (credentials, proxies), instead of $DOCKER_CONFIG or ~/.docker. Stands before
    /// the command.
    #[arg(long, value_name = "DIR")]
    config: Option<PathBuf>,
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
    /// Lists, inspects, moves and removes the images of the store.
    #[command(subcommand)]
    Image(image::Command),
    /// Lists the images of the store.
    Images(image::ListArgs),
    /// Prints everything about images, as JSON or by a Go template.
    Inspect(image::InspectObjectArgs),
    /// Gives an image another name.
    Tag(image::TagArgs),
    /// Removes names from the store; with the last one the image goes.
    Rmi(image::RemoveArgs),
    /// Shows how an image came to be.
    History(image::HistoryArgs),
    /// Writes images of the store to an archive.
    Save(image::SaveArgs),
    /// Reads images from an archive into the store.
    Load(image::LoadArgs),
    #[command(flatten)]
    Registry(registry::Command),
    /// Builds as kaniko's executor does: takes its flags.
    Kaniko(Box<kaniko::Args>),
    /// Shows what the store takes, and gets it back.
    #[command(subcommand)]
    System(system::Command),
    /// Builds images, and removes the build cache.
    #[command(subcommand)]
    Builder(system::BuilderCommand),
    /// Answers docker's buildx, as far as build services call it.
    Buildx(Box<buildx::Args>),
    /// Answers docker's contexts: there is one.
    #[command(subcommand)]
    Context(contexts::Command),
    /// Measures what this machine does with a directory.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Shows how kiln works on this machine.
    Info(info::InfoArgs),
    /// Shows the version, as docker's.
    Version(version::VersionArgs),
    /// Prints a script that completes commands in a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// Runs the command line and returns the exit code.
pub(crate) fn run() -> ExitCode {
    report::show_panics_as_bugs();
    let parsed = grammar().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let Arguments { global, docker, command, version: () } = match parsed {
        Ok(arguments) => arguments,
        Err(error) if error.kind() == ErrorKind::MissingSubcommand => return help(),
        Err(error) => return report::usage(&docker::explain(error)),
    };
    docker.note();
    match dispatch(&command, &global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report::failure(&failure),
    }
}

fn dispatch(command: &Command, global: &Global) -> Outcome {
    // What runs a step, or removes what one has left, does it where it is root.
    let enter = || environment::enter(global);
    let beside = || environment::beside(global);
    match command {
        Command::Build(args) => build::run(args, &enter()?),
        Command::Check(args) => check::run(args, global),
        Command::Plan(args) => plan::run(args, global),
        Command::Why(args) => why::run(args, &beside()?),
        Command::Image(command) if command.leaves_the_trees_alone() => image::run(command, &beside()?),
        Command::Image(command) => image::run(command, &enter()?),
        Command::Images(args) => args.run(&beside()?),
        Command::Inspect(args) => args.run(&beside()?),
        Command::Tag(args) => args.run(&beside()?),
        Command::Rmi(args) => args.run(&beside()?),
        Command::History(args) => args.run(&beside()?),
        Command::Save(args) => args.run(&beside()?),
        Command::Load(args) => args.run(&beside()?),
        Command::Registry(command) => registry::run(command, global),
        Command::Kaniko(args) => kaniko::run(args, enter()?),
        Command::System(command) => system::run(command, &enter()?),
        Command::Builder(command) => system::run_builder(command, &enter()?),
        Command::Buildx(args) => buildx::run(args, &enter()?),
        Command::Context(command) => contexts::run(command),
        Command::Bench(command) => bench::run(command),
        Command::Info(args) => args.run(&enter()?),
        Command::Version(args) => args.run(),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut grammar(), "kiln", &mut script);
            report::print(&String::from_utf8_lossy(&script))
        }
        Command::Other(words) => Err(docker::unknown(words, &grammar())),
    }
}

/// Prints the help of a command whose verb is missing, which is no failure: tools ask so whether it is there.
fn help() -> ExitCode {
    let mut grammar = grammar();
    grammar.build();
    let mut command = &mut grammar;
    for word in std::env::args().skip(1) {
        if command.find_subcommand(&word).is_some() {
            command = command.find_subcommand_mut(&word).expect("it was found just now");
        }
    }
    // A closed pipe behind `kiln | head` is no failure either.
    let _ = command.print_help();
    ExitCode::SUCCESS
}

fn grammar() -> clap::Command {
    docker::with_go_booleans(Arguments::command().mut_subcommand("check", check::with_optional_context))
}

/// What a command returns.
type Outcome = Result<(), Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_help_shows_says_what_it_is() {
        fn silent(command: &clap::Command, above: &str, found: &mut Vec<String>) {
            let name = format!("{above} {}", command.get_name());
            if command.get_about().is_none() {
                found.push(name.clone());
            }
            let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
            let silent_ones = shown.filter(|argument| argument.get_help().is_none());
            found.extend(silent_ones.map(|argument| format!("{name} {argument}")));
            for below in command.get_subcommands() {
                silent(below, &name, found);
            }
        }
        let mut grammar = grammar();
        grammar.build();
        let mut found = Vec::new();
        silent(&grammar, "", &mut found);
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn no_verbs_arguments_get_into_each_others_way() {
        grammar().debug_assert();
    }
}
