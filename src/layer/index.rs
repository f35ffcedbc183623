//! The index of a layer: its changes in a compact form, as they lie beside it in the store by diff id.
//!
//! ```text
//! "kilnidx1"  count  change*  sha256 of all before
//! change      shared  len bytes[len]           the path: what it shares with the one before, and the rest
//!             kind                             one byte; with 0x80, extended attributes follow the owner
//!             mode uid gid mtime [xattrs]      not of whiteouts and opaque marks
//!             by kind: size digest[32] link    0, or 1 and the number of the link group
//!                      len target[len] | major minor
//! ```
//!
//! Numbers are LEB128, times zigzag. An index read back has no origins. A damaged one is an error; nobody
//! needs it so badly that guessing would help, since it can be made again from the layer.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::path::RelPath;
use crate::time::Timestamp;
use crate::tree::{Change, Changes, Entry, Kind, LinkGroup, Meta, Xattrs};

const MAGIC: &[u8] = b"kilnidx1";
const CHECKSUM: usize = 32;

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const SYMLINK: u8 = 2;
const CHAR_DEVICE: u8 = 3;
const BLOCK_DEVICE: u8 = 4;
const FIFO: u8 = 5;
const WHITEOUT: u8 = 6;
const OPAQUE: u8 = 7;
const HAS_XATTRS: u8 = 0x80;

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

/// Returns the index of `changes`, which must be sorted by path; their origins are left out.
pub fn encode(changes: &Changes) -> Vec<u8> {
    let mut out = Vec::with_capacity(MAGIC.len() + CHECKSUM + changes.list.len() * 72);
    out.extend_from_slice(MAGIC);
    number(&mut out, changes.list.len() as u64);
    let mut before: &[u8] = b"";
    for change in &changes.list {
        let path = change.path().as_bytes();
        let shared = path.iter().zip(before).take_while(|(a, b)| a == b).count();
        number(&mut out, shared as u64);
        bytes(&mut out, &path[shared..]);
        before = path;
        match change {
            Change::Upsert { entry, .. } => encode_entry(&mut out, entry),
            Change::Whiteout { .. } => out.push(WHITEOUT),
            Change::Opaque { .. } => out.push(OPAQUE),
        }
    }
    let checksum = Digest::of(&out);
    out.extend_from_slice(checksum.as_bytes());
    out
}

fn encode_entry(out: &mut Vec<u8>, Entry { meta, kind }: &Entry) {
    let ordinal = match kind {
        Kind::Directory => DIRECTORY,
        Kind::File { .. } => FILE,
        Kind::Symlink { .. } => SYMLINK,
        Kind::CharDevice { .. } => CHAR_DEVICE,
        Kind::BlockDevice { .. } => BLOCK_DEVICE,
        Kind::Fifo => FIFO,
    };
    out.push(ordinal | if meta.xattrs.is_some() { HAS_XATTRS } else { 0 });
    number(out, meta.mode.into());
    number(out, meta.uid.into());
    number(out, meta.gid.into());
    let mtime = meta.mtime.0;
    number(out, (mtime << 1 ^ mtime >> 63).cast_unsigned());
    if let Some(xattrs) = &meta.xattrs {
        number(out, xattrs.len() as u64);
        for (name, value) in &**xattrs {
            bytes(out, name);
            bytes(out, value);
        }
    }
    match kind {
        Kind::Directory | Kind::Fifo => {}
        Kind::File { size, digest, link } => {
            number(out, *size);
            out.extend_from_slice(digest.as_bytes());
            match link {
                None => out.push(0),
                Some(LinkGroup(group)) => {
                    out.push(1);
                    number(out, *group);
                }
            }
        }
        Kind::Symlink { target } => bytes(out, target),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            number(out, (*major).into());
            number(out, (*minor).into());
        }
    }
}

fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
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
    let mut input = Input(body.get(MAGIC.len()..).ok_or(Error::Damaged)?);
    let count = input.number()?;
    let mut list = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(body.len() / 4));
    let mut path = Vec::new();
    for _ in 0..count {
        let shared = usize::try_from(input.number()?).map_err(|_| Error::Damaged)?;
        if shared > path.len() {
            return Err(Error::Damaged);
        }
        path.truncate(shared);
        path.extend_from_slice(input.bytes()?);
        list.push(decode_change(&mut input, RelPath::clean(&path))?);
    }
    if input.0.is_empty() { Ok(Changes { list, origins: Vec::new() }) } else { Err(Error::Damaged) }
}

fn decode_change(input: &mut Input<'_>, path: RelPath) -> Result<Change, Error> {
    let tag = input.byte()?;
    let ordinal = tag & !HAS_XATTRS;
    match tag {
        WHITEOUT => return Ok(Change::Whiteout { path }),
        OPAQUE => return Ok(Change::Opaque { path }),
        _ => {}
    }
    let mode = u16::try_from(input.number()?).map_err(|_| Error::Damaged)?;
    let (uid, gid) = (input.number_u32()?, input.number_u32()?);
    let zigzag = input.number()?;
    let mtime = Timestamp((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
    let xattrs = if tag & HAS_XATTRS == 0 { None } else { Some(Arc::new(input.xattrs()?)) };
    let kind = match ordinal {
        DIRECTORY => Kind::Directory,
        FILE => {
            let size = input.number()?;
            let digest = Digest::from_bytes(*input.take(32)?.first_chunk().ok_or(Error::Damaged)?);
            let link = match input.byte()? {
                0 => None,
                1 => Some(LinkGroup(input.number()?)),
                _ => return Err(Error::Damaged),
            };
            Kind::File { size, digest, link }
        }
        SYMLINK => Kind::Symlink { target: input.bytes()?.into() },
        CHAR_DEVICE => Kind::CharDevice { major: input.number_u32()?, minor: input.number_u32()? },
        BLOCK_DEVICE => Kind::BlockDevice { major: input.number_u32()?, minor: input.number_u32()? },
        FIFO => Kind::Fifo,
        _ => return Err(Error::Damaged),
    };
    Ok(Change::Upsert {
        path,
        entry: Entry { meta: Meta { mode, uid, gid, mtime, xattrs }, kind },
        origin: 0,
    })
}

/// What is still to be decoded.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Error::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, Error> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Error::Damaged);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Error::Damaged)
    }

    fn number_u32(&mut self) -> Result<u32, Error> {
        u32::try_from(self.number()?).map_err(|_| Error::Damaged)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let len = usize::try_from(self.number()?).map_err(|_| Error::Damaged)?;
        self.take(len)
    }

    fn xattrs(&mut self) -> Result<Xattrs, Error> {
        let mut xattrs = BTreeMap::new();
        for _ in 0..self.number()? {
            xattrs.insert(self.bytes()?.into(), self.bytes()?.into());
        }
        Ok(xattrs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
