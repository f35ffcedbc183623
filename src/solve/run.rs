//! RUN: a command in a root file system, and what it changed.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::error::Cause;
use super::inputs::{choose_of_step, literal};
use super::key::Definition;
use super::schedule::Inputs;
use super::unpack::{self, State};
use super::{Snapshot, Workshop, bytes, pack};
use crate::event::{Event, Stream, TaskId};
use crate::graph::{Input, Mount, MountKind, Network, Run};
use crate::layer::{Compression, PackOptions};
use crate::path::RelPath;
use crate::place::Role;
use crate::rootfs::{self, Disk, Form};
use crate::sandbox::{self, Content, Exit, Launcher, Overlay, Root, Spec, Upper};
use crate::store::{CacheMount, Scratch};
use crate::tree::{Change, Changes, Entry, Meta, Origin, Tree, diff};

/// The host name that steps see: BuildKit's.
const HOSTNAME: &str = "buildkitsandbox";
/// How many last lines of a failing command are kept for the error.
const KEPT_LINES: usize = 20;
/// Where the resolver's configuration of this machine is.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// A RUN that is about to be done.
pub(super) struct Job<'a> {
    pub(super) run: &'a Run,
    pub(super) task: TaskId,
    pub(super) definition: &'a Definition,
    pub(super) inputs: &'a Inputs,
    /// Whether the result becomes a layer of an image.
    pub(super) packed: bool,
    pub(super) workshop: &'a Workshop<'a>,
}

/// What a RUN made.
pub(super) struct Made {
    pub(super) snapshot: Arc<Snapshot>,
    /// The name of the directory that is kept for later builds, if there is one.
    pub(super) directory: Option<String>,
}

impl From<Snapshot> for Made {
    fn from(snapshot: Snapshot) -> Self {
        Self { snapshot: Arc::new(snapshot), directory: None }
    }
}

impl Job<'_> {
    /// Runs the command.
    pub(super) fn perform(&self) -> Result<Made, Cause> {
        match self.workshop.isolation.overlay {
            Overlay::Trusted | Overlay::User => self.on_overlay(),
            Overlay::Absent => self.on_state(),
        }
    }

    fn on_overlay(&self) -> Result<Made, Cause> {
        let (workshop, parent) = (self.workshop, self.inputs.parent.as_ref());
        let disk = Disk::of(workshop.isolation);
        let lower = unpack::directories(parent, workshop)?;
        let tree = tree_of(parent, workshop)?;
        let scratch = workshop.store.scratch()?;
        let (upper, work) = (scratch.path().join("upper"), scratch.path().join("work"));
        fs_err::create_dir(&work)?;
        rootfs::prepare_upper(&upper, &tree, disk)?;
        let root = Root::Overlay {
            lower: lower.clone(),
            upper: Some(Upper { upper: upper.clone(), work }),
            userxattr: workshop.isolation.overlay == Overlay::User,
        };
        self.execute(root, &upper, &scratch)?;
        let mut changes = rootfs::scan_upper(&upper, &tree, &lower, disk)?;
        let (name, directory) = unpack::keep_upper(&upper, &changes, workshop)?;
        changes.origins = vec![Origin::whole(&directory)];
        for change in &mut changes.list {
            if let Change::Upsert { origin, .. } = change {
                *origin = 0;
            }
        }
        let snapshot = Snapshot::made(parent.cloned(), changes, workshop.now);
        snapshot.set_directory(directory);
        Ok(Made { snapshot: Arc::new(snapshot), directory: Some(name) })
    }

    fn on_state(&self) -> Result<Made, Cause> {
        let (workshop, parent) = (self.workshop, self.inputs.parent.as_ref());
        let State { scratch, index } = workshop.states.take(parent, workshop)?;
        let tree = tree_of(parent, workshop)?;
        let root = State { scratch, index };
        let directory = root.root();
        let step = workshop.store.scratch()?;
        self.execute(Root::Directory(directory.clone()), &directory, &step)?;
        let changes = rootfs::scan_plain(&directory, &root.index, &tree, Disk::of(workshop.isolation))?;
        // The next step changes the same directory: the bytes are packed now or never.
        let made = Snapshot::made(parent.cloned(), changes, workshop.now);
        let compression = if self.packed { workshop.packing.compression } else { Compression::None };
        pack::pack(&made, workshop, &PackOptions { compression, ..workshop.packing.clone() })?;
        let snapshot = Arc::new(made.without_origins());
        let index = rootfs::index(&directory)?;
        workshop.states.leave(snapshot.clone(), State { scratch: root.scratch, index });
        Ok(Made { snapshot, directory: None })
    }

    /// Runs the command in `root`; `changed` is the directory in which its changes end up.
    fn execute(&self, root: Root, changed: &Path, scratch: &Scratch) -> Result<(), Cause> {
        let (run, workshop) = (self.run, self.workshop);
        let step = scratch.path().join("step");
        fs_err::create_dir(&step)?;
        let mut mounts = Mounts { job: self, scratch: scratch.path(), caches: Vec::new() };
        let specified: Vec<sandbox::Mount> =
            run.mounts.iter().enumerate().map(|(index, mount)| mounts.prepare(index, mount)).collect::<Result<_, _>>()?;
        let spec = Spec {
            rung: workshop.isolation.rung,
            root,
            scratch: step,
            argv: run.argv.clone(),
            env: run.env.iter().map(ToString::to_string).chain(run.proxy_env.iter().cloned()).collect(),
            working_dir: run.working_dir.clone(),
            user: run.user.clone(),
            hostname: HOSTNAME.to_owned(),
            mounts: specified,
            network: match run.network {
                Network::Host => sandbox::Network::Host,
                Network::None => sandbox::Network::None,
            },
            resolv_conf: fs_err::read(RESOLV_CONF).ok(),
            hosts: Some(sandbox::default_hosts(HOSTNAME)),
            seccomp: true,
        };
        let mut tail = Tail::default();
        let mut output = |stream: Stream, bytes: &[u8]| {
            tail.push(bytes);
            workshop.listener.event(Event::TaskOutput { task: self.task, stream, bytes: bytes.to_vec() });
        };
        let outcome = sandbox::run(&Launcher::this_program(), &spec, &mut output, workshop.cancel);
        let outcome = outcome.map_err(|error| match error {
            sandbox::Error::Cancelled => Cause::Cancelled,
            error => error.into(),
        })?;
        drop(mounts);
        if !outcome.exit.is_success() {
            let command = format!("{:?}", run.argv.join(" "));
            return Err(Cause::Command { command, exit: describe(outcome.exit), output: tail.finish() });
        }
        Ok(rootfs::remove_stubs(changed, &outcome.stubs)?)
    }
}

