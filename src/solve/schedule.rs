//! The order of work: one thread owns the state, scoped threads do steps and send messages.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use super::ahead::Begun;
use super::demand::{Answer, Demand, lookup, packed_steps};
use super::error::{Cause, Error};
use super::journal::{Draft, Fates};
use super::key::{self, Definition};
use super::outgoing::Told;
use super::pack::{self, Beforehand, Early};
use super::snapshot::blobs;
use super::{
    OnReady, Pack, Packing, Ready, ReadyOf, Snapshot, Solution, Workshop, copy, identity, run, unpack,
};
use crate::cache::{Key, Record, differing};
use crate::event::{Event, Outcome};
use crate::graph::{Graph, Op, StepId};
use crate::sandbox::Overlay;

/// A step's result: `None` for an empty root file system.
type Made = Option<Arc<Snapshot>>;

enum Message {
    Done(StepId, Result<(Made, Option<Pending>), Cause>),
    Packed(StepId, Result<(), Cause>),
}

/// A layer to pack and record.
struct Pending {
    snapshot: Arc<Snapshot>,
    result_key: Option<Key>,
    directory: Option<String>,
    early: Early,
}

/// Does every demanded step, packs what images need, and waits for all of it.
pub(super) fn run(
    graph: &Graph,
    definitions: &[Definition],
    plan: Vec<Demand>,
    begun: Vec<Option<Begun>>,
    workshop: &Workshop<'_>,
    pack: Pack,
    on_ready: &OnReady<'_>,
) -> Result<Solution, Error> {
    let fates = Fates::new(graph);
    let in_image = packed_steps(graph);
    let packed = match pack {
        Pack::Nothing => vec![false; graph.steps().len()],
        Pack::Images => in_image.clone(),
        Pack::Everything => vec![true; graph.steps().len()],
    };
    let is_demanded = |id: StepId| {
        matches!(plan[id.index()], Demand::Perform { .. }) && !matches!(graph.step(id).op, Op::Base(_))
    };
    let demanded: BTreeSet<StepId> = graph.ids().filter(|id| is_demanded(*id)).collect();
    let on_ready = (!demanded.is_empty()).then_some(on_ready);
    let shared = Shared { graph, definitions, packed, in_image, on_ready, workshop, fates: &fates };
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        // What the next builds will ask for is known by now: it is kept while the steps are done, and if one fails.
        scope.spawn(|| workshop.contexts.remember());
        let notes = scope.spawn(|| Draft::new(graph, definitions, |id| demanded.contains(&id), workshop));
        let mut state = State::new(graph, plan, begun);
        state.announce_skipped(&shared);
        let mut failure = None;
        loop {
            while failure.is_none() && state.running < workshop.jobs {
                let Some(id) = state.ready.pop_front() else { break };
                if let Some(made) = state.without_work(&shared, id) {
                    state.finish(id, made);
                    continue;
                }
                let inputs = Inputs::gather(graph, &state.made, id);
                let replay = matches!(state.plan[id.index()], Demand::Perform { replay: true });
                let begun = state.begun[id.index()].take();
                let (shared, sender) = (&shared, sender.clone());
                state.running += 1;
                scope.spawn(move || {
                    send(&sender, Message::Done(id, shared.perform(id, &inputs, replay, begun)));
                });
            }
            // Packing is parallel inside: one layer at a time, beside the steps.
            if failure.is_none()
                && !state.packing
                && let Some((id, pending)) = state.to_pack.pop_front()
            {
                let (shared, sender) = (&shared, sender.clone());
                state.packing = true;
                scope.spawn(move || send(&sender, Message::Packed(id, shared.pack_and_record(id, pending))));
            }
            if state.running == 0 && !state.packing {
                break;
            }
            let message = receiver.recv().expect("the scheduler holds a sender itself");
            let (id, result) = match message {
                Message::Done(id, result) => {
                    state.running -= 1;
                    let result = result.map(|(made, pending)| {
                        state.to_pack.extend(pending.map(|pending| (id, pending)));
                        state.finish(id, made);
                    });
                    (id, result)
                }
                Message::Packed(id, result) => {
                    state.packing = false;
                    (id, result)
                }
            };
            if let Err(cause) = result
                && failure.is_none()
            {
                // First error wins; the others only end because of it. Without a broken cache all is tried again: what
                // runs now is not lost then.
                if !matches!(cause, Cause::Import { .. }) {
                    workshop.cancel.cancel();
                }
                failure = Some(shared.error(id, cause));
            }
        }
        let draft = notes.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        draft.write(&fates, workshop);
        match failure {
            Some(error) => Err(error),
            None => Ok(state.into_solution(graph, definitions)),
        }
    })
}

