//! Files of other machines: named before anything is done, brought when a step reads them.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{Cause, Error};
use super::inputs::{Chosen, choose_in, literal};
use super::{FetchError, Workshop};
use crate::context::Files;
use crate::digest::Digest;
use crate::event::Event;
use crate::graph::{Graph, Op, Remote, Source};

/// Says how far a transfer is: bytes that came, and all of them if that is known.
pub type Progress<'a> = dyn Fn(u64, Option<u64>) + Sync + 'a;

/// Brings files from other machines. What it returned stays as it is until the build has ended.
pub trait Remotes: Sync {
    /// Returns what stands for the content now, as cheaply as possible: equal digests, equal files.
    ///
    /// # Errors
    /// If it cannot be found out.
    fn identify(&self, remote: &Remote, progress: &Progress<'_>) -> Result<Digest, FetchError>;

    /// Brings the files.
    ///
    /// # Errors
    /// If they cannot be had, or are not what was identified.
    fn open(&self, remote: &Remote, progress: &Progress<'_>) -> Result<Arc<Files>, FetchError>;
}

/// What is known of the remote sources of a graph.
pub(super) struct Identities<'g>(HashMap<&'g Remote, Digest>);

impl<'g> Identities<'g> {
    /// Identifies every remote source, all at the same time: it is waiting, not work.
    pub(super) fn find(graph: &'g Graph, workshop: &Workshop<'_>) -> Result<Self, Error> {
        let mut wanted = Vec::new();
        for step in graph.steps() {
            let Op::Copy(copy) = &step.op else { continue };
            for source in &copy.sources {
                if let Source::Remote { remote, .. } = source
                    && wanted.iter().all(|(known, _)| *known != remote)
                {
                    wanted.push((remote, step));
                }
            }
        }
        let answers: Vec<_> = std::thread::scope(|scope| {
            let ask = |remote: &'g Remote| scope.spawn(move || identify(remote, workshop));
            let threads: Vec<_> = wanted.iter().map(|(remote, _)| ask(remote)).collect();
            threads.into_iter().map(|thread| thread.join().expect("a look-up returns its errors")).collect()
        });
        let mut identities = HashMap::new();
        for ((remote, step), answer) in wanted.into_iter().zip(answers) {
            let digest = answer.map_err(|cause| Error {
                name: step.name.clone(),
                span: step.span,
                cause: Box::new(cause),
            })?;
            identities.insert(remote, digest);
        }
        Ok(Self(identities))
    }

    pub(super) fn of(&self, remote: &Remote) -> Digest {
        *self.0.get(remote).expect("every remote source of the graph was identified")
    }
}

fn identify(remote: &Remote, workshop: &Workshop<'_>) -> Result<Digest, Cause> {
    with_progress(remote, "checking", workshop, |progress| workshop.remotes.identify(remote, progress))
}

/// Brings the files of a remote source or context.
pub(super) fn open(remote: &Remote, workshop: &Workshop<'_>) -> Result<Arc<Files>, Cause> {
    with_progress(remote, "fetching", workshop, |progress| workshop.remotes.open(remote, progress))
}

/// Returns the files of a remote source that were brought when the key of the step was made.
pub(super) fn again(remote: &Remote, workshop: &Workshop<'_>) -> Result<Arc<Files>, Cause> {
    let files = workshop.remotes.open(remote, &|_, _| {});
    files.map_err(|source| Cause::Remote { address: remote.shown(), source })
}

/// Selects what an ADD takes of a remote source: all of it.
pub(super) fn choose(remote: &Remote, files: &Files, excludes: &[String]) -> Result<Chosen, Cause> {
    let path = match remote {
        Remote::Http(source) => literal(&crate::path::RelPath::clean(&source.name)),
        Remote::Git(_) => "/".to_owned(),
    };
    choose_in(&files.tree, "what was fetched", &path, false, excludes)
}

fn with_progress<T>(
    remote: &Remote,
    what: &str,
    workshop: &Workshop<'_>,
    work: impl FnOnce(&Progress<'_>) -> Result<T, FetchError>,
) -> Result<T, Cause> {
    let address = remote.shown();
    workshop.task(format!("{what} {address}"), |task| {
        let progress = |done, total| workshop.listener.event(Event::TaskProgress { task, done, total });
        work(&progress).map_err(|source| Cause::Remote { address: address.clone(), source })
    })
}
