//! The keys of steps.
//!
//! | input | definition key | result key |
//! |---|---|---|
//! | the operation itself, all its closed fields | yes | yes |
//! | platform | yes | yes |
//! | parent | its definition key | the content of its root file system; not for `--link` |
//! | a base | its chain id | (its content) |
//! | files of a context | their content | their content |
//! | files of a step | the step's definition key | the content of what is selected |
//! | a download | its name and content | its name and content |
//! | a repository | the commit and what of it is taken | the content of its files |
//!
//! Content is names, kinds, modes, owners, link targets, extended attributes and bytes; never mtimes.
//! Left out on purpose: proxy variables (they change how a command reaches the network, not what it makes), the
//! addresses of `--add-host` (its names count) for the same reason, the values of secrets and what an ssh agent
//! answers (their ids and the options of their mounts count: a new value is no reason to build anew, and a key
//! must say nothing of it), the content of cache mounts and their sharing, the time of the build, names and
//! positions in the Dockerfile.

use std::sync::Arc;

use super::Workshop;
use super::ahead::{Ahead, Begun};
use super::error::{Cause, Error};
use super::inputs::{Chosen, choose_of_step, literal};
use super::remote::{self, Identities};
use super::schedule::Inputs;
use crate::cache::{Key, KeyBuilder, NamedInput};
use crate::digest::{ChainId, Digest};
use crate::graph::{
    Copy, Graph, Input, Mkdir, MountKind, Network, Op, Remote, Run, Security, Source, Step, StepId,
};
use crate::path::RelPath;

/// What is known of a step before anything is done.
pub(super) struct Definition {
    /// Finds the step's record by what is to be done.
    pub(super) key: Key,
    /// What the key was made of, by names that a user understands.
    pub(super) inputs: Vec<NamedInput>,
    /// The step's name.
    pub(super) name: String,
    /// What the step reads from contexts: one per source or mount, in order; `None` for those that are no
    /// context's.
    pub(super) chosen: Vec<Option<Arc<Chosen>>>,
    /// Of a copy: tells whether one like it was ever recorded, see [`Ahead`].
    pub(super) kind: Option<Digest>,
}

/// Makes the definition keys of all steps; reads the context files that steps select, and thereby begins the steps that are
/// done ahead.
pub(super) fn definitions(
    graph: &Graph,
    workshop: &Workshop<'_>,
    ahead: &Ahead<'_>,
) -> Result<(Vec<Definition>, Vec<Option<Begun>>), Error> {
    let identities = Identities::find(graph, workshop)?;
    let mut definitions: Vec<Definition> = Vec::with_capacity(graph.steps().len());
    let mut all_begun = Vec::with_capacity(graph.steps().len());
    for id in graph.ids() {
        let step = graph.step(id);
        let (definition, begun) = define(id, step, &definitions, &identities, ahead, workshop)
            .map_err(|cause| Error { name: step.name.clone(), span: step.span, cause: Box::new(cause) })?;
        definitions.push(definition);
        all_begun.push(begun);
    }
    Ok((definitions, all_begun))
}

fn define(
    id: StepId,
    step: &Step,
    earlier: &[Definition],
    identities: &Identities<'_>,
    ahead: &Ahead<'_>,
    workshop: &Workshop<'_>,
) -> Result<(Definition, Option<Begun>), Cause> {
    let chosen: Vec<Option<Arc<Chosen>>> = match &step.op {
        Op::Base(_) | Op::Mkdir(_) => Vec::new(),
        Op::Copy(copy) => {
            let choose = |source: &Source| match source {
                Source::Path { input: Input::Context(name), path } => workshop
                    .contexts
                    .choose(name.as_deref(), path, copy.parents, &copy.excludes, workshop)
                    .map(Some),
                Source::Path { input: Input::Step(_) | Input::Empty, .. }
                | Source::Remote { .. }
                | Source::Inline { .. } => Ok(None),
            };
            copy.sources.iter().map(choose).collect::<Result<_, _>>()?
        }
        Op::Run(run) => {
            let choose = |(input, source): (&Input, &RelPath)| match input {
                Input::Context(name) => workshop
                    .contexts
                    .choose(name.as_deref(), &literal(source), false, &[], workshop)
                    .map(Some),
                Input::Step(_) | Input::Empty => Ok(None),
            };
            run.mounts
                .iter()
                .map(|mount| mount_source(&mount.kind).map_or(Ok(None), choose))
                .collect::<Result<_, _>>()?
        }
    };
    let kind = matches!(step.op, Op::Copy(_)).then(|| kind(step));
    let begun = kind.and_then(|kind| ahead.pack(id, kind, &chosen));
    chosen.iter().flatten().try_for_each(|chosen| chosen.read())?;
    let of_step = |input: &Input| match input {
        Input::Step(id) => earlier[id.index()].key.0,
        Input::Context(_) | Input::Empty => Digest::of(b"empty"),
    };
    let content = |index: usize, from: From<'_>| match (&chosen[index], from) {
        (Some(chosen), _) => chosen.digest(),
        (None, From::Input(input)) => of_step(input),
        (None, From::Remote(remote)) => identities.of(remote),
    };
    let parent = step.op.parent().map(|id| earlier[id.index()].key.0);
    let (key, inputs) = build(step, parent, &content);
    let name = step.name.clone();
    Ok((Definition { key, inputs, name, chosen, kind }, begun))
}

