//! Layers on their way from the tar to the disk: one thread takes the tar apart, another writes what it finds.
//!
//! ```text
//! tar --layer::read--> Item --Queue--> batches of items and content --Batches--> Writer --> directory
//!                               ^------------- used batches --------------|
//! ```
//!
//! Hashing and taking apart cost about as much as making files, so that two threads are done in little more than half
//! the time of one. What is written, and in which order, is as with one: the items are those of the tar, in its order.
//!
//! Rules: memory is a constant, whatever is in the layer. If both threads fail, the error is the writer's, which is
//! behind: what it failed at stands in front of the other in the tar.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::mem;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::disk::Disk;
use super::error::Error;
use super::write::{Form, Writer};
use crate::layer::{self, Item, Sink};
use crate::path::RelPath;
use crate::tree::{Changes, Kind, Meta};

/// A batch is sent when it holds as many bytes of content, or as many items.
const BATCH_BYTES: usize = 256 << 10;
const BATCH_ITEMS: usize = 256;
/// How many batches wait at most.
const BATCHES: usize = 4;

/// Writes one layer into the directory `root`, which must be there: what `read` puts into the sink.
///
/// # Errors
/// If something cannot be written, or `read` fails.
pub fn write_layer<E: From<Error> + From<layer::Error>>(
    root: &Path,
    form: Form,
    disk: Disk,
    read: impl FnOnce(&mut dyn Sink) -> Result<Changes, E>,
) -> Result<Changes, E> {
    let mut writer = Writer::new(root, form, disk)?;
    let changes = thread::scope(|scope| {
        let (full, batches) = sync_channel(BATCHES);
        let (back, used) = channel();
        let writing = scope.spawn(|| write(&mut writer, Batches::new(batches, back)));
        let mut queue = Queue { full, used, batch: Batch::default() };
        let changes = read(&mut queue);
        queue.close();
        writing.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        changes
    })?;
    writer.finish()?;
    Ok(changes)
}

/// Items in their order, and the contents of those that are files one after the other. A content may go on in the next
/// batch, before those of its items.
struct Batch {
    items: VecDeque<(RelPath, Queued)>,
    content: Box<[u8]>,
    filled: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self { items: VecDeque::new(), content: vec![0; BATCH_BYTES].into(), filled: 0 }
    }
}

/// An [`Item`] that waits to be written.
enum Queued {
    Entry { meta: Meta, kind: Kind },
    File { meta: Meta, size: u64 },
    Link { target: RelPath },
    Whiteout,
    Opaque,
}

/// Where items go in.
struct Queue {
    full: SyncSender<Batch>,
    used: Receiver<Batch>,
    batch: Batch,
}

impl Sink for Queue {
    fn take(&mut self, path: &RelPath, item: Item<'_>) -> io::Result<()> {
        let (queued, content) = match item {
            Item::Entry { meta, kind } => (Queued::Entry { meta: meta.clone(), kind: kind.clone() }, None),
            Item::File { meta, size, content } => {
                (Queued::File { meta: meta.clone(), size }, Some((content, size)))
            }
            Item::Link { target } => (Queued::Link { target: target.clone() }, None),
            Item::Whiteout => (Queued::Whiteout, None),
            Item::Opaque => (Queued::Opaque, None),
        };
        if self.batch.items.len() == BATCH_ITEMS {
            self.send()?;
        }
        self.batch.items.push_back((path.clone(), queued));
        content.map_or(Ok(()), |(content, size)| self.fill(content, size))
    }
}

impl Queue {
    /// Takes a content of `size` bytes.
    fn fill(&mut self, content: &mut dyn Read, size: u64) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            if self.batch.filled == BATCH_BYTES {
                self.send()?;
            }
            let free = &mut self.batch.content[self.batch.filled..];
            let want = usize::try_from(left).map_or(free.len(), |left| left.min(free.len()));
            match content.read(&mut free[..want]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.batch.filled += count;
                    left -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        let empty = self.used.try_recv().unwrap_or_default();
        let full = mem::replace(&mut self.batch, empty);
        self.full.send(full).map_err(|_| io::Error::other("the layer cannot be written"))
    }

    /// Sends what is left. A writer that failed has an error of its own.
    fn close(mut self) {
        let _ = self.send();
    }
}

/// Where items come out.
struct Batches {
    full: Receiver<Batch>,
    used: Sender<Batch>,
    batch: Batch,
    /// How much of the batch's content was taken.
    at: usize,
}

impl Batches {
    fn new(full: Receiver<Batch>, used: Sender<Batch>) -> Self {
        Self { full, used, batch: Batch::default(), at: 0 }
    }

    /// Returns the next item; nothing when the other side is done.
    fn next(&mut self) -> Option<(RelPath, Queued)> {
        while self.batch.items.is_empty() {
            self.advance()?;
        }
        self.batch.items.pop_front()
    }

    /// Writes the content of the item that came last to `file`. A content that the other side could not read to its end is
    /// cut short: that is its error, not this one's.
    fn copy(&mut self, size: u64, file: &mut File) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let ready = &self.batch.content[self.at..self.batch.filled];
            if ready.is_empty() {
                match self.advance() {
                    Some(()) => continue,
                    None => return Ok(()),
                }
            }
            let count = usize::try_from(left).map_or(ready.len(), |left| left.min(ready.len()));
            file.write_all(&ready[..count])?;
            self.at += count;
            left -= count as u64;
        }
        Ok(())
    }

    fn advance(&mut self) -> Option<()> {
        let mut used = mem::replace(&mut self.batch, self.full.recv().ok()?);
        (used.filled, self.at) = (0, 0);
        // If nobody takes it, it is not needed any more.
        let _ = self.used.send(used);
        Some(())
    }
}

fn write(writer: &mut Writer, mut batches: Batches) -> Result<(), layer::Error> {
    while let Some((path, queued)) = batches.next() {
        match queued {
            Queued::Entry { meta, kind } => writer.entry(&path, &meta, &kind),
            Queued::File { meta, size } => writer.file(&path, &meta, |file| batches.copy(size, file)),
            Queued::Link { target } => writer.link(&path, &target),
            Queued::Whiteout => writer.whiteout(&path),
            Queued::Opaque => writer.opaque(&path),
        }
        .map_err(|error| layer::Error::Take { path, source: io::Error::other(error) })?;
    }
    Ok(())
}
