//! A running sha256, which can be written down and gone on from, and two of them over the same bytes.
//!
//! The compression function is that of `sha2`; the state is in the open here, so that [`Hasher::update_both`]
//! can advance two of them at once.

use sha2::block_api::compress256;

use super::Digest;
use super::pair::{self, Block, State};

/// A [`Hasher`] written down, to go on from there later.
pub type SavedHasher = [u8; SAVED_HASHER_BYTES];

/// The state, the number of blocks, and the block that has begun: a byte for its length, and its bytes.
pub const SAVED_HASHER_BYTES: usize = 32 + 8 + 64;

const BLOCK: usize = size_of::<Block>();

/// The state before the first block (FIPS 180-4, 5.3.3).
const START: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A running sha256 that ends in a [`Digest`].
#[derive(Clone)]
pub struct Hasher {
    /// Behind the whole blocks.
    state: State,
    /// Of all that was added.
    len: u64,
    /// Begins with the bytes that do not fill a block yet.
    begun: Block,
}

impl Default for Hasher {
    fn default() -> Self {
        Self { state: START, len: 0, begun: [0; BLOCK] }
    }
}

impl Hasher {
    /// Starts with no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = self.complete(bytes).as_chunks();
        compress256(&mut self.state, blocks);
        self.begin(rest);
        self.len += bytes.len() as u64;
    }

    /// Adds `bytes` to both.
    ///
    /// Where both have as many bytes of a block (a tar and the file in it have: content begins at a multiple
    /// of 512), this takes little longer than adding them to one, if the CPU has instructions for sha256.
    pub fn update_both(&mut self, other: &mut Self, bytes: &[u8]) {
        if self.filled() != other.filled() {
            self.update(bytes);
            other.update(bytes);
            return;
        }
        other.complete(bytes);
        let (blocks, rest) = self.complete(bytes).as_chunks();
        pair::compress(&mut self.state, &mut other.state, blocks);
        for hasher in [self, other] {
            hasher.begin(rest);
            hasher.len += bytes.len() as u64;
        }
    }

    /// Fills the block that has begun, if one has; returns the bytes behind it.
    fn complete<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let filled = self.filled();
        if filled == 0 {
            return bytes;
        }
        let (fitting, behind) = bytes.split_at(bytes.len().min(BLOCK - filled));
        self.begun[filled..][..fitting.len()].copy_from_slice(fitting);
        if filled + fitting.len() == BLOCK {
            compress256(&mut self.state, &[self.begun]);
        }
        behind
    }

    /// Begins a block with what is behind the last whole one.
    fn begin(&mut self, bytes: &[u8]) {
        self.begun[..bytes.len()].copy_from_slice(bytes);
    }

    /// How many bytes there are of the block that has begun.
    fn filled(&self) -> usize {
        (self.len % BLOCK as u64) as usize
    }

    /// Returns what [`resume`](Self::resume) needs to go on from here.
    pub fn save(&self) -> SavedHasher {
        let mut saved = [0; SAVED_HASHER_BYTES];
        let (state, rest) = saved.split_at_mut(32);
        let (blocks, rest) = rest.split_at_mut(8);
        for (bytes, word) in state.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_le_bytes();
        }
        let filled = self.filled();
        blocks.copy_from_slice(&(self.len / BLOCK as u64).to_le_bytes());
        rest[0] = filled as u8;
        rest[1..][..filled].copy_from_slice(&self.begun[..filled]);
        saved
    }

    /// Goes on from what was saved; `None` if it is nothing that [`save`](Self::save) returned.
    pub fn resume(saved: &SavedHasher) -> Option<Self> {
        let (state, rest) = saved.split_first_chunk::<32>()?;
        let (blocks, rest) = rest.split_first_chunk()?;
        let (&filled, begun) = rest.split_first()?;
        let mut hasher = Self::new();
        for (word, bytes) in hasher.state.iter_mut().zip(state.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let (begun, unused) = begun.split_at_checked(filled.into())?;
        if unused.iter().any(|byte| *byte != 0) {
            return None;
        }
        hasher.begin(begun);
        hasher.len = u64::from_le_bytes(*blocks).checked_mul(BLOCK as u64)? + u64::from(filled);
        Some(hasher)
    }

    /// Returns the digest of everything added.
    pub fn finish(mut self) -> Digest {
        // 5.1.1: a set bit, zeros, and in the last eight bytes of a block the number of bits.
        let filled = self.filled();
        let bits = (self.len << 3).to_be_bytes();
        let mut last = [0; 2 * BLOCK];
        last[..filled].copy_from_slice(&self.begun[..filled]);
        last[filled] = 0x80;
        let end = if filled + 1 + bits.len() <= BLOCK { BLOCK } else { 2 * BLOCK };
        last[end - bits.len()..end].copy_from_slice(&bits);
        compress256(&mut self.state, last[..end].as_chunks().0);
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        Digest(digest)
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sha2::digest::common::hazmat::SerializableState as _;
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// Bytes without a period that could hide a block taken twice or not at all.
    fn bytes(len: usize) -> Vec<u8> {
        (0..len as u32).map(|number| (number.wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
    }

    fn sha256(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    fn after(bytes: &[u8]) -> Hasher {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher
    }

    #[test]
    fn adding_in_pieces_is_adding_at_once() {
        let bytes = bytes(300);
        for len in 0..=bytes.len() {
            let expected = sha256(&bytes[..len]);
            for piece in [1, 7, 63, 64, 65, 128, 300] {
                let mut hasher = Hasher::new();
                bytes[..len].chunks(piece).for_each(|piece| hasher.update(piece));
                assert_eq!(hasher.finish(), expected, "{len} bytes, {piece} at a time");
            }
        }
    }

    #[test]
    fn adding_to_both_is_adding_to_each() {
        let (before, long) = (bytes(64), bytes((2 << 20) + 77));
        for one in [0, 1, 63, 64] {
            for other in [0, 1, 63, 64] {
                for len in (0..=300).chain([long.len()]) {
                    let added = &long[..len];
                    let (mut a, mut b) = (after(&before[..one]), after(&before[..other]));
                    a.update_both(&mut b, added);
                    // What is saved is all that later updates depend on.
                    let saved = [a.save(), b.save()];
                    let messages = [one, other].map(|position| [&before[..position], added].concat());
                    assert_eq!(saved, [0, 1].map(|it| after(&messages[it]).save()), "{one} {other} {len}");
                    assert_eq!(
                        [a.finish(), b.finish()],
                        [0, 1].map(|it| sha256(&messages[it])),
                        "{one} {other} {len}"
                    );
                }
            }
        }
    }

    #[test]
    fn both_go_on_alone_and_from_what_was_saved() {
        let (header, content, padding) = (bytes(512), bytes(1000), [0; 24]);
        let (mut tar, mut file) = (after(&header), Hasher::new());
        for piece in content.chunks(300) {
            tar.update_both(&mut file, piece);
            [tar, file] = [tar, file].map(|hasher| Hasher::resume(&hasher.save()).expect("what was saved"));
        }
        tar.update(&padding);
        assert_eq!(file.finish(), sha256(&content));
        assert_eq!(tar.finish(), sha256(&[&header[..], &content, &padding].concat()));
    }

    /// The examples of FIPS 180-4 (NIST's "SHA256.pdf" and "SHA2_Additional.pdf").
    #[test]
    fn the_standards_examples() {
        for (message, digest) in [
            (vec![], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"abc".to_vec(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (
                b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".to_vec(),
                "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            ),
            (
                b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu".to_vec(),
                "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
            ),
            (vec![0; 64], "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"),
            (vec![b'a'; 1_000_000], "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
        ] {
            let (mut one, mut other) = (Hasher::new(), Hasher::new());
            one.update_both(&mut other, &message);
            let results = [one, other, after(&message)].map(|hasher| hasher.finish().hex());
            assert_eq!(results, [digest; 3], "{} bytes", message.len());
        }
    }

    #[test]
    fn a_hasher_goes_on_from_where_it_was_saved() {
        let bytes = bytes(300);
        for cut in [0, 1, 63, 64, 65, 128, 300] {
            let mut resumed = Hasher::resume(&after(&bytes[..cut]).save()).expect("what was saved");
            resumed.update(&bytes[cut..]);
            assert_eq!(resumed.finish(), sha256(&bytes), "{cut}");
        }
    }

    /// Earlier versions wrote down the hasher of `sha2`, and what they wrote is still taken.
    #[test]
    fn the_saved_form_is_that_of_sha2() {
        let bytes = bytes(200);
        for len in 0..=bytes.len() {
            let theirs = Sha256::new_with_prefix(&bytes[..len]).serialize();
            assert_eq!(after(&bytes[..len]).save()[..], theirs[..], "{len}");
        }
    }

    #[test]
    fn what_was_never_saved_is_refused() {
        let saved = after(&bytes(100)).save();
        assert!(Hasher::resume(&saved).is_some());
        for (what, at, byte) in [
            ("more blocks than a length can count", 39, 0xff),
            ("a block that has begun and is full", 40, 64),
            ("a byte behind those of the block that has begun", 40 + 1 + 36, 1),
            ("a byte at the end", SAVED_HASHER_BYTES - 1, 1),
        ] {
            let mut wrong = saved;
            wrong[at] = byte;
            assert!(Hasher::resume(&wrong).is_none(), "{what}");
        }
    }
}
