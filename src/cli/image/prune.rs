//! `kiln image prune`.

use std::io::Write as _;

use kiln::store::Store;
use kiln::time::Timestamp;

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::format::human;
use super::super::report::Failure;
use super::{Catalog, Filters, print};

/// The arguments of `kiln image prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct PruneArgs {
    /// Removes all images, not only those without a name: there are no containers that could use one.
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Does not ask.
    #[arg(short, long)]
    force: bool,
    /// Only some images: until=TIME, label=KEY[=VALUE], label!=KEY[=VALUE].
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl PruneArgs {
    pub(crate) fn run(&self, environment: &Environment) -> Outcome {
        let kind = if self.all {
            "images without at least one container associated to them"
        } else {
            "dangling images"
        };
        // Only what nothing needs any more: the cache stays.
        self.prune(environment, &format!("WARNING! This will remove all {kind}."), |_| Timestamp(i64::MIN))
    }

    /// Asks, removes images, and what of the cache was not used since the time that the filters give.
    pub(crate) fn prune(
        &self,
        environment: &Environment,
        warning: &str,
        keep_since: impl FnOnce(&Filters) -> Timestamp,
    ) -> Outcome {
        if !self.force && !confirmed(warning)? {
            return Ok(());
        }
        let store = environment.store()?;
        let catalog = Catalog::read(&store)?;
        let filters = Filters::parse(&self.filter, &["until", "label", "label!"], &catalog, environment.now)?;
        remove_images(&store, &catalog, &filters, self.all)?;
        let freed = store.gc(keep_since(&filters)).map_err(Failure::from_error)?;
        print(&format!("Total reclaimed space: {}\n", human::size(freed.size)))
    }
}

/// Removes images without a name, or all, and prints which.
fn remove_images(store: &Store, catalog: &Catalog<'_>, filters: &Filters, all: bool) -> Outcome {
    let mut text = String::new();
    for stored in &catalog.images {
        if !(all || stored.names.is_empty()) || !filters.hold(stored) {
            continue;
        }
        for name in &stored.names {
            store.untag(name).map_err(Failure::from_error)?;
            text += &format!("untagged: {}\n", name.familiar());
        }
        store.forget_image(&stored.root.digest).map_err(Failure::from_error)?;
        text += &format!("deleted: {}\n", stored.image.id);
    }
    if text.is_empty() { Ok(()) } else { print(&format!("Deleted Images:\n{text}\n")) }
}

/// Asks the user, on standard input.
pub(crate) fn confirmed(warning: &str) -> Result<bool, Failure> {
    print(&format!("{warning}\nAre you sure you want to continue? [y/N] "))?;
    std::io::stdout().flush().map_err(Failure::from_error)?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(Failure::from_error)?;
    Ok(matches!(answer.trim(), "y" | "Y"))
}
