//! One blob into a repository: an upload session, resumed from the registry's own offset.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::super::error::Error;
use super::super::hosts::Endpoint;
use super::super::transport::{Answer, Body, Method, Part, Request, Url, header, protocol};
use super::super::{Registry, lock, store_error};
use super::limits;
use super::way::{self, Standing, Turn, Way};
use crate::image::Blob;
use crate::store;

const CHUNK_MIN: header::HeaderName = header::HeaderName::from_static("oci-chunk-min-length");
const CHUNK_MAX: header::HeaderName = header::HeaderName::from_static("oci-chunk-max-length");

const OCTETS: &str = "application/octet-stream";

/// So often an upload may change its way or begin anew: more often, and the registry plays with us.
const TURN_LIMIT: u32 = 16;

/// What all uploads of a push share.
#[derive(Default)]
pub(super) struct Traffic {
    /// The bytes that are to go out, as far as is known.
    pub(super) to_send: AtomicU64,
    /// The bytes that went out.
    pub(super) sent: AtomicU64,
    /// Set when another upload has failed.
    pub(super) stopped: AtomicBool,
}

/// An upload that the registry waits for.
pub(super) struct Session {
    url: Url,
    /// What the registry is known to have.
    offset: u64,
    /// Whether that is certain; not after a request that failed.
    sure: bool,
    shortest_chunk: u64,
    longest_request: Option<u64>,
}

struct Upload<'u> {
    endpoint: &'u Endpoint,
    blob: &'u Blob,
    file: Arc<File>,
    traffic: &'u Arc<Traffic>,
    /// The bytes that went out for this blob.
    sent: Arc<AtomicU64>,
    session: Option<Session>,
    /// Unknown before the first session.
    way: Option<Way>,
    /// Whether an earlier session may have ended well without our knowing.
    may_be_there: bool,
    too_long: bool,
    shortest_chunk: u64,
}

impl Registry {
    /// Sends a blob of the store, into `session` if there is one; returns how many bytes went out.
    pub(super) fn upload(
        &self,
        endpoint: &Endpoint,
        blob: &Blob,
        session: Option<Session>,
        traffic: &Arc<Traffic>,
    ) -> Result<u64, Error> {
        let mut upload = Upload {
            endpoint,
            blob,
            file: Arc::new(self.open(blob)?),
            traffic,
            sent: Arc::default(),
            session,
            way: None,
            may_be_there: false,
            too_long: false,
            shortest_chunk: 0,
        };
        let (mut turns, mut stalls, mut furthest) = (0, 0, 0);
        loop {
            let Err(error) = self.go_on(&mut upload) else { return Ok(upload.sent.load(Ordering::Relaxed)) };
            if traffic.stopped.load(Ordering::Relaxed) {
                self.cancel(endpoint, upload.session);
                return Err(Error::Cancelled);
            }
            let offset = upload.session.as_ref().map_or(0, |session| session.offset);
            stalls = if offset > furthest { 1 } else { stalls + 1 };
            furthest = furthest.max(offset);
            turns += 1;
            let turn = match upload.standing(stalls) {
                _ if turns > TURN_LIMIT => Turn::GiveUp,
                Some(standing) => way::turn(&error, &standing),
                // The registry would not even begin.
                None if error.is_transient() => Turn::Wait(Way::Whole),
                None => Turn::GiveUp,
            };
            upload.too_long |= error.status() == Some(413);
            match turn {
                Turn::Resume => {}
                Turn::Wait(way) => {
                    if !self.retry.wait(stalls, &error) {
                        self.cancel(endpoint, upload.session);
                        return Err(error);
                    }
                    // Not a turn while it gets on.
                    turns = if stalls == 1 { 0 } else { turns };
                    if upload.way.is_some() {
                        upload.way = Some(way);
                    }
                }
                Turn::Anew(way) => {
                    self.cancel(endpoint, upload.session.take());
                    upload.way = Some(way);
                    upload.may_be_there = error.status() == Some(404);
                    if let (Way::Chunks(length), true) = (way, upload.too_long) {
                        self.learn_longest_request(&endpoint.host, length);
                    }
                }
                Turn::GiveUp => {
                    self.cancel(endpoint, upload.session);
                    return Err(self.explained(blob, error));
                }
            }
        }
    }

