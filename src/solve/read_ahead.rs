//! Reading a stream on a thread of its own, a few chunks ahead of whoever uses it.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

const CHUNK_BYTES: usize = 256 << 10;
/// How many chunks wait at most, so that memory is a constant.
const CHUNKS: usize = 4;

/// The stream's bytes as they come from its thread, which ends with the stream, with an error, or when this is
/// dropped.
pub(super) struct ReadAhead {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: io::Cursor<Vec<u8>>,
}

impl ReadAhead {
    /// Starts to read `stream`.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        mut stream: impl Read + Send + 'scope,
    ) -> Self {
        let (sender, chunks) = sync_channel(CHUNKS);
        scope.spawn(move || {
            loop {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                let read = stream.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk);
                let last = !matches!(read, Ok(CHUNK_BYTES));
                // What was read before an error counts.
                let full = (!chunk.is_empty()).then_some(Ok(chunk));
                let failed = read.err().map(Err);
                let open = full.into_iter().chain(failed).all(|message| sender.send(message).is_ok());
                if last || !open {
                    return;
                }
            }
        });
        Self { chunks, chunk: io::Cursor::default() }
    }
}

impl Read for ReadAhead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.chunk.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            match self.chunks.recv() {
                Ok(chunk) => self.chunk = io::Cursor::new(chunk?),
                Err(_) => return Ok(0),
            }
        }
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
