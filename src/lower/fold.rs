//! Folding: one stage after the other, one instruction after the other, into steps, config and history.

use std::collections::HashMap;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Span};
use crate::dockerfile::instruction::{Dockerfile, Instruction, Kind, Word};
use crate::graph::{Copy, Graph, HistoryEntry, Input, Op, Output, Source, Step, StepId};
use crate::image::Image;
use crate::oci::{ImageConfig, Platform, RootFs};

use super::globals::Globals;
use super::label::Label;
use super::run::ProxyVariables;
use super::stages::{Entry, Foundation, Item, Origin, Stages};
use super::variables::Variables;
use super::{BaseKey, BaseName, Bases, Options, checks, place, words};

/// The search path that a config without one gets (statement 66).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Arguments that reach neither the environment nor the check of undefined variables: BuildKit's switches.
pub(super) const SWITCHES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What lowering knows when it begins to fold.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'b> {
    pub file: &'b Dockerfile,
    pub options: &'b Options,
    pub globals: &'b Globals,
    pub stages: &'b Stages<'b>,
    /// Every image that a reachable entry stands on.
    pub bases: &'b Bases,
}

/// Lowers the reachable entries in their order; `target` is one of them.
pub(super) fn fold(
    inputs: Inputs<'_>,
    reachable: &[bool],
    target: usize,
    findings: &mut Vec<Diagnostic>,
) -> Graph {
    let Inputs { file, options, globals, stages, bases } = inputs;
    let mut build = Build {
        options,
        globals,
        stages,
        bases,
        findings,
        graph: Graph::default(),
        escape: file.directives.escape_char(),
        proxy: ProxyVariables::new(&options.build_args),
        images: HashMap::new(),
        directories: HashMap::new(),
        results: vec![None; stages.entries.len()],
    };
    for index in (0..stages.entries.len()).filter(|index| reachable[*index]) {
        let entry = &stages.entries[index];
        if entry.stage.is_some() {
            build.results[index] = Some(build.fold_stage(index));
        } else if index == target {
            // A target that a named context replaces is that image, unchanged.
            build.results[index] = Some(build.foundation(entry, &mut Label::new(String::new(), 0)));
        }
    }
    let state = build.results[target].take().expect("the target is reachable");
    build.graph.outputs.push(output(state, options));
    build.graph
}

/// What all stages share.
pub(super) struct Build<'b> {
    pub options: &'b Options,
    pub globals: &'b Globals,
    stages: &'b Stages<'b>,
    bases: &'b Bases,
    pub findings: &'b mut Vec<Diagnostic>,
    pub graph: Graph,
    pub escape: char,
    pub proxy: ProxyVariables,
    /// The steps of images: one image is one step, however often it is named.
    images: HashMap<BaseKey, Option<StepId>>,
    /// The steps of contexts that stages stand on.
    directories: HashMap<String, StepId>,
    results: Vec<Option<State>>,
}

/// A stage as far as it is folded; what a later stage inherits.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// The last step; `None` for an empty root file system.
    pub root: Option<StepId>,
    /// The config; its environment is in `env`.
    pub config: ImageConfig,
    /// ENV: the config's environment.
    pub env: Variables,
    /// ENV and ARG: what is expanded, and what RUN sees.
    pub scope: Variables,
    /// ARG in the order declared, with the value it had then.
    pub arguments: Arguments,
    /// What the file adds to the history.
    pub history: Vec<HistoryEntry>,
    /// What the steps are done for.
    pub platform: Platform,
    /// Whether a WORKDIR of the file was seen.
    pub workdir_set: bool,
}

/// Declared arguments: each name once, where it first appeared.
#[derive(Debug, Clone, Default)]
pub(super) struct Arguments(Vec<(String, Option<String>)>, HashMap<String, usize>);

impl Arguments {
    /// Declares `name`.
    pub(super) fn set(&mut self, name: &str, value: Option<String>) {
        if let Some(place) = self.1.get(name) {
            self.0[*place].1 = value;
        } else {
            self.1.insert(name.to_owned(), self.0.len());
            self.0.push((name.to_owned(), value));
        }
    }

    /// Tells whether `name` is declared.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.1.contains_key(name)
    }

    /// Returns names and values in order.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_deref()))
    }
}

/// One stage under way.
pub(super) struct Fold<'f, 'b> {
    pub build: &'f mut Build<'b>,
    pub state: State,
    pub label: Label,
    /// The instruction that is folded now.
    pub now: Now,
    index: usize,
    ignore_cache: bool,
    /// Where CMD, ENTRYPOINT and HEALTHCHECK of this stage stand.
    pub once: Once,
}

