//! What a file offers: its stages, and what a build of one of them can be given.

use std::collections::BTreeSet;

use crate::diagnostic::Span;
use crate::dockerfile::instruction::{Dockerfile, Instruction, Kind, Mount, MountKind, Stage};

/// A stage that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its name.
    pub name: Option<&'a str>,
    /// Whether it is built if no other is asked for.
    pub default: bool,
    /// What the comment above it says.
    pub description: Option<&'a str>,
    /// What it stands on, as written.
    pub base: &'a str,
    /// `--platform`, as written.
    pub platform: Option<&'a str>,
    /// Its FROM line.
    pub span: Span,
}

/// Lists the stages of a file in their order.
pub fn targets(file: &Dockerfile) -> Vec<Target<'_>> {
    let last = file.stages.len().saturating_sub(1);
    let target = |(index, stage)| Target { default: index == last, ..target_of(stage) };
    file.stages.iter().enumerate().map(target).collect()
}

fn target_of(stage: &Stage) -> Target<'_> {
    Target {
        name: stage.from.name.as_ref().map(|name| name.value.as_str()),
        default: false,
        description: stage.doc.as_deref(),
        base: &stage.from.image.raw,
        platform: stage.from.platform.as_ref().map(|platform| platform.raw.as_str()),
        span: stage.span,
    }
}

/// What a build of a stage can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline<'a> {
    /// The stage.
    pub target: Target<'a>,
    /// Build arguments that the stage and those it stands on use.
    pub arguments: Vec<Argument>,
    /// Secrets by id.
    pub secrets: Vec<Required>,
    /// SSH agents by id.
    pub ssh: Vec<Required>,
    /// Cache mounts by id.
    pub caches: Vec<CacheMount>,
}

/// A build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// The value that a build would use, as far as it is written in the file or given.
    pub value: Option<String>,
    /// What the comment above it says.
    pub description: Option<String>,
    /// Where it is declared.
    pub span: Span,
}

/// A secret or an SSH agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Required {
    /// Its id.
    pub name: String,
    /// Whether a build without it fails.
    pub required: bool,
    /// The instruction that uses it first.
    pub span: Span,
}

/// A cache mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMount {
    /// Its id.
    pub id: String,
    /// The instruction that uses it first.
    pub span: Span,
}

/// Describes the stage `target`, or the last one; `given` are the values of build arguments. `None` if there
/// is no such stage.
pub fn outline<'a>(
    file: &'a Dockerfile,
    target: Option<&str>,
    given: &dyn Fn(&str) -> Option<String>,
) -> Option<Outline<'a>> {
    let index = match target {
        Some(target) => position(file, target, file.stages.len())?,
        None => file.stages.len().checked_sub(1)?,
    };
    let mut collector = Collector { file, given, seen: BTreeSet::new(), outline: empty(file, index) };
    let mut globals = BTreeSet::new();
    for stage in collector.reachable(index) {
        collector.stage(stage, &mut globals);
    }
    collector.globals(&globals);
    let mut outline = collector.outline;
    outline.arguments.sort_by_key(|argument| argument.span.start);
    outline.secrets.sort_by_key(|secret| secret.span.start);
    outline.ssh.sort_by_key(|ssh| ssh.span.start);
    outline.caches.sort_by_key(|cache| cache.span.start);
    Some(outline)
}

fn empty(file: &Dockerfile, index: usize) -> Outline<'_> {
    let default = index + 1 == file.stages.len();
    Outline {
        target: Target { default, ..target_of(&file.stages[index]) },
        arguments: Vec::new(),
        secrets: Vec::new(),
        ssh: Vec::new(),
        caches: Vec::new(),
    }
}

/// Finds a stage above `below` by name or number; of several with one name, the last.
fn position(file: &Dockerfile, name: &str, below: usize) -> Option<usize> {
    let named =
        |stage: &Stage| stage.from.name.as_ref().is_some_and(|own| own.value.eq_ignore_ascii_case(name));
    let above = &file.stages[..below];
    above.iter().rposition(named).or_else(|| name.parse().ok().filter(|index| *index < below))
}

