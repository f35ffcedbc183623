//! CopyIgnoredFile: a source of COPY or ADD that the ignore file takes out of the context.

use crate::diagnostic::Diagnostic;
use crate::graph::{Graph, Input, Op, Source};
use crate::path::RelPath;
use crate::pattern::{Ignore, Rule};

/// Patterns that leave nothing of a context.
const EVERYTHING: [&str; 3] = ["*", "**", "**/*"];

/// Compares the sources that steps read from the main context with its ignore file.
///
/// Where there is an exception (`!`) nothing is said: a directory may be excluded and a file in it kept.
pub fn ignored_sources(graph: &Graph, ignore: &Ignore) -> Vec<Diagnostic> {
    if ignore.has_exceptions() || ignore.rules().is_empty() {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for step in graph.steps() {
        let (Op::Copy(copy), Some(span)) = (&step.op, step.span) else { continue };
        for source in &copy.sources {
            let Source::Path { input: Input::Context(None), path } = source else { continue };
            let Some(rule) = excluding_rule(ignore, &RelPath::clean(path)) else { continue };
            let verb = if copy.extract { "Add" } else { "Copy" };
            let message = format!("Attempting to {verb} file \"{path}\" that is excluded by .dockerignore");
            let help = format!("line {} of the ignore file excludes it: `{}`", rule.line, rule.text);
            findings.push(Diagnostic::warning("CopyIgnoredFile", span, message).with_help(help));
        }
    }
    findings
}

fn excluding_rule<'a>(ignore: &'a Ignore, path: &RelPath) -> Option<&'a Rule> {
    if path.is_root() {
        return ignore.rules().iter().find(|rule| EVERYTHING.contains(&rule.text.as_str()));
    }
    ignore.verdict(path).rule.map(|index| &ignore.rules()[index])
}