/// The instruction that is folded.
#[derive(Debug, Clone)]
pub(super) struct Now {
    /// The instruction.
    pub span: Span,
    /// Its text, as the user is shown it.
    pub text: String,
    /// Who wrote it.
    pub origin: Origin,
    /// What it reads from.
    pub sources: Vec<usize>,
}

/// Instructions of which the last one of a stage wins.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Once {
    pub cmd: Option<Span>,
    pub entrypoint: Option<Span>,
    pub healthcheck: Option<Span>,
}

impl<'b> Build<'b> {
    fn fold_stage(&mut self, index: usize) -> State {
        let stages = self.stages;
        let entry = &stages.entries[index];
        let name = if stages.entries.len() == 1 { String::new() } else { stages.label(index) };
        let mut label = Label::new(name, step_count(entry));
        let mut state = self.foundation(entry, &mut label);
        state.prepare();
        let ignore_cache = self.options.ignores_cache(entry.name);
        let now = Now { span: entry.span, text: String::new(), origin: Origin::Stage, sources: Vec::new() };
        let mut fold = Fold { build: self, state, label, now, index, ignore_cache, once: Once::default() };
        for item in &entry.items {
            if let Err(finding) = fold.item(item) {
                fold.report(finding);
            }
        }
        fold.state
    }

    /// Returns what a stage begins with.
    fn foundation(&mut self, entry: &Entry<'_>, label: &mut Label) -> State {
        match &entry.foundation {
            Foundation::Stage(base) => {
                let mut state =
                    self.results[*base].clone().expect("a stage stands on one that is folded already");
                state.config.config.on_build.clear();
                state
            }
            Foundation::Scratch => State::empty(self.options.platform()),
            Foundation::Directory(name) => self.directory(name, entry),
            Foundation::Image(key) => {
                let image = self.bases.get(key).and_then(Result::ok);
                let image = image.expect("an image that a reachable stage stands on was asked for before");
                let image = Arc::clone(image);
                self.check_platform(key, &image, entry);
                let span = entry.stage.map_or(entry.span, |stage| stage.span);
                let root = self.image_step(key, &image, span, label);
                State::of_image(&image, root, key.platform.clone())
            }
        }
    }

    fn image_step(
        &mut self,
        key: &BaseKey,
        image: &Arc<Image>,
        span: Span,
        label: &mut Label,
    ) -> Option<StepId> {
        // Without layers it is as good as nothing, but its config counts (statement 82).
        if image.layers.is_empty() {
            return None;
        }
        let name = label.next(&format!("FROM {}", pinned(&key.name, image)));
        if let Some(step) = self.images.get(key) {
            return *step;
        }
        let op = Op::Base(Arc::clone(image));
        let platform = key.platform.clone();
        let step = Step { op, name, span: Some(span), platform, ignore_cache: false };
        let step = Some(self.graph.add(step));
        self.images.insert(key.clone(), step);
        step
    }

    /// The files of a context as a root file system: one layer, and a config as that of `FROM scratch`.
    fn directory(&mut self, name: &str, entry: &Entry<'_>) -> State {
        let platform = self.options.platform();
        let mut state = State::empty(platform);
        let shown = format!("[context {name}] FROM {name}");
        let root = *self.directories.entry(name.to_owned()).or_insert_with(|| {
            let path = "/".to_owned();
            let op = Op::Copy(Copy {
                parent: None,
                sources: vec![Source::Path { input: Input::Context(Some(name.to_owned())), path }],
                destination: "/".to_owned(),
                owner: None,
                chmod: None,
                excludes: Vec::new(),
                parents: false,
                link: false,
                extract: false,
            });
            let (name, span, platform) = (shown.clone(), Some(entry.span), platform.clone());
            self.graph.add(Step { op, name, span, platform, ignore_cache: false })
        });
        state.root = Some(root);
        // The text with which BuildKit describes such a layer.
        state.record(format!("[context {name}] load from client"), Some(root));
        state
    }

    /// An image without layers holds nothing that could be of the wrong platform, and nor does one that nobody
    /// has looked up.
    fn check_platform(&mut self, key: &BaseKey, image: &Image, entry: &Entry<'_>) {
        if image.layers.is_empty() {
            return;
        }
        let actual = of_config(&image.config, &key.platform);
        if (&actual.os, &actual.architecture) != (&key.platform.os, &key.platform.architecture) {
            let finding =
                checks::invalid_base_image_platform(entry.span, &entry.written, &actual, &key.platform);
            self.findings.push(finding);
        }
    }
}

