//! Seccomp programs: a list of allowed calls compiled to the kernel's filter machine.
//!
//! Written here and not taken from a crate because a profile needs three answers beside "allow" and the one
//! for the rest: no such call (clone3, and whatever is newer than the profile), and ask the builder.

mod ownership;
mod profile;
mod program;

pub(super) use ownership::{Watcher, program as ownership_program};
pub(super) use profile::default_program;
