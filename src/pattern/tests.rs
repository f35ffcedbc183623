use proptest::prelude::*;

use super::*;
use crate::path::RelPath;

/// `testdata/ignore.txt`: blocks of rules, then lines `+ path` (kept) and `- path` (left out).
#[test]
fn the_table_holds() {
    let mut checked = 0;
    for block in include_str!("../../testdata/ignore.txt").split("\n\n") {
        let lines: Vec<&str> = block.lines().filter(|line| !line.starts_with("##")).collect();
        let is_case = |line: &&str| line.starts_with("+ ") || line.starts_with("- ");
        let rules: Vec<&str> = lines.iter().copied().filter(|line| !is_case(line)).collect();
        let ignore = Ignore::parse(rules.join("\n")).expect("the rules of the table are well-formed");
        for case in lines.iter().copied().filter(is_case) {
            let path = RelPath::clean(&case[2..]);
            let verdict = ignore.verdict(&path);
            assert_eq!(verdict.excluded, case.starts_with('-'), "{case} under {rules:?}");
            checked += 1;
        }
    }
    assert!(checked > 60, "the table has shrunk to {checked} cases");
}

#[test]
fn the_deciding_rule_is_named() {
    let ignore = Ignore::parse("# all\n*\n\n!src\n  src/*.tmp  \n").unwrap();
    let decided = |path: &str| {
        let verdict = ignore.verdict(&RelPath::clean(path));
        (
            verdict.excluded,
            verdict.rule.map(|rule| (ignore.rules()[rule].line, ignore.rules()[rule].text.as_str())),
        )
    };
    assert_eq!(decided("a"), (true, Some((2, "*"))));
    assert_eq!(decided("src/x"), (false, Some((4, "!src"))));
    assert_eq!(decided("src/x.tmp"), (true, Some((5, "src/*.tmp"))));
    assert_eq!(ignore.verdict(&RelPath::root()), Verdict::default());
}

#[test]
fn malformed_rules_are_errors() {
    for (text, expected) in [
        ("a\n!", "line 2: `!` without a pattern"),
        ("!  \n", "line 1: `!` without a pattern"),
        ("[", "line 1: malformed pattern `[`"),
        ("a[b", "line 1: malformed pattern `a[b`"),
        ("[]a]", "line 1: malformed pattern `[]a]`"),
        ("[-a]", "line 1: malformed pattern `[-a]`"),
        ("[a-]", "line 1: malformed pattern `[a-]`"),
        ("a\\", "line 1: malformed pattern `a\\`"),
    ] {
        assert_eq!(
            Ignore::parse(text).map(drop).map_err(|error| error.to_string()),
            Err(expected.to_owned()),
            "{text:?}"
        );
    }
}

#[test]
fn directories_can_be_skipped() {
    let below = |rules: &str, directory: &str| {
        Ignore::parse(rules).unwrap().may_keep_below(&RelPath::clean(directory))
    };
    for (rules, directory, expected) in [
        ("a", "a", false),
        ("a\n!a/b", "a", true),
        ("a\n!a/b", "a/c", false),
        ("a\n!a/b", "ab", false),
        ("*\n!src/**", "src/x", true),
        ("*\n!src/**", "target", false),
        ("*\n!src/*.rs", "src", true),
        ("*\n!src/*.rs", "doc", false),
        ("*\n!**/*.md", "any", true),
        ("*\n!**/README", "any", true),
    ] {
        assert_eq!(below(rules, directory), expected, "{directory} under {rules:?}");
    }
}

#[test]
fn globs() {
    for (pattern, path, expected) in [
        ("a*", "abc", true),
        ("a*", "a/b", false),
        ("*", "", true),
        ("**", "a/b", false),
        ("a/**", "a/b", true),
        ("?", "ä", true),
        ("??", "ä", false),
        ("[a-c]x", "bx", true),
        ("[^a-c]x", "bx", false),
        ("[^a]", "/", true),
        ("[\\]]", "]", true),
        ("\\*", "*", true),
        ("\\*", "a", false),
        ("a*b*c", "axxbyyc", true),
        ("a*b*c", "axxbyy", false),
        ("*.tar.gz", "x.tar.gz", true),
    ] {
        assert_eq!(Glob::parse(pattern).unwrap().matches(path), expected, "{pattern} on {path}");
    }
    assert!(Glob::parse("?").unwrap().matches(b"\xff"), "a byte that is no UTF-8 is one character");
    for pattern in ["[", "[a", "a\\", "[]a]", "[a-]", "*["] {
        assert!(Glob::parse(pattern).is_err(), "{pattern}");
    }
    for (text, expected) in
        [("a*", true), ("a\\*", false), ("[", true), ("a?", true), ("a", false), ("\\", false)]
    {
        assert_eq!(is_glob(text), expected, "{text}");
    }
}

