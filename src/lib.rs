//! kiln: from a Dockerfile to an OCI image, without Docker, without a daemon, without being root.
//!
//! # Four ideas
//!
//! 1. **A build is a graph of closed operations.** Text becomes a [`Dockerfile`](dockerfile::instruction::Dockerfile)
//!    (what is written), that becomes a [`Graph`](graph::Graph) (what is to be done), that a
//!    [`Solution`](solve::Solution) (what came of it). In a graph nothing is left to expand, so an operation can be
//!    hashed, printed, cached and run anywhere. ENV, LABEL and CMD are no operations; lowering folds them into the
//!    config.
//! 2. **A layer is the difference of two trees.** A [`Tree`](tree::Tree) is an immutable value: paths to kind, mode,
//!    owner, time, attributes, links and content digests. What a step changed is [`tree::diff`] of two trees, not of how it
//!    was observed. Each layer has its list of entries beside it in the store, so most of the hard questions (where
//!    COPY lands, what changed, what a key is made of) are answered without its bytes.
//! 3. **Bytes move once, and only when somebody needs them.** A step's result is a tree and where its bytes lie. COPY goes
//!    from the context straight into a layer's tar, hashed and compressed on the way. Only RUN needs directories on
//!    a disk, and only layers of images are packed.
//! 4. **The result depends on the inputs alone:** not on threads, the order of directories or the clock.
//!
//! # One way through
//!
//! ```text
//! argv -> cli -> builder::Request                  environment, terminal, clock and credentials are read there
//! Dockerfile text -> dockerfile::parse             pure; all findings at once, each with a span
//! loop: lower(Dockerfile, options, bases)          pure; says Missing(bases) until it has their manifests and configs
//!         -> registry, store or archives           that find them
//! Graph -> solve                                   per step: key -> hit | run | copy -> changes -> Snapshot
//! Snapshot -> layer::pack                          when it is a layer of an image, as soon as its step is done
//! Graph + Solution -> assemble                     the one place that writes config, manifest and index
//! root descriptor -> archive | store | files       exporters take a root descriptor and the store
//! event::Event (sideways) -> progress              nothing flows back
//! ```
//!
//! # Rooms
//!
//! A room uses what stands in its row and the ground; `tests/it/architecture.rs` keeps this table true.
//!
//! | room | what lives there | uses |
//! |---|---|---|
//! | [`digest`] [`path`] [`time`] [`mode`] [`ulimit`] [`secret`] [`open`] [`disk`] [`diagnostic`] [`event`] | the ground: identities as types, clean paths, symbolic modes, limits, files that are only read, a share of the disk, values that nothing prints, findings with spans, progress | nothing (`event`: `diagnostic`) |
//! | [`reference`](mod@reference) [`oci`] [`image`] | the nouns: names of images; manifest, index and config; layers and images as values | ground |
//! | [`dockerfile`] | the language: lexer, typed instructions, word expansion, checks | `diagnostic` only |
//! | [`address`] | addresses of downloads and git repositories, parsed; which hosts are this machine | ground |
//! | [`pattern`] | `.dockerignore` and the wildcards of COPY | `path` |
//! | [`tree`] | the tree value, difference, application, content digests | ground |
//! | [`graph`] | steps, operations, outputs; a cycle cannot be built | nouns, `address` |
//! | [`lower`] | the only bridge from the language to the graph: scopes, ONBUILD, pruning, config and history | `dockerfile`, `graph`, `address`, nouns |
//! | [`checkup`] | looking at a Dockerfile without building it: checks, outline, targets, mending | `dockerfile`, `graph`, `lower`, `pattern` |
//! | [`deploy`] | the files of deploy platforms: which images they want built | nouns |
//! | [`store`] | blobs in an OCI layout, images and their names, entries of layers, records, directories, leases, collection | nouns, `graph` (how a cache mount is shared) |
//! | [`place`] | what COPY, ADD and WORKDIR mean: selections and a view to changes; pure | `tree`, `pattern` |
//! | [`context`] | directories as build contexts, their listing, digests and stat cache | `pattern`, `place`, `store`, `tree` |
//! | [`layer`] | tar both ways, whiteouts, the packing pipeline | `tree` |
//! | [`rootfs`] | layers as directories, and what a step changed in them | `layer`, `tree` |
//! | [`sandbox`] | one process in a root: namespaces, ids, capabilities, seccomp; the only room with `unsafe`, but for one function of `digest` | `rootfs` (content that is placed where nothing can be mounted) |
//! | [`cache`] | keys and records, as values, and the document in which they travel | nouns |
//! | [`solve`] | order of work, threads, cache; has never heard of Dockerfiles or registries: blobs come through one function that is handed in | all between `tree` and `cache` but `lower` |
//! | [`assemble`] | image documents, written and read | `store`, nouns |
//! | [`archive`] | OCI layouts and docker archives, both ways | `assemble`, `store`, nouns |
//! | [`registry`] | transfer, credentials, retries; only its client and that of `remote` know of async | `address`, `assemble`, `store`, nouns |
//! | [`remote`] | downloads and git repositories, kept and revalidated | `address`, `cache`, `context`, `graph`, `place`, `store`, `tree` |
//! | [`builder`] | the phases in order, and nothing else | all |
//!
//! The binary (`main.rs`, `cli/`) uses only what is public here.
#![warn(missing_docs)]
#![deny(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr))]
#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests have surroundings of their own"))]

pub mod address;
pub mod archive;
pub mod assemble;
pub mod builder;
pub mod cache;
pub mod checkup;
pub mod context;
pub mod deploy;
pub mod diagnostic;
pub mod digest;
pub mod disk;
pub mod dockerfile;
pub mod event;
pub mod graph;
pub mod image;
pub mod layer;
pub mod lower;
pub mod mode;
pub mod oci;
pub mod open;
pub mod path;
pub mod pattern;
pub mod place;
pub mod reference;
pub mod registry;
pub mod remote;
pub mod rootfs;
pub mod sandbox;
pub mod secret;
pub mod solve;
pub mod store;
pub mod time;
pub mod tree;
pub mod ulimit;
