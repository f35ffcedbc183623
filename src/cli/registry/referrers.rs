//! `kiln referrers`: what says that it belongs to an image.

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::report::Failure;

/// The arguments of `kiln referrers`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image; a tag stands for its manifest or index.
    #[arg(value_name = "NAME")]
    name: String,
    /// Only those of this type.
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
}

/// Prints digest, type and size, one referrer a line.
pub(crate) fn run(args: &Args, environment: &Environment) -> Outcome {
    let name = super::name(&args.name)?;
    let referrers = super::client(environment)?.referrers(&name, args.artifact_type.as_deref());
    let lines = referrers.map_err(Failure::from_error)?.into_iter().map(|referrer| {
        let kind =
            if referrer.artifact_type.is_empty() { referrer.media_type } else { referrer.artifact_type };
        format!("{} {kind} {}\n", referrer.digest, referrer.size)
    });
    super::print(&lines.collect::<String>())
}
