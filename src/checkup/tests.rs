use super::*;
use crate::dockerfile::line_of;

fn options() -> Options {
    let mut options = Options::new("linux/amd64".parse().unwrap());
    options.all_stages = true;
    options.only_checked = true;
    options
}

fn found_with(text: &str, ignore: &str) -> Vec<(String, usize)> {
    let source = Source::new("Dockerfile", text);
    let ignore = Ignore::parse(ignore).unwrap();
    let examination = examine(source.clone(), None, &options(), &ignore, assume);
    let name = |finding: &Diagnostic| finding.rule.unwrap_or("error").to_owned();
    examination.findings.iter().map(|finding| (name(finding), line_of(&source, finding))).collect()
}

#[test]
fn all_stages_are_looked_at() {
    let text = "FROM a AS one\nRUN echo $X\nFROM b\nRUN true\nCMD x $Y\n";
    assert_eq!(found_with(text, ""), [("JSONArgsRecommended".to_owned(), 5)]);
    let text = "FROM a AS one\nENV a $X\nFROM b\n";
    let expected = [("LegacyKeyValueFormat".to_owned(), 2), ("UndefinedVar".to_owned(), 2)];
    let mut found = found_with(text, "");
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn what_only_cannot_be_done_here_is_no_finding() {
    for text in [
        "FROM --platform=$P a\nRUN x\n",
        "# syntax=example.com/other/language\nFROM a\n",
        "FROM a\nRUN --security=insecure x\n",
        "FROM a\nRUN --device=vendor.com/class=name x\n",
    ] {
        let text = format!("ARG P=linux/arm64\n{text}");
        let text = if text.contains("# syntax") { text.replace("ARG P=linux/arm64\n", "") } else { text };
        let errors = found_with(&text, "").into_iter().filter(|(rule, _)| rule == "error").count();
        assert_eq!(errors, 0, "{text}");
    }
}

#[test]
fn the_platform_of_a_base_that_nobody_looked_up_is_not_judged() {
    let found = found_with("FROM --platform=linux/arm64 a AS arm64\nRUN x\n", "");
    assert_eq!(found, []);
}

#[test]
fn the_first_error_is_the_one_that_buildkit_reports() {
    for (text, lines) in [
        ("FROM a:-\nFROM $X\n", &[2, 1][..]),
        ("ARG X\nFROM $X\nFROM a\nCOPY --from=$X a /\n", &[2]),
        ("FROM a\nCOPY --from=$X a /\nCOPY --from=7 a /\n", &[2, 3]),
    ] {
        let found = found_with(text, "");
        let errors: Vec<usize> =
            found.iter().filter(|(rule, _)| rule == "error").map(|(_, line)| *line).collect();
        assert_eq!(errors, lines, "{text}");
    }
}

#[test]
fn sources_that_the_ignore_file_excludes() {
    for (line, ignore, found) in [
        ("COPY a /", "a", true),
        ("COPY a/b /", "a", true),
        ("ADD ./a /", "a", true),
        ("COPY b /", "a", false),
        ("COPY . /", "a", false),
        ("COPY . /", "*", true),
        ("COPY . /", "**", true),
        ("COPY a /", "a\n!a/b", false),
        ("COPY --from=x a /", "a", false),
        ("COPY a /", "", false),
        ("# check=skip=CopyIgnoredFile\nCOPY a /", "a", false),
    ] {
        let rules = found_with(&format!("FROM scratch\n{line}\n"), ignore);
        assert_eq!(rules.iter().any(|(rule, _)| rule == "CopyIgnoredFile"), found, "{line} with {ignore:?}");
    }
}

fn mended(text: &str) -> String {
    let find =
        |source: &Source| examine(source.clone(), None, &options(), &Ignore::default(), assume).findings;
    let once = mend(&Source::new("Dockerfile", text), find);
    let twice = mend(&once.source, find);
    assert_eq!(twice.changes, [], "mending is done at once: {text}");
    once.source.text.to_string()
}

#[test]
fn what_is_mended() {
    for (text, expected) in [
        ("FROM a AS b\nrun x\nCOPY a b\n", "FROM a AS b\nRUN x\nCOPY a b\n"),
        ("from a AS b\nrun x\nCOPY a b\n", "from a as b\nrun x\ncopy a b\n"),
        ("FROM a as b\n", "FROM a AS b\n"),
        ("FROM a AS Bc\nFROM d\nCOPY --from=Bc x y\n", "FROM a AS bc\nFROM d\nCOPY --from=Bc x y\n"),
        ("FROM a\nENV k v\n", "FROM a\nENV k=v\n"),
        ("FROM a\nENV k v w  x\n", "FROM a\nENV k=\"v w  x\"\n"),
        ("FROM a\nENV k \"v w\"\n", "FROM a\nENV k=\"v w\"\n"),
        ("FROM a\nENV k $PATH:/x\n", "FROM a\nENV k=$PATH:/x\n"),
        ("FROM a\nLABEL k a b\n", "FROM a\nLABEL k=\"a b\"\n"),
        (
            "FROM a\nMAINTAINER A B <a@b.c>\n",
            "FROM a\nLABEL org.opencontainers.image.authors=\"A B <a@b.c>\"\n",
        ),
        ("FROM a\nEXPOSE 80/TCP\n", "FROM a\nEXPOSE 80/tcp\n"),
        ("FROM a\r\nENV k v\r\nRUN x\r\n", "FROM a\r\nENV k=v\r\nRUN x\r\n"),
        ("\u{feff}from a\nRUN x\nRUN y\n", "\u{feff}FROM a\nRUN x\nRUN y\n"),
        (
            "FROM a\nmaintainer A\nRUN x\nRUN y",
            "FROM a\nLABEL org.opencontainers.image.authors=\"A\"\nRUN x\nRUN y",
        ),
    ] {
        assert_eq!(mended(text), expected, "{text}");
    }
}

#[test]
fn what_is_left_alone() {
    for text in [
        "FROM a\nENV k a \"b c\"\n",
        "FROM a\nENV k a\\ b\n",
        "FROM a\nENV k a 'b'\n",
        "FROM a\nENV k a \\\n  b\n",
        "FROM a\nMAINTAINER the \"one\"\n",
        "FROM a\nMAINTAINER $ME\n",
        "FROM a\nCMD node app.js --port=80\n",
        "FROM a\nENTRYPOINT /run.sh\n",
        "# check=skip=LegacyKeyValueFormat\nFROM a\nENV k v\n",
        "FROM a\nNOPE\nENV k v\n",
    ] {
        assert_eq!(mended(text), text);
    }
}

proptest::proptest! {
    /// Whatever was mended, the build is the same: steps and config, but for labels and authors.
    #[test]
    fn mending_keeps_the_build(lines in proptest::collection::vec(line(), 1..6)) {
        let text = format!("FROM scratch AS Base\nENV q=r\n{}\nfrom base\n", lines.join("\n"));
        let new = mended(&text);
        proptest::prop_assert_eq!(meaning(&text), meaning(&new), "{} became {}", text, new);
    }
}

fn line() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let name = prop_oneof!["ENV|env|Env", "LABEL|label", "WORKDIR|workdir", "EXPOSE|expose"];
    let value = r#"[a-c$q"' \\]{1,6}"#;
    (name, value).prop_map(|(name, value)| match name.to_lowercase().as_str() {
        "workdir" => format!("{name} /w"),
        "expose" => format!("{name} 80/TCP"),
        _ => format!("{name} k {value}"),
    })
}

