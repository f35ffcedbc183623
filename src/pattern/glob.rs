//! One wildcard pattern of COPY or ADD: Go's `filepath.Match`.

use super::Error;
use super::matcher::{Token, matches, tokens};

/// A pattern whose wildcards never cross a slash. The whole path must match.
#[derive(Debug, Clone)]
pub struct Glob {
    tokens: Vec<Token>,
}

impl Glob {
    /// Parses `*`, `?`, `[class]` and backslash escapes.
    ///
    /// # Errors
    /// When a class or an escape is not finished. BuildKit's copier takes such a pattern for one that
    /// matches nothing.
    pub fn parse(pattern: impl AsRef<[u8]>) -> Result<Self, Error> {
        let pattern = pattern.as_ref();
        tokens(pattern, false)
            .map(|tokens| Self { tokens })
            .ok_or_else(|| Error::MalformedGlob { pattern: String::from_utf8_lossy(pattern).into_owned() })
    }

    /// Tells whether the whole of `path` matches.
    pub fn matches(&self, path: impl AsRef<[u8]>) -> bool {
        matches(&self.tokens, path.as_ref())
    }
}

/// Tells whether `text` holds a wildcard that is not escaped; without one, it names a single path.
pub fn is_glob(text: impl AsRef<[u8]>) -> bool {
    let mut bytes = text.as_ref().iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}
