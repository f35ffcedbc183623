//! What the last build of a context did with each step, and why: written by every build, read by `kiln why`.
//!
//! A step that the cache did not answer for is compared with the *nearest* step of the build before: the one of
//! the same name, else of the same instruction, else at the same place of its stage. What differs are the named
//! parts of its key; for files of a context also which files, as far as their listing is still in the store.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::inputs::Chosen;
use super::key::Definition;
use super::listing::Listing;
use super::{Workshop, identity};
use crate::cache::{NamedInput, differing};
use crate::digest::Digest;
use crate::event::Outcome;
use crate::graph::{Graph, Op, Source, StepId};
use crate::store::Store;
use crate::time::Timestamp;

/// What the last build of a context did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// When the build began.
    pub made: Timestamp,
    /// The steps in the order of the graph.
    pub steps: Vec<Entry>,
}

/// One step of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The step's name, for example `[build 2/4] RUN make`.
    pub name: String,
    /// What became of it.
    pub fate: Fate,
    /// Why the cache did not answer, for a step that was done or failed.
    pub reason: Option<Reason>,
    /// The parts of its key.
    inputs: Vec<NamedInput>,
    /// For each part that is made of a context's files, the digest by which their listing is found.
    listings: BTreeMap<String, Digest>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// It was not reached: something failed before.
    NotReached,
    /// The cache answered, or nobody needed it.
    Cached,
    /// It was done.
    Done,
    /// It failed.
    Failed,
}

/// Why the cache did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The user asked for it: `--no-cache`.
    Asked,
    /// No earlier build had such a step.
    New,
    /// These parts differ from the nearest earlier step.
    Changed {
        /// The name of that step.
        nearest: String,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// Nothing differs: the earlier result is gone from the store, or that step failed.
    Gone,
}

/// A part of a key that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The part, for example `the files of src/`.
    pub name: String,
    /// How many files differ; 0 where that is not known.
    pub count: usize,
    /// The first of them, with `+` for new ones, `-` for those that are gone, `~` for others.
    pub files: Vec<String>,
}

/// Collects what becomes of steps while they are done.
pub(super) struct Fates(Mutex<Vec<Fate>>);

impl Fates {
    /// Starts with nothing reached.
    pub(super) fn new(graph: &Graph) -> Self {
        Self(Mutex::new(vec![Fate::NotReached; graph.steps().len()]))
    }

    /// Notes the end of a step.
    pub(super) fn note(&self, id: StepId, outcome: &Outcome) {
        let fate = match outcome {
            Outcome::Done => Fate::Done,
            Outcome::Cached => Fate::Cached,
            Outcome::Failed(_) => Fate::Failed,
            Outcome::Cancelled => return,
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[id.index()] = fate;
    }
}

/// A journal but for what becomes of the steps.
pub(super) struct Draft(Vec<Entry>);

impl Draft {
    /// Compares the steps that are `demanded` with those of the build before, and keeps the listings that the next build is
    /// compared with. With many files that takes a while; it can be done beside the steps.
    pub(super) fn new(
        graph: &Graph,
        definitions: &[Definition],
        demanded: impl Fn(StepId) -> bool,
        workshop: &Workshop<'_>,
    ) -> Self {
        let before = read(workshop.store, &workshop.scope).map_or_else(Vec::new, |journal| journal.steps);
        let entries = graph.ids().map(|id| {
            let (step, definition) = (graph.step(id), &definitions[id.index()]);
            let files = context_files(&step.op, definition);
            let mut entry = Entry {
                name: step.name.clone(),
                fate: Fate::NotReached,
                reason: None,
                inputs: definition.inputs.clone(),
                listings: files.iter().map(|(name, chosen)| (name.clone(), chosen.digest())).collect(),
            };
            if demanded(id) {
                let listings =
                    files.into_iter().map(|(name, chosen)| (name, chosen.take_listing())).collect();
                entry.reason = Some(match step.ignore_cache {
                    true => Reason::Asked,
                    false => reason(&entry, &before, &listings, workshop.store),
                });
                for (name, listing) in &listings {
                    let key = listing_key(&entry.listings[name]);
                    let _ = workshop.store.put_record(&key, listing.as_bytes());
                }
            }
            entry
        });
        Self(entries.collect())
    }

