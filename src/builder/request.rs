//! What is asked of a build: closed values, nothing left to look up.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::{AddressOptions, CacheSource, CacheTarget, ForeignContext, context_address};
use crate::context::IgnoreFile;
use crate::diagnostic::Source;
use crate::graph::{Network, Remote};
use crate::layer::Compression;
use crate::oci::Platform;
use crate::reference::Reference;
use crate::registry::Limits;
use crate::remote::Agent;
use crate::sandbox::Isolation;
use crate::secret::Secrets;
use crate::time::Timestamp;
use crate::ulimit::Ulimit;

/// A build.
#[derive(Debug, Clone)]
pub struct Request {
    /// The Dockerfile's text.
    pub dockerfile: Source,
    /// What replaces `# syntax=` (`BUILDKIT_SYNTAX`).
    pub syntax: Option<String>,
    /// The directory of the main build context, absolute.
    pub context: PathBuf,
    /// The main build context where it is no directory of this machine; `context` is then what the user calls it.
    pub foreign_context: Option<ForeignContext>,
    /// The ignore file that holds for the main context.
    pub ignore: Option<IgnoreFile>,
    /// The contexts of `--build-context`, by lower-case name.
    pub named_contexts: BTreeMap<String, NamedContext>,
    /// What builds of this kind are remembered by, for `kiln why`: another one has another journal.
    pub name: String,
    /// The stage to build; the last one for `None`.
    pub target: Option<String>,
    /// The values of `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// The values of `--label`.
    pub labels: BTreeMap<String, String>,
    /// The platform asked for; the base's own for `None`.
    pub platform: Option<Platform>,
    /// Whether the cache must not answer at all.
    pub no_cache: bool,
    /// The stages for which the cache must not answer.
    pub no_cache_filter: Vec<String>,
    /// How RUN steps are isolated.
    pub isolation: Isolation,
    /// The network of RUN steps that do not choose; the host's for `None`.
    pub network: Option<Network>,
    /// `--add-host`: names that RUN steps know, with their addresses.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// The limit of `/dev/shm` in RUN steps.
    pub shm_size_bytes: Option<u64>,
    /// Limits of the resources of RUN steps.
    pub ulimits: Vec<Ulimit>,
    /// Whether RUN may ask for all rights of the builder.
    pub allow_insecure: bool,
    /// What steps may see and nothing may keep.
    pub secrets: Secrets,
    /// The ssh agents that steps may use, by id.
    pub ssh_agents: BTreeMap<String, Agent>,
    /// How many steps run at the same time, and how many threads pack.
    pub jobs: usize,
    /// How many bytes packing may hold at the same time.
    pub memory_bytes: Option<u64>,
    /// The time at which the build began: what new history entries say.
    pub now: Timestamp,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: Option<Timestamp>,
    /// Whether a name of the store does not answer for a base: the registry is asked.
    pub pull: bool,
    /// Whether everything that the build adds becomes one layer.
    pub squash: bool,
    /// The values of `--annotation`.
    pub annotations: Annotations,
    /// The names of the image.
    pub tags: Vec<Reference>,
    /// Where the result goes.
    pub exports: Vec<Export>,
    /// The caches that are asked after the store's own, in this order.
    pub cache_from: Vec<CacheSource>,
    /// Where the cache goes.
    pub cache_to: Vec<CacheTarget>,
    /// What a pushed image must not exceed.
    pub limits: Limits,
}

/// What is said about an image beside its config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// In the manifest.
    pub manifest: BTreeMap<String, String>,
    /// On the manifest's descriptor in the index of an OCI layout.
    pub descriptor: BTreeMap<String, String>,
}

/// The value of a `--build-context`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory of files.
    Directory(PathBuf),
    /// Files of another machine.
    Remote(Remote),
    /// An image of the store or a registry.
    Image(Reference),
    /// No image at all: `docker-image://scratch`.
    Scratch,
    /// An image in an OCI layout directory, by tag or digest.
    OciLayout {
        /// The directory.
        path: PathBuf,
        /// The tag or `sha256:` digest; `None` if there is but one image.
        tag: Option<String>,
    },
    /// An image in an OCI or docker archive.
    Archive(PathBuf),
    /// A stage of the same Dockerfile.
    Stage(String),
}

