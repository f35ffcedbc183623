//! Running the git program: shut off from the machine's configuration, hooks and terminals.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Config, Error, NOT_FOUND, credentials};
use crate::address;

/// What git may speak: nothing that reads this machine's files or runs a program that an address names.
const PROTOCOLS: &str = "http:https:git:ssh";

/// Where git works.
pub(super) struct Repository<'a> {
    pub(super) config: &'a Config,
    /// The list of hosts that were met for the first time.
    pub(super) met: &'a Path,
    /// The repository's address.
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
        let said = self.config.secrets.redact(&said);
        let with_secret = credentials::of_repository(&self.config.secrets, self.remote).is_some();
        if with_secret && said.contains("returned error: 30") {
            return Err(Error::Moved);
        }
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
        command.env_clear().envs(environment(self.config, self.met, self.remote));
        command
    }
}

/// Returns the environment of the program: what was handed down, what shuts it off, and credentials, which no list of
/// processes shows here.
fn environment(config: &Config, met: &Path, remote: &str) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<_> = config.environment.clone();
    for (name, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("HOME", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ALLOW_PROTOCOL", PROTOCOLS),
        ("LC_ALL", "C"),
    ] {
        environment.push((name.into(), value.into()));
    }
    environment.push(("GIT_SSH_COMMAND".into(), ssh_command(config, met)));
    if let Some((key, value)) = credentials::of_repository(&config.secrets, remote) {
        environment.extend([
            ("GIT_CONFIG_COUNT".into(), "2".into()),
            ("GIT_CONFIG_KEY_0".into(), key.into()),
            ("GIT_CONFIG_VALUE_0".into(), OsString::from_vec(value)),
            // After a redirect git would send the header to the new host, too.
            ("GIT_CONFIG_KEY_1".into(), "http.followRedirects".into()),
            ("GIT_CONFIG_VALUE_1".into(), "false".into()),
        ]);
    }
    environment
}

/// Returns the command line of ssh, for a shell. A host that is met for the first time is believed and remembered in
/// `met`; one that has another key than the user knows is not.
fn ssh_command(config: &Config, met: &Path) -> OsString {
    let mut command = OsString::from("ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new");
    command.push(" -o UpdateHostKeys=no -o IdentityFile=none");
    let mut push = |option: &str, paths: &[&Path]| {
        let paths: Vec<String> = paths.iter().map(|path| format!("\"{}\"", in_option(path))).collect();
        command.push(format!(" -o '{option}={}'", paths.join(" ").replace('\'', "'\\''")));
    };
    // New hosts are written into the first.
    let lists: Vec<&Path> = [Some(met), config.known_hosts.as_deref()].into_iter().flatten().collect();
    push("UserKnownHostsFile", &lists);
    match &config.ssh_agent {
        Some(agent) => push("IdentityAgent", &[agent.socket()]),
        None => push("IdentityAgent", &[Path::new("none")]),
    }
    command
}

/// Writes a path for an option of ssh, where `%` begins a name of something.
fn in_option(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Agent;
    use crate::secret::{Secret, Secrets};
    use crate::store::Store;

    #[test]
    fn the_program_is_shut_off() {
        let directory = tempfile::tempdir().unwrap();
        for agent in [None, Some(Agent::at("/it's %h".into()))] {
            let with_agent = agent.is_some();
            let mut secrets = Secrets::default();
            secrets.insert("GIT_AUTH_HEADER", Secret::new(*b"hunter2"));
            let config = Config {
                store: Store::open(directory.path()).unwrap(),
                environment: vec![("PATH".into(), "/bin".into())],
                ssh_agent: agent,
                known_hosts: Some("/home/me/.ssh/known_hosts".into()),
                secrets,
            };
            let repository = Repository {
                config: &config,
                met: Path::new("/met"),
                remote: "https://h/r.git",
                git_dir: Some(Path::new("/g")),
                work_tree: Path::new("/w"),
            };
            let command = repository.command(&["fetch", "--", "https://h/r.git"]);
            let arguments: Vec<_> = command.get_args().skip(2).map(|part| part.to_str().unwrap()).collect();
            assert_eq!(
                arguments.join(" "),
                "git -c core.hooksPath=/dev/null -c init.defaultBranch=master --work-tree /w --git-dir /g \
                 fetch -- https://h/r.git"
            );
            let value = |name: &str| {
                let found = command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value);
                found.map(|value| value.to_str().unwrap().to_owned())
            };
            assert_eq!(value("GIT_CONFIG_NOSYSTEM").as_deref(), Some("1"));
            assert_eq!(value("GIT_TERMINAL_PROMPT").as_deref(), Some("0"));
            assert_eq!(value("GIT_ALLOW_PROTOCOL").as_deref(), Some("http:https:git:ssh"));
            assert_eq!(value("GIT_CONFIG_KEY_0").as_deref(), Some("http.https://h/r.git.extraheader"));
            assert_eq!(value("GIT_CONFIG_VALUE_0").as_deref(), Some("Authorization: hunter2"));
            assert_eq!(value("GIT_CONFIG_VALUE_1").as_deref(), Some("false"));
            let identities =
                if with_agent { r#"'IdentityAgent="/it'\''s %%h"'"# } else { r#"'IdentityAgent="none"'"# };
            assert_eq!(
                value("GIT_SSH_COMMAND").unwrap(),
                format!(
                    "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UpdateHostKeys=no \
                     -o IdentityFile=none -o 'UserKnownHostsFile=\"/met\" \"/home/me/.ssh/known_hosts\"' -o {identities}"
                )
            );
        }
    }
}
