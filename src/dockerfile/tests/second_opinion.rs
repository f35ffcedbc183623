//! The part of the language that another parser knows as well is read the same by both: names, images,
//! arguments and the places that they stand at.

use dockerfile_parser as other;
use proptest::prelude::*;

use super::super::instruction::{CommandLine, Dockerfile, Kind, TransferSource};
use super::super::parse;
use crate::diagnostic::{Source, Span};

/// One fact about an instruction: what it is, a text of it, where that stands (0 where it is not compared).
type Fact = (&'static str, String, usize);

fn ours(file: &Dockerfile) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |what, text: &str, span: Span| facts.push((what, text.to_owned(), span.start));
    for stage in &file.stages {
        fact("FROM", &stage.from.image.raw, stage.from.image.span);
        if let Some(name) = &stage.from.name {
            fact("AS", &name.value, name.span);
        }
        for instruction in &stage.instructions {
            match &instruction.kind {
                Kind::Run(run) => command("RUN", &run.command, &mut fact),
                Kind::Cmd(line) => command("CMD", line, &mut fact),
                Kind::Copy(copy) => {
                    for source in &copy.sources {
                        if let TransferSource::Path(path) = source {
                            fact("source", &path.raw, path.span);
                        }
                    }
                    fact("destination", &copy.destination.raw, copy.destination.span);
                }
                Kind::Env(pairs) => pairs.iter().for_each(|pair| fact("ENV", &pair.key.raw, pair.key.span)),
                _ => fact("other", "", instruction.span),
            }
        }
    }
    facts
}

fn command(what: &'static str, line: &CommandLine, fact: &mut impl FnMut(&'static str, &str, Span)) {
    let words = match line {
        CommandLine::Shell(text) => vec![text.clone()],
        CommandLine::Exec(words) => words.clone(),
    };
    words.iter().for_each(|word| fact(what, word, Span::default()));
}

fn theirs(file: &other::Dockerfile) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |what, text: &str, at: usize| facts.push((what, text.to_owned(), at));
    for instruction in &file.instructions {
        match instruction {
            other::Instruction::From(from) => {
                fact("FROM", &from.image.content, from.image.span.start);
                if let Some(alias) = &from.alias {
                    fact("AS", &alias.content, alias.span.start);
                }
            }
            other::Instruction::Run(run) => other_command("RUN", &run.expr, &mut fact),
            other::Instruction::Cmd(cmd) => other_command("CMD", &cmd.expr, &mut fact),
            other::Instruction::Copy(copy) => {
                copy.sources.iter().for_each(|source| fact("source", &source.content, source.span.start));
                fact("destination", &copy.destination.content, copy.destination.span.start);
            }
            other::Instruction::Env(env) => {
                env.vars.iter().for_each(|pair| fact("ENV", &pair.key.content, pair.key.span.start));
            }
            instruction => fact("other", "", instruction.span().start),
        }
    }
    facts
}

fn other_command(
    what: &'static str,
    line: &other::ShellOrExecExpr,
    fact: &mut impl FnMut(&'static str, &str, usize),
) {
    match line {
        other::ShellOrExecExpr::Shell(text) => fact(what, &text.to_string(), 0),
        other::ShellOrExecExpr::Exec(words) => words.as_str_vec().iter().for_each(|word| fact(what, word, 0)),
    }
}

proptest! {
    #[test]
    fn both_read_the_same(
        lines in prop::collection::vec(
            prop_oneof![
                "RUN [a-z]{1,5}( \\\\\n  [a-z]{1,3}){0,2}",
                "RUN [a-z]{1,4} \\\\\n# [a-z ]{0,5}\n  [a-z]{1,4}",
                "(CMD|cmd) \\[\"[a-z]{1,4}\", \"[a-z ]{1,4}\"\\]",
                "COPY( --from=[a-z]{1,3})? [a-z]{1,3} [a-z]{1,3} /[a-z]{1,3}",
                "ENV [A-Z]{1,3}=[a-z]{1,3}( [A-Z]{1,3}=\"[a-z ]{1,3}\"){0,2}",
                "WORKDIR /[a-z]{1,4}",
                "EXPOSE [1-9]{1,4}",
                "# [a-z ]{0,8}",
                "",
                "FROM [a-z]{1,5}:[1-9] AS [a-z]{1,4}",
            ],
            0..8,
        ),
    ) {
        let text = format!("FROM first\n{}\n", lines.join("\n"));
        let file = parse(Source::new("Dockerfile", text.as_str())).dockerfile;
        let second = other::Dockerfile::parse(&text);
        let (Some(file), Ok(second)) = (file, second) else {
            return Err(TestCaseError::fail(format!("one of both refuses {text}")));
        };
        prop_assert_eq!(ours(&file), theirs(&second), "{}", text);
    }
}
