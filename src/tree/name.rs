//! A path component, stored inline when it is short.
//!
//! A root file system holds hundreds of thousands of names, nearly all of them short: 24 bytes each, and no
//! allocation of their own up to 22 bytes.

use std::borrow::Borrow;
use std::cmp::Ordering;

const INLINE: usize = 22;

#[derive(Clone)]
pub(super) enum Name {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
}

impl Name {
    pub(super) fn new(name: &[u8]) -> Self {
        match u8::try_from(name.len()) {
            Ok(len) if name.len() <= INLINE => {
                let mut bytes = [0; INLINE];
                bytes[..name.len()].copy_from_slice(name);
                Self::Inline { len, bytes }
            }
            Ok(_) | Err(_) => Self::Heap(name.into()),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_every_length_and_stays_small() {
        for len in [0, 1, 21, 22, 23, 255, 300] {
            let bytes = vec![b'n'; len];
            assert_eq!(Name::new(&bytes).as_bytes(), bytes, "{len}");
        }
        assert_eq!(size_of::<Name>(), 24);
    }
}
