//! `kiln image load`.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use kiln::archive;
use kiln::assemble;
use kiln::oci::Platform;

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::report::Failure;
use super::print;

/// The arguments of `kiln image load`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// An OCI archive, docker archive or OCI layout directory; standard input for none.
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Prints nothing.
    #[arg(short, long)]
    quiet: bool,
}

impl LoadArgs {
    pub(crate) fn run(&self, environment: &Environment) -> Outcome {
        let store = environment.store()?;
        let loaded = match &self.input {
            Some(path) => archive::load_path(&store, path),
            None if std::io::stdin().is_terminal() => {
                return Err(Failure::plain("requested load from stdin, but stdin is empty"));
            }
            None => archive::load(&store, std::io::stdin().lock()),
        };
        let mut text = String::new();
        for image in loaded.map_err(Failure::from_error)? {
            store.add_image(&image.manifest).map_err(Failure::from_error)?;
            match &image.reference {
                Some(reference) => {
                    store.tag(reference, &image.manifest).map_err(Failure::from_error)?;
                    text += &format!("Loaded image: {}\n", reference.familiar());
                }
                None => {
                    // An index of other platforms has no image here: it is called by its own digest.
                    let read = assemble::read(&store, &image.manifest, &Platform::host());
                    let id = read.map_or(image.manifest.digest, |image| image.id);
                    text += &format!("Loaded image ID: {id}\n");
                }
            }
        }
        if self.quiet { Ok(()) } else { print(&text) }
    }
}
