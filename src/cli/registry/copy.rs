//! `kiln copy`: an image from one place to another, as it is: its digest stays.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use kiln::archive::{self, Saved};
use kiln::assemble;
use kiln::image::Blob;
use kiln::oci::{Platform, REF_NAME};
use kiln::reference::Reference;
use kiln::registry::Registry;
use kiln::store::Store;

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::report::Failure;
use super::file_place::FilePlace;
use super::push::{self, LimitArgs};

/// The arguments of `kiln copy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A name in a registry, or `oci-archive:FILE`, `docker-archive:FILE`, `oci:DIRECTORY[:TAG]`.
    #[arg(value_name = "SOURCE")]
    source: Place,
    /// The same.
    #[arg(value_name = "DESTINATION")]
    destination: Place,
    /// Copies the image of one platform instead of all, for example linux/arm64.
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Prints only the destination's name.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Where an image is.
#[derive(Debug, Clone)]
enum Place {
    Registry(Reference),
    File(FilePlace),
}

impl std::str::FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(place) = FilePlace::parse(text) {
            return Ok(Self::File(place));
        }
        let named = |name: &str| name.parse().map(Self::Registry).map_err(|error| format!("{error}"));
        match text.split_once(':') {
            Some(("docker", name)) if name.starts_with("//") => named(&name[2..]),
            Some((other @ ("dir" | "docker-daemon" | "containers-storage" | "ostree" | "sif"), _)) => {
                Err(format!("kiln has no transport `{other}:`"))
            }
            _ => named(text),
        }
    }
}

/// Copies and says what came of it.
pub(crate) fn run(args: &Args, environment: &Environment) -> Outcome {
    let store = environment.store()?;
    let registry = environment.registry(&store)?;
    // What passes through the store is nobody's until it is where it is to be.
    let _lease = store.lease().map_err(Failure::from_error)?;
    let (root, names) = args.open(&store, &registry)?;
    match &args.destination {
        Place::Registry(reference) => {
            return push::send(&registry, &root, reference, &args.limits.limits(), args.quiet);
        }
        Place::File(FilePlace::OciArchive(path)) => {
            let saved = Saved { root: root.clone(), names };
            write(path, |out| archive::oci(&store, &[saved], &BTreeMap::new())?.write(&store, out))?;
        }
        Place::File(FilePlace::DockerArchive(path)) => {
            let saved = Saved { root: root.clone(), names };
            write(path, |out| archive::docker(&store, &[saved])?.write(&store, out))?;
        }
        Place::File(FilePlace::Layout { path, tag }) => {
            let tag = tag.iter().map(|tag| (REF_NAME.to_owned(), tag.clone()));
            let annotations: BTreeMap<String, String> = tag.collect();
            let names = if annotations.is_empty() { names } else { Vec::new() };
            let saved = Saved { root: root.clone(), names };
            archive::oci_directory(&store, &saved, &annotations, path).map_err(Failure::from_error)?;
        }
    }
    super::print(&format!("{}\n", root.digest))
}

impl Args {
    /// Brings the source's documents into the store, and its layers if they are going to a file; returns its root and
    /// its names.
    fn open(&self, store: &Store, registry: &Registry) -> Result<(Blob, Vec<Reference>), Failure> {
        let root = match &self.source {
            Place::Registry(reference) => {
                let surveyed = registry.survey(reference, self.platform.as_ref());
                let (root, parts) = surveyed.map_err(Failure::from_error)?;
                if !matches!(self.destination, Place::Registry(_)) {
                    registry.fetch(reference, &parts, &|_, _| ()).map_err(Failure::from_error)?;
                }
                let names = reference.tag.is_some().then(|| Reference { digest: None, ..reference.clone() });
                return Ok((root, names.into_iter().collect()));
            }
            Place::File(place) => place.open(store)?,
        };
        match &self.platform {
            None => Ok((root, Vec::new())),
            Some(platform) => {
                let selected = assemble::select(store, &root, platform).map_err(Failure::from_error)?;
                Ok((selected.0, Vec::new()))
            }
        }
    }
}

fn write(
    path: &PathBuf,
    archive: impl FnOnce(&mut dyn std::io::Write) -> Result<(), archive::Error>,
) -> Outcome {
    let mut out = std::io::BufWriter::new(fs_err::File::create(path).map_err(Failure::from_error)?);
    archive(&mut out).map_err(|error| match error {
        archive::Error::SeveralPlatforms { .. } => {
            Failure::plain(format!("{error}: name one with --platform, or write an `oci-archive:`"))
        }
        error => Failure::from_error(error),
    })?;
    out.flush().map_err(Failure::from_error)
}
