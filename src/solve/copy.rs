//! COPY, ADD and WORKDIR: files go from where they lie straight into a layer.

use std::sync::Arc;

use super::ahead::Copied;
use super::error::Cause;
use super::extract::{self, Part};
use super::inputs::{Chosen, choose_of_step};
use super::key::Definition;
use super::pack::Early;
use super::schedule::Inputs;
use super::snapshot::Snapshot;
use super::{Workshop, bytes, remote};
use crate::diagnostic::{Diagnostic, Severity, Span};
use crate::event::Event;
use crate::graph::{Copy, Input, Mkdir, Source};
use crate::path::RelPath;
use crate::place::{self, Accounts, Ids, Owner, Warning};
use crate::store::Scratch;
use crate::tree::{Changes, Tree};

/// Does a COPY or ADD, as far as it was not done ahead.
pub(super) fn copy(
    copy: &Copy,
    span: Option<Span>,
    definition: &Definition,
    copied: Option<Copied>,
    inputs: &Inputs,
    workshop: &Workshop<'_>,
) -> Result<(Snapshot, Early), Cause> {
    let (changes, warnings, scratches, early) = match copied {
        Some(Copied { changes, warnings, layer }) => (changes, warnings, Vec::new(), Early::Layer(layer)),
        None => {
            let (changes, warnings, scratches) = placed(copy, &definition.chosen, inputs, workshop)?;
            (changes, warnings, scratches, Early::Nothing)
        }
    };
    tell(workshop, span, &warnings);
    Ok((Snapshot::made(inputs.parent.clone(), changes, workshop.now).keeping(scratches), early))
}

/// Returns what a COPY or ADD of what was `chosen` changes, what is to be told of it, and directories that hold bytes of
/// it.
pub(super) fn placed(
    copy: &Copy,
    chosen_of_contexts: &[Option<Arc<Chosen>>],
    inputs: &Inputs,
    workshop: &Workshop<'_>,
) -> Result<(Changes, Vec<Warning>, Vec<Scratch>), Cause> {
    let mut scratches = Vec::new();
    let view = match &inputs.parent {
        // Laid over without looking: what is below does not have to be known.
        Some(_) if copy.link && copy.chmod.is_none() => Tree::empty(),
        Some(parent) => parent.tree(workshop)?.clone(),
        None => Tree::empty(),
    };
    let (owner, mut warnings) = match &copy.owner {
        Some(owner) => {
            let (ids, warnings) = owner_ids(&Owner::parse(owner), &view, inputs.parent.as_ref(), workshop)?;
            (Some(ids), warnings)
        }
        None => (None, Vec::new()),
    };

    let mut chosen = Vec::new();
    for (index, source) in copy.sources.iter().enumerate() {
        chosen.push(match source {
            Source::Inline { .. } => None,
            Source::Remote { remote, .. } => {
                let files = remote::again(remote, workshop)?;
                let chosen = remote::choose(remote, &files, &copy.excludes)?;
                Some((Arc::new(chosen), files.bytes()))
            }
            Source::Path { input, path } => Some(match (&chosen_of_contexts[index], input) {
                (Some(chosen), _) => {
                    (chosen.clone(), chosen.bytes.clone().expect("files of a context lie in it"))
                }
                (None, Input::Step(id)) => {
                    let snapshot = inputs.source(*id);
                    let chosen = choose_of_step(snapshot, path, copy.parents, &copy.excludes, workshop)?;
                    let located = match snapshot {
                        Some(snapshot) => bytes::locate(snapshot, &chosen, workshop)?,
                        None => bytes::Located::nowhere(),
                    };
                    scratches.extend(located.scratch);
                    (Arc::new(chosen), located.bytes)
                }
                (None, Input::Context(_) | Input::Empty) => (
                    Arc::new(choose_of_step(None, path, copy.parents, &copy.excludes, workshop)?),
                    bytes::nowhere(),
                ),
            }),
        });
    }
    let options = place::Options {
        destination: &copy.destination,
        owner,
        chmod: copy.chmod.as_ref(),
        link: copy.link,
        now: workshop.new_mtime(),
    };
    let mut parts = Vec::new();
    for (source, chosen) in copy.sources.iter().zip(&chosen) {
        let extract = match source {
            Source::Remote { extract, .. } => *extract,
            Source::Path { .. } | Source::Inline { .. } => copy.extract,
        };
        parts.push(match chosen {
            Some((chosen, bytes)) if extract => extract::split(chosen, bytes, workshop)?,
            Some((chosen, _)) => vec![Part::Plain(chosen.selection.clone())],
            None => Vec::new(),
        });
    }
    let written = |source: &Source| match source {
        Source::Path { path, .. } => path.clone(),
        Source::Remote { remote, .. } => remote.shown(),
        Source::Inline { name, .. } => name.clone(),
    };
    let written: Vec<String> = copy.sources.iter().map(written).collect();
    let mut sources = Vec::new();
    for (((source, written), chosen), parts) in copy.sources.iter().zip(&written).zip(&chosen).zip(&parts) {
        match (source, chosen) {
            (Source::Path { .. } | Source::Remote { .. }, Some((chosen, bytes))) => {
                sources.extend(parts.iter().map(|part| match part {
                    Part::Plain(selection) => place::Source::Selected {
                        pattern: written,
                        entries: chosen.entries(),
                        selection,
                        bytes: bytes.clone(),
                    },
                    Part::Archive { members, bytes, .. } => {
                        place::Source::Archive { members, bytes: bytes.clone() }
                    }
                }))
            }
            (Source::Inline { name, content }, _) => {
                sources.push(place::Source::Inline { name, content: content.clone() });
            }
            (Source::Path { .. } | Source::Remote { .. }, None) => unreachable!("every path was chosen"),
        }
    }
    let placed = place::place(&view, &sources, &options)?;
    warnings.extend(placed.warnings);
    scratches.extend(parts.into_iter().flatten().filter_map(|part| match part {
        Part::Archive { scratch, .. } => Some(scratch),
        Part::Plain(_) => None,
    }));
    Ok((placed.changes, warnings, scratches))
}

