//! The phases of a build, in order, and nothing else.
//!
//! 1. [`parse`](crate::dockerfile::parse()): text to typed instructions, all findings at once
//! 2. [`lower`](crate::lower::lower): instructions to a graph; asks for bases until it has each manifest and config
//! 3. [`solve`]: lists contexts, runs what the cache does not answer, packs the layers of the images
//! 4. [`assemble`](crate::assemble): config and manifest
//! 5. `export`: the image goes where it was asked for
//!
//! Everything that depends on the surroundings (time, user, credentials) arrives in the [`Request`].

mod bases;
mod built;
mod contexts;
mod epoch;
mod error;
mod export;
mod image;
mod remotes;
mod request;
mod squash;

use std::path::Path;
use std::sync::atomic::AtomicUsize;

pub use built::Built;
pub use contexts::{AddressOptions, ForeignContext, Stream, context_address, open_context, read_stream};
pub use epoch::{EpochError, resolve_epoch};
pub use error::Error;
pub use request::{Annotations, Destination, Export, ExportKind, NamedContext, NamedContextError, Request};

use self::bases::Finder;
use self::remotes::Brought;
use crate::checkup::{self, Examination};
use crate::context::{self, IgnoreFile};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::event::{Event, Listener};
use crate::graph::{Graph, Network};
use crate::image::Blob;
use crate::lower;
use crate::oci::Platform;
use crate::pattern::Ignore;
use crate::reference::Reference;
use crate::registry::Registry;
use crate::remote::Remotes;
use crate::sandbox::Cancel;
use crate::solve::{self, Contexts, FetchError, Workshop};
use crate::store::Store;

/// What is to be built, before anything is.
pub struct Plan {
    /// The steps and the images to make of them.
    pub graph: Graph,
    /// What the user should know about the Dockerfile.
    pub warnings: Vec<Diagnostic>,
}

/// Parses and lowers; asks the registries for manifests and configs only.
///
/// # Errors
/// With all findings if one of them is an error, or if the store or a registry fails.
pub fn plan(request: &Request, lookup: Lookup<'_>) -> Result<Plan, Error> {
    let found = examine(request, lookup, request.lower_options())?;
    match found.graph {
        Some(_) if !found.failing_checks().is_empty() => Err(Error::Checks(found.findings)),
        Some(graph) => Ok(Plan { graph, warnings: found.findings }),
        None => Err(Error::Findings(found.findings)),
    }
}

/// Looks at the Dockerfile without building: at all of its stages, or at those that the target needs.
///
/// # Errors
/// If the ignore file cannot be used.
pub fn check(request: &Request, lookup: Lookup<'_>) -> Result<Examination, Error> {
    let mut options = request.lower_options();
    options.all_stages = options.target.is_none();
    options.only_checked = true;
    examine(request, lookup, options)
}

fn examine(request: &Request, lookup: Lookup<'_>, mut options: lower::Options) -> Result<Examination, Error> {
    let ignore = request.main_ignore()?;
    let (source, syntax) = (request.dockerfile.clone(), request.syntax.as_deref());
    Ok(match lookup {
        Lookup::None => {
            options.build_platform = checkup::assumed_platform();
            checkup::examine(source, syntax, &options, &ignore, checkup::assume)
        }
        Lookup::Images { store, registry } => {
            let finder = Finder { request, store, registry };
            checkup::examine(source, syntax, &options, &ignore, |wanted, bases| finder.answer(wanted, bases))
        }
    })
}

/// Where the bases of a Dockerfile that is only looked at come from.
#[derive(Clone, Copy)]
pub enum Lookup<'a> {
    /// Nowhere: each counts as an image of linux/amd64 with only a search path.
    None,
    /// The store and the registries.
    Images {
        /// The store.
        store: &'a Store,
        /// The registries.
        registry: &'a Registry,
    },
}

