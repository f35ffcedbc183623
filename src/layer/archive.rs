//! Archives that are no layers: what `ADD` extracts.
//!
//! Whether a file is one is told by its content alone (the reference's word: "Whether a file is identified as
//! a recognized compression format or not is done solely based on the contents of the file"), owners and
//! modes are the archive's, and names that would be whiteouts in a layer are names.

use std::io::{self, Read};

use super::decompress;
use super::read::{Error, Sink, Whiteouts, read_tar};
use super::tar::{self, Reader};
use crate::tree::Changes;

/// Reads a tar, compressed or not, to the end of the stream; its contents go to `sink`.
///
/// # Errors
/// If the stream fails or holds no tar, or if the sink fails.
pub fn archive(stream: impl Read, sink: &mut dyn Sink) -> Result<Changes, Error> {
    let stream = decompress(stream).map_err(Error::Stream)?;
    Ok(read_tar(Reader::new(stream), sink, Whiteouts::Literal)?.0)
}

/// Tells whether `stream` holds a tar, compressed or not: whether a member's header can be read from it.
/// So an empty archive is none.
///
/// # Errors
/// If the stream cannot be read; bytes that do not decompress are no archive.
pub fn is_archive(stream: impl Read) -> io::Result<bool> {
    let mut watched = Watched { stream, failed: None };
    let found = match decompress(&mut watched) {
        Ok(stream) => matches!(Reader::new(stream).next(), Ok(Some(tar::Member { .. }))),
        Err(_) => false,
    };
    watched.failed.map_or(Ok(found), Err)
}

/// Tells a stream that fails from a decoder that does not like what it reads.
struct Watched<R> {
    stream: R,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.stream.read(buffer) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
            result => result,
        }
    }
}
