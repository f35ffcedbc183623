//! The phases of a build, in order, and nothing else.
//!
//! 1. [`parse`](crate::dockerfile::parse()): text to typed instructions, all findings at once
//! 2. [`lower`](crate::lower::lower): instructions to a graph; asks for bases until it has each manifest and config
//! 3. [`solve`]: lists contexts, runs what the cache does not answer, packs the layers of the images; meanwhile `ahead` sends
//!    them to the registries that they are pushed to, and `growing` writes them to the archive
//! 4. [`assemble`](crate::assemble): config and manifest
//! 5. `export`: the image goes where it was asked for, and the cache too
//!
//! Everything that depends on the surroundings (time, user, credentials) arrives in the [`Request`].

mod ahead;
mod bases;
mod built;
mod cache;
mod contexts;
mod epoch;
mod error;
mod export;
mod growing;
mod image;
mod output_file;
mod remotes;
mod request;
mod squash;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::AtomicUsize;

pub use built::Built;
pub use cache::{CachePlace, CacheSource, CacheTarget};
pub use contexts::{AddressOptions, ForeignContext, Stream, context_address, open_context, read_stream};
pub use epoch::{EpochError, resolve_epoch};
pub use error::Error;
pub use request::{Annotations, Destination, Export, ExportKind, NamedContext, NamedContextError, Request};

use self::bases::Finder;
use self::growing::GrowingArchive;
use self::remotes::Brought;
use crate::archive;
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
use crate::registry::Registry;
use crate::remote::Remotes;
use crate::sandbox::{self, Cancel, Execution};
use crate::solve::{self, Contexts, FetchError, OnPacking, Origin, Workshop};
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
    let mut options = request.lower_options();
    options.foreign = foreign(&options.build_platform);
    let found = examine(request, lookup, options)?;
    match found.graph {
        Some(_) if !found.failing_checks().is_empty() => Err(Error::Checks(found.findings)),
        Some(graph) => Ok(Plan { graph, warnings: found.findings }),
        None => Err(Error::Findings(found.findings)),
    }
}

/// Finds out which commands of other architectures can be executed.
fn foreign(own: &Platform) -> BTreeMap<String, lower::Foreign> {
    let lowered = |execution| match execution {
        Execution::Anywhere => lower::Foreign::Executed,
        Execution::Interpreter(path) => lower::Foreign::NeedsInterpreter(path),
    };
    let found = sandbox::foreign_architectures(&own.architecture).into_iter();
    found.map(|(architecture, execution)| (architecture, lowered(execution))).collect()
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
            NamedContext::Stage(stage) => lower::NamedContext::Stage(stage.clone()),
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

/// Asks before anything is built whether what will be pushed may be: once for each repository.
fn check_pushes(request: &Request, registry: &Registry) -> Result<(), Error> {
    let mut asked = BTreeSet::new();
    let pushed = request.exports.iter().filter(|export| export.kind == ExportKind::Registry);
    let images = pushed.flat_map(|export| request.names(export));
    let caches =
        request.cache_to.iter().filter(|target| !target.ignore_error).filter_map(CacheTarget::pushed);
    for name in images.chain(caches) {
        if asked.insert(name.name()) {
            registry.check_push(name)?;
        }
    }
    Ok(())
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
    check_pushes(request, registry)?;
    let Plan { graph, warnings } = plan(request, Lookup::Images { store, registry })?;
    for warning in warnings {
        listener.event(Event::Warning(warning));
    }
    let contexts = request.contexts(store)?;
    let fetch = |origin: &Origin, blobs: &[Blob], progress: &(dyn Fn(u64, u64) + Sync)| match origin {
        Origin::Repository(reference) => registry.fetch(reference, blobs, progress).map_err(FetchError::from),
        Origin::Layout(directory) => archive::copy_blobs(store, directory, blobs).map_err(FetchError::from),
    };
    let next_task = AtomicUsize::new(graph.steps().len());
    let imports = cache::import(request, store, registry, listener, &next_task);
    let remotes = Brought(remotes);
    let agents = request.ssh_agents.iter();
    let agents = agents.map(|(id, agent)| (id.clone(), agent.socket().to_owned())).collect();
    GrowingArchive::while_building(request, &graph, store, |growing| {
        let on_packing = growing.map(|growing| |packing| growing.hear(packing));
        let mut workshop = Workshop {
            store,
            contexts: &contexts,
            fetch: &fetch,
            imports,
            secrets: &request.secrets,
            agents: &agents,
            remotes: &remotes,
            isolation: &request.isolation,
            jobs: request.jobs,
            now: request.now,
            epoch: request.epoch,
            packing: request.packing(),
            scope: request.name.clone(),
            listener,
            on_packing: on_packing.as_ref().map(|hear| -> &OnPacking<'_> { hear }),
            cancel,
            next_task,
            states: solve::States::default(),
        };
        let (built, times, solution) = cache::without_broken(&mut workshop, |workshop| {
            let solution = ahead::while_building(request, registry, workshop, |on_ready| {
                solve::solve(&graph, workshop, request.what_to_pack(), on_ready)
            })?;
            let (built, times) = export::export(request, &graph, &solution, workshop, registry, growing)?;
            Ok((built, times, solution))
        })?;
        cache::without_broken(&mut workshop, |workshop| {
            cache::export(request, &graph, &solution, &times, workshop, registry)
        })?;
        Ok(built)
    })
}
