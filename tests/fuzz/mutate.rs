//! Inputs that are nearly right: pieces of a corpus and of a dictionary, cut, joined, repeated and damaged.

/// No input grows longer.
const LIMIT: usize = 16 << 10;

/// Makes one input after another; the same seed makes the same ones.
pub(crate) struct Mutator {
    corpus: Vec<Vec<u8>>,
    dictionary: &'static [&'static str],
    state: u64,
}

impl Mutator {
    /// Grows inputs from `corpus`, which is not empty.
    pub(crate) fn new(corpus: Vec<Vec<u8>>, dictionary: &'static [&'static str], seed: u64) -> Self {
        Self { corpus, dictionary, state: seed }
    }

    /// splitmix64: every bit of the state counts, and no seed is bad.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.random() % (limit.max(1) as u64)).expect("it is below a usize")
    }

    /// Returns the next input.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let start = self.below(self.corpus.len());
        let mut input = self.corpus[start].clone();
        for _ in 0..=self.below(8) {
            self.change(&mut input);
        }
        input.truncate(LIMIT);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let length = self.below(1 + (input.len() - at).min(64));
        match self.below(7) {
            0 => {
                input.drain(at..at + length);
            }
            1 => {
                let piece = input[at..at + length].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, piece);
            }
            2 => {
                let other = self.below(self.corpus.len());
                let (from, size) = (self.below(self.corpus[other].len()), self.below(256));
                let piece: Vec<u8> = self.corpus[other].iter().skip(from).take(size).copied().collect();
                input.splice(at..at, piece);
            }
            3 | 4 => {
                let token = self.dictionary[self.below(self.dictionary.len())];
                input.splice(at..at, token.bytes());
            }
            5 => {
                let bit = self.below(8);
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            _ => {
                let byte = u8::try_from(self.below(256)).expect("it is below 256");
                input.insert(at, byte);
            }
        }
    }
}
