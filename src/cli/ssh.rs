//! `--ssh`: which agent a step may ask.

use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::str::FromStr;

use super::report::Failure;

/// One `--ssh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshArg {
    pub(crate) id: String,
    /// None for the agent of the environment.
    paths: Vec<PathBuf>,
}

impl FromStr for SshArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, paths) = text.split_once('=').unwrap_or((text, ""));
        if id.is_empty() {
            return Err("must be `default`, ID or ID=SOCKET".to_owned());
        }
        let paths = paths.split(',').filter(|path| !path.is_empty()).map(PathBuf::from).collect();
        Ok(Self { id: id.to_owned(), paths })
    }
}

impl SshArg {
    /// Finds the agent's socket.
    pub(crate) fn socket(&self) -> Result<PathBuf, Failure> {
        let id = &self.id;
        let path = match &self.paths[..] {
            [] => std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).map(PathBuf::from),
            [path] => Some(path.clone()),
            [..] => return Err(self.refuse_keys()),
        };
        let path = path.ok_or_else(|| {
            Failure::plain(format!(
                "--ssh {id}: SSH_AUTH_SOCK is not set; start an agent with `eval $(ssh-agent)` and `ssh-add`, \
                 or name its socket with `--ssh {id}=SOCKET`"
            ))
        })?;
        let found =
            fs_err::metadata(&path).map_err(|error| Failure::plain(format!("--ssh {id}: {error}")))?;
        if !found.file_type().is_socket() {
            return Err(self.refuse_keys());
        }
        fs_err::canonicalize(&path).map_err(Failure::from_error)
    }

    fn refuse_keys(&self) -> Failure {
        let paths: Vec<_> = self.paths.iter().map(|path| path.display().to_string()).collect();
        Failure::plain(format!(
            "--ssh {id}={}: keys as files are not supported; add them to an agent with `ssh-add {}` and give that \
             with `--ssh {id}`",
            paths.join(","),
            paths.join(" "),
            id = self.id,
        ))
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
    fn keys_are_refused_with_advice() {
        let key = tempfile::NamedTempFile::new().unwrap();
        let argument: SshArg = format!("default={}", key.path().display()).parse().unwrap();
        let text = format!("{:?}", argument.socket().unwrap_err());
        assert!(text.contains("ssh-add"), "{text}");
    }
}
