//! Findings as text, as kiln's JSON and as BuildKit's.

use kiln::checkup::{Examination, rule};
use kiln::diagnostic::{self, Diagnostic, Source};
use kiln::dockerfile::Lines;
use serde_json::{Value, json};

/// Shows each finding with its lines, and how many there are.
pub(super) fn text(source: &Source, examination: &Examination) -> String {
    let mut text: String =
        examination.findings.iter().map(|finding| diagnostic::render(source, finding) + "\n").collect();
    let (errors, warnings) = (examination.errors().count(), examination.warnings().count());
    text += &match (errors, warnings) {
        (0, 0) => format!("{}: nothing found\n", source.name),
        (0, warnings) => format!("{}: {}\n", source.name, counted(warnings, "warning")),
        (errors, 0) => format!("{}: {}\n", source.name, counted(errors, "error")),
        _ => format!("{}: {}, {}\n", source.name, counted(errors, "error"), counted(warnings, "warning")),
    };
    if let Some(message) = failed_checks(examination) {
        text += &format!("{}: {message}\n", source.name);
    }
    text
}

/// Returns `2 warnings`, `1 warning`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Returns kiln's own form: the first error, and the warnings of the build checks.
pub(super) fn json(source: &Source, examination: &Examination) -> Value {
    let lines = Lines::new(source);
    let place = |finding: &Diagnostic| {
        let (line, column) = source.position(finding.span.start);
        let (end_line, end_column) = source.position(finding.span.end);
        json!({ "line": line, "column": column, "endLine": end_line, "endColumn": end_column })
    };
    let warning = |finding: &Diagnostic| {
        let name = finding.rule.unwrap_or_default();
        json!({
            "rule": name,
            "line": lines.of(finding),
            "detail": finding.message,
            "description": rule(name).map(|rule| rule.description),
            "url": rule(name).map(|rule| rule.url()),
            "help": finding.help,
            "span": place(finding),
        })
    };
    let error = |finding: &Diagnostic| {
        json!({
            "message": finding.message,
            "line": lines.of(finding),
            "help": finding.help,
            "span": place(finding),
        })
    };
    let mut errors: Vec<Value> = examination.errors().map(error).collect();
    errors.extend(failed_checks(examination).map(|message| json!({ "message": message, "line": 0 })));
    json!({
        "file": source.name,
        "warnings": examination.warnings().map(warning).collect::<Vec<_>>(),
        "error": errors.first(),
        "errors": errors,
    })
}

/// Says that the file makes its warnings fail the build, if it does and there are any. That has no line.
fn failed_checks(examination: &Examination) -> Option<String> {
    let rules: Vec<&str> = examination.failing_checks().into_iter().collect();
    (!rules.is_empty()).then(|| format!("build checks fail the build: {}", rules.join(", ")))
}

/// Returns BuildKit's form of the result, which tools around docker read.
pub(super) fn buildkit(source: &Source, examination: &Examination) -> Value {
    use base64::Engine as _;

    let lines = Lines::new(source);
    let location = |finding: &Diagnostic| {
        let (start, end) = (lines.of(finding), source.line(finding.span.end.saturating_sub(1)));
        json!({ "ranges": [{ "start": { "line": start }, "end": { "line": end.max(start) } }] })
    };
    let warning = |finding: &Diagnostic| {
        let name = finding.rule.unwrap_or_default();
        json!({
            "ruleName": name,
            "description": rule(name).map(|rule| rule.description),
            "url": rule(name).map(|rule| rule.url()),
            "detail": finding.message,
            "location": location(finding),
        })
    };
    let data = base64::engine::general_purpose::STANDARD.encode(&*source.text);
    let mut result = json!({
        "warnings": examination.warnings().map(warning).collect::<Vec<_>>(),
        "sources": [{ "filename": source.name, "language": "Dockerfile", "data": data }],
    });
    if let Some(error) = examination.errors().next() {
        result["buildError"] = json!({ "message": error.message, "location": location(error) });
    } else if let Some(message) = failed_checks(examination) {
        result["buildError"] = json!({ "message": message, "location": {} });
    }
    result
}