/// Returns the name with the digest that it had when it was looked up (statement 85).
fn pinned(name: &BaseName, image: &Image) -> String {
    match name {
        BaseName::Reference(reference) if reference.digest.is_some() => reference.to_string(),
        _ => format!("{name}@{}", image.manifest),
    }
}

/// Returns how many steps of a stage are counted: also the triggers that make none, as BuildKit does.
fn step_count(entry: &Entry<'_>) -> usize {
    let counts = |item: &&Item<'_>| {
        let makes =
            matches!(item.instruction.kind, Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_));
        makes || item.origin != Origin::Stage
    };
    usize::from(matches!(entry.foundation, Foundation::Image(_))) + entry.items.iter().filter(counts).count()
}

fn of_config(config: &ImageConfig, otherwise: &Platform) -> Platform {
    if config.os.is_empty() || config.architecture.is_empty() {
        return otherwise.clone();
    }
    Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
    }
}

impl State {
    /// `FROM scratch` (statement 87).
    fn empty(platform: &Platform) -> Self {
        let mut config = ImageConfig {
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            os: platform.os.clone(),
            ..ImageConfig::default()
        };
        config.config.working_dir = "/".into();
        Self::new(None, config, platform.clone())
    }

    fn of_image(image: &Image, root: Option<StepId>, platform: Platform) -> Self {
        let mut config = image.config.clone();
        config.created = None;
        config.rootfs = RootFs::default();
        config.config.on_build.clear();
        Self::new(root, config, platform)
    }

    fn new(root: Option<StepId>, mut config: ImageConfig, platform: Platform) -> Self {
        let env = Variables::from_env(&std::mem::take(&mut config.config.env));
        Self {
            root,
            config,
            scope: Variables::default(),
            env,
            arguments: Arguments::default(),
            history: Vec::new(),
            platform,
            workdir_set: false,
        }
    }

    /// Makes the state ready for a stage's instructions.
    fn prepare(&mut self) {
        if self.env.get("PATH").is_none() && self.platform.os != "windows" {
            self.env.set("PATH", DEFAULT_PATH);
        }
        for (name, value) in self.env.iter() {
            self.scope.set(name, value);
        }
        // The base's own WORKDIR makes no directory and no history (statement 177).
        let workdir = &mut self.config.config.working_dir;
        if !workdir.is_empty() {
            *workdir = place::workdir(workdir, workdir);
        }
    }

    /// Adds an entry to the history.
    pub(super) fn record(&mut self, created_by: String, step: Option<StepId>) {
        let author = String::new();
        self.history.push(HistoryEntry { created_by, author, step });
    }
}

impl Fold<'_, '_> {
    fn item(&mut self, item: &Item<'_>) -> Result<(), Diagnostic> {
        let instruction: &Instruction = &item.instruction;
        self.now = Now {
            span: instruction.span,
            text: instruction.text.clone(),
            origin: item.origin,
            sources: item.sources.clone(),
        };
        match &instruction.kind {
            Kind::Add(transfer) => self.transfer("ADD", transfer),
            Kind::Arg(arguments) => self.arg(arguments),
            Kind::Cmd(command) => self.cmd(command),
            Kind::Copy(transfer) => self.transfer("COPY", transfer),
            Kind::Entrypoint(command) => self.entrypoint(command),
            Kind::Env(pairs) => self.env(pairs),
            Kind::Expose(ports) => self.expose(ports),
            Kind::Healthcheck(check) => self.healthcheck(check),
            Kind::Label(pairs) => self.label(pairs),
            Kind::Maintainer(name) => self.maintainer(name),
            Kind::Onbuild(trigger) => self.onbuild(trigger),
            Kind::Run(run) => self.run(run),
            Kind::Shell(shell) => self.shell(shell),
            Kind::Stopsignal(signal) => self.stopsignal(signal),
            Kind::User(user) => self.user(user),
            Kind::Volume(paths) => self.volume(paths),
            Kind::Workdir(path) => self.workdir(path),
        }
    }

    /// Adds a finding, at the place that means something to the user.
    pub(super) fn report(&mut self, mut finding: Diagnostic) {
        finding.span = self.at(finding.span);
        if let (Origin::Image(_), None) = (self.now.origin, &finding.help) {
            finding.help = Some(format!("this comes from the image's trigger `ONBUILD {}`", self.now.text));
        }
        self.build.findings.push(finding);
    }

