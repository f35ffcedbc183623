//! Build checks that need nothing but the language. Their names are BuildKit's.
//!
//! | check | finds |
//! |---|---|
//! | StageNameCasing, FromAsCasing, ConsistentInstructionCasing | mixed upper and lower case |
//! | DuplicateStageName, ReservedStageName | names that mislead |
//! | FromPlatformFlagConstDisallowed, RedundantTargetPlatform | `--platform` that says too much |
//! | JSONArgsRecommended, MultipleInstructionsDisallowed | commands that surprise |
//! | MaintainerDeprecated, LegacyKeyValueFormat | old forms |
//! | ExposeProtoCasing, ExposeInvalidFormat, WorkdirRelativePath | odd settings |
//! | SecretsUsedInArgOrEnv | names that sound like secrets |
//! | InvalidDefinitionDescription | comments that describe something else; only when asked for |
//!
//! Where a value holds a variable, nothing is said: only lowering knows what it will be. NoEmptyContinuation
//! is found by the parser.

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
