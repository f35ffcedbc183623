//! Doing a graph: order, threads, cache; what came of it.
//!
//! A step is *demanded* when an output needs its result and no record answers for it; the inputs of a
//! demanded step are demanded in turn. So a fully cached build reads one record per step of the images and
//! touches nothing of the stages behind them. The keys need the digests of what steps read from contexts; a copy that surely has no
//! record is packed while they are found (`ahead`). Demanded steps run as soon as their inputs are there, up to
//! `jobs` at a time; the layers of the images are packed as soon as their step is done, while later steps run. What a
//! command writes is compressed while it still runs (`prepare`).
//!
//! The room has never heard of Dockerfiles or of registries: it gets a [`Graph`], an injected
//! `fetch` for the layers of bases and caches, [`Imports`] of other caches' records, and [`Remotes`] for the files of
//! other machines; whoever wants layers before the solution is there hears of each as [`Ready`]. [`kept`] says what the cache holds of a solved graph, for those who take it elsewhere.

mod ahead;
mod bytes;
mod copy;
mod demand;
mod error;
mod extract;
mod files;
mod imports;
mod inputs;
pub mod journal;
mod kept;
mod key;
mod listing;
mod missing;
mod outgoing;
mod output;
mod pack;
mod prepare;
mod read_ahead;
mod recompress;
mod remote;
mod run;
mod schedule;
mod snapshot;
mod squash;
mod ssh;
mod unpack;

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cache::Key;
use crate::digest::Digest;
use crate::event::{Event, Listener, Outcome, TaskId};
use crate::graph::{Graph, StepId};
use crate::image::{Blob, Layer};
use crate::layer::PackOptions;
use crate::sandbox::{Cancel, Isolation};
use crate::secret::Secrets;
use crate::store::Store;
use crate::time::Timestamp;

use ahead::Ahead;
use imports::Place;

pub use bytes::unpacked_size;
pub use error::{Cause, Error};
pub use extract::unpack_archive;
pub use files::{Files, fetch_blobs, fetch_layers, files, write_files};
pub use imports::{Import, Imports, Origin};
pub use inputs::{Context, Contexts};
pub use kept::{Kept, kept, kept_entries};
pub use recompress::recompress;
pub use remote::{Progress, Remotes};
pub use snapshot::Snapshot;
pub use squash::squash;
pub use unpack::States;

/// Brings blobs from where they are into the store; said why not in the error.
pub type Fetch<'a> =
    dyn Fn(&Origin, &[Blob], &(dyn Fn(u64, u64) + Sync)) -> Result<(), FetchError> + Sync + 'a;

/// Why blobs could not be fetched.
pub type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// What steps are done with: shared by all of them, and not changed by any.
pub struct Workshop<'a> {
    /// Blobs, records, trees.
    pub store: &'a Store,
    /// The build contexts that steps read.
    pub contexts: &'a Contexts,
    /// Brings the blobs of bases and caches.
    pub fetch: &'a Fetch<'a>,
    /// Caches beside the store's own.
    pub imports: Imports,
    /// What steps may see and nothing may keep.
    pub secrets: &'a Secrets,
    /// The sockets of ssh agents, by id.
    pub agents: &'a BTreeMap<String, PathBuf>,
    /// Brings files of other machines.
    pub remotes: &'a dyn Remotes,
    /// How commands are isolated.
    pub isolation: &'a Isolation,
    /// How many steps are done at the same time.
    pub jobs: usize,
    /// When steps are done, as records say.
    pub now: Timestamp,
    /// `SOURCE_DATE_EPOCH`: the latest time that images say.
    pub epoch: Option<Timestamp>,
    /// How layers are packed.
    pub packing: PackOptions,
    /// What makes steps of this build and those of another the same step, to say what changed: the name of the build.
    pub scope: String,
    /// Hears of progress.
    pub listener: &'a dyn Listener,
    /// Hears of layers while they are packed.
    pub on_packing: Option<&'a OnPacking<'a>>,
    /// Ends running commands.
    pub cancel: &'a Cancel,
    /// The number of the next task that is no step.
    pub next_task: AtomicUsize,
    /// Directories that pass from step to step where there is no overlayfs.
    pub states: States,
}

/// Does `work` as a task that the user sees, with the next number.
pub(crate) fn task<T, E: std::fmt::Display>(
    listener: &dyn Listener,
    next_task: &AtomicUsize,
    name: String,
    work: impl FnOnce(TaskId) -> Result<T, E>,
) -> Result<T, E> {
    let task = next_task.fetch_add(1, Ordering::Relaxed);
    let started = std::time::Instant::now();
    listener.event(Event::TaskStarted { task, name });
    let result = work(task);
    let outcome = match &result {
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Failed(error.to_string()),
    };
    listener.event(Event::TaskFinished { task, outcome, elapsed: started.elapsed() });
    result
}

impl Workshop<'_> {
    /// Does `work` as a task of its own that the user sees.
    pub(crate) fn task<T, E: std::fmt::Display>(
        &self,
        name: String,
        work: impl FnOnce(TaskId) -> Result<T, E>,
    ) -> Result<T, E> {
        task(self.listener, &self.next_task, name, work)
    }
}

