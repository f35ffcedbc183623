//! The image goes where it was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::built::{Built, BuiltImage};
use super::cache;
use super::growing::GrowingArchive;
use super::image::{Made, MadeImage};
use super::output_file::{complete, to_file};
use super::{Annotations, Destination, Error, Export, ExportKind, Request, squash};
use crate::archive::{self, Archive, Saved};
use crate::assemble::{Assembled, Flavor};
use crate::cache::Key;
use crate::event::{Event, Stream};
use crate::graph::Graph;
use crate::image::Blob;
use crate::layer::{self, Compression, PackOptions};
use crate::reference::Reference;
use crate::registry::{Limits, Pushed, Registry, Step};
use crate::solve::{self, Snapshot, Solution, Workshop};
use crate::store::Store;
use crate::time::Timestamp;

/// When images were first made, by what is in them.
pub(super) type Times = BTreeMap<Key, Timestamp>;

/// Assembles the image and writes it to every place that the request names.
pub(super) fn export(
    request: &Request,
    graph: &Graph,
    solution: &Solution,
    workshop: &Workshop<'_>,
    registry: &Registry,
    growing: Option<&GrowingArchive<'_>>,
) -> Result<(Built, Times), Error> {
    let (mut built, mut times) = (Built::default(), Times::new());
    let inline_cache = cache::inline(request, graph, solution, workshop)?;
    for (output, root) in graph.outputs.iter().zip(&solution.roots) {
        let made = MadeImage { output, root: root.clone(), merge: None };
        let squashed = match request.squash && request.exports.iter().any(|export| export.kind.is_image()) {
            true => squash::squash(&made, graph, solution, workshop)?,
            false => None,
        };
        let made = squashed.unwrap_or(made);
        let inline = inline_cache.as_ref();
        for export in &request.exports {
            if export.kind.is_image() {
                let recompressed = match &made.root {
                    Some(root) if export.force_compression => Some(solve::recompress(root, workshop)?),
                    Some(_) | None => made.root.clone(),
                };
                let made = MadeImage { output, root: recompressed, merge: made.merge.clone() };
                let Made { image, key, created } =
                    made.assemble(solution, workshop, export.flavor(request), &request.annotations, inline)?;
                times.insert(key, created);
                built.image =
                    Some(BuiltImage { manifest: image.manifest.clone(), config: image.config.clone() });
                let names: Vec<Reference> = request.names(export).cloned().collect();
                if export.kind == ExportKind::Registry {
                    for name in &names {
                        let name = if export.by_digest {
                            name.at_digest(image.manifest.digest)
                        } else {
                            name.clone()
                        };
                        built.pushed.push(push(&name, &image, &request.limits, registry, workshop)?);
                    }
                } else {
                    let root = made.root.as_ref();
                    write_image(export, &image, root, &names, &request.annotations, workshop, growing)?;
                }
            } else {
                write_files(export, root.as_ref(), workshop)?;
            }
        }
    }
    Ok((built, times))
}

impl ExportKind {
    /// Tells whether the form has layers, and not just files.
    pub const fn is_image(self) -> bool {
        match self {
            Self::Store | Self::Oci | Self::OciDirectory | Self::Docker | Self::Registry => true,
            Self::Local | Self::Tar => false,
        }
    }
}

impl Export {
    /// Docker's documents have no annotations, so those that are asked for decide, as in BuildKit.
    fn flavor(&self, request: &Request) -> Flavor {
        if request.annotations != Annotations::default() {
            return Flavor::Oci;
        }
        match (self.oci_media_types, self.kind) {
            (Some(true), _) => Flavor::Oci,
            (Some(false), _) | (None, ExportKind::Docker) => Flavor::Docker,
            (None, _) => Flavor::Oci,
        }
    }
}

impl Request {
    /// Returns how new layers are packed: what the exports ask for, which is the same for all of them.
    pub(super) fn packing(&self) -> PackOptions {
        let of_exports = self.exports.iter().find_map(|export| export.compression);
        let of_caches = || self.cache_to.iter().find_map(|target| target.compression);
        let compression = of_exports.or_else(of_caches);
        let rewrite = self.exports.iter().any(|export| export.rewrite_timestamps);
        PackOptions {
            compression: compression.unwrap_or_default(),
            jobs: self.jobs,
            memory_bytes: self.memory_bytes.unwrap_or(layer::DEFAULT_MEMORY_BYTES),
            clamp_mtime: self.epoch.filter(|_| rewrite),
        }
    }
}

