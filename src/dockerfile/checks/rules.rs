//! The checks themselves.

use crate::diagnostic::{Diagnostic, Span};

use super::super::instruction::{Dockerfile, Instruction, Kind};

/// Runs every check over `file`.
pub(super) fn all(file: &Dockerfile) -> Vec<Diagnostic> {
    let mut run = Run { file, found: Vec::new() };
    run.casing();
    run.keyword_casing();
    run.stage_names();
    run.descriptions();
    run.maintainers();
    run.found
}

struct Run<'a> {
    file: &'a Dockerfile,
    found: Vec<Diagnostic>,
}

impl<'a> Run<'a> {
    fn report(
        &mut self,
        rule: &'static str,
        span: Span,
        message: String,
        help: impl Into<Option<&'static str>>,
    ) {
        let warning = Diagnostic::warning(rule, span, message);
        self.found.push(match help.into() {
            Some(help) => warning.with_help(help),
            None => warning,
        });
    }

    /// Returns an instruction's name as written, and where.
    fn name(&self, span: Span) -> (&'a str, Span) {
        let text = &self.file.source.text[span.range()];
        let name = text.split(char::is_whitespace).next().unwrap_or_default();
        (name, Span::new(span.start, span.start + name.len()))
    }

    fn casing(&mut self) {
        let instructions = self.file.stages.iter().flat_map(|stage| {
            std::iter::once(stage.span).chain(stage.instructions.iter().map(|instruction| instruction.span))
        });
        let names: Vec<(&str, Span)> = instructions.map(|span| self.name(span)).collect();
        let lower = names.iter().filter(|(name, _)| *name == name.to_lowercase()).count();
        let upper = names.iter().filter(|(name, _)| *name == name.to_uppercase()).count();
        for (name, span) in names {
            let (wanted, case) =
                if lower > upper { (name.to_lowercase(), "lower") } else { (name.to_uppercase(), "upper") };
            if name != wanted {
                let message = format!("`{name}` is not in {case} case as most instructions are");
                self.report("ConsistentInstructionCasing", span, message, None);
            }
        }
    }

    fn keyword_casing(&mut self) {
        for stage in &self.file.stages {
            let (Some(keyword), Some(name)) = (&stage.from.keyword, &stage.from.name) else { continue };
            let written_name = &self.file.source.text[name.span.range()];
            if written_name != written_name.to_lowercase() {
                let message = format!("stage name `{written_name}` is not in lower case");
                self.report("StageNameCasing", name.span, message, None);
            }
            let (from, written) = (self.name(stage.span).0, &keyword.value);
            let differs = from == from.to_lowercase() && *written != written.to_lowercase()
                || from == from.to_uppercase() && *written != written.to_uppercase();
            if differs {
                let message = format!("the case of `{written}` is not that of `{from}`");
                self.report("FromAsCasing", keyword.span, message, None);
            }
        }
    }

    fn stage_names(&mut self) {
        let mut seen: Vec<&str> = Vec::new();
        for name in self.file.stages.iter().filter_map(|stage| stage.from.name.as_ref()) {
            if matches!(name.value.as_str(), "context" | "scratch") {
                let message = format!("the stage name `{}` has a meaning of its own", name.value);
                self.report("ReservedStageName", name.span, message, "choose another name");
            }
            if seen.contains(&name.value.as_str()) {
                let message = format!("a stage above is called `{}` too", name.value);
                self.report("DuplicateStageName", name.span, message, "choose another name");
            }
            seen.push(&name.value);
        }
    }

    /// A comment above ARG, or above a FROM with a name, is its description and begins with the name.
    fn descriptions(&mut self) {
        let file = self.file;
        for argument in &file.global_args {
            self.description(argument);
        }
        for stage in &file.stages {
            let name = stage.from.name.iter().map(|name| name.value.as_str());
            self.describes("FROM", stage.span, stage.comments.as_deref(), &name.collect::<Vec<_>>());
            for instruction in &stage.instructions {
                self.description(instruction);
            }
        }
    }

    fn description(&mut self, instruction: &Instruction) {
        let Kind::Arg(arguments) = &instruction.kind else { return };
        let names: Vec<&str> = arguments.iter().map(|argument| argument.name.value.as_str()).collect();
        self.describes("ARG", instruction.span, instruction.doc.as_deref(), &names);
    }

    fn describes(&mut self, what: &str, span: Span, comments: Option<&str>, names: &[&str]) {
        let Some(comment) = comments.and_then(|comments| comments.lines().last()) else { return };
        let first = comment.split(' ').next().unwrap_or_default();
        if !names.is_empty() && !names.contains(&first) {
            let message = format!("the comment above {what} does not begin with the name that it describes");
            let span = self.name(span).1;
            self.report("InvalidDefinitionDescription", span, message, "write `# NAME description`");
        }
    }

    fn maintainers(&mut self) {
        let instructions = self.file.stages.iter().flat_map(|stage| &stage.instructions);
        let deprecated = instructions.filter(|instruction| matches!(instruction.kind, Kind::Maintainer(_)));
        for span in deprecated.map(|instruction| self.name(instruction.span).1).collect::<Vec<_>>() {
            let help = "use LABEL org.opencontainers.image.authors=…";
            self.report("MaintainerDeprecated", span, "MAINTAINER is deprecated".to_owned(), help);
        }
    }
}
