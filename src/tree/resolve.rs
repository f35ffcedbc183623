//! Following symlinks inside a tree, as a process whose root directory is the tree's root would.

use super::{Kind, Tree};
use crate::path::{LinkLoop, RelPath};

/// The number of symlinks after which a path counts as a loop; Go's `containerd/continuity` and BuildKit
/// give up at 255 too, the kernel already at 40.
const LINK_LIMIT: usize = 255;

impl Tree {
    /// Returns the path that `path` leads to when its symlinks are followed; the last component is followed
    /// only with `follow_last`. Absolute targets start at the tree's root and `..` stops there. What does not
    /// exist (yet) stays as it is written.
    ///
    /// # Errors
    /// If more than 255 symlinks are met.
    pub fn resolve(&self, path: &RelPath, follow_last: bool) -> Result<RelPath, LinkLoop> {
        path.follow_links(follow_last, LINK_LIMIT, |link| {
            Ok(match self.get(link).map(|entry| &entry.kind) {
                Some(Kind::Symlink { target }) => Some(target.to_vec()),
                _ => None,
            })
        })
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
                Err(LinkLoop { path: path(looping) }),
                "{looping}"
            );
        }
        assert_eq!(tree.resolve(&path("a"), false), Ok(path("a")));
    }
}
