//! A whole file: logical lines become stages, and all findings are collected.

use crate::diagnostic::{Diagnostic, Severity, Source, Span};

use super::checks::CheckOptions;
use super::instruction::{Dockerfile, Instruction, Kind, Stage};
use super::lexer::{LogicalLine, NO_EMPTY_CONTINUATION, lex};
use super::statement::{self, Statement};

/// What came of a file.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The file; `None` when there are errors.
    pub dockerfile: Option<Dockerfile>,
    /// All errors and warnings by place; those of lines that cannot be split come before other errors.
    pub diagnostics: Vec<Diagnostic>,
}

/// Parses a Dockerfile. An error in one instruction does not hide those in others.
pub fn parse(source: Source) -> Parsed {
    let lexed = lex(&source);
    let escape = lexed.directives.escape_char();
    let mut diagnostics = lexed.diagnostics;
    if let Some(check) = &lexed.directives.check
        && let Err(error) = CheckOptions::parse(&check.value)
    {
        diagnostics.push(
            Diagnostic::error(check.span, error.to_string())
                .with_help("use `skip=RULE,RULE`, `experimental=all` or `error=true`, joined by `;`"),
        );
    }
    // As in BuildKit, a line that cannot even be split is the first error, wherever it stands.
    let mut misunderstood = Vec::new();
    let mut global_args = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let mut from_seen = false;
    for line in &lexed.lines {
        let name = line.text.as_str().split_whitespace().next().unwrap_or_default();
        from_seen |= name.eq_ignore_ascii_case("FROM");
        match statement::parse(line, escape) {
            Err(error) => {
                // It may have been meant as FROM; what follows shall not be blamed for that.
                from_seen |= !name.eq_ignore_ascii_case("ARG");
                if statement::can_be_split(line, escape) {
                    misunderstood.push(error);
                } else {
                    diagnostics.push(error);
                }
            }
            Ok(Statement::From(from)) => {
                let doc = from.name.as_ref().and_then(|name| description(&line.comments, &name.value));
                let comments = block(&line.comments);
                stages.push(Stage { from, span: line.span, doc, comments, instructions: Vec::new() });
            }
            Ok(Statement::Instruction(kind)) => {
                let instruction = instruction(line, kind);
                match stages.last_mut() {
                    Some(stage) => stage.instructions.push(instruction),
                    // After a FROM that is wrong itself, there is a stage; it only is not known.
                    None if from_seen => {}
                    None if matches!(instruction.kind, Kind::Arg(_)) => global_args.push(instruction),
                    None => misunderstood.push(
                        Diagnostic::error(line.span, format!("{name} before the first FROM"))
                            .with_help("only ARG may stand before FROM"),
                    ),
                }
            }
        }
    }
    if is_sound(&diagnostics) && misunderstood.is_empty() && stages.is_empty() {
        misunderstood.push(nothing_to_build(&source, &lexed.lines));
    }
    let sort = |findings: &mut [Diagnostic]| {
        findings.sort_by_key(|finding| (finding.span.start, finding.span.end));
    };
    if is_sound(&diagnostics) {
        diagnostics.append(&mut misunderstood);
        sort(&mut diagnostics);
    } else {
        sort(&mut diagnostics);
        sort(&mut misunderstood);
        diagnostics.append(&mut misunderstood);
    }
    let sound = is_sound(&diagnostics);
    let dockerfile =
        sound.then_some(Dockerfile { source, directives: lexed.directives, global_args, stages });
    Parsed { dockerfile, diagnostics }
}

fn is_sound(findings: &[Diagnostic]) -> bool {
    findings.iter().all(|finding| finding.severity != Severity::Error)
}

/// The lines by which BuildKit names findings.
pub struct Lines<'a> {
    source: &'a Source,
    /// The instructions, in order.
    spans: Vec<Span>,
}

impl<'a> Lines<'a> {
    /// Finds the instructions of a file, sound or not.
    pub fn new(source: &'a Source) -> Self {
        Self { source, spans: lex(source).lines.iter().map(|line| line.span).collect() }
    }

    /// Returns the 1-based line of a finding: the first of the instruction, wherever in it the marked words
    /// stand.
    pub fn of(&self, finding: &Diagnostic) -> usize {
        let at = finding.span.start;
        // This check alone is reported where the instruction ends.
        if finding.rule == Some(NO_EMPTY_CONTINUATION) {
            return self.source.line(at);
        }
        let before = self.spans.partition_point(|span| span.end < at);
        let own = self.spans.get(before).filter(|span| span.start <= at);
        self.source.line(own.map_or(at, |span| span.start))
    }
}

/// Returns the line of one finding; see [`Lines::of`].
pub fn line_of(source: &Source, finding: &Diagnostic) -> usize {
    Lines::new(source).of(finding)
}

/// Parses one trigger, as ONBUILD stores it in an image's config. Spans point into `text`.
///
/// # Errors
/// When `text` is not exactly one instruction, is FROM, or is malformed.
pub fn parse_trigger(text: &str) -> Result<Instruction, Diagnostic> {
    let lexed = lex(&Source::new("ONBUILD", text));
    if let Some(error) = lexed.diagnostics.into_iter().find(|finding| finding.severity == Severity::Error) {
        return Err(error);
    }
    let whole = Span::new(0, text.len());
    let [line] = lexed.lines.as_slice() else {
        return Err(Diagnostic::error(whole, "a trigger of ONBUILD must be exactly one instruction"));
    };
    match statement::parse(line, lexed.directives.escape_char())? {
        Statement::Instruction(kind) => Ok(instruction(line, kind)),
        Statement::From(_) => Err(Diagnostic::error(whole, "FROM cannot be a trigger of ONBUILD")),
    }
}

fn instruction(line: &LogicalLine, kind: Kind) -> Instruction {
    let text = line.text.as_str().trim().to_owned();
    Instruction { kind, span: line.span, text, doc: block(&line.comments) }
}

fn block(comments: &[String]) -> Option<String> {
    (!comments.is_empty()).then(|| comments.join("\n"))
}

/// Returns what the comments above say about `name`: the rest of the line that begins with it.
fn description(comments: &[String], name: &str) -> Option<String> {
    comments.iter().find_map(|comment| comment.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned)
}

fn nothing_to_build(source: &Source, lines: &[LogicalLine]) -> Diagnostic {
    let at = Span::new(0, 0);
    if source.text.is_empty() {
        Diagnostic::error(at, "the file is empty").with_help("begin with a FROM instruction")
    } else if lines.is_empty() {
        // Reading has come to the last line by then.
        let whole = source.text.strip_suffix('\n').unwrap_or(&source.text);
        let last = whole.rfind('\n').map_or(0, |feed| feed + 1);
        Diagnostic::error(Span::new(last, last), "the file has no instructions")
            .with_help("begin with a FROM instruction")
    } else {
        let end = lines.last().map_or(at, |line| line.span);
        Diagnostic::error(end, "there is no stage to build").with_help("add a FROM instruction")
    }
}
