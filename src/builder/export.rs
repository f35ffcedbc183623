//! The image goes where it was asked for.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use super::built::{Built, BuiltImage};
use super::image::MadeImage;
use super::{Annotations, Destination, Error, Export, ExportKind, Request, squash};
use crate::archive;
use crate::assemble::{Assembled, Flavor};
use crate::graph::Graph;
use crate::image::Blob;
use crate::layer::{self, Compression, PackOptions};
use crate::reference::Reference;
use crate::solve::{self, Snapshot, Solution, Workshop};

/// Assembles the image and writes it to every place that the request names.
pub(super) fn export(
    request: &Request,
    graph: &Graph,
    solution: &Solution,
    workshop: &Workshop<'_>,
) -> Result<Built, Error> {
    let mut built = Built::default();
    for (output, root) in graph.outputs.iter().zip(&solution.roots) {
        let made = MadeImage { output, root: root.clone(), merge: None };
        let squashed = match request.squash && request.exports.iter().any(|export| export.kind.is_image()) {
            true => squash::squash(&made, graph, solution, workshop)?,
            false => None,
        };
        let made = squashed.unwrap_or(made);
        for export in &request.exports {
            if export.kind.is_image() {
                let recompressed = match &made.root {
                    Some(root) if export.force_compression => Some(solve::recompress(root, workshop)?),
                    Some(_) | None => made.root.clone(),
                };
                let made = MadeImage { output, root: recompressed, merge: made.merge.clone() };
                let image =
                    made.assemble(solution, workshop, export.flavor(request), &request.annotations)?;
                built.image =
                    Some(BuiltImage { manifest: image.manifest.clone(), config: image.config.clone() });
                let names: Vec<Reference> = request.tags.iter().chain(&export.names).cloned().collect();
                write_image(export, &image, made.root.as_ref(), &names, &request.annotations, workshop)?;
            } else {
                write_files(export, root.as_ref(), workshop)?;
            }
        }
    }
    Ok(built)
}

impl ExportKind {
    /// Tells whether the form has layers, and not just files.
    pub const fn is_image(self) -> bool {
        match self {
            Self::Store | Self::Oci | Self::OciDirectory | Self::Docker => true,
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
        let compression = self.exports.iter().find_map(|export| export.compression);
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
) -> Result<(), Error> {
    let store = workshop.store;
    let manifest: &Blob = &image.manifest;
    if export.kind != ExportKind::Store {
        // Only an archive needs the bytes of the base.
        solve::fetch_layers(root, workshop)?;
    }
    let name = match export.kind {
        ExportKind::Store => "storing the image",
        ExportKind::Oci | ExportKind::OciDirectory => "writing the OCI layout",
        ExportKind::Docker | ExportKind::Local | ExportKind::Tar => "writing the docker archive",
    };
    workshop.task(name.to_owned(), |_| match (export.kind, &export.destination) {
        (ExportKind::Store, _) => {
            solve::fetch_layers(root, workshop)?;
            names.iter().try_for_each(|name| store.tag(name, manifest))?;
            Ok(())
        }
        (ExportKind::OciDirectory, Some(Destination::Path(path))) => {
            Ok(archive::oci_directory(store, manifest, names, &annotations.descriptor, path)?)
        }
        (ExportKind::Docker, Some(to)) => {
            to_file(to, |out| Ok(archive::docker(store, manifest, names, out)?))
        }
        (_, Some(to)) => {
            to_file(to, |out| Ok(archive::oci(store, manifest, names, &annotations.descriptor, out)?))
        }
        (_, None) => unreachable!("every form but the store's has a destination"),
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
            to_file(to, |out| {
                Ok(layer::pack(&files.changes, &options, layer::Hints::default(), out).map(drop)?)
            })
        }),
        (None, _) => unreachable!("files have a destination"),
    }
}

/// Writes to a new file that appears whole or not at all, or to standard output.
fn to_file(
    destination: &Destination,
    write: impl FnOnce(&mut BufWriter<&File>) -> Result<(), Error>,
) -> Result<(), Error> {
    let whole = |file: &File| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write(&mut out)?;
        Ok(out.flush()?)
    };
    let path = match destination {
        Destination::Path(path) => path,
        // As a plain file, so that the kernel can copy to it.
        Destination::Stdout => return whole(&File::from(std::io::stdout().as_fd().try_clone_to_owned()?)),
    };
    // Devices and pipes are written as they are.
    if path.exists() && !path.is_file() {
        return whole(fs_err::OpenOptions::new().write(true).open(path)?.file());
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = tempfile::Builder::new()
        .prefix(".kiln-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .tempfile_in(directory)?;
    whole(file.as_file())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
