//! `kiln tags`: the tags of a repository, one a line.

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::report::Failure;

/// The arguments of `kiln tags`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The repository, for example `ghcr.io/team/app`.
    #[arg(value_name = "REPOSITORY")]
    repository: String,
}

/// Prints the tags in the registry's order.
pub(crate) fn run(args: &Args, environment: &Environment) -> Outcome {
    let repository = super::repository(&args.repository)?;
    let tags = super::client(environment)?.tags(&repository).map_err(Failure::from_error)?;
    super::print(&tags.iter().map(|tag| format!("{tag}\n")).collect::<String>())
}
