//! Blobs into the store: several at a time, each verified, resumed when the connection breaks.
//!
//! Each download has a thread of its own, which reads from the transport and writes to the store; nothing is
//! shared between two downloads but the list of what is to be done. A blob that is being fetched already,
//! by whomever in this process, is waited for.

use std::collections::{HashSet, VecDeque};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use super::error::Error;
use super::hosts::Endpoint;
use super::transport::{Method, Request, header, protocol};
use super::{Registry, in_turn, lock, store_error, wrong_bytes};
use crate::digest::Digest;
use crate::image::Blob;
use crate::reference::Reference;
use crate::store;

/// More connections make a registry's share no larger, and small layers do not wait long for a large one.
const PARALLEL: usize = 4;

/// The blobs that this process is fetching now.
#[derive(Default)]
pub(super) struct InFlight {
    digests: Mutex<HashSet<Digest>>,
    landed: Condvar,
}

/// The right to fetch one blob; whoever waits for it goes on when this is dropped.
struct Claim<'f> {
    flights: &'f InFlight,
    digest: Digest,
}

impl InFlight {
    /// Waits until nobody else fetches the blob, and claims it.
    fn claim(&self, digest: Digest) -> Claim<'_> {
        let mut digests = lock(&self.digests);
        while !digests.insert(digest) {
            digests = self.landed.wait(digests).unwrap_or_else(PoisonError::into_inner);
        }
        Claim { flights: self, digest }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        lock(&self.flights.digests).remove(&self.digest);
        self.flights.landed.notify_all();
    }
}

/// The state of one call of [`Registry::fetch`].
struct Job<'j> {
    endpoints: Vec<Endpoint>,
    name: String,
    progress: &'j (dyn Fn(u64, u64) + Sync),
    total: u64,
    done: AtomicU64,
    stopped: AtomicBool,
}

