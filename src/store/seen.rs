//! Where a blob has been seen: "known" is not "here".
//!
//! A file per digest lists repositories that hold the blob, the latest first. A registry can mount it from one of its
//! own repositories, and what the store lacks can be fetched from any. A record is a hint: it may be lost, and
//! the repository may have forgotten the blob.

use super::{Result, Store, note_use, read_if_there};
use crate::digest::Digest;
use crate::reference::Reference;

/// As many repositories are remembered of one blob: a base that everybody uses is not asked for everywhere.
const REMEMBERED: usize = 16;

impl Store {
    /// Notes that the repository of `reference` holds the blob.
    ///
    /// # Errors
    /// If the note cannot be written.
    pub fn note_seen(&self, digest: &Digest, reference: &Reference) -> Result<()> {
        let name = reference.name();
        let mut names = self.seen_names(digest);
        if names.first() == Some(&name) {
            return Ok(());
        }
        names.retain(|other| *other != name);
        names.insert(0, name);
        names.truncate(REMEMBERED);
        self.replace(&self.path("seen").join(digest.hex()), (names.join("\n") + "\n").as_bytes())
    }

    /// Returns names of the repositories that the blob has been seen in, the latest first; their tags mean nothing.
    pub fn seen(&self, digest: &Digest) -> Vec<Reference> {
        self.seen_names(digest).iter().filter_map(|name| name.parse().ok()).collect()
    }

    fn seen_names(&self, digest: &Digest) -> Vec<String> {
        let path = self.path("seen").join(digest.hex());
        let Ok(Some(bytes)) = read_if_there(&path) else { return Vec::new() };
        note_use(&path);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }
}
