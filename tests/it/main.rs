//! What the library and the program do together: on real files, processes, kernels and registries.

#[path = "../support/mod.rs"]
mod support;

mod architecture;
mod archive;
mod build;
mod cache;
mod errors;
mod images;
mod kill;
mod output;
mod progress;
mod pull;
mod pull_faults;
mod reproducibility;
mod rungs;
mod sandbox;