fn send(sender: &Sender<Message>, message: Message) {
    // The receiver lives as long as the scope; if it is gone, so is the reason to tell it anything.
    let _ = sender.send(message);
}

/// What the scheduler's thread alone changes.
struct State {
    plan: Vec<Demand>,
    begun: Vec<Option<Begun>>,
    made: Vec<Option<Made>>,
    /// How many results a step still waits for.
    missing: Vec<usize>,
    waiting: Vec<Vec<StepId>>,
    ready: VecDeque<StepId>,
    to_pack: VecDeque<(StepId, Pending)>,
    running: usize,
    packing: bool,
}

impl State {
    fn new(graph: &Graph, plan: Vec<Demand>, begun: Vec<Option<Begun>>) -> Self {
        let count = graph.steps().len();
        let mut state = Self {
            plan,
            begun,
            made: vec![None; count],
            missing: vec![0; count],
            waiting: vec![Vec::new(); count],
            ready: VecDeque::new(),
            to_pack: VecDeque::new(),
            running: 0,
            packing: false,
        };
        for id in graph.ids() {
            let needed: Vec<StepId> = match state.plan[id.index()] {
                Demand::None => continue,
                Demand::Recorded(_) => graph.step(id).op.parent().into_iter().collect(),
                Demand::Perform { .. } => graph.step(id).op.inputs(),
            };
            state.missing[id.index()] = needed.len();
            for input in &needed {
                state.waiting[input.index()].push(id);
            }
            if needed.is_empty() {
                state.ready.push_back(id);
            }
        }
        state
    }

    /// Tells of the steps that are not even looked at, because what needs them is cached.
    fn announce_skipped(&self, shared: &Shared<'_>) {
        for id in shared.graph.ids() {
            if matches!(self.plan[id.index()], Demand::None) {
                shared.announce(id, Outcome::Cached, Duration::ZERO);
            }
        }
    }

    /// Returns the result of a step that needs no thread of its own.
    fn without_work(&mut self, shared: &Shared<'_>, id: StepId) -> Option<Made> {
        if let Op::Base(image) = &shared.graph.step(id).op {
            shared.announce(id, Outcome::Done, Duration::ZERO);
            let snapshot = Snapshot::of_image(image);
            snapshot.iter().flat_map(Snapshot::stack).for_each(|snapshot| shared.ready(id, snapshot));
            return Some(snapshot);
        }
        match &self.plan[id.index()] {
            Demand::Recorded(found) => {
                shared.announce(id, Outcome::Cached, Duration::ZERO);
                let below = Inputs::gather(shared.graph, &self.made, id).parent;
                let snapshot = Arc::new(found.snapshot(below, shared.workshop));
                if shared.must_pack(id, &snapshot) {
                    let (directory, result_key) = (found.record.directory.clone(), found.record.result);
                    let snapshot = snapshot.clone();
                    self.to_pack
                        .push_back((id, Pending { snapshot, result_key, directory, early: Early::Nothing }));
                } else {
                    shared.packed_before(id, &snapshot);
                }
                Some(Some(snapshot))
            }
            Demand::None | Demand::Perform { .. } => None,
        }
    }

    fn finish(&mut self, id: StepId, made: Made) {
        self.made[id.index()] = Some(made);
        for dependent in std::mem::take(&mut self.waiting[id.index()]) {
            let missing = &mut self.missing[dependent.index()];
            *missing -= 1;
            if *missing == 0 {
                self.ready.push_back(dependent);
            }
        }
    }

    fn into_solution(self, graph: &Graph, definitions: &[Definition]) -> Solution {
        let snapshots: Vec<Made> = self.made.into_iter().map(Option::flatten).collect();
        let root = |output: &crate::graph::Output| output.root.and_then(|id| snapshots[id.index()].clone());
        let roots = graph.outputs.iter().map(root).collect();
        let definitions = definitions.iter().map(|definition| definition.key).collect();
        Solution { roots, snapshots, definitions }
    }
}