fn tree_of(parent: Option<&Arc<Snapshot>>, workshop: &Workshop<'_>) -> Result<Tree, Cause> {
    parent.map_or_else(|| Ok(Tree::empty()), |parent| parent.tree(workshop).cloned())
}

fn describe(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code: {code}"),
        Exit::Signal(9) => "killed by signal 9 (SIGKILL; out of memory?)".to_owned(),
        Exit::Signal(signal) => format!("killed by signal {signal}"),
    }
}

/// Makes ready what mounts show.
struct Mounts<'a> {
    job: &'a Job<'a>,
    scratch: &'a Path,
    /// Reserved until the command has ended.
    caches: Vec<CacheMount>,
}

impl Mounts<'_> {
    fn prepare(&mut self, index: usize, mount: &Mount) -> Result<sandbox::Mount, Cause> {
        let (content, readonly) = match &mount.kind {
            MountKind::Bind { input, source, readonly } => (self.bind(index, input, source, *readonly)?, *readonly),
            MountKind::Tmpfs { size_bytes } => (Content::Tmpfs { size_bytes: *size_bytes }, false),
            MountKind::File { content, mode } => {
                (Content::File { bytes: content.to_vec(), mode: *mode }, true)
            }
            MountKind::Cache { id, sharing, initial, mode, uid, gid, readonly } => {
                let new = Meta::root_owned(0o755, self.job.workshop.now);
                let prepare = |directory: &Path| -> Result<(), Cause> {
                    match initial {
                        Some((input, path)) => self.fill(index, input, path, directory),
                        None => self.own(directory, Meta { mode: (mode & 0o7777) as u16, uid: *uid, gid: *gid, ..new }),
                    }
                };
                let cache = self.job.workshop.store.cache_mount(id, *sharing, prepare)?;
                let root = Root::Directory(cache.path.clone());
                self.caches.push(cache);
                (Content::Bind { root, source: RelPath::root() }, *readonly)
            }
        };
        Ok(sandbox::Mount { target: mount.target.clone(), content, readonly })
    }

    fn bind(&self, index: usize, input: &Input, source: &RelPath, readonly: bool) -> Result<Content, Cause> {
        let directory = self.scratch.join(format!("mount-{index}"));
        let workshop = self.job.workshop;
        let step = match input {
            Input::Step(id) => self.job.inputs.source(*id),
            Input::Context(_) | Input::Empty => None,
        };
        let overlay = workshop.isolation.overlay;
        let root = match (input, overlay) {
            (Input::Step(_) | Input::Empty, Overlay::Trusted | Overlay::User) => {
                fs_err::create_dir(&directory)?;
                let (upper, work) = (directory.join("upper"), directory.join("work"));
                fs_err::create_dir(&upper)?;
                fs_err::create_dir(&work)?;
                Root::Overlay {
                    lower: unpack::directories(step, workshop)?,
                    upper: (!readonly).then_some(Upper { upper, work }),
                    userxattr: overlay == Overlay::User,
                }
            }
            (Input::Step(_) | Input::Empty, Overlay::Absent) => {
                fs_err::create_dir(&directory)?;
                unpack::write_state(step, &directory, workshop)?;
                Root::Directory(directory)
            }
            (Input::Context(_), _) => {
                fs_err::create_dir(&directory)?;
                self.write_chosen(index, &directory)?;
                Root::Directory(directory)
            }
        };
        Ok(Content::Bind { root, source: source.clone() })
    }

    /// Writes what a mount selects of a context below `directory`, at its paths in the context.
    fn write_chosen(&self, index: usize, directory: &Path) -> Result<(), Cause> {
        let chosen = self.job.definition.chosen[index].as_ref().expect("mounts of a context were chosen");
        let mut changes = diff(&Tree::empty(), &chosen.tree);
        let bytes = chosen.bytes.clone().expect("files of a context lie in it");
        changes.origins = vec![Origin { bytes, at: RelPath::root(), to: RelPath::root() }];
        rootfs::write_changes(directory, &changes, Form::State, Disk::of(self.job.workshop.isolation))?;
        Ok(())
    }

    /// Gives a directory its owner and mode.
    fn own(&self, directory: &Path, meta: Meta) -> Result<(), Cause> {
        let mut tree = Tree::empty();
        tree.insert(&RelPath::root(), Entry::directory(meta));
        let changes = diff(&Tree::empty(), &tree);
        rootfs::write_changes(directory, &changes, Form::State, Disk::of(self.job.workshop.isolation))?;
        Ok(())
    }

    /// Writes what is at `path` of an input into `directory`.
    fn fill(&self, index: usize, input: &Input, path: &RelPath, directory: &Path) -> Result<(), Cause> {
        let workshop = self.job.workshop;
        let (chosen, located) = match (&self.job.definition.chosen[index], input) {
            (Some(chosen), _) => {
                let bytes = chosen.bytes.clone().expect("files of a context lie in it");
                (chosen.clone(), bytes::Located { bytes, scratch: None })
            }
            (None, Input::Step(id)) => {
                let snapshot = self.job.inputs.source(*id);
                let chosen = choose_of_step(snapshot, &literal(path), false, &[], workshop)?;
                let located = match snapshot {
                    Some(snapshot) => bytes::locate(snapshot, &chosen, workshop)?,
                    None => bytes::Located::nowhere(),
                };
                (Arc::new(chosen), located)
            }
            (None, Input::Context(_) | Input::Empty) => return Ok(()),
        };
        let mut tree = Tree::empty();
        for found in &chosen.selection.matches {
            let mut put = |from: &RelPath, to: &RelPath| {
                if let Some(entry) = chosen.tree.get(from) {
                    tree.insert(to, entry.clone());
                }
            };
            put(&found.real, &RelPath::root());
            for selected in found.below.iter().filter(|selected| matches!(selected.role, Role::Wanted | Role::Parent)) {
                put(&found.real.join(&selected.path), &selected.path);
            }
        }
        let mut changes: Changes = diff(&Tree::empty(), &tree);
        let at = chosen.selection.matches.first().map(|found| found.real.clone()).unwrap_or_default();
        changes.origins = vec![Origin { bytes: located.bytes, at, to: RelPath::root() }];
        rootfs::write_changes(directory, &changes, Form::State, Disk::of(workshop.isolation))?;
        Ok(())
    }
}

/// The last lines of a command's output.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    rest: Vec<u8>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.lines.push_back(String::from_utf8_lossy(&line[..end]).into_owned());
            if self.lines.len() > KEPT_LINES {
                self.lines.pop_front();
            }
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.rest.is_empty() {
            self.lines.push_back(String::from_utf8_lossy(&self.rest).into_owned());
        }
        self.lines.into()
    }
}
