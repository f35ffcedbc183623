//! Downloads: from the store if the server says that they are unchanged, else from the server, resumed when the
//! connection breaks.

use std::io::{self, Seek as _, Write};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use reqwest::header;
use serde::{Deserialize, Serialize};

use super::client::{Client, Response};
use super::{Error, Progress};
use crate::address;
use crate::cache::KeyBuilder;
use crate::context::Files;
use crate::digest::Digest;
use crate::graph::HttpSource;
use crate::image::Blob;
use crate::path::RelPath;
use crate::store::{BlobWriter, Store};
use crate::time::Timestamp;
use crate::tree::{Entry, Kind, Meta, Tree};

/// The mode of a file that was downloaded (statement 142).
const MODE: u16 = 0o600;

/// The pauses before a request is repeated.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(1000), Duration::from_millis(3000)];

/// A file of a server that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Download {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) last_modified: Option<Timestamp>,
}

/// What a server said of a file that the store has.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Record {
    /// In printed form, so that garbage collection keeps the blob with the record.
    digest: Option<Digest>,
    size: u64,
    etag: Option<String>,
    last_modified: Option<String>,
}

/// Returns what stands for a download: its name and content, but not its time (statement 215).
pub(super) fn identity(source: &HttpSource, content: Digest) -> Digest {
    let mut builder = KeyBuilder::new("download");
    builder.input("name", &source.name);
    builder.input("content", content);
    builder.finish().0.0
}

/// Sees to it that the store has what lies at an address now.
pub(super) fn get(
    source: &HttpSource,
    client: &Client,
    store: &Store,
    progress: &Progress<'_>,
) -> Result<Download, Error> {
    let key = Digest::of(format!("http download {}", source.url));
    let record = store.record(&key)?.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
    let record = record.filter(|record| record.blob().is_some_and(|blob| store.contains(&blob)));
    if let (Some(checksum), Some(record)) = (source.checksum, &record)
        && record.digest == Some(checksum)
    {
        return record.download();
    }
    let record = match fetch(source, record.as_ref(), client, store, progress)? {
        Some(new) => {
            let bytes = serde_json::to_vec(&new).expect("a record is plain data");
            store.put_record(&key, &bytes)?;
            new
        }
        None => record.expect("only what the store has can be unchanged"),
    };
    let download = record.download()?;
    match source.checksum {
        Some(expected) if expected != download.digest => {
            Err(Error::Checksum { url: address::redacted(&source.url), actual: download.digest, expected })
        }
        _ => Ok(download),
    }
}

impl Record {
    fn blob(&self) -> Option<Blob> {
        Some(Blob { digest: self.digest?, size: self.size, media_type: String::new() })
    }

    fn download(&self) -> Result<Download, Error> {
        let digest = self.digest.expect("records of finished downloads have a digest");
        let last_modified = self.last_modified.as_deref().and_then(Timestamp::parse_http);
        Ok(Download { digest, size: self.size, last_modified })
    }

    /// Returns what says that a rest of a body belongs to what came before: RFC 9110 allows no weak tag there.
    fn validator(&self) -> Option<&String> {
        self.etag.as_ref().filter(|etag| !etag.starts_with("W/")).or(self.last_modified.as_ref())
    }
}

impl Download {
    /// Puts the file into a directory of its own.
    pub(super) fn files(&self, source: &HttpSource, store: &Store) -> Result<Files, Error> {
        let scratch = store.scratch()?;
        let path = scratch.path().to_owned();
        let name = RelPath::clean(&source.name);
        let place = path.join(name.as_path());
        let blob = store.blob_path(&self.digest);
        // The same file system; where links are not allowed, a copy.
        if fs_err::hard_link(&blob, &place).is_err() {
            fs_err::copy(&blob, &place)?;
        }
        let meta = Meta::root_owned(MODE, self.last_modified.unwrap_or_default());
        let kind = Kind::File { size: self.size, digest: self.digest, link: None };
        let mut tree = Tree::empty();
        tree.insert(&name, Entry { meta, kind });
        Ok(Files::new(tree, path, scratch))
    }
}

/// Asks for the file; `None` if it is what the record says.
fn fetch(
    source: &HttpSource,
    known: Option<&Record>,
    client: &Client,
    store: &Store,
    progress: &Progress<'_>,
) -> Result<Option<Record>, Error> {
    let mut pauses = PAUSES.iter();
    let mut body: Option<Body> = None;
    loop {
        match attempt(source, known, &mut body, client, store, progress) {
            Err(error) if error.is_transient() => match pauses.next() {
                Some(pause) => std::thread::sleep(*pause),
                None => return Err(error),
            },
            other => return other,
        }
    }
}

