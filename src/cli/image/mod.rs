//! The verbs about images of the store: docker's, by its names, fields and columns.
//!
//! Each verb is one set of arguments that runs; it stands under `kiln image` and, by docker's second name, at the
//! top.

mod filter;
mod find;
mod history;
mod inspect;
mod list;
mod load;
mod prune;
mod remove;
mod save;
mod tag;

use super::environment::Environment;
use super::registry;
use super::report::print;
use super::{Outcome, build};

pub(crate) use self::filter::Filters;
pub(crate) use self::find::{Catalog, Stored, short};
pub(crate) use self::history::HistoryArgs;
pub(crate) use self::inspect::{InspectArgs, InspectObjectArgs};
pub(crate) use self::list::ListArgs;
pub(crate) use self::load::LoadArgs;
pub(crate) use self::prune::{PruneArgs, confirmed};
pub(crate) use self::remove::RemoveArgs;
pub(crate) use self::save::SaveArgs;
pub(crate) use self::tag::TagArgs;

/// The verbs of `kiln image`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Builds an image from a Dockerfile.
    Build(Box<build::Args>),
    /// Shows how an image came to be.
    History(HistoryArgs),
    /// Prints everything about images, as JSON or by a Go template.
    Inspect(InspectArgs),
    /// Reads images from an archive into the store.
    Load(LoadArgs),
    /// Lists the images of the store.
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Removes images that have no name, or all.
    Prune(PruneArgs),
    /// Fetches images from a registry into the store.
    Pull(registry::pull::Args),
    /// Pushes an image to a registry: what the registry lacks, and nothing else.
    Push(Box<registry::push::Args>),
    /// Removes names from the store; with the last one the image goes. Its bytes go with the next `prune`.
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
    /// Writes images of the store to an archive.
    Save(SaveArgs),
    /// Gives an image another name.
    Tag(TagArgs),
}

impl Command {
    /// Tells whether neither a step is run nor anything removed that steps have left.
    pub(crate) const fn leaves_the_trees_alone(&self) -> bool {
        !matches!(self, Self::Build(_) | Self::Prune(_))
    }
}

/// Runs a verb of `kiln image`.
pub(crate) fn run(command: &Command, environment: &Environment) -> Outcome {
    match command {
        Command::Build(args) => build::run(args, environment),
        Command::History(args) => args.run(environment),
        Command::Inspect(args) => args.run(environment),
        Command::Load(args) => args.run(environment),
        Command::Ls(args) => args.run(environment),
        Command::Prune(args) => args.run(environment),
        Command::Pull(args) => registry::pull::run(args, environment),
        Command::Push(args) => registry::push::run(args, environment),
        Command::Rm(args) => args.run(environment),
        Command::Save(args) => args.run(environment),
        Command::Tag(args) => args.run(environment),
    }
}
