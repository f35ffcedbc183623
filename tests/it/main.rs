//! What the library and the program do together: on real files, processes, kernels and registries.

#[path = "../support/mod.rs"]
mod support;

mod archive;
mod build;
mod cache;
mod pull;
mod pull_faults;
mod reproducibility;
mod sandbox;
