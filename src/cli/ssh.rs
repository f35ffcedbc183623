//! `--ssh`: which agent a step may ask.

use std::fmt::Display;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use kiln::remote::{Agent, KeyFile, MAX_KEY_SIZE};

use super::environment;
use super::report::Failure;

/// One `--ssh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshArg {
    pub(crate) id: String,
    /// A socket or keys; none for the agent of the environment.
    paths: Vec<PathBuf>,
}

impl FromStr for SshArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        if id.is_empty() {
            return Err("must be `default`, ID, ID=SOCKET or ID=KEY,...".to_owned());
        }
        let paths = paths.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
        Ok(Self { id: id.to_owned(), paths })
    }
}

/// The agent that repositories over ssh are asked with.
pub(crate) const DEFAULT: &str = "default";

impl SshArg {
    /// Means the agent of the environment.
    pub(crate) fn of_environment() -> Self {
        Self { id: DEFAULT.to_owned(), paths: Vec::new() }
    }

    /// Finds the agent by its socket, or makes one of keys in files.
    pub(crate) fn agent(&self) -> Result<Agent, Failure> {
        let paths = match &self.paths[..] {
            [] => vec![self.socket_of_environment()?],
            paths => paths.to_vec(),
        };
        let mut sockets = Vec::new();
        let mut keys = Vec::new();
        for path in paths {
            let found = fs_err::metadata(&path).map_err(|error| self.failure(error))?;
            if found.file_type().is_socket() {
                sockets.push(fs_err::canonicalize(&path).map_err(|error| self.failure(error))?);
            } else {
                keys.push(self.read(path)?);
            }
        }
        match (sockets.pop(), &keys[..]) {
            (Some(socket), []) if sockets.is_empty() => Ok(Agent::at(socket)),
            (Some(_), []) => Err(self.failure("there can be only one socket")),
            (Some(_), _) => Err(self.failure("name either a socket or keys, not both")),
            (None, keys) => {
                let directory = environment::runtime_directory();
                let agent = Agent::with_keys(keys, &directory, &environment::for_programs());
                agent.map_err(|error| self.failure(error))
            }
        }
    }

    fn socket_of_environment(&self) -> Result<PathBuf, Failure> {
        let id = &self.id;
        environment::variable("SSH_AUTH_SOCK").ok_or_else(|| {
            self.failure(format!(
                "SSH_AUTH_SOCK is not set; start an agent with `eval $(ssh-agent)` and `ssh-add`, name its socket with \
                 `--ssh {id}=SOCKET`, or a key with `--ssh {id}=FILE`"
            ))
        })
    }

    fn read(&self, path: PathBuf) -> Result<KeyFile, Failure> {
        let file = fs_err::File::open(&path).map_err(|error| self.failure(error))?;
        let mut bytes = Vec::new();
        // One byte more than allowed is enough to know that it is too much.
        file.take(MAX_KEY_SIZE as u64 + 1).read_to_end(&mut bytes).map_err(|error| self.failure(error))?;
        if bytes.len() > MAX_KEY_SIZE {
            return Err(self.failure(format!("{} is too large for a key", path.display())));
        }
        Ok(KeyFile { path, bytes })
    }

    fn failure(&self, reason: impl Display) -> Failure {
        Failure::plain(format!("--ssh {}: {reason}", self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_agents() {
        for (text, id, paths) in [
            ("default", "default", &[][..]),
            ("default=", "default", &[]),
            ("hub=/run/agent", "hub", &["/run/agent"]),
            ("hub=a,b", "hub", &["a", "b"]),
        ] {
            let paths = paths.iter().map(PathBuf::from).collect();
            assert_eq!(text.parse(), Ok(SshArg { id: id.into(), paths }), "{text}");
        }
        assert!("=x".parse::<SshArg>().is_err());
    }

    #[test]
    fn what_is_neither_socket_nor_key_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let key = file.path().display();
        for (text, reason) in
            [(format!("default={key}"), "holds no private key"), ("default=/none".to_owned(), "/none")]
        {
            let failure = format!("{:?}", text.parse::<SshArg>().unwrap().agent().unwrap_err());
            assert!(failure.contains(reason), "{failure}");
        }
        fs_err::write(file.path(), vec![b'x'; MAX_KEY_SIZE + 1]).unwrap();
        let failure =
            format!("{:?}", format!("default={key}").parse::<SshArg>().unwrap().agent().unwrap_err());
        assert!(failure.contains("too large"), "{failure}");
    }
}
