//! What the process finds around itself: user, home, store, clock, configuration files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kiln::registry::{self, Certificates, Credentials, Hosts, Notice, Places, Registry};
use kiln::remote::{self, Agent, Remotes};
use kiln::sandbox::{self, Isolation, Rung};
use kiln::secret::Secrets;
use kiln::store::Store;
use kiln::time::Timestamp;

use super::Global;
use super::report::{Failure, tell};

/// What commands need of the surroundings.
pub(crate) struct Environment {
    /// The directory of the store.
    pub(crate) store_root: PathBuf,
    /// How RUN steps are isolated.
    pub(crate) isolation: Isolation,
    /// The time at which the command began.
    pub(crate) now: Timestamp,
    /// The directory that docker's `config.json` is in, instead of `~/.docker`.
    docker_config: Option<PathBuf>,
    /// What the command line says of registries, in the form of registries.conf: it wins over the files.
    pub(crate) registries_text: String,
}

impl Environment {
    /// Opens the store.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        Store::open(&self.store_root).map_err(Failure::from_error)
    }

    /// Looks for what says something about registries.
    pub(crate) fn registries(&self) -> Registries {
        Registries::find(self.docker_config.clone())
    }

    /// Sets up the client for registries, which says on standard error when it asks again.
    pub(crate) fn registry(&self, store: &Store) -> Result<Registry, Failure> {
        self.registry_with(store, Arc::new(|text| tell!("note: {text}")))
    }

    /// Sets up the client for registries.
    pub(crate) fn registry_with(&self, store: &Store, notice: Notice) -> Result<Registry, Failure> {
        let surroundings = self.registries();
        let mut config = registry::Config::new(store.clone());
        config.hosts = surroundings.hosts()?;
        let flags = Path::new("the command line");
        config.hosts.add(flags, &self.registries_text).map_err(Failure::from_error)?;
        config.credentials = surroundings.credentials()?;
        config.certificates = surroundings.certificates;
        config.notice = notice;
        Registry::new(config).map_err(Failure::from_error)
    }
}

/// What environment and home directory say about registries: where it stands, read when it is asked for.
pub(crate) struct Registries {
    /// `registries.conf` and its drop-in directories.
    pub(crate) hosts: Vec<PathBuf>,
    /// Credential files.
    pub(crate) places: Places,
    /// `DOCKER_AUTH_CONFIG`, which holds secrets.
    auth_config: Option<String>,
    /// `certs.d`.
    pub(crate) certificates: Certificates,
}

/// Credentials in the environment, as docker and GitLab's runners read them.
pub(crate) const AUTH_CONFIG: &str = "DOCKER_AUTH_CONFIG";

impl Registries {
    /// Looks around; the directory of docker's configuration is named by the user, or found below the home.
    pub(crate) fn find(docker_config: Option<PathBuf>) -> Self {
        Self {
            hosts: Hosts::files(variable("CONTAINERS_REGISTRIES_CONF"), home().as_deref()),
            places: Places {
                named: variable("REGISTRY_AUTH_FILE"),
                runtime_dir: variable("XDG_RUNTIME_DIR"),
                docker_config,
                home: home(),
            },
            auth_config: std::env::var(AUTH_CONFIG).ok().filter(|text| !text.trim().is_empty()),
            certificates: Certificates::directories(home().as_deref()),
        }
    }

    /// Tells whether the environment holds credentials.
    pub(crate) const fn has_auth_config(&self) -> bool {
        self.auth_config.is_some()
    }

    /// Reads `registries.conf`.
    pub(crate) fn hosts(&self) -> Result<Hosts, Failure> {
        Hosts::load(&self.hosts).map_err(Failure::from_error)
    }

    /// Reads all credentials.
    pub(crate) fn credentials(&self) -> Result<Credentials, Failure> {
        let credentials = Credentials::load(&self.places.files()).map_err(Failure::from_error)?;
        match &self.auth_config {
            Some(text) => credentials.first(AUTH_CONFIG, text).map_err(Failure::from_error),
            None => Ok(credentials),
        }
    }
}