/// Makes the key of a step's own fields, whatever it stands on and whatever is in its files.
fn kind(step: &Step) -> Digest {
    let (Key(digest), _) = build(step, None, &|_, _| Digest::of(b"anything"));
    let mut builder = KeyBuilder::new("kind");
    builder.input("step", digest);
    builder.finish().0.0
}

/// Makes the key of a demanded step from the content of its inputs.
pub(super) fn result(
    step: &Step,
    definition: &Definition,
    inputs: &Inputs,
    workshop: &Workshop<'_>,
) -> Result<Key, Cause> {
    let sees_parent = !matches!(&step.op, Op::Copy(copy) if copy.link && copy.chmod.is_none());
    let parent = match &inputs.parent {
        Some(parent) if sees_parent => parent.tree(workshop)?.digest(&RelPath::root()),
        Some(_) | None => None,
    };
    let mut contents = Vec::new();
    let sources: Vec<Option<(From<'_>, String)>> = match &step.op {
        Op::Base(_) | Op::Mkdir(_) => Vec::new(),
        Op::Copy(copy) => copy.sources.iter().map(path_of_source).collect(),
        Op::Run(run) => run
            .mounts
            .iter()
            .map(|mount| mount_source(&mount.kind).map(|(input, path)| (From::Input(input), literal(path))))
            .collect(),
    };
    for (index, source) in sources.into_iter().enumerate() {
        contents.push(match (&definition.chosen[index], source, &step.op) {
            (Some(chosen), _, _) => chosen.digest(),
            (None, Some((From::Remote(remote), _)), Op::Copy(copy)) => {
                remote::choose(remote, &*remote::open(remote, workshop)?, &copy.excludes)?.digest()
            }
            (None, Some((From::Input(Input::Step(id)), path)), Op::Copy(copy)) => {
                choose_of_step(inputs.source(*id), &path, copy.parents, &copy.excludes, workshop)?.digest()
            }
            (None, Some((From::Input(Input::Step(id)), path)), _) => {
                choose_of_step(inputs.source(*id), &path, false, &[], workshop)?.digest()
            }
            (None, _, _) => Digest::of(b"empty"),
        });
    }
    let content = |index: usize, _: From<'_>| contents[index];
    let (Key(digest), _) = build(step, parent, &content);
    // The same fields with another meaning: the two kinds of key must never meet.
    let mut builder = KeyBuilder::new("result");
    builder.input("step", digest);
    Ok(builder.finish().0)
}

