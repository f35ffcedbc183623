//! What the library and the program do together: on real files, processes, kernels and registries.

#![allow(clippy::disallowed_methods, reason = "tests have surroundings of their own")]

#[path = "../support/mod.rs"]
mod support;

mod architecture;
mod archive;
mod bench;
mod build;
mod cache;
mod cache_exchange;
mod cache_registry;
mod contexts;
mod credentials;
mod deploy;
mod docker_cli;
mod docker_images;
mod errors;
mod foreign;
mod image_options;
mod images;
mod kaniko;
mod kill;
mod login;
mod messages;
mod output;
mod progress;
mod pull;
mod pull_faults;
mod push;
mod push_ahead;
mod push_cli;
mod push_faults;
mod push_secrets;
mod registry_copy;
mod registry_foreign;
mod registry_hosts;
mod registry_verbs;
mod remote;
mod reproducibility;
mod rootfs;
mod run_mounts;
mod rungs;
mod sandbox;
mod ssh;
mod statements;
mod wrangler;
