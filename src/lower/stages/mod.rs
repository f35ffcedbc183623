//! The stages of a file as a table: what each stands on, what it reads from, and which ones are needed.
//!
//! Images named by `--from` or a mount are entries too, behind the stages: a number in `--from` counts them
//! (statement 75).

mod reach;

use std::borrow::Cow;
use std::collections::HashMap;

use crate::diagnostic::suggest::nearest;
use crate::diagnostic::{Diagnostic, Span};
use crate::dockerfile::instruction::{Dockerfile, Instruction, Kind, Stage, Transfer};
use crate::dockerfile::parse_trigger;
use crate::oci::Platform;
use crate::reference::Reference;

use super::globals::Globals;
use super::variables::Variables;
use super::{BaseKey, BaseName, Bases, NamedContext, Options, checks, words};

/// The table.
pub(super) struct Stages<'a> {
    pub entries: Vec<Entry<'a>>,
    /// Lower-case names: of several stages with one name, the last.
    names: HashMap<&'a str, usize>,
    options: &'a Options,
    escape: char,
}

/// One stage, or an image named by `--from`.
pub(super) struct Entry<'a> {
    /// `None` for an image named by `--from`, and for a stage that a named context replaces.
    pub stage: Option<&'a Stage>,
    /// The stage's name.
    pub name: Option<&'a str>,
    /// What it stands on.
    pub foundation: Foundation,
    /// Its instructions, the triggers it inherits in front.
    pub items: Vec<Item<'a>>,
    /// The name of the foundation, expanded.
    pub written: String,
    /// Where it stands.
    pub span: Span,
    inherited: bool,
}

/// What a stage stands on.
#[derive(Debug, Clone)]
pub(super) enum Foundation {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(BaseKey),
    /// A named context that is files.
    Directory(String),
}

/// A FROM line without variables.
struct Expanded {
    base: String,
    platform: Platform,
}

/// An instruction of a stage.
pub(super) struct Item<'a> {
    pub instruction: Cow<'a, Instruction>,
    pub origin: Origin,
    /// What it reads from: one entry for `--from` of COPY, one for each mount of RUN.
    pub sources: Vec<usize>,
}

/// Who wrote an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The stage itself.
    Stage,
    /// An earlier stage of the file, behind ONBUILD.
    Trigger,
    /// A base image: its spans mean nothing here, findings go to the text that names the image.
    Image(Span),
}

impl<'a> Entry<'a> {
    /// Stands for a stage whose FROM is wrong, so that the others can be read.
    fn unknown(stage: &'a Stage) -> Self {
        Self {
            stage: Some(stage),
            name: stage.from.name.as_ref().map(|name| name.value.as_str()),
            foundation: Foundation::Scratch,
            items: Vec::new(),
            written: stage.from.image.raw.clone(),
            span: stage.from.image.span,
            inherited: false,
        }
    }
}

impl<'a> Stages<'a> {
    /// Reads the FROM lines.
    pub(super) fn new(
        file: &'a Dockerfile,
        options: &'a Options,
        globals: &Globals,
        findings: &mut Vec<Diagnostic>,
    ) -> Self {
        let escape = file.directives.escape_char();
        let mut stages = Self { entries: Vec::new(), names: HashMap::new(), options, escape };
        // BuildKit looks at what the names of images are only when all FROM lines are expanded.
        let mut misnamed = Vec::new();
        for stage in &file.stages {
            let entry = match stages.expand(stage, globals, findings) {
                Ok(from) => stages.read(stage, from).map_err(|finding| misnamed.push(finding)),
                Err(finding) => {
                    findings.push(finding);
                    Err(())
                }
            };
            let entry = entry.unwrap_or_else(|()| Entry::unknown(stage));
            if let Some(name) = entry.name {
                stages.names.insert(name, stages.entries.len());
            }
            stages.entries.push(entry);
        }
        findings.append(&mut misnamed);
        stages
    }

    /// Expands a FROM line.
    fn expand(
        &self,
        stage: &Stage,
        globals: &Globals,
        findings: &mut Vec<Diagnostic>,
    ) -> Result<Expanded, Diagnostic> {
        let image = &stage.from.image;
        let base = globals.expand(image, findings)?.text;
        if base.is_empty() {
            let message = format!("base name ({}) should not be blank", image.raw);
            return Err(Diagnostic::error(image.span, message).with_help(
                "give the variable a value: `ARG NAME=default` before the first FROM, or --build-arg",
            ));
        }
        let platform = platform(stage, globals, findings)?;
        let platform = platform.unwrap_or_else(|| self.options.platform().clone());
        Ok(Expanded { base, platform })
    }

