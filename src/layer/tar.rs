//! The members of a tar as they stream by, with what the several header formats say about each.
//!
//! Reads v7, ustar, star, GNU (long names, base-256 numbers, sparse files) and PAX. The `tar` crate finds the
//! records of a PAX header by their line ends and so loses attributes whose value holds one
//! (`security.capability` does now and then); hence this reader. Like Go's `archive/tar`, which reads the
//! layers everywhere else, it ignores global PAX headers, takes no content for links and directories, and
//! allows one MiB for a header's extensions.

use std::io::{self, Read};

use super::sparse::{Map, Segment};
use super::{BLOCK, CAPABILITY, PAX_XATTR, read_full};
use crate::digest::{Digest, Hasher};

/// What can be wrong with a tar.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the stream cannot be read")]
    Stream(#[from] io::Error),
    #[error("{0}")]
    Damaged(&'static str),
}

pub(super) type Result<T> = std::result::Result<T, Error>;

/// What a member is; contents are read by [`Reader::content`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// One member, names as they are written.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) kind: Type,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
    pub(super) major: u32,
    pub(super) minor: u32,
    /// The length of the content with its holes filled.
    pub(super) size: u64,
    pub(super) capability: Option<Box<[u8]>>,
}

/// Reads members one after the other.
pub(super) struct Reader<R> {
    stream: Hashing<R>,
    /// Bytes of the current member that were not read yet, and of the padding behind them.
    left: u64,
    padding: u64,
    content: Map,
    offset: u64,
    ended: bool,
}

const EXTENSION_LIMIT: u64 = 1 << 20;

/// What extension headers say about the next member.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<i64>,
    capability: Option<Box<[u8]>>,
    sparse: PaxSparse,
}

#[derive(Default)]
struct PaxSparse {
    major: Option<u64>,
    real_size: Option<u64>,
    /// The numbers of the map, offset and length in turn.
    numbers: Vec<u64>,
}

impl<R: Read> Reader<R> {
    pub(super) const fn new(stream: R) -> Self {
        Self::of(Hashing { stream, hasher: None })
    }

    /// Hashes all of the stream, which is [`Reader::drain`]'s result then.
    pub(super) fn hashing(stream: R) -> Self {
        Self::of(Hashing { stream, hasher: Some(Hasher::new()) })
    }

    const fn of(stream: Hashing<R>) -> Self {
        Self { stream, left: 0, padding: 0, content: Map::empty(), offset: 0, ended: false }
    }

