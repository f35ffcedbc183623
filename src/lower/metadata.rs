//! The instructions that change only the config: ENV, ARG, LABEL, CMD and the like; and WORKDIR.

use crate::diagnostic::Diagnostic;
use crate::dockerfile::instruction::{ArgDeclaration, CommandLine, Healthcheck, KeyValue, Trigger, Word};
use crate::graph::{Mkdir, Op};
use crate::oci;
use crate::path::RelPath;

use super::fold::{Fold, SWITCHES};
use super::{checks, history, label, place, signal, words};

impl Fold<'_, '_> {
    /// All values see the variables before the instruction (statement 36).
    pub(super) fn env(&mut self, pairs: &[KeyValue]) -> Result<(), Diagnostic> {
        let expanded = self.pairs("ENV", pairs)?;
        let mut line = String::from("ENV");
        for ((name, value), pair) in expanded.iter().zip(pairs) {
            self.report_some(checks::secret_in_variable(pair.key.span, "ENV", name));
            line += &format!(" {name}={value}");
            self.state.scope.set(name, value);
            self.state.env.set(name, value);
        }
        self.state.record(line, None);
        Ok(())
    }

    pub(super) fn label(&mut self, pairs: &[KeyValue]) -> Result<(), Diagnostic> {
        let mut line = String::from("LABEL");
        for (name, value) in self.pairs("LABEL", pairs)? {
            line += &format!(" {name}={value}");
            self.state.config.config.labels.insert(name, value);
        }
        self.state.record(line, None);
        Ok(())
    }

    fn pairs(&mut self, instruction: &str, pairs: &[KeyValue]) -> Result<Vec<(String, String)>, Diagnostic> {
        let mut expanded = Vec::with_capacity(pairs.len());
        for pair in pairs {
            expanded.push((self.word(&pair.key)?, self.word(&pair.value)?));
            if pair.legacy {
                let instruction = self.now.text.split(' ').next().unwrap_or(instruction).to_owned();
                self.report(checks::legacy_key_value(pair.key.span.to(pair.value.span), &instruction));
            }
        }
        Ok(expanded)
    }

