//! One process in a root file system: namespaces, ids, capabilities, seccomp, mounts.
//!
//! In goes a [`Spec`], in which nothing is left to be decided; out come the command's output while it runs
//! and an [`Outcome`]. How strong the walls are is the [`Rung`] that a probe finds:
//!
//! 1. [`enter_user_namespace`] is called at the start of `main`, before any thread: a normal user's builder
//!    goes on in a user and mount namespace of its own, because only there can it own files of other ids,
//!    mount overlays and delete what it made.
//! 2. [`probe`] tries overlayfs on the store's directory. Its [`Isolation`] is the first line of a build.
//! 3. [`run`] re-executes the program as a fresh single-threaded child ([`child_main`]), which sets up the
//!    step's namespaces and mounts, stays as process 1 and starts the command.
//!
//! Rules: everything that a step starts dies with the step, and with the builder, however that ends. A step
//! sees its root, its mounts and its own environment, nothing of the builder's. No cgroup is needed and no
//! limit is raised. The `unsafe` that system calls need is all in `sys`.
//!
//! Beside that it knows which programs of other architectures this machine executes ([`foreign_architectures`]).
//!
//! What it does not do: make or read layers (`rootfs` does), know Dockerfiles, emulate owners that a single
//! id cannot represent (a step that needs them fails and says which call it was).

mod cancel;
mod capability;
mod child;
mod foreign;
mod identity;
mod isolation;
mod limit;
mod parent;
mod probe;
mod seccomp;
mod spec;
mod subordinate;
mod sys;
mod user_namespace;
mod wire;

pub use cancel::Cancel;
pub use child::child_main;
pub use foreign::{Execution, foreign_architectures};
pub use identity::{Identity, resolve as resolve_identity};
pub use isolation::{Isolation, Overlay, ParseError as IsolationParseError, Rung};
pub use parent::{Error, Launcher, run};
pub use probe::probe;
pub use spec::{Content, Mount, Network, Root, Spec, Upper, hosts};
pub use user_namespace::{Error as GroundError, Ground, enter_user_namespace};
pub use wire::{Exit, Outcome, RefusedCall};
