//! The checks themselves.

use std::collections::BTreeMap;

use crate::diagnostic::{Diagnostic, Span};

use super::super::command::Command;
use super::super::instruction::{CommandLine, Dockerfile, Instruction, KeyValue, Kind, Stage, Word};
use super::super::lexer::lex;

/// Runs every check over `file`.
pub(super) fn all(file: &Dockerfile) -> Vec<Diagnostic> {
    let mut run = Run { file, found: Vec::new() };
    run.casing();
    run.stage_names();
    run.descriptions();
    let mut inherited: BTreeMap<&str, Inherited> = BTreeMap::new();
    for stage in &file.stages {
        run.platform(stage);
        let base = inherited.get(stage.from.image.raw.as_str()).copied().unwrap_or_default();
        let state = run.stage(stage, base);
        if let Some(name) = &stage.from.name {
            inherited.insert(&name.value, state);
        }
    }
    run.found
}

/// What a stage takes over from the stage that it is built on.
#[derive(Debug, Clone, Copy, Default)]
struct Inherited {
    shell: bool,
    workdir: bool,
}

struct Run<'a> {
    file: &'a Dockerfile,
    found: Vec<Diagnostic>,
}

impl<'a> Run<'a> {
    fn report(
        &mut self,
        rule: &'static str,
        span: Span,
        message: String,
        help: impl Into<Option<&'static str>>,
    ) {
        let warning = Diagnostic::warning(rule, span, message);
        self.found.push(match help.into() {
            Some(help) => warning.with_help(help),
            None => warning,
        });
    }

    /// Returns an instruction's name as written, and where.
    fn name(&self, span: Span) -> (&'a str, Span) {
        let text = &self.file.source.text[span.range()];
        let name = text.split(char::is_whitespace).next().unwrap_or_default();
        (name, Span::new(span.start, span.start + name.len()))
    }

    fn casing(&mut self) {
        let instructions = self.file.stages.iter().flat_map(|stage| {
            std::iter::once(stage.span).chain(stage.instructions.iter().map(|instruction| instruction.span))
        });
        let names: Vec<(&str, Span)> = instructions.map(|span| self.name(span)).collect();
        let lower = names.iter().filter(|(name, _)| *name == name.to_lowercase()).count();
        let upper = names.iter().filter(|(name, _)| *name == name.to_uppercase()).count();
        for (name, span) in names {
            let (wanted, case) =
                if lower > upper { (name.to_lowercase(), "lower") } else { (name.to_uppercase(), "upper") };
            if name != wanted {
                let message = format!("`{name}` is not in {case} case as most instructions are");
                self.report("ConsistentInstructionCasing", span, message, None);
            }
        }
        for line in lex(&self.file.source).lines {
            let command = Command::split(line.text.fragment(), self.file.directives.escape_char());
            let from = command.name.as_str();
            let args = command.args.split_blanks();
            let [_, keyword, name] = args.as_slice() else { continue };
            if !from.eq_ignore_ascii_case("FROM") {
                continue;
            }
            if name.as_str() != name.as_str().to_lowercase() {
                let message = format!("stage name `{}` is not in lower case", name.as_str());
                self.report("StageNameCasing", name.span(), message, None);
            }
            let written = keyword.as_str();
            let differs = from == from.to_lowercase() && written != written.to_lowercase()
                || from == from.to_uppercase() && written != written.to_uppercase();
            if differs {
                let message = format!("the case of `{written}` is not that of `{from}`");
                self.report("FromAsCasing", keyword.span(), message, None);
            }
        }
    }

    fn stage_names(&mut self) {
        let mut seen: Vec<&str> = Vec::new();
        for name in self.file.stages.iter().filter_map(|stage| stage.from.name.as_ref()) {
            if matches!(name.value.as_str(), "context" | "scratch") {
                let message = format!("the stage name `{}` has a meaning of its own", name.value);
                self.report("ReservedStageName", name.span, message, "choose another name");
            }
            if seen.contains(&name.value.as_str()) {
                let message = format!("a stage above is called `{}` too", name.value);
                self.report("DuplicateStageName", name.span, message, "choose another name");
            }
            seen.push(&name.value);
        }
    }

