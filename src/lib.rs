//! kiln: from a Dockerfile to an OCI image, without Docker, without a daemon, without being root.
#![warn(missing_docs)]
#![deny(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr))]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests have surroundings of their own"))]

pub mod archive;
pub mod assemble;
pub mod builder;
pub mod cache;
pub mod checkup;
pub mod context;
pub mod diagnostic;
pub mod digest;
pub mod dockerfile;
pub mod event;
pub mod graph;
pub mod image;
pub mod layer;
pub mod lower;
pub mod mode;
pub mod oci;
pub mod path;
pub mod pattern;
pub mod place;
pub mod reference;
pub mod registry;
pub mod rootfs;
pub mod sandbox;
pub mod solve;
pub mod store;
pub mod time;
pub mod tree;