    /// The number of bytes read so far.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the next member, or nothing at the end of the archive: a block of zeros or the end of the
    /// stream.
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        let mut extensions = Extensions::default();
        let mut extended = false;
        while !self.ended {
            self.skip_rest()?;
            let mut block = [0; BLOCK];
            if !self.read_header(&mut block)? {
                break;
            }
            let header = Header(&block);
            let size = header.size()?;
            match block[156] {
                b'x' | b'X' => extensions.add_pax(&self.extension(size)?)?,
                b'g' => self.set_content(size)?,
                b'L' => extensions.path = Some(until_nul(&self.extension(size)?).to_vec()),
                b'K' => extensions.link = Some(until_nul(&self.extension(size)?).to_vec()),
                // A volume's label.
                b'V' => self.set_content(0)?,
                _ => return self.member(&block, extensions).map(Some),
            }
            extended |= block[156] != b'g';
        }
        self.ended = true;
        if extended { Err(Error::Damaged("an extension header has no member behind it")) } else { Ok(None) }
    }

    fn member(&mut self, block: &[u8; BLOCK], extensions: Extensions) -> Result<Member> {
        let header = Header(block);
        let mut path = extensions.path.map_or_else(|| header.path(), Ok)?;
        let kind = match block[156] {
            // v7 knew no directories but by their name.
            0 if path.last() == Some(&b'/') => Type::Directory,
            0 | b'0' | b'7' | b'S' => Type::File,
            b'1' => Type::HardLink,
            b'2' => Type::Symlink,
            b'3' => Type::CharDevice,
            b'4' => Type::BlockDevice,
            b'5' => Type::Directory,
            b'6' => Type::Fifo,
            _ => return Err(Error::Damaged("a member is of a type that no layer holds")),
        };
        let stored = match kind {
            Type::File => extensions.size.map_or_else(|| header.size(), Ok)?,
            // The size of a link or directory says nothing about what follows.
            _ => 0,
        };
        self.set_content(stored)?;
        let PaxSparse { major, real_size, numbers } = extensions.sparse;
        if kind == Type::File {
            if block[156] == b'S' {
                self.gnu_sparse(&header, stored)?;
            } else if major == Some(1) {
                let (map, used) = self.sparse_map_in_content()?;
                self.content = Map::new(map, real_size.unwrap_or(stored), stored - used)?;
            } else if real_size.is_some() && !numbers.is_empty() {
                let map = Segment::pairs(&numbers)?;
                self.content = Map::new(map, real_size.unwrap_or(stored), stored)?;
            }
        }
        if path.contains(&0) {
            path.truncate(until_nul(&path).len());
        }
        let devices = matches!(kind, Type::CharDevice | Type::BlockDevice);
        let device = |range| if devices { header.id(range) } else { Ok(0) };
        Ok(Member {
            kind,
            path,
            link: extensions.link.unwrap_or_else(|| until_nul(&block[157..257]).to_vec()),
            // The type that some writers add is cut off.
            mode: (header.number(100..108)? & 0o7777) as u16,
            uid: extensions.uid.map_or_else(|| header.id(108..116), Ok)?,
            gid: extensions.gid.map_or_else(|| header.id(116..124), Ok)?,
            mtime: extensions.mtime.map_or_else(|| header.number(136..148), Ok)?,
            major: device(329..337)?,
            minor: device(337..345)?,
            size: self.content.size(),
            capability: extensions.capability,
        })
    }

    /// Returns the content of the member that [`Reader::next`] returned last.
    pub(super) fn content(&mut self) -> Content<'_, R> {
        Content { reader: self, hasher: Hasher::new() }
    }

    /// Reads the stream to its end: what stands behind the archive counts for its digest too, and whoever checks the
    /// stream behind sees all of it.
    pub(super) fn drain(mut self) -> Result<Option<Digest>> {
        io::copy(&mut self.stream, &mut io::sink())?;
        Ok(self.stream.hasher.map(Hasher::finish))
    }

    fn set_content(&mut self, stored: u64) -> Result<()> {
        self.left = stored;
        self.padding = stored.wrapping_neg() % BLOCK as u64;
        self.content = Map::plain(stored);
        if stored > i64::MAX as u64 {
            return Err(Error::Damaged("a member's size is beyond all measure"));
        }
        Ok(())
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > EXTENSION_LIMIT {
            return Err(Error::Damaged("an extension header is larger than 1 MiB"));
        }
        self.set_content(size)?;
        let mut bytes = Vec::new();
        Stored { reader: self }.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads a header and checks its sum; false at the end of the archive.
    fn read_header(&mut self, block: &mut [u8; BLOCK]) -> Result<bool> {
        let (filled, ended) = read_full(&mut self.stream, block);
        ended?;
        self.offset += filled as u64;
        if filled == 0 || filled == BLOCK && block.iter().all(|byte| *byte == 0) {
            return Ok(false);
        }
        if filled < BLOCK {
            return Err(Error::Damaged("the archive ends inside a header"));
        }
        Header(block).check()?;
        Ok(true)
    }

    fn skip_rest(&mut self) -> Result<()> {
        let rest = self.left + self.padding;
        let skipped = io::copy(&mut self.stream.by_ref().take(rest), &mut io::sink())?;
        self.offset += skipped;
        // The padding of the last member is missing in some archives.
        if skipped < self.left {
            return Err(Error::Damaged("the archive ends inside a member"));
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// Reads content as it is stored, which `file` hashes.
    fn read_stored(&mut self, buffer: &mut [u8], file: Option<&mut Hasher>) -> io::Result<usize> {
        let want = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        if want == 0 {
            return Ok(0);
        }
        let count = self.stream.read_with(&mut buffer[..want], file)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends inside a member"));
        }
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }

    /// The map of an old GNU sparse file: four segments in the header, more in blocks behind it.
    fn gnu_sparse(&mut self, header: &Header<'_>, stored: u64) -> Result<()> {
        let mut segments = Vec::new();
        let real_size = header.size_at(483..495)?;
        let mut block = *header.0;
        let (mut entries, mut more) = (386..386 + 4 * 24, 482);
        loop {
            for at in entries.step_by(24) {
                if block[at] == 0 {
                    break;
                }
                let header = Header(&block);
                segments.push(Segment {
                    offset: header.size_at(at..at + 12)?,
                    len: header.size_at(at + 12..at + 24)?,
                });
            }
            if block[more] == 0 {
                break;
            }
            if segments.len() as u64 * 24 > EXTENSION_LIMIT {
                return Err(Error::Damaged("a sparse file's map is larger than 1 MiB"));
            }
            self.stream.read_exact(&mut block)?;
            self.offset += BLOCK as u64;
            (entries, more) = (0..21 * 24, 504);
        }
        self.content = Map::new(segments, real_size, stored)?;
        Ok(())
    }

    /// The map of a PAX sparse file of version 1: decimal lines in front of the data, padded to a block.
    fn sparse_map_in_content(&mut self) -> Result<(Vec<Segment>, u64)> {
        let mut numbers = Vec::new();
        let (mut number, mut digits, mut wanted) = (0_u64, 0, None);
        let mut used = 0;
        loop {
            let mut block = [0; BLOCK];
            io::Read::read_exact(&mut Stored { reader: self }, &mut block)?;
            used += BLOCK as u64;
            for byte in block {
                match byte {
                    b'0'..=b'9' if digits < 19 => {
                        number = number * 10 + u64::from(byte - b'0');
                        digits += 1;
                    }
                    b'\n' if digits > 0 => {
                        match wanted {
                            None => wanted = Some(number.saturating_mul(2)),
                            Some(_) => numbers.push(number),
                        }
                        (number, digits) = (0, 0);
                        if wanted == Some(numbers.len() as u64) {
                            return Ok((Segment::pairs(&numbers)?, used));
                        }
                    }
                    _ => return Err(Error::Damaged("a sparse file's map is not made of decimal lines")),
                }
            }
            if used > EXTENSION_LIMIT {
                return Err(Error::Damaged("a sparse file's map is larger than 1 MiB"));
            }
        }
    }
}

/// A member's content with its holes filled.
pub(super) struct Content<'a, R> {
    reader: &'a mut Reader<R>,
    hasher: Hasher,
}

