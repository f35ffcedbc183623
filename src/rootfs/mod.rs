//! Real directories for RUN: layers unpacked into them, and what a step changed read back from them.
//!
//! Two ways, as the probe of the sandbox found:
//!
//! * **overlayfs**: every layer of a stack is a directory of its own in overlayfs's form (a whiteout is the
//!   character device 0:0, an opaque directory has an attribute). A step gets an empty upper directory
//!   ([`prepare_upper`]), which becomes a layer like the others when [`scan_upper`] has read it.
//! * **plain**: one directory holds the whole state. [`index`] remembers before a step what the disk says of
//!   every file; [`scan_plain`] reads only files of which that has changed.
//!
//! The items of a layer are written by a thread of their own while the next ones are taken out of its tar
//! ([`write_layer`]).
//!
//! In go a tree, changes or the items of a layer; out come [`crate::tree::Changes`], sorted and with the
//! place of their files' bytes. What changed is always the difference of two trees, however it was observed.
//!
//! Rules: names are bytes and every path is opened below a directory handle without following symbolic
//! links. What the disk cannot hold ([`Disk`]) is taken from the lower tree's entries and never reported as
//! a change. Unpacked directories are disposable; nothing is synced.
//!
//! What it does not do: choose names of directories, read or write tars, run commands.

mod contents;
mod disk;
mod error;
mod metadata;
mod plain;
mod queue;
mod remove;
mod stamp;
mod upper;
mod walk;
mod write;

pub use contents::Contents;
pub use disk::{Disk, Marks};
pub use error::Error;
pub use plain::{Index, index, scan_plain};
pub use queue::write_layer;
pub use remove::{remove_stubs, remove_tree};
pub use upper::{prepare_upper, scan_upper};
pub use write::{Form, write_changes};

#[cfg(test)]
mod tests;
