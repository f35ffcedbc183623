//! The sha256 of two messages that have blocks in common.
//!
//! In: two states and the blocks that come next in both messages; out: the states behind them. What is expanded
//! from a block ([FIPS 180-4](https://doi.org/10.6028/NIST.FIPS.180-4), 6.2.2, step 1) is the same for both
//! messages. And each `sha256rnds2` of an x86 CPU waits for the one before, so that one message leaves the unit
//! idle half of the time: the other is advanced meanwhile, at no cost (Zen 4: 1.82 GB/s for one and for two).
//!
//! A CPU without the instruction takes the blocks twice, one message after the other. What this does not do:
//! know where messages begin and end (the hasher does).

use sha2::block_api::compress256;

/// The eight words that 6.2.2 calls H0 to H7.
pub(super) type State = [u32; 8];
pub(super) type Block = [u8; 64];

/// Advances both states over the same blocks.
pub(super) fn compress(one: &mut State, other: &mut State, blocks: &[Block]) {
    // Not optimised, each instruction is a call, and `sha2` is optimised always.
    if cfg!(debug_assertions) || !compress_at_once(one, other, blocks) {
        compress256(one, blocks);
        compress256(other, blocks);
    }
}

/// Does it if the CPU has the instructions.
fn compress_at_once(one: &mut State, other: &mut State, blocks: &[Block]) -> bool {
    #[cfg(target_arch = "x86_64")]
    if x86::is_here() {
        #[expect(unsafe_code, reason = "instructions that not every CPU has")]
        // SAFETY: the CPU has the instructions that the function is compiled for.
        unsafe {
            x86::compress(one, other, blocks);
        }
        return true;
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (one, other, blocks);
    false
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::is_x86_feature_detected;
    use std::arch::x86_64::*;

    use super::{Block, State};

    /// Whether the CPU has what [`compress`] is compiled for.
    pub(super) fn is_here() -> bool {
        is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1")
    }

    /// As `super::compress`.
    ///
    /// The words of the schedule move up instead of being counted round, so that they stay in registers.
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    pub(super) fn compress(one: &mut State, other: &mut State, blocks: &[Block]) {
        let (mut a, mut b) = (Lanes::of(one), Lanes::of(other));
        for block in blocks {
            let (before_a, before_b) = (a, b);
            // The last sixteen words of the schedule, four in each vector.
            let mut words = load(block);
            for four in 0..16 {
                let [oldest, older, newer, newest] = words;
                let with_constants = _mm_add_epi32(oldest, constants(four));
                a = a.four_rounds(with_constants);
                b = b.four_rounds(with_constants);
                // W[t] = W[t-16] + s0(W[t-15]) + W[t-7] + s1(W[t-2]): the first two, the third, the last.
                let sum = _mm_sha256msg1_epu32(oldest, older);
                let sum = _mm_add_epi32(sum, _mm_alignr_epi8::<4>(newest, newer));
                words = [older, newer, newest, _mm_sha256msg2_epu32(sum, newest)];
            }
            a = a.plus(before_a);
            b = b.plus(before_b);
        }
        *one = a.state();
        *other = b.state();
    }

    /// A state as the instructions want it: the first named word is the highest of a vector.
    #[derive(Clone, Copy)]
    struct Lanes {
        abef: __m128i,
        cdgh: __m128i,
    }

    impl Lanes {
        #[inline]
        #[target_feature(enable = "sse2")]
        fn of(state: &State) -> Self {
            let [a, b, c, d, e, f, g, h] = state.map(u32::cast_signed);
            Self { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h) }
        }

        #[inline]
        #[target_feature(enable = "sse4.1")]
        fn state(self) -> State {
            let Self { abef, cdgh } = self;
            [
                _mm_extract_epi32::<3>(abef),
                _mm_extract_epi32::<2>(abef),
                _mm_extract_epi32::<3>(cdgh),
                _mm_extract_epi32::<2>(cdgh),
                _mm_extract_epi32::<1>(abef),
                _mm_extract_epi32::<0>(abef),
                _mm_extract_epi32::<1>(cdgh),
                _mm_extract_epi32::<0>(cdgh),
            ]
            .map(i32::cast_unsigned)
        }

        /// Steps 3 and 4 of 6.2.2 for four words of the schedule, to which their constants are added.
        ///
        /// An instruction does two rounds, with the two lower words, and returns the new ABEF. The ABEF before
        /// is the new CDGH: what was A is C two rounds later, and so on.
        #[inline]
        #[target_feature(enable = "sha,sse2")]
        fn four_rounds(self, words: __m128i) -> Self {
            let abef = _mm_sha256rnds2_epu32(self.cdgh, self.abef, words);
            let upper = _mm_unpackhi_epi64(words, words);
            Self { abef: _mm_sha256rnds2_epu32(self.abef, abef, upper), cdgh: abef }
        }

        #[inline]
        #[target_feature(enable = "sse2")]
        fn plus(self, other: Self) -> Self {
            Self { abef: _mm_add_epi32(self.abef, other.abef), cdgh: _mm_add_epi32(self.cdgh, other.cdgh) }
        }
    }

    /// The sixteen words of a block, which are big-endian there, the first one lowest.
    #[inline]
    #[target_feature(enable = "sse2,ssse3")]
    fn load(block: &Block) -> [__m128i; 4] {
        let reversed = _mm_set_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
        let (halves, _) = block.as_chunks().0.as_chunks::<2>();
        [0, 1, 2, 3].map(|quarter| {
            let [low, high] = halves[quarter].map(i64::from_le_bytes);
            _mm_shuffle_epi8(_mm_set_epi64x(high, low), reversed)
        })
    }

    /// The constants of four rounds, the first one lowest.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn constants(four: usize) -> __m128i {
        let [first, second, third, fourth] = K[four].map(u32::cast_signed);
        _mm_set_epi32(fourth, third, second, first)
    }

    /// The constants of the rounds (4.2.2).
    const K: [[u32; 4]; 16] = [
        [0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5],
        [0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5],
        [0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3],
        [0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174],
        [0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc],
        [0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da],
        [0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7],
        [0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967],
        [0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13],
        [0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85],
        [0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3],
        [0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070],
        [0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5],
        [0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3],
        [0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208],
        [0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2],
    ];
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_states_become_what_each_would_alone() {
        if !compress_at_once(&mut [0; 8], &mut [0; 8], &[]) {
            eprintln!("SKIPPED: the CPU has no instructions for sha256");
            return;
        }
        proptest!(|(states: [State; 2], bytes in prop::collection::vec(any::<u8>(), 0..300))| {
            let (blocks, _) = bytes.as_chunks();
            let [mut one, mut other] = states;
            prop_assert!(compress_at_once(&mut one, &mut other, blocks));
            let mut alone = states;
            alone.iter_mut().for_each(|state| compress256(state, blocks));
            prop_assert_eq!([one, other], alone);
        });
    }
}
