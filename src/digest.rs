//! Digests: the names of bytes.
//!
//! Three types for three meanings, so that they cannot be mixed up: a [`Digest`] names bytes as they are
//! stored or sent (image-spec `descriptor.md`), a [`DiffId`] names the uncompressed tar of a layer, a
//! [`ChainId`] names a stack of layers (image-spec `config.md`). All are sha256; other algorithms are
//! refused when parsed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::digest::common::hazmat::SerializableState as _;
use sha2::{Digest as _, Sha256};

/// The sha256 of some bytes, printed as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text that is not a sha256 digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest of the form sha256:<64 hexadecimal digits>")]
pub struct ParseError(pub String);

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes.as_ref()).into())
    }

    /// Wraps a finished sha256.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the 64 hexadecimal digits without the algorithm: a blob's file name in an OCI layout.
    pub fn hex(&self) -> String {
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        text
    }

    /// Parses 64 hexadecimal digits.
    ///
    /// # Errors
    /// If there are more, fewer or other characters.
    pub fn from_hex(text: &str) -> Result<Self, ParseError> {
        let invalid = || ParseError(text.to_owned());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(invalid());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = hex_value(pair[0]).ok_or_else(invalid)?;
            let low = hex_value(pair[1]).ok_or_else(invalid)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The value of a lower-case hexadecimal digit; upper case is not canonical (image-spec `descriptor.md`).
const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let hex = text.strip_prefix("sha256:").ok_or_else(|| ParseError(text.to_owned()))?;
        Self::from_hex(hex).map_err(|_| ParseError(text.to_owned()))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! digest_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                text.parse().map(Self)
            }
        }
    };
}

digest_newtype! {
    /// The digest of a layer's uncompressed tar.
    DiffId
}

digest_newtype! {
    /// The digest over the diff ids up to and with a layer, base first.
    ChainId
}

impl ChainId {
    /// Returns the chain id of `diff_ids`, base first; `None` for no layers.
    pub fn of(diff_ids: impl IntoIterator<Item = DiffId>) -> Option<Self> {
        diff_ids.into_iter().fold(None, |below: Option<Self>, diff_id| Some(Self::on(below, diff_id)))
    }

    /// Returns the chain id of a layer laid on `below`.
    pub fn on(below: Option<Self>, diff_id: DiffId) -> Self {
        match below {
            None => Self(diff_id.0),
            Some(below) => Self(Digest::of(format!("{below} {diff_id}"))),
        }
    }
}

/// A [`Hasher`] written down, to go on from there later.
pub type SavedHasher = [u8; SAVED_HASHER_BYTES];

/// The running state, the number of blocks, and the bytes that do not fill a block yet (of `sha2` 0.11).
pub const SAVED_HASHER_BYTES: usize = 32 + 8 + 64;

/// A running sha256 that ends in a [`Digest`].
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Starts with no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns what [`resume`](Self::resume) needs to go on from here.
    pub fn save(&self) -> SavedHasher {
        self.0.serialize().into()
    }

    /// Goes on from what was saved; `None` if it is nothing that [`save`](Self::save) returned.
    pub fn resume(saved: &SavedHasher) -> Option<Self> {
        Sha256::deserialize(saved.into()).ok().map(Self)
    }

    /// Returns the digest of everything added.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
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
    use super::*;

    #[test]
    fn prints_and_parses() {
        let empty = Digest::of(b"");
        assert_eq!(
            empty.to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(empty.to_string().parse(), Ok(empty));
        for wrong in
            ["", "sha256:", "sha256:E3", "sha512:00", &empty.hex(), &empty.to_string().to_uppercase()]
        {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_hasher_goes_on_from_where_it_was_saved() {
        let bytes: Vec<u8> = (0..300_u16).map(|number| number as u8).collect();
        for cut in [0, 1, 63, 64, 65, 128, 300] {
            let mut hasher = Hasher::new();
            hasher.update(&bytes[..cut]);
            let mut resumed = Hasher::resume(&hasher.save()).expect("what was saved");
            resumed.update(&bytes[cut..]);
            assert_eq!(resumed.finish(), Digest::of(&bytes), "{cut}");
        }
        assert!(Hasher::resume(&[0xff; SAVED_HASHER_BYTES]).is_none());
    }

    #[test]
    fn chain_id_folds_from_the_base() {
        let (a, b) = (DiffId(Digest::of("a")), DiffId(Digest::of("b")));
        assert_eq!(ChainId::of([]), None);
        assert_eq!(ChainId::of([a]), Some(ChainId(a.0)));
        assert_eq!(ChainId::of([a, b]), Some(ChainId(Digest::of(format!("{a} {b}")))));
    }
}
