//! A list of changes, compact: some 60 bytes for a file instead of some 170 as values.
//!
//! ```text
//! List    chunks of some 4 KiB
//! chunk   (shared  len bytes[len]  body)*      the path: what it shares with the one before in the chunk, and the
//!                                              rest; then what `encoding` says
//! ```
//!
//! In go changes in the order of their paths; out come the same ones, in that order or by path. A path is found by
//! a search among the chunks, each of which begins with a whole path, and by reading one chunk. Nothing is changed in
//! place but the digests of files, which are found out when everything else is known: who wants other changes makes
//! another list.
//!
//! Origins stand beside the chunks, as runs of files that have the same one. So the number of
//! changes (LEB128) and the chunks one after the other are what lies in a store as the index of a layer, which has none.

mod encoding;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::{fmt, vec};

pub use self::encoding::Damaged;
use self::encoding::{Body, Input};
use super::{Change, Entry};
use crate::digest::Digest;
use crate::path::{self, RelPath};

/// A chunk that has as many bytes gets no further change.
const CHUNK_BYTES: usize = 4000;
/// What a chunk has at first: room for one more change, mostly.
const CHUNK_ROOM: usize = 4096;

/// Changes in the order of their paths.
#[derive(Clone, Default)]
pub struct List {
    chunks: Vec<Chunk>,
    len: usize,
    /// The path of the last change.
    last: Vec<u8>,
    /// Where files begin to have another origin; before the first they have none, which is 0.
    runs: Vec<Run>,
}

#[derive(Clone)]
struct Chunk {
    /// The number of the first change.
    start: usize,
    bytes: Vec<u8>,
}

/// The files from change number `start` on have this origin.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    origin: u16,
}

const IN_ORDER: &str = "changes are listed in the order of their paths";
const SOUND: &str = "a list holds what was written into it";

impl Chunk {
    /// The path of the first change, which shares nothing with the one before.
    fn first(&self) -> &[u8] {
        let mut input = Input(&self.bytes);
        input.number().and_then(|_| input.bytes()).expect(SOUND)
    }
}

impl List {
    /// Returns a list without changes.
    pub const fn new() -> Self {
        Self { chunks: Vec::new(), len: 0, last: Vec::new(), runs: Vec::new() }
    }

    /// Returns the list of `changes` in whatever order they are; those of one path stay in theirs.
    pub fn sorted(mut changes: Vec<Change>) -> Self {
        changes.sort_by(|a, b| a.path().cmp(b.path()));
        changes.into_iter().collect()
    }

    /// Returns the number of changes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Tells whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a change.
    ///
    /// # Panics
    /// If its path comes before the last one.
    pub fn push(&mut self, change: &Change) {
        match change {
            Change::Upsert { path, entry, origin } => self.upsert(path, entry, *origin),
            Change::Whiteout { path } => self.begin(path.as_bytes()).push(encoding::WHITEOUT),
            Change::Opaque { path } => self.begin(path.as_bytes()).push(encoding::OPAQUE),
        }
    }

    /// Appends the change that puts `entry` at `path`.
    ///
    /// # Panics
    /// If the path comes before the last one.
    pub fn upsert(&mut self, path: &RelPath, entry: &Entry, origin: u16) {
        encoding::entry(self.begin(path.as_bytes()), entry);
        if matches!(entry.kind, super::Kind::File { .. })
            && self.runs.last().map_or(0, |run| run.origin) != origin
        {
            self.runs.push(Run { start: self.len - 1, origin });
        }
    }

    /// Appends the changes of `other`, without looking at them one by one.
    ///
    /// # Panics
    /// If the first of them comes before the last one.
    pub fn append(&mut self, other: Self) {
        let Some(first) = other.chunks.first() else { return };
        let in_order = self.len == 0 || path::compare(&self.last, first.first()).is_le();
        assert!(in_order, "{IN_ORDER}");
        // Files that come before the first run there have origin 0, whatever those here have.
        if self.runs.last().is_some_and(|run| run.origin != 0) {
            self.runs.push(Run { start: self.len, origin: 0 });
        }
        let before = self.len;
        self.runs.extend(other.runs.into_iter().map(|run| Run { start: before + run.start, ..run }));
        // A chunk begins with a whole path.
        let chunks = other.chunks.into_iter();
        self.chunks.extend(chunks.map(|chunk| Chunk { start: before + chunk.start, ..chunk }));
        self.len += other.len;
        self.last = other.last;
    }

