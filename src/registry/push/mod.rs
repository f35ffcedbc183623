//! Pushing: what the registry lacks, and nothing else.
//!
//! In: a root descriptor of the store and a name. Out: a [`Pushed`], and the name in the registry.
//!
//! ```text
//! root -> plan                  pure: documents, and the blobs below them
//!      -> limits                pure: nothing is sent that is too large
//!      -> HEAD the name         it stands for the root already: done
//!      -> each blob: HEAD, or mount from a repository that is known to have it, or upload
//!      -> documents             children first, the name last
//! ```
//!
//! Rules:
//! - The name is written when everything below it is there: an error leaves it as it was.
//! - A blob that the store lacks is mounted, or fetched from where it has been seen.
//! - Uploads go on from the registry's own offset; how, [`way`] decides.
//! - The registry's answers are compared with what was sent; what the store holds was verified when it came in and
//!   is not hashed again.
//!
//! Mirrors are not pushed to. Layers of a build that still runs go [`ahead`] of the push.

mod ahead;
mod limits;
mod plan;
mod report;
mod upload;
mod way;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use self::ahead::{Ahead, AheadOf};
pub use self::limits::Limits;
pub use self::report::{How, Pushed, PushedBlob, Step};

use self::plan::{Part, Plan, Planned};
use self::upload::{Session, Traffic};
use super::error::{Action, Error};
use super::hosts::Endpoint;
use super::resolve::manifest_request;
use super::transport::{Answer, Body, CONTENT_DIGEST, Method, Request, Scopes, header};
use super::{Registry, lock, store_error};
use crate::digest::Digest;
use crate::image::Blob;
use crate::reference::{DEFAULT_TAG, Reference};
use crate::store;

/// As many blobs are looked for and sent at a time.
const PARALLEL: usize = 4;

/// How often it is told how many bytes went out.
const TELL_EVERY: Duration = Duration::from_millis(100);

/// What blobs are brought into: one repository of one registry.
struct Job<'j> {
    endpoint: Endpoint,
    reference: &'j Reference,
    traffic: Arc<Traffic>,
}

