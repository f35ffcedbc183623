//! What the library and the program do together: on real files, processes, kernels and registries.

#![allow(clippy::disallowed_methods, reason = "tests have surroundings of their own")]

#[path = "../support/mod.rs"]
mod support;

mod archive;
mod messages;
mod pull;
mod pull_faults;
mod rootfs;
mod sandbox;
mod statements;
