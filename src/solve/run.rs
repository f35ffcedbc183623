//! RUN: a command in a root file system, and what it changed.

use std::path::Path;
use std::sync::Arc;

use super::error::Cause;
use super::inputs::{choose_of_step, literal};
use super::key::Definition;
use super::output::Output;
use super::pack::{self, Beforehand, Early};
use super::prepare::prepare_during;
use super::schedule::Inputs;
use super::unpack::{self, State};
use super::{Snapshot, Workshop, bytes, ssh};
use crate::cache::KeyBuilder;
use crate::digest::Digest;
use crate::event::{Stream, TaskId};
use crate::graph::{Input, Mount, MountKind, Network, Run, SecretEnv, Security};
use crate::layer::{Compression, PackOptions};
use crate::path::RelPath;
use crate::rootfs::{self, Contents, Form};
use crate::sandbox::{self, Content, Exit, Launcher, Overlay, Root, Spec, Upper};
use crate::secret::Secret;
use crate::store::{CacheMount, Scratch};
use crate::tree::{Changes, Entry, Meta, Origin, Tree, diff};

/// The host name that steps see: BuildKit's.
const HOSTNAME: &str = "buildkitsandbox";
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

/// What a step made.
pub(super) struct Made {
    pub(super) snapshot: Arc<Snapshot>,
    /// The name of the directory that is kept for later builds, if there is one.
    pub(super) directory: Option<String>,
    /// What is there of its layer.
    pub(super) early: Early,
}

impl From<Snapshot> for Made {
    fn from(snapshot: Snapshot) -> Self {
        Self { snapshot: Arc::new(snapshot), directory: None, early: Early::Nothing }
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
        let disk = workshop.isolation.disk();
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
        let look = |contents: Contents<'_>| rootfs::scan_upper(&upper, &tree, disk, contents);
        let early = self.execute_and_prepare(root, &upper, &scratch, &look)?;
        let mut changes = look(Contents::Read)?;
        let (name, directory) = unpack::keep_upper(&upper, &changes, workshop)?;
        changes.origins = vec![Origin::whole(&directory)];
        let snapshot = Snapshot::made(parent.cloned(), changes, workshop.now);
        snapshot.set_directory(directory);
        Ok(Made { snapshot: Arc::new(snapshot), directory: Some(name), early })
    }

    fn on_state(&self) -> Result<Made, Cause> {
        let (workshop, parent) = (self.workshop, self.inputs.parent.as_ref());
        let State { scratch, index } = workshop.states.take(parent, workshop)?;
        let tree = tree_of(parent, workshop)?;
        let root = State { scratch, index };
        let directory = root.root();
        let step = workshop.store.scratch()?;
        let disk = workshop.isolation.disk();
        let look =
            |contents: Contents<'_>| rootfs::scan_plain(&directory, &root.index, &tree, disk, contents);
        let early = self.execute_and_prepare(Root::Directory(directory.clone()), &directory, &step, &look)?;
        let changes = look(Contents::Read)?;
        // The next step changes the same directory: the bytes are packed now or never.
        let made = Snapshot::made(parent.cloned(), changes, workshop.now);
        let compression = if self.packed { workshop.packing.compression } else { Compression::None };
        let options = PackOptions { compression, ..workshop.packing };
        let beforehand = Beforehand { step: Some(&self.definition.name), early, told: None };
        pack::pack(&made, beforehand, workshop, &options)?;
        let snapshot = Arc::new(made.without_origins());
        let index = rootfs::index(&directory)?;
        workshop.states.leave(snapshot.clone(), State { scratch: root.scratch, index });
        Ok(Made { snapshot, directory: None, early: Early::Nothing })
    }

    /// Returns the digest of what a mount takes from elsewhere.
    fn content(&self, index: usize, input: &Input, path: &RelPath) -> Result<Digest, Cause> {
        match (&self.definition.chosen[index], input) {
            (Some(chosen), _) => Ok(chosen.digest()),
            (None, Input::Step(id)) => {
                let snapshot = self.inputs.source(*id);
                Ok(choose_of_step(snapshot, &literal(path), false, &[], self.workshop)?.digest())
            }
            (None, Input::Context(_) | Input::Empty) => Ok(Digest::of(b"")),
        }
    }