    /// Sends what the registry lacks; leaves in `upload` how far that went.
    fn go_on(&self, upload: &mut Upload<'_>) -> Result<(), Error> {
        let Upload { endpoint, blob, .. } = *upload;
        if let Some(session) = upload.session.take_if(|session| !session.sure) {
            match self.ask_for_offset(upload, &session) {
                Ok(Some(known)) => upload.session = Some(known),
                // The answer to the last request may have been lost: then the session is gone, and the blob is there.
                Ok(None) => upload.may_be_there = true,
                Err(error) => {
                    upload.session = Some(session);
                    return Err(error);
                }
            }
        }
        if upload.session.is_none() {
            if std::mem::take(&mut upload.may_be_there) && self.has_blob(endpoint, blob)? {
                return Ok(());
            }
            upload.session = Some(self.begin(endpoint, blob)?);
        }
        loop {
            let session = upload.session.as_mut().expect("a session was begun above");
            let longest = self.longest_request(&endpoint.host, session.longest_request);
            upload.shortest_chunk = session.shortest_chunk;
            let way =
                *upload.way.get_or_insert_with(|| way::begin(blob.size, longest, session.shortest_chunk));
            let (offset, left) = (session.offset, blob.size - session.offset);
            session.sure = false;
            match way {
                Way::Whole if offset == 0 => return self.finish(upload, true),
                _ if left == 0 => return self.finish(upload, false),
                Way::Whole => self.send_chunk(upload, left)?,
                Way::Chunks(length) => self.send_chunk(upload, length.min(left))?,
            }
            if upload.traffic.stopped.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
        }
    }

    /// Begins a session.
    fn begin(&self, endpoint: &Endpoint, blob: &Blob) -> Result<Session, Error> {
        let request =
            Request::push(Method::POST, endpoint, "blobs/uploads/", &blob.digest.to_string()).empty();
        let answer = self.transport.send(endpoint, &request)?;
        session_of(endpoint, &answer)
    }

    /// Starts an upload and takes it back: tells whether pushing is allowed.
    pub(super) fn begin_and_cancel(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let request = Request::push(Method::POST, endpoint, "blobs/uploads/", "").empty();
        let answer = self.transport.send(endpoint, &request)?;
        let session = session_of(endpoint, &answer)?;
        self.cancel(endpoint, Some(session));
        Ok(())
    }

    /// Asks the registry to take a blob from another of its repositories. It does, or it begins a session.
    pub(super) fn mount(
        &self,
        endpoint: &Endpoint,
        blob: &Blob,
        from: &str,
    ) -> Result<Option<Session>, Error> {
        let mut request =
            Request::push(Method::POST, endpoint, "blobs/uploads/", &blob.digest.to_string()).empty();
        request.scopes = request.scopes.and_pull(from);
        request
            .url
            .query_pairs_mut()
            .append_pair("mount", &blob.digest.to_string())
            .append_pair("from", from);
        let answer = self.transport.send(endpoint, &request)?;
        match answer.status() {
            201 => Ok(None),
            _ => session_of(endpoint, &answer).map(Some),
        }
    }

    /// Ends a session that is of no use. Whatever the registry says: it forgets sessions by itself.
    pub(super) fn cancel(&self, endpoint: &Endpoint, session: Option<Session>) {
        if let Some(session) = session {
            let mut request = Request::push(Method::DELETE, endpoint, "", "").empty();
            request.url = session.url;
            let _ = self.transport.send(endpoint, &request);
        }
    }

