use super::super::parse;
use super::*;
use crate::diagnostic::Source;

/// Returns the findings as `rule: marked text`.
fn found(text: &str) -> Vec<String> {
    let parsed = parse(Source::new("Dockerfile", text));
    let Some(file) = parsed.dockerfile else { panic!("does not parse: {:?} in {text}", parsed.diagnostics) };
    checks(&file)
        .into_iter()
        .map(|finding| format!("{}: {}", finding.rule.unwrap_or_default(), &text[finding.span.range()]))
        .collect()
}

#[test]
fn each_check_finds_its_fault() {
    let cases: &[(&str, &[&str])] = &[
        ("FROM a AS b\nRUN x\n", &[]),
        ("FROM a AS Bc\n", &["StageNameCasing: Bc"]),
        ("FROM a as b\n", &["FromAsCasing: as"]),
        ("from a AS b\n", &["FromAsCasing: AS"]),
        ("from a as b\n", &[]),
        ("FROM a\nrun x\nCOPY a b\n", &["ConsistentInstructionCasing: run"]),
        ("from a\nrun x\nCopy a b\n", &["ConsistentInstructionCasing: Copy"]),
        ("FROM a AS b\nFROM c AS B\n", &["StageNameCasing: B", "DuplicateStageName: B"]),
        ("FROM a AS scratch\n", &["ReservedStageName: scratch"]),
        ("FROM a\nMAINTAINER x\n", &["MaintainerDeprecated: MAINTAINER"]),
    ];
    for (text, expected) in cases {
        assert_eq!(&found(text), expected, "in {text}");
    }
}

#[test]
fn checks_can_be_skipped_and_asked_for() {
    let described = "# other text\nFROM a AS b\n";
    for (text, expected) in [
        ("# check=skip=all\nFROM a as B\n".to_owned(), vec![]),
        ("# check=skip=FromAsCasing\nFROM a as B\n".to_owned(), vec!["StageNameCasing: B"]),
        ("FROM a\n# check=skip=MaintainerDeprecated\nMAINTAINER x\n".to_owned(), vec![]),
        (
            "FROM a\n# check=skip=MaintainerDeprecated\nMAINTAINER x\nMAINTAINER y".to_owned(),
            vec!["MaintainerDeprecated: MAINTAINER"],
        ),
        (described.to_owned(), vec![]),
        (format!("# check=experimental=all\n{described}"), vec!["InvalidDefinitionDescription: FROM"]),
    ] {
        assert_eq!(found(&text), expected, "in {text}");
    }
}

#[test]
fn options_are_parsed() {
    let options = CheckOptions::parse("skip=A, B;error=true").unwrap();
    assert!(options.error);
    assert_eq!(CheckOptions::parse("").unwrap(), CheckOptions::default());
    for text in ["skip", "nope=1", "error=maybe"] {
        assert!(CheckOptions::parse(text).is_err(), "for {text}");
    }
}
