//! Looking at a Dockerfile without building it: what is wrong with it, what it asks for, what can be mended.
//!
//! In: a parsed file, the options of the build, and someone who looks up base images. Out: data. [`examine`]
//! finds everything that the language and lowering find, [`ignored_sources`] compares COPY with the ignore
//! file, `rules` describes the checks, [`outline`] and [`targets`] say what a file offers, [`mend`] rewrites
//! what is certain. Nothing here opens a file, a store or a registry.

mod ignored;
mod mend;
mod outline;
mod rules;

use std::collections::BTreeSet;
use std::sync::Arc;

pub use ignored::ignored_sources;
pub use mend::{Change, Mended, mend};
pub use outline::{Argument, CacheMount, Outline, Required, Target, outline, targets};
pub use rules::{Rule, rule};

use crate::diagnostic::{Diagnostic, Severity, Source};
use crate::digest::Digest;
use crate::dockerfile::{self, CheckFilter, CheckOptions, instruction::Dockerfile, instruction::Spanned};
use crate::graph::Graph;
use crate::image::Image;
use crate::lower::{self, BaseRequest, Bases, Lowered, Options};
use crate::oci::{ImageConfig, Platform};
use crate::pattern::Ignore;

/// The environment of an image that nobody looked up.
const DEFAULT_ENVIRONMENT: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What was found in a file.
#[derive(Debug, Clone)]
pub struct Examination {
    /// All findings: the warnings in the order of the file, then the errors, the one that BuildKit reports first.
    pub findings: Vec<Diagnostic>,
    /// The build; `None` if a finding is an error.
    pub graph: Option<Graph>,
    /// Whether the file says that a warning fails the build.
    pub warnings_fail: bool,
}

impl Examination {
    /// Returns the findings that stop a build.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Error)
    }

    /// Returns the names of the checks that fail the build because the file says so; empty if none does.
    pub fn failing_checks(&self) -> BTreeSet<&'static str> {
        let failing = self.warnings().filter(|_| self.warnings_fail && self.graph.is_some());
        failing.filter_map(|warning| warning.rule).collect()
    }

    /// Returns the findings of build checks.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.findings.iter().filter(|finding| finding.severity == Severity::Warning)
    }
}

/// Parses and lowers. `syntax` replaces what `# syntax=` says; `answer` brings base images.
pub fn examine(
    source: Source,
    syntax: Option<&str>,
    options: &Options,
    ignore: &Ignore,
    mut answer: impl FnMut(&[BaseRequest], &mut Bases),
) -> Examination {
    let parsed = dockerfile::parse(source);
    let mut findings = parsed.diagnostics;
    let Some(mut file) = parsed.dockerfile else {
        sort(&mut findings);
        return Examination { findings, graph: None, warnings_fail: false };
    };
    override_syntax(&mut file, syntax);
    findings.extend(dockerfile::checks(&file));
    let mut bases = Bases::default();
    let graph = loop {
        match lower::lower(&file, options, &bases) {
            Ok(Lowered::Missing(requests)) => answer(&requests, &mut bases),
            Ok(Lowered::Done { graph, warnings }) => {
                findings.extend(warnings);
                findings.extend(ignored_sources(&graph, ignore));
                break Some(graph);
            }
            Err(more) => {
                findings.extend(more);
                break None;
            }
        }
    };
    let filter = CheckFilter::new(&file);
    findings.retain(|finding| filter.keeps(finding));
    findings.iter_mut().for_each(advise);
    sort(&mut findings);
    Examination { findings, graph, warnings_fail: CheckOptions::of(&file).error }
}

/// Adds the general advice of its check to a finding that advises nothing.
fn advise(finding: &mut Diagnostic) {
    if finding.help.is_none()
        && let Some(rule) = finding.rule.and_then(rule)
    {
        finding.help = Some(rule.help.to_owned());
    }
}

/// Errors last: they are what the user has to read. They stay in the order in which they were found.
fn sort(findings: &mut [Diagnostic]) {
    findings.sort_by_key(|finding| match finding.severity {
        Severity::Warning => (false, finding.span.start),
        Severity::Error => (true, 0),
    });
}

/// `BUILDKIT_SYNTAX` counts as if the file's first line said it.
fn override_syntax(file: &mut Dockerfile, syntax: Option<&str>) {
    if let Some(syntax) = syntax {
        let span = file.directives.syntax.as_ref().map(|directive| directive.span).unwrap_or_default();
        file.directives.syntax = Some(Spanned::new(syntax.to_owned(), span));
    }
}

/// Returns the platform that is built for when nobody asks for one and no base is looked up: so that the
/// findings are the same on every machine.
pub fn assumed_platform() -> Platform {
    Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: String::new() }
}

/// Answers every request with an image of linux/amd64 that has nothing but a search path.
pub fn assume(requests: &[BaseRequest], bases: &mut Bases) {
    let mut config =
        ImageConfig { os: "linux".into(), architecture: "amd64".into(), ..ImageConfig::default() };
    config.config.env = vec![DEFAULT_ENVIRONMENT.to_owned()];
    let nothing = Digest::of(b"");
    let image = Arc::new(Image { manifest: nothing, id: nothing, config, layers: Vec::new(), remote: None });
    for request in requests {
        bases.insert(request.key.clone(), Ok(Arc::clone(&image)));
    }
}

#[cfg(test)]
mod tests;
