//! Blobs that go ahead of the push: layers of a build that still runs, which no manifest names yet.
//!
//! What fails here is not told: the push that follows tries it again, and its error counts. What went well the push
//! does not ask for again, and reports as if it had been sent then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::super::error::Error;
use super::super::hosts::Endpoint;
use super::super::{Registry, lock};
use super::plan::{Part, is_foreign};
use super::upload::Traffic;
use super::{How, Job, Limits, Step, limits, reachable};
use crate::digest::Digest;
use crate::image::Blob;
use crate::reference::Reference;

/// A blob that goes ahead, and the names under which manifests that name it will be pushed.
#[derive(Debug, Clone)]
pub struct AheadOf {
    /// A layer.
    pub blob: Blob,
    /// Of each the repository counts, and what it must not exceed.
    pub targets: Vec<(Reference, Limits)>,
}

/// Sends blobs ahead of their manifests.
pub struct Ahead<'r> {
    registry: &'r Registry,
    traffic: Arc<Traffic>,
    /// By repository: where it was reached, and the bytes of its layers so far.
    reached: Mutex<BTreeMap<String, (Endpoint, u64)>>,
}

impl Registry {
    /// Begins to send blobs before there are manifests that name them.
    pub fn ahead(&self) -> Ahead<'_> {
        Ahead { registry: self, traffic: Arc::default(), reached: Mutex::default() }
    }

    /// Takes note of a blob that went ahead into the repository of `reference`, once.
    pub(super) fn sent_ahead(&self, reference: &Reference, digest: &Digest) -> Option<How> {
        lock(&self.ahead).remove(&(reference.name(), *digest))
    }
}

impl Ahead<'_> {
    /// Brings each blob into its repositories as soon as `blobs` yields it, several at a time; returns when all that
    /// could be brought are there, or after [`Ahead::stop`].
    pub fn send(&self, blobs: impl Iterator<Item = AheadOf> + Send, tell: &(dyn Fn(Step<'_>) + Sync)) {
        self.traffic.share(blobs, tell, |AheadOf { blob, targets }| {
            // One after the other, so that the second mounts what the first got.
            for (reference, limits) in targets {
                // See the module: the push that follows says what is wrong.
                let _ = self.place(&blob, &reference, &limits);
            }
        });
    }

    /// Ends what is being sent: there will be no push.
    pub fn stop(&self) {
        self.traffic.stop();
    }

    fn place(&self, blob: &Blob, reference: &Reference, limits: &Limits) -> Result<(), Error> {
        let place = (reference.name(), blob.digest);
        if is_foreign(blob) || lock(&self.registry.ahead).contains_key(&place) {
            return Ok(());
        }
        let (endpoint, sum) = self.reach(blob, reference)?;
        if !limits::allow(sum, blob.size, limits, &endpoint.host) {
            return Ok(());
        }
        let job = Job { endpoint, reference, traffic: Arc::clone(&self.traffic) };
        let part = Part { blob: blob.clone(), made_by: None, foreign: false };
        let placed = self.registry.place(&job, &part)?;
        // A note that cannot be written costs a request later.
        let _ = self.registry.store.note_seen(&blob.digest, reference);
        lock(&self.registry.ahead).insert(place, placed.how);
        Ok(())
    }

    /// Returns where the repository is reached, and the bytes of its layers with this one.
    fn reach(&self, blob: &Blob, reference: &Reference) -> Result<(Endpoint, u64), Error> {
        let add = |reached: &mut (Endpoint, u64)| {
            reached.1 += blob.size;
            reached.clone()
        };
        if let Some(reached) = lock(&self.reached).get_mut(&reference.name()) {
            return Ok(add(reached));
        }
        let endpoints = self.registry.hosts.own_endpoints(reference)?;
        let endpoint = match &endpoints[..] {
            [only] => only.clone(),
            several => reachable(several, |endpoint| {
                self.registry.retry.ask(|| self.registry.has_blob(endpoint, blob))?;
                Ok(endpoint.clone())
            })?,
        };
        Ok(add(lock(&self.reached).entry(reference.name()).or_insert((endpoint, 0))))
    }
}
