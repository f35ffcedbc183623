//! What FROM lines can use: ARG before the first FROM, and the platform arguments.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::{Diagnostic, Span};
use crate::dockerfile::expand::Expansion;
use crate::dockerfile::instruction::{Dockerfile, Kind, Word};
use crate::reference::Reference;

use super::Options;
use super::checks;
use super::variables::Variables;
use super::words;

/// The values that FROM lines see, and that `ARG NAME` of a stage takes its default from.
#[derive(Debug)]
pub(super) struct Globals {
    values: Variables,
    declared: BTreeSet<String>,
    escape: char,
}

impl Globals {
    /// Evaluates the arguments in order (statement 58); `--build-arg` wins over every default.
    pub(super) fn evaluate(
        file: &Dockerfile,
        options: &Options,
        findings: &mut Vec<Diagnostic>,
    ) -> Result<Self, Diagnostic> {
        let escape = file.directives.escape_char();
        let predefined = predefined(file, options);
        let (values, declared) = evaluate(file, escape, predefined.clone(), &options.build_args)?;
        check_defaults(file, escape, predefined, findings);
        Ok(Self { values, declared, escape })
    }

    /// Returns the value of `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name)
    }

    /// Expands a word of a FROM line, and reports names that nothing declares.
    pub(super) fn expand(
        &self,
        word: &Word,
        findings: &mut Vec<Diagnostic>,
    ) -> Result<Expansion, Diagnostic> {
        let expansion = words::expand_at(&word.raw, word.span, self.escape, &self.values)?;
        for name in &expansion.unset {
            if !self.declared.contains(name) {
                let known = self.known();
                findings.push(checks::undefined_arg_in_from(word.span, name, known));
            }
        }
        Ok(expansion)
    }

    /// Returns the names that FROM lines can use.
    pub(super) fn known(&self) -> impl Iterator<Item = &str> {
        let without_value =
            self.declared.iter().map(String::as_str).filter(|name| self.values.get(name).is_none());
        self.values.names().chain(without_value)
    }
}

/// The platform arguments (statements 63 to 65).
fn predefined(file: &Dockerfile, options: &Options) -> Variables {
    let (build, target) = (&options.build_platform, options.platform());
    let last_stage =
        || file.stages.last().and_then(|stage| stage.from.name.as_ref()).map(|name| name.value.as_str());
    let stage = options.target.as_deref().or_else(last_stage).unwrap_or("default");
    let mut values = Variables::default();
    for (name, value) in [
        ("BUILDPLATFORM", &*build.to_string()),
        ("BUILDOS", &build.os),
        ("BUILDOSVERSION", ""),
        ("BUILDARCH", &build.architecture),
        ("BUILDVARIANT", &build.variant),
        ("TARGETPLATFORM", &target.to_string()),
        ("TARGETOS", &target.os),
        ("TARGETOSVERSION", ""),
        ("TARGETARCH", &target.architecture),
        ("TARGETVARIANT", &target.variant),
        ("TARGETSTAGE", stage),
    ] {
        values.set(name, options.build_args.get(name).map_or(value, String::as_str));
    }
    values
}

fn evaluate(
    file: &Dockerfile,
    escape: char,
    mut values: Variables,
    build_args: &BTreeMap<String, String>,
) -> Result<(Variables, BTreeSet<String>), Diagnostic> {
    let mut declared = BTreeSet::new();
    for instruction in &file.global_args {
        let Kind::Arg(arguments) = &instruction.kind else { continue };
        for argument in arguments {
            let name = &argument.name.value;
            if let Some(given) = build_args.get(name) {
                values.set(name, given);
            } else if let Some(default) = &argument.default {
                let value = words::expand_at(&default.raw, default.span, escape, &values)?.text;
                values.set(name, &value);
            }
            declared.insert(name.clone());
        }
    }
    Ok((values, declared))
}

/// Warns where a file builds only with `--build-arg`: the defaults alone make no image name.
fn check_defaults(file: &Dockerfile, escape: char, predefined: Variables, findings: &mut Vec<Diagnostic>) {
    let Ok((defaults, _)) = evaluate(file, escape, predefined, &BTreeMap::new()) else { return };
    for stage in &file.stages {
        let image = &stage.from.image;
        // BuildKit stops checking at the first base that cannot be expanded; that one is an error anyway.
        let Ok(name) = words::expand_at(&image.raw, Span::default(), escape, &defaults) else { return };
        if name.text.parse::<Reference>().is_err() {
            findings.push(checks::invalid_default_arg_in_from(image.span, &image.raw));
        }
    }
}
