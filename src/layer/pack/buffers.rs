//! Buffers of blocks, used again and again: memory of the kernel's has to be zeroed, and what is zeroed is written over
//! right away.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use super::Compression;
use super::plan::Lengths;

/// Buffers, and those that nobody uses at the moment.
#[derive(Debug, Clone)]
pub(super) struct Buffers {
    /// What nearly every block has room in, compressed or not. What is not used of it takes no memory.
    room: usize,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Buffers {
    /// Returns buffers for blocks that are compressed in this way.
    pub(super) fn of(compression: Compression) -> Self {
        let room = Lengths::of(compression).longest() as usize + (64 << 10);
        Self { room, free: Arc::default() }
    }

    /// Returns room for `len` bytes; what is in it is left over from others.
    pub(super) fn take(&self, len: usize) -> Buffer {
        let free = || self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = match free().filter(|_| len <= self.room) {
            Some(bytes) => bytes,
            None => vec![0; len.max(self.room)],
        };
        Buffer { bytes, len, home: self.clone() }
    }
}

/// Some bytes; their room goes back where it came from.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Buffers,
}

impl Buffer {
    /// Keeps the first `len` bytes.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        // Longer ones are rare, and would not be found again.
        if bytes.len() == self.home.room {
            self.home.free.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again_and_has_the_length_that_was_asked_for() {
        let buffers = Buffers::of(Compression::None);
        let mut first = buffers.take(10);
        first.fill(7);
        first.truncate(4);
        assert_eq!(*first, [7; 4]);
        let at = first.as_ptr();
        drop(first);
        let again = buffers.take(buffers.room);
        assert_eq!((again.as_ptr(), again.len()), (at, buffers.room));
        let (other, long) = (buffers.take(1), buffers.take(buffers.room + 1));
        assert_ne!(other.as_ptr(), at);
        assert_eq!(long.len(), buffers.room + 1);
        drop((again, other, long));
        assert_eq!(buffers.free.lock().unwrap().len(), 2);
    }
}