impl<R: Read> Content<'_, R> {
    /// Reads what is left through `buffer`; returns the digest of all that was read.
    pub(super) fn finish(mut self, buffer: &mut [u8]) -> io::Result<Digest> {
        while self.read(buffer)? > 0 {}
        Ok(self.hasher.finish())
    }
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (hole, want) = self.reader.content.next(buffer.len());
        let count = if hole {
            buffer[..want].fill(0);
            self.hasher.update(&buffer[..want]);
            want
        } else if want == 0 {
            0
        } else {
            self.reader.read_stored(&mut buffer[..want], Some(&mut self.hasher))?
        };
        self.reader.content.advance(count);
        Ok(count)
    }
}

/// A stream, hashed on the way if that is asked for.
struct Hashing<R> {
    stream: R,
    hasher: Option<Hasher>,
}

impl<R: Read> Hashing<R> {
    /// Reads what `file` hashes too. Both hash the same bytes then, at the price of one.
    fn read_with(&mut self, buffer: &mut [u8], file: Option<&mut Hasher>) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        let bytes = &buffer[..count];
        match (&mut self.hasher, file) {
            (Some(tar), Some(file)) => tar.update_both(file, bytes),
            (Some(hasher), None) | (None, Some(hasher)) => hasher.update(bytes),
            (None, None) => {}
        }
        Ok(count)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_with(buffer, None)
    }
}

struct Stored<'a, R> {
    reader: &'a mut Reader<R>,
}

impl<R: Read> Read for Stored<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read_stored(buffer, None)
    }
}

impl Extensions {
    /// Adds the records of a PAX header: `LENGTH KEY=VALUE\n`, the length being that of the whole record.
    fn add_pax(&mut self, mut rest: &[u8]) -> Result<()> {
        const MALFORMED: Error = Error::Damaged("a PAX record is malformed");
        while !rest.is_empty() && rest[0] != 0 {
            let space = rest.iter().position(|byte| *byte == b' ').ok_or(MALFORMED)?;
            let len = decimal(&rest[..space]).and_then(|len| usize::try_from(len).ok()).ok_or(MALFORMED)?;
            let record = rest.get(space + 1..len).ok_or(MALFORMED)?;
            let (b'\n', record) = record.split_last().ok_or(MALFORMED)? else { return Err(MALFORMED) };
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(MALFORMED)?;
            self.add_record(&record[..equals], &record[equals + 1..])?;
            rest = &rest[len..];
        }
        Ok(())
    }

