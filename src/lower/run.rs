//! RUN: what is executed, with which variables, and how it is shown.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::Diagnostic;
use crate::dockerfile::expand::{Mode, expand};
use crate::dockerfile::instruction::{CommandLine, Heredoc, Network, Run, Security};
use crate::graph::{self, Mount, MountKind, Op, SecretEnv};
use crate::path::RelPath;
use crate::secret::MASK;

use super::Foreign;
use super::fold::Fold;
use super::label;
use super::mount::Mounts;
use super::words;

/// Where a script from a here-document is seen by the command.
const SCRIPTS: &str = "dev/pipes";

/// The mode of such a script.
const SCRIPT_MODE: u32 = 0o755;

/// The variable by which ssh finds its agent.
const SSH_AUTH_SOCK: &str = "SSH_AUTH_SOCK";

/// What a RUN executes.
struct Command {
    /// The words that are executed and that the history shows.
    argv: Vec<String>,
    /// A script that is mounted for them.
    script: Option<Mount>,
    /// What the user is shown behind the instruction.
    suffix: String,
}

impl Fold<'_, '_> {
    pub(super) fn run(&mut self, run: &Run) -> Result<(), Diagnostic> {
        if !self.build.options.only_checked {
            self.refuse_foreign_platform()?;
        }
        let security = self.security(run)?;
        let command = self.command(run);
        let mut mounts =
            Mounts::starting_with(self.shared_memory().into_iter().chain(command.script).collect());
        for (index, mount) in run.mounts.iter().enumerate() {
            self.mount(&mut mounts, mount, self.now.sources.get(index).copied())?;
        }
        let network = match run.network.as_ref().map(|network| network.value) {
            None | Some(Network::Default) => self.build.options.network,
            Some(Network::None) => graph::Network::None,
            Some(Network::Host) => graph::Network::Host,
        };
        let created_by = self.run_history(&command.argv);
        let env = self.env_with_agent(mounts.ssh_auth_sock.take());
        let secret_env = std::mem::take(&mut mounts.secret_env);
        let suffix = command.suffix;
        let shown = self.shown(&suffix, &secret_env);
        let op = Op::Run(graph::Run {
            parent: self.state.root,
            argv: command.argv,
            env,
            proxy_env: self.build.proxy.beside(&self.state.scope),
            working_dir: RelPath::clean(&self.state.config.config.working_dir),
            user: self.state.config.config.user.clone(),
            mounts: mounts.in_order(),
            secret_env,
            network,
            security,
            extra_hosts: self.build.options.extra_hosts.clone(),
            ulimits: self.build.options.ulimits.clone(),
        });
        let step = self.add_step(op, &label::with_capital_instruction(&shown));
        self.state.record(created_by, Some(step));
        Ok(())
    }

    /// Returns the instruction as the user is shown it. A variable that holds a secret is shown as one, whatever ENV or ARG
    /// have said about its name (statement 167).
    fn shown(&self, suffix: &str, secret_env: &[SecretEnv]) -> String {
        let mut scope = Cow::Borrowed(&self.state.scope);
        for secret in secret_env {
            scope.to_mut().set(&secret.name, MASK);
        }
        words::expand_command_for_show(&(self.now.text.clone() + suffix), self.build.escape, &scope)
    }

    /// Returns the environment, with the place of an agent's socket unless the stage has set that itself.
    fn env_with_agent(&mut self, socket: Option<String>) -> Arc<[Arc<str>]> {
        let env = self.state.scope.share();
        match socket {
            Some(socket) if self.state.scope.get(SSH_AUTH_SOCK).is_none() => {
                let socket = Arc::from(format!("{SSH_AUTH_SOCK}={socket}"));
                env.iter().cloned().chain([socket]).collect()
            }
            Some(_) | None => env,
        }
    }

    /// `--shm-size` is a mount like any other.
    fn shared_memory(&self) -> Option<Mount> {
        let size_bytes = self.build.options.shm_size_bytes;
        let kind = MountKind::Tmpfs { size_bytes };
        size_bytes.map(|_| Mount { target: RelPath::clean("dev/shm"), kind })
    }

    /// Refuses rights that the user has not granted, and what no operation of the graph can say.
    fn security(&self, run: &Run) -> Result<graph::Security, Diagnostic> {
        if self.build.options.only_checked {
            return Ok(graph::Security::Sandbox);
        }
        if let Some(device) = run.devices.first() {
            return Err(Diagnostic::error(device.span, "RUN --device is not supported")
                .with_help("build without the device; it can be given to the container when it runs"));
        }
        match &run.security {
            Some(security) if security.value == Security::Insecure => {
                if self.build.options.allow_insecure {
                    return Ok(graph::Security::Insecure);
                }
                Err(Diagnostic::error(security.span, "RUN --security=insecure is not allowed").with_help(
                    "it gives the command all rights of the builder; if that is meant, build with `--allow security.insecure`",
                ))
            }
            Some(_) | None => Ok(graph::Security::Sandbox),
        }
    }