    /// A comment above ARG, or above a FROM with a name, is its description and begins with the name.
    fn descriptions(&mut self) {
        let file = self.file;
        for line in lex(&file.source).lines {
            let Some(comment) = line.comments.last() else { continue };
            let stage = file.stages.iter().find(|stage| stage.span == line.span);
            let instructions =
                file.global_args.iter().chain(file.stages.iter().flat_map(|stage| &stage.instructions));
            let arg =
                instructions.filter(|instruction| instruction.span == line.span).find_map(|instruction| {
                    match &instruction.kind {
                        Kind::Arg(declarations) => Some(declarations),
                        _ => None,
                    }
                });
            let (what, names): (_, Vec<&str>) = match (stage, arg) {
                (Some(stage), _) => {
                    ("FROM", stage.from.name.iter().map(|name| name.value.as_str()).collect())
                }
                (None, Some(args)) => ("ARG", args.iter().map(|arg| arg.name.value.as_str()).collect()),
                (None, None) => continue,
            };
            let first = comment.split(' ').next().unwrap_or_default();
            if !names.is_empty() && !names.contains(&first) {
                let message =
                    format!("the comment above {what} does not begin with the name that it describes");
                let span = self.name(line.span).1;
                self.report("InvalidDefinitionDescription", span, message, "write `# NAME description`");
            }
        }
    }

    fn platform(&mut self, stage: &Stage) {
        let Some(platform) = &stage.from.platform else { return };
        if matches!(platform.raw.as_str(), "$TARGETPLATFORM" | "${TARGETPLATFORM}") {
            let message = format!("{} is the default platform", platform.raw);
            self.report("RedundantTargetPlatform", platform.span, message, "leave --platform out");
        } else if !platform.raw.contains('$') {
            let name = stage.from.name.as_ref().map_or("", |name| name.value.as_str());
            if platform_words(&platform.raw).iter().any(|word| name.contains(word)) {
                return;
            }
            let message = format!("--platform has the constant value `{}`", platform.raw);
            self.report("FromPlatformFlagConstDisallowed", platform.span, message, None);
        }
    }

    /// Checks the instructions of one stage, and returns what a stage on top of it takes over.
    fn stage(&mut self, stage: &'a Stage, mut state: Inherited) -> Inherited {
        let mut used: BTreeMap<&str, Span> = BTreeMap::new();
        for instruction in &stage.instructions {
            let name = self.name(instruction.span).1;
            match &instruction.kind {
                Kind::Cmd(command) => {
                    self.once("CMD", name, &mut used);
                    self.exec_form("CMD", command, name, state);
                }
                Kind::Entrypoint(command) => {
                    self.once("ENTRYPOINT", name, &mut used);
                    self.exec_form("ENTRYPOINT", command, name, state);
                }
                Kind::Healthcheck(_) => self.once("HEALTHCHECK", name, &mut used),
                Kind::Shell(_) => state.shell = true,
                Kind::Maintainer(_) => {
                    let help = "use LABEL org.opencontainers.image.authors=…";
                    self.report("MaintainerDeprecated", name, "MAINTAINER is deprecated".to_owned(), help);
                }
                Kind::Env(pairs) => {
                    self.legacy("ENV", pairs);
                    pairs.iter().for_each(|pair| self.secret("ENV", &pair.key.raw, pair.key.span));
                }
                Kind::Label(pairs) => self.legacy("LABEL", pairs),
                Kind::Arg(args) => {
                    args.iter().for_each(|arg| self.secret("ARG", &arg.name.value, arg.name.span))
                }
                Kind::Expose(ports) => ports.iter().for_each(|port| self.port(port)),
                Kind::Workdir(path) => {
                    if !state.workdir {
                        self.workdir(instruction, path);
                    }
                    state.workdir = true;
                }
                _ => {}
            }
        }
        state
    }

