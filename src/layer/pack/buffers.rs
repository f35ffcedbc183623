//! Buffers of blocks, used again and again: memory of the kernel's has to be zeroed, and what is zeroed is written over
//! right away.
//!
//! Blocks and what they are compressed to have buffers of their own: a buffer keeps the memory of the longest that was in it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use super::plan::LONGEST_BYTES;

/// What nearly every block has room in, compressed or not. What is not used of it takes no memory.
const ROOM_BYTES: usize = LONGEST_BYTES + (64 << 10);

/// Buffers, and those that nobody uses at the moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Buffers {
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Buffers {
    /// Returns room for `len` bytes; what is in it is left over from others.
    pub(super) fn take(&self, len: usize) -> Buffer {
        let free = || self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let bytes = match free().filter(|_| len <= ROOM_BYTES) {
            Some(bytes) => bytes,
            None => vec![0; len.max(ROOM_BYTES)],
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
    /// Appends `bytes`.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let start = self.push_gap(bytes.len());
        self[start..].copy_from_slice(bytes);
    }

    /// Appends `count` zeros.
    pub(super) fn push_zeros(&mut self, count: usize) {
        let start = self.push_gap(count);
        self[start..].fill(0);
    }

    /// Appends `count` bytes that are left over from others; returns where they begin.
    pub(super) fn push_gap(&mut self, count: usize) -> usize {
        let start = self.len;
        self.len += count;
        if self.len > self.bytes.len() {
            self.bytes.resize(self.len, 0);
        }
        start
    }

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
        if bytes.len() == ROOM_BYTES {
            self.home.free.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
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
        let again = buffers.take(ROOM_BYTES);
        assert_eq!((again.as_ptr(), again.len()), (at, ROOM_BYTES));
        let (other, long) = (buffers.take(1), buffers.take(ROOM_BYTES + 1));
        assert_ne!(other.as_ptr(), at);
        assert_eq!(long.len(), ROOM_BYTES + 1);
        drop((again, other, long));
        assert_eq!(buffers.free.lock().unwrap().len(), 2);
    }
}
