//! Single statements about the language, by their numbers in `testdata/statements.md`: what a file's plan shows,
//! which line fails, which check speaks.

use kiln::checkup;
use kiln::diagnostic::Source;
use kiln::dockerfile::line_of;
use kiln::graph::plan;
use kiln::lower::Options;
use kiln::pattern::Ignore;

/// What is expected of a file.
enum Expect {
    /// Its plan holds each of these texts.
    Shows(&'static [&'static str]),
    /// It is refused at this line, and the message holds this text.
    Fails(usize, &'static str),
    /// This check speaks at this line; the file builds.
    Warns(&'static str, usize),
}

use Expect::{Fails, Shows, Warns};

/// The statements, a file, and what is expected of it.
type Case = (&'static [u16], &'static str, Expect);

fn check(cases: &[Case]) {
    let mut wrong = Vec::new();
    for (numbers, text, expected) in cases {
        let source = Source::new("Dockerfile", *text);
        let options = Options::new(checkup::assumed_platform());
        let found = checkup::examine(source.clone(), None, &options, &Ignore::default(), checkup::assume);
        let shown = found.graph.as_ref().map(plan::text);
        let findings: Vec<(String, usize)> = found
            .findings
            .iter()
            .map(|finding| (finding.rule.unwrap_or(&finding.message).to_owned(), line_of(&source, finding)))
            .collect();
        let fault = match expected {
            Shows(parts) => {
                let shown = shown.unwrap_or_else(|| format!("refused: {findings:?}"));
                let missing = parts.iter().find(|part| !shown.contains(**part));
                missing.map(|part| format!("no {part:?} in\n{shown}"))
            }
            Fails(line, message) => {
                let fits = |(found, at): &(String, usize)| found.contains(message) && at == line;
                let refused = shown.is_none() && findings.iter().any(fits);
                (!refused).then(|| format!("no error {message:?} at line {line}: {findings:?}"))
            }
            Warns(rule, line) => {
                let finding = ((*rule).to_owned(), *line);
                let warned = shown.is_some() && findings.contains(&finding);
                (!warned).then(|| format!("no {rule} at line {line}: {findings:?}"))
            }
        };
        wrong.extend(fault.map(|fault| format!("{numbers:?}: {fault}\nof\n{text}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn lines_and_directives() {
    check(&[
        (&[1], "\u{feff}FROM scratch\nLABEL a=b\n", Shows(&["a: b"])),
        (&[1], "FROM scratch\n\u{feff}LABEL a=b\n", Fails(2, "unknown instruction")),
        (&[2, 6], "FROM scratch\n  # one\nRUN a \\\n   # two\n b\n", Shows(&["- a  b"])),
        (&[3], "FROM scratch\n   LABEL a=b\nRUN x \\\n    y\n", Shows(&["a: b", "- x     y"])),
        (&[4], "FROM scratch\nRUN a \\  \t\n b\n", Shows(&["- a  b"])),
        (&[5], "FROM scratch\nRUN a \\\\\nLABEL b=c\n", Shows(&["b: c"])),
        (&[7], "FROM scratch\nRUN a \\\n\n b\n", Warns("NoEmptyContinuation", 4)),
        (&[8], "FROM scratch\nRUN a \\", Shows(&["- a"])),
        (&[10], "", Fails(1, "is empty")),
        (&[10], "# only\n# this\n", Fails(2, "no instructions")),
        (&[11], "FROM scratch\nRUNN x\n", Fails(2, "unknown instruction")),
        (&[12], "from scratch\nlabel a=b\n", Shows(&["a: b"])),
        (&[13], "# other=1\n# escape=`\nFROM scratch\nRUN a \\\n b\n", Shows(&["- a  b"])),
        (&[14], "# ESCAPE = `\nFROM scratch\nRUN a `\n b\n", Shows(&["- a  b"])),
        (&[14], "# escape=`\n# escape=`\nFROM scratch\n", Fails(2, "only one")),
        (&[15], "# nothing=1\nFROM scratch\n", Shows(&["output"])),
        (&[16], "# escape=x\nFROM scratch\n", Fails(1, "invalid escape")),
        (&[17], "#!/bin/x\n# syntax=a.b/c\nFROM scratch\n", Fails(2, "not built in")),
        (&[18], "# syntax=docker/dockerfile:1 and more\nFROM scratch\n", Shows(&["output"])),
        (&[19], "FROM scratch\nRUN a\\ b \\x\n", Shows(&["a\\ b \\x"])),
        (&[20], "FROM scratch\nRUN --network=none --network=none x\n", Fails(2, "given twice")),
        (&[21], "FROM scratch\nRUN -- --network=x\n", Shows(&["- --network=x"])),
        (&[22], "FROM scratch\nCOPY --link=FALSE a /\n", Shows(&["destination: /"])),
        (&[22], "FROM scratch\nCOPY --link= a /\n", Fails(2, "needs a value")),
        (&[23], "FROM scratch\nCOPY --from b /\n", Fails(2, "needs a value")),
    ]);
}

#[test]
fn exec_and_shell_form() {
    check(&[
        (&[24], "FROM scratch\nRUN [x, y]\n", Shows(&["- /bin/sh", "- [x, y]"])),
        (&[25], "FROM scratch\nCMD [\"a\", 1]\n", Fails(2, "only strings")),
        (&[26], "FROM scratch\nVOLUME [a b\n", Shows(&["[a:", "b:"])),
        (&[28], "FROM scratch\nSHELL /bin/x\n", Fails(2, "JSON array")),
        (
            &[28],
            "FROM scratch AS a\nSHELL [\"x\", \"-y\"]\nFROM a\nRUN z\n",
            Shows(&["- x\n    - -y\n    - z"]),
        ),
        (&[32], "FROM scratch\nCMD [\"a\"]\nCMD [\"b\"]\n", Warns("MultipleInstructionsDisallowed", 2)),
        (&[32], "FROM scratch\nCMD [\"a\"]\nCMD [\"b\"]\n", Shows(&["Cmd:\n        - b"])),
        (&[34], "FROM scratch\nARG A=1\nCMD echo $A\n", Shows(&["- echo $A"])),
        (&[35], "FROM scratch\nARG A=/m\nRUN --mount=type=tmpfs,target=$A x\n", Shows(&["target: /m"])),
    ]);
}

#[test]
fn variables() {
    check(&[
        (&[37], "FROM scratch\nLABEL a=-$B-\n", Warns("UndefinedVar", 2)),
        (&[43], "FROM scratch\nENV A=1\nLABEL a=\"$A.b $1 $?.\"\n", Shows(&["a: 1.b  ."])),
        (&[44], "FROM scratch\nLABEL a=${}\n", Fails(2, "bad substitution")),
        (&[44], "FROM scratch\nLABEL a=b$\n", Shows(&["a: b$"])),
        (&[45], "FROM scratch\nENV A=1\nLABEL a='$A' b=\"$A\"\n", Shows(&["a: $A", "b: 1"])),
        (&[46], "FROM scratch\nLABEL a=\"\\$x \\n \\\\\"\n", Shows(&["a: $x \\n \\\n"])),
        (&[47], "FROM scratch\nUSER \"a\n", Fails(2, "double quote")),
        (&[49], "FROM scratch\nARG K=k\nENV $K=v\nLABEL l$K=w\n", Shows(&["- k=v", "lk: w"])),
        (&[50], "FROM scratch\nENV k v w\n", Shows(&["- k=v w"])),
        (&[51], "FROM scratch\nENV a=b c\n", Fails(2, "no `=`")),
        (
            &[52],
            "FROM scratch\nCOPY <<E /f\n\"\\$\" \\\\ \\x\nE\n",
            Shows(&["content: \"\\\"$\\\" \\\\ x\\n\""]),
        ),
        (
            &[53],
            "ARG X=a\nFROM scratch\nCOPY --from=$X a /\n",
            Fails(3, "variable expansion is not supported"),
        ),
        (&[53], "FROM scratch\nRUN --mount=from=$X,target=/x a\n", Fails(2, "takes no variables")),
        (
            &[54],
            "FROM scratch\nARG A=1\nCOPY --exclude=$A --chown=$A:$A $A /$A\n",
            Shows(&["- $A", "owner: 1:1", "destination: /1"]),
        ),
    ]);
}

#[test]
fn stages() {
    check(&[
        (&[70], "FROM scratch AS 1a\n", Fails(1, "cannot be the name")),
        (&[70], "FROM scratch AS A\nFROM a\nLABEL x=y\n", Shows(&["x: y"])),
        (&[71], "FROM scratch AS context\n", Warns("ReservedStageName", 1)),
        (&[76], "FROM scratch\nCOPY --from=busybox a /\n", Shows(&["busybox"])),
        (
            &[77],
            "FROM scratch AS a\nCOPY --from=b x /\nFROM scratch AS b\nFROM a\n",
            Fails(2, "needs to be defined before"),
        ),
        (&[78], "FROM scratch AS a\nCOPY --from=a x /\n", Fails(2, "circular")),
        (&[110], "FROM scratch\nCOPY https://example.com/a /\n", Fails(2, "COPY")),
        (
            &[145],
            "FROM scratch\nADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 a /\n",
            Fails(2, "checksum"),
        ),
    ]);
}

#[test]
fn here_documents() {
    check(&[
        (&[147], "FROM scratch\nLABEL a=<<E\nRUN x\n", Shows(&["- x"])),
        (&[148], "FROM scratch\nARG A=1\nCOPY <<'E' /f\n$A\nE\n", Shows(&["content: \"$A\\n\""])),
        (&[149], "FROM scratch\nCOPY <<-E /f\n\t a\n\tE\n", Shows(&["content: \" a\\n\""])),
        (&[150], "FROM scratch\nCOPY <<E /f\n# escape=`\nE\n", Shows(&["# escape=`\\n"])),
        (&[151], "FROM scratch\nCOPY <<E /f\na\n", Fails(2, "unterminated")),
        (&[153], "FROM scratch\nRUN <<E\n#!/x\ny\nE\n", Shows(&["target: /dev/pipes/E", "0755"])),
        (&[154], "FROM scratch\nRUN cat <<E\ny\nE\n", Shows(&["cat <<E\\ny\\nE"])),
        (&[156], "FROM scratch\nCOPY a <<E\nx\nE\n", Fails(2, "destination")),
    ]);
}

#[test]
fn mounts() {
    check(&[
        (
            &[157],
            "FROM scratch\nRUN --mount=target=/x a\n",
            Shows(&["type: bind", "from: context", "readonly: yes"]),
        ),
        (&[158], "FROM scratch\nRUN --mount=type=cache,target=/x,ro a\n", Shows(&["readonly: yes"])),
        (&[162], "FROM scratch\nRUN --mount=type=cache,target=/x//y/ a\n", Shows(&["id: /x/y"])),
        (
            &[163],
            "FROM scratch\nRUN --mount=type=cache,target=/x,uid=5,mode=0700 a\n",
            Shows(&["uid: 5", "0700"]),
        ),
        (&[169], "FROM scratch\nRUN --mount=type=bind,target=/x,uid=1 a\n", Fails(2, "not allowed")),
        (&[169], "FROM scratch\nRUN --mount=type=cache,target=/x,size=1 a\n", Fails(2, "not allowed")),
        (&[169], "FROM scratch\nRUN --mount=type=tmpfs,target=/x,required a\n", Fails(2, "not allowed")),
        (
            &[170],
            "FROM scratch\nRUN --mount='TYPE=bind,\"DST=/x,y\",RO' a\n",
            Shows(&["target: /x,y", "readonly: yes"]),
        ),
        (&[173], "FROM scratch\nUSER nobody-there\n", Shows(&["User: nobody-there"])),
        (&[177], "FROM scratch AS a\nWORKDIR /x\nFROM a\n", Shows(&["WorkingDir: /x"])),
        (&[179], "FROM scratch\nRUN --network=none a\n", Shows(&["network: none"])),
    ]);
}

#[test]
fn metadata_and_triggers() {
    check(&[
        (&[183, 184], "FROM scratch AS a\nVOLUME /x\nFROM a\nVOLUME /y\n", Shows(&["/x:", "/y:"])),
        (&[186], "FROM scratch\nHEALTHCHECK --interval=1us CMD x\n", Fails(2, "1ms")),
        (&[186], "FROM scratch\nHEALTHCHECK --retries=-1 CMD x\n", Fails(2, "negative")),
        (&[187], "FROM scratch\nHEALTHCHECK NONE x\n", Fails(2, "no arguments")),
        (&[187], "FROM scratch\nHEALTHCHECK NONE\n", Shows(&["- NONE"])),
        (
            &[188],
            "FROM scratch\nSHELL [\"x\"]\nHEALTHCHECK CMD y z\n",
            Shows(&["- CMD-SHELL\n          - y z"]),
        ),
        (&[189], "FROM scratch\nARG A=1\nHEALTHCHECK CMD $A\n", Shows(&["- $A"])),
        (&[190], "FROM scratch\nARG A=1\nLABEL a=x\nLABEL a=\"$A\"\n", Shows(&["a: 1"])),
        (&[191], "FROM scratch\nMAINTAINER me\n", Shows(&["author: me"])),
        (
            &[192, 193],
            "FROM scratch AS a\nONBUILD ENV A=1\nONBUILD ENV B=$A\nFROM a\nENV C=$B\n",
            Shows(&["- A=1\n        - B=1\n        - C=1"]),
        ),
        (&[195], "FROM scratch\nONBUILD ONBUILD RUN x\n", Fails(2, "ONBUILD cannot follow")),
        (&[195], "FROM scratch\nONBUILD FROM x\n", Fails(2, "trigger")),
        (
            &[196, 197],
            "FROM scratch AS t\nCOPY x /y\nFROM scratch AS a\nONBUILD COPY --from=t /y /z\nFROM a\n",
            Shows(&["destination: /z"]),
        ),
        (&[222], "FROM scratch\nRUN [\"a\"]\n", Shows(&["created_by: RUN a # buildkit"])),
        (&[223], "FROM scratch\nARG A=1\nRUN x\n", Shows(&["RUN |1 A=1 /bin/sh -c x # buildkit"])),
    ]);
}

/// Every name of a function in the library and in the tests.
fn functions() -> std::collections::BTreeSet<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = ["src", "tests"].map(|directory| walkdir::WalkDir::new(root.join(directory)));
    let files = entries.into_iter().flatten().map(|entry| entry.unwrap().into_path());
    let sources = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let name = |rest: &str| rest.split(['(', '<']).next().unwrap_or_default().to_owned();
    let names = |path| -> Vec<String> {
        std::fs::read_to_string(path).unwrap().split("fn ").skip(1).map(name).collect()
    };
    sources.flat_map(names).collect()
}

#[test]
fn the_table_of_statements_is_true() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/statements.md");
    let table = std::fs::read_to_string(path).unwrap();
    let functions = functions();
    let rows =
        table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let rows: Vec<(&str, &str)> = rows.filter(|(number, _)| *number != "statement").collect();
    let numbers: Vec<usize> = rows.iter().map(|(number, _)| number.parse().unwrap()).collect();
    assert_eq!(numbers, (1..=244).collect::<Vec<_>>());
    for (number, covered) in rows.iter().filter(|(_, covered)| covered.starts_with('`')) {
        let names = covered.split(", ").map(|name| name.trim_matches('`')).filter(|name| !name.contains(' '));
        for name in names.filter(|name| !name.starts_with("--")) {
            assert!(functions.contains(name), "statement {number} names `{name}`, which is no test");
        }
    }
}
