//! Writing caches: what the build has done and found, in a form that other stores can ask.

use std::collections::{BTreeMap, BTreeSet};

use super::super::bases::chain;
use super::super::export::Times;
use super::super::{Error, Request};
use super::{CachePlace, CacheTarget};
use crate::archive::{self, Saved};
use crate::assemble;
use crate::cache::{ARTIFACT, DOCUMENT, Document, Exported, ExportedLayer};
use crate::event::{Event, TaskId};
use crate::graph::{Graph, Op, StepId};
use crate::image::Blob;
use crate::oci;
use crate::registry::{Limits, Registry, Step};
use crate::solve::{self, Kept, Solution, Workshop};

/// Returns the document that stands in the image's config, if that was asked for: the records of the image's steps.
pub(in super::super) fn inline(
    request: &Request,
    graph: &Graph,
    solution: &Solution,
    workshop: &Workshop<'_>,
) -> Result<Option<Document>, Error> {
    if !request.cache_to.iter().any(|target| target.place == CachePlace::Inline) {
        return Ok(None);
    }
    let mut document = Document::default();
    for kept in solve::kept(graph, solution, workshop, false)? {
        if let Some(clamp_mtime) = kept.layer.clamp_mtime {
            let layer = ExportedLayer { clamp_mtime: Some(clamp_mtime), ..ExportedLayer::default() };
            document.layers.insert(kept.layer.diff_id, layer);
        }
        document.records.push(exported(&kept));
    }
    Ok(Some(document))
}

/// Writes the cache to every place that the request names beside the image.
pub(in super::super) fn export(
    request: &Request,
    graph: &Graph,
    solution: &Solution,
    times: &Times,
    workshop: &Workshop<'_>,
    registry: &Registry,
) -> Result<(), Error> {
    for target in request.cache_to.iter().filter(|target| target.place != CachePlace::Inline) {
        let place = target.place.shown();
        let write = |task| {
            let (root, blobs) = artifact(target, graph, solution, times, workshop)?;
            write(target, &root, blobs, task, workshop, registry)
        };
        match workshop.task(format!("exporting the cache to {place}"), write) {
            Err(error) if error.broken_cache().is_none() && target.ignore_error => {
                let notice = format!("the cache was not exported to {place}: {}", chain(&error));
                workshop.listener.event(Event::Notice(notice));
            }
            Err(source) => return Err(Error::CacheExport { place, source: Box::new(source) }),
            Ok(()) => {}
        }
    }
    Ok(())
}

impl CachePlace {
    fn shown(&self) -> String {
        match self {
            Self::Registry(reference) => reference.familiar(),
            Self::Local { path, .. } => path.display().to_string(),
            Self::Inline => "the image".to_owned(),
        }
    }
}

fn write(
    target: &CacheTarget,
    root: &Blob,
    blobs: Vec<Blob>,
    task: TaskId,
    workshop: &Workshop<'_>,
    registry: &Registry,
) -> Result<(), Error> {
    match &target.place {
        CachePlace::Local { path, tag } => {
            let is_there = |blob: &Blob| {
                let file = path.join(archive::blob_file(&blob.digest));
                fs_err::metadata(file).is_ok_and(|metadata| metadata.len() == blob.size)
            };
            let missing: Vec<Blob> = blobs.into_iter().filter(|blob| !is_there(blob)).collect();
            solve::fetch_blobs(&missing, workshop)?;
            let saved = Saved { root: root.clone(), names: Vec::new() };
            let annotations = BTreeMap::from([(oci::REF_NAME.to_owned(), tag.clone())]);
            Ok(archive::oci_directory(workshop.store, &saved, &annotations, path)?)
        }
        CachePlace::Registry(name) => {
            let tell = |step: Step<'_>| {
                if let Step::Sent { done, total } = step {
                    workshop.listener.event(Event::TaskProgress { task, done, total: Some(total) });
                }
            };
            super::push(name, root, &blobs, &Limits::default(), &tell, registry, workshop).map(drop)
        }
        CachePlace::Inline => Ok(()),
    }
}

/// Makes the documents of a cache; returns its manifest and the blobs that this names.
fn artifact(
    target: &CacheTarget,
    graph: &Graph,
    solution: &Solution,
    times: &Times,
    workshop: &Workshop<'_>,
) -> Result<(Blob, Vec<Blob>), Error> {
    let mut document = Document { images: times.clone(), ..Document::default() };
    let mut blobs = Vec::new();
    for kept in solve::kept(graph, solution, workshop, target.everything)? {
        let entries = solve::kept_entries(kept.layer.diff_id, workshop)?;
        let layer = document.layers.entry(kept.layer.diff_id).or_default();
        *layer = ExportedLayer {
            blob: Some(kept.layer.blob.clone()),
            entries: entries.clone(),
            clamp_mtime: kept.layer.clamp_mtime,
        };
        blobs.extend([Some(kept.layer.blob.clone()), entries].into_iter().flatten());
        document.records.push(exported(&kept));
    }
    for base in bases(graph, target.everything) {
        let Op::Base(image) = &graph.step(base).op else { continue };
        for layer in &image.layers {
            if document.layers.contains_key(&layer.diff_id) {
                continue;
            }
            let Some(entries) = solve::kept_entries(layer.diff_id, workshop)? else { continue };
            blobs.push(entries.clone());
            let layer_document = ExportedLayer { entries: Some(entries), ..ExportedLayer::default() };
            document.layers.insert(layer.diff_id, layer_document);
        }
    }
    let mut seen = BTreeSet::new();
    blobs.retain(|blob| seen.insert(blob.digest));
    let bytes = document.to_json().to_string().into_bytes();
    let digest = workshop.store.put(&bytes)?;
    let config = Blob { media_type: DOCUMENT.to_owned(), digest, size: bytes.len() as u64 };
    let root = assemble::artifact(workshop.store, ARTIFACT, &config, &blobs)?;
    Ok((root, blobs))
}

/// Returns the steps that are bases: those of the images, or all.
fn bases(graph: &Graph, all: bool) -> BTreeSet<StepId> {
    if all {
        return graph.ids().collect();
    }
    let root = |id| std::iter::successors(Some(id), |id: &StepId| graph.step(*id).op.parent()).last();
    graph.outputs.iter().filter_map(|output| root(output.root?)).collect()
}

fn exported(kept: &Kept) -> Exported {
    Exported {
        definition: kept.definition,
        result: kept.result,
        layer: kept.layer.diff_id,
        created: kept.created,
    }
}
