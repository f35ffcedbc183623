//! What the library and the program do together: on real files, processes, kernels and registries.

#![allow(clippy::disallowed_methods, reason = "tests have surroundings of their own")]

#[path = "../support/mod.rs"]
mod support;

mod archive;
mod pull;
mod pull_faults;
mod remote;
mod rootfs;
mod sandbox;
