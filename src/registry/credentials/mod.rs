//! Credentials that other tools have stored: docker's `config.json` and containers' `auth.json`.
//!
//! In: paths (the caller knows the home directory and the environment), a host, a repository. Out: what to
//! present to that host, or nothing. The first file that knows the host answers; within a file a credential
//! helper of the host wins, then the longest entry of `auths`, then the credential store. [`save_login`] and [`erase_login`] are
//! the other direction: what `kiln login` and `kiln logout` write.
//!
//! A credential is only ever handed out for the host it is stored under. Secrets are not printed: the types
//! that hold them have no derived `Debug`.

mod file;
mod helper;
mod save;

use std::fmt;
use std::path::{Path, PathBuf};

use self::file::File;
pub use self::save::{Kept, erase_login, save_login};
use super::error::Error;
use crate::reference::DEFAULT_REGISTRY;

/// The names under which tools file Docker Hub.
const DOCKER_HUB: [&str; 4] =
    ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"];

/// All credential files, in the order in which they are asked.
#[derive(Clone, Default)]
pub struct Credentials {
    files: Vec<File>,
}

/// What to present to a host.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user name and a password or access token.
    Password {
        /// The user name.
        user: String,
        /// The secret.
        password: String,
    },
    /// An OAuth2 refresh token.
    IdentityToken(String),
    /// A token that is presented as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} files)", self.files.len())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(..)",
            Self::IdentityToken(_) => "IdentityToken(..)",
            Self::RegistryToken(_) => "RegistryToken(..)",
        })
    }
}

/// What the environment says about where credentials lie.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `REGISTRY_AUTH_FILE`: then no other file counts.
    pub named: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: where podman, buildah and skopeo keep theirs.
    pub runtime_dir: Option<PathBuf>,
    /// `DOCKER_CONFIG`: a directory instead of `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// The home directory.
    pub home: Option<PathBuf>,
}

impl Places {
    /// Returns the file into which a login is written, if there is a place for it.
    pub fn login_file(&self) -> Option<PathBuf> {
        self.named.clone().or_else(|| self.docker_file())
    }

    fn docker_file(&self) -> Option<PathBuf> {
        let below = |folder: &Option<PathBuf>, path: &str| folder.as_ref().map(|folder| folder.join(path));
        below(&self.docker_config, "config.json").or_else(|| below(&self.home, ".docker/config.json"))
    }

    /// Returns the files in the order in which they are asked; they need not exist.
    pub fn files(&self) -> Vec<PathBuf> {
        if let Some(named) = &self.named {
            return vec![named.clone()];
        }
        let below = |folder: &Option<PathBuf>, path: &str| folder.as_ref().map(|folder| folder.join(path));
        [
            below(&self.runtime_dir, "containers/auth.json"),
            below(&self.home, ".config/containers/auth.json"),
            self.docker_file(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Credentials {
    /// Reads the files that exist.
    ///
    /// # Errors
    /// If one exists and cannot be read or is not such a file.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut files = Vec::new();
        for path in paths {
            let text = match fs_err::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(Error::Config {
                        path: path.clone(),
                        line: None,
                        reason: error.kind().to_string(),
                    });
                }
            };
            files.push(File::parse(path, &text)?);
        }
        Ok(Self { files })
    }

    /// Puts the text of a credentials file before all files: what `DOCKER_AUTH_CONFIG` holds, by which name messages
    /// call it.
    ///
    /// # Errors
    /// If it is not such a text.
    pub fn first(mut self, origin: &str, text: &str) -> Result<Self, Error> {
        self.files.insert(0, File::parse(Path::new(origin), text)?);
        Ok(self)
    }

    /// Returns a password for one host, and nothing else.
    pub fn only(host: &str, user: &str, password: &str) -> Self {
        Self { files: vec![File::only(server_name(host), user, password)] }
    }

    /// Returns where the credential for `host` comes from.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn origin(&self, host: &str) -> Result<Option<&Path>, Error> {
        for file in &self.files {
            if file.find(host, "")?.is_some() {
                return Ok(Some(&file.origin));
            }
        }
        Ok(None)
    }