    fn add_record(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let number = || decimal(value).ok_or(Error::Damaged("a PAX record is not the number it must be"));
        let id = || {
            let id = number()?;
            u32::try_from(id).map_err(|_| Error::Damaged("an owner is beyond 32 bits"))
        };
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(id()?),
            b"gid" => self.gid = Some(id()?),
            b"mtime" => {
                self.mtime =
                    Some(seconds(value).ok_or(Error::Damaged("a PAX record is not the time it must be"))?);
            }
            b"GNU.sparse.name" => self.path = Some(value.to_vec()),
            b"GNU.sparse.major" => self.sparse.major = Some(number()?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = Some(number()?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.sparse.numbers.push(number()?),
            b"GNU.sparse.map" => {
                let numbers = value.split(|byte| *byte == b',').map(decimal).collect::<Option<Vec<_>>>();
                self.sparse.numbers = numbers.ok_or(Error::Damaged("a sparse file's map is malformed"))?;
            }
            _ => {
                if key.strip_prefix(PAX_XATTR) == Some(CAPABILITY) {
                    self.capability = Some(value.into());
                }
            }
        }
        Ok(())
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let valid = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

/// The whole seconds of a decimal time, rounded down.
fn seconds(value: &[u8]) -> Option<i64> {
    let (negative, value) = value.strip_prefix(b"-").map_or((false, value), |rest| (true, rest));
    let point = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let whole = i64::try_from(decimal(&value[..point])?).ok()?;
    let fraction = value.get(point + 1..).unwrap_or(&[]);
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let partial = negative && fraction.iter().any(|digit| *digit != b'0');
    Some(if negative { -whole - i64::from(partial) } else { whole })
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())]
}

/// The fields of a header block.
struct Header<'a>(&'a [u8; BLOCK]);

impl Header<'_> {
    fn check(&self) -> Result<()> {
        let written = self.number(148..156)?;
        let bytes = || self.0[..148].iter().chain(&[b' '; 8]).chain(&self.0[156..]);
        let unsigned: i64 = bytes().map(|byte| i64::from(*byte)).sum();
        // Some old writers summed signed bytes.
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        if written == unsigned || written == signed {
            Ok(())
        } else {
            Err(Error::Damaged("a header's checksum does not match"))
        }
    }

    fn path(&self) -> Result<Vec<u8>> {
        let name = until_nul(&self.0[..100]);
        let prefix = match (&self.0[257..263], &self.0[508..512]) {
            (b"ustar\0", b"tar\0") => until_nul(&self.0[345..476]),
            (b"ustar\0", _) => until_nul(&self.0[345..500]),
            // GNU keeps other things there, v7 nothing.
            _ => b"",
        };
        Ok(if prefix.is_empty() { name.to_vec() } else { [prefix, name].join(&b'/') })
    }

    fn size(&self) -> Result<u64> {
        self.size_at(124..136)
    }

    fn size_at(&self, range: std::ops::Range<usize>) -> Result<u64> {
        u64::try_from(self.number(range)?).map_err(|_| Error::Damaged("a size is negative"))
    }

    fn id(&self, range: std::ops::Range<usize>) -> Result<u32> {
        u32::try_from(self.number(range)?).map_err(|_| Error::Damaged("a number is beyond 32 bits"))
    }

    /// A number in octal digits, or in binary behind a set high bit (GNU, star).
    fn number(&self, range: std::ops::Range<usize>) -> Result<i64> {
        const MALFORMED: Error = Error::Damaged("a header's number is malformed");
        let field = &self.0[range];
        if field[0] & 0x80 != 0 {
            // Two's complement with the marker bit in place of the highest: 0xff is negative, 0x80 is not.
            let negative = field[0] & 0x40 != 0;
            let mut value: i128 = if negative { -1 } else { 0 };
            for (at, byte) in field.iter().enumerate() {
                let byte = if at == 0 && !negative { byte & 0x7f } else { *byte };
                value = value << 8 | i128::from(byte);
            }
            return i64::try_from(value).map_err(|_| MALFORMED);
        }
        let is_blank = |byte: &u8| matches!(byte, b' ' | 0);
        let start = field.iter().position(|byte| !is_blank(byte)).unwrap_or(field.len());
        let digits = &field[start..];
        let digits = &digits[..digits.iter().position(is_blank).unwrap_or(digits.len())];
        digits.iter().try_fold(0_i64, |value, digit| match digit {
            b'0'..=b'7' => Ok(value << 3 | i64::from(digit - b'0')),
            _ => Err(MALFORMED),
        })
    }
}