impl Registry {
    /// Pushes `root` and everything below it that the registry lacks, and gives it the name `reference`: a tag, or the
    /// root's own digest.
    ///
    /// `tell` is called from several threads.
    ///
    /// # Errors
    /// If something is too large, not to be had, or refused; the name is then what it was.
    pub fn push(
        &self,
        reference: &Reference,
        root: &Blob,
        limits: &Limits,
        tell: &(dyn Fn(Step<'_>) + Sync),
    ) -> Result<Pushed, Error> {
        if let Some(named) = reference.digest.filter(|named| *named != root.digest) {
            return Err(Error::OtherDigest { named, actual: root.digest });
        }
        let plan = Plan::of(root, &mut |blob| self.document(blob))?;
        let endpoints = self.hosts.own_endpoints(reference)?;
        for image in &plan.documents {
            limits::check(image, limits, &endpoints[0].host)?;
        }
        let (endpoint, named) = self.target(&endpoints, reference)?;
        let job = Job { endpoint, reference, traffic: Arc::default() };
        let unchanged = named == Some(root.digest);
        let settled =
            if unchanged { plan.below(BTreeSet::from([root.digest])) } else { self.settled(&job, &plan)? };
        let parts = plan.blobs(&settled);
        let mut blobs = self.place_all(&job, &parts, tell)?;
        if !unchanged {
            self.put_documents(&job, &plan, &settled)?;
        }
        for part in plan.blobs(&BTreeSet::new()) {
            if !blobs.iter().any(|blob| blob.digest == part.blob.digest) {
                let blob = PushedBlob { digest: part.blob.digest, size: part.blob.size, how: How::Present };
                tell(Step::Blob(&blob));
                blobs.push(blob);
            }
        }
        self.remember(&plan, reference);
        Ok(Pushed { reference: reference.clone(), root: root.clone(), unchanged, blobs })
    }

    /// Checks that this user may push to the repository: an upload is begun and taken back.
    ///
    /// # Errors
    /// If it is refused, or the registry cannot be asked.
    pub fn check_push(&self, reference: &Reference) -> Result<(), Error> {
        let endpoints = self.hosts.own_endpoints(reference)?;
        reachable(&endpoints, |endpoint| self.retry.ask(|| self.begin_and_cancel(endpoint)))
    }

    /// Reads a document of the store; `None` if it is not there.
    fn document(&self, blob: &Blob) -> Result<Option<Vec<u8>>, Error> {
        match self.store.read_blob(blob) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(store::Error::Missing { .. }) => Ok(None),
            Err(error) => Err(store_error(&blob.digest, error)),
        }
    }

    /// Asks what the name stands for now, where it can be asked.
    fn target(
        &self,
        endpoints: &[Endpoint],
        reference: &Reference,
    ) -> Result<(Endpoint, Option<Digest>), Error> {
        let name = name_of(reference);
        reachable(endpoints, |endpoint| {
            let named = self.retry.ask(|| self.named(endpoint, &name))?;
            Ok((endpoint.clone(), named.flatten()))
        })
    }

    /// Asks which manifest a tag or a digest names: `None` if nothing, `Some(None)` if the registry does not say.
    fn named(&self, endpoint: &Endpoint, name: &str) -> Result<Option<Option<Digest>>, Error> {
        let mut request = manifest_request(Method::HEAD, endpoint, name);
        // With the scopes of what follows: one token serves for all.
        (request.scopes, request.action) = (Scopes::push(&endpoint.repository), Action::Write);
        match self.transport.send(endpoint, &request) {
            Ok(answer) => Ok(Some(answer.header(&CONTENT_DIGEST).and_then(|digest| digest.parse().ok()))),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Finds the documents that the repository has, with all that is below them. Those that this process pushed are
    /// there; those that were seen there before are asked for.
    fn settled(&self, job: &Job<'_>, plan: &Plan) -> Result<BTreeSet<Digest>, Error> {
        let mut settled = BTreeSet::new();
        for document in plan.documents.iter().rev() {
            let digest = document.blob.digest;
            if settled.contains(&digest) {
                continue;
            }
            let name = digest.to_string();
            let here = || lock(&self.pushed).contains(&(job.reference.name(), digest));
            let seen = || self.store.seen(&digest).iter().any(|place| place.name() == job.reference.name());
            if here() || seen() && self.retry.ask(|| self.named(&job.endpoint, &name))?.is_some() {
                settled.insert(digest);
                settled = plan.below(settled);
            }
        }
        Ok(settled)
    }

    /// Brings blobs into the repository, several at a time.
    fn place_all(
        &self,
        job: &Job<'_>,
        parts: &[&Part],
        tell: &(dyn Fn(Step<'_>) + Sync),
    ) -> Result<Vec<PushedBlob>, Error> {
        let (placed, first_error) = (Mutex::new(Vec::new()), Mutex::new(None));
        job.traffic.share(parts.iter().enumerate(), tell, |(index, part)| match self.place(job, part) {
            Ok(blob) => {
                tell(Step::Blob(&blob));
                lock(&placed).push((index, blob));
            }
            Err(error) => {
                // In this order, so that no `Cancelled` gets in before its reason.
                lock(&first_error).get_or_insert(error);
                job.traffic.stop();
            }
        });
        if let Some(error) = first_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let mut placed = placed.into_inner().unwrap_or_else(PoisonError::into_inner);
        placed.sort_by_key(|(index, _)| *index);
        Ok(placed.into_iter().map(|(_, blob)| blob).collect())
    }

    /// Brings one blob into the repository, with as little work as it takes.
    fn place(&self, job: &Job<'_>, part: &Part) -> Result<PushedBlob, Error> {
        let Part { blob, .. } = part;
        let how = if part.foreign {
            How::Foreign
        } else if let Some(how) = self.sent_ahead(job.reference, &blob.digest) {
            how
        } else if self.retry.ask(|| self.has_blob(&job.endpoint, blob))? {
            How::Present
        } else {
            match self.mount_from_anywhere(job, blob) {
                Mounted::From(from) => How::Mounted { from },
                Mounted::Nowhere(session) => self.send(job, blob, session)?,
            }
        };
        Ok(PushedBlob { digest: blob.digest, size: blob.size, how })
    }

    fn send(&self, job: &Job<'_>, blob: &Blob, session: Option<Session>) -> Result<How, Error> {
        if !self.store.contains(blob) {
            self.fetch_from_anywhere(blob)?;
        }
        job.traffic.to_send.fetch_add(blob.size, Ordering::Relaxed);
        let began = Instant::now();
        let bytes = self.upload(&job.endpoint, blob, session, &job.traffic)?;
        Ok(How::Uploaded { bytes, elapsed: began.elapsed() })
    }

    /// Tries to mount a blob from every repository of the registry in which it has been seen. Whoever refuses is
    /// passed over: then the blob is sent.
    fn mount_from_anywhere(&self, job: &Job<'_>, blob: &Blob) -> Mounted {
        let mut begun = None;
        for repository in self.places_in(&job.endpoint, blob) {
            match self.retry.ask(|| self.mount(&job.endpoint, blob, &repository)) {
                Ok(None) => {
                    self.cancel(&job.endpoint, begun);
                    return Mounted::From(repository);
                }
                Ok(Some(session)) => self.cancel(&job.endpoint, begun.replace(session)),
                Err(_) => {}
            }
        }
        Mounted::Nowhere(begun)
    }

    /// Returns the other repositories of the endpoint's host in which a blob has been seen.
    fn places_in(&self, endpoint: &Endpoint, blob: &Blob) -> Vec<String> {
        let own = |place: &Reference| self.hosts.own_endpoints(place).ok()?.into_iter().next();
        let places = self.store.seen(&blob.digest).into_iter().filter_map(|place| own(&place));
        places
            .filter(|place| place.host == endpoint.host && place.repository != endpoint.repository)
            .map(|place| place.repository)
            .collect()
    }

    /// Fetches a blob that the store lacks from a repository in which it has been seen.
    fn fetch_from_anywhere(&self, blob: &Blob) -> Result<(), Error> {
        let mut last = None;
        for place in self.store.seen(&blob.digest) {
            match self.fetch(&place, std::slice::from_ref(blob), &|_, _| ()) {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(Error::Nowhere { digest: blob.digest }))
    }

    /// Writes manifests and indexes: children by their digests, the root last by its name.
    fn put_documents(&self, job: &Job<'_>, plan: &Plan, settled: &BTreeSet<Digest>) -> Result<(), Error> {
        for absent in &plan.absent {
            let name = absent.digest.to_string();
            if !settled.contains(&absent.digest)
                && self.retry.ask(|| self.named(&job.endpoint, &name))?.is_none()
            {
                return Err(Error::Nowhere { digest: absent.digest });
            }
        }
        let root = plan.root();
        for document in &plan.documents {
            if document.blob == root.blob {
                self.put_document(job, document, &name_of(job.reference))?;
            } else if !settled.contains(&document.blob.digest) {
                self.put_document(job, document, &document.blob.digest.to_string())?;
            }
        }
        Ok(())
    }

    fn put_document(&self, job: &Job<'_>, document: &Planned, name: &str) -> Result<(), Error> {
        let mut request = Request::push(Method::PUT, &job.endpoint, &format!("manifests/{name}"), name)
            .header(header::CONTENT_TYPE, &document.blob.media_type);
        request.body = Body::Bytes(document.bytes.clone().into());
        self.retry.ask(|| {
            let answer = self.transport.send(&job.endpoint, &request)?;
            same_digest(&job.endpoint, &answer, &document.blob.digest)
        })
    }

    /// Notes where everything is now. A note that cannot be written costs a request later, and no push.
    fn remember(&self, plan: &Plan, reference: &Reference) {
        for document in &plan.documents {
            let parts = document.parts.iter().filter(|part| !part.foreign).map(|part| &part.blob.digest);
            for digest in parts.chain([&document.blob.digest]) {
                let _ = self.store.note_seen(digest, reference);
            }
            lock(&self.pushed).insert((reference.name(), document.blob.digest));
        }
    }
}

/// What came of mounting.
enum Mounted {
    /// The repository has the blob now.
    From(String),
    /// Nobody gave it; a registry that does not mount begins an upload.
    Nowhere(Option<Session>),
}

impl Traffic {
    /// Ends what is being sent.
    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Does `work` with each of `items`, several at a time, until there are no more or the traffic is stopped; tells how
    /// many bytes went out.
    fn share<T: Send>(
        &self,
        items: impl Iterator<Item = T> + Send,
        tell: &(dyn Fn(Step<'_>) + Sync),
        work: impl Fn(T) + Sync,
    ) {
        let items = Mutex::new(items);
        let (working, workers) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL {
                let (working, items, work) = (working.clone(), &items, &work);
                scope.spawn(move || {
                    while !self.stopped.load(Ordering::Relaxed)
                        && let Some(item) = { lock(items).next() }
                    {
                        work(item);
                    }
                    drop(working);
                });
            }
            drop(working);
            self.tell_of_bytes(&workers, tell);
        });
    }

    /// Tells how many bytes went out until all workers are gone.
    fn tell_of_bytes(&self, workers: &mpsc::Receiver<()>, tell: &(dyn Fn(Step<'_>) + Sync)) {
        let mut told = (0, 0);
        loop {
            let ended = workers.recv_timeout(TELL_EVERY) != Err(RecvTimeoutError::Timeout);
            let total = self.to_send.load(Ordering::Relaxed);
            // What went out twice is not done twice.
            let now = (self.sent.load(Ordering::Relaxed).min(total), total);
            if now != told {
                tell(Step::Sent { done: now.0, total: now.1 });
                told = now;
            }
            if ended {
                return;
            }
        }
    }
}

/// Returns the tag or the digest by which the registry is to know a manifest.
fn name_of(reference: &Reference) -> String {
    match (&reference.tag, &reference.digest) {
        (Some(tag), _) => tag.clone(),
        (None, Some(digest)) => digest.to_string(),
        (None, None) => DEFAULT_TAG.to_owned(),
    }
}

/// Asks the first endpoint that can be reached: an insecure host may speak TLS or not.
fn reachable<T>(endpoints: &[Endpoint], ask: impl Fn(&Endpoint) -> Result<T, Error>) -> Result<T, Error> {
    let (last, others) = endpoints.split_last().expect("a name has at least its own registry as endpoint");
    for endpoint in others {
        match ask(endpoint) {
            Err(Error::Network { .. }) => {}
            other => return other,
        }
    }
    ask(last)
}

/// Compares what the registry says it has taken with what was sent; saying so is optional.
fn same_digest(endpoint: &Endpoint, answer: &Answer<'_>, sent: &Digest) -> Result<(), Error> {
    match answer.header(&CONTENT_DIGEST) {
        Some(taken) if taken != sent.to_string() => Err(Error::Altered {
            host: endpoint.host.clone(),
            repository: endpoint.repository.clone(),
            digest: *sent,
            actual: super::error::excerpt(taken),
        }),
        _ => Ok(()),
    }
}
