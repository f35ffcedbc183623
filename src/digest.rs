//! Digests: the names of bytes.
//!
//! Three types for three meanings, so that they cannot be mixed up: a [`Digest`] names bytes as they are
//! stored or sent (image-spec `descriptor.md`), a [`DiffId`] names the uncompressed tar of a layer, a
//! [`ChainId`] names a stack of layers (image-spec `config.md`). All are sha256; other algorithms are
//! refused when parsed. A [`Hasher`] makes them, one at a time or two over the same bytes.

mod hasher;
mod pair;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use hasher::{Hasher, SAVED_HASHER_BYTES, SavedHasher};

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
        let mut hasher = Hasher::new();
        hasher.update(bytes.as_ref());
        hasher.finish()
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
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(|digit| char::from(HEX[usize::from(digit)])).collect()
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
    fn chain_id_folds_from_the_base() {
        let (a, b) = (DiffId(Digest::of("a")), DiffId(Digest::of("b")));
        assert_eq!(ChainId::of([]), None);
        assert_eq!(ChainId::of([a]), Some(ChainId(a.0)));
        assert_eq!(ChainId::of([a, b]), Some(ChainId(Digest::of(format!("{a} {b}")))));
    }
}
