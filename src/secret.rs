//! Secrets: values that a step may see and nothing may keep.
//!
//! In: values by id, in memory. Out: the value for the step that asks for it, and a [`Redactor`] that takes
//! all of them out of what commands write.
//!
//! Rules: a value has no printed form, enters no key, record or document, and is never written to a disk by
//! the builder. What a command makes of it is the command's business.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What stands in place of a value.
pub const MASK: &str = "****";

/// The most bytes that a secret may have: BuildKit's limit.
pub const MAX_SIZE: usize = 500 * 1024;

/// One value.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Makes a secret of its value.
    pub fn new(value: impl Into<Arc<[u8]>>) -> Self {
        Self(value.into())
    }

    /// Returns the value.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// The secrets of a build, by id.
#[derive(Debug, Clone, Default)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// Adds a secret; one that has the id already is replaced.
    pub fn insert(&mut self, id: impl Into<String>, secret: Secret) {
        self.0.insert(id.into(), secret);
    }

    /// Returns the secret with an id.
    pub fn get(&self, id: &str) -> Option<&Secret> {
        self.0.get(id)
    }

    /// Returns the ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Returns what takes every value out of one stream of bytes.
    pub fn redactor(&self) -> Redactor {
        let mut patterns: Vec<Arc<[u8]>> = Vec::new();
        for Secret(value) in self.0.values() {
            // A shell drops the line end of a file that it reads into a variable.
            let bare = value.trim_ascii_end();
            patterns.extend(
                [value.clone(), bare.into()].into_iter().filter(|value| !value.trim_ascii().is_empty()),
            );
        }
        // The longest first, so that nothing of a value stays because another one is its beginning.
        patterns.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        patterns.dedup();
        Redactor { patterns, held: Vec::new() }
    }

    /// Returns a text without the values.
    pub fn redact(&self, text: &str) -> String {
        let mut redactor = self.redactor();
        let mut clean = redactor.push(text.as_bytes());
        clean.extend(redactor.finish());
        String::from_utf8_lossy(&clean).into_owned()
    }
}

/// Replaces values in a stream by [`MASK`], also those that arrive in pieces.
///
/// Bytes that may be the beginning of a value are held back until more is known; all others pass at once.
#[derive(Clone)]
pub struct Redactor {
    /// The longest first; none is empty.
    patterns: Vec<Arc<[u8]>>,
    held: Vec<u8>,
}

impl Redactor {
    /// Takes the next bytes of the stream and returns what can be shown by now.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.patterns.is_empty() {
            return bytes.to_vec();
        }
        self.held.extend_from_slice(bytes);
        self.drain(false)
    }

    /// Returns what was held back when the stream has ended.
    pub fn finish(&mut self) -> Vec<u8> {
        self.drain(true)
    }

    fn drain(&mut self, ended: bool) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        let mut shown = Vec::with_capacity(held.len());
        let mut rest = &held[..];
        while !rest.is_empty() {
            // A longer value may still be under way where a shorter one is complete.
            if !ended && self.patterns.iter().any(|value| value.len() > rest.len() && value.starts_with(rest))
            {
                break;
            }
            if let Some(value) = self.patterns.iter().find(|value| rest.starts_with(value)) {
                shown.extend_from_slice(MASK.as_bytes());
                rest = &rest[value.len()..];
            } else {
                shown.push(rest[0]);
                rest = &rest[1..];
            }
        }
        self.held = rest.to_vec();
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secrets(values: &[&str]) -> Secrets {
        let mut secrets = Secrets::default();
        for (number, value) in values.iter().enumerate() {
            secrets.insert(number.to_string(), Secret::new(value.as_bytes()));
        }
        secrets
    }

    fn in_pieces(secrets: &Secrets, text: &str, size: usize) -> String {
        let mut redactor = secrets.redactor();
        let mut shown: Vec<u8> =
            text.as_bytes().chunks(size).flat_map(|chunk| redactor.push(chunk)).collect();
        shown.extend(redactor.finish());
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn values_are_masked_however_they_arrive() {
        for (values, text, expected) in [
            (&["hunter2"][..], "my hunter2!", "my ****!"),
            (&["hunter2\n"], "a hunter2\nb hunter2.", "a ****b ****."),
            (&["aab"], "aaab aa", "a**** aa"),
            (&["abc", "abcdef"], "abcdef abcde", "**** ****de"),
            (&["a", ""], "banana", "b****n****n****"),
            (&["", " \n"], "as it is \n", "as it is \n"),
            (&[], "as it is", "as it is"),
        ] {
            for size in 1..=text.len() {
                assert_eq!(
                    in_pieces(&secrets(values), text, size),
                    expected,
                    "{values:?} in pieces of {size}"
                );
            }
            assert_eq!(secrets(values).redact(text), expected);
        }
    }

    #[test]
    fn what_cannot_be_a_value_passes_at_once() {
        let mut redactor = secrets(&["hunter2"]).redactor();
        assert_eq!(redactor.push(b"progress: 10%"), b"progress: 10%");
        assert_eq!(redactor.push(b" h"), b" ");
        assert_eq!(redactor.push(b"i"), b"hi");
    }

    #[test]
    fn values_have_no_printed_form() {
        assert_eq!(format!("{:?}", secrets(&["hunter2"])), r#"Secrets({"0": ****})"#);
    }

    proptest! {
        #[test]
        fn no_value_is_ever_shown(values in prop::collection::vec("[ab]{2,4}", 1..4), text in "[abc]{0,40}", size in 1_usize..7) {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let shown = in_pieces(&secrets(&values), &text, size);
            prop_assert!(values.iter().all(|value| !shown.contains(value)), "{shown}");
            prop_assert_eq!(in_pieces(&secrets(&values), &text, 1), shown);
        }
    }
}
