//! Whole files: `testdata/dockerfile/ok` must parse, `err` must not; both are shown as snapshots.

mod print;
mod second_opinion;

use std::path::Path;

use proptest::prelude::*;

use super::{parse, parse_trigger};
use crate::diagnostic::{Diagnostic, Severity, Source, Span, render};

/// Returns name and text of every `*.Dockerfile` in a folder of `testdata/dockerfile`.
fn files(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/dockerfile").join(folder);
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "Dockerfile") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            files.push((name, fs_err::read_to_string(&path).unwrap()));
        }
    }
    assert!(files.len() > 3, "the test data is missing");
    files.sort();
    files
}

fn rendered(source: &Source, diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|diagnostic| render(source, diagnostic)).collect()
}

fn snapshot(folder: &str, name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => format!("../../../testdata/dockerfile/{folder}"),
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, text);
    });
}

#[test]
fn sound_files_parse() {
    for (name, text) in files("ok") {
        let source = Source::new("Dockerfile", text);
        let parsed = parse(source.clone());
        let findings = rendered(&source, &parsed.diagnostics);
        let Some(dockerfile) = parsed.dockerfile else { panic!("{name} does not parse:\n{findings}") };
        snapshot("ok", &name, &(print::dockerfile(&dockerfile) + &findings));
    }
}

#[test]
fn all_errors_of_a_file_are_found() {
    for (name, text) in files("err") {
        let source = Source::new("Dockerfile", text);
        let parsed = parse(source.clone());
        assert!(parsed.dockerfile.is_none(), "{name} parses");
        snapshot("err", &name, &rendered(&source, &parsed.diagnostics));
    }
}

/// A snapshot whose file is gone would never be looked at again.
#[test]
fn every_snapshot_has_its_file() {
    for folder in ["ok", "err"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/dockerfile").join(folder);
        let names: Vec<String> = files(folder).into_iter().map(|(name, _)| name).collect();
        for entry in fs_err::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(names.contains(&name), "{} has no Dockerfile", path.display());
        }
    }
}

#[test]
fn triggers_are_one_instruction() {
    assert_eq!(parse_trigger("RUN make").unwrap().text, "RUN make");
    assert_eq!(parse_trigger("COPY <<A /a\nbody\nA").unwrap().text, "COPY <<A /a");
    for text in ["", "RUN a\nRUN b", "FROM x", "NOPE", "# comment"] {
        assert!(parse_trigger(text).is_err(), "for {text:?}");
    }
}

/// The text of a trigger, stored in a config, parses to the same instruction again.
#[test]
fn triggers_survive_being_stored() {
    let text = "FROM a\nONBUILD RUN <<-EOF cat\n\tone\n\ttwo\nEOF\n";
    let dockerfile = parse(Source::new("Dockerfile", text)).dockerfile.unwrap();
    let super::instruction::Kind::Onbuild(trigger) = &dockerfile.stages[0].instructions[0].kind else {
        panic!("no ONBUILD")
    };
    let again = parse_trigger(&trigger.text).unwrap();
    let bodies = |instruction: &super::instruction::Instruction| match &instruction.kind {
        super::instruction::Kind::Run(run) => {
            run.heredocs.iter().map(|one| one.body.clone()).collect::<Vec<_>>()
        }
        other => panic!("no RUN but {other:?}"),
    };
    assert_eq!(bodies(&again), ["one\ntwo\n"]);
    assert_eq!(bodies(&again), bodies(&trigger.instruction));
    assert_eq!(again.text, trigger.instruction.text);
}

#[test]
fn lines_have_a_limit() {
    for (length, sound) in [(65535, true), (65536, false)] {
        let text = format!("FROM a\nRUN {}\n", "x".repeat(length - "RUN ".len()));
        assert_eq!(parse(Source::new("Dockerfile", text)).dockerfile.is_some(), sound, "with {length} bytes");
    }
}

/// What every result must satisfy, whatever the text.
fn laws(text: &str) -> Result<(), TestCaseError> {
    let source = Source::new("Dockerfile", text);
    let parsed = parse(source.clone());
    let holds = |span: Span| text.get(span.range()).is_some();
    for diagnostic in &parsed.diagnostics {
        prop_assert!(holds(diagnostic.span), "{diagnostic:?}");
        render(&source, diagnostic);
    }
    let starts: Vec<usize> = parsed.diagnostics.iter().map(|diagnostic| diagnostic.span.start).collect();
    let steps_back = starts.windows(2).filter(|pair| pair[1] < pair[0]).count();
    prop_assert!(
        steps_back <= 1,
        "the findings of lines that cannot be split and the others are not in order"
    );
    let errors = parsed.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    prop_assert_eq!(parsed.dockerfile.is_none(), errors);
    if let Some(dockerfile) = parsed.dockerfile {
        for span in print::spans(&dockerfile) {
            prop_assert!(holds(span), "{span:?}");
        }
    }
    Ok(())
}

/// Pieces that mean something, so that random texts go deep.
const PIECES: &str = "(FROM a|RUN |COPY |ADD |ENV |ARG |LABEL |ONBUILD |HEALTHCHECK |CMD |EXPOSE |VOLUME |SHELL |--from=|--mount=type=cache,target=\
    |--chown=|<<EOF|<<-\"E\"|\nEOF\n|\nE\n|\\\\\n|\\\\ \n|\n|\r\n|# escape=`|#|\\[\"a\", |\"b\"\\]|\"|'|\\$|\\{|\\}|=|,|ä|\t| |a|b|`)";

proptest! {
    #[test]
    fn any_text_is_survived(text in "\\PC{0,60}") {
        laws(&text)?;
    }

    #[test]
    fn any_mixture_is_survived(pieces in prop::collection::vec(PIECES, 0..24)) {
        laws(&pieces.concat())?;
    }

    #[test]
    fn any_damage_is_survived(file in 0_usize..64, at in 0_usize..4096, cut in 0_usize..12, insert in PIECES) {
        let all: Vec<_> = files("ok").into_iter().chain(files("err")).collect();
        let mut text = all[file % all.len()].1.clone();
        let start = text.floor_char_boundary(at % (text.len() + 1));
        let end = text.floor_char_boundary(start + cut).max(start);
        text.replace_range(start..end, &insert);
        laws(&text)?;
    }
}

#[test]
fn a_line_that_cannot_be_split_is_the_first_error() {
    for (text, expected) in [
        ("FROM a\nNOPE\nENV x\n", &[3, 2][..]),
        ("FROM a\nNOPE\nONBUILD RUN [1]\nLABEL a=b c\n", &[3, 4, 2]),
        ("FROM a\nNOPE\nHEALTHCHECK CMD [1]\n", &[3, 2]),
        ("FROM a\nNOPE\nRUN <<E\n", &[3, 2]),
        ("FROM a\nNOPE\nENV =x\nCOPY a\n", &[2, 3, 4]),
    ] {
        let source = Source::new("Dockerfile", text);
        let found = parse(source.clone()).diagnostics;
        let lines: Vec<usize> = found.iter().map(|finding| super::line_of(&source, finding)).collect();
        assert_eq!(lines, expected, "in {text}");
    }
}