    /// Of several CMD, ENTRYPOINT or HEALTHCHECK only the last counts; those before it are reported.
    fn once(&mut self, name: &'static str, span: Span, used: &mut BTreeMap<&'static str, Span>) {
        if let Some(earlier) = used.insert(name, span) {
            let message = format!("this {name} has no effect: the stage has another one below");
            self.report("MultipleInstructionsDisallowed", earlier, message, None);
        }
    }

    fn exec_form(&mut self, name: &str, command: &CommandLine, span: Span, state: Inherited) {
        if matches!(command, CommandLine::Shell(_)) && !state.shell {
            let message = format!("{name} in shell form does not pass signals on");
            self.report("JSONArgsRecommended", span, message, "write the arguments as a JSON array");
        }
    }

    fn legacy(&mut self, name: &str, pairs: &[KeyValue]) {
        for pair in pairs.iter().filter(|pair| pair.legacy) {
            let message = format!("{name} in its old form without `=`");
            self.report(
                "LegacyKeyValueFormat",
                pair.key.span.to(pair.value.span),
                message,
                "write NAME=VALUE",
            );
        }
    }

    fn secret(&mut self, instruction: &str, key: &str, span: Span) {
        const TELLING: &[&str] = &[
            "apikey",
            "auth",
            "credential",
            "credentials",
            "key",
            "password",
            "pword",
            "passwd",
            "secret",
            "token",
        ];
        const HARMLESS: &[&str] = &["public", "file", "version"];
        let key = key.to_lowercase();
        let has = |words: &[&str]| key.split('_').any(|part| words.contains(&part));
        if has(TELLING) && !has(HARMLESS) {
            let message = format!("{instruction} seems to hold a secret; it can be read from the image");
            self.report("SecretsUsedInArgOrEnv", span, message, "use RUN --mount=type=secret");
        }
    }

    fn port(&mut self, port: &Word) {
        if port.raw.contains('$') {
            return;
        }
        if let Some((_, protocol)) = port.raw.split_once('/')
            && protocol != protocol.to_lowercase()
        {
            let message = format!("the protocol of `{}` is not in lower case", port.raw);
            self.report("ExposeProtoCasing", port.span, message, None);
        }
        if port.raw.trim_start_matches(':').contains(':') {
            let message =
                format!("`{}` names an address or a port of the host, which EXPOSE ignores", port.raw);
            self.report("ExposeInvalidFormat", port.span, message, "name the container's port only");
        }
    }

    fn workdir(&mut self, instruction: &Instruction, path: &Word) {
        let bare = path.raw.trim_start_matches(['"', '\'']);
        if bare.starts_with(['/', '$']) {
            return;
        }
        let message = format!("where `{}` lies depends on the base image", path.raw);
        let span = if path.raw.is_empty() { instruction.span } else { path.span };
        self.report("WorkdirRelativePath", span, message, "use an absolute path first");
    }
}

/// Returns the operating system and the architecture that a platform names or implies.
fn platform_words(platform: &str) -> Vec<String> {
    let platform = platform.to_lowercase();
    let mut parts = platform.split('/');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    let systems = ["linux", "windows", "darwin", "freebsd", "wasip1"];
    let (system, architecture) = match second {
        Some(architecture) => (first, architecture),
        None if systems.contains(&first) => (first, "amd64"),
        None => ("linux", first),
    };
    let architecture = match architecture {
        "aarch64" => "arm64",
        "x86_64" | "x86-64" => "amd64",
        "i386" => "386",
        "armhf" | "armel" => "arm",
        other => other,
    };
    [system, architecture].into_iter().filter(|word| !word.is_empty()).map(str::to_owned).collect()
}