/// The variables that name proxies, as the HTTP client reads them, and their values without passwords.
pub(crate) fn proxies() -> Vec<(&'static str, String)> {
    const NAMES: [&str; 8] = [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "https_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
    ];
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    NAMES.into_iter().filter_map(|name| Some((name, without_password(&set(name)?)))).collect()
}

/// Hides what stands before the `@` of an address.
fn without_password(address: &str) -> String {
    match address.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
            format!("{scheme}{}****@{host}", if scheme.is_empty() { "" } else { "://" })
        }
        None => address.to_owned(),
    }
}

impl Environment {
    /// Returns the directory of docker's configuration.
    pub(crate) fn docker_config(&self) -> Option<PathBuf> {
        self.docker_config.clone().or_else(|| home().map(|home| home.join(".docker")))
    }

    /// Sets up the client for downloads and repositories.
    pub(crate) fn remotes(&self, store: &Store, secrets: &Secrets, ssh_agent: Option<Agent>) -> Remotes {
        Remotes::new(remote::Config {
            store: store.clone(),
            environment: for_programs(),
            ssh_agent,
            known_hosts: home().map(|home| home.join(".ssh/known_hosts")),
            secrets: secrets.clone(),
        })
    }
}

/// Returns what programs such as git get of the environment.
pub(crate) fn for_programs() -> Vec<(OsString, OsString)> {
    let handed_down = |name: &&str| std::env::var_os(name).map(|value| (name.into(), value));
    HANDED_TO_PROGRAMS.iter().filter_map(handed_down).collect()
}

/// Returns a directory for sockets, whose paths are short.
pub(crate) fn runtime_directory() -> PathBuf {
    variable("XDG_RUNTIME_DIR").filter(|path| path.is_dir()).unwrap_or_else(std::env::temp_dir)
}

/// Where programs are, and proxies.
const HANDED_TO_PROGRAMS: [&str; 9] = [
    "PATH",
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
        name => Some(
            name.parse::<Rung>().map_err(|error| Failure::usage(format!("--isolation: {error}, or auto")))?,
        ),
    };
    // Before the namespace: there, everybody is root.
    let store_root = store_root(global)?;
    let ground = sandbox::enter_user_namespace(wanted).map_err(Failure::from_error)?;
    let store_root = made(&store_root)?;
    let isolation = sandbox::probe(ground, &store_root).map_err(Failure::from_error)?;
    Ok(Environment {
        store_root,
        isolation,
        now: now()?,
        docker_config: docker_config(global),
        registries_text: String::new(),
    })
}

/// Finds the surroundings of a command that neither opens a store nor runs a step: nothing is entered or probed.
pub(crate) fn outside(global: &Global) -> Result<Environment, Failure> {
    let store_root = global.store.clone().unwrap_or_default();
    let (isolation, docker_config) = (Isolation::unprobed(), docker_config(global));
    Ok(Environment { store_root, isolation, now: now()?, docker_config, registries_text: String::new() })
}

pub(crate) fn docker_config(global: &Global) -> Option<PathBuf> {
    global.config.clone().or_else(|| variable("DOCKER_CONFIG"))
}

/// Finds the surroundings of a command that reads the store and runs no step: no namespace is entered and nothing is
/// probed, which takes most of the time of a short command.
pub(crate) fn beside(global: &Global) -> Result<Environment, Failure> {
    Ok(Environment { store_root: made(&store_root(global)?)?, ..outside(global)? })
}

fn store_root(global: &Global) -> Result<PathBuf, Failure> {
    global.store.clone().map_or_else(default_store, Ok)
}

fn made(directory: &Path) -> Result<PathBuf, Failure> {
    fs_err::create_dir_all(directory)
        .and_then(|()| fs_err::canonicalize(directory))
        .map_err(Failure::from_error)
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
pub(crate) fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn home() -> Option<PathBuf> {
    variable("HOME")
}