fn write_image(
    export: &Export,
    image: &Assembled,
    root: Option<&Arc<Snapshot>>,
    names: &[Reference],
    annotations: &Annotations,
    workshop: &Workshop<'_>,
    growing: Option<&GrowingArchive<'_>>,
) -> Result<(), Error> {
    let store = workshop.store;
    let image = Saved { root: image.manifest.clone(), names: names.to_vec() };
    if export.kind != ExportKind::Store {
        // Only an archive needs the bytes of the base.
        solve::fetch_layers(root, workshop)?;
    }
    let name = match export.kind {
        ExportKind::Store => "storing the image",
        ExportKind::Oci | ExportKind::OciDirectory => "writing the OCI layout",
        ExportKind::Docker | ExportKind::Local | ExportKind::Tar | ExportKind::Registry => {
            "writing the docker archive"
        }
    };
    workshop.task(name.to_owned(), |_| match (export.kind, &export.destination) {
        (ExportKind::Store, _) => {
            solve::fetch_layers(root, workshop)?;
            store.add_image(&image.root)?;
            // What is known by its digest alone has no name here either.
            let names = if export.by_digest { &[] } else { names };
            names.iter().try_for_each(|name| store.tag(name, &image.root))?;
            Ok(())
        }
        (ExportKind::OciDirectory, Some(Destination::Path(path))) => {
            Ok(archive::oci_directory(store, &image, &annotations.descriptor, path)?)
        }
        (kind, Some(to)) => {
            let archive = match kind {
                ExportKind::Docker => archive::docker(store, &[image])?,
                _ => archive::oci(store, &[image], &annotations.descriptor)?,
            };
            write_archive(&archive, to, store, growing)
        }
        (_, None) => unreachable!("every form but the store's has a destination"),
    })
}

/// Writes an archive, or what is missing of it.
fn write_archive(
    archive: &Archive,
    to: &Destination,
    store: &Store,
    growing: Option<&GrowingArchive<'_>>,
) -> Result<(), Error> {
    // Whatever is wrong with what is there is no reason not to write it anew; if that is wrong, too, it is told then.
    if let Destination::Path(path) = to
        && let Some((file, present)) = growing.and_then(|growing| growing.finish(archive.blobs()))
        && complete(file, path, archive.size(), |out| Ok(archive.write_rest(store, present, out)?)).is_ok()
    {
        return Ok(());
    }
    to_file(to, archive.size(), |out| Ok(archive.write(store, out)?))
}

/// Pushes the image under one name; each blob's fate is a line of the task.
fn push(
    name: &Reference,
    image: &Assembled,
    limits: &Limits,
    registry: &Registry,
    workshop: &Workshop<'_>,
) -> Result<Pushed, Error> {
    workshop.task(format!("pushing {}", name.familiar()), |task| {
        let tell = |step: Step<'_>| {
            workshop.listener.event(match step {
                Step::Sent { done, total } => Event::TaskProgress { task, done, total: Some(total) },
                Step::Blob(blob) => {
                    let line = format!("{}: {}\n", blob.digest, blob.how);
                    Event::TaskOutput { task, stream: Stream::Stdout, bytes: line.into_bytes() }
                }
            });
        };
        let layers: Vec<Blob> = image.image.layers.iter().map(|layer| layer.blob.clone()).collect();
        cache::push(name, &image.manifest, &layers, limits, &tell, registry, workshop)
    })
}

fn write_files(export: &Export, root: Option<&Arc<Snapshot>>, workshop: &Workshop<'_>) -> Result<(), Error> {
    let files = solve::files(root, workshop)?;
    match (&export.destination, export.kind) {
        (Some(Destination::Path(path)), ExportKind::Local) => {
            workshop.task("writing the files".to_owned(), |_| {
                fs_err::create_dir_all(path)?;
                Ok(solve::write_files(&files, path, workshop)?)
            })
        }
        (Some(to), _) => workshop.task("writing the tar".to_owned(), |_| {
            let options = PackOptions { compression: Compression::None, ..workshop.packing };
            to_file(to, 0, |out| {
                Ok(layer::pack(&files.changes, &options, layer::Hints::default(), out).map(drop)?)
            })
        }),
        (None, _) => unreachable!("files have a destination"),
    }
}