    /// Finds what an expanded FROM line stands for.
    fn read(&self, stage: &'a Stage, Expanded { base, platform }: Expanded) -> Result<Entry<'a>, Diagnostic> {
        let image = &stage.from.image;
        let wanted = &platform;
        let name = stage.from.name.as_ref().map(|name| name.value.as_str());
        let replaced = name.and_then(|name| self.options.named_context(name, wanted));
        let (foundation, items) = match replaced {
            Some((key, kind)) => (self.context(key, kind, wanted, image.span)?, Vec::new()),
            None => (self.foundation(&base, wanted, image.span)?, items(stage)),
        };
        let stage = replaced.is_none().then_some(stage);
        Ok(Entry { stage, name, foundation, items, written: base, span: image.span, inherited: false })
    }

    /// Finds what `base` names: a stage above, spelt exactly so (statement 73), a named context, an image.
    fn foundation(&self, base: &str, platform: &Platform, span: Span) -> Result<Foundation, Diagnostic> {
        if let Some(stage) = self.names.get(base) {
            // A stage that a named context replaces has nothing of its own.
            let entry = &self.entries[*stage];
            return Ok(entry.stage.map_or_else(|| entry.foundation.clone(), |_| Foundation::Stage(*stage)));
        }
        if base == "scratch" {
            return Ok(Foundation::Scratch);
        }
        self.image(base, platform, span)
    }

    fn image(&self, name: &str, platform: &Platform, span: Span) -> Result<Foundation, Diagnostic> {
        let reference: Reference = name.parse().map_err(|error: crate::reference::ParseError| {
            let finding = Diagnostic::error(span, error.to_string());
            match self.similar_stage(name) {
                Some(stage) => finding.with_help(format!("did you mean stage `{stage}`?")),
                None => finding.with_help("write `[REGISTRY/]NAME[:TAG]`, for example `debian:13`"),
            }
        })?;
        if let Some((key, kind)) = self.options.named_context(name, platform) {
            return self.context(key, kind, platform, span);
        }
        Ok(Foundation::Image(BaseKey { name: BaseName::Reference(reference), platform: platform.clone() }))
    }

    /// Returns what a named context is to those who stand on it or read from it.
    fn context(
        &self,
        key: &str,
        kind: &NamedContext,
        platform: &Platform,
        span: Span,
    ) -> Result<Foundation, Diagnostic> {
        Ok(match kind {
            NamedContext::Directory => Foundation::Directory(key.to_owned()),
            NamedContext::Scratch => Foundation::Scratch,
            NamedContext::Image => Foundation::Image(BaseKey {
                name: BaseName::Context(key.to_owned()),
                platform: platform.clone(),
            }),
            NamedContext::Stage(stage) => match self.names.get(stage.to_ascii_lowercase().as_str()) {
                Some(index) => Foundation::Stage(self.itself(*index)),
                None => return Err(self.no_stage_above(key, stage, span)),
            },
        })
    }

    /// A stage is known once its FROM was read, so that no stage can stand on itself, or on one that stands on it.
    fn no_stage_above(&self, key: &str, stage: &str, span: Span) -> Diagnostic {
        let message = format!("the build context `{key}` is the stage `{stage}`, which does not stand above");
        match self.similar_stage(stage) {
            Some(similar) => {
                Diagnostic::error(span, message).with_help(format!("did you mean stage `{similar}`?"))
            }
            None => Diagnostic::error(span, message).with_help(format!(
                "move the stage above this line, or name another one with `--build-context {key}=target:STAGE`"
            )),
        }
    }

    /// Returns the entry that `index` stands for: a stage that a named context replaces by another one is that one.
    fn itself(&self, index: usize) -> usize {
        match self.entries[index] {
            Entry { stage: None, foundation: Foundation::Stage(other), .. } => other,
            _ => index,
        }
    }

    /// Returns the stage that the user may have meant: one that differs in case or by a letter or two.
    fn similar_stage(&self, name: &str) -> Option<&str> {
        let folded = name.to_ascii_lowercase();
        if let Some((stage, _)) = self.names.get_key_value(folded.as_str()) {
            return Some(stage);
        }
        nearest(&folded, self.names.keys().copied())
    }

    /// Finds the stage to build (statement 74: in any case).
    pub(super) fn target(&self, options: &Options) -> Result<usize, Diagnostic> {
        let last = self.entries.last().and_then(|entry| entry.name);
        let Some(target) = options.target.as_deref().or(last) else { return Ok(self.entries.len() - 1) };
        if let Some(stage) = self.names.get(target.to_ascii_lowercase().as_str()) {
            return Ok(self.itself(*stage));
        }
        let message = format!("target stage \"{target}\" could not be found");
        let Some(similar) = self.similar_stage(target) else {
            return Err(Diagnostic::error(Span::default(), message)
                .with_help("`--target` takes the name that a FROM line gives with AS"));
        };
        // The user wrote nothing wrong in the file: what is shown is the stage that was meant.
        let named = self.entries[self.names[similar]].stage.and_then(|stage| stage.from.name.as_ref());
        let span = named.map_or(Span::default(), |name| name.span);
        Err(Diagnostic::error(span, message).with_help(format!("did you mean stage `{similar}`?")))
    }

    /// Finds what the instructions of all stages read from.
    pub(super) fn link(&mut self, findings: &mut Vec<Diagnostic>) {
        for entry in 0..self.entries.len() {
            let mut items = std::mem::take(&mut self.entries[entry].items);
            for item in &mut items {
                self.link_item(item, findings);
            }
            self.entries[entry].items = items;
        }
    }

    fn link_item(&mut self, item: &mut Item<'a>, findings: &mut Vec<Diagnostic>) {
        let at = |span| if let Origin::Image(span) = item.origin { span } else { span };
        let mut sources = Vec::new();
        match &item.instruction.kind {
            Kind::Copy(Transfer { from: Some(from), .. }) => match self.source(&from.value, at(from.span)) {
                Ok(source) => sources.push(source),
                Err(finding) => findings.push(finding),
            },
            Kind::Run(run) => {
                for mount in &run.mounts {
                    // A mount without `from` takes a number too, as in BuildKit (statement 75).
                    let (name, span) =
                        mount.from.as_ref().map_or(("scratch", mount.span), |from| (&from.value, from.span));
                    match self.named_source(name, at(span)) {
                        Ok(source) => sources.push(source),
                        Err(finding) => findings.push(finding),
                    }
                }
            }
            _ => {}
        }
        item.sources = sources;
    }

    /// Finds what `--from` of COPY names: a stage by name or number, or an image.
    fn source(&mut self, from: &str, span: Span) -> Result<usize, Diagnostic> {
        let expanded = words::expand_at(from, span, self.escape, &Variables::default())?;
        if expanded.text != from {
            return Err(Diagnostic::error(span, "variable expansion is not supported for --from").with_help(
                "define a stage with `FROM $image AS name` and a global ARG, and copy from that stage",
            ));
        }
        match from.parse::<i64>() {
            Err(_) => self.named_source(from, span),
            Ok(number) => {
                let known = usize::try_from(number).ok().filter(|number| *number < self.entries.len());
                known.map(|number| self.itself(number)).ok_or_else(|| {
                    let message = format!("invalid stage index {number}");
                    Diagnostic::error(span, message)
                        .with_help(format!("stages are numbered from 0 to {}", self.entries.len() - 1))
                })
            }
        }
    }

    fn named_source(&mut self, name: &str, span: Span) -> Result<usize, Diagnostic> {
        if let Some(stage) = self.names.get(name.to_ascii_lowercase().as_str()) {
            return Ok(self.itself(*stage));
        }
        let platform = self.options.platform();
        let foundation =
            if name == "scratch" { Foundation::Scratch } else { self.image(name, platform, span)? };
        if let Foundation::Stage(stage) = foundation {
            return Ok(stage);
        }
        let (written, items) = (name.to_owned(), Vec::new());
        self.entries.push(Entry {
            stage: None,
            name: None,
            foundation,
            items,
            written,
            span,
            inherited: true,
        });
        Ok(self.entries.len() - 1)
    }

    /// Puts inherited triggers in front of the instructions of the stages that `target` needs, until they
    /// bring no more sources (statements 192 to 197). Returns which entries are needed.
    pub(super) fn inherit_triggers(
        &mut self,
        target: usize,
        bases: &Bases,
        findings: &mut Vec<Diagnostic>,
    ) -> Vec<bool> {
        loop {
            let reached = self.reachable(target);
            let mut new_sources = false;
            for entry in (0..self.entries.len()).filter(|entry| reached[*entry]) {
                let mut triggers = self.triggers(entry, bases, findings);
                for trigger in &mut triggers {
                    self.link_item(trigger, findings);
                    new_sources |= !trigger.sources.is_empty();
                }
                self.entries[entry].items.splice(0..0, triggers);
            }
            if !new_sources {
                return self.reachable(target);
            }
        }
    }

    /// Returns the triggers that an entry inherits and has not got yet.
    fn triggers(&mut self, entry: usize, bases: &Bases, findings: &mut Vec<Diagnostic>) -> Vec<Item<'a>> {
        let Entry { stage: Some(_), foundation, span, inherited: false, .. } = &self.entries[entry] else {
            return Vec::new();
        };
        let span = *span;
        let triggers = match foundation {
            Foundation::Scratch | Foundation::Directory(_) => Vec::new(),
            Foundation::Stage(base) => {
                let items = self.entries[*base].items.iter();
                items.filter_map(|item| in_file_trigger(&item.instruction)).collect()
            }
            Foundation::Image(key) => {
                let Some(Ok(image)) = bases.get(key) else { return Vec::new() };
                let texts = image.config.config.on_build.iter();
                texts
                    .filter_map(|text| {
                        image_trigger(text, span).map_err(|finding| findings.push(finding)).ok()
                    })
                    .collect()
            }
        };
        self.entries[entry].inherited = true;
        triggers
    }

