//! kiln as a library, with real parts around it.

#[path = "../support/mod.rs"]
mod support;

mod pull;
mod pull_faults;
