//! The index of a layer: its changes in a compact form, as they lie beside it in the store by diff id.
//!
//! ```text
//! "kilnidx1"  list  sha256 of all before
//! ```
//!
//! The list is the bytes of a [`List`]. An index read back has no origins. A damaged one is an error; nobody needs it so
//! badly that guessing would help, since it can be made again from the layer.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::digest::{Digest, Hasher};
use crate::tree::list::Damaged;
use crate::tree::{Changes, List};

const MAGIC: &[u8] = b"kilnidx1";
const CHECKSUM: usize = 32;

/// Why bytes are not the index of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// They begin with something else.
    #[error("not a layer index of this version")]
    Version,
    /// They are not what was written.
    #[error("the layer index is damaged")]
    Damaged,
}

impl From<Damaged> for Error {
    fn from(Damaged: Damaged) -> Self {
        Self::Damaged
    }
}

/// Writes the index of `changes`; their origins are left out.
///
/// # Errors
/// What `out` returns.
pub fn write(changes: &Changes, out: &mut dyn Write) -> io::Result<()> {
    let mut hasher = Hasher::new();
    for bytes in std::iter::once(Cow::Borrowed(MAGIC)).chain(changes.list.encoded()) {
        hasher.update(&bytes);
        out.write_all(&bytes)?;
    }
    out.write_all(hasher.finish().as_bytes())
}

/// Returns the index of `changes`; their origins are left out.
pub fn encode(changes: &Changes) -> Vec<u8> {
    let mut out = Vec::new();
    write(changes, &mut out).expect("memory takes everything");
    out
}

/// Returns the digest of the index of `changes`.
pub fn digest(changes: &Changes) -> Digest {
    let mut hasher = Hasher::new();
    write(changes, &mut hasher).expect("a hasher takes everything");
    hasher.finish()
}

/// Returns the changes that `index` was made from, without origins.
///
/// # Errors
/// If the bytes are not exactly what [`encode`] writes.
pub fn decode(index: &[u8]) -> Result<Changes, Error> {
    if !index.starts_with(MAGIC) {
        return Err(Error::Version);
    }
    let (body, checksum) = index.split_last_chunk::<CHECKSUM>().ok_or(Error::Damaged)?;
    if Digest::of(body).as_bytes() != checksum {
        return Err(Error::Damaged);
    }
    // The checksum holds, so what follows fails only for bytes that somebody made up.
    let list = body.get(MAGIC.len()..).ok_or(Error::Damaged)?;
    Ok(Changes { list: List::decode(list)?, origins: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::tree::diff;
    use crate::tree::testing::{
        arbitrary_tree, changes, dir, file, linked, opaque, symlink, upsert, whiteout,
    };
    use proptest::prelude::*;

    fn sample() -> Changes {
        let mut old = file("1");
        old.meta.mtime = Timestamp(i64::MIN);
        changes(vec![
            upsert("", dir(0o755)),
            upsert("a", dir(0o7777)),
            opaque("a"),
            upsert("a/b", linked("1", Some(u64::MAX))),
            upsert("a/c", old),
            whiteout("a/d"),
            upsert("b", symlink("\u{e9}")),
        ])
    }

    #[test]
    fn comes_back_as_it_was() {
        for changes in [Changes::default(), sample()] {
            assert_eq!(decode(&encode(&changes)).map(|back| back.list), Ok(changes.list));
        }
    }

    #[test]
    fn any_damage_is_an_error() {
        let index = encode(&sample());
        for len in 0..index.len() {
            assert!(decode(&index[..len]).is_err(), "cut to {len}");
        }
        for at in 0..index.len() {
            let mut damaged = index.clone();
            damaged[at] ^= 0x41;
            assert!(decode(&damaged).is_err(), "byte {at}");
        }
        assert_eq!(decode(b"kilnidx0 of another version").map(|_| ()), Err(Error::Version));
    }

    proptest! {
        #[test]
        fn every_difference_comes_back(a in arbitrary_tree(), b in arbitrary_tree()) {
            let changes = diff(&a, &b);
            prop_assert_eq!(decode(&encode(&changes)).map(|back| back.list), Ok(changes.list));
        }

        #[test]
        fn made_up_bytes_with_a_good_checksum_do_not_panic(
            body in proptest::collection::vec(prop_oneof![any::<u8>(), 0..8_u8], 0..200),
        ) {
            let mut index = [MAGIC, &body].concat();
            let checksum = Digest::of(&index);
            index.extend_from_slice(checksum.as_bytes());
            let _ = decode(&index);
        }

        #[test]
        fn a_sound_index_with_an_edit_and_a_good_checksum_does_not_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut index = encode(&sample());
            index.truncate(index.len() - CHECKSUM);
            let at = at.index(index.len());
            index[at] = byte;
            let checksum = Digest::of(&index);
            index.extend_from_slice(checksum.as_bytes());
            let _ = decode(&index);
        }
    }
}