    /// Adds a warning that a check may have found.
    pub(super) fn report_some(&mut self, finding: Option<Diagnostic>) {
        finding.into_iter().for_each(|finding| self.report(finding));
    }

    fn at(&self, span: Span) -> Span {
        match self.now.origin {
            Origin::Image(from) => from,
            Origin::Stage | Origin::Trigger => span,
        }
    }

    /// Expands a word against the stage's variables; names without a value are warned of.
    pub(super) fn word(&mut self, word: &Word) -> Result<String, Diagnostic> {
        if words::is_plain(&word.raw, self.build.escape) {
            return Ok(word.raw.clone());
        }
        let expansion = words::expand_at(&word.raw, word.span, self.build.escape, &self.state.scope)?;
        self.warn_of_unset(&expansion.unset, word.span);
        Ok(expansion.text)
    }

    /// Expands a word that may not be there.
    pub(super) fn optional_word(&mut self, word: Option<&Word>) -> Result<Option<String>, Diagnostic> {
        word.map(|word| self.word(word)).transpose()
    }

    /// Warns of names that neither have a value nor are declared by ARG.
    pub(super) fn warn_of_unset(&mut self, unset: &[String], span: Span) {
        for name in unset {
            if self.state.arguments.contains(name) || SWITCHES.contains(&name.as_str()) {
                continue;
            }
            let finding = checks::undefined_var(span, name, self.state.scope.names());
            self.report(finding);
        }
    }

    /// Says more about the last finding, if it is about `span`.
    pub(super) fn explain_last(&mut self, span: Span, help: &str) {
        let span = self.at(span);
        if let Some(finding) = self.build.findings.last_mut().filter(|finding| finding.span == span) {
            finding.help = Some(help.to_owned());
        }
    }

    /// Adds a step that changes the root file system.
    pub(super) fn add_step(&mut self, op: Op, shown: &str) -> StepId {
        let onbuild = if self.now.origin == Origin::Stage { "" } else { "ONBUILD " };
        let name = self.label.next(&format!("{onbuild}{shown}"));
        let span = match self.now.origin {
            Origin::Image(_) => None,
            Origin::Stage | Origin::Trigger => Some(self.now.span),
        };
        let platform = self.state.platform.clone();
        let step = self.build.graph.add(Step { op, name, span, platform, ignore_cache: self.ignore_cache });
        self.state.root = Some(step);
        step
    }

    /// Returns what reading from `source` means: a stage's result, an image or a named context.
    pub(super) fn input(&mut self, source: usize, what: &str, span: Span) -> Result<Input, Diagnostic> {
        let stages = self.build.stages;
        let entry = &stages.entries[source];
        if let Some(state) = &self.build.results[source] {
            return Ok(state.root.map_or(Input::Empty, Input::Step));
        }
        if entry.stage.is_some() {
            let (from, current) = (stages.label(source), stages.label(self.index));
            let message = format!(
                "cannot {what} stage \"{from}\", it needs to be defined before current stage \"{current}\""
            );
            return Err(
                Diagnostic::error(span, message).with_help(format!("move stage `{from}` above `{current}`"))
            );
        }
        Ok(match &entry.foundation {
            Foundation::Directory(name) => Input::Context(Some(name.clone())),
            _ => {
                let root = self.build.foundation(entry, &mut Label::new(String::new(), 0)).root;
                root.map_or(Input::Empty, Input::Step)
            }
        })
    }
}

fn output(state: State, options: &Options) -> Output {
    let State { root, mut config, env, history, .. } = state;
    config.config.env = env.to_env();
    config.config.labels.extend(options.labels.clone());
    if let Some(target) = &options.target_platform {
        let same = (&config.os, &config.architecture) == (&target.os, &target.architecture);
        config.os.clone_from(&target.os);
        config.architecture.clone_from(&target.architecture);
        if !same || !target.variant.is_empty() {
            config.variant.clone_from(&target.variant);
        }
    }
    let platform = of_config(&config, options.platform());
    // Normal form, as containerd writes it: `arm64` and not `arm64/v8`.
    let platform: Platform = platform.to_string().parse().unwrap_or(platform);
    config.os.clone_from(&platform.os);
    config.architecture.clone_from(&platform.architecture);
    config.variant.clone_from(&platform.variant);
    Output { root, config, history, platform }
}
