//! Paths inside a tree: relative, clean, made of bytes, never leaving the root.

mod links;

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

pub use self::links::LinkLoop;

/// A clean path below a root: components joined by single slashes, no `.`, no `..`, no slash at either
/// end. The empty path is the root itself.
///
/// The order is that of a walk: a directory comes right before everything below it, and siblings are
/// sorted by their bytes, so `a`, `a/b`, `a-b` in this order.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct RelPath(Box<[u8]>);

impl RelPath {
    /// Returns the root itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// Cleans `path` as if it were absolute: leading slashes, empty and `.` components are dropped, `..`
    /// removes a component and stops at the root (statement of Go's `path.Clean("/" + p)`).
    pub fn clean(path: impl AsRef<[u8]>) -> Self {
        let mut kept: Vec<&[u8]> = Vec::new();
        for component in path.as_ref().split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => {
                    kept.pop();
                }
                name => kept.push(name),
            }
        }
        Self(kept.join(&b'/').into())
    }

    /// Returns the path of these bytes, which are known to be clean.
    pub(crate) fn of_clean(bytes: &[u8]) -> Self {
        debug_assert!(is_clean(bytes), "a path that was written down is clean");
        Self(bytes.into())
    }

    /// Returns the child `name` of this path.
    ///
    /// # Panics
    /// If `name` is empty, `.`, `..` or holds a slash: names come from directory listings or clean paths.
    pub fn child(&self, name: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        assert!(!matches!(name, b"" | b"." | b"..") && !name.contains(&b'/'), "a name is one path component");
        if self.is_root() {
            return Self(name.into());
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Self(bytes.into())
    }

    /// Returns `other` below this path.
    pub fn join(&self, other: &Self) -> Self {
        if self.is_root() {
            other.clone()
        } else if other.is_root() {
            self.clone()
        } else {
            Self([&*self.0, &*other.0].join(&b'/').into())
        }
    }

    /// Returns the directory that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].into()))
    }

    /// Returns the last component; `None` for the root.
    pub fn file_name(&self) -> Option<&[u8]> {
        self.0.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty())
    }

    /// Returns the components, outermost first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> + Clone {
        self.0.split(|byte| *byte == b'/').filter(|component| !component.is_empty())
    }

    /// Returns every directory above this path, the root first, the path itself not included.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        let ends = self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let below = ends.map(|end| Self(self.0[..end].into()));
        (!self.is_root()).then(Self::root).into_iter().chain(below)
    }

    /// Tells whether this path is `other` or below it.
    pub fn starts_with(&self, other: &Self) -> bool {
        starts_with(&self.0, &other.0)
    }

    /// Returns this path as seen from `other`; `None` if it is not there or below.
    pub fn strip_prefix(&self, other: &Self) -> Option<Self> {
        if other.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(&*other.0)?;
        match rest.first() {
            None => Some(Self::root()),
            Some(b'/') => Some(Self(rest[1..].into())),
            Some(_) => None,
        }
    }

    /// Tells whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes, without a leading slash; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the path for the operating system, relative; `.` for the root.
    pub fn as_path(&self) -> &Path {
        if self.is_root() { Path::new(".") } else { Path::new(OsStr::from_bytes(&self.0)) }
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.0, &other.0)
    }
}

/// Compares the bytes of two clean paths in the order of [`RelPath`].
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    // A slash sorts below every other byte: then comparing bytes is comparing component-wise.
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { u16::from(*byte) + 1 };
    let common = common_prefix(a, b);
    match (a.get(common), b.get(common)) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(a), Some(b)) => rank(a).cmp(&rank(b)),
    }
}

/// Returns how many bytes `a` and `b` begin with in common. Paths of a tree share most of theirs, so they are looked
/// at in words.
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let ((a_words, _), (b_words, _)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let words = a_words.iter().zip(b_words).take_while(|(a, b)| a == b).count() * 16;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

/// Tells whether the clean path `path` is `above` or below it.
pub(crate) fn starts_with(path: &[u8], above: &[u8]) -> bool {
    let at_or_below = |rest: &[u8]| matches!(rest.first(), None | Some(b'/'));
    above.is_empty() || path.strip_prefix(above).is_some_and(at_or_below)
}

/// Tells whether bytes are a path as [`RelPath`] has it.
pub(crate) fn is_clean(bytes: &[u8]) -> bool {
    bytes.is_empty() || bytes.split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b".."))
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Most are shown as they are.
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'\\';
        match std::str::from_utf8(&self.0) {
            Ok(text) if self.0.iter().all(is_plain) => f.write_str(text),
            Ok(_) | Err(_) => f.write_str(&self.0.escape_ascii_except_utf8()),
        }
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