/// Where a source's files come from.
#[derive(Clone, Copy)]
enum From<'a> {
    Input(&'a Input),
    Remote(&'a Remote),
}

fn path_of_source(source: &Source) -> Option<(From<'_>, String)> {
    match source {
        Source::Path { input, path } => Some((From::Input(input), path.clone())),
        Source::Remote { remote, .. } => Some((From::Remote(remote), String::new())),
        Source::Inline { .. } => None,
    }
}

/// Returns where a mount's files come from.
pub(super) fn mount_source(kind: &MountKind) -> Option<(&Input, &RelPath)> {
    match kind {
        MountKind::Bind { input, source, .. } => Some((input, source)),
        MountKind::Cache { initial, .. } => initial.as_ref().map(|(input, path)| (input, path)),
        MountKind::Tmpfs { .. }
        | MountKind::File { .. }
        | MountKind::Secret { .. }
        | MountKind::Ssh { .. } => None,
    }
}

/// Makes a key of a step's own fields, its parent and the content behind each source (by its index).
fn build(
    step: &Step,
    parent: Option<Digest>,
    content: &dyn Fn(usize, From<'_>) -> Digest,
) -> (Key, Vec<NamedInput>) {
    let kind = match &step.op {
        Op::Base(_) => "base",
        Op::Run(_) => "run",
        Op::Copy(_) => "copy",
        Op::Mkdir(_) => "mkdir",
    };
    let mut builder = KeyBuilder::new(kind);
    builder.input("the platform", step.platform.to_string());
    builder.input("the step before", parent);
    match &step.op {
        Op::Base(image) => {
            let chain = ChainId::of(image.layers.iter().map(|layer| layer.diff_id));
            builder.input("the base image", chain.map(|chain| chain.0));
        }
        Op::Run(run) => run_inputs(&mut builder, run, content),
        Op::Copy(copy) => copy_inputs(&mut builder, copy, content),
        Op::Mkdir(Mkdir { parent: _, path, user }) => {
            builder.input("the directory", path.as_bytes());
            builder.input("the user", user);
        }
    }
    builder.finish()
}

fn run_inputs(builder: &mut KeyBuilder, run: &Run, content: &dyn Fn(usize, From<'_>) -> Digest) {
    let Run {
        parent: _,
        argv,
        env,
        proxy_env: _,
        working_dir,
        user,
        mounts,
        secret_env,
        network,
        security,
        extra_hosts,
        ulimits,
    } = run;
    builder.input("the command", argv);
    for variable in env.iter() {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        builder.input(format!("the variable {name}"), value);
    }
    builder.input("the working directory", working_dir.as_bytes());
    builder.input("the user", user);
    let network = match network {
        Network::Host => 0_u64,
        Network::None => 1,
    };
    builder.input("the network", network);
    // What is not asked for is no input, so that keys made before it could be asked for stay.
    if *security == Security::Insecure {
        builder.input("the security", 1_u64);
    }
    for (name, _) in extra_hosts {
        builder.input(format!("the host {name}"), 1_u64);
    }
    for ulimit in ulimits {
        builder.input(format!("the limit {}", ulimit.resource.name()), ulimit.to_string());
    }
    for secret in secret_env {
        builder.input(format!("the secret in {}", secret.name), (secret.id.as_str(), secret.required));
    }
    for (index, mount) in mounts.iter().enumerate() {
        let name = format!("the mount at /{}", mount.target);
        match &mount.kind {
            MountKind::Bind { input, source, readonly } => {
                builder.input(
                    &*name,
                    (0_u64, (content(index, From::Input(input)), (Digest::of(source.as_bytes()), *readonly))),
                );
            }
            MountKind::Cache { id, sharing: _, initial, mode, uid, gid, readonly } => {
                let initial = initial
                    .as_ref()
                    .map(|(input, path)| (content(index, From::Input(input)), Digest::of(path.as_bytes())));
                let owner = (u64::from(*mode), (u64::from(*uid), u64::from(*gid)));
                builder.input(&*name, (1_u64, (id.as_str(), (initial, (owner, *readonly)))));
            }
            MountKind::Tmpfs { size_bytes } => {
                builder.input(&*name, (2_u64, *size_bytes));
            }
            MountKind::File { content, mode } => {
                builder.input(&*name, (3_u64, (Digest::of(content), u64::from(*mode))));
            }
            MountKind::Secret { id, required, mode, uid, gid } => {
                let owner = (u64::from(*mode), (u64::from(*uid), u64::from(*gid)));
                builder.input(&*name, (4_u64, (id.as_str(), (*required, owner))));
            }
            MountKind::Ssh { id, required, mode, uid, gid } => {
                let owner = (u64::from(*mode), (u64::from(*uid), u64::from(*gid)));
                builder.input(&*name, (5_u64, (id.as_str(), (*required, owner))));
            }
        }
    }
}

fn copy_inputs(builder: &mut KeyBuilder, copy: &Copy, content: &dyn Fn(usize, From<'_>) -> Digest) {
    let Copy { parent: _, sources, destination, owner, chmod, excludes, parents, link, extract } = copy;
    builder.input("the destination", destination);
    builder.input("--chown", owner);
    builder.input("--chmod", chmod.as_ref().map(ToString::to_string));
    builder.input("--exclude", excludes);
    builder.input("the flags", (*parents, (*link, *extract)));
    for (index, source) in sources.iter().enumerate() {
        match source {
            Source::Path { input, path } => {
                // The text of the path decides names only where it is a pattern; those are in the content.
                builder.input(format!("the files of {path}"), (0_u64, content(index, From::Input(input))));
            }
            Source::Remote { remote, extract } => {
                // The address is not what a file is: only what is there now, and how it is taken.
                let content = content(index, From::Remote(remote));
                builder.input(format!("the files of {}", remote.shown()), (2_u64, (content, *extract)));
            }
            Source::Inline { name, content } => {
                builder.input(
                    format!("the here-document {name}"),
                    (1_u64, (name.as_str(), Digest::of(content))),
                );
            }
        }
    }
}
