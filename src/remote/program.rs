//! Running the git program: shut off from the machine's configuration, hooks and terminals.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Config, Error};
use crate::address;

/// What git may speak: nothing that reads this machine's files or runs a program that an address names.
const PROTOCOLS: &str = "http:https:git:ssh";

/// What a shell returns for a program that is not there.
const NOT_FOUND: i32 = 127;

/// Where git works.
pub(super) struct Repository<'a> {
    pub(super) config: &'a Config,
    /// The repository's address, for messages.
    pub(super) remote: &'a str,
    /// The directory with objects and references; none for questions to a server.
    pub(super) git_dir: Option<&'a Path>,
    /// The directory with the files.
    pub(super) work_tree: &'a Path,
}

impl Repository<'_> {
    /// Runs git and returns what it printed.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String, Error> {
        let shown = address::redacted(self.remote);
        let output = self.command(arguments).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        if output.status.code() == Some(NOT_FOUND) {
            return Err(Error::NoGit(shown));
        }
        // Git repeats the address that it was given, with the password in it.
        let said = String::from_utf8_lossy(&output.stderr).replace(self.remote, &shown);
        Err(Error::Git {
            command: arguments.first().copied().unwrap_or_default().to_owned(),
            remote: shown,
            output: said.trim().to_owned(),
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // The shell sets the mask under which BuildKit's files get 0644 and 0755, whatever the user's is.
        let mut command = Command::new("sh");
        command.args(["-c", "umask 022; exec git \"$@\"", "git"]);
        command.args(["-c", "core.hooksPath=/dev/null", "-c", "init.defaultBranch=master"]);
        if let Some(git_dir) = self.git_dir {
            command.arg("--work-tree").arg(self.work_tree).arg("--git-dir").arg(git_dir);
        }
        command.args(arguments).current_dir(self.work_tree).stdin(Stdio::null());
        command.env_clear().envs(environment(self.config));
        command
    }
}

/// Returns the environment of the program: what was handed down, and what shuts it off.
fn environment(config: &Config) -> Vec<(OsString, OsString)> {
    let agent = |name: &OsStr| name == "SSH_AUTH_SOCK";
    let mut environment: Vec<_> = config.environment.clone();
    environment.retain(|(name, _)| config.ssh_identities || !agent(name));
    // A host that is met for the first time is trusted, one that has another key than before is not.
    let mut ssh = "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new".to_owned();
    if !config.ssh_identities {
        ssh += " -o IdentityFile=none -o IdentitiesOnly=yes";
    }
    for (name, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("HOME", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ALLOW_PROTOCOL", PROTOCOLS),
        ("GIT_SSH_COMMAND", &ssh),
        ("LC_ALL", "C"),
    ] {
        environment.push((name.into(), value.into()));
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn the_program_is_shut_off() {
        let directory = tempfile::tempdir().unwrap();
        for ssh_identities in [false, true] {
            let config = Config {
                store: Store::open(directory.path()).unwrap(),
                environment: vec![("PATH".into(), "/bin".into()), ("SSH_AUTH_SOCK".into(), "/agent".into())],
                ssh_identities,
            };
            let repository = Repository {
                config: &config,
                remote: "git@h:r",
                git_dir: Some(Path::new("/g")),
                work_tree: Path::new("/w"),
            };
            let command = repository.command(&["fetch", "--", "git@h:r"]);
            let arguments: Vec<_> = command.get_args().skip(2).map(|part| part.to_str().unwrap()).collect();
            assert_eq!(
                arguments.join(" "),
                "git -c core.hooksPath=/dev/null -c init.defaultBranch=master --work-tree /w --git-dir /g \
                 fetch -- git@h:r"
            );
            let value = |name: &str| {
                let found = command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value);
                found.map(|value| value.to_str().unwrap().to_owned())
            };
            assert_eq!(value("GIT_CONFIG_NOSYSTEM").as_deref(), Some("1"));
            assert_eq!(value("GIT_TERMINAL_PROMPT").as_deref(), Some("0"));
            assert_eq!(value("GIT_ALLOW_PROTOCOL").as_deref(), Some("http:https:git:ssh"));
            assert_eq!(value("SSH_AUTH_SOCK").is_some(), ssh_identities);
            let ssh = value("GIT_SSH_COMMAND").unwrap();
            assert!(ssh.contains("BatchMode=yes"), "{ssh}");
            assert_eq!(ssh.contains("IdentityFile=none"), !ssh_identities, "{ssh}");
        }
    }
}