/// A value of `--build-context` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamedContextError {
    /// `docker-image://` with a bad name.
    #[error(transparent)]
    Reference(#[from] crate::reference::ParseError),
    /// The address of a repository that is wrong.
    #[error(transparent)]
    Git(#[from] crate::address::GitError),
    /// Another scheme.
    #[error(
        "`{0}` is not supported: use a directory, docker-image://, oci-layout://, a git repository, https://, \
         target:STAGE, oci-archive:// or docker-archive://"
    )]
    Scheme(String),
}

impl FromStr for NamedContext {
    type Err = NamedContextError;

    fn from_str(text: &str) -> Result<Self, NamedContextError> {
        if let Some(remote) = context_address(text, AddressOptions::default()) {
            return Ok(Self::Remote(remote?));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(match text.strip_prefix("target:") {
                Some(stage) => Self::Stage(stage.to_owned()),
                None => Self::Directory(PathBuf::from(text)),
            });
        };
        match scheme {
            "docker-image" if rest == "scratch" => Ok(Self::Scratch),
            "docker-image" => Ok(Self::Image(rest.parse()?)),
            "oci-layout" => {
                let (path, tag) = match rest.split_once('@') {
                    Some((path, digest)) => (path, Some(digest)),
                    None => match rest.rsplit_once(':') {
                        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
                        _ => (rest, None),
                    },
                };
                Ok(Self::OciLayout { path: PathBuf::from(path), tag: tag.map(str::to_owned) })
            }
            "oci-archive" | "docker-archive" => Ok(Self::Archive(PathBuf::from(rest))),
            _ => Err(NamedContextError::Scheme(text.to_owned())),
        }
    }
}

/// Where a result goes, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The form.
    pub kind: ExportKind,
    /// The place; `None` for the store and for registries.
    pub destination: Option<Destination>,
    /// Names beside the request's tags.
    pub names: Vec<Reference>,
    /// How new layers are compressed; gzip for `None`.
    pub compression: Option<Compression>,
    /// Whether layers of bases are compressed so too.
    pub force_compression: bool,
    /// Whether media types are OCI's; by the kind for `None`.
    pub oci_media_types: Option<bool>,
    /// Whether files of new layers get no later time than `SOURCE_DATE_EPOCH`.
    pub rewrite_timestamps: bool,
    /// Whether the image gets no tag: it is known by its digest alone.
    pub by_digest: bool,
}

impl Request {
    /// Returns the names that an export gives to the image.
    pub(super) fn names<'r>(&'r self, export: &'r Export) -> impl Iterator<Item = &'r Reference> {
        self.tags.iter().chain(&export.names)
    }
}

impl Export {
    /// Returns the export with every option at its default.
    pub const fn new(kind: ExportKind, destination: Option<Destination>) -> Self {
        Self {
            kind,
            destination,
            names: Vec::new(),
            compression: None,
            force_compression: false,
            oci_media_types: None,
            rewrite_timestamps: false,
            by_digest: false,
        }
    }
}

/// The forms of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportKind {
    /// An image in the store.
    Store,
    /// An OCI archive.
    Oci,
    /// An OCI layout directory.
    OciDirectory,
    /// A docker archive.
    Docker,
    /// The root file system's files in a directory.
    Local,
    /// The root file system's files in a tar.
    Tar,
    /// An image in its registry, under each of its names.
    Registry,
}

/// The place of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file or directory.
    Path(PathBuf),
    /// Standard output.
    Stdout,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_named_contexts() {
        let path = PathBuf::from;
        for (text, expected) in [
            ("dir", NamedContext::Directory(path("dir"))),
            ("../a:b", NamedContext::Directory(path("../a:b"))),
            ("docker-image://busybox", NamedContext::Image("busybox".parse().unwrap())),
            ("oci-layout:///x/y:v", NamedContext::OciLayout { path: path("/x/y"), tag: Some("v".into()) }),
            ("oci-layout://x", NamedContext::OciLayout { path: path("x"), tag: None }),
            ("oci-archive://a.tar", NamedContext::Archive(path("a.tar"))),
            ("target:build", NamedContext::Stage("build".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for wrong in ["ftp://example.com/x.git", "https://h/x.git?y=z", "docker-image://X"] {
            assert!(wrong.parse::<NamedContext>().is_err(), "{wrong}");
        }
    }
}
