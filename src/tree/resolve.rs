//! Following symlinks inside a tree, as a process whose root directory is the tree's root would.

use super::{Kind, Tree};
use crate::path::RelPath;

/// The number of symlinks after which a path counts as a loop; Go's `containerd/continuity` and BuildKit
/// give up at 255 too, the kernel already at 40.
const LINK_LIMIT: usize = 255;

/// Why a path does not lead anywhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Symlinks lead to symlinks without end.
    #[error("too many levels of symbolic links at `{path}`")]
    LinkLoop {
        /// The path that was to be resolved.
        path: RelPath,
    },
}

impl Tree {
    /// Returns the path that `path` leads to when its symlinks are followed; the last component is followed
    /// only with `follow_last`. Absolute targets start at the tree's root and `..` stops there. What does not
    /// exist (yet) stays as it is written.
    ///
    /// # Errors
    /// If more than 255 symlinks are met.
    pub fn resolve(&self, path: &RelPath, follow_last: bool) -> Result<RelPath, Error> {
        // What is still to be walked, the next component last.
        let mut ahead: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut at = RelPath::root();
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
            match self.get(&next).map(|entry| &entry.kind) {
                Some(Kind::Symlink { target }) if follow => {
                    links += 1;
                    if links > LINK_LIMIT {
                        return Err(Error::LinkLoop { path: path.clone() });
                    }
                    if target.first() == Some(&b'/') {
                        at = RelPath::root();
                    }
                    ahead.extend(target.rsplit(|byte| *byte == b'/').map(<[u8]>::to_vec));
                }
                _ => at = next,
            }
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::testing::{dir, path, symlink};

    #[test]
    fn follows_links_like_a_changed_root() {
        let mut tree = Tree::empty();
        for directory in ["usr/bin", "var", "deep/er"] {
            tree.insert(&path(directory), dir(0o755));
        }
        for (name, target) in [
            ("bin", "usr/bin"),
            ("var/run", "/run"),
            ("deep/up", "../../../../usr"),
            ("abs", "/bin/./sh"),
            ("a", "b"),
            ("b", "a"),
            ("dangling", "nowhere/at/all"),
            ("slash", "/"),
            ("chain", "deep/up/"),
        ] {
            tree.insert(&path(name), symlink(target));
        }
        for (from, follow_last, to) in [
            ("bin/sh", false, "usr/bin/sh"),
            ("bin", false, "bin"),
            ("bin", true, "usr/bin"),
            ("var/run/lock", true, "run/lock"),
            ("deep/up/bin/x", true, "usr/bin/x"),
            ("abs", true, "usr/bin/sh"),
            ("dangling/x", true, "nowhere/at/all/x"),
            ("slash/bin/x", true, "usr/bin/x"),
            ("slash", true, ""),
            ("chain", true, "usr"),
            ("chain/x", false, "usr/x"),
            ("not/there", true, "not/there"),
        ] {
            assert_eq!(tree.resolve(&path(from), follow_last), Ok(path(to)), "{from}");
        }
        for looping in ["a", "a/x"] {
            assert_eq!(
                tree.resolve(&path(looping), true),
                Err(Error::LinkLoop { path: path(looping) }),
                "{looping}"
            );
        }
        assert_eq!(tree.resolve(&path("a"), false), Ok(path("a")));
    }
}
