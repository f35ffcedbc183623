//! The only bridge from the language to the graph: what is written becomes what is to be done.
//!
//! In: a [`Dockerfile`], the [`Options`] of the build, and the [`Bases`] known so far. Out: the [`Graph`] of
//! the stages that the target needs, or the list of base images that must be looked up first. Lowering is
//! pure and starts from the top every time, so that asking again with more bases is the whole protocol.
//!
//! Rules: every variable, default and inherited value is resolved here; ENV, LABEL, CMD and the like fold
//! into the config; stages that the target does not need are neither asked for nor lowered; triggers (ONBUILD)
//! become instructions of the stage that inherits them; every finding carries the place in the file.
//!
//! ```text
//! globals    ARG before FROM, platform arguments       -> values for FROM lines
//! stages     names, bases, --from, triggers            -> which stages are needed, from what
//! fold       one stage, instruction by instruction     -> steps, config, history
//!   run, mount, transfer, expose, signal, metadata       one kind of instruction each
//!   remote                                               sources of ADD on other machines
//!   variables, words, place                              environments, expansion, paths
//!   history, label                                       texts for the image and for the user
//! checks     what values show                          -> BuildKit's warnings
//! ```
//!
//! What cannot be done is refused by name, with its line: devices, rights that were not granted, commands of an
//! architecture that this machine does not execute.
//!
//! It opens no file and asks no registry; what a base image is, the caller finds out.

mod bases;
mod checks;
mod expose;
mod fold;
mod globals;
mod history;
mod label;
mod metadata;
mod mount;
mod options;
mod place;
mod remote;
mod run;
mod signal;
mod stages;
mod syntax;
mod transfer;
mod variables;
mod words;

#[cfg(test)]
mod tests;

pub use bases::{BaseKey, BaseName, BaseRequest, Bases};
pub use options::{Foreign, NamedContext, Options};

use crate::diagnostic::{Diagnostic, Severity};
use crate::dockerfile::CheckFilter;
use crate::dockerfile::instruction::Dockerfile;
use crate::graph::Graph;

/// What lowering comes to.
#[derive(Debug, Clone)]
pub enum Lowered {
    /// These images must be known first, in the order in which the file names them.
    Missing(Vec<BaseRequest>),
    /// The build.
    Done {
        /// What is to be done.
        graph: Graph,
        /// What the user should know.
        warnings: Vec<Diagnostic>,
    },
}

/// Lowers `file` as far as `bases` are known.
///
/// # Errors
/// With all findings, warnings included, when at least one of them is an error.
pub fn lower(file: &Dockerfile, options: &Options, bases: &Bases) -> Result<Lowered, Vec<Diagnostic>> {
    let mut findings = Vec::new();
    let lowered = attempt(file, options, bases, &mut findings);
    let lowered = lowered.unwrap_or_else(|error| {
        findings.push(error);
        Attempt::Missing(Vec::new())
    });
    let filter = CheckFilter::new(file);
    findings.retain(|finding| filter.keeps(finding));
    sort(&mut findings);
    match lowered {
        _ if failed(&findings) => Err(findings),
        Attempt::Missing(requests) => Ok(Lowered::Missing(requests)),
        Attempt::Done(graph) => Ok(Lowered::Done { graph, warnings: findings }),
    }
}

/// Warnings in the order of the file; behind them errors as they were found, which is BuildKit's order.
fn sort(findings: &mut [Diagnostic]) {
    findings.sort_by_key(|finding| match finding.severity {
        Severity::Warning => (false, finding.span.start),
        Severity::Error => (true, 0),
    });
}

enum Attempt {
    Missing(Vec<BaseRequest>),
    Done(Graph),
}

fn failed(findings: &[Diagnostic]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Error)
}

fn attempt(
    file: &Dockerfile,
    options: &Options,
    bases: &Bases,
    findings: &mut Vec<Diagnostic>,
) -> Result<Attempt, Diagnostic> {
    if !options.only_checked {
        syntax::check(&file.directives)?;
    }
    let globals = globals::Globals::evaluate(file, options, findings)?;
    let mut stages = stages::Stages::new(file, options, &globals, findings);
    if failed(findings) {
        return Ok(Attempt::Missing(Vec::new()));
    }
    let target = stages.target(options)?;
    stages.link(findings);
    if failed(findings) {
        return Ok(Attempt::Missing(Vec::new()));
    }
    stages.refuse_cycles()?;
    let reachable = stages.inherit_triggers(target, bases, findings);
    let missing = stages.missing(&reachable, bases, findings);
    if !missing.is_empty() || failed(findings) {
        return Ok(Attempt::Missing(missing));
    }
    let inputs = fold::Inputs { file, options, globals: &globals, stages: &stages, bases };
    let graph = fold::fold(inputs, &reachable, target, findings);
    Ok(Attempt::Done(graph))
}