/// The results that a step works with.
pub(super) struct Inputs {
    /// The root file system that it changes.
    pub(super) parent: Made,
    sources: Vec<(StepId, Made)>,
}

impl Inputs {
    fn gather(graph: &Graph, made: &[Option<Made>], id: StepId) -> Self {
        let result = |id: StepId| made[id.index()].clone().flatten();
        let op = &graph.step(id).op;
        let sources = op.sources().into_iter().map(|id| (id, result(id))).collect();
        Self { parent: op.parent().and_then(result), sources }
    }

    /// Returns those of a step that reads no other one.
    pub(super) const fn on(parent: Made) -> Self {
        Self { parent, sources: Vec::new() }
    }

    /// Returns the result of a step that this one reads; `None` for an empty root file system.
    pub(super) fn source(&self, id: StepId) -> Option<&Arc<Snapshot>> {
        self.sources.iter().find(|(source, _)| *source == id).and_then(|(_, made)| made.as_ref())
    }
}

/// What the threads of steps share.
struct Shared<'a> {
    graph: &'a Graph,
    definitions: &'a [Definition],
    /// Whether the result of a step is packed.
    packed: Vec<bool>,
    /// Whether the result of a step is part of an image.
    in_image: Vec<bool>,
    /// Nobody where nothing is done.
    on_ready: Option<&'a OnReady<'a>>,
    workshop: &'a Workshop<'a>,
    fates: &'a Fates,
}