struct Collector<'a, 'g> {
    file: &'a Dockerfile,
    given: &'g dyn Fn(&str) -> Option<String>,
    seen: BTreeSet<(&'static str, String)>,
    outline: Outline<'a>,
}

impl<'a> Collector<'a, '_> {
    /// Returns the stage `index` and all that it stands on or reads from.
    fn reachable(&self, index: usize) -> Vec<&'a Stage> {
        let mut reached = BTreeSet::new();
        let mut open = vec![index];
        while let Some(index) = open.pop() {
            if !reached.insert(index) {
                continue;
            }
            let stage = &self.file.stages[index];
            let from = stage.instructions.iter().flat_map(sources);
            let names = from.chain([stage.from.image.raw.as_str()]);
            open.extend(names.filter_map(|name| position(self.file, name, index)));
        }
        // The stage that is asked for speaks first: its description of an argument wins.
        reached.into_iter().rev().map(|index| &self.file.stages[index]).collect()
    }

    fn stage(&mut self, stage: &Stage, globals: &mut BTreeSet<String>) {
        let written = stage.from.platform.iter().chain([&stage.from.image]);
        globals.extend(written.flat_map(|word| variables(&word.raw)));
        for instruction in &stage.instructions {
            match &instruction.kind {
                Kind::Arg(arguments) => {
                    for argument in arguments {
                        let name = &argument.name.value;
                        let default = argument.default.as_ref().map(|word| word.raw.clone());
                        if default.is_none() && self.global_default(name).is_some() {
                            globals.insert(name.clone());
                        }
                        let default = default.or_else(|| self.global_default(name));
                        self.argument(name, default, instruction);
                    }
                }
                Kind::Run(run) => run.mounts.iter().for_each(|mount| self.mount(mount, instruction.span)),
                _ => {}
            }
        }
    }

    fn global_default(&self, name: &str) -> Option<String> {
        let mut declared = self.file.global_args.iter().filter_map(|instruction| match &instruction.kind {
            Kind::Arg(arguments) => arguments.iter().rfind(|argument| argument.name.value == name),
            _ => None,
        });
        declared.next_back()?.default.as_ref().map(|word| word.raw.clone())
    }

    /// Adds the global arguments that FROM lines use, and those that these are made of.
    fn globals(&mut self, used: &BTreeSet<String>) {
        let mut used = used.clone();
        for instruction in self.file.global_args.iter().rev() {
            let Kind::Arg(arguments) = &instruction.kind else { continue };
            for argument in arguments
                .iter()
                .rev()
                .filter(|argument| used.contains(&argument.name.value))
                .collect::<Vec<_>>()
            {
                let default = argument.default.as_ref().map(|word| word.raw.clone());
                used.extend(default.iter().flat_map(|text| variables(text)));
                self.argument(&argument.name.value, default, instruction);
            }
        }
    }

    fn argument(&mut self, name: &str, default: Option<String>, instruction: &Instruction) {
        if !self.seen.insert(("argument", name.to_owned())) {
            return;
        }
        let doc = instruction.doc.as_deref().unwrap_or_default();
        let description = doc.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        self.outline.arguments.push(Argument {
            name: name.to_owned(),
            value: (self.given)(name).or(default),
            description: description.map(str::to_owned),
            span: instruction.span,
        });
    }

    fn mount(&mut self, mount: &Mount, span: Span) {
        let raw =
            |word: &Option<crate::dockerfile::instruction::Word>| word.as_ref().map(|word| word.raw.clone());
        let target_name = || {
            let target = raw(&mount.target)?;
            target.rsplit('/').find(|part| !part.is_empty()).map(str::to_owned)
        };
        match mount.kind {
            MountKind::Secret => {
                let name = raw(&mount.source).or_else(|| raw(&mount.id)).or_else(target_name);
                let Some(name) = name else { return };
                if self.seen.insert(("secret", name.clone())) {
                    self.outline.secrets.push(Required { name, required: mount.required, span });
                }
            }
            MountKind::Ssh => {
                let name =
                    raw(&mount.source).or_else(|| raw(&mount.id)).unwrap_or_else(|| "default".to_owned());
                if self.seen.insert(("ssh", name.clone())) {
                    self.outline.ssh.push(Required { name, required: mount.required, span });
                }
            }
            MountKind::Cache => {
                let Some(id) = raw(&mount.id).or_else(|| raw(&mount.target)) else { return };
                if self.seen.insert(("cache", id.clone())) {
                    self.outline.caches.push(CacheMount { id, span });
                }
            }
            MountKind::Bind | MountKind::Tmpfs => {}
        }
    }
}

/// Returns what an instruction reads from.
fn sources(instruction: &Instruction) -> Vec<&str> {
    match &instruction.kind {
        Kind::Copy(copy) => copy.from.iter().map(|from| from.value.as_str()).collect(),
        Kind::Run(run) => {
            run.mounts.iter().filter_map(|mount| Some(mount.from.as_ref()?.value.as_str())).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the names behind each `$` and `${` of a text.
fn variables(text: &str) -> Vec<String> {
    let name = |rest: &str| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    text.split('$').skip(1).map(name).filter(|name| !name.is_empty()).collect()
}