    /// Returns how the user is told of an entry: its name, or `stage-2`.
    pub(super) fn label(&self, entry: usize) -> String {
        self.entries[entry].name.map_or_else(|| format!("stage-{entry}"), str::to_owned)
    }
}

fn items(stage: &Stage) -> Vec<Item<'_>> {
    let item = |instruction| Item {
        instruction: Cow::Borrowed(instruction),
        origin: Origin::Stage,
        sources: Vec::new(),
    };
    stage.instructions.iter().map(item).collect()
}

fn in_file_trigger<'a>(instruction: &Instruction) -> Option<Item<'a>> {
    let Kind::Onbuild(trigger) = &instruction.kind else { return None };
    let instruction = Cow::Owned((*trigger.instruction).clone());
    Some(Item { instruction, origin: Origin::Trigger, sources: Vec::new() })
}

fn image_trigger<'a>(text: &str, span: Span) -> Result<Item<'a>, Diagnostic> {
    let instruction = parse_trigger(text).map_err(|finding| Diagnostic {
        message: format!("the image's trigger `ONBUILD {text}` is wrong: {}", finding.message),
        span,
        ..finding
    })?;
    Ok(Item { instruction: Cow::Owned(instruction), origin: Origin::Image(span), sources: Vec::new() })
}

fn platform(
    stage: &Stage,
    globals: &Globals,
    findings: &mut Vec<Diagnostic>,
) -> Result<Option<Platform>, Diagnostic> {
    let Some(word) = &stage.from.platform else { return Ok(None) };
    let expansion = globals.expand(word, findings)?;
    let text = &expansion.text;
    let suggested =
        |finding: Diagnostic| match expansion.unset.iter().find_map(|name| nearest(name, globals.known())) {
            Some(name) => finding.with_help(format!("did you mean ${name}?")),
            None => finding.with_help("a platform is written os/architecture, for example linux/amd64"),
        };
    if text.is_empty() {
        let message = format!("empty platform value from expression {}", word.raw);
        return Err(suggested(Diagnostic::error(word.span, message)));
    }
    let platform: Platform = text.parse().map_err(|error: crate::oci::PlatformError| {
        suggested(Diagnostic::error(word.span, format!("failed to parse platform {}: {error}", word.raw)))
    })?;
    let only_target =
        expansion.used.iter().map(String::as_str).eq(["TARGETPLATFORM"]) && expansion.unset.is_empty();
    if only_target && globals.get("TARGETPLATFORM") == Some(text) {
        findings.push(checks::redundant_target_platform(word.span, &word.raw));
    }
    if expansion.used.is_empty() && expansion.unset.is_empty() {
        let name = stage.from.name.as_ref().map_or("", |name| &name.value);
        if !name.contains(&platform.os) && !name.contains(&platform.architecture) {
            findings.push(checks::constant_platform(word.span, text));
        }
    }
    Ok(Some(platform))
}
