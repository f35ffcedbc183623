//! `certs.d`: which authorities a host is trusted by, and which certificate this client shows it.
//!
//! The layout is docker's and containers' (containers-certs.d(5)): below each directory a folder per host, with its
//! port if it has one; `*.crt` are authorities, `NAME.cert` with `NAME.key` is the client's certificate. The system's
//! own authorities are trusted besides.

use std::path::{Path, PathBuf};

use super::error::Error;

/// The directories in which a folder per host is looked for, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    directories: Vec<PathBuf>,
}

/// What is special about the TLS of one host, as PEM.
#[derive(Clone, Default)]
pub(super) struct Trust {
    /// Bundles of authorities.
    pub(super) authorities: Vec<Vec<u8>>,
    /// The client's certificate followed by its key.
    pub(super) identity: Option<Vec<u8>>,
}

impl Certificates {
    /// Returns the directories of the system and of a user: the user's come first.
    pub fn directories(home: Option<&Path>) -> Self {
        let own = home
            .into_iter()
            .flat_map(|home| [home.join(".config/containers/certs.d"), home.join(".config/docker/certs.d")]);
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        Self { directories: own.chain(system).collect() }
    }

    /// Looks into these directories alone.
    pub fn new(directories: Vec<PathBuf>) -> Self {
        Self { directories }
    }

    /// Returns the folders that hold something for `host`.
    fn folders(&self, host: &str) -> Vec<PathBuf> {
        let folders = self.directories.iter().map(|directory| directory.join(host));
        folders.filter(|folder| folder.is_dir()).collect()
    }

    /// Returns the folders of all hosts, in the order in which they are looked into.
    pub fn all_folders(&self) -> Vec<PathBuf> {
        let mut folders = Vec::new();
        for directory in &self.directories {
            let Ok(entries) = fs_err::read_dir(directory) else { continue };
            let mut own: Vec<_> =
                entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
            own.sort();
            folders.append(&mut own);
        }
        folders
    }

    /// Reads what is there for `host`, from the first folder that has it.
    pub(super) fn of(&self, host: &str) -> Result<Trust, Error> {
        let mut trust = Trust::default();
        let Some(folder) = self.folders(host).into_iter().next() else { return Ok(trust) };
        let mut files: Vec<PathBuf> = fs_err::read_dir(&folder)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .map_err(|error| unreadable(&folder, &error))?;
        files.sort();
        for file in files {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => trust.authorities.push(read(&file)?),
                Some("cert") if trust.identity.is_none() => {
                    let mut identity = read(&file)?;
                    identity.push(b'\n');
                    identity.extend(read(&file.with_extension("key"))?);
                    trust.identity = Some(identity);
                }
                _ => {}
            }
        }
        Ok(trust)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs_err::read(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::Config { path: path.to_owned(), line: None, reason: error.kind().to_string() }
}
