//! A tree: the content of a root file system as an immutable value.
//!
//! [`Tree`] maps paths to [`Entry`] values and knows a content digest per directory. A layer is the
//! difference of two trees: [`Changes`]. Everything here is pure; listing a disk, reading a tar and writing
//! one happen in `context`, `rootfs` and `layer`.

mod changes;
mod entry;

pub use changes::{Bytes, Change, Changes, Origin};
pub use entry::{Entry, Kind, LinkGroup, Meta, Xattrs};
