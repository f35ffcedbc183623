//! Reading a stream on a thread of its own, a few chunks ahead of whoever uses it.

use std::io::{self, Read};
use std::mem;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::thread::Scope;

use crate::layer::read_full;

const CHUNK_BYTES: usize = 256 << 10;
/// How many chunks wait at most, so that memory is a constant.
const CHUNKS: usize = 4;

/// The stream's bytes as they come from its thread, which ends with the stream, with an error, or when this is
/// dropped.
pub(super) struct ReadAhead {
    full: Receiver<io::Result<Chunk>>,
    used: Sender<Chunk>,
    chunk: Chunk,
    /// How much of the chunk was taken.
    at: usize,
}

/// The first bytes of a buffer.
struct Chunk {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Default for Chunk {
    fn default() -> Self {
        Self { bytes: vec![0; CHUNK_BYTES].into(), filled: 0 }
    }
}

impl ReadAhead {
    /// Starts to read `stream`.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        mut stream: impl Read + Send + 'scope,
    ) -> Self {
        let (sender, full) = sync_channel(CHUNKS);
        let (used, empty) = channel();
        scope.spawn(move || {
            loop {
                let mut chunk: Chunk = empty.try_recv().unwrap_or_default();
                let (filled, ended) = read_full(&mut stream, &mut chunk.bytes);
                chunk.filled = filled;
                let failed = ended.err().map(Err);
                let last = failed.is_some() || filled < CHUNK_BYTES;
                // What was read before an error counts.
                let full = (filled > 0).then_some(Ok(chunk));
                let open = full.into_iter().chain(failed).all(|message| sender.send(message).is_ok());
                if last || !open {
                    return;
                }
            }
        });
        Self { full, used, chunk: Chunk::default(), at: 0 }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.filled {
            let Ok(next) = self.full.recv() else { return Ok(0) };
            let used = mem::replace(&mut self.chunk, next?);
            self.at = 0;
            // The thread may be done.
            let _ = self.used.send(used);
        }
        let count = buffer.len().min(self.chunk.filled - self.at);
        buffer[..count].copy_from_slice(&self.chunk.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends after `left` bytes, with an error if it says so.
    struct Numbers {
        left: usize,
        fails: bool,
    }

    impl Read for Numbers {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.left).min(1000);
            for (at, byte) in buffer[..count].iter_mut().enumerate() {
                *byte = (self.left - at) as u8;
            }
            self.left -= count;
            if count == 0 && self.fails { Err(io::Error::other("out of numbers")) } else { Ok(count) }
        }
    }

    #[test]
    fn gives_the_same_bytes_and_the_same_end() {
        for left in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 10 * CHUNK_BYTES] {
            for fails in [false, true] {
                let (mut expected, mut found) = (Vec::new(), Vec::new());
                let plain =
                    Numbers { left, fails }.read_to_end(&mut expected).map_err(|error| error.to_string());
                let ahead = std::thread::scope(|scope| {
                    ReadAhead::start(scope, Numbers { left, fails }).read_to_end(&mut found)
                });
                assert_eq!(ahead.map_err(|error| error.to_string()), plain, "{left} bytes, fails: {fails}");
                assert!(found == expected, "{left} bytes, fails: {fails}");
            }
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_that_is_gone() {
        std::thread::scope(|scope| {
            let mut ahead = ReadAhead::start(scope, Numbers { left: 100 * CHUNK_BYTES, fails: false });
            let mut start = [0; 10];
            ahead.read_exact(&mut start).unwrap();
        });
    }
}