    /// Writes the path of one more change, and returns where the rest of it goes.
    fn begin(&mut self, path: &[u8]) -> &mut Vec<u8> {
        let in_order = self.len == 0 || path::compare(&self.last, path).is_le();
        assert!(in_order, "{IN_ORDER}");
        let full = self.chunks.last().is_none_or(|chunk| chunk.bytes.len() >= CHUNK_BYTES);
        let shared = if full { 0 } else { path::common_prefix(&self.last, path) };
        if full {
            if let Some(chunk) = self.chunks.last_mut().filter(|chunk| chunk.bytes.capacity() > CHUNK_ROOM) {
                chunk.bytes.shrink_to_fit();
            }
            // Most lists are short.
            let bytes = Vec::with_capacity(if self.len == 0 { 0 } else { CHUNK_ROOM });
            self.chunks.push(Chunk { start: self.len, bytes });
        }
        self.last.truncate(shared);
        self.last.extend_from_slice(&path[shared..]);
        self.len += 1;
        let out = &mut self.chunks.last_mut().expect("one was pushed if there was none").bytes;
        encoding::number(out, shared as u64);
        encoding::bytes(out, &path[shared..]);
        out
    }

    /// Returns the list with these digests of its files, in order; `None` if there are not as many as files.
    pub fn with_digests(mut self, digests: impl IntoIterator<Item = Digest>) -> Option<Self> {
        let mut digests = digests.into_iter();
        for Chunk { bytes, .. } in &mut self.chunks {
            let mut left = bytes.len();
            while left > 0 {
                let mut input = Input(&bytes[bytes.len() - left..]);
                let skip = |input: &mut Input<'_>| {
                    input.number()?;
                    input.bytes()?;
                    input.skip_body()
                };
                let digest = skip(&mut input).expect(SOUND);
                left = input.0.len();
                if let Some(digest) = digest {
                    let start = bytes.len() - digest;
                    bytes[start..start + encoding::DIGEST].copy_from_slice(digests.next()?.as_bytes());
                }
            }
        }
        digests.next().is_none().then_some(self)
    }

    /// Returns the path of the last change.
    pub fn last_path(&self) -> Option<&[u8]> {
        (self.len > 0).then_some(&*self.last)
    }

    /// Returns the path of the first change.
    pub fn first_path(&self) -> Option<&[u8]> {
        self.chunks.first().map(Chunk::first)
    }

    /// Returns the changes in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { list: self, chunk: 0, cursor: Cursor::default() }
    }

    /// Returns the changes in order from the first one on that is at `path` or behind it.
    pub fn iter_from<'a>(&'a self, path: &'a RelPath) -> impl Iterator<Item = Change> + use<'a> {
        let chunk = self.chunk_of(path.as_bytes());
        let start = self.chunks.get(chunk).map_or(0, |chunk| chunk.start);
        let cursor = Cursor { index: start, run: self.run_at(start), ..Cursor::default() };
        Iter { list: self, chunk, cursor }.skip_while(move |change| change.path() < path)
    }

    /// Returns what is put at `path`.
    pub fn find(&self, path: &RelPath) -> Option<Stored<'_>> {
        self.finder().find(path)
    }

    /// Starts a series of searches.
    pub const fn finder(&self) -> Finder<'_> {
        Finder { list: self, chunk: 0, rest: &[], path: Vec::new(), index: 0, body: None }
    }

    /// Returns the number of the chunk in which the first change at `path` or behind it is, or which ends right
    /// before it.
    fn chunk_of(&self, path: &[u8]) -> usize {
        let behind = self.chunks.partition_point(|chunk| path::compare(chunk.first(), path).is_lt());
        behind.saturating_sub(1)
    }

    /// Returns the number of runs that begin at change number `index` or before.
    fn run_at(&self, index: usize) -> usize {
        self.runs.partition_point(|run| run.start <= index)
    }

    /// Returns the bytes of the list without origins, in pieces: the number of changes as LEB128, then the changes.
    pub fn encoded(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let mut count = Vec::new();
        encoding::number(&mut count, self.len as u64);
        let chunks = self.chunks.iter().map(|chunk| Cow::Borrowed(&*chunk.bytes));
        std::iter::once(Cow::Owned(count)).chain(chunks)
    }

    /// Returns the list whose bytes are `encoded`. These may be cut into chunks in another way.
    ///
    /// # Errors
    /// If this is not what [`encoded`](Self::encoded) returns of a list.
    pub fn decode(encoded: &[u8]) -> Result<Self, Damaged> {
        let mut list = Self::new();
        let mut input = Input(encoded);
        let mut path = Vec::new();
        for _ in 0..input.number()? {
            input.path(&mut path)?;
            if !path::is_clean(&path) || list.len > 0 && path::compare(&list.last, &path).is_gt() {
                return Err(Damaged);
            }
            match input.body()? {
                Body::Upsert(entry) => encoding::entry(list.begin(&path), &entry),
                Body::Whiteout => list.begin(&path).push(encoding::WHITEOUT),
                Body::Opaque => list.begin(&path).push(encoding::OPAQUE),
            }
        }
        if input.0.is_empty() { Ok(list) } else { Err(Damaged) }
    }
}