/// Does a WORKDIR.
pub(super) fn mkdir(
    mkdir: &Mkdir,
    span: Option<Span>,
    inputs: &Inputs,
    workshop: &Workshop<'_>,
) -> Result<Snapshot, Cause> {
    let (snapshot, warnings) = made_directory(mkdir, inputs, workshop)?;
    tell(workshop, span, &warnings);
    Ok(snapshot)
}

/// Returns what a WORKDIR makes, and what is to be told of it.
pub(super) fn made_directory(
    mkdir: &Mkdir,
    inputs: &Inputs,
    workshop: &Workshop<'_>,
) -> Result<(Snapshot, Vec<Warning>), Cause> {
    let view = match &inputs.parent {
        Some(parent) => parent.tree(workshop)?.clone(),
        None => Tree::empty(),
    };
    let (owner, warnings) = match mkdir.user.as_str() {
        "" => (Ids::default(), Vec::new()),
        user => owner_ids(&Owner::parse(user), &view, inputs.parent.as_ref(), workshop)?,
    };
    let changes = place::mkdir(&view, &mkdir.path, owner, workshop.new_mtime())?;
    Ok((Snapshot::made(inputs.parent.clone(), changes, workshop.now), warnings))
}

/// Finds the ids of an owner; reads the accounts of the root file system only for names.
fn owner_ids(
    owner: &Owner,
    view: &Tree,
    parent: Option<&Arc<Snapshot>>,
    workshop: &Workshop<'_>,
) -> Result<(Ids, Vec<Warning>), Cause> {
    let read = |needed: bool, path: &str| match parent {
        Some(parent) if needed => bytes::read_file(parent, view, &RelPath::clean(path), workshop),
        Some(_) | None => Ok(None),
    };
    let accounts = Accounts {
        passwd: read(owner.needs_passwd(), "etc/passwd")?,
        group: read(owner.needs_group(), "etc/group")?,
    };
    Ok(owner.ids(&accounts))
}

fn tell(workshop: &Workshop<'_>, span: Option<Span>, warnings: &[Warning]) {
    for warning in warnings {
        let finding = Diagnostic {
            severity: Severity::Warning,
            rule: None,
            message: warning.to_string(),
            span: span.unwrap_or_default(),
            help: None,
        };
        workshop.listener.event(Event::Warning(finding));
    }
}
