//! Copies that are packed while their files are read for the first time.
//!
//! The key of a copy is made of the digests of its files, its layer of their bytes. Where a copy like it was never done on
//! this store, no record will answer for it, so both are had from one reading: its layer is packed first, and the key
//! follows from the digests that were learned. When the step is done, its changes and its layer are there. If something
//! is not as it was listed (a file changed meanwhile, or has capabilities), there is no layer, and nobody has
//! noticed.
//!
//! Packed ahead are copies from directories into images of a build that runs no command, which would have to wait.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustix::fs::Stat;

use super::copy::{made_directory, placed};
use super::demand::packed_steps;
use super::error::Cause;
use super::inputs::Chosen;
use super::outgoing::{Told, Unkept};
use super::schedule::Inputs;
use super::{Pack, Snapshot, Workshop};
use crate::context::Reading;
use crate::digest::Digest;
use crate::event::Event;
use crate::graph::{Copy, Graph, Input, Op, Source, StepId};
use crate::layer::{self, Compression, Learn};
use crate::path::RelPath;
use crate::place::Warning;
use crate::tree::Changes;

/// Packs copies of a build ahead.
pub(super) struct Ahead<'a> {
    graph: &'a Graph,
    workshop: &'a Workshop<'a>,
    /// The steps that may be.
    steps: Vec<bool>,
}

/// A step that was begun before its turn.
pub(super) struct Begun {
    pub(super) at: Instant,
    /// What came of it; `None` if it has to be done in its turn.
    pub(super) copied: Option<Copied>,
}

/// A copy that is done.
pub(super) struct Copied {
    pub(super) changes: Changes,
    /// What is to be told of it.
    pub(super) warnings: Vec<Warning>,
    /// The layer of these changes.
    pub(super) layer: Unkept,
}

impl<'a> Ahead<'a> {
    pub(super) fn new(graph: &'a Graph, pack: Pack, workshop: &'a Workshop<'a>) -> Self {
        // What is not compressed has no blocks that tell what it is.
        let is_possible = !matches!(pack, Pack::Nothing)
            && workshop.packing.compression != Compression::None
            && workshop.imports.are_empty()
            && !graph.steps().iter().any(|step| matches!(step.op, Op::Run(_)));
        let steps = if is_possible { packed_steps(graph) } else { vec![false; graph.steps().len()] };
        Self { graph, workshop, steps }
    }

    /// Packs a copy of what was `chosen`, if it is one that is packed ahead. `kind` is what it has in common with copies of
    /// other files: where no such copy was recorded, no record is this one's.
    pub(super) fn pack(&self, id: StepId, kind: Digest, chosen: &[Option<Arc<Chosen>>]) -> Option<Begun> {
        let step = self.graph.step(id);
        let Op::Copy(copy) = &step.op else { return None };
        let is_context = |source: &Source| matches!(source, Source::Path { input: Input::Context(_), .. });
        if !self.steps[id.index()]
            || copy.extract
            || !copy.sources.iter().all(is_context)
            || !self.stands_on_base(copy.parent)
            || !matches!(self.workshop.store.record(&kind), Ok(None))
        {
            return None;
        }
        let readings: Option<Vec<_>> =
            chosen.iter().flatten().map(|chosen| chosen.directory()?.reading(&chosen.selection)).collect();
        let learner = Learner { readings: readings?, digests: Mutex::default() };
        let at = Instant::now();
        self.workshop.listener.event(Event::TaskStarted { task: id.index(), name: step.name.clone() });
        // Whatever is wrong is found again when the step is done, and told then.
        Some(Begun { at, copied: self.write(copy, chosen, learner).ok().flatten() })
    }

    fn write(
        &self,
        copy: &Copy,
        chosen: &[Option<Arc<Chosen>>],
        learner: Learner<'_>,
    ) -> Result<Option<Copied>, Cause> {
        let workshop = self.workshop;
        let inputs = Inputs::on(self.below(copy.parent)?);
        let (changes, warnings, _) = placed(copy, chosen, &inputs, workshop)?;
        let (told, options) = (Told::above(inputs.parent.as_ref(), workshop), &workshop.packing);
        let layer = Unkept::write(workshop.store, told.as_ref(), options, |out| {
            layer::pack_unread(&changes, options, &learner, out)
        })?;
        let Changes { list, origins } = changes;
        let digests = learner.digests.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Some(list) = list.with_digests(digests) else { return Ok(None) };
        let changes = Changes { list, origins };
        debug_assert!(layer::is_layer_of(&layer.packed, &changes, options));
        // Both cores have nothing else to do before the key is known.
        chosen.iter().flatten().try_for_each(|chosen| chosen.read_and_list())?;
        Ok(Some(Copied { changes, warnings, layer }))
    }

    /// Tells whether what a step stands on follows from a base and from directories made on it.
    fn stands_on_base(&self, parent: Option<StepId>) -> bool {
        parent.is_none_or(|parent| match &self.graph.step(parent).op {
            Op::Base(_) => true,
            Op::Mkdir(mkdir) => self.stands_on_base(mkdir.parent),
            Op::Copy(_) | Op::Run(_) => false,
        })
    }

    /// Returns what such a step stands on.
    fn below(&self, parent: Option<StepId>) -> Result<Option<Arc<Snapshot>>, Cause> {
        let Some(parent) = parent else { return Ok(None) };
        match &self.graph.step(parent).op {
            Op::Base(image) => Ok(Snapshot::of_image(image)),
            Op::Mkdir(mkdir) => {
                let inputs = Inputs::on(self.below(mkdir.parent)?);
                let (snapshot, _) = made_directory(mkdir, &inputs, self.workshop)?;
                Ok(Some(Arc::new(snapshot)))
            }
            Op::Copy(_) | Op::Run(_) => unreachable!("what stands on these is not packed ahead"),
        }
    }
}

/// Gives the digests of files to the contexts that they lie in.
struct Learner<'a> {
    readings: Vec<Reading<'a>>,
    /// Those of all files so far, in the order of their paths.
    digests: Mutex<Vec<Digest>>,
}

impl Learner<'_> {
    fn of(&self, directory: &Path) -> &Reading<'_> {
        let reading = self.readings.iter().find(|reading| reading.path() == directory);
        reading.expect("what is packed ahead lies in directories that are read")
    }
}

impl Learn for Learner<'_> {
    fn look(
        &self,
        directory: &Path,
        file: &RelPath,
        opened: BorrowedFd<'_>,
        stat: &Stat,
    ) -> std::io::Result<bool> {
        self.of(directory).look(file, opened, stat)
    }

    fn learn(&self, directory: &Path, file: &RelPath, digest: Digest, as_expected: bool) {
        // Without one of them there is no layer: the key is made of what was found last.
        if self.of(directory).learn(file, digest, as_expected) {
            self.digests.lock().unwrap_or_else(PoisonError::into_inner).push(digest);
        }
    }
}