impl FromIterator<Change> for List {
    /// # Panics
    /// If the changes are not in the order of their paths.
    fn from_iter<I: IntoIterator<Item = Change>>(changes: I) -> Self {
        let mut list = Self::new();
        changes.into_iter().for_each(|change| list.push(&change));
        list
    }
}

impl<'a> IntoIterator for &'a List {
    type Item = Change;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl IntoIterator for List {
    type Item = Change;
    type IntoIter = IntoIter;

    fn into_iter(self) -> IntoIter {
        let Self { chunks, runs, .. } = self;
        IntoIter { chunks: chunks.into_iter(), bytes: Vec::new(), runs, cursor: Cursor::default() }
    }
}

impl PartialEq for List {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other)
    }
}

impl Eq for List {}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

/// A place in a list.
#[derive(Default)]
struct Cursor {
    /// How much of the chunk was read.
    offset: usize,
    /// The path of the change that was read last.
    path: Vec<u8>,
    /// The number of the next change.
    index: usize,
    /// The number of runs that begin there or before.
    run: usize,
}

impl Cursor {
    /// Returns the next change of a chunk.
    fn next(&mut self, chunk: &[u8], runs: &[Run]) -> Option<Change> {
        let mut input = Input(chunk.get(self.offset..).filter(|rest| !rest.is_empty())?);
        input.path(&mut self.path).expect(SOUND);
        let is_file = input.0.first().is_some_and(|tag| encoding::is_file(*tag));
        let body = input.body().expect(SOUND);
        self.offset = chunk.len() - input.0.len();
        while runs.get(self.run).is_some_and(|run| run.start <= self.index) {
            self.run += 1;
        }
        self.index += 1;
        let path = RelPath::of_clean(&self.path);
        Some(match body {
            Body::Upsert(entry) => {
                let origin = if is_file { origin(runs, self.run) } else { 0 };
                Change::Upsert { path, entry, origin }
            }
            Body::Whiteout => Change::Whiteout { path },
            Body::Opaque => Change::Opaque { path },
        })
    }
}

/// The origin of the files behind as many runs.
fn origin(runs: &[Run], begun: usize) -> u16 {
    begun.checked_sub(1).and_then(|last| runs.get(last)).map_or(0, |run| run.origin)
}

/// The changes of a list in order.
pub struct Iter<'a> {
    list: &'a List,
    chunk: usize,
    cursor: Cursor,
}

impl Iterator for Iter<'_> {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        loop {
            let chunk = self.list.chunks.get(self.chunk)?;
            if let Some(change) = self.cursor.next(&chunk.bytes, &self.list.runs) {
                return Some(change);
            }
            self.chunk += 1;
            self.cursor.offset = 0;
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.list.len - self.cursor.index;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}

