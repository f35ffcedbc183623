//! `kiln plan`: the build graph, without building.

use kiln::builder::{self, Lookup};
use kiln::graph::plan;

use super::build::{self, SourceArgs};
use super::report::print;
use super::{Global, Outcome, environment};

/// The arguments of `kiln plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// The form of the output: stable text or JSON.
    #[arg(long, default_value = "text")]
    format: Format,
    /// Looks up no base image: each counts as linux/amd64 with only PATH in its environment.
    #[arg(long)]
    offline: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Prints the graph.
pub(crate) fn run(args: &Args, global: &Global) -> Outcome {
    // Without look-ups there is nothing to open and nowhere to enter.
    let environment = if args.offline { environment::outside(global) } else { environment::enter(global) }?;
    let request = args.source.request(&environment)?;
    let plan = if args.offline {
        builder::plan(&request, Lookup::None)
    } else {
        let store = environment.store()?;
        let registry = environment.registry(&store)?;
        builder::plan(&request, Lookup::Images { store: &store, registry: &registry })
    };
    let plan = plan.map_err(|error| build::explain(&request.dockerfile, error))?;
    let text = match args.format {
        Format::Text => plan::text(&plan.graph),
        Format::Json => format!("{:#}\n", plan::json(&plan.graph)),
    };
    print(&text)
}
