//! `kiln image rm`.

use kiln::store::Store;

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::report::{Failure, say};
use super::{Catalog, print, short};

/// The arguments of `kiln image rm`.
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// Names or image ids.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Removes an image by its id though it has several names; what is not there is no failure.
    #[arg(short, long)]
    force: bool,
    /// Accepted as docker's: there are no untagged parents.
    #[arg(long, hide = true)]
    no_prune: bool,
}

impl RemoveArgs {
    pub(crate) fn run(&self, environment: &Environment) -> Outcome {
        let store = environment.store()?;
        let mut failures = Vec::new();
        let mut missing = Vec::new();
        for text in &self.images {
            // Names go with each image that is removed, so the store is read again.
            match Catalog::read(&store)?.find_to_remove(text) {
                // A name whose image is damaged leads nowhere, and can go all the same.
                Err(failure) => match untag(&store, text)? {
                    true => print(&format!("Untagged: {text}\n"))?,
                    false => missing.push(failure),
                },
                Ok(_) => failures.extend(self.remove(&store, text).err()),
            }
        }
        if self.force && failures.is_empty() {
            missing.iter().for_each(|failure| say(&failure.to_string()));
            return Ok(());
        }
        failures.extend(missing);
        Failure::all(failures).map_or(Ok(()), Err)
    }

    fn remove(&self, store: &Store, text: &str) -> Outcome {
        let catalog = Catalog::read(store)?;
        let stored = catalog.find_to_remove(text)?;
        let names = match stored.name_of(text) {
            Some(name) => vec![name],
            None if stored.names.len() > 1 && !self.force => {
                let id = short(&stored.image.id);
                return Err(Failure::plain(format!(
                    "conflict: unable to delete {id} (must be forced) - image is referenced in multiple \
                     repositories: remove it by name, or use --force"
                )));
            }
            None => stored.names.clone(),
        };
        for name in &names {
            store.untag(name).map_err(Failure::from_error)?;
            print(&format!("Untagged: {}\n", name.familiar()))?;
        }
        if names.len() < stored.names.len() {
            return Ok(());
        }
        store.forget_image(&stored.root.digest).map_err(Failure::from_error)?;
        print(&format!("Deleted: {}\n", stored.image.id))
    }
}

fn untag(store: &Store, text: &str) -> Result<bool, Failure> {
    let Ok(name) = text.parse() else { return Ok(false) };
    store.untag(&name).map_err(Failure::from_error)
}