impl Request {
    fn lower_options(&self) -> lower::Options {
        let mut options = lower::Options::new(Platform::host());
        options.target.clone_from(&self.target);
        options.build_args.clone_from(&self.build_args);
        options.target_platform.clone_from(&self.platform);
        let kind = |context: &NamedContext| match context {
            NamedContext::Directory(_) | NamedContext::Remote(_) => lower::NamedContext::Directory,
            NamedContext::Scratch => lower::NamedContext::Scratch,
            NamedContext::Image(_) | NamedContext::OciLayout { .. } | NamedContext::Archive(_) => {
                lower::NamedContext::Image
            }
        };
        options.named_contexts =
            self.named_contexts.iter().map(|(name, value)| (name.clone(), kind(value))).collect();
        options.no_cache = self.no_cache;
        options.no_cache_filter.clone_from(&self.no_cache_filter);
        options.labels.clone_from(&self.labels);
        options.network = self.network.unwrap_or(Network::Host);
        options.extra_hosts.clone_from(&self.extra_hosts);
        options.shm_size_bytes = self.shm_size_bytes;
        options.ulimits.clone_from(&self.ulimits);
        options.allow_insecure = self.allow_insecure;
        options
    }
}

impl Request {
    fn main_ignore(&self) -> Result<Ignore, Error> {
        let Some(IgnoreFile { path, text }) = &self.ignore else { return Ok(Ignore::default()) };
        Ignore::parse(text).map_err(|source| Error::Ignore { path: path.clone(), source })
    }

    /// Returns the directories that steps may read, with what is left out of each.
    fn contexts(&self, store: &Store) -> Result<Contexts, Error> {
        let mut contexts = Contexts::default();
        match &self.foreign_context {
            Some(context) => contexts.add_files(None, context.files.clone()),
            None => contexts.add(None, context_of(&self.context, self.ignore.clone(), store)?),
        }
        for (name, context) in &self.named_contexts {
            match context {
                NamedContext::Directory(path) => {
                    let path = fs_err::canonicalize(path)?;
                    let ignore = context::find_ignore_file(None, &path)?;
                    contexts.add(Some(name.clone()), context_of(&path, ignore, store)?);
                }
                NamedContext::Remote(remote) => contexts.add_remote(Some(name.clone()), remote.clone()),
                _ => {}
            }
        }
        Ok(contexts)
    }
}

fn context_of(path: &Path, ignore: Option<IgnoreFile>, store: &Store) -> Result<solve::Context, Error> {
    let ignore_file = ignore.as_ref().map(|file| file.path.display().to_string()).unwrap_or_default();
    let ignore = match ignore {
        Some(file) => {
            Ignore::parse(&file.text).map_err(|source| Error::Ignore { path: file.path, source })?
        }
        None => Ignore::default(),
    };
    let key = Digest::of(path.as_os_str().as_encoded_bytes());
    Ok(solve::Context { path: path.to_owned(), ignore, ignore_file, stat_cache: store.stat_cache_path(&key) })
}

/// Builds what `request` says.
///
/// # Errors
/// The first phase that fails; the store holds nothing half-done then.
pub fn build(
    request: &Request,
    store: &Store,
    registry: &Registry,
    remotes: &Remotes,
    listener: &dyn Listener,
    cancel: &Cancel,
) -> Result<Built, Error> {
    listener.event(Event::Started { rung: request.isolation.to_string() });
    // Blobs of a running build are not garbage, named or not.
    let _lease = store.lease()?;
    let Plan { graph, warnings } = plan(request, Lookup::Images { store, registry })?;
    for warning in warnings {
        listener.event(Event::Warning(warning));
    }
    let contexts = request.contexts(store)?;
    let fetch = |reference: &Reference, blobs: &[Blob], progress: &(dyn Fn(u64, u64) + Sync)| {
        registry.fetch(reference, blobs, progress).map_err(FetchError::from)
    };
    let remotes = Brought(remotes);
    let workshop = Workshop {
        store,
        contexts: &contexts,
        fetch: &fetch,
        secrets: &request.secrets,
        agents: &request.ssh_agents,
        remotes: &remotes,
        isolation: &request.isolation,
        jobs: request.jobs,
        now: request.epoch.map_or(request.now, |epoch| epoch.min(request.now)),
        epoch: request.epoch,
        packing: request.packing(),
        scope: request.name.clone(),
        listener,
        cancel,
        next_task: AtomicUsize::new(graph.steps().len()),
        states: solve::States::default(),
    };
    let images = request.exports.iter().any(|export| export.kind.is_image());
    let solution = solve::solve(&graph, &workshop, images)?;
    contexts.remember();
    export::export(request, &graph, &solution, &workshop)
}