    /// A command can only be executed where its image is at home.
    fn refuse_foreign_platform(&self) -> Result<(), Diagnostic> {
        let build = &self.build.options.build_platform;
        let config = &self.state.config;
        let architecture = if config.architecture.is_empty() {
            &self.state.platform.architecture
        } else {
            &config.architecture
        };
        let os = if config.os.is_empty() { &self.state.platform.os } else { &config.os };
        if os == &build.os && architecture == &build.architecture {
            return Ok(());
        }
        let message = format!("cannot execute {os}/{architecture} on {build}");
        let foreign = self.build.options.foreign.get(architecture).filter(|_| os == &build.os);
        let (message, help) = match foreign {
            Some(Foreign::Executed) => return Ok(()),
            Some(Foreign::NeedsInterpreter(path)) => (
                format!("{message}: its emulator {path} would have to be in the root file system"),
                "register the emulator with the flag F (`fix binary`), as Debian's qemu-user-static does"
                    .to_owned(),
            ),
            None => (
                message,
                format!(
                    "put the RUN into a stage with `FROM --platform=$BUILDPLATFORM` and copy its result, or register an \
                     emulator of {architecture} with the kernel (Debian's qemu-user-static)"
                ),
            ),
        };
        Err(Diagnostic::error(self.now.span, message).with_help(help))
    }

    fn command(&self, run: &Run) -> Command {
        let (text, first) = match (&run.command, run.heredocs.as_slice()) {
            (CommandLine::Shell(text), [first, ..]) => (text, first),
            (command, _) => {
                let argv = self.command_line(command);
                return Command { argv, script: None, suffix: String::new() };
            }
        };
        if !is_lone_redirection(text) {
            let argv = self.in_shell(&with_bodies(text, &run.heredocs));
            return Command { argv, script: None, suffix: String::new() };
        }
        let suffix = format!(" ({})", label::summary(&first.body));
        if !first.body.starts_with("#!") || self.state.config.os == "windows" {
            return Command { argv: self.in_shell(&first.body), script: None, suffix };
        }
        let target = RelPath::clean(format!("{SCRIPTS}/{}", first.name));
        let argv = self.in_shell(&format!("/{SCRIPTS}/{}", first.name));
        let kind = MountKind::File { content: first.body.as_bytes().into(), mode: SCRIPT_MODE };
        Command { argv, script: Some(Mount { target, kind }), suffix }
    }

    /// `RUN |1 NAME=value /bin/sh -c command # buildkit`: the declared arguments with the value that the
    /// command saw (statements 222 and 223).
    fn run_history(&self, argv: &[String]) -> String {
        let mut line = String::from("RUN");
        let arguments = self.state.arguments.iter();
        if arguments.len() > 0 {
            line += &format!(" |{}", arguments.len());
        }
        for (name, value) in arguments {
            let value = self.state.scope.get(name).or(value).unwrap_or_default();
            line.extend([" ", name, "=", value]);
        }
        for word in argv {
            line.extend([" ", word]);
        }
        line + " # buildkit"
    }
}

/// Tells whether the command is nothing but `<<NAME`: then the body is the script.
fn is_lone_redirection(command: &str) -> bool {
    let Some(rest) =
        command.trim().trim_start_matches(|digit: char| digit.is_ascii_digit()).strip_prefix("<<")
    else {
        return false;
    };
    let rest = rest.strip_prefix('-').unwrap_or(rest);
    let name = expand(rest, '\\', &|name| Some(name.to_owned()), Mode::Word);
    !rest.contains('<') && name.is_ok_and(|name| name.words.len() == 1)
}

/// Puts the bodies back behind the command, for a shell that reads here-documents itself (statement 154).
fn with_bodies(command: &str, heredocs: &[Heredoc]) -> String {
    let mut script = command.to_owned();
    for heredoc in heredocs {
        script += &format!("\n{}{}", heredoc.body, heredoc.name);
    }
    script
}

/// The proxy variables given by `--build-arg`, which need no ARG (statement 68).
#[derive(Debug, Default)]
pub(super) struct ProxyVariables(Vec<(String, String)>);

impl ProxyVariables {
    /// Picks them out, whatever their case.
    pub(super) fn new(build_args: &BTreeMap<String, String>) -> Self {
        let mut variables = Vec::new();
        for kind in ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"] {
            // Of two spellings the one that sorts last wins, as in BuildKit.
            let given = build_args.iter().rfind(|(name, _)| name.eq_ignore_ascii_case(kind));
            if let Some((_, value)) = given.filter(|(_, value)| !value.is_empty()) {
                variables.push((kind.to_ascii_uppercase(), value.clone()));
                variables.push((kind.to_owned(), value.clone()));
            }
        }
        Self(variables)
    }

    /// Returns those that the stage has not set itself, as `NAME=value`.
    fn beside(&self, scope: &super::variables::Variables) -> Vec<String> {
        let own = self.0.iter().filter(|(name, _)| scope.get(name).is_none());
        own.map(|(name, value)| format!("{name}={value}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_152_only_a_lone_redirection_is_a_script() {
        for (command, expected) in [
            ("<<EOF", true),
            (" <<-'E O F' ", true),
            ("3<<EOF", true),
            ("<<EOF cat", false),
            ("cat <<EOF", false),
            ("<<A <<B", false),
            ("python3 <<EOF", false),
        ] {
            assert_eq!(is_lone_redirection(command), expected, "{command}");
        }
    }
}
