//! Agents: who answers for ssh keys.
//!
//! An agent is the user's own, named by its socket, or one that is made for a build, of keys in files. The latter is
//! OpenSSH's: it reads every form of key, and whoever speaks ssh has it installed. Rules: a key passes through
//! memory and a pipe and is never written anywhere; an encrypted key is refused, because nobody is asked for its
//! passphrase; an agent that was made ends with its last user, and also if this process ends in any way: a shell
//! waits for the end of a pipe that only this process holds, then ends the agent and removes its directory.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;

use super::{Environment, NOT_FOUND};

/// The longest file that is read as a key: BuildKit's limit.
pub const MAX_KEY_SIZE: usize = 100 * 1024;

/// Starts the agent in the directory `$1`, and ends it when standard input does. The agent's first line says that it
/// listens; its standard output must be no other process's, so that its end is seen.
const SCRIPT: &str = r#"
command -v ssh-agent >/dev/null && command -v ssh-add >/dev/null || exit 127
ssh-agent -D -s -a "$1/agent" &
agent=$!
exec >/dev/null
read -r _
kill "$agent"
wait
rm -f "$1/agent"
rmdir "$1"
"#;

/// Why there is no agent for keys in files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// A program of OpenSSH is missing.
    #[error(
        "keys in files are served by `ssh-agent` and `ssh-add`, which are not installed: install Debian's \
         openssh-client, or name the socket of an agent that runs elsewhere"
    )]
    NoProgram,
    /// The agent did not start.
    #[error("ssh-agent did not start: {0}")]
    Start(String),
    /// A key needs a passphrase.
    #[error(
        "the key {} is encrypted, and nobody is asked for its passphrase: add it to an agent with `ssh-add {}`, and \
         give the agent",
        .0.display(),
        .0.display()
    )]
    Encrypted(PathBuf),
    /// A file holds no private key.
    #[error("{} holds no private key", .0.display())]
    NoKey(PathBuf),
    /// OpenSSH does not take a key.
    #[error("ssh-add does not take the key {}: {said}", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What it said.
        said: String,
    },
    /// A program or a file of this machine fails.
    #[error(transparent)]
    File(#[from] std::io::Error),
}

/// A key as it was read from a file.
pub struct KeyFile {
    /// The file, for messages.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// An agent that can be asked.
#[derive(Debug, Clone)]
pub struct Agent {
    socket: PathBuf,
    _made: Option<Arc<Made>>,
}

impl Agent {
    /// Names an agent that runs, by its socket.
    pub const fn at(socket: PathBuf) -> Self {
        Self { socket, _made: None }
    }

    /// Makes an agent for `keys`, with its socket in a new directory below `directory`, whose path has to be short.
    ///
    /// # Errors
    /// If a key is encrypted or none, or OpenSSH is missing.
    pub fn with_keys(
        keys: &[KeyFile],
        directory: &Path,
        environment: &Environment,
    ) -> Result<Self, AgentError> {
        for key in keys {
            match form(&key.bytes) {
                Form::Plain => {}
                Form::Encrypted => return Err(AgentError::Encrypted(key.path.clone())),
                Form::Other => return Err(AgentError::NoKey(key.path.clone())),
            }
        }
        let made = Made::start(directory, environment)?;
        let socket = made.directory.join("agent");
        for key in keys {
            add(key, &socket, environment)?;
        }
        Ok(Self { socket, _made: Some(Arc::new(made)) })
    }

    /// Returns the socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

/// A running agent; it ends with the value.
#[derive(Debug)]
struct Made {
    directory: PathBuf,
    shell: Child,
    /// Closed to end the agent.
    alive: Option<ChildStdin>,
}

impl Made {
    fn start(directory: &Path, environment: &Environment) -> Result<Self, AgentError> {
        // The shell removes it: it outlives this process.
        let directory = tempfile::Builder::new().prefix("kiln-ssh-").tempdir_in(directory)?.keep();
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "ssh-agent"]).arg(&directory);
        command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C is this process's to hear.
        let mut shell = command.process_group(0).spawn()?;
        let alive = shell.stdin.take();
        let said = shell.stdout.take().expect("standard output is piped");
        let mut made = Self { directory, shell, alive };
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        if !line.is_empty() {
            return Ok(made);
        }
        made.alive = None;
        let status = made.shell.wait()?;
        let mut complaint = String::new();
        made.shell.stderr.take().expect("standard error is piped").read_to_string(&mut complaint)?;
        Err(match status.code() {
            Some(NOT_FOUND) => AgentError::NoProgram,
            _ => AgentError::Start(complaint.trim().to_owned()),
        })
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        self.alive = None;
        // It does nothing but end the agent; there is nobody to tell if that fails.
        let _ = self.shell.wait();
        let _ = fs_err::remove_dir(&self.directory);
    }
}

/// Hands a key over; from a pipe ssh-add takes it whatever the file's mode is, as BuildKit does.
fn add(key: &KeyFile, socket: &Path, environment: &Environment) -> Result<(), AgentError> {
    let mut command = Command::new("ssh-add");
    command.args(["-q", "-"]).env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
    command.env("SSH_AUTH_SOCK", socket).env("LC_ALL", "C");
    // Should it want a passphrase after all, it gets none.
    command.env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "force");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().expect("standard input is piped");
    let written = stdin.write_all(&key.bytes);
    drop(stdin);
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(written?);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(AgentError::Refused { path: key.path.clone(), said })
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Encrypted,
    Other,
}

/// Tells what a file is: PEM in its forms, or OpenSSH's own, which names its cipher first (PROTOCOL.key).
fn form(bytes: &[u8]) -> Form {
    const MAGIC: &[u8] = b"openssh-key-v1\0";
    let text = String::from_utf8_lossy(bytes);
    if !text.contains("PRIVATE KEY-----") {
        return Form::Other;
    }
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Form::Encrypted;
    }
    let own = text
        .split_once("-----BEGIN OPENSSH PRIVATE KEY-----")
        .and_then(|(_, rest)| rest.split_once("-----END OPENSSH PRIVATE KEY-----"));
    let Some((body, _)) = own else { return Form::Plain };
    let body: String = body.split_whitespace().collect();
    let Ok(decoded) = base64::engine::general_purpose::STANDARD.decode(body) else { return Form::Other };
    let Some((length, rest)) = decoded.strip_prefix(MAGIC).and_then(<[u8]>::split_first_chunk) else {
        return Form::Other;
    };
    match rest.get(..u32::from_be_bytes(*length) as usize) {
        Some(b"none") => Form::Plain,
        Some(_) => Form::Encrypted,
        None => Form::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(cipher: &str) -> String {
        let mut bytes = b"openssh-key-v1\0".to_vec();
        bytes.extend(u32::try_from(cipher.len()).unwrap().to_be_bytes());
        bytes.extend(cipher.as_bytes());
        let body = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n")
    }

    #[test]
    fn encrypted_keys_are_known_before_anything_is_started() {
        for (text, expected) in [
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n", Form::Plain),
            ("-----BEGIN PRIVATE KEY-----\nMIIE\n", Form::Plain),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIE\n", Form::Encrypted),
            ("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n", Form::Encrypted),
            (&own("none"), Form::Plain),
            (&own("aes256-ctr"), Form::Encrypted),
            ("ssh-ed25519 AAAA me@here\n", Form::Other),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\n!\n-----END OPENSSH PRIVATE KEY-----\n", Form::Other),
            ("", Form::Other),
        ] {
            assert_eq!(form(text.as_bytes()), expected, "{text}");
        }
    }
}
