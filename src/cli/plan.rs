//! `kiln plan`: the build graph, without building.

use std::io::Write as _;

use kiln::builder;
use kiln::graph::plan;

use super::Outcome;
use super::build::{self, SourceArgs};
use super::environment::Environment;
use super::report::Failure;

/// The arguments of `kiln plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// The form of the output: stable text or JSON.
    #[arg(long, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Prints the graph.
pub(crate) fn run(args: &Args, environment: &Environment) -> Outcome {
    let request = args.source.request(environment)?;
    let store = environment.store()?;
    let registry = environment.registry(&store)?;
    let plan = builder::plan(&request, &store, &registry)
        .map_err(|error| build::explain(&request.dockerfile, error))?;
    let text = match args.format {
        Format::Text => plan::text(&plan.graph),
        Format::Json => format!("{:#}\n", plan::json(&plan.graph)),
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::from_error)
}
