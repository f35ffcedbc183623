//! What the process finds around itself: user, home, store, clock, configuration files.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use kiln::registry;
use kiln::sandbox::{self, Rung};
use kiln::store::Store;
use kiln::time::Timestamp;

use super::Global;
use super::report::Failure;

/// `--isolation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Isolation {
    /// The strongest that works here.
    Auto,
    /// Namespaces, or fail.
    Namespaces,
    /// A chroot without namespaces; needs root.
    Chroot,
}

/// What commands need of the surroundings.
pub(crate) struct Environment {
    /// The directory of the store.
    pub(crate) store_root: PathBuf,
    /// How RUN steps are isolated.
    pub(crate) rung: Rung,
    /// The time at which the command began.
    pub(crate) now: Timestamp,
}

impl Environment {
    /// Opens the store.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        Store::open(&self.store_root).map_err(Failure::from_error)
    }

    /// Reads the registries' configuration and credentials.
    pub(crate) fn registry_config(&self) -> Result<registry::Config, Failure> {
        let home = home();
        let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let first_existing = |candidates: [Option<PathBuf>; 2]| candidates.into_iter().flatten().find(|path| path.exists());
        let registries_conf = variable("CONTAINERS_REGISTRIES_CONF").or_else(|| {
            first_existing([
                in_home(".config/containers/registries.conf"),
                Some(PathBuf::from("/etc/containers/registries.conf")),
            ])
        });
        let docker_config = variable("DOCKER_CONFIG").or_else(|| in_home(".docker")).map(|dir| dir.join("config.json"));
        let runtime_auth = variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
        let auth_file = variable("REGISTRY_AUTH_FILE").or(runtime_auth);
        registry::Config::load(registries_conf.as_deref(), &[auth_file, docker_config].into_iter().flatten().collect::<Vec<_>>())
            .map_err(Failure::from_error)
    }
}

/// Finds the surroundings; for a normal user the process goes on inside a user namespace.
pub(crate) fn enter(global: &Global) -> Result<Environment, Failure> {
    let store_root = match &global.store {
        Some(path) => path.clone(),
        None => default_store()?,
    };
    fs_err::create_dir_all(&store_root).map_err(Failure::from_error)?;
    let store_root = fs_err::canonicalize(&store_root).map_err(Failure::from_error)?;
    let rung = rung(global.isolation, &store_root)?;
    Ok(Environment { store_root, rung, now: now()? })
}

fn rung(isolation: Isolation, store_root: &Path) -> Result<Rung, Failure> {
    let wanted = match isolation {
        Isolation::Auto => sandbox::Wanted::Strongest,
        Isolation::Namespaces => sandbox::Wanted::Namespaces,
        Isolation::Chroot => sandbox::Wanted::Chroot,
    };
    sandbox::enter(wanted, store_root).map_err(Failure::from_error)
}

fn default_store() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() && std::env::var_os(sandbox::INSIDE_NAMESPACE).is_none() {
        return Ok(PathBuf::from("/var/lib/kiln"));
    }
    let data_home = variable("XDG_DATA_HOME").or_else(|| home().map(|home| home.join(".local/share")));
    let data_home = data_home.ok_or_else(|| Failure::plain("neither HOME nor XDG_DATA_HOME is set; name a store with --store"))?;
    Ok(data_home.join("kiln"))
}

#[expect(clippy::disallowed_methods, reason = "the clock is read here, once, and handed down")]
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