/// The changes of a list that is given up chunk by chunk.
pub struct IntoIter {
    chunks: vec::IntoIter<Chunk>,
    bytes: Vec<u8>,
    runs: Vec<Run>,
    cursor: Cursor,
}

impl Iterator for IntoIter {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.cursor.next(&self.bytes, &self.runs) {
                return Some(change);
            }
            self.bytes = self.chunks.next()?.bytes;
            self.cursor.offset = 0;
        }
    }
}

/// An entry of a list, not yet taken out of it.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    body: &'a [u8],
    index: usize,
    origin: u16,
}

impl<'a> Stored<'a> {
    /// Returns the entry.
    pub fn entry(self) -> Entry {
        match Input(self.body).body().expect(SOUND) {
            Body::Upsert(entry) => entry,
            Body::Whiteout | Body::Opaque => unreachable!("only entries are found"),
        }
    }

    /// Returns how many changes come before this one.
    pub const fn index(self) -> usize {
        self.index
    }

    /// Returns the index of a regular file's origin.
    pub const fn origin(self) -> u16 {
        self.origin
    }

    /// Tells whether it is a directory.
    pub fn is_directory(self) -> bool {
        encoding::is_directory(self.body[0])
    }

    /// Tells whether it is a regular file.
    pub fn is_file(self) -> bool {
        encoding::is_file(self.body[0])
    }

    /// Returns a symlink's text.
    pub fn symlink_target(self) -> Option<&'a [u8]> {
        Input(self.body).symlink_target().expect(SOUND)
    }
}

/// Looks for paths in a list; fastest when asked in their order.
pub struct Finder<'a> {
    list: &'a List,
    /// The number of the chunk.
    chunk: usize,
    /// What of it is still to be read.
    rest: &'a [u8],
    /// The path of the change that was read last.
    path: Vec<u8>,
    /// Its number.
    index: usize,
    /// What follows its path; `None` if nothing was read yet.
    body: Option<&'a [u8]>,
}

impl<'a> Finder<'a> {
    /// Returns what [`List::find`] returns.
    pub fn find(&mut self, path: &RelPath) -> Option<Stored<'a>> {
        let wanted = path.as_bytes();
        if !self.is_shortly_before(wanted) {
            self.chunk = self.list.chunk_of(wanted);
            let chunk = self.list.chunks.get(self.chunk)?;
            (self.rest, self.index, self.body) = (&chunk.bytes, chunk.start, None);
            self.path.clear();
        }
        loop {
            if let Some(body) = self.body {
                match path::compare(&self.path, wanted) {
                    // An opaque mark or a whiteout may stand at the same path.
                    Ordering::Equal if encoding::is_upsert(body[0]) => {
                        let is_file = encoding::is_file(body[0]);
                        let origin =
                            if is_file { origin(&self.list.runs, self.list.run_at(self.index)) } else { 0 };
                        return Some(Stored { body, index: self.index, origin });
                    }
                    Ordering::Less | Ordering::Equal => {}
                    Ordering::Greater => return None,
                }
            }
            self.advance()?;
        }
    }

    /// Tells whether reading on leads to `wanted` within the chunk.
    fn is_shortly_before(&self, wanted: &[u8]) -> bool {
        let next = self.list.chunks.get(self.chunk + 1);
        self.body.is_some_and(|body| match path::compare(&self.path, wanted) {
            Ordering::Less => next.is_none_or(|next| path::compare(next.first(), wanted).is_gt()),
            Ordering::Equal => encoding::is_upsert(body[0]),
            Ordering::Greater => false,
        })
    }

    fn advance(&mut self) -> Option<()> {
        let first = self.body.is_none();
        while self.rest.is_empty() {
            self.chunk += 1;
            self.rest = &self.list.chunks.get(self.chunk)?.bytes;
        }
        let mut input = Input(self.rest);
        input.path(&mut self.path).expect(SOUND);
        self.body = Some(input.0);
        input.skip_body().expect(SOUND);
        self.rest = input.0;
        self.index += usize::from(!first);
        Some(())
    }
}

#[cfg(test)]
mod tests;
