//! kiln: from a Dockerfile to an OCI image, without Docker, without a daemon, without being root.

pub mod diagnostic;
pub mod digest;
pub mod dockerfile;
pub mod event;
pub mod path;
pub mod pattern;
pub mod time;
pub mod tree;
