//! Writing the headers of a layer's tar.
//!
//! One form for everything, so that equal entries give equal bytes: a ustar header with the fields in their
//! order, preceded by a PAX header only for what ustar cannot say: a name that fits neither 100 bytes nor the
//! prefix, a link target beyond 100, a size, owner or time beyond the octal digits, a capability. Names are
//! written as the bytes they are; all readers of layers take them so. No user and group names, no access
//! times.

use super::{BLOCK, CAPABILITY, PAX_XATTR};
use crate::time::Timestamp;
use crate::tree::Xattrs;

/// What a header is written from.
pub(super) struct Header<'a> {
    pub(super) kind: u8,
    /// Without leading slash; of a directory with a slash behind.
    pub(super) path: &'a [u8],
    pub(super) link: &'a [u8],
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) mtime: Timestamp,
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) xattrs: Option<&'a Xattrs>,
}

pub(super) const FILE: u8 = b'0';
pub(super) const HARD_LINK: u8 = b'1';
pub(super) const SYMLINK: u8 = b'2';
pub(super) const CHAR_DEVICE: u8 = b'3';
pub(super) const BLOCK_DEVICE: u8 = b'4';
pub(super) const DIRECTORY: u8 = b'5';
pub(super) const FIFO: u8 = b'6';
const PAX: u8 = b'x';

/// The largest number of seven and of eleven octal digits.
const OCTAL_7: u64 = 0o777_7777;
const OCTAL_11: u64 = 0o777_7777_7777;
const NAME: usize = 100;
const PREFIX: usize = 155;

impl Header<'_> {
    /// Appends the header to `out`, its PAX header in front if it needs one.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut records = Vec::new();
        let split = split(self.path);
        if split.is_none() {
            record(&mut records, b"path", self.path);
        }
        if self.link.len() > NAME {
            record(&mut records, b"linkpath", self.link);
        }
        for (key, number, limit) in [
            (&b"size"[..], self.size, OCTAL_11),
            (b"uid", self.uid.into(), OCTAL_7),
            (b"gid", self.gid.into(), OCTAL_7),
        ] {
            if number > limit {
                record(&mut records, key, number.to_string().as_bytes());
            }
        }
        let mtime = u64::try_from(self.mtime.0).ok().filter(|mtime| *mtime <= OCTAL_11);
        if mtime.is_none() {
            record(&mut records, b"mtime", self.mtime.0.to_string().as_bytes());
        }
        if let Some(capability) = self.xattrs.and_then(|xattrs| xattrs.get(CAPABILITY)) {
            record(&mut records, &[PAX_XATTR, CAPABILITY].concat(), capability);
        }
        if !records.is_empty() {
            self.write_pax(&records, out);
        }

        let (prefix, name) = split.unwrap_or((b"", &self.path[..self.path.len().min(NAME)]));
        let mut block = [0; BLOCK];
        text(&mut block[..100], name);
        octal(&mut block[100..108], self.mode.into());
        octal(&mut block[108..116], u64::from(self.uid));
        octal(&mut block[116..124], u64::from(self.gid));
        octal(&mut block[124..136], self.size);
        octal(&mut block[136..148], mtime.unwrap_or(0));
        block[156] = self.kind;
        text(&mut block[157..257], &self.link[..self.link.len().min(NAME)]);
        octal_or_binary(&mut block[329..337], self.major);
        octal_or_binary(&mut block[337..345], self.minor);
        text(&mut block[345..500], prefix);
        finish(&mut block);
        out.extend_from_slice(&block);
    }

    fn write_pax(&self, records: &[u8], out: &mut Vec<u8>) {
        let mut block = [0; BLOCK];
        // Any name will do: it is shown by tools that know no PAX.
        let last = self.path.strip_suffix(b"/").unwrap_or(self.path).rsplit(|byte| *byte == b'/').next();
        let last = last.unwrap_or_default();
        let name = [b"PaxHeaders.0/", &last[..last.len().min(NAME - 13)]].concat();
        text(&mut block[..100], &name);
        octal(&mut block[100..108], 0o644);
        for field in [108..116, 116..124, 136..148, 329..337, 337..345] {
            octal(&mut block[field], 0);
        }
        octal(&mut block[124..136], records.len() as u64);
        block[156] = PAX;
        finish(&mut block);
        out.extend_from_slice(&block);
        out.extend_from_slice(records);
        out.resize(out.len() + padding(records.len() as u64), 0);
    }
}

/// The number of zeros behind a content of `size`.
pub(super) const fn padding(size: u64) -> usize {
    // Below the length of a block.
    (size.wrapping_neg() % BLOCK as u64) as usize
}

/// Splits a path over the prefix and name fields; `None` if it does not fit.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= NAME {
        return Some((b"", path));
    }
    // The longest prefix, at a slash that is not the last byte.
    let before = &path[..path.len().min(PREFIX + 1).min(path.len() - 1)];
    let slash = before.iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (!prefix.is_empty() && name.len() <= NAME).then_some((prefix, name))
}

/// Appends `LENGTH KEY=VALUE\n`, where the length counts its own digits too.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    while len.to_string().len() + rest != len {
        len = len.to_string().len() + rest;
    }
    records.extend_from_slice(len.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn text(field: &mut [u8], value: &[u8]) {
    field[..value.len()].copy_from_slice(value);
}

/// Writes octal digits and a NUL; 0 if they do not fit, for then a PAX record says it.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let value = if value >> (3 * digits) == 0 { value } else { 0 };
    for (at, digit) in field[..digits].iter_mut().enumerate() {
        *digit = b'0' + (value >> (3 * (digits - 1 - at)) & 7) as u8;
    }
}

/// Writes a device number; PAX has no record for those, so large ones are written as GNU does.
fn octal_or_binary(field: &mut [u8], value: u32) {
    if u64::from(value) <= OCTAL_7 {
        return octal(field, value.into());
    }
    field[0] = 0x80;
    field[4..8].copy_from_slice(&value.to_be_bytes());
}

/// Adds the magic and the checksum.
fn finish(block: &mut [u8; BLOCK]) {
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_names_over_the_prefix() {
        let long = |a: usize, b: usize| [vec![b'p'; a], vec![b'/'], vec![b'n'; b]].concat();
        for (path, expected) in [
            (vec![b'n'; 100], Some((0, 100))),
            (vec![b'n'; 101], None),
            (long(1, 100), Some((1, 100))),
            (long(155, 100), Some((155, 100))),
            (long(156, 100), None),
            (long(1, 101), None),
            ([long(60, 60), b"/".to_vec()].concat(), Some((60, 61))),
            ([vec![b'd'; 120], b"/".to_vec()].concat(), None),
        ] {
            assert_eq!(
                split(&path).map(|(prefix, name)| (prefix.len(), name.len())),
                expected,
                "{}",
                path.len()
            );
        }
    }

    #[test]
    fn a_records_length_counts_itself() {
        for len in [0, 1, 85, 86, 87, 88, 89, 90, 980, 985, 990, 995] {
            let mut records = Vec::new();
            record(&mut records, b"path", &vec![b'v'; len]);
            let digits = records.iter().position(|byte| *byte == b' ').expect("a space");
            let said: usize = String::from_utf8_lossy(&records[..digits]).parse().expect("a number");
            assert_eq!(said, records.len(), "{len}");
        }
    }
}
