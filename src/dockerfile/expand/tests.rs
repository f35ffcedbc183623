use super::{ExpandError, Mode, expand};

/// Returns the environment of the table.
fn lookup(name: &str) -> Option<String> {
    let value = match name {
        "HOME" => "/root",
        "EMPTY" => "",
        "TREE" => "usr/lib/lib.so.1",
        "SPACED" => " a  b ",
        "STARS" => r"a*b?c\d",
        "LINES" => "one\ntwo",
        "ÜBER" => "äöü",
        _ => return None,
    };
    Some(value.to_owned())
}

fn shown(result: Result<String, ExpandError>) -> String {
    match result {
        Ok(text) => format!("[{text}]"),
        Err(error) => format!("error: {error}"),
    }
}

/// Every line of `testdata/expand.txt` is `mode | word | expectation`.
#[test]
fn the_table_holds() {
    let table = include_str!("../../../testdata/expand.txt");
    let mut checked = 0;
    for (number, line) in table.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let [mode, word, expected] =
            line.splitn(3, " | ").map(str::trim).collect::<Vec<_>>().try_into().expect("three columns");
        let (escape, mode_is) = match mode {
            "word" => ('\\', Mode::Word),
            "tick" => ('`', Mode::Word),
            "words" => ('\\', Mode::Word),
            "body" => ('\\', Mode::Heredoc),
            other => panic!("line {}: unknown mode {other}", number + 1),
        };
        let expansion = expand(word, escape, &lookup, mode_is);
        let actual = shown(expansion.map(|expansion| match mode {
            "words" => expansion.words.join("]["),
            _ => expansion.text,
        }));
        assert_eq!(actual, expected, "line {}: {word}", number + 1);
        checked += 1;
    }
    assert!(checked > 80, "the table has shrunk to {checked} lines");
}

#[test]
fn names_asked_for_are_reported() {
    let expansion = expand("$HOME ${NOPE:-$ALSO} '$QUOTED' $HOME", '\\', &lookup, Mode::Word).unwrap();
    assert_eq!(expansion.used, ["HOME"]);
    assert_eq!(expansion.unset, ["ALSO", "NOPE"]);
}

#[test]
fn nesting_has_an_end() {
    let nested =
        |depth: usize| expand(&("${A:-".repeat(depth) + &"}".repeat(depth)), '\\', &lookup, Mode::Word);
    assert!(nested(50).is_ok());
    assert_eq!(nested(10_000), Err(ExpandError::TooDeep));
}

proptest::proptest! {
    #[test]
    fn never_panics(word in "[$a{}:/#%*?'\"\\\\<+ -]{0,24}") {
        for escape in ['\\', '`'] {
            let _ = expand(&word, escape, &lookup, Mode::Word);
            let _ = expand(&word, escape, &lookup, Mode::Heredoc);
        }
    }

    #[test]
    fn single_quotes_protect_everything(text in "[^']{0,24}") {
        let word = format!("'{text}'");
        let expansion = expand(&word, '\\', &lookup, Mode::Word).unwrap();
        proptest::prop_assert_eq!(expansion.text, text);
    }
}
