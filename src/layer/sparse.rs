//! Where the data of a sparse file lies between its holes.

use super::tar::{Error, Result};

/// A stretch of data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl Segment {
    /// Takes offsets and lengths in turn.
    pub(super) fn pairs(numbers: &[u64]) -> Result<Vec<Self>> {
        if !numbers.len().is_multiple_of(2) {
            return Err(Error::Damaged("a sparse file's map has an odd number of numbers"));
        }
        Ok(numbers.chunks_exact(2).map(|pair| Self { offset: pair[0], len: pair[1] }).collect())
    }
}

/// The data segments of a file and how far it has been read. A file without holes is one segment.
pub(super) struct Map {
    /// Still to be read, the next one last.
    ahead: Vec<Segment>,
    at: u64,
    size: u64,
}

impl Map {
    pub(super) const fn empty() -> Self {
        Self { ahead: Vec::new(), at: 0, size: 0 }
    }

    pub(super) fn plain(size: u64) -> Self {
        Self { ahead: vec![Segment { offset: 0, len: size }], at: 0, size }
    }

    /// Checks that the segments are in order, within the file's `size`, and as long as what is `stored`.
    pub(super) fn new(mut segments: Vec<Segment>, size: u64, stored: u64) -> Result<Self> {
        let (mut end, mut sum) = (0_u64, 0_u64);
        for Segment { offset, len } in &segments {
            let next = offset.checked_add(*len).filter(|next| *offset >= end && *next <= size);
            end = next.ok_or(Error::Damaged("the segments of a sparse file overlap or exceed it"))?;
            sum += len;
        }
        if sum != stored {
            return Err(Error::Damaged("the segments of a sparse file are not what is stored of it"));
        }
        segments.reverse();
        Ok(Self { ahead: segments, at: 0, size })
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Returns whether a hole comes next, and how many of `limit` bytes can be taken of what comes.
    pub(super) fn next(&self, limit: usize) -> (bool, usize) {
        let (hole, until) = match self.ahead.last() {
            None => (true, self.size),
            Some(segment) if self.at < segment.offset => (true, segment.offset),
            Some(segment) => (false, segment.offset + segment.len),
        };
        (hole, usize::try_from(until - self.at).map_or(limit, |len| len.min(limit)))
    }

    pub(super) fn advance(&mut self, count: usize) {
        self.at += count as u64;
        while self.ahead.last().is_some_and(|segment| segment.offset + segment.len <= self.at) {
            self.ahead.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_data_and_holes() {
        let segments = Segment::pairs(&[2, 3, 5, 0, 9, 1]).expect("pairs");
        let mut map = Map::new(segments, 12, 4).expect("a sound map");
        let mut steps = Vec::new();
        loop {
            let step = map.next(4);
            if step.1 == 0 {
                break;
            }
            steps.push(step);
            map.advance(step.1);
        }
        assert_eq!(steps, [(true, 2), (false, 3), (true, 4), (false, 1), (true, 2)]);
    }

    #[test]
    fn refuses_maps_that_contradict_themselves() {
        for (numbers, size, stored) in [
            (vec![5, 1, 4, 1], 9, 2),
            (vec![8, 2], 9, 2),
            (vec![0, 2], 9, 3),
            (vec![u64::MAX, 2], u64::MAX, 2),
        ] {
            assert!(
                Segment::pairs(&numbers).and_then(|map| Map::new(map, size, stored)).is_err(),
                "{numbers:?}"
            );
        }
        assert!(Segment::pairs(&[1]).is_err());
    }
}
