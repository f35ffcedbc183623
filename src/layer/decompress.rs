//! From compressed bytes to a tar, the codec told by the first bytes.
//!
//! Media types lie and files have no media type, so only the bytes count. Every codec is read to the end of
//! the stream, past the first member, frame or stream: concatenations are legal in all four, and layers
//! compressed in parallel are made that way.

use std::io::{self, BufRead, BufReader, Read};

/// The reader that [`decompress`] returns.
pub enum Decoder<R: Read> {
    /// Not compressed, or by nothing known.
    Plain(Input<R>),
    /// RFC 1952.
    Gzip(flate2::bufread::MultiGzDecoder<Input<R>>),
    /// RFC 8878.
    Zstd(zstd::Decoder<'static, Input<R>>),
    /// The `.xz` format.
    Xz(liblzma::bufread::XzDecoder<Input<R>>),
    /// bzip2.
    Bzip2(bzip2::bufread::MultiBzDecoder<Input<R>>),
}

/// The stream with the bytes put back that told the codec.
pub(super) type Input<R> = BufReader<io::Chain<io::Cursor<Vec<u8>>, R>>;

const INPUT_BUFFER: usize = 128 * 1024;

/// Returns a reader of what `stream` holds: decompressed if it begins like gzip, zstd, xz or bzip2, else as
/// it is.
///
/// # Errors
/// If the first bytes cannot be read, or a decoder cannot be made.
pub fn decompress<R: Read>(mut stream: R) -> io::Result<Decoder<R>> {
    let mut start = Vec::new();
    stream.by_ref().take(6).read_to_end(&mut start)?;
    let codec = Codec::of(&start);
    let mut input = BufReader::with_capacity(INPUT_BUFFER, io::Cursor::new(start).chain(stream));
    Ok(match codec {
        Codec::Plain => Decoder::Plain(input),
        Codec::Gzip => {
            // The decoder reads the header at once, and an error in it belongs to the first read.
            input.fill_buf()?;
            Decoder::Gzip(flate2::bufread::MultiGzDecoder::new(input))
        }
        Codec::Zstd => Decoder::Zstd(zstd::Decoder::with_buffer(input)?),
        Codec::Xz => Decoder::Xz(liblzma::bufread::XzDecoder::new_multi_decoder(input)),
        Codec::Bzip2 => Decoder::Bzip2(bzip2::bufread::MultiBzDecoder::new(input)),
    })
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
            Self::Zstd(reader) => reader.read(buffer),
            Self::Xz(reader) => reader.read(buffer),
            Self::Bzip2(reader) => reader.read(buffer),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Codec {
    Plain,
    Gzip,
    Zstd,
    Xz,
    Bzip2,
}

impl Codec {
    const fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            // A frame, or a skippable frame in front of one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).expect("memory takes everything");
        encoder.finish().expect("memory takes everything")
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(bytes).expect("memory takes everything");
        encoder.finish().expect("memory takes everything")
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).expect("memory takes everything");
        encoder.finish().expect("memory takes everything")
    }

    #[test]
    fn tells_the_codec_and_reads_past_the_first_member() {
        let zstd = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).expect("a small input");
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
        for (name, compressed) in [
            ("plain", b"first second".to_vec()),
            ("gzip", [gzip(b"first "), gzip(b"second")].concat()),
            ("zstd", [zstd(b"first "), zstd(b"second")].concat()),
            ("zstd behind a skippable frame", [skippable.to_vec(), zstd(b"first second")].concat()),
            ("xz", [xz(b"first "), xz(b"second")].concat()),
            ("bzip2", [bzip2(b"first "), bzip2(b"second")].concat()),
        ] {
            let mut text = String::new();
            decompress(&*compressed).and_then(|mut reader| reader.read_to_string(&mut text)).expect(name);
            assert_eq!(text, "first second", "{name}");
        }
        for short in [&b""[..], b"\x1f", b"BZ", b"\xfd7zX"] {
            let mut bytes = Vec::new();
            decompress(short)
                .and_then(|mut reader| reader.read_to_end(&mut bytes))
                .expect("short input is plain");
            assert_eq!(bytes, short);
        }
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let zstd = zstd::bulk::compress(&[7; 5000], 3).expect("a small input");
        for (name, compressed) in
            [("gzip", gzip(&[7; 5000])), ("xz", xz(&[7; 5000])), ("bzip2", bzip2(&[7; 5000])), ("zstd", zstd)]
        {
            let cut = &compressed[..compressed.len() - 3];
            let result = decompress(cut).and_then(|mut reader| reader.read_to_end(&mut Vec::new()));
            assert!(result.is_err(), "{name}");
        }
    }
}