    /// Returns what to present to `host` when reading `repository`.
    ///
    /// # Errors
    /// If a credential helper fails or an entry cannot be decoded.
    pub fn find(&self, host: &str, repository: &str) -> Result<Option<Credential>, Error> {
        for file in &self.files {
            if let Some(credential) = file.find(host, repository)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

/// Returns the names under which credentials of `host` may be filed, docker's own first.
fn names_of(host: &str) -> Vec<&str> {
    if host == DEFAULT_REGISTRY || DOCKER_HUB.contains(&host) { DOCKER_HUB.to_vec() } else { vec![host] }
}

/// Returns the name under which docker files a host.
pub fn server_name(host: &str) -> &str {
    names_of(host)[0]
}

/// Returns the host that a user means who names a server as docker lets them: nothing for Docker Hub, with or without
/// a scheme and a path.
pub fn host_of_server(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    if host.is_empty() || DOCKER_HUB.contains(&host) { DEFAULT_REGISTRY } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_looked_for_where_tools_keep_them() {
        let path = |text: &str| Some(PathBuf::from(text));
        let all = Places {
            named: None,
            runtime_dir: path("/run/user/1"),
            docker_config: None,
            home: path("/home/u"),
        };
        let found = |places: &Places| {
            let files: Vec<_> = places.files().iter().map(|file| file.display().to_string()).collect();
            files.join(" ")
        };
        for (places, expected) in [
            (
                all.clone(),
                "/run/user/1/containers/auth.json /home/u/.config/containers/auth.json /home/u/.docker/config.json",
            ),
            (
                Places { docker_config: path("/d"), runtime_dir: None, ..all.clone() },
                "/home/u/.config/containers/auth.json /d/config.json",
            ),
            (Places { named: path("/a.json"), ..all }, "/a.json"),
            (Places::default(), ""),
        ] {
            assert_eq!(found(&places), expected);
        }
    }

    #[test]
    fn missing_files_are_no_credentials() {
        let credentials = Credentials::load(&[PathBuf::from("/no/such/file")]).unwrap();
        assert!(credentials.find("h", "r").unwrap().is_none());
    }

    #[test]
    fn a_server_is_named_as_docker_lets_it_be() {
        for (server, host, filed) in [
            ("", "docker.io", "https://index.docker.io/v1/"),
            ("https://index.docker.io/v1/", "docker.io", "https://index.docker.io/v1/"),
            ("docker.io", "docker.io", "https://index.docker.io/v1/"),
            ("localhost:5000", "localhost:5000", "localhost:5000"),
            ("https://r.example/v2/", "r.example", "r.example"),
            ("r.example/team", "r.example", "r.example"),
        ] {
            assert_eq!((host_of_server(server), server_name(host)), (host, filed), "{server}");
        }
    }

    #[test]
    fn the_environment_goes_before_all_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs_err::write(&path, r#"{"auths": {"a": {"auth": "dTpm"}, "b": {"auth": "dTpm"}}}"#).unwrap();
        let credentials = Credentials::load(std::slice::from_ref(&path)).unwrap();
        let credentials =
            credentials.first("DOCKER_AUTH_CONFIG", r#"{"auths": {"a": {"auth": "dTpl"}}}"#).unwrap();
        for (host, secret, origin) in [("a", "e", Path::new("DOCKER_AUTH_CONFIG")), ("b", "f", &path)] {
            let found = credentials.find(host, "r").unwrap();
            assert!(
                found == Some(Credential::Password { user: "u".into(), password: secret.into() }),
                "{host}"
            );
            assert_eq!(credentials.origin(host).unwrap(), Some(origin));
        }
        let error = credentials.first("DOCKER_AUTH_CONFIG", "s3cret").unwrap_err().to_string();
        assert!(error.contains("DOCKER_AUTH_CONFIG") && !error.contains("s3cret"), "{error}");
    }
}
