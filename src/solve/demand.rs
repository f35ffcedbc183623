//! Which steps must be done, and which a record answers for.

use std::sync::Arc;

use super::imports::Place;
use super::key::Definition;
use super::pack;
use super::unpack::{self, Unpacked};
use super::{Snapshot, Workshop};
use crate::cache::{Key, PackedLayer, Record};
use crate::digest::Digest;
use crate::graph::{Graph, Op, StepId};

/// What is to be done about a step.
#[derive(Debug, Clone)]
pub(super) enum Demand {
    /// Nothing: no output needs it.
    None,
    /// An earlier build did it; its result is needed all the same.
    Recorded(Box<Found>),
    /// It must be done. `replay` if it was done before and only its bytes are elsewhere.
    Perform { replay: bool },
}

/// A record whose bytes are there, or can be had.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) record: Record,
    /// The unpacked directory, for a result that was never packed.
    pub(super) unpacked: Option<Unpacked>,
    /// Where the layer's blob can be had, if the store lacks it.
    pub(super) place: Option<Arc<Place>>,
}

/// Decides for every step, from the outputs backwards.
pub(super) fn plan(graph: &Graph, definitions: &[Definition], workshop: &Workshop<'_>) -> Vec<Demand> {
    let mut plan = vec![Demand::None; definitions.len()];
    let mut wanted: Vec<StepId> = graph.outputs.iter().filter_map(|output| output.root).collect();
    let anew = anew(graph);
    while let Some(id) = wanted.pop() {
        if !matches!(plan[id.index()], Demand::None) {
            continue;
        }
        let step = graph.step(id);
        let demand = match lookup(workshop, definitions[id.index()].key, anew[id.index()]) {
            _ if matches!(step.op, Op::Base(_)) => Demand::Perform { replay: false },
            Some(Answer::Bytes(found)) => Demand::Recorded(found),
            Some(Answer::Replay) => Demand::Perform { replay: true },
            None => Demand::Perform { replay: false },
        };
        // A recorded result still stands on its parent; what it was made from is not asked for.
        match demand {
            Demand::Perform { .. } => wanted.extend(step.op.inputs()),
            Demand::Recorded(_) | Demand::None => wanted.extend(step.op.parent()),
        }
        plan[id.index()] = demand;
    }
    plan
}

/// Tells of each step whether a definition key may not answer for it: because the cache must not, or because it
/// stands on a step for which the cache must not. What that one gives this time may hit by its content.
fn anew(graph: &Graph) -> Vec<bool> {
    let mut anew = vec![false; graph.steps().len()];
    // A step names only steps before it.
    for id in graph.ids() {
        let step = graph.step(id);
        anew[id.index()] = step.ignore_cache || step.op.inputs().into_iter().any(|input| anew[input.index()]);
    }
    anew
}

/// Tells of each step whether it makes a layer of an image.
pub(super) fn packed_steps(graph: &Graph) -> Vec<bool> {
    let mut packed = vec![false; graph.steps().len()];
    for output in &graph.outputs {
        let mut next = output.root;
        while let Some(id) = next {
            packed[id.index()] = true;
            next = graph.step(id).op.parent();
        }
    }
    packed
}

impl Found {
    /// Tells whether the result is packed as this build needs it.
    fn is_in_form(&self, workshop: &Workshop<'_>) -> bool {
        self.record.layer.as_ref().is_some_and(|layer| pack::is_in_form(layer, &workshop.packing))
    }

    /// Returns the result, on top of what the step changed.
    pub(super) fn snapshot(&self, below: Option<Arc<Snapshot>>, workshop: &Workshop<'_>) -> Snapshot {
        Snapshot::recorded(below, self, self.is_in_form(workshop))
    }
}

/// What the cache says.
pub(super) enum Answer {
    /// The result's bytes are in the store, or known to be in a cache.
    Bytes(Box<Found>),
    /// The same inputs were there before, and the result can be made of them again without running anything.
    Replay,
}

/// Asks the store's cache, then the others; a record whose bytes are nowhere is a miss.
pub(super) fn lookup(workshop: &Workshop<'_>, key: Key, ignore_cache: bool) -> Option<Answer> {
    if ignore_cache {
        return None;
    }
    let recorded = |name: &Digest| own(&workshop.store.record(name).ok()??, workshop);
    // What was packed with its own times can be packed with others.
    let own = recorded(&workshop.record_name(&key)).or_else(|| recorded(&key.0));
    if let Some(Answer::Bytes(_)) = own {
        return own;
    }
    let as_rewritten = |layer: &PackedLayer| {
        layer.clamp_mtime.is_none() || layer.clamp_mtime == workshop.packing.clamp_mtime
    };
    // What can be made again has to be made first; what another cache holds has not.
    match workshop.imports.find(&key) {
        Some((record, place)) if record.layer.as_ref().is_none_or(as_rewritten) => {
            Some(Answer::Bytes(Box::new(Found { record, unpacked: None, place: Some(place) })))
        }
        Some(_) | None => own,
    }
}

/// Says what a record of the store is good for.
fn own(bytes: &[u8], workshop: &Workshop<'_>) -> Option<Answer> {
    let record: Record = serde_json::from_slice(bytes).ok()?;
    let Some(layer) = &record.layer else {
        let Some(name) = &record.directory else { return Some(Answer::Replay) };
        return recall(name, &record, workshop);
    };
    if workshop.store.contains(&layer.blob) {
        return Some(Answer::Bytes(Box::new(Found { record, unpacked: None, place: None })));
    }
    if let Some(found) = record.directory.as_ref().and_then(|name| recall(name, &record, workshop)) {
        return Some(found);
    }
    let place = workshop.imports.place_of(&layer.blob.digest)?;
    Some(Answer::Bytes(Box::new(Found { record, unpacked: None, place: Some(place) })))
}

/// Returns the answer of a record whose bytes lie in a directory, if that is still there.
fn recall(name: &str, record: &Record, workshop: &Workshop<'_>) -> Option<Answer> {
    let unpacked = unpack::recall(workshop, name)?;
    let record = Record { layer: None, ..record.clone() };
    Some(Answer::Bytes(Box::new(Found { record, unpacked: Some(unpacked), place: None })))
}
