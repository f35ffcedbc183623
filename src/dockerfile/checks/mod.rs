//! Build checks that need nothing but the text. Their names are BuildKit's.
//!
//! | check | finds |
//! |---|---|
//! | StageNameCasing, FromAsCasing, ConsistentInstructionCasing | mixed upper and lower case |
//! | DuplicateStageName, ReservedStageName | names that mislead |
//! | MaintainerDeprecated | an instruction of old |
//! | InvalidDefinitionDescription | comments that describe something else; only when asked for |
//!
//! NoEmptyContinuation is found by the parser. Checks that depend on values or on what a stage inherits are
//! lowering's; [`CheckFilter`] speaks for all of them.

mod options;
mod rules;

pub use options::{CheckFilter, CheckOptions, InvalidCheckOption};

use crate::diagnostic::Diagnostic;

use super::instruction::Dockerfile;

/// Runs the checks; what the file's `# check=` lines skip is left out.
pub fn checks(file: &Dockerfile) -> Vec<Diagnostic> {
    let mut findings = rules::all(file);
    let filter = CheckFilter::new(file);
    findings.retain(|finding| filter.keeps(finding));
    findings.sort_by_key(|finding| (finding.span.start, finding.span.end));
    findings
}

#[cfg(test)]
mod tests;
