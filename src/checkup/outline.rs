//! What a file offers: its stages, and what a build of one of them can be given.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Span;
use crate::dockerfile::instruction::{Dockerfile, Instruction, KeyValue, Kind, Mount, MountKind, Stage};
use crate::dockerfile::{Mode, expand};

/// Variables and their values.
type Scope = BTreeMap<String, String>;

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
    /// The value that a build would use, expanded, as far as it is written in the file or given.
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
    let global_scope = collector.global_scope();
    let mut scopes = collector.inherited(&global_scope);
    for index in collector.reachable(index) {
        collector.stage(&file.stages[index], std::mem::take(&mut scopes[index]), &global_scope, &mut globals);
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
    fn reachable(&self, index: usize) -> Vec<usize> {
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
        reached.into_iter().rev().collect()
    }

    /// Returns the values that the global arguments have.
    fn global_scope(&self) -> Scope {
        let mut scope = Scope::new();
        for instruction in &self.file.global_args {
            self.pass(instruction, &mut scope, &Scope::new());
        }
        scope
    }

    /// Returns what each stage begins with: what the stage of the file below it ends with. What an image below sets is
    /// not known here.
    fn inherited(&self, globals: &Scope) -> Vec<Scope> {
        let (mut begins, mut ends): (Vec<Scope>, Vec<Scope>) = (Vec::new(), Vec::new());
        for (index, stage) in self.file.stages.iter().enumerate() {
            let below = position(self.file, &stage.from.image.raw, index);
            let mut scope = below.map(|below| ends[below].clone()).unwrap_or_default();
            begins.push(scope.clone());
            stage.instructions.iter().for_each(|instruction| self.pass(instruction, &mut scope, globals));
            ends.push(scope);
        }
        begins
    }

    /// Adds what an instruction sets.
    fn pass(&self, instruction: &Instruction, scope: &mut Scope, globals: &Scope) {
        match &instruction.kind {
            Kind::Arg(arguments) => {
                for argument in arguments {
                    let name = &argument.name.value;
                    let default = argument.default.as_ref().map(|word| self.expand(&word.raw, scope));
                    let value = (self.given)(name).or(default).or_else(|| globals.get(name).cloned());
                    scope.extend(value.map(|value| (name.clone(), value)));
                }
            }
            Kind::Env(pairs) => {
                let set = |pair: &KeyValue| {
                    (self.expand(&pair.key.raw, scope), self.expand(&pair.value.raw, scope))
                };
                let set: Vec<_> = pairs.iter().map(set).collect();
                scope.extend(set);
            }
            _ => {}
        }
    }

    /// Expands a default; what cannot be expanded stays as written.
    fn expand(&self, text: &str, scope: &Scope) -> String {
        let escape = self.file.directives.escape_char();
        let expanded = expand(text, escape, &|name: &str| scope.get(name).cloned(), Mode::Word);
        expanded.map_or_else(|_| text.to_owned(), |expansion| expansion.text)
    }

    fn stage(
        &mut self,
        stage: &Stage,
        mut scope: Scope,
        global_scope: &Scope,
        globals: &mut BTreeSet<String>,
    ) {
        let written = stage.from.platform.iter().chain([&stage.from.image]);
        globals.extend(written.flat_map(|word| variables(&word.raw)));
        for instruction in &stage.instructions {
            self.pass(instruction, &mut scope, global_scope);
            match &instruction.kind {
                Kind::Arg(arguments) => {
                    for argument in arguments {
                        let name = &argument.name.value;
                        if argument.default.is_none() && global_scope.contains_key(name) {
                            globals.insert(name.clone());
                        }
                        self.argument(name, scope.get(name).cloned(), instruction);
                    }
                }
                Kind::Run(run) => run.mounts.iter().for_each(|mount| self.mount(mount, instruction.span)),
                _ => {}
            }
        }
    }

    /// Adds the global arguments that FROM lines use, and those that these are made of.
    fn globals(&mut self, used: &BTreeSet<String>) {
        let mut used = used.clone();
        let scope = self.global_scope();
        for instruction in self.file.global_args.iter().rev() {
            let Kind::Arg(arguments) = &instruction.kind else { continue };
            for argument in arguments
                .iter()
                .rev()
                .filter(|argument| used.contains(&argument.name.value))
                .collect::<Vec<_>>()
            {
                used.extend(argument.default.iter().flat_map(|word| variables(&word.raw)));
                let name = &argument.name.value;
                self.argument(name, scope.get(name).cloned(), instruction);
            }
        }
    }

    fn argument(&mut self, name: &str, value: Option<String>, instruction: &Instruction) {
        if !self.seen.insert(("argument", name.to_owned())) {
            return;
        }
        let doc = instruction.doc.as_deref().unwrap_or_default();
        let description = doc.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        self.outline.arguments.push(Argument {
            name: name.to_owned(),
            value,
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