impl Error {
    fn is_transient(&self) -> bool {
        match self {
            Self::Network { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

fn attempt(
    source: &HttpSource,
    known: Option<&Record>,
    body: &mut Option<Body>,
    client: &Client,
    store: &Store,
    progress: &Progress<'_>,
) -> Result<Option<Record>, Error> {
    // As BuildKit's client: servers may give another ETag for each encoding.
    let mut headers = vec![(header::ACCEPT_ENCODING, "gzip".to_owned())];
    let resumed = body.as_ref().filter(|body| body.size > 0 && body.record.validator().is_some());
    if let Some(body) = resumed {
        headers.push((header::RANGE, format!("bytes={}-", body.size)));
        headers.extend(body.record.validator().map(|validator| (header::IF_RANGE, validator.clone())));
    } else if let Some(known) = known {
        match (&known.etag, &known.last_modified) {
            (Some(etag), _) => headers.push((header::IF_NONE_MATCH, etag.clone())),
            (None, Some(time)) => headers.push((header::IF_MODIFIED_SINCE, time.clone())),
            (None, None) => {}
        }
    }
    let mut response = client.get(&source.url, &headers)?;
    let etag = response.header(&header::ETAG);
    match response.status() {
        304 if known.is_some() => return Ok(None),
        // Some servers do not know conditions, but give the same tag.
        200 if same_tag(known.and_then(|known| known.etag.as_deref()), etag.as_deref()) => return Ok(None),
        206 if body.as_ref().is_some_and(|body| continues(&response, body.size)) => {}
        // What is there of a range that was not asked for, or that is another, is no file.
        206 => {
            *body = None;
            return Err(protocol(source, "the server sent another part of the file than was asked for"));
        }
        200..=299 => {
            let record =
                Record { etag, last_modified: response.header(&header::LAST_MODIFIED), ..Record::default() };
            *body = Some(Body::new(record, &response, store)?);
        }
        status => return Err(Error::Status { url: address::redacted(&source.url), status }),
    }
    let mut unfinished = body.take().expect("an answer with a body has a place for it");
    let length = response.header(&header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    let total = length.map(|length| unfinished.size + length);
    loop {
        match response.chunk() {
            Ok(Some(chunk)) => unfinished.write(chunk.as_ref())?,
            Ok(None) => return unfinished.finish(store).map(Some),
            Err(error) => {
                *body = Some(unfinished);
                return Err(error);
            }
        }
        progress(unfinished.size, total);
    }
}

fn same_tag(known: Option<&str>, now: Option<&str>) -> bool {
    let bare = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    known.is_some() && known.map(bare) == now.map(bare)
}

/// Tells whether a partial answer begins where the last one ended.
fn continues(response: &Response, offset: u64) -> bool {
    let range = response.header(&header::CONTENT_RANGE).unwrap_or_default();
    range.strip_prefix("bytes ").is_some_and(|range| range.starts_with(&format!("{offset}-")))
}

fn protocol(source: &HttpSource, reason: &str) -> Error {
    Error::Protocol { url: address::redacted(&source.url), reason: reason.to_owned() }
}

/// A body that is coming in.
struct Body {
    record: Record,
    /// How many bytes came over the wire.
    size: u64,
    sink: Sink,
}

enum Sink {
    /// The file itself.
    Plain(BlobWriter),
    /// The file compressed with gzip for the transfer.
    Gzip(fs_err::File, crate::store::Scratch),
}

impl Body {
    fn new(record: Record, response: &Response, store: &Store) -> Result<Self, Error> {
        let encoding = response.header(&header::CONTENT_ENCODING).unwrap_or_default();
        let sink = if encoding.eq_ignore_ascii_case("gzip") {
            let scratch = store.scratch()?;
            let path = scratch.path().join("body");
            let file = fs_err::OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
            Sink::Gzip(file, scratch)
        } else {
            Sink::Plain(store.writer()?)
        };
        Ok(Self { record, size: 0, sink })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match &mut self.sink {
            Sink::Plain(writer) => writer.write_all(bytes)?,
            Sink::Gzip(file, _) => file.write_all(bytes)?,
        }
        self.size += bytes.len() as u64;
        Ok(())
    }

    fn finish(self, store: &Store) -> Result<Record, Error> {
        let writer = match self.sink {
            Sink::Plain(writer) => writer,
            Sink::Gzip(mut file, _scratch) => {
                file.rewind()?;
                let mut writer = store.writer()?;
                io::copy(&mut MultiGzDecoder::new(io::BufReader::new(file)), &mut writer)?;
                writer
            }
        };
        let (digest, size) = writer.commit()?;
        Ok(Record { digest: Some(digest), size, ..self.record })
    }
}
