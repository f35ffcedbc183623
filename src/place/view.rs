//! What placing has to know of a tree, and following symbolic links in it.

use std::fmt;

use crate::path::RelPath;
use crate::place::{Error, Match, Selected};
use crate::tree::{Entry, Kind, Tree};

/// How many symbolic links are followed in one path before it counts as a loop.
const LINK_LIMIT: usize = 255;

/// What stands at a path, as far as finding the way goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node<'a> {
    /// A directory.
    Directory,
    /// A symbolic link with this text.
    Symlink(&'a [u8]),
    /// Anything else: it ends every path.
    Leaf,
}

impl<'a> From<&'a Entry> for Node<'a> {
    fn from(entry: &'a Entry) -> Self {
        match &entry.kind {
            Kind::Directory => Self::Directory,
            Kind::Symlink { target } => Self::Symlink(target),
            Kind::File { .. } | Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => Self::Leaf,
        }
    }
}

/// A tree in which sources are looked for: a [`Tree`], or the listing of a build context, whose files may have no
/// digests yet. The root is always a directory.
pub trait View {
    /// What it knows of an entry.
    type Item<'a>: Copy + Into<Node<'a>>
    where
        Self: 'a;

    /// Returns the entry at `path`.
    fn item(&self, path: &RelPath) -> Option<Self::Item<'_>>;

    /// Returns what is right below the directory `path`, sorted by name; nothing for anything else.
    fn children(&self, path: &RelPath) -> impl Iterator<Item = (&[u8], Self::Item<'_>)>;

    /// Returns what stands at `path`.
    fn node(&self, path: &RelPath) -> Option<Node<'_>> {
        if path.is_root() { Some(Node::Directory) } else { self.item(path).map(Into::into) }
    }
}

impl View for Tree {
    type Item<'a> = &'a Entry;

    fn item(&self, path: &RelPath) -> Option<&Entry> {
        self.get(path)
    }

    fn children(&self, path: &RelPath) -> impl Iterator<Item = (&[u8], &Entry)> {
        Self::children(self, path)
    }
}

/// Entries in which something was selected. In a tree everything is known of each; in a build context the digests of
/// files that were read, and those of others are nobody's.
pub trait Entries: fmt::Debug + Send + Sync {
    /// Returns the entry at `path`.
    fn entry(&self, path: &RelPath) -> Option<Entry>;

    /// Hands what `found` takes from below a directory to `visit`, one entry after the other, in the order of paths,
    /// each parent that is only needed right before what is in it.
    ///
    /// # Errors
    /// The first that `visit` returns; it ends the walk.
    fn below(&self, found: &Match, visit: &mut Visit<'_>) -> Result<(), Error>;

    /// Tells whether there surely are no hard links.
    fn is_without_links(&self) -> bool;
}

/// What is done with each entry of a selection.
pub type Visit<'a> = dyn FnMut(&Selected<'_, &Entry>) -> Result<(), Error> + 'a;

impl Entries for Tree {
    fn entry(&self, path: &RelPath) -> Option<Entry> {
        self.get(path).cloned()
    }

    fn below(&self, found: &Match, visit: &mut Visit<'_>) -> Result<(), Error> {
        found.walk(self, |selected| visit(&selected))
    }

    fn is_without_links(&self) -> bool {
        Self::is_without_links(self)
    }
}

/// Follows every symbolic link in `path`, the last component included; absolute targets and `..` stay inside
/// the tree. Components that do not exist are kept as they are written, so a dangling link gives its target.
///
/// # Errors
/// If a component is neither directory nor link, though the path goes on; or for a loop of links.
pub(super) fn resolve<'v>(
    node: impl Fn(&RelPath) -> Option<Node<'v>>,
    path: &RelPath,
) -> Result<RelPath, Error> {
    let mut rest: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
    let mut resolved = RelPath::root();
    let mut links = 0;
    while let Some(name) = rest.pop() {
        let next = resolved.child(&name);
        match node(&next) {
            Some(Node::Symlink(target)) => {
                links += 1;
                if links > LINK_LIMIT {
                    return Err(Error::TooManyLinks { path: path.clone() });
                }
                let base: &[u8] = if target.starts_with(b"/") { b"" } else { resolved.as_bytes() };
                let target = RelPath::clean([base, target].join(&b'/'));
                rest.extend(target.components().rev().map(<[u8]>::to_vec));
                // The target may lead through other links: start again at the root.
                resolved = RelPath::root();
            }
            Some(Node::Leaf) if !rest.is_empty() => return Err(Error::NotADirectory { path: next }),
            Some(Node::Leaf | Node::Directory) | None => resolved = next,
        }
    }
    Ok(resolved)
}
