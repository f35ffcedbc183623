//! Buffers of blocks, used again and again: memory of the kernel's has to be zeroed, and what is zeroed is written over
//! right away.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use super::plan::MOST_BLOCK_BYTES;

/// What nearly every block has room in, compressed or not. What is not used of it takes no memory.
const BUFFER_BYTES: usize = MOST_BLOCK_BYTES as usize + (64 << 10);

/// The buffers that nobody uses at the moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// Returns room for `len` bytes; what is in it is left over from others.
    pub(super) fn take(&self, len: usize) -> Buffer {
        let free = || self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = match free().filter(|_| len <= BUFFER_BYTES) {
            Some(bytes) => bytes,
            None => vec![0; len.max(BUFFER_BYTES)],
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
        if bytes.len() == BUFFER_BYTES {
            self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again_and_has_the_length_that_was_asked_for() {
        let buffers = Buffers::default();
        let mut first = buffers.take(10);
        first.fill(7);
        first.truncate(4);
        assert_eq!(*first, [7; 4]);
        let at = first.as_ptr();
        drop(first);
        let again = buffers.take(BUFFER_BYTES);
        assert_eq!((again.as_ptr(), again.len()), (at, BUFFER_BYTES));
        let (other, long) = (buffers.take(1), buffers.take(BUFFER_BYTES + 1));
        assert_ne!(other.as_ptr(), at);
        assert_eq!(long.len(), BUFFER_BYTES + 1);
        drop((again, other, long));
        assert_eq!(buffers.0.lock().unwrap().len(), 2);
    }
}
