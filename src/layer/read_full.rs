//! Reading as much as there is room for.

use std::io::{self, Read};

/// Reads until `buffer` is full or the stream ends or fails; returns how many bytes came, also before an error.
pub(crate) fn read_full(stream: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (filled, Err(error)),
        }
    }
    (filled, Ok(()))
}
