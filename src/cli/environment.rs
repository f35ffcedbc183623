//! What the process finds around itself: user, home, store, clock, configuration files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kiln::registry::{self, Credentials, Hosts, Places, Registry};
use kiln::remote::{self, Remotes};
use kiln::sandbox::{self, Isolation, Rung};
use kiln::store::Store;
use kiln::time::Timestamp;

use super::Global;
use super::report::Failure;

/// What commands need of the surroundings.
pub(crate) struct Environment {
    /// The directory of the store.
    pub(crate) store_root: PathBuf,
    /// How RUN steps are isolated.
    pub(crate) isolation: Isolation,
    /// The time at which the command began.
    pub(crate) now: Timestamp,
}

impl Environment {
    /// Opens the store.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        Store::open(&self.store_root).map_err(Failure::from_error)
    }

    /// Reads the registries' configuration and credentials, and sets up the client.
    pub(crate) fn registry(&self, store: &Store) -> Result<Registry, Failure> {
        let mut config = registry::Config::new(store.clone());
        let hosts = Hosts::files(variable("CONTAINERS_REGISTRIES_CONF"), home().as_deref());
        config.hosts = Hosts::load(&hosts).map_err(Failure::from_error)?;
        let credentials = Places {
            named: variable("REGISTRY_AUTH_FILE"),
            runtime_dir: variable("XDG_RUNTIME_DIR"),
            docker_config: variable("DOCKER_CONFIG"),
            home: home(),
        };
        config.credentials = Credentials::load(&credentials.files()).map_err(Failure::from_error)?;
        config.notice = Arc::new(|text| eprintln!("note: {text}"));
        Registry::new(config).map_err(Failure::from_error)
    }
}

impl Environment {
    /// Sets up the client for downloads and repositories. `ssh_identities` lets ssh use the user's agent and keys.
    pub(crate) fn remotes(&self, store: &Store, ssh_identities: bool) -> Remotes {
        let handed_down = |name: &str| std::env::var_os(name).map(|value| (name.into(), value));
        let environment = HANDED_TO_GIT.iter().filter_map(|name| handed_down(name)).collect();
        Remotes::new(remote::Config { store: store.clone(), environment, ssh_identities })
    }
}

/// What the git program gets of the environment: where programs are, proxies, and the keys of the user.
const HANDED_TO_GIT: [&str; 10] = [
    "PATH",
    "SSH_AUTH_SOCK",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

/// Finds the surroundings; for a normal user the process goes on inside a user namespace.
pub(crate) fn enter(global: &Global) -> Result<Environment, Failure> {
    let wanted = match global.isolation.as_str() {
        "auto" => None,
        name => Some(name.parse::<Rung>().map_err(|error| Failure::usage(format!("--isolation: {error}")))?),
    };
    let store_root = match &global.store {
        Some(path) => path.clone(),
        None => default_store()?,
    };
    let ground = sandbox::enter_user_namespace(wanted).map_err(Failure::from_error)?;
    fs_err::create_dir_all(&store_root).map_err(Failure::from_error)?;
    let store_root = fs_err::canonicalize(&store_root).map_err(Failure::from_error)?;
    let isolation = sandbox::probe(ground, &store_root).map_err(Failure::from_error)?;
    Ok(Environment { store_root, isolation, now: now()? })
}

/// Finds the surroundings of a command that neither opens a store nor runs a step: nothing is entered or probed.
pub(crate) fn outside(global: &Global) -> Result<Environment, Failure> {
    let store_root = global.store.clone().unwrap_or_default();
    Ok(Environment { store_root, isolation: Isolation::unprobed(), now: now()? })
}

fn default_store() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/kiln"));
    }
    let data_home = variable("XDG_DATA_HOME").or_else(|| home().map(|home| home.join(".local/share")));
    let data_home = data_home
        .ok_or_else(|| Failure::plain("neither HOME nor XDG_DATA_HOME is set; name a store with --store"))?;
    Ok(data_home.join("kiln"))
}

fn now() -> Result<Timestamp, Failure> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since_epoch.map_err(|_| Failure::plain("the system clock stands before 1970"))?.as_secs();
    Ok(Timestamp(i64::try_from(seconds).unwrap_or(i64::MAX)))
}

/// Returns a path from an environment variable that is set and not empty.
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn home() -> Option<PathBuf> {
    variable("HOME")
}