trait EscapeExceptUtf8 {
    fn escape_ascii_except_utf8(&self) -> String;
}

impl EscapeExceptUtf8 for [u8] {
    /// Shows text as it is, and control characters, backslashes and bytes that are not UTF-8 as escapes.
    fn escape_ascii_except_utf8(&self) -> String {
        let mut shown = String::with_capacity(self.len());
        for chunk in self.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() || character == '\\' {
                    shown.extend(character.escape_default());
                } else {
                    shown.push(character);
                }
            }
            for byte in chunk.invalid() {
                shown.push_str(&format!("\\x{byte:02x}"));
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_clean_path_stays_below_the_root(text in "[ab./]{0,12}", other in "[ab./]{0,12}") {
            let path = RelPath::clean(&text);
            prop_assert_eq!(&RelPath::clean(path.as_bytes()), &path);
            prop_assert_eq!(is_clean(text.as_bytes()), text.as_bytes() == path.as_bytes());
            prop_assert!(path.components().all(|name| !matches!(name, b"" | b"." | b"..")));
            let other = RelPath::clean(&other);
            let joined = other.join(&path);
            prop_assert_eq!(joined.strip_prefix(&other), Some(path.clone()));
            prop_assert!(joined.starts_with(&other));
            let rebuilt = path.components().fold(RelPath::root(), |above, name| above.child(name));
            prop_assert_eq!(&rebuilt, &path);
            prop_assert!(path.ancestors().all(|above| path.starts_with(&above) && above < path));
        }

        #[test]
        fn the_order_is_that_of_a_walk(a in "[ab./-]{0,8}", b in "[ab./-]{0,8}") {
            let (a, b) = (RelPath::clean(&a), RelPath::clean(&b));
            let names = |path: &RelPath| path.components().map(<[u8]>::to_vec).collect::<Vec<_>>();
            prop_assert_eq!(a.cmp(&b), names(&a).cmp(&names(&b)));
        }
    }

    #[test]
    fn cleans_like_an_absolute_path() {
        for (input, expected) in
            [("", ""), ("/", ""), ("/a//b/./c/", "a/b/c"), ("../../a/../b", "b"), ("a/..", ""), ("./x", "x")]
        {
            assert_eq!(RelPath::clean(input).as_bytes(), expected.as_bytes(), "{input}");
        }
    }

    #[test]
    fn a_directory_sorts_right_before_its_content() {
        let mut paths: Vec<_> = ["a-b", "a/b", "b", "a", "", "a/b/c", "a.d/x"].map(RelPath::clean).into();
        paths.sort();
        let shown: Vec<_> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["", "a", "a/b", "a/b/c", "a-b", "a.d/x", "b"]);
    }

    #[test]
    fn relations() {
        let path = RelPath::clean("a/b/c");
        assert_eq!(path.parent(), Some(RelPath::clean("a/b")));
        assert_eq!(RelPath::clean("a").parent(), Some(RelPath::root()));
        assert_eq!(RelPath::root().parent(), None);
        assert_eq!(path.file_name(), Some(&b"c"[..]));
        assert_eq!(RelPath::root().file_name(), None);
        assert_eq!(path.strip_prefix(&RelPath::clean("a")), Some(RelPath::clean("b/c")));
        assert_eq!(path.strip_prefix(&RelPath::clean("a/b/c")), Some(RelPath::root()));
        assert_eq!(RelPath::clean("ab").strip_prefix(&RelPath::clean("a")), None);
        assert_eq!(path.ancestors().collect::<Vec<_>>(), ["", "a", "a/b"].map(RelPath::clean));
        assert_eq!(RelPath::root().ancestors().count(), 0);
        assert_eq!(path.components().count(), 3);
    }

    #[test]
    fn shows_what_is_not_text_as_escapes() {
        assert_eq!(RelPath::clean(b"a\xff\n\xc3\xa9").to_string(), "a\\xff\\n\u{e9}");
    }
}
