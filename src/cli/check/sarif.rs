//! SARIF 2.1.0: the static analysis results interchange format of OASIS.

use kiln::checkup::{Examination, rule};
use kiln::diagnostic::{Diagnostic, Severity, Source};
use serde_json::{Value, json};

/// The rule id of findings that are no build check's.
const ERROR: &str = "error";

/// Returns a log with one run.
pub(super) fn log(source: &Source, examination: &Examination) -> Value {
    let mut ids: Vec<&str> = examination.findings.iter().map(id).collect();
    ids.sort_unstable();
    ids.dedup();
    let rules: Vec<Value> = ids.iter().map(|id| describe(id)).collect();
    let result = |finding: &Diagnostic| {
        let index = ids.binary_search(&id(finding)).expect("the list was made of the same findings");
        result(source, finding, index)
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "kiln",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": examination.findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn id(finding: &Diagnostic) -> &'static str {
    finding.rule.unwrap_or(ERROR)
}

fn describe(id: &str) -> Value {
    match rule(id) {
        Some(rule) => json!({
            "id": id,
            "shortDescription": { "text": rule.description },
            "helpUri": rule.url(),
        }),
        None => json!({ "id": id, "shortDescription": { "text": "the file builds" } }),
    }
}

fn result(source: &Source, finding: &Diagnostic, index: usize) -> Value {
    let level = match finding.severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let (start_line, start_column) = source.position(finding.span.start);
    let (end_line, end_column) = source.position(finding.span.end);
    let help = finding.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    json!({
        "ruleId": id(finding),
        "ruleIndex": index,
        "level": level,
        "message": { "text": format!("{}{help}", finding.message) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&source.name) },
            "region": {
                "startLine": start_line,
                "startColumn": start_column,
                "endLine": end_line,
                "endColumn": end_column,
            },
        }}],
    })
}

/// Writes a path as a URI reference: everything but unreserved characters and slashes is escaped.
fn uri(path: &str) -> String {
    let mut uri = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(char::from(byte));
            }
            other => uri += &format!("%{other:02X}"),
        }
    }
    uri
}
