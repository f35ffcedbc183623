//! What the library and the program do together: on real files, processes, kernels and registries.

#![allow(clippy::disallowed_methods, reason = "tests have surroundings of their own")]

#[path = "../support/mod.rs"]
mod support;

mod architecture;
mod archive;
mod build;
mod cache;
mod cache_exchange;
mod cache_registry;
mod errors;
mod image_options;
mod images;
mod kill;
mod messages;
mod output;
mod progress;
mod pull;
mod pull_faults;
mod push;
mod push_cli;
mod push_faults;
mod push_secrets;
mod remote;
mod reproducibility;
mod rootfs;
mod run_mounts;
mod rungs;
mod sandbox;
mod statements;