#[test]
fn long_patterns_are_neither_slow_nor_deep() {
    let path = "a".repeat(4000);
    assert!(!Glob::parse("*a".repeat(200) + "b").unwrap().matches(path.clone() + "c"));
    assert!(!Glob::parse("?*".repeat(20_000)).unwrap().matches("ab"));
    assert!(Glob::parse("*?".repeat(200)).unwrap().matches(path));
}

/// Matches by trying everything, straight from the definition.
fn naive(pattern: &[u8], path: &[u8], in_front: bool) -> bool {
    match (pattern, path) {
        ([], _) => path.is_empty(),
        ([b'*', b'*'], _) | ([b'*', b'*', b'/'], _) => true,
        ([b'*', b'*', rest @ ..], _) => {
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            // In front of a literal, `**` is a plain suffix match and needs no slash.
            let plain =
                in_front && pattern.get(2) != Some(&b'/') && !rest.iter().any(|byte| b"*?[\\".contains(byte));
            naive(rest, path, false)
                || (0..path.len())
                    .any(|at| (plain || path[at] == b'/') && naive(rest, &path[at + 1..], false))
        }
        ([b'*', rest @ ..], _) => {
            naive(rest, path, false)
                || path.first().is_some_and(|byte| *byte != b'/') && naive(pattern, &path[1..], false)
        }
        ([b'?', rest @ ..], [byte, after @ ..]) => *byte != b'/' && naive(rest, after, false),
        ([byte, rest @ ..], [other, after @ ..]) => byte == other && naive(rest, after, false),
        _ => false,
    }
}

/// The verdict by the definition: each directory on the way is asked first.
fn naive_verdict(rules: &[String], path: &RelPath) -> bool {
    let mut inherited = vec![false; rules.len()];
    let mut excluded = false;
    for directory in path.ancestors().filter(|ancestor| !ancestor.is_root()).chain([path.clone()]) {
        excluded = false;
        for (rule, inherited) in rules.iter().zip(&mut inherited) {
            let (exception, pattern) = match rule.strip_prefix('!') {
                Some(pattern) => (true, pattern),
                None => (false, rule.as_str()),
            };
            *inherited =
                *inherited || exception == excluded && naive(pattern.as_bytes(), directory.as_bytes(), true);
            if *inherited {
                excluded = !exception;
            }
        }
    }
    excluded
}

proptest! {
    #[test]
    fn agrees_with_the_definition(
        rules in prop::collection::vec("!?([ab]|\\*|\\*\\*|[ab]\\*|\\?|\\*\\*[ab])(/([ab]|\\*|\\*\\*|[ab]\\*[ab]|\\?)){0,3}", 1..5),
        path in "[ab]{1,3}(/[ab]{1,2}){0,3}",
    ) {
        let ignore = Ignore::parse(rules.join("\n")).unwrap();
        let path = RelPath::clean(path);
        prop_assert_eq!(ignore.verdict(&path).excluded, naive_verdict(&rules, &path));
    }

    /// Nothing that would be kept lies below a directory that may be skipped.
    #[test]
    fn skipping_loses_nothing(
        rules in prop::collection::vec("!?([ab]|\\*|\\*\\*|[ab]\\*)(/([ab]|\\*|\\*\\*)){0,2}", 1..5),
        directory in "[ab]{1,2}(/[ab]){0,1}",
        below in "[ab]{1,2}(/[ab]){0,2}",
    ) {
        let ignore = Ignore::parse(rules.join("\n")).unwrap();
        let directory = RelPath::clean(directory);
        if ignore.verdict(&directory).excluded && !ignore.may_keep_below(&directory) {
            let path = directory.join(&RelPath::clean(below));
            prop_assert!(ignore.verdict(&path).excluded, "{} is kept", String::from_utf8_lossy(path.as_bytes()));
        }
    }

    #[test]
    fn no_pattern_panics(pattern in "[ab*?/!.\\[\\]^\\\\-]{0,16}", path in "[ab/.]{0,12}") {
        if let Ok(ignore) = Ignore::parse(&pattern) {
            ignore.verdict(&RelPath::clean(&path));
        }
        if let Ok(glob) = Glob::parse(&pattern) {
            glob.matches(&path);
        }
    }
}
