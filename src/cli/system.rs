//! `kiln system df|prune|info`, `kiln builder prune`: what the store takes, and getting it back.

use kiln::store::Freed;
use kiln::time::Timestamp;
use serde_json::{Value, json};

use super::environment::Environment;
use super::format::{self, Columns, human};
use super::image::{Catalog, Filters, ListArgs, PruneArgs, confirmed};
use super::info::InfoArgs;
use super::report::{Failure, print};
use super::{Outcome, build};

/// The verbs of `kiln system`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Shows how much of the disk the store takes.
    Df(UsageArgs),
    /// Shows how kiln works on this machine.
    Info(InfoArgs),
    /// Removes images without a name, and the build cache.
    Prune(SystemPruneArgs),
}

/// The verbs of `kiln builder`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum BuilderCommand {
    /// Builds an image from a Dockerfile.
    Build(Box<build::Args>),
    /// Removes the build cache.
    Prune(CachePruneArgs),
}

/// The arguments of `kiln system df`.
#[derive(Debug, clap::Args)]
pub(crate) struct UsageArgs {
    /// `table`, `table TEMPLATE`, `json`, or a Go template for each line.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Shows each image.
    #[arg(short, long, conflicts_with = "format")]
    verbose: bool,
}

const FILTER_HELP: &str = "Only some things: until=TIME; of images also label=KEY[=VALUE], label!=KEY[=VALUE], which leave the cache";

/// The arguments of `kiln system prune`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("filter", |filter| filter.help(FILTER_HELP)))]
pub(crate) struct SystemPruneArgs {
    #[command(flatten)]
    images: PruneArgs,
    /// Accepted as docker's: there are no volumes.
    #[arg(long, hide = true)]
    volumes: bool,
}

/// The arguments of `kiln builder prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct CachePruneArgs {
    /// Accepted as docker's: everything in the cache counts as unused.
    #[arg(short, long, hide = true)]
    all: bool,
    /// Does not ask.
    #[arg(short, long)]
    force: bool,
    /// Only what was not used since: until=TIME, for example until=24h.
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

/// Runs a verb of `kiln system`.
pub(crate) fn run(command: &Command, environment: &Environment) -> Outcome {
    match command {
        Command::Df(args) => args.run(environment),
        Command::Info(args) => args.run(environment),
        Command::Prune(args) => args.run(environment),
    }
}

/// Runs a verb of `kiln builder`.
pub(crate) fn run_builder(command: &BuilderCommand, environment: &Environment) -> Outcome {
    match command {
        BuilderCommand::Build(args) => build::run(args, environment),
        BuilderCommand::Prune(args) => args.run(environment),
    }
}

const COLUMNS: Columns = Columns {
    table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "{{.Type}}",
    headers: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
};

impl UsageArgs {
    fn run(&self, environment: &Environment) -> Outcome {
        let store = environment.store()?;
        let usage = store.usage().map_err(Failure::from_error)?;
        if self.verbose {
            print("Images space usage:\n\n")?;
            ListArgs::default().run(environment)?;
            return print(&format!("\nBuild cache usage: {}\n", human::size(usage.cache.size)));
        }
        let images = Freed { count: Catalog::read(&store)?.images.len() as u64, ..usage.images };
        let (none, whole) = (Freed::default(), " (100%)");
        let rows = [
            row("Images", images, whole),
            row("Containers", none, ""),
            row("Local Volumes", none, ""),
            row("Build Cache", usage.cache, ""),
        ];
        print(&format::list(self.format.as_deref(), false, &COLUMNS, &rows)?)
    }
}

/// Nothing is active: that is what a container uses.
fn row(kind: &str, used: Freed, share: &str) -> Value {
    let size = human::size(used.size);
    let share = if used.size > 0 { share } else { "" };
    json!({
        "Type": kind,
        "TotalCount": used.count.to_string(),
        "Active": "0",
        "Size": size,
        "Reclaimable": format!("{size}{share}"),
    })
}

impl SystemPruneArgs {
    fn run(&self, environment: &Environment) -> Outcome {
        let images = if self.images.all { "all images" } else { "all images without a name" };
        let warning = format!("WARNING! This will remove:\n  - {images}\n  - the build cache\n");
        // A cache has no labels.
        self.images.prune(environment, &warning, |filters| {
            if filters.are_about_images() { EVERYTHING_IS_YOUNGER } else { age(filters) }
        })
    }
}

impl CachePruneArgs {
    pub(crate) fn run(&self, environment: &Environment) -> Outcome {
        if !self.force && !confirmed("WARNING! This will remove the build cache.")? {
            return Ok(());
        }
        let store = environment.store()?;
        let filters = Filters::parse(&self.filter, &["until"], &Catalog::read(&store)?, environment.now)?;
        let freed = store.gc(age(&filters)).map_err(Failure::from_error)?;
        print(&format!("Total:\t{}\n", human::size(freed.size)))
    }
}

const EVERYTHING_IS_YOUNGER: Timestamp = Timestamp(i64::MIN);
const EVERYTHING_IS_OLDER: Timestamp = Timestamp(i64::MAX);

fn age(filters: &Filters) -> Timestamp {
    filters.until().unwrap_or(EVERYTHING_IS_OLDER)
}
