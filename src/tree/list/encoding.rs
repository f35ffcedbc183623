//! What a change is besides its path and its origin, as bytes.
//!
//! ```text
//! kind                             one byte; with 0x80, extended attributes follow the time
//! mode uid gid mtime [xattrs]      not of whiteouts and opaque marks
//! by kind: size digest[32] link    0, or 1 and the number of the link group
//!          len target[len] | major minor
//! ```
//!
//! Numbers are LEB128, times zigzag; extended attributes are their number, and of each the length and the bytes
//! of name and value.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::time::Timestamp;
use crate::tree::{Entry, Kind, LinkGroup, Meta, Xattrs};

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const SYMLINK: u8 = 2;
const CHAR_DEVICE: u8 = 3;
const BLOCK_DEVICE: u8 = 4;
const FIFO: u8 = 5;
pub(super) const WHITEOUT: u8 = 6;
pub(super) const OPAQUE: u8 = 7;
const HAS_XATTRS: u8 = 0x80;

pub(super) const DIGEST: usize = 32;

/// Bytes are not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damaged;

/// A change as it was read.
pub(super) enum Body {
    Upsert(Entry),
    Whiteout,
    Opaque,
}

/// Tells of the first byte of an encoded change whether it is of a regular file.
pub(super) const fn is_file(tag: u8) -> bool {
    tag & !HAS_XATTRS == FILE
}

/// Tells of the first byte of an encoded change whether it is of a directory.
pub(super) const fn is_directory(tag: u8) -> bool {
    tag & !HAS_XATTRS == DIRECTORY
}

/// Tells of the first byte of an encoded change whether there is an entry.
pub(super) const fn is_upsert(tag: u8) -> bool {
    tag & !HAS_XATTRS < WHITEOUT
}

pub(super) fn entry(out: &mut Vec<u8>, Entry { meta, kind }: &Entry) {
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

pub(super) fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(super) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What is still to be decoded.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    /// Reads a path, given the one before in `path`.
    pub(super) fn path(&mut self, path: &mut Vec<u8>) -> Result<(), Damaged> {
        let shared = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        if shared > path.len() {
            return Err(Damaged);
        }
        path.truncate(shared);
        path.extend_from_slice(self.bytes()?);
        Ok(())
    }

    /// Reads what follows a path.
    pub(super) fn body(&mut self) -> Result<Body, Damaged> {
        let tag = self.byte()?;
        match tag {
            WHITEOUT => return Ok(Body::Whiteout),
            OPAQUE => return Ok(Body::Opaque),
            _ => {}
        }
        let meta = self.meta(tag)?;
        let kind = match tag & !HAS_XATTRS {
            DIRECTORY => Kind::Directory,
            FILE => {
                let size = self.number()?;
                let digest = Digest::from_bytes(*self.take(DIGEST)?.first_chunk().ok_or(Damaged)?);
                let link = match self.byte()? {
                    0 => None,
                    1 => Some(LinkGroup(self.number()?)),
                    _ => return Err(Damaged),
                };
                Kind::File { size, digest, link }
            }
            SYMLINK => Kind::Symlink { target: self.bytes()?.into() },
            CHAR_DEVICE => Kind::CharDevice { major: self.number_u32()?, minor: self.number_u32()? },
            BLOCK_DEVICE => Kind::BlockDevice { major: self.number_u32()?, minor: self.number_u32()? },
            FIFO => Kind::Fifo,
            _ => return Err(Damaged),
        };
        Ok(Body::Upsert(Entry { meta, kind }))
    }

    /// Reads past what follows a path. Quicker than [`body`](Self::body), and for bytes that this has read once. Of a file
    /// it returns how many bytes are left from the digest on.
    pub(super) fn skip_body(&mut self) -> Result<Option<usize>, Damaged> {
        let tag = self.byte()?;
        if !is_upsert(tag) {
            return Ok(None);
        }
        self.skip_meta(tag)?;
        match tag & !HAS_XATTRS {
            FILE => {
                self.number()?;
                let left = self.0.len();
                self.take(DIGEST)?;
                if self.byte()? != 0 {
                    self.number()?;
                }
                return Ok(Some(left));
            }
            SYMLINK => _ = self.bytes()?,
            CHAR_DEVICE | BLOCK_DEVICE => {
                self.number()?;
                self.number()?;
            }
            _ => {}
        }
        Ok(None)
    }

    /// Returns the target if what follows a path is a symlink.
    pub(super) fn symlink_target(&mut self) -> Result<Option<&'a [u8]>, Damaged> {
        let tag = self.byte()?;
        if tag & !HAS_XATTRS != SYMLINK {
            return Ok(None);
        }
        self.skip_meta(tag)?;
        self.bytes().map(Some)
    }

    fn meta(&mut self, tag: u8) -> Result<Meta, Damaged> {
        let mode = u16::try_from(self.number()?).map_err(|_| Damaged)?;
        let (uid, gid) = (self.number_u32()?, self.number_u32()?);
        let zigzag = self.number()?;
        let mtime = Timestamp((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
        let xattrs = if tag & HAS_XATTRS == 0 { None } else { Some(Arc::new(self.xattrs()?)) };
        Ok(Meta { mode, uid, gid, mtime, xattrs })
    }

    fn skip_meta(&mut self, tag: u8) -> Result<(), Damaged> {
        for _ in 0..4 {
            self.number()?;
        }
        if tag & HAS_XATTRS != 0 {
            for _ in 0..self.number()? {
                self.bytes()?;
                self.bytes()?;
            }
        }
        Ok(())
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Damaged> {
        let (byte, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Damaged);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    fn number_u32(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let len = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        self.take(len)
    }

    fn xattrs(&mut self) -> Result<Xattrs, Damaged> {
        let mut xattrs = BTreeMap::new();
        for _ in 0..self.number()? {
            xattrs.insert(self.bytes()?.into(), self.bytes()?.into());
        }
        Ok(xattrs)
    }
}