impl Registry {
    /// Fetches blobs of the repository of `from` that the store lacks.
    ///
    /// `progress` is called from several threads with the bytes that are there and the bytes that there will
    /// be; what the store has already counts as there.
    ///
    /// # Errors
    /// The first failure; the other downloads are then given up.
    pub fn fetch(
        &self,
        from: &Reference,
        blobs: &[Blob],
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<(), Error> {
        let mut seen = HashSet::new();
        let queue: VecDeque<&Blob> = blobs.iter().filter(|blob| seen.insert(blob.digest)).collect();
        let job = Job {
            endpoints: self.hosts.endpoints(from)?,
            name: from.name(),
            progress,
            total: queue.iter().map(|blob| blob.size).sum(),
            done: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        };
        let threads = PARALLEL.min(queue.len());
        let (queue, first_error) = (Mutex::new(queue), Mutex::new(None));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(blob) = job.next(&queue) {
                        if let Err(error) = self.fetch_one(&job, blob) {
                            // In this order, so that no `Cancelled` gets in before its reason.
                            lock(&first_error).get_or_insert(error);
                            job.stopped.store(true, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        first_error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn fetch_one(&self, job: &Job<'_>, blob: &Blob) -> Result<(), Error> {
        let _claim = self.in_flight.claim(blob.digest);
        if self.store.contains(blob) {
            job.advance(blob.size);
            return Ok(());
        }
        let mut counted = 0;
        let what = format!("{}@{}", job.name, blob.digest);
        in_turn(&job.endpoints, &what, |endpoint| {
            self.download(endpoint, blob, &mut |written| {
                if job.stopped.load(Ordering::Relaxed) {
                    return Err(Error::Cancelled);
                }
                // A download that began anew has to pass what was counted before.
                if written > counted {
                    job.advance(written - counted);
                    counted = written;
                }
                Ok(())
            })
        })
    }

    /// Reads one blob from one endpoint into the store; `written` hears how much of it is there. A layer that the
    /// endpoint lacks is looked for where its manifest says that it lies.
    pub(super) fn download(
        &self,
        endpoint: &Endpoint,
        blob: &Blob,
        written: &mut dyn FnMut(u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let about = blob.digest.to_string();
        let own = Request::new(Method::GET, endpoint, &format!("blobs/{about}"), &about);
        let refused = match self.download_by(endpoint, &own, blob, written) {
            Err(error) if error.status() == Some(404) => error,
            other => return other,
        };
        for url in self.foreign.urls(&blob.digest) {
            let elsewhere = Request { url, ..own.clone() };
            if self.download_by(endpoint, &elsewhere, blob, written).is_ok() {
                return Ok(());
            }
        }
        Err(refused)
    }

    fn download_by(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        blob: &Blob,
        written: &mut dyn FnMut(u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut writer = None;
        let mut resumed = false;
        let mut receive = |writer: &mut Option<store::BlobWriter>, resumed: &mut bool| {
            self.receive(endpoint, request, blob, writer, resumed, written)
        };
        let result = self.retry.ask(|| receive(&mut writer, &mut resumed));
        match result.and_then(|()| self.commit(endpoint, blob, writer.take())) {
            // Two halves of which one was bad: the whole once more, in one piece.
            Err(Error::Mismatch { .. }) if resumed => {
                let mut writer = None;
                receive(&mut writer, &mut resumed)?;
                self.commit(endpoint, blob, writer)
            }
            other => other,
        }
    }

    /// Continues a download where `writer` ends; leaves in it what came, whatever happens.
    fn receive(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        blob: &Blob,
        writer: &mut Option<store::BlobWriter>,
        resumed: &mut bool,
        written: &mut dyn FnMut(u64) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let kept = |error: std::io::Error| store_error(&blob.digest, error);
        if writer.as_ref().is_some_and(|writer| writer.size() == blob.size) {
            return Ok(());
        }
        let begin = || self.store.writer().map_err(|error| store_error(&blob.digest, error));
        let offset = writer.as_ref().map_or(0, store::BlobWriter::size);
        let mut answer = self.transport.send(endpoint, &from(request, offset))?;
        let sink = match writer {
            Some(begun) if answer.status() == 206 && begins_at(answer.headers(), offset) => {
                *resumed |= offset > 0;
                begun
            }
            // All of it: nothing came yet, or the registry knows no ranges.
            stale if answer.status() == 200 => stale.insert(begin()?),
            _ => {
                return Err(protocol(
                    endpoint,
                    format!("the range of {} that it sent was not asked for", blob.digest),
                ));
            }
        };
        while let Some(piece) = answer.next() {
            sink.write_all(&piece?).map_err(kept)?;
            if sink.size() > blob.size {
                break;
            }
            written(sink.size())?;
        }
        sink.flush().map_err(kept)
    }

    fn commit(
        &self,
        endpoint: &Endpoint,
        blob: &Blob,
        writer: Option<store::BlobWriter>,
    ) -> Result<(), Error> {
        let writer = writer.expect("a finished download has a writer");
        writer.commit_as(blob).map_err(|error| match error {
            store::Error::Mismatch { actual, actual_size, .. } => {
                let actual = format!("{actual}, {actual_size} bytes or more of {}", blob.size);
                wrong_bytes(endpoint, blob.digest, actual)
            }
            other => store_error(&blob.digest, other),
        })
    }
}

/// Asks for a blob from `offset` on.
fn from(request: &Request, offset: u64) -> Request {
    match offset {
        0 => request.clone(),
        _ => request.clone().header(header::RANGE, &format!("bytes={offset}-")),
    }
}

/// Tells whether a partial answer (RFC 9110, 14.4: `Content-Range: bytes 5-9/10`) begins where it was asked to.
fn begins_at(headers: &header::HeaderMap, offset: u64) -> bool {
    let range = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range
        .and_then(|range| range.strip_prefix("bytes "))
        .and_then(|range| range.split_once('-')?.0.trim().parse::<u64>().ok())
        .is_some_and(|first| first == offset)
}

impl Job<'_> {
    fn next<'b>(&self, queue: &Mutex<VecDeque<&'b Blob>>) -> Option<&'b Blob> {
        if self.stopped.load(Ordering::Relaxed) { None } else { lock(queue).pop_front() }
    }

    fn advance(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        (self.progress)(done, self.total);
    }
}