    /// `--build-arg` wins over the default, the default over the global value (statements 56 and 57).
    pub(super) fn arg(&mut self, arguments: &[ArgDeclaration]) -> Result<(), Diagnostic> {
        let mut line = String::from("ARG");
        for argument in arguments {
            let name = &argument.name.value;
            self.report_some(checks::secret_in_variable(argument.name.span, "ARG", name));
            let value = match (self.build.options.build_args.get(name), &argument.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.word(default)?),
                (None, None) => self.build.globals.get(name).map(str::to_owned),
            };
            line += &format!(" {name}");
            if let Some(value) = &value {
                line += &format!("={value}");
                if !SWITCHES.contains(&name.as_str()) {
                    self.state.scope.set(name, value);
                }
            }
            self.state.arguments.set(name, value);
        }
        self.state.record(line, None);
        Ok(())
    }

    pub(super) fn cmd(&mut self, command: &CommandLine) -> Result<(), Diagnostic> {
        let before = self.once.cmd.replace(self.now.span);
        self.warn_of_replaced(before);
        let words = self.default_command("CMD", command);
        self.state.record(format!("CMD {}", history::quoted_list(&words)), None);
        self.state.config.config.cmd = Some(words);
        self.state.config.config.args_escaped = true;
        Ok(())
    }

    /// A CMD that this stage has not set itself goes away (statements 30 and 31).
    pub(super) fn entrypoint(&mut self, command: &CommandLine) -> Result<(), Diagnostic> {
        let before = self.once.entrypoint.replace(self.now.span);
        self.warn_of_replaced(before);
        let words = self.default_command("ENTRYPOINT", command);
        self.state.record(format!("ENTRYPOINT {}", history::quoted_list(&words)), None);
        self.state.config.config.entrypoint = Some(words).filter(|words| !words.is_empty());
        if self.once.cmd.is_none() {
            self.state.config.config.cmd = None;
        }
        Ok(())
    }

    fn default_command(&mut self, instruction: &str, command: &CommandLine) -> Vec<String> {
        if let CommandLine::Shell(_) = command
            && self.state.config.config.shell.as_ref().is_none_or(Vec::is_empty)
        {
            let written = self.now.text.split(' ').next().unwrap_or(instruction).to_owned();
            self.report(checks::json_args_recommended(self.now.span, &written));
        }
        self.command_line(command)
    }

    /// Returns the words that are executed: shell form is one string behind SHELL (statement 27).
    pub(super) fn command_line(&self, command: &CommandLine) -> Vec<String> {
        match command {
            CommandLine::Exec(words) => words.clone(),
            CommandLine::Shell(text) => self.in_shell(text),
        }
    }

    /// Returns `text` behind SHELL.
    pub(super) fn in_shell(&self, text: &str) -> Vec<String> {
        let own = self.state.config.config.shell.as_ref().filter(|shell| !shell.is_empty());
        let mut words = match own {
            Some(shell) => shell.clone(),
            None if self.state.config.os == "windows" => vec!["cmd".into(), "/S".into(), "/C".into()],
            None => vec!["/bin/sh".into(), "-c".into()],
        };
        words.push(text.to_owned());
        words
    }

    fn warn_of_replaced(&mut self, before: Option<crate::diagnostic::Span>) {
        if let Some(span) = before {
            let instruction = self.now.text.split(' ').next().unwrap_or_default().to_owned();
            self.report(checks::multiple_instructions(span, &instruction));
        }
    }

    /// The shell form does not use SHELL (statement 188).
    pub(super) fn healthcheck(&mut self, check: &Healthcheck) -> Result<(), Diagnostic> {
        let before = self.once.healthcheck.replace(self.now.span);
        self.warn_of_replaced(before);
        let check = match check {
            Healthcheck::None => {
                oci::Healthcheck { test: vec!["NONE".into()], ..oci::Healthcheck::default() }
            }
            Healthcheck::Check { command, interval, timeout, start_period, start_interval, retries } => {
                let test = match command {
                    CommandLine::Shell(text) => vec!["CMD-SHELL".into(), text.clone()],
                    CommandLine::Exec(words) => [vec!["CMD".into()], words.clone()].concat(),
                };
                oci::Healthcheck {
                    test,
                    interval: *interval,
                    timeout: *timeout,
                    start_period: *start_period,
                    start_interval: *start_interval,
                    retries: *retries,
                }
            }
        };
        self.state.record(format!("HEALTHCHECK {}", history::healthcheck(&check)), None);
        self.state.config.config.healthcheck = Some(check);
        Ok(())
    }

    /// Its text is never expanded.
    pub(super) fn maintainer(&mut self, name: &Word) -> Result<(), Diagnostic> {
        self.state.config.author.clone_from(&name.raw);
        self.state.record(format!("MAINTAINER {}", name.raw), None);
        Ok(())
    }

    /// Kept for the images built on this one; it makes no history (statement 198).
    pub(super) fn onbuild(&mut self, trigger: &Trigger) -> Result<(), Diagnostic> {
        self.state.config.config.on_build.push(trigger.text.clone());
        Ok(())
    }

    pub(super) fn shell(&mut self, shell: &[String]) -> Result<(), Diagnostic> {
        self.state.record(format!("SHELL {}", history::list(shell)), None);
        self.state.config.config.shell = Some(shell.to_vec());
        Ok(())
    }

    pub(super) fn stopsignal(&mut self, word: &Word) -> Result<(), Diagnostic> {
        let name = self.word(word)?;
        signal::check(&name, word.span)?;
        self.state.record(format!("STOPSIGNAL {name}"), None);
        self.state.config.config.stop_signal = name;
        Ok(())
    }

    pub(super) fn user(&mut self, word: &Word) -> Result<(), Diagnostic> {
        let user = self.word(word)?;
        self.state.record(format!("USER {user}"), None);
        self.state.config.config.user = user;
        Ok(())
    }

    /// Only metadata: no directory is made (statement 183).
    pub(super) fn volume(&mut self, paths: &[Word]) -> Result<(), Diagnostic> {
        let mut expanded = Vec::with_capacity(paths.len());
        for word in paths {
            let path = self.word(word)?;
            if path.is_empty() {
                return Err(Diagnostic::error(word.span, "VOLUME specified can not be an empty string")
                    .with_help("name a path, or give the variable in it a value"));
            }
            expanded.push(path);
        }
        self.state.record(format!("VOLUME {}", history::list(&expanded)), None);
        let volumes = expanded.into_iter().map(|path| (path, oci::Empty {}));
        self.state.config.config.volumes.extend(volumes);
        Ok(())
    }

    /// A step even if the directory is there, except for `/` (statements 174 to 176).
    pub(super) fn workdir(&mut self, word: &Word) -> Result<(), Diagnostic> {
        let path = self.word(word)?;
        if !self.state.workdir_set && !path.starts_with('/') {
            self.report(checks::workdir_relative_path(word.span, &path));
        }
        self.state.workdir_set = true;
        let workdir = place::workdir(&self.state.config.config.working_dir, &path);
        let mut step = None;
        if workdir != "/" {
            let user = self.state.config.config.user.clone();
            let op = Op::Mkdir(Mkdir { parent: self.state.root, path: RelPath::clean(&workdir), user });
            let shown =
                words::expand_for_show(&self.now.text, self.build.escape, &self.state.scope).into_owned();
            step = Some(self.add_step(op, &label::with_capital_instruction(&shown)));
        }
        self.state.record(format!("WORKDIR {workdir}"), step);
        self.state.config.config.working_dir = workdir;
        Ok(())
    }
}
