//! What the user asked for beside the Dockerfile.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::graph::Network;
use crate::oci::Platform;
use crate::ulimit::Ulimit;

/// The options of a build that decide what its graph is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `--target`: the stage to build; the last one if not given.
    pub target: Option<String>,
    /// `--build-arg`
    pub build_args: BTreeMap<String, String>,
    /// `--platform`: `None` when the user did not ask for one.
    pub target_platform: Option<Platform>,
    /// What RUN steps execute without further ado.
    pub build_platform: Platform,
    /// Architectures besides that one for which RUN steps have an emulator, or a kernel that knows them.
    pub foreign: BTreeMap<String, Foreign>,
    /// `--build-context`, by name; a name may end in `::os/architecture`.
    pub named_contexts: BTreeMap<String, NamedContext>,
    /// `--no-cache`
    pub no_cache: bool,
    /// `--no-cache-filter`: names of stages, in any case.
    pub no_cache_filter: Vec<String>,
    /// `--label`: these win over LABEL.
    pub labels: BTreeMap<String, String>,
    /// `--network`: what RUN steps get that do not choose.
    pub network: Network,
    /// `--add-host`: names and addresses, in the order given.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// `--shm-size`: the limit of `/dev/shm`; the sandbox's own for `None`.
    pub shm_size_bytes: Option<u64>,
    /// `--ulimit`
    pub ulimits: Vec<Ulimit>,
    /// `--allow security.insecure`: RUN may have all the rights of the builder.
    pub allow_insecure: bool,
    /// Lower every stage, needed or not: for checks.
    pub all_stages: bool,
    /// Nothing will be done: what this builder or machine cannot do is no finding.
    pub only_checked: bool,
}

impl Options {
    /// The options of a build without any, for `build_platform`.
    pub const fn new(build_platform: Platform) -> Self {
        Self {
            target: None,
            build_args: BTreeMap::new(),
            target_platform: None,
            build_platform,
            foreign: BTreeMap::new(),
            named_contexts: BTreeMap::new(),
            no_cache: false,
            no_cache_filter: Vec::new(),
            labels: BTreeMap::new(),
            network: Network::Host,
            extra_hosts: Vec::new(),
            shm_size_bytes: None,
            ulimits: Vec::new(),
            allow_insecure: false,
            all_stages: false,
            only_checked: false,
        }
    }

    /// Returns the platform of the result.
    pub fn platform(&self) -> &Platform {
        self.target_platform.as_ref().unwrap_or(&self.build_platform)
    }

    /// Returns the key of the named context that stands for `name` on `platform`: the entry for that
    /// platform if there is one, and `:latest` is as good as no tag.
    pub(super) fn named_context(&self, name: &str, platform: &Platform) -> Option<(&str, &NamedContext)> {
        if self.named_contexts.is_empty()
            || ["scratch", "context"].iter().any(|own| name.eq_ignore_ascii_case(own))
        {
            return None;
        }
        let familiar = name
            .parse::<crate::reference::Reference>()
            .map_or_else(|_| name.to_owned(), |name| name.familiar());
        let familiar = familiar.strip_suffix(":latest").unwrap_or(&familiar);
        let find = |key: &str| self.named_contexts.get_key_value(key).map(|(key, kind)| (key.as_str(), kind));
        find(&format!("{familiar}::{platform}")).or_else(|| find(familiar))
    }

    /// Tells whether the cache must not answer for the stage `name`.
    pub(super) fn ignores_cache(&self, name: Option<&str>) -> bool {
        self.no_cache
            || name.is_some_and(|name| {
                self.no_cache_filter.iter().any(|filter| filter.eq_ignore_ascii_case(name))
            })
    }
}

/// How commands of another architecture are executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// As any other.
    Executed,
    /// Only if the root file system holds this program: too late to find out.
    NeedsInterpreter(String),
}

/// The kinds of named context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// Files: a directory, a git repository, an archive.
    Directory,
    /// An image: in a registry or an OCI layout.
    Image,
    /// Nothing: `docker-image://scratch`.
    Scratch,
    /// A stage of the same Dockerfile, by name in any case: `target:NAME`.
    Stage(String),
}