impl Shared<'_> {
    /// Does one step, or finds its result by the content of its inputs.
    fn perform(
        &self,
        id: StepId,
        inputs: &Inputs,
        replay: bool,
        begun: Option<Begun>,
    ) -> Result<(Made, Option<Pending>), Cause> {
        let (step, workshop) = (self.graph.step(id), self.workshop);
        let definition = &self.definitions[id.index()];
        let task = id.index();
        let Begun { at: started, copied } = begun.unwrap_or_else(|| {
            workshop.listener.event(Event::TaskStarted { task, name: step.name.clone() });
            Begun { at: Instant::now(), copied: None }
        });
        let finish = |outcome| {
            self.fates.note(id, &outcome);
            workshop.listener.event(Event::TaskFinished { task, outcome, elapsed: started.elapsed() });
        };
        let work = || -> Result<(Arc<Snapshot>, Option<Pending>, Outcome), Cause> {
            if workshop.cancel.is_cancelled() {
                return Err(Cause::Cancelled);
            }
            if matches!(step.op, Op::Run(_)) && workshop.isolation.overlay != Overlay::Absent {
                unpack::unread(inputs.parent.as_ref(), workshop)?;
            }
            let result_key = key::result(step, definition, inputs, workshop)?;
            if let Some(Answer::Bytes(found)) = lookup(workshop, result_key, step.ignore_cache) {
                let snapshot = Arc::new(found.snapshot(inputs.parent.clone(), workshop));
                let (inputs, result) = (definition.inputs.clone(), Some(result_key));
                let record = Record { inputs, result, ..found.record };
                pack::keep(&record, definition, None, workshop)?;
                self.packed_before(id, &snapshot);
                let pending = self.must_pack(id, &snapshot).then(|| Pending {
                    snapshot: snapshot.clone(),
                    result_key: Some(result_key),
                    directory: record.directory,
                    early: Early::Nothing,
                });
                return Ok((snapshot, pending, Outcome::Cached));
            }
            if !replay && let Some(reason) = self.reason(definition) {
                workshop.listener.event(Event::TaskReason { task, reason });
            }
            let run::Made { snapshot, directory, early } = match &step.op {
                Op::Base(_) => unreachable!("a base needs no work"),
                Op::Run(run) => {
                    let packed = self.packed[id.index()];
                    run::Job { run, task, definition, inputs, packed, workshop }.perform()?
                }
                Op::Copy(transfer) => {
                    let (snapshot, early) =
                        copy::copy(transfer, step.span, definition, copied, inputs, workshop)?;
                    let exported = self.packed[id.index()];
                    let directory = if exported { None } else { unpack::keep(&snapshot, workshop)? };
                    run::Made { snapshot: Arc::new(snapshot), directory, early }
                }
                Op::Mkdir(mkdir) => copy::mkdir(mkdir, step.span, inputs, workshop)?.into(),
            };
            let outcome = if replay { Outcome::Cached } else { Outcome::Done };
            if self.must_pack(id, &snapshot) {
                let (packed, result_key) = (snapshot.clone(), Some(result_key));
                let pending = Pending { snapshot: packed, result_key, directory, early };
                return Ok((snapshot, Some(pending), outcome));
            }
            pack::record(&snapshot, definition, Some(result_key), directory, workshop)?;
            Ok((snapshot, None, outcome))
        };
        match work() {
            Ok((snapshot, pending, outcome)) => {
                finish(outcome);
                Ok((Some(snapshot), pending))
            }
            Err(cause) => {
                finish(match cause {
                    Cause::Cancelled => Outcome::Cancelled,
                    ref cause => Outcome::Failed(cause.to_string()),
                });
                Err(cause)
            }
        }
    }

    fn pack_and_record(&self, id: StepId, pending: Pending) -> Result<(), Cause> {
        let definition = &self.definitions[id.index()];
        let Pending { snapshot, result_key, directory, early } = pending;
        let told = match self.in_image[id.index()] {
            true => Told::above(snapshot.below(), self.workshop),
            false => None,
        };
        let beforehand = Beforehand { step: Some(&definition.name), early, told };
        pack::pack(&snapshot, beforehand, self.workshop, &self.workshop.packing)?;
        self.ready(id, &snapshot);
        pack::record(&snapshot, definition, result_key, directory, self.workshop)
    }

    /// Tells whether the step's result becomes a layer of an image and is not packed as that needs it.
    fn must_pack(&self, id: StepId, snapshot: &Snapshot) -> bool {
        self.packed[id.index()] && snapshot.packed_here().is_none()
    }

    /// Tells of a layer that an earlier build has packed as this one needs it, if its bytes are here.
    fn packed_before(&self, id: StepId, snapshot: &Arc<Snapshot>) {
        if let Some(layer) = snapshot.packed_here()
            && self.packed[id.index()]
            && self.workshop.store.contains(&layer.blob)
        {
            self.ready(id, snapshot);
        }
    }

    /// Tells that the layer of a snapshot is as images name it.
    fn ready(&self, id: StepId, snapshot: &Arc<Snapshot>) {
        let Some(on_ready) = self.on_ready else { return };
        if let Some(on_packing) = self.workshop.on_packing
            && self.in_image[id.index()]
            && let Some(layers) = blobs(Some(snapshot))
        {
            on_packing(Packing::Known(layers));
        }
        let of = match (&self.graph.step(id).op, self.in_image[id.index()]) {
            (Op::Base(_), true) => ReadyOf::Base,
            // No cache holds it: whoever builds on it names it.
            (Op::Base(_), false) => return,
            (_, true) => ReadyOf::Image,
            (_, false) => ReadyOf::Cache,
        };
        on_ready(Ready { blob: &snapshot.layer().blob, of });
    }

    /// Says which inputs differ from those of the last build of the same step; `None` if there was none.
    fn reason(&self, definition: &Definition) -> Option<String> {
        let name = identity(&self.workshop.scope, &definition.name);
        let bytes = self.workshop.store.record(&name).ok()??;
        let last: Record = serde_json::from_slice(&bytes).ok()?;
        let changed = differing(&last.inputs, &definition.inputs);
        (!changed.is_empty()).then(|| format!("{} changed", changed.join(", ")))
    }

    fn announce(&self, id: StepId, outcome: Outcome, elapsed: Duration) {
        let task = id.index();
        self.fates.note(id, &outcome);
        let listener = self.workshop.listener;
        listener.event(Event::TaskStarted { task, name: self.graph.step(id).name.clone() });
        listener.event(Event::TaskFinished { task, outcome, elapsed });
    }

    fn error(&self, id: StepId, cause: Cause) -> Error {
        let step = self.graph.step(id);
        Error { name: step.name.clone(), span: step.span, cause: Box::new(cause) }
    }
}
