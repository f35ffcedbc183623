//! Following symbolic links as a process does whose root directory is the tree's root.

use super::RelPath;

/// Symbolic links lead to symbolic links without end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("too many levels of symbolic links at `{path}`")]
pub struct LinkLoop {
    /// The path that was to be followed.
    pub path: RelPath,
}

impl RelPath {
    /// Returns the path that this one leads to when symbolic links are followed; that of the last component only
    /// with `follow_last`. `target_of` returns a link's target, and `None` for everything else, also for what does
    /// not exist: that stays as it is written. Absolute targets start at the root and `..` stops there.
    ///
    /// # Errors
    /// What `target_of` returns, and [`LinkLoop`] after more than `most` links.
    pub fn follow_links<E: From<LinkLoop>>(
        &self,
        follow_last: bool,
        most: usize,
        mut target_of: impl FnMut(&Self) -> Result<Option<Vec<u8>>, E>,
    ) -> Result<Self, E> {
        // What is still to be walked, the next component last.
        let mut ahead: Vec<Vec<u8>> = self.components().rev().map(<[u8]>::to_vec).collect();
        let mut at = Self::root();
        let mut links = 0;
        while let Some(name) = ahead.pop() {
            match &*name {
                b"" | b"." => continue,
                b".." => {
                    at = at.parent().unwrap_or_default();
                    continue;
                }
                _ => {}
            }
            let next = at.child(&name);
            let follow = follow_last || !ahead.is_empty();
            let Some(target) = (if follow { target_of(&next)? } else { None }) else {
                at = next;
                continue;
            };
            links += 1;
            if links > most {
                return Err(LinkLoop { path: self.clone() }.into());
            }
            if target.first() == Some(&b'/') {
                at = Self::root();
            }
            ahead.extend(target.rsplit(|byte| *byte == b'/').map(<[u8]>::to_vec));
        }
        Ok(at)
    }
}
