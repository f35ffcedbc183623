//! `kiln image tag`.

use kiln::reference::Reference;

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::report::Failure;
use super::Catalog;

/// The arguments of `kiln image tag`.
#[derive(Debug, clap::Args)]
pub(crate) struct TagArgs {
    /// A name or an image id.
    #[arg(value_name = "SOURCE")]
    source: String,
    /// The further name.
    #[arg(value_name = "TARGET")]
    target: Reference,
}

impl TagArgs {
    pub(crate) fn run(&self, environment: &Environment) -> Outcome {
        if self.target.digest.is_some() {
            return Err(Failure::plain("refusing to create a tag with a digest reference"));
        }
        let store = environment.store()?;
        let catalog = Catalog::read(&store)?;
        let stored = catalog.find(&self.source)?;
        store.tag(&self.target, &stored.root).map_err(Failure::from_error)
    }
}
