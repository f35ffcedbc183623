//! `kiln push`: an image of the store, an archive or a layout into a registry.

use std::io::Write as _;
use std::sync::Mutex;

use kiln::dockerfile::parse_size;
use kiln::image::Blob;
use kiln::reference::Reference;
use kiln::registry::{How, Limits, Pushed, PushedBlob, Registry, Step};
use kiln::store::Store;

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::progress::bytes;
use super::super::report::{Failure, print};
use super::file_place::FilePlace;

/// The arguments of `kiln push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What is pushed: a name of the store, or `oci-archive:FILE`, `docker-archive:FILE`, `oci:DIRECTORY[:TAG]`.
    #[arg(value_name = "IMAGE")]
    source: Source,
    /// The name in the registry; for an image of the store its own name is the default.
    #[arg(value_name = "NAME[:TAG]")]
    destination: Option<Reference>,
    /// Pushes every tag that the store has for the repository.
    #[arg(short, long, conflicts_with = "destination")]
    all_tags: bool,
    /// Prints only the name that was pushed.
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

/// How large layers and images may be.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LimitArgs {
    /// Refuses to push a layer that is larger, for example 500m; bytes without a unit.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_layer_size: Option<u64>,
    /// Refuses to push an image whose layers are larger together, for example 2g.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_image_size: Option<u64>,
}

impl LimitArgs {
    pub(crate) const fn limits(&self) -> Limits {
        Limits { layer: self.max_layer_size, image: self.max_image_size }
    }
}

#[derive(Debug, Clone)]
enum Source {
    Named(Reference),
    File(FilePlace),
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match FilePlace::parse(text) {
            Some(place) => Ok(Self::File(place)),
            None => text.parse().map(Self::Named).map_err(|error| format!("{error}")),
        }
    }
}

/// Runs `kiln push`.
pub(crate) fn run(args: &Args, environment: &Environment) -> Outcome {
    let store = environment.store()?;
    let registry = environment.registry(&store)?;
    let _lease = store.lease().map_err(Failure::from_error)?;
    let limits = args.limits.limits();
    for (root, reference) in wanted(args, &store)? {
        send(&registry, &root, &reference, &limits, args.quiet)?;
    }
    Ok(())
}

/// Pushes an image and prints what comes of its blobs.
pub(crate) fn send(
    registry: &Registry,
    root: &Blob,
    reference: &Reference,
    limits: &Limits,
    quiet: bool,
) -> Outcome {
    let printer = Printer { quiet, failed: Mutex::new(None) };
    printer.line(|| format!("The push refers to repository [{}]", reference.name()));
    let pushed = registry.push(reference, root, limits, &|step| printer.step(step));
    let pushed = pushed.map_err(Failure::from_error)?;
    printer.line(|| ending(&pushed));
    if quiet {
        print(&format!("{reference}\n"))?;
    }
    let failed = printer.failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failed.map_or(Ok(()), |error| Err(Failure::from_error(error)))
}

/// Finds what is to be pushed, and under which names.
fn wanted(args: &Args, store: &Store) -> Result<Vec<(Blob, Reference)>, Failure> {
    match &args.source {
        Source::Named(name) if args.all_tags => {
            let all = store.names().map_err(Failure::from_error)?.into_iter();
            let tags: Vec<_> = all.filter(|named| named.reference.name() == name.name()).collect();
            if tags.is_empty() {
                return Err(no_such_image(name));
            }
            Ok(tags.into_iter().map(|named| (named.blob, named.reference)).collect())
        }
        Source::Named(name) => {
            let root = store.resolve_name(name).map_err(Failure::from_error)?;
            let root = root.ok_or_else(|| no_such_image(name))?;
            Ok(vec![(root, args.destination.clone().unwrap_or_else(|| name.clone()))])
        }
        Source::File(place) => {
            let root = place.open(store)?;
            let destination = args.destination.clone();
            let unnamed = || Failure::usage("name the repository: kiln push SOURCE NAME[:TAG]");
            Ok(vec![(root, destination.ok_or_else(unnamed)?)])
        }
    }
}

fn no_such_image(name: &Reference) -> Failure {
    Failure::plain(format!("no such image: {}; `kiln image ls` shows what there is", name.familiar()))
}

struct Printer {
    quiet: bool,
    /// A standard output that is closed ends no push.
    failed: Mutex<Option<std::io::Error>>,
}

impl Printer {
    fn step(&self, step: Step<'_>) {
        if let Step::Blob(blob) = step {
            self.line(|| format!("{}: {}", &blob.digest.hex()[..12], shown(blob)));
        }
    }

    fn line(&self, text: impl FnOnce() -> String) {
        if self.quiet {
            return;
        }
        if let Err(error) = writeln!(std::io::stdout(), "{}", text()) {
            let mut failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            failed.get_or_insert(error);
        }
    }
}

/// Says in docker's words what came of a blob.
fn shown(blob: &PushedBlob) -> String {
    match &blob.how {
        How::Present => "Layer already exists".to_owned(),
        How::Mounted { from } => format!("Mounted from {from}"),
        How::Uploaded { elapsed, .. } => {
            format!("Pushed {} in {:.1}s", bytes(blob.size), elapsed.as_secs_f64())
        }
        How::Foreign => "Skipped foreign layer".to_owned(),
    }
}

fn ending(pushed: &Pushed) -> String {
    let name = pushed.reference.tag.clone().unwrap_or_else(|| pushed.root.digest.to_string());
    format!("{name}: digest: {} size: {}", pushed.root.digest, pushed.root.size)
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "must be a size such as 500m or 2g".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_a_transport_or_are_names() {
        for (text, expected) in [
            ("a:1", "Named(docker.io/library/a:1)"),
            ("localhost:5000/a", "Named(localhost:5000/a:latest)"),
            ("oci-archive:a.tar", "File(OciArchive(\"a.tar\"))"),
            ("oci:dir:1", "File(Layout { path: \"dir\", tag: Some(\"1\") })"),
        ] {
            let shown = match text.parse::<Source>().unwrap() {
                Source::Named(name) => format!("Named({name})"),
                Source::File(place) => format!("File({place:?})"),
            };
            assert_eq!(shown, expected, "{text}");
        }
    }
}