    /// Asks how much of the blob the registry has; `None` if it has forgotten the session, or what it says cannot be.
    fn ask_for_offset(&self, upload: &Upload<'_>, session: &Session) -> Result<Option<Session>, Error> {
        let mut request = upload.request(Method::GET);
        request.url = session.url.clone();
        match self.transport.send(upload.endpoint, &request) {
            Ok(answer) => {
                let offset = answer.header(&header::RANGE).map_or(Some(0), way::received);
                Ok(offset
                    .filter(|offset| *offset <= upload.blob.size)
                    .map(|offset| session.next(&answer, offset)))
            }
            // Some do not know the question.
            Err(error) if error.status().is_some() && !error.is_transient() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn send_chunk(&self, upload: &mut Upload<'_>, length: u64) -> Result<(), Error> {
        let session = upload.session.as_ref().expect("chunks belong to a session");
        let (offset, end) = (session.offset, session.offset + length);
        let mut request = upload
            .request(Method::PATCH)
            .header(header::CONTENT_TYPE, OCTETS)
            .header(header::CONTENT_RANGE, &format!("{offset}-{}", end - 1));
        request.url = session.url.clone();
        request.body = upload.part(offset, length);
        let answer = self.transport.send(upload.endpoint, &request)?;
        // Not every registry says what it has; one that says more than it got is not believed.
        let has = answer.header(&header::RANGE).map_or(Some(end), way::received);
        let has = has.filter(|has| *has <= end).ok_or_else(|| {
            protocol(upload.endpoint, format!("it has more of {} than it was sent", upload.blob.digest))
        })?;
        if has <= offset {
            let reason = format!("it has taken nothing of a part of {}", upload.blob.digest);
            return Err(protocol(upload.endpoint, reason));
        }
        upload.session = Some(session.next(&answer, has));
        Ok(())
    }

    /// Ends the session: the registry checks the digest. `with_all` sends all bytes with it.
    fn finish(&self, upload: &Upload<'_>, with_all: bool) -> Result<(), Error> {
        let session = upload.session.as_ref().expect("there is a session to end");
        let mut request = upload.request(Method::PUT).header(header::CONTENT_TYPE, OCTETS);
        request.url = session.url.clone();
        request.url.query_pairs_mut().append_pair("digest", &upload.blob.digest.to_string());
        request = if with_all && upload.blob.size > 0 {
            request.body = upload.part(0, upload.blob.size);
            request
        } else {
            request.empty()
        };
        let answer = self.transport.send(upload.endpoint, &request)?;
        super::same_digest(upload.endpoint, &answer, &upload.blob.digest)
    }

    /// Tells whether the repository has the blob.
    pub(super) fn has_blob(&self, endpoint: &Endpoint, blob: &Blob) -> Result<bool, Error> {
        let digest = blob.digest.to_string();
        let request = Request::push(Method::HEAD, endpoint, &format!("blobs/{digest}"), &digest);
        match self.transport.send(endpoint, &request) {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn open(&self, blob: &Blob) -> Result<File, Error> {
        let missing = || store::Error::Missing { digest: blob.digest, size: blob.size };
        if !self.store.contains(blob) {
            return Err(store_error(&blob.digest, missing()));
        }
        let file = fs_err::File::open(self.store.blob_path(&blob.digest));
        file.map(|file| file.into_parts().0).map_err(|error| store_error(&blob.digest, error))
    }

    /// A registry that refuses a blob may be right: bytes are not verified each time they are sent.
    fn explained(&self, blob: &Blob, error: Error) -> Error {
        if error.status() != Some(400) {
            return error;
        }
        let read = self
            .store
            .open_blob(blob)
            .and_then(|mut bytes| Ok(std::io::copy(&mut bytes, &mut std::io::sink())?));
        read.err().map_or(error, |damage| store_error(&blob.digest, damage))
    }

    /// What the registry names counts more than what is known of its host; what it has refused is too long in any
    /// case.
    fn longest_request(&self, host: &str, named: Option<u64>) -> Option<u64> {
        let learned = lock(&self.longest_requests).get(host).copied();
        let known = || limits::profile(host).and_then(|profile| profile.request);
        learned.into_iter().chain(named.or_else(known)).min()
    }

    fn learn_longest_request(&self, host: &str, length: u64) {
        lock(&self.longest_requests).insert(host.to_owned(), length);
    }
}

impl Upload<'_> {
    fn standing(&self, stalls: u32) -> Option<Standing> {
        Some(Standing {
            way: self.way?,
            size: self.blob.size,
            offset: self.session.as_ref().map_or(0, |session| session.offset),
            shortest: self.shortest_chunk,
            stalls,
            too_long: self.too_long,
        })
    }

    fn request(&self, method: Method) -> Request {
        Request::push(method, self.endpoint, "", &self.blob.digest.to_string())
    }

    fn part(&self, offset: u64, length: u64) -> Body {
        let (traffic, own) = (Arc::clone(self.traffic), Arc::clone(&self.sent));
        let sent = move |bytes| {
            own.fetch_add(bytes, Ordering::Relaxed);
            traffic.sent.fetch_add(bytes, Ordering::Relaxed);
            if traffic.stopped.load(Ordering::Relaxed) {
                return Err(std::io::Error::other("another upload has failed"));
            }
            Ok(())
        };
        Body::Part(Part { file: Arc::clone(&self.file), offset, length, sent: Arc::new(sent) })
    }
}

impl Session {
    /// Returns the session as an answer within it says that it is.
    fn next(&self, answer: &Answer<'_>, offset: u64) -> Self {
        let url = answer.header(&header::LOCATION).and_then(|location| answer.url().join(location).ok());
        Self { url: url.unwrap_or_else(|| self.url.clone()), offset, sure: true, ..*self }
    }
}

/// Reads the answer that begins a session: its address may be relative and may lead to another host.
fn session_of(endpoint: &Endpoint, answer: &Answer<'_>) -> Result<Session, Error> {
    let location = answer.header(&header::LOCATION).and_then(|location| answer.url().join(location).ok());
    let number = |name| answer.header(name).and_then(|text| text.trim().parse().ok());
    Ok(Session {
        url: location.ok_or_else(|| protocol(endpoint, "it does not say where to send a blob".to_owned()))?,
        offset: 0,
        sure: true,
        shortest_chunk: number(&CHUNK_MIN).unwrap_or(0),
        longest_request: number(&CHUNK_MAX),
    })
}
