//! `kiln image ls|inspect|rm`, `kiln save`, `kiln load`: what the store holds.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use kiln::archive;
use kiln::assemble;
use kiln::digest::Digest;
use kiln::image::{Blob, Image};
use kiln::oci::Platform;
use kiln::reference::Reference;
use kiln::store::{Named, Store};
use serde_json::{Value, json};

use super::Outcome;
use super::environment::Environment;
use super::progress::bytes;
use super::report::Failure;

/// The verbs of `kiln image`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists the images of the store.
    Ls {
        /// Prints only image ids.
        #[arg(short, long)]
        quiet: bool,
    },
    /// Prints everything about images, as a JSON array.
    Inspect {
        /// Names or image ids; `docker://NAME` asks the registry and fetches no layer.
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
    /// Removes names from the store; what no name holds any more goes with the next collection.
    Rm {
        /// Names or image ids.
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
}

/// The arguments of `kiln save`.
#[derive(Debug, clap::Args)]
pub(crate) struct SaveArgs {
    /// Names or image ids.
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

/// The arguments of `kiln load`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// An OCI archive, docker archive or OCI layout directory; standard input for none.
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
}

/// An image of the store with all its names.
struct Stored {
    root: Blob,
    names: Vec<Reference>,
    image: Image,
    size: u64,
}

/// Runs `kiln image ...`.
pub(crate) fn run(command: &Command, environment: &Environment) -> Outcome {
    let store = environment.store()?;
    match command {
        Command::Ls { quiet } => list(&store, *quiet),
        Command::Inspect { images } => {
            let shown = images.iter().map(|name| match name.strip_prefix("docker://") {
                Some(name) => super::registry::inspect(name, &store, environment),
                None => find(&store, name).map(|stored| stored.to_json()),
            });
            let shown: Vec<Value> = shown.collect::<Result<_, _>>()?;
            print(&format!("{:#}\n", Value::from(shown)))
        }
        Command::Rm { images } => images.iter().try_for_each(|name| remove(&store, name)),
    }
}

/// Runs `kiln save`.
pub(crate) fn save(args: &SaveArgs, environment: &Environment) -> Outcome {
    let store = environment.store()?;
    let [name] = &args.images[..] else {
        return Err(Failure::usage(
            "saving several images into one archive is not supported yet: save one at a time",
        ));
    };
    let stored = find(&store, name)?;
    let names: Vec<Reference> = match name.parse::<Reference>() {
        Ok(reference) if stored.names.contains(&reference) => vec![reference],
        _ => stored.names.clone(),
    };
    let write = |out: &mut dyn std::io::Write| match args.format {
        Format::Docker => archive::docker(&store, &stored.root, &names, out),
        Format::Oci => archive::oci(&store, &stored.root, &names, &BTreeMap::new(), out),
    };
    match &args.output {
        Some(path) => {
            let mut out = std::io::BufWriter::new(fs_err::File::create(path).map_err(Failure::from_error)?);
            write(&mut out).map_err(Failure::from_error)?;
            out.flush().map_err(Failure::from_error)
        }
        None => write(&mut std::io::stdout().lock()).map_err(Failure::from_error),
    }
}

/// Runs `kiln load`.
pub(crate) fn load(args: &LoadArgs, environment: &Environment) -> Outcome {
    let store = environment.store()?;
    let loaded = match &args.input {
        Some(path) => archive::load_path(&store, path),
        None => archive::load(&store, std::io::stdin().lock()),
    };
    for image in loaded.map_err(Failure::from_error)? {
        match &image.reference {
            Some(reference) => {
                store.tag(reference, &image.manifest).map_err(Failure::from_error)?;
                print(&format!("Loaded image: {}\n", reference.familiar()))?;
            }
            None => print(&format!("Loaded image: {}\n", image.manifest.digest))?,
        }
    }
    Ok(())
}

fn list(store: &Store, quiet: bool) -> Outcome {
    let mut rows = Vec::new();
    for stored in all(store)? {
        for name in &stored.names {
            let tag = name.tag.clone().unwrap_or_else(|| "<none>".to_owned());
            let created = stored.image.config.created.map(|time| time.to_string()).unwrap_or_default();
            let id = &stored.image.id.hex()[..12];
            rows.push([name.familiar_name(), tag, id.to_owned(), created, bytes(stored.size)]);
        }
    }
    if quiet {
        let mut ids: Vec<String> = rows.into_iter().map(|[_, _, id, ..]| id).collect();
        ids.dedup();
        return print(&ids.iter().map(|id| format!("{id}\n")).collect::<String>());
    }
    rows.insert(0, ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"].map(str::to_owned));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..4).map(width).collect();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}   "));
        format!("{}{}\n", cells.collect::<String>(), row[4])
    };
    print(&rows.iter().map(line).collect::<String>())
}

/// Returns every image of the store; a name whose documents are gone is left out.
fn all(store: &Store) -> Result<Vec<Stored>, Failure> {
    let mut by_root: BTreeMap<Digest, (Blob, Vec<Reference>)> = BTreeMap::new();
    for Named { reference, blob, .. } in store.names().map_err(Failure::from_error)? {
        by_root.entry(blob.digest).or_insert_with(|| (blob, Vec::new())).1.push(reference);
    }
    Ok(by_root.into_values().filter_map(|(root, names)| Stored::read(store, root, names).ok()).collect())
}

/// Finds an image by its name, or by the beginning of its id.
fn find(store: &Store, text: &str) -> Result<Stored, Failure> {
    let images = all(store)?;
    let by_name = text.parse::<Reference>().ok();
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let is_id = hex.len() >= 4 && hex.chars().all(|digit| digit.is_ascii_hexdigit());
    let matches = |stored: &Stored| {
        by_name.as_ref().is_some_and(|name| stored.names.contains(name))
            || is_id && (stored.image.id.hex().starts_with(hex) || stored.root.digest.hex().starts_with(hex))
    };
    images.into_iter().find(matches).ok_or_else(|| Failure::plain(format!("no such image: {text}")))
}

fn remove(store: &Store, text: &str) -> Outcome {
    let stored = find(store, text)?;
    let named = text.parse::<Reference>().ok().filter(|name| stored.names.contains(name));
    for name in named.map_or(stored.names, |name| vec![name]) {
        store.untag(&name).map_err(Failure::from_error)?;
        print(&format!("Untagged: {}\n", name.familiar()))?;
    }
    Ok(())
}

impl Stored {
    fn read(store: &Store, root: Blob, names: Vec<Reference>) -> Result<Self, Failure> {
        let image = assemble::read(store, &root, &Platform::host()).map_err(Failure::from_error)?;
        let size = image.layers.iter().map(|layer| layer.blob.size).sum();
        Ok(Self { root, names, image, size })
    }

    /// Returns what `docker image inspect` shows of an image, under the same names.
    fn to_json(&self) -> Value {
        let config = &self.image.config;
        let familiar: Vec<String> = self.names.iter().map(Reference::familiar).collect();
        json!({
            "Id": self.image.id,
            "RepoTags": familiar,
            "RepoDigests": [],
            "Created": config.created,
            "Author": config.author,
            "Architecture": config.architecture,
            "Variant": config.variant,
            "Os": config.os,
            "Size": self.size,
            "Config": config.config,
            "RootFS": {
                "Type": "layers",
                "Layers": config.rootfs.diff_ids,
            },
            "Descriptor": self.root.descriptor(),
        })
    }
}

fn print(text: &str) -> Outcome {
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::from_error)
}