impl Workshop<'_> {
    /// Returns the time of modification of what has none of its own: directories on the way to a destination.
    fn new_mtime(&self) -> Timestamp {
        self.epoch.map_or(self.now, |epoch| epoch.min(self.now))
    }

    /// Returns the name in the store of a step's record. A layer with rewritten times does for builds that rewrite them
    /// alike: nobody could give it the old ones back.
    fn record_name(&self, key: &Key) -> Digest {
        match self.packing.clamp_mtime {
            None => key.0,
            Some(Timestamp(latest)) => Digest::of(format!("times up to {latest} {}", key.0)),
        }
    }

    /// Fetches blobs, those of one place at once.
    fn pull_all<P: Deref<Target = Place> + Ord>(
        &self,
        blobs: impl IntoIterator<Item = Result<(P, Blob), Cause>>,
    ) -> Result<(), Cause> {
        let mut places: BTreeMap<P, Vec<Blob>> = BTreeMap::new();
        for blob in blobs {
            let (place, blob) = blob?;
            places.entry(place).or_default().push(blob);
        }
        places.into_iter().try_for_each(|(place, blobs)| self.pull(&place, &blobs))
    }

    /// Fetches blobs of a base or a cache as a task of its own.
    fn pull(&self, from: &Place, blobs: &[Blob]) -> Result<(), Cause> {
        let name = from.origin.shown();
        self.task(format!("pulling {name}"), |task| {
            let progress = |done, total| {
                self.listener.event(Event::TaskProgress { task, done, total: Some(total) });
            };
            (self.fetch)(&from.origin, blobs, &progress).map_err(|source| match from.cache {
                None => Cause::Fetch { reference: name.clone(), source },
                Some(cache) => Cause::Import { cache, name: name.clone(), source },
            })
        })
    }
}

/// What came of a graph.
pub struct Solution {
    /// The snapshot of each output's root, in the order of the outputs; `None` for an empty root.
    pub roots: Vec<Option<Arc<Snapshot>>>,
    /// The snapshot of each step that an output stands on, by its index.
    snapshots: Vec<Option<Arc<Snapshot>>>,
    /// The definition key of each step.
    definitions: Vec<Key>,
}

impl Solution {
    /// Returns when the step was done, maybe by an earlier build.
    ///
    /// # Panics
    /// If no output stands on the step.
    pub fn created(&self, step: StepId) -> Timestamp {
        let snapshot = self.snapshots[step.index()].as_ref();
        snapshot.expect("history names only steps that the output stands on").created()
    }
}

/// Which results become layers, as soon as they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pack {
    /// None: only files are asked for.
    Nothing,
    /// Those of the images.
    Images,
    /// Those of all steps that are done: for a cache of everything.
    Everything,
}

/// A layer in the form in which images name it, while other steps may still run.
#[derive(Debug)]
pub struct Ready<'a> {
    /// The layer's blob. A step's is in the store; a base's may not be.
    pub blob: &'a Blob,
    /// What will name it.
    pub of: ReadyOf,
}

/// What a layer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadyOf {
    /// An image that stands on it.
    Base,
    /// A step of an image.
    Image,
    /// A step behind the images, which only a cache holds.
    Cache,
}

/// Hears of layers as soon as they are ready; nothing if no step has to be done.
pub type OnReady<'a> = dyn Fn(Ready<'_>) + Sync + 'a;

/// What is said of the layers of images while they are packed, one at a time.
#[derive(Debug)]
pub enum Packing {
    /// An image begins with these, which are as it names them; they may not be in the store.
    Known(Vec<Blob>),
    /// One that will stand on these is written to this file, whose position is the writer's. What was begun before and did
    /// not end is given up.
    Begun {
        /// The layers below it, base first.
        below: Vec<Blob>,
        /// The file.
        file: File,
    },
    /// So many of its bytes are in the file.
    Written(u64),
    /// It became this blob.
    Ended(Blob),
}

/// Hears of layers while they are packed.
pub type OnPacking<'a> = dyn Fn(Packing) + Sync + 'a;

/// Does what the outputs of `graph` need, and packs what `pack` says.
///
/// # Errors
/// The first failure, after everything that was running has ended.
pub fn solve(
    graph: &Graph,
    workshop: &Workshop<'_>,
    pack: Pack,
    on_ready: &OnReady<'_>,
) -> Result<Solution, Error> {
    let (definitions, begun) = key::definitions(graph, workshop, &Ahead::new(graph, pack, workshop))?;
    let plan = demand::plan(graph, &definitions, workshop);
    schedule::run(graph, &definitions, plan, begun, workshop, pack, on_ready)
}

/// Returns the layers of a packed snapshot, base first.
pub fn layers(root: Option<&Arc<Snapshot>>) -> Vec<Layer> {
    root.map(|root| root.stack().iter().map(|snapshot| snapshot.layer()).collect()).unwrap_or_default()
}

/// Names a step across builds, to find what it was made of the last time.
fn identity(scope: &str, name: &str) -> Digest {
    Digest::of(format!("step {} {scope}{name}", scope.len()))
}