fn meaning(text: &str) -> Option<Vec<String>> {
    let source = Source::new("Dockerfile", text);
    let graph = examine(source, None, &options(), &Ignore::default(), assume).graph?;
    Some(graph.outputs.iter().map(|output| format!("{:?}", output.config)).collect())
}

const OFFER: &str = "# VERSION of the base\nARG VERSION=1\nARG UNUSED\nFROM a:$VERSION AS one\n\
    # FLAGS for the compiler\nARG FLAGS=-O2\nRUN --mount=type=secret,id=token,required \
    --mount=type=cache,target=/c --mount=type=ssh make\n# two is the result\nFROM b AS two\nARG VERSION\n\
    COPY --from=one x y\nFROM c AS three\nARG OTHER\n";

#[test]
fn outline_of_a_stage_and_what_it_needs() {
    let file = dockerfile::parse(Source::new("Dockerfile", OFFER)).dockerfile.unwrap();
    let given = |name: &str| (name == "FLAGS").then(|| "-O3".to_owned());
    let two = outline(&file, Some("two"), &given).unwrap();
    let arguments: Vec<_> = two
        .arguments
        .iter()
        .map(|own| (own.name.as_str(), own.value.as_deref(), own.description.as_deref()))
        .collect();
    assert_eq!(arguments, [("FLAGS", Some("-O3"), Some("for the compiler")), ("VERSION", Some("1"), None)]);
    assert_eq!(two.target.description, Some("is the result"));
    assert!(!two.target.default);
    let secrets: Vec<_> = two.secrets.iter().map(|own| (own.name.as_str(), own.required)).collect();
    assert_eq!(secrets, [("token", true)]);
    assert_eq!(two.ssh[0].name, "default");
    assert_eq!(two.caches[0].id, "/c");
    let three = outline(&file, None, &given).unwrap();
    assert_eq!(three.arguments.len(), 1);
    assert!(three.target.default && three.secrets.is_empty());
    assert!(outline(&file, Some("four"), &given).is_none());
}

#[test]
fn defaults_in_an_outline_are_expanded() {
    let text = "ARG A=1\nARG B=${A}.2\nFROM a:$B AS one\nENV E=env\nARG C=x-$E\nFROM one\nARG B\n\
        ARG D=${B%.*}/$C/${NONE:-none}\nARG F\n";
    let file = dockerfile::parse(Source::new("Dockerfile", text)).dockerfile.unwrap();
    let given = |name: &str| (name == "A").then(|| "7".to_owned());
    let arguments = outline(&file, None, &given).unwrap().arguments;
    let values: Vec<_> = arguments.iter().map(|own| (own.name.as_str(), own.value.as_deref())).collect();
    let expected = [
        ("A", Some("7")),
        ("B", Some("7.2")),
        ("C", Some("x-env")),
        ("D", Some("7/x-env/none")),
        ("F", None),
    ];
    let mut sorted = values.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
}

#[test]
fn targets_in_the_order_of_the_file() {
    let file = dockerfile::parse(Source::new("Dockerfile", OFFER)).dockerfile.unwrap();
    let targets: Vec<_> =
        targets(&file).iter().map(|own| (own.name, own.base, own.description, own.default)).collect();
    assert_eq!(
        targets,
        [
            (Some("one"), "a:$VERSION", None, false),
            (Some("two"), "b", Some("is the result"), false),
            (Some("three"), "c", None, true),
        ]
    );
}
