//! A tree: the content of a root file system as an immutable value.
//!
//! [`Tree`] maps paths to [`Entry`] values and knows a content digest per directory. A layer is the
//! difference of two trees: [`Changes`]. [`Tree::apply`] lays changes on a tree, [`diff`] finds them.
//!
//! A [`List`] of changes is compact, for layers of a million files: it is written once and read in order or by path.
//!
//! Directories are shared between trees: a clone costs a pointer, a change copies the directories above it
//! and nothing else. Everything here is pure; listing a disk, reading a tar and writing one happen in
//! `context`, `rootfs` and `layer`.

mod apply;
mod changes;
mod content;
mod diff;
mod directory;
mod entry;
mod links;
pub mod list;
mod listing;
mod name;
mod resolve;
#[cfg(test)]
pub(crate) mod testing;
mod walk;

pub use changes::{Bytes, Change, Changes, Origin};
pub use diff::diff;
pub use directory::Tree;
pub use entry::{Entry, Kind, LinkGroup, Meta, Xattrs};
pub use list::List;
pub use listing::Listing;
pub use walk::{Finder, Iter};
