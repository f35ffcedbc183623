//! `# check=skip=RULE,RULE;experimental=all;error=true`: which checks speak, and whether they stop a build.

use crate::diagnostic::{Diagnostic, Span};

use super::super::directives::directive;
use super::super::instruction::Dockerfile;

/// The checks that speak only when asked for.
const EXPERIMENTAL: &[&str] = &["InvalidDefinitionDescription"];

/// What a `# check=` line says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckOptions {
    skip: Rules,
    experimental: Rules,
    /// Whether a finding fails the build.
    pub error: bool,
}

/// Some checks or all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rules {
    All,
    Named(Vec<String>),
}

/// An option of `# check=` that does not exist or has a wrong value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid check option `{option}`")]
pub struct InvalidCheckOption {
    /// The option as written.
    pub option: String,
}

impl Default for Rules {
    fn default() -> Self {
        Self::Named(Vec::new())
    }
}

impl Rules {
    fn parse(text: &str) -> Self {
        match text.trim() {
            "all" => Self::All,
            names => Self::Named(names.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }

    fn hold(&self, rule: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name == rule),
        }
    }
}

impl CheckOptions {
    /// Parses the value of the directive.
    ///
    /// # Errors
    /// When an option has no value, is unknown, or is a boolean and its value is none.
    pub fn parse(text: &str) -> Result<Self, InvalidCheckOption> {
        let mut options = Self::default();
        if text.trim().is_empty() {
            return Ok(options);
        }
        for option in text.splitn(3, ';') {
            let invalid = || InvalidCheckOption { option: option.trim().to_owned() };
            let (name, value) = option.split_once('=').ok_or_else(invalid)?;
            match (name.trim(), value.trim()) {
                ("skip", rules) => options.skip = Rules::parse(rules),
                ("experimental", rules) => options.experimental = Rules::parse(rules),
                ("error", "1" | "t" | "T" | "true" | "TRUE" | "True") => options.error = true,
                ("error", "0" | "f" | "F" | "false" | "FALSE" | "False") => options.error = false,
                _ => return Err(invalid()),
            }
        }
        Ok(options)
    }

    /// Returns the options of a file; the parser has refused malformed ones.
    pub fn of(file: &Dockerfile) -> Self {
        let directive = file.directives.check.as_ref();
        directive.and_then(|check| Self::parse(&check.value).ok()).unwrap_or_default()
    }
}

/// The options of a whole file and of single instructions, whose comments may hold a `check=` too.
#[derive(Debug, Clone)]
pub struct CheckFilter {
    file: CheckOptions,
    instructions: Vec<(Span, CheckOptions)>,
}

impl CheckFilter {
    /// Collects the options of `file`.
    pub fn new(file: &Dockerfile) -> Self {
        let option = |comment: &str| {
            let found = directive(comment, "").filter(|found| found.name == "check")?;
            CheckOptions::parse(found.value.split(' ').next().unwrap_or_default()).ok()
        };
        let commented =
            |span, comments: &Option<String>| Some((span, comments.as_deref()?.lines().find_map(option)?));
        let all = file.stages.iter().flat_map(|stage| {
            let own = stage.instructions.iter().map(|own| commented(own.span, &own.doc));
            std::iter::once(commented(stage.span, &stage.comments)).chain(own)
        });
        let global = file.global_args.iter().map(|own| commented(own.span, &own.doc));
        let instructions = global.chain(all).flatten().collect();
        Self { file: CheckOptions::of(file), instructions }
    }

    /// Tells whether a finding is to be reported. Plain errors always are.
    pub fn keeps(&self, finding: &Diagnostic) -> bool {
        let Some(rule) = finding.rule else { return true };
        let at = finding.span.start;
        let own = self.instructions.iter().filter(|(span, _)| (span.start..=span.end).contains(&at));
        let mut options = own.map(|(_, options)| options).chain([&self.file]);
        if EXPERIMENTAL.contains(&rule) {
            options.any(|options| options.experimental.hold(rule))
        } else {
            !options.any(|options| options.skip.hold(rule))
        }
    }
}