    /// Runs the command; of a layer, what `look` finds to be done is compressed meanwhile.
    fn execute_and_prepare(
        &self,
        root: Root,
        changed: &Path,
        scratch: &Scratch,
        look: &(impl Fn(Contents<'_>) -> Result<Changes, rootfs::Error> + Sync),
    ) -> Result<Early, Cause> {
        if !self.packed {
            return self.execute(root, changed, scratch).map(|()| Early::Nothing);
        }
        let file = tempfile::tempfile_in(scratch.path())?;
        let work = || self.execute(root, changed, scratch);
        let (result, prepared) = prepare_during(&self.workshop.packing, file, look, work);
        result.map(|()| prepared.map_or(Early::Nothing, Early::Blocks))
    }

    /// Runs the command in `root`; `changed` is the directory in which its changes end up.
    fn execute(&self, root: Root, changed: &Path, scratch: &Scratch) -> Result<(), Cause> {
        let (run, workshop) = (self.run, self.workshop);
        let step = scratch.path().join("step");
        fs_err::create_dir(&step)?;
        let mut mounts =
            Mounts { job: self, scratch: scratch.path(), caches: Vec::new(), agents: Vec::new() };
        let mut specified = Vec::new();
        for (index, mount) in run.mounts.iter().enumerate() {
            specified.extend(mounts.prepare(index, mount)?);
        }
        let spec = Spec {
            rung: workshop.isolation.rung,
            root,
            scratch: step,
            argv: run.argv.clone(),
            env: self.env()?,
            working_dir: run.working_dir.clone(),
            user: run.user.clone(),
            hostname: HOSTNAME.to_owned(),
            mounts: specified,
            network: match run.network {
                Network::Host => sandbox::Network::Host,
                Network::None => sandbox::Network::None,
            },
            resolv_conf: fs_err::read(RESOLV_CONF).ok(),
            hosts: Some(sandbox::hosts(HOSTNAME, &run.extra_hosts)),
            seccomp: true,
            insecure: run.security == Security::Insecure,
            ulimits: run.ulimits.clone(),
        };
        let mut output = Output::new(workshop.listener, self.task, workshop.secrets);
        let mut push = |stream: Stream, bytes: &[u8]| output.push(stream, bytes);
        let outcome = sandbox::run(&Launcher::this_program(), &spec, &mut push, workshop.cancel);
        let output = output.finish();
        let outcome = outcome.map_err(|error| match error {
            sandbox::Error::Cancelled => Cause::Cancelled,
            error => error.into(),
        })?;
        drop(mounts);
        if !outcome.exit.is_success() {
            let command = format!("{:?}", workshop.secrets.redact(&run.argv.join(" ")));
            return Err(Cause::Command { command, exit: describe(outcome.exit), output });
        }
        Ok(rootfs::remove_stubs(changed, &outcome.stubs)?)
    }

    /// Returns the environment with the values of secrets, which win over ENV and ARG.
    fn env(&self) -> Result<Vec<String>, Cause> {
        let run = self.run;
        let mut env: Vec<String> =
            run.env.iter().map(ToString::to_string).chain(run.proxy_env.iter().cloned()).collect();
        for SecretEnv { name, id, required } in &run.secret_env {
            // As under BuildKit the variable of a secret that is not there is empty.
            let value = self.secret(id, *required)?.map(Secret::expose).unwrap_or_default();
            let value = std::str::from_utf8(value).map_err(|_| Cause::SecretText { id: id.clone() })?;
            env.retain(|variable| variable.split_once('=').is_none_or(|(known, _)| known != name));
            env.push(format!("{name}={value}"));
        }
        Ok(env)
    }

    fn secret(&self, id: &str, required: bool) -> Result<Option<&Secret>, Cause> {
        match self.workshop.secrets.get(id) {
            None if required => Err(Cause::MissingSecret { id: id.to_owned() }),
            secret => Ok(secret),
        }
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
    /// Forwarded until the command has ended.
    agents: Vec<ssh::Forward>,
}

impl Mounts<'_> {
    /// Returns what is to be mounted; `None` for what was not given and need not be.
    fn prepare(&mut self, index: usize, mount: &Mount) -> Result<Option<sandbox::Mount>, Cause> {
        let (content, readonly) = match &mount.kind {
            MountKind::Bind { input, source, readonly } => {
                (self.bind(index, input, source, *readonly)?, *readonly)
            }
            MountKind::Tmpfs { size_bytes } => (Content::Tmpfs { size_bytes: *size_bytes }, false),
            MountKind::File { content, mode } => {
                (Content::File { bytes: content.to_vec(), mode: *mode, uid: 0, gid: 0 }, true)
            }
            MountKind::Secret { id, required, mode, uid, gid } => {
                let Some(secret) = self.job.secret(id, *required)? else { return Ok(None) };
                let bytes = secret.expose().to_vec();
                (Content::File { bytes, mode: *mode, uid: *uid, gid: *gid }, true)
            }
            MountKind::Ssh { id, required, mode, uid, gid } => {
                let Some(agent) = self.job.workshop.agents.get(id) else {
                    return if *required { Err(Cause::MissingAgent { id: id.clone() }) } else { Ok(None) };
                };
                (self.agent(index, agent, *mode, (*uid, *gid))?, false)
            }
            MountKind::Cache { id, sharing, initial, mode, uid, gid, readonly } => {
                let new = Meta::root_owned(0o755, self.job.workshop.new_mtime());
                let prepare = |directory: &Path| -> Result<(), Cause> {
                    match initial {
                        Some((input, path)) => self.fill(index, input, path, directory),
                        None => self.own(
                            directory,
                            Meta { mode: (mode & 0o7777) as u16, uid: *uid, gid: *gid, ..new },
                        ),
                    }
                };
                // As under BuildKit, what a cache starts with is part of its identity: mounts of one id that would
                // make it with another owner, mode or content do not share.
                let start =
                    initial.as_ref().map(|(input, path)| self.job.content(index, input, path)).transpose()?;
                let mut name = KeyBuilder::new("cache mount");
                name.input("id", id).input("start", start);
                name.input("owner", (u64::from(*mode), (u64::from(*uid), u64::from(*gid))));
                let name = name.finish().0.0.hex();
                let cache = self.job.workshop.store.cache_mount(&name, *sharing, prepare)?;
                let root = Root::Directory(cache.path.clone());
                self.caches.push(cache);
                (Content::Bind { root, source: RelPath::root() }, *readonly)
            }
        };
        Ok(Some(sandbox::Mount { target: mount.target.clone(), content, readonly }))
    }

    fn agent(&mut self, index: usize, agent: &Path, mode: u32, owner: (u32, u32)) -> Result<Content, Cause> {
        let directory = self.scratch.join(format!("mount-{index}"));
        fs_err::create_dir(&directory)?;
        self.agents.push(ssh::Forward::start(agent, &directory, mode, owner)?);
        Ok(Content::Bind { root: Root::Directory(directory), source: RelPath::clean(ssh::SOCKET) })
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
        let mut changes = diff(&Tree::empty(), &chosen.tree()?);
        let bytes = chosen.bytes.clone().expect("files of a context lie in it");
        changes.origins = vec![Origin { bytes, at: RelPath::root(), to: RelPath::root() }];
        rootfs::write_changes(directory, &changes, Form::State, self.job.workshop.isolation.disk())?;
        Ok(())
    }

    /// Gives a directory its owner and mode.
    fn own(&self, directory: &Path, meta: Meta) -> Result<(), Cause> {
        let mut tree = Tree::empty();
        tree.insert(&RelPath::root(), Entry::directory(meta));
        let changes = diff(&Tree::empty(), &tree);
        rootfs::write_changes(directory, &changes, Form::State, self.job.workshop.isolation.disk())?;
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
        chosen.for_each(|_, below, entry| tree.insert(&below, entry.clone()));
        let mut changes: Changes = diff(&Tree::empty(), &tree);
        let at = chosen.selection.matches.first().map(|found| found.real.clone()).unwrap_or_default();
        changes.origins = vec![Origin { bytes: located.bytes, at, to: RelPath::root() }];
        rootfs::write_changes(directory, &changes, Form::State, workshop.isolation.disk())?;
        Ok(())
    }
}