    /// Writes the journal. It only informs: where it cannot be written there is none.
    pub(super) fn write(self, fates: &Fates, workshop: &Workshop<'_>) {
        let fates = fates.0.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = self.0.into_iter().zip(fates.iter()).map(|(entry, &fate)| {
            let was_done = matches!(fate, Fate::Done | Fate::Failed);
            Entry { fate, reason: entry.reason.filter(|_| was_done), ..entry }
        });
        let journal = Journal { made: workshop.now, steps: steps.collect() };
        if let Ok(bytes) = serde_json::to_vec(&journal) {
            let _ = workshop.store.put_record(&key(&workshop.scope), &bytes);
        }
    }
}

/// Reads the journal of the last build that was called `scope`.
pub fn read(store: &Store, scope: &str) -> Option<Journal> {
    let bytes = store.record(&key(scope)).ok()??;
    serde_json::from_slice(&bytes).ok()
}

fn key(scope: &str) -> Digest {
    identity(scope, " journal")
}

fn listing_key(selection: &Digest) -> Digest {
    Digest::of(format!("listing 4 {}", selection.hex()))
}

/// Tells why the step of `entry` has to be done; `listings` are those of its files, by the part of its key.
fn reason(entry: &Entry, before: &[Entry], listings: &BTreeMap<String, Listing>, store: &Store) -> Reason {
    let Some(nearest) = nearest(&entry.name, before) else { return Reason::New };
    let difference = |name: &str| {
        let old = nearest.listings.get(name).and_then(|digest| store.record(&listing_key(digest)).ok()?);
        let (count, files) = match (old, listings.get(name)) {
            (Some(old), Some(new)) => new.changed(&old),
            _ => (0, Vec::new()),
        };
        Difference { name: name.to_owned(), count, files }
    };
    let differences: Vec<Difference> =
        differing(&nearest.inputs, &entry.inputs).into_iter().map(difference).collect();
    match differences.is_empty() {
        true => Reason::Gone,
        false => Reason::Changed { nearest: nearest.name.clone(), differences },
    }
}

/// Finds the step of an earlier build that is most like the one called `name`.
fn nearest<'a>(name: &str, before: &'a [Entry]) -> Option<&'a Entry> {
    let find = |same: &dyn Fn(&str) -> bool| before.iter().find(|entry| same(&entry.name));
    let (place, instruction) = split(name);
    let verb = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    let stage = |place: &str| place.rsplit_once(' ').map_or("", |(stage, _)| stage).to_owned();
    let position = |place: &str| place.split('/').next().unwrap_or_default().to_owned();
    find(&|other| other == name)
        .or_else(|| find(&|other| split(other).1 == instruction && stage(split(other).0) == stage(place)))
        .or_else(|| find(&|other| split(other).1 == instruction))
        .or_else(|| {
            find(&|other| {
                let (other_place, other) = split(other);
                position(other_place) == position(place) && verb(other) == verb(instruction)
            })
        })
}

/// Splits `[build 2/4] RUN make` into its place and the instruction.
fn split(name: &str) -> (&str, &str) {
    name.strip_prefix('[').and_then(|rest| rest.split_once("] ")).unwrap_or(("", name))
}

/// Returns what a step selects from contexts, by the name of the part of its key.
fn context_files<'a>(op: &Op, definition: &'a Definition) -> BTreeMap<String, &'a Chosen> {
    let Op::Copy(copy) = op else { return BTreeMap::new() };
    let sources = copy.sources.iter().zip(&definition.chosen);
    let files = sources.filter_map(|(source, chosen)| match source {
        Source::Path { path, .. } => Some((format!("the files of {path}"), &**chosen.as_ref()?)),
        _ => None,
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            fate: Fate::Done,
            reason: None,
            inputs: Vec::new(),
            listings: BTreeMap::new(),
        }
    }

    #[test]
    fn the_nearest_step() {
        let before: Vec<Entry> =
            ["[1/3] COPY a /", "[2/3] RUN make", "[3/3] RUN test", "[tool 1/1] RUN make"].map(entry).into();
        for (name, expected) in [
            ("[2/3] RUN make", Some("[2/3] RUN make")),
            ("[3/4] RUN make", Some("[2/3] RUN make")),
            ("[tool 2/2] RUN make", Some("[tool 1/1] RUN make")),
            ("[2/3] RUN make all", Some("[2/3] RUN make")),
            ("[1/3] COPY b /", Some("[1/3] COPY a /")),
            ("[1/3] WORKDIR /x", None),
        ] {
            assert_eq!(nearest(name, &before).map(|entry| entry.name.as_str()), expected, "{name}");
        }
    }
}
