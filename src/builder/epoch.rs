//! A `SOURCE_DATE_EPOCH` that is no number: the time of a context, or of what a stage adds (statement 228).

use super::{Error, NamedContext, Request, open_context};
use crate::dockerfile;
use crate::graph::{Copy, Graph, Op, Remote, Source, Step};
use crate::lower::{self, Bases, Lowered};
use crate::remote::Remotes;
use crate::store::Store;
use crate::time::Timestamp;

/// The argument's name.
const NAME: &str = "SOURCE_DATE_EPOCH";

/// Why a value of `SOURCE_DATE_EPOCH` gives no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    /// It names nothing.
    #[error("invalid SOURCE_DATE_EPOCH: {0}")]
    Unknown(String),
    /// It names a stage that is more than one download or repository.
    #[error("the SOURCE_DATE_EPOCH stage `{0}` must be FROM scratch with exactly one remote ADD")]
    Stage(String),
}

/// Finds the time that `value` stands for: seconds, `context`, a named context, or a stage with a single remote
/// ADD. `None` where the source has no time: a directory has none (statement 229).
///
/// # Errors
/// If the value names nothing, or what it names cannot be asked.
pub fn resolve_epoch(
    value: &str,
    request: &Request,
    remotes: &Remotes,
    store: &Store,
) -> Result<Option<Timestamp>, Error> {
    if value.is_empty() {
        return Ok(None);
    }
    if let Ok(seconds) = value.parse() {
        return Ok(Some(Timestamp(seconds)));
    }
    if value == "context" {
        return Ok(request.foreign_context.as_ref().and_then(|context| context.time));
    }
    if let Some(context) = request.named_contexts.get(&value.to_lowercase()) {
        return match context {
            NamedContext::Remote(remote) => Ok(open_context(remote, remotes, store)?.time),
            _ => Ok(None),
        };
    }
    let remote = remote_of_stage(value, request)?;
    Ok(match &remote {
        Remote::Git(_) => remotes.time(&remote, &|_, _| {})?,
        Remote::Http(_) => open_context(&remote, remotes, store)?.time,
    })
}

fn remote_of_stage(value: &str, request: &Request) -> Result<Remote, EpochError> {
    let unknown = || EpochError::Unknown(value.to_owned());
    let file = dockerfile::parse(request.dockerfile.clone()).dockerfile.ok_or_else(unknown)?;
    let is_named = |stage: &dockerfile::instruction::Stage| {
        stage.from.name.as_ref().is_some_and(|name| name.value.eq_ignore_ascii_case(value))
    };
    if !file.stages.iter().any(is_named) {
        return Err(unknown());
    }
    let mut options = request.lower_options();
    options.target = Some(value.to_owned());
    options.build_args.remove(NAME);
    let wrong = || EpochError::Stage(value.to_owned());
    match lower::lower(&file, &options, &Bases::default()) {
        Ok(Lowered::Done { graph, .. }) => only_remote(&graph).ok_or_else(wrong),
        Ok(Lowered::Missing(_)) | Err(_) => Err(wrong()),
    }
}

fn only_remote(graph: &Graph) -> Option<Remote> {
    let [Step { op: Op::Copy(Copy { sources, parent: None, .. }), .. }] = graph.steps() else { return None };
    let [Source::Remote { remote, .. }] = &sources[..] else { return None };
    Some(remote.clone())
}
