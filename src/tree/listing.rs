//! The printed form of a tree: one line per entry, for people and for snapshot tests.

use std::collections::HashMap;
use std::fmt;

use super::{Entry, Kind, LinkGroup, Tree};
use crate::path::RelPath;

/// A tree to be printed; see [`Tree::listing`].
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    tree: &'a Tree,
    times: bool,
}

impl Listing<'_> {
    /// Prints modification times too.
    #[must_use]
    pub const fn with_times(self) -> Self {
        Self { times: true, ..self }
    }
}

impl Tree {
    /// Returns the tree to be printed, one line per entry in the order of paths:
    ///
    /// ```text
    /// / dir 0755 0:0
    /// bin/ dir 0755 0:0
    /// bin/bash file 0755 0:0 1024 sha256:ba7816bf8f01
    /// bin/sh symlink 0777 0:0 -> bash
    /// ```
    ///
    /// Digests are cut to 12 digits. A hard link shows the first name of its group as `link=`.
    pub const fn listing(&self) -> Listing<'_> {
        Listing { tree: self, times: false }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.listing(), f)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.listing().with_times(), f)
    }
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut leaders: HashMap<LinkGroup, RelPath> = HashMap::new();
        for (path, entry) in self.tree {
            self.line(f, &path, entry, &mut leaders)?;
        }
        Ok(())
    }
}

impl Listing<'_> {
    fn line(
        self,
        f: &mut fmt::Formatter<'_>,
        path: &RelPath,
        Entry { meta, kind }: &Entry,
        leaders: &mut HashMap<LinkGroup, RelPath>,
    ) -> fmt::Result {
        let (kind_name, slash) = match kind {
            Kind::Directory => ("dir", "/"),
            Kind::File { .. } => ("file", ""),
            Kind::Symlink { .. } => ("symlink", ""),
            Kind::CharDevice { .. } => ("char", ""),
            Kind::BlockDevice { .. } => ("block", ""),
            Kind::Fifo => ("fifo", ""),
        };
        write!(f, "{path}{slash} {kind_name} {:04o} {}:{}", meta.mode, meta.uid, meta.gid)?;
        match kind {
            Kind::Directory | Kind::Fifo => {}
            Kind::File { size, digest, link } => {
                write!(f, " {size} sha256:{}", &digest.hex()[..12])?;
                if let Some(group) = link {
                    write!(f, " link={}", leaders.entry(*group).or_insert_with(|| path.clone()))?;
                }
            }
            Kind::Symlink { target } => write!(f, " -> {}", target.escape_ascii())?,
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => {
                write!(f, " {major}:{minor}")?;
            }
        }
        if self.times {
            write!(f, " {}", meta.mtime)?;
        }
        for (name, value) in meta.xattrs.as_deref().into_iter().flatten() {
            write!(f, " {}=0x", name.escape_ascii())?;
            for byte in value {
                write!(f, "{byte:02x}")?;
            }
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::tree::Meta;
    use crate::tree::testing::{file, linked, path, symlink, with_xattr};

    #[test]
    fn prints_every_kind() {
        let special = |kind| Entry { meta: Meta::root_owned(0o600, Timestamp(0)), kind };
        let tree: Tree = [
            ("bin/sh", linked("x", Some(3))),
            ("bin/ash", linked("x", Some(3))),
            ("bin/ping", with_xattr(file("y"), "security.capability", &[1, 0, 10])),
            ("etc/link\n", symlink("/bin/sh")),
            ("dev/null", special(Kind::CharDevice { major: 1, minor: 3 })),
            ("dev/sda", special(Kind::BlockDevice { major: 8, minor: 0 })),
            ("run/pipe", special(Kind::Fifo)),
        ]
        .into_iter()
        .map(|(name, entry)| (path(name), entry))
        .collect();
        insta::assert_snapshot!(tree, @r"
        / dir 0755 0:0
        bin/ dir 0755 0:0
        bin/ash file 0644 0:0 1 sha256:2d711642b726 link=bin/ash
        bin/ping file 0644 0:0 1 sha256:a1fce4363854 security.capability=0x01000a
        bin/sh file 0644 0:0 1 sha256:2d711642b726 link=bin/ash
        dev/ dir 0755 0:0
        dev/null char 0600 0:0 1:3
        dev/sda block 0600 0:0 8:0
        etc/ dir 0755 0:0
        etc/link\n symlink 0777 0:0 -> /bin/sh
        run/ dir 0755 0:0
        run/pipe fifo 0600 0:0
        ");
        assert!(tree.listing().with_times().to_string().starts_with("/ dir 0755 0:0 1970-01-01T00:00:00Z\n"));
    }
}
