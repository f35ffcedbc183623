//! `kiln image save`.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;

use kiln::archive::{self, Saved};
use kiln::reference::Reference;

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::report::Failure;
use super::filter::is_bare;
use super::{Catalog, Stored};

/// The arguments of `kiln image save`.
#[derive(Debug, clap::Args)]
pub(crate) struct SaveArgs {
    /// Names or image ids; a name without a tag means all tags of its repository.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// The archive; standard output for none.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The form of the archive.
    #[arg(long, default_value = "docker")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Docker,
    Oci,
}

impl SaveArgs {
    pub(crate) fn run(&self, environment: &Environment) -> Outcome {
        if self.output.is_none() && std::io::stdout().is_terminal() {
            return Err(Failure::plain(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            ));
        }
        let store = environment.store()?;
        let catalog = Catalog::read(&store)?;
        let mut images: Vec<Saved> = Vec::new();
        for text in &self.images {
            for (stored, names) in meant(&catalog, text)? {
                let at = images.iter().position(|image| image.root.digest == stored.root.digest);
                let at = at.unwrap_or_else(|| {
                    images.push(Saved { root: stored.root.clone(), names: Vec::new() });
                    images.len() - 1
                });
                let new =
                    names.into_iter().filter(|name| !images[at].names.contains(name)).collect::<Vec<_>>();
                images[at].names.extend(new);
            }
        }
        let archive = match self.format {
            Format::Docker => archive::docker(&store, &images),
            Format::Oci => archive::oci(&store, &images, &BTreeMap::new()),
        };
        let archive = archive.map_err(Failure::from_error)?;
        let write = |out: &mut dyn Write| archive.write(&store, out);
        match &self.output {
            Some(path) => {
                let mut out =
                    std::io::BufWriter::new(fs_err::File::create(path).map_err(Failure::from_error)?);
                write(&mut out).map_err(Failure::from_error)?;
                out.flush().map_err(Failure::from_error)
            }
            None => write(&mut std::io::stdout().lock()).map_err(Failure::from_error),
        }
    }
}

/// Returns the images that a word means, each with the names under which it is saved: none for an id.
fn meant<'a>(catalog: &'a Catalog<'_>, text: &str) -> Result<Vec<(&'a Stored, Vec<Reference>)>, Failure> {
    let repository = text.parse::<Reference>().ok().filter(|_| is_bare(text));
    if let Some(repository) = repository {
        let of_repository = |stored: &'a Stored| {
            let own =
                stored.names.iter().filter(|name| name.tag.is_some() && name.name() == repository.name());
            (stored, own.cloned().collect::<Vec<_>>())
        };
        let found: Vec<_> =
            catalog.images.iter().map(of_repository).filter(|(_, names)| !names.is_empty()).collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let stored = catalog.find(text)?;
    Ok(vec![(stored, stored.name_of(text).into_iter().collect())])
}
