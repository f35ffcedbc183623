//! What users read when something is wrong: the exact text.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::support::{find_program, require, skip};

/// A context directory and a store for one test.
struct Bench {
    context: TempDir,
    store: TempDir,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let bench = Self { context: TempDir::new().unwrap(), store: TempDir::new().unwrap() };
        for (path, content) in files {
            let path = bench.context.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        bench
    }

    fn kiln(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.arg("--store").arg(self.store.path()).args(arguments).current_dir(self.context.path());
        command.output().unwrap()
    }

    /// Returns what a build prints on standard error, and how it ends.
    fn build(&self, options: &[&str]) -> String {
        let mut arguments = vec!["build", "--quiet", "."];
        arguments.extend(options);
        self.shown(&self.kiln(&arguments))
    }

    fn shown(&self, output: &Output) -> String {
        let name = self.context.path().canonicalize().unwrap();
        let text =
            String::from_utf8(output.stderr.clone()).unwrap().replace(name.to_str().unwrap(), "CONTEXT");
        format!("{text}exit code {}", output.status.code().unwrap())
    }
}

/// Builds a Dockerfile in a context with two files.
fn failing(dockerfile: &str) -> String {
    let files =
        [("Dockerfile", dockerfile), ("app.js", "x"), ("src/main.c", "y"), (".dockerignore", "*.log\n")];
    Bench::new(&files).build(&[])
}

#[test]
fn a_misspelt_instruction() {
    insta::assert_snapshot!(failing("FORM scratch\nRUN x\n"), @"
    error: unknown instruction `FORM`
     --> ./Dockerfile:1:1
      |
    1 | FORM scratch
      | ^^^^
      = help: did you mean `FROM`?

    error: ./Dockerfile: 1 error; nothing was built
    exit code 1
    ");
}

#[test]
fn several_errors_at_once() {
    insta::assert_snapshot!(failing("FROM scratch\nCOPY app.js\nENV\nRUN --mont=type=bind x\n"), @"
    error: COPY needs a source and a destination
     --> ./Dockerfile:2:1
      |
    2 | COPY app.js
      | ^^^^^^^^^^^
      = help: write `COPY [--FLAG=VALUE] SOURCE… DESTINATION`

    error: ENV needs at least one argument
     --> ./Dockerfile:3:1
      |
    3 | ENV
      | ^^^
      = help: write `ENV NAME=VALUE`

    error: unknown flag --mont
     --> ./Dockerfile:4:5
      |
    4 | RUN --mont=type=bind x
      |     ^^^^^^
      = help: did you mean `--mount`?

    error: ./Dockerfile: 3 errors; nothing was built
    exit code 1
    ");
}

#[test]
fn a_missing_source_with_a_near_name() {
    insta::assert_snapshot!(failing("FROM scratch\nCOPY ap.js /\n"), @"
    error: [1/1] COPY ap.js /: `ap.js` does not exist in the build context
     --> ./Dockerfile:2:1
      |
    2 | COPY ap.js /
      | ^^^^^^^^^^^^
      = help: did you mean `app.js`?
    exit code 1
    ");
}

#[test]
fn a_missing_source_with_no_near_name() {
    insta::assert_snapshot!(failing("FROM scratch\nCOPY src/other.h /\n"), @"
    error: [1/1] COPY src/other.h /: `src/other.h` does not exist in the build context
     --> ./Dockerfile:2:1
      |
    2 | COPY src/other.h /
      | ^^^^^^^^^^^^^^^^^^
      = help: `src` holds `main.c`
    exit code 1
    ");
}

#[test]
fn a_source_that_the_ignore_file_excludes() {
    insta::assert_snapshot!(failing("FROM scratch\nCOPY build.log /\n"), @"
    error: [1/1] COPY build.log /: `build.log` is excluded by line 1 of ./.dockerignore: `*.log`
     --> ./Dockerfile:2:1
      |
    2 | COPY build.log /
      | ^^^^^^^^^^^^^^^^
      = help: remove line 1 of ./.dockerignore, or add an exception (`!`) below it
    exit code 1
    ");
}

#[test]
fn a_stage_that_is_misspelt_in_from() {
    insta::assert_snapshot!(failing("FROM scratch AS build\nFROM scratch\nCOPY --from=bild/ / /\n"), @"
    error: invalid image name `bild/`: a repository holds lower-case letters, digits and single separators (`.`, `_`, `__`, `-`)
     --> ./Dockerfile:3:13
      |
    3 | COPY --from=bild/ / /
      |             ^^^^^
      = help: did you mean stage `build`?

    error: ./Dockerfile: 1 error; nothing was built
    exit code 1
    ");
}

#[test]
fn a_stage_that_comes_later() {
    insta::assert_snapshot!(
        failing("FROM scratch AS one\nCOPY --from=two / /\nFROM scratch AS two\nCOPY --from=one / /\n"),
        @"
    error: circular dependency detected on stage: one
     --> ./Dockerfile:4:1
      |
    4 | COPY --from=one / /
      | ^^^^^^^^^^^^^^^^^^^
      = help: a stage can read only from stages above it

    error: ./Dockerfile: 1 error; nothing was built
    exit code 1
    "
    );
}

#[test]
fn a_missing_file_of_another_stage() {
    insta::assert_snapshot!(
        failing("FROM scratch AS one\nCOPY app.js /out/\nFROM scratch\nCOPY --from=one /out/app.jss /\n"),
        @"
    error: [stage-1 1/1] COPY --from=one /out/app.jss /: `out/app.jss` does not exist in the stage or image
     --> ./Dockerfile:4:1
      |
    4 | COPY --from=one /out/app.jss /
      | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: did you mean `out/app.js`?
    exit code 1
    "
    );
}

#[test]
fn a_variable_that_must_be_set() {
    insta::assert_snapshot!(failing("FROM scratch\nARG V\nENV A=\"${V:?no version}\"\n"), @r#"
    error: cannot expand this: V: no version
     --> ./Dockerfile:3:7
      |
    3 | ENV A="${V:?no version}"
      |       ^^^^^^^^^^^^^^^^^^
      = help: set it with `--build-arg V=…` or declare it with ARG or ENV before

    error: ./Dockerfile: 1 error; nothing was built
    exit code 1
    "#);
}

#[test]
fn an_unterminated_here_document() {
    insta::assert_snapshot!(failing("FROM scratch\nCOPY <<EOF /x\nhello\n"), @"
    error: unterminated here-document `EOF`
     --> ./Dockerfile:2:6
      |
    2 | COPY <<EOF /x
      |      ^^^^^
      = help: end it with a line that is exactly `EOF`

    error: ./Dockerfile: 1 error; nothing was built
    exit code 1
    ");
}

#[test]
fn a_bad_mode() {
    insta::assert_snapshot!(failing("FROM scratch\nCOPY --chmod=9 app.js /\n"), @"
    error: invalid chmod parameter: `9`; it must be an octal number up to 07777 or a symbolic mode such as u+rwx,go=rX
     --> ./Dockerfile:2:14
      |
    2 | COPY --chmod=9 app.js /
      |              ^
      = help: for example `--chmod=755` or `--chmod=u+x`

    error: ./Dockerfile: 1 error; nothing was built
    exit code 1
    ");
}

#[test]
fn a_target_that_does_not_exist() {
    let bench = Bench::new(&[("Dockerfile", "FROM scratch AS build\nCOPY . /\n")]);
    insta::assert_snapshot!(bench.build(&["--target", "biuld"]), @r#"
    error: target stage "biuld" could not be found
     --> ./Dockerfile:1:17
      |
    1 | FROM scratch AS build
      |                 ^^^^^
      = help: did you mean stage `build`?

    error: ./Dockerfile: 1 error; nothing was built
    exit code 1
    "#);
    insta::assert_snapshot!(bench.build(&["--target", "release"]), @r#"
    error: target stage "release" could not be found
     --> ./Dockerfile:1:1
      |
    1 | FROM scratch AS build
      | ^
      = help: `--target` takes the name that a FROM line gives with AS

    error: ./Dockerfile: 1 error; nothing was built
    exit code 1
    "#);
}

#[test]
fn checks_that_fail_the_build() {
    insta::assert_snapshot!(failing("# check=error=true\nFROM scratch as x\nCOPY . /\n"), @"
    warning[FromAsCasing]: the case of `as` is not that of `FROM`
     --> ./Dockerfile:2:14
      |
    2 | FROM scratch as x
      |              ^^
      = help: write both in the same case; `kiln check --fix` does

    error: ./Dockerfile: build checks failed: FromAsCasing
    exit code 1
    ");
}

#[test]
fn a_missing_dockerfile() {
    let bench = Bench::new(&[("app.js", "x")]);
    insta::assert_snapshot!(bench.build(&[]), @r#"
    error: failed to open file `./Dockerfile`: No such file or directory (os error 2)
    exit code 1
    "#);
}

#[test]
fn a_base_that_cannot_be_had() {
    let bench = Bench::new(&[("Dockerfile", "FROM localhost:1/nothing:here\nRUN x\n")]);
    insta::assert_snapshot!(bench.build(&[]), @"
    error: cannot get the image localhost:1/nothing:here: nothing listens at localhost:1: connection refused; is the registry running?: error sending request: client error (Connect): tcp connect error: Connection refused (os error 111)
     --> ./Dockerfile:1:6
      |
    1 | FROM localhost:1/nothing:here
      |      ^^^^^^^^^^^^^^^^^^^^^^^^
      = help: check name and tag, and whether this machine may pull the image

    error: ./Dockerfile: 1 error; nothing was built
    exit code 1
    ");
}

/// A stage with a shell: a busybox that needs no other file.
fn with_shell(bench: &Bench, busybox: &Path) {
    std::fs::copy(busybox, bench.context.path().join("busybox")).unwrap();
}

#[test]
fn a_command_that_fails() {
    require!("busybox");
    let busybox = find_program("busybox").unwrap();
    let shell = "FROM scratch\nCOPY busybox /bin/sh\n";
    for (name, command, expected_code) in [
        ("exit", "echo one; echo two >&2; exit 3", 1),
        ("not-found", "nosuchprogram", 1),
        ("silent", "exit 1", 1),
        ("killed", "kill -9 $$", 1),
    ] {
        let bench = Bench::new(&[("Dockerfile", &format!("{shell}RUN {command}\n"))]);
        with_shell(&bench, &busybox);
        let output = bench.kiln(&["build", "--quiet", "."]);
        let shown = bench.shown(&output);
        if shown.contains("no such file or directory: /bin/sh") {
            skip!("the machine's busybox is not static");
        }
        assert_eq!(output.status.code(), Some(expected_code), "{shown}");
        insta::assert_snapshot!(format!("command_{name}"), shown);
    }
}

#[test]
fn output_that_progress_has_shown_is_not_shown_twice() {
    require!("busybox");
    let busybox = find_program("busybox").unwrap();
    let bench = Bench::new(&[("Dockerfile", "FROM scratch\nCOPY busybox /bin/sh\nRUN echo seen; exit 3\n")]);
    with_shell(&bench, &busybox);
    let output = bench.kiln(&["build", "--progress=plain", "."]);
    let shown = bench.shown(&output);
    let lines = shown.lines().filter(|line| line.ends_with("seen")).count();
    assert_eq!(lines, 1, "{shown}");
}

#[test]
fn check_shows_everything_and_mends_what_is_certain() {
    let dockerfile = "from scratch as Base\nENV k v w\nCMD node app.js\nEXPOSE 80/TCP\nCOPY $X /\n";
    let bench = Bench::new(&[("Dockerfile", dockerfile)]);
    let text = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    let found = bench.kiln(&["check", "--offline"]);
    assert_eq!(found.status.code(), Some(1));
    insta::assert_snapshot!(text(&found), @r#"
    warning[ConsistentInstructionCasing]: `from` is not in upper case as most instructions are
     --> ./Dockerfile:1:1
      |
    1 | from scratch as Base
      | ^^^^
      = help: write all instructions in upper case; `kiln check --fix` does

    warning[StageNameCasing]: stage name `Base` is not in lower case
     --> ./Dockerfile:1:17
      |
    1 | from scratch as Base
      |                 ^^^^
      = help: write it in lower case; `kiln check --fix` does

    warning[LegacyKeyValueFormat]: "ENV key=value" should be used instead of legacy "ENV key value" format
     --> ./Dockerfile:2:5
      |
    2 | ENV k v w
      |     ^^^^^
      = help: write NAME=VALUE; `kiln check --fix` does

    warning[JSONArgsRecommended]: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
     --> ./Dockerfile:3:1
      |
    3 | CMD node app.js
      | ^^^^^^^^^^^^^^^
      = help: write it as an array: `["program", "argument"]`

    warning[ExposeProtoCasing]: Defined protocol '80/TCP' in EXPOSE instruction should be lowercase
     --> ./Dockerfile:4:8
      |
    4 | EXPOSE 80/TCP
      |        ^^^^^^
      = help: write it in lower case; `kiln check --fix` does

    warning[UndefinedVar]: Usage of undefined variable '$X' (did you mean $k?)
     --> ./Dockerfile:5:6
      |
    5 | COPY $X /
      |      ^^
      = help: an empty source is the whole context

    ./Dockerfile: 6 warnings
    "#);
    insta::assert_snapshot!(text(&bench.kiln(&["check", "--offline", "--fix"])), @r#"
    ./Dockerfile:1: ConsistentInstructionCasing
    - from
    + FROM
    ./Dockerfile:1: StageNameCasing
    - Base
    + base
    ./Dockerfile:2: LegacyKeyValueFormat
    - k v w
    + k="v w"
    ./Dockerfile:4: ExposeProtoCasing
    - 80/TCP
    + 80/tcp
    ./Dockerfile:1: FromAsCasing
    - as
    + AS
    ./Dockerfile: 5 changes
    warning[JSONArgsRecommended]: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
     --> ./Dockerfile:3:1
      |
    3 | CMD node app.js
      | ^^^^^^^^^^^^^^^
      = help: write it as an array: `["program", "argument"]`

    warning[UndefinedVar]: Usage of undefined variable '$X' (did you mean $k?)
     --> ./Dockerfile:5:6
      |
    5 | COPY $X /
      |      ^^
      = help: an empty source is the whole context

    ./Dockerfile: 2 warnings
    "#);
    insta::assert_snapshot!(std::fs::read_to_string(bench.context.path().join("Dockerfile")).unwrap(), @r#"
    FROM scratch AS base
    ENV k="v w"
    CMD node app.js
    EXPOSE 80/tcp
    COPY $X /
    "#);
    assert_eq!(
        text(&bench.kiln(&["check", "--offline", "--fix"])).lines().next(),
        Some("./Dockerfile: 0 changes")
    );
    assert_eq!(bench.store.path().read_dir().unwrap().count(), 0, "no store is opened for a check");
}

#[test]
fn check_as_json_and_sarif() {
    let bench = Bench::new(&[("Dockerfile", "FROM scratch as b\nRUN --nope x\n")]);
    let json = |format: &str| -> serde_json::Value {
        let output = bench.kiln(&["check", "--offline", "--format", format, "Dockerfile"]);
        assert_eq!(output.status.code(), Some(1));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    insta::assert_json_snapshot!(json("json"), @r#"
    {
      "error": {
        "help": "known here: --mount, --network, --security, --device",
        "line": 2,
        "message": "unknown flag --nope",
        "span": {
          "column": 5,
          "endColumn": 11,
          "endLine": 2,
          "line": 2
        }
      },
      "errors": [
        {
          "help": "known here: --mount, --network, --security, --device",
          "line": 2,
          "message": "unknown flag --nope",
          "span": {
            "column": 5,
            "endColumn": 11,
            "endLine": 2,
            "line": 2
          }
        }
      ],
      "file": "Dockerfile",
      "warnings": []
    }
    "#);
    let sarif = json("sarif");
    assert_eq!(sarif["version"], "2.1.0");
    insta::assert_json_snapshot!(sarif["runs"][0]["results"], @r#"
    [
      {
        "level": "error",
        "locations": [
          {
            "physicalLocation": {
              "artifactLocation": {
                "uri": "Dockerfile"
              },
              "region": {
                "endColumn": 11,
                "endLine": 2,
                "startColumn": 5,
                "startLine": 2
              }
            }
          }
        ],
        "message": {
          "text": "unknown flag --nope (known here: --mount, --network, --security, --device)"
        },
        "ruleId": "error",
        "ruleIndex": 0
      }
    ]
    "#);
}

#[test]
fn questions_to_a_dockerfile() {
    let dockerfile = "# VERSION of it\nARG VERSION=1\n# base is the first\nFROM scratch AS base\nFROM base\n";
    let bench = Bench::new(&[("Dockerfile", dockerfile)]);
    let ask = |arguments: &[&str]| {
        let output = bench.kiln(&[&["build", "."], arguments].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        format!("{text}exit code {}", output.status.code().unwrap())
    };
    insta::assert_snapshot!(ask(&["--call", "targets"]), @"
    TARGET    DESCRIPTION
    base      is the first
    (default)
    exit code 0
    ");
    insta::assert_snapshot!(ask(&["--call", "outline", "--target", "base"]), @"
    TARGET:      base
    DESCRIPTION: is the first

    exit code 0
    ");
    insta::assert_snapshot!(ask(&["--check"]), @"
    ./Dockerfile: nothing found
    exit code 0
    ");
}

#[test]
fn why_a_step_was_not_cached() {
    let dockerfile =
        "FROM scratch AS build\nARG V\nENV A=$V\nCOPY src /src/\nFROM scratch\nCOPY --from=build /src /\n";
    let files = [("Dockerfile", dockerfile), ("src/a.c", "1"), ("src/b.c", "2"), ("src/c/d.c", "3")];
    let bench = Bench::new(&files);
    let why = |arguments: &[&str]| {
        let output = bench.kiln(&[&["why"], arguments].concat());
        String::from_utf8(output.stdout.clone()).unwrap() + &bench.shown(&output)
    };
    insta::assert_snapshot!(why(&[]), @"
    error: no build of `CONTEXT` is known with this -f, --target and --platform; build it first
    exit code 1
    ");
    assert_eq!(bench.build(&["--build-arg", "V=1"]), "exit code 0");
    insta::assert_snapshot!(why(&[]), @"
    [build 1/1] COPY src /src/
      no earlier build had such a step
    [stage-1 1/1] COPY --from=build /src /
      no earlier build had such a step
    exit code 0
    ");
    assert_eq!(bench.build(&["--build-arg", "V=1"]), "exit code 0");
    insta::assert_snapshot!(why(&["."]), @"
    every step was cached
    exit code 0
    ");
    std::fs::write(bench.context.path().join("src/b.c"), "changed").unwrap();
    std::fs::remove_file(bench.context.path().join("src/c/d.c")).unwrap();
    std::fs::write(bench.context.path().join("src/new.c"), "new").unwrap();
    assert_eq!(bench.build(&["--build-arg", "V=1"]), "exit code 0");
    insta::assert_snapshot!(why(&[]), @"
    [build 1/1] COPY src /src/
      the files of src changed: 3 files
        ~ src/b.c
        - src/c/d.c
        + src/new.c
    [stage-1 1/1] COPY --from=build /src /
      the files of /src changed
    exit code 0
    ");
    insta::assert_snapshot!(why(&["stage-1 1/1"]), @"
    [stage-1 1/1] COPY --from=build /src /
      the files of /src changed
    exit code 0
    ");
    // Another stage is another build, and so is another file.
    let other = bench.context.path().join("other");
    std::fs::write(&other, "FROM scratch\nCOPY src /\n").unwrap();
    assert_eq!(bench.build(&["--build-arg", "V=1", "-f", "other"]), "exit code 0");
    insta::assert_snapshot!(why(&["-f", "other"]), @"
    [1/1] COPY src /
      no earlier build had such a step
    exit code 0
    ");
    insta::assert_snapshot!(why(&["--target", "build", "."]), @"
    error: no build of `CONTEXT` is known with this -f, --target and --platform; build it first
    exit code 1
    ");
    insta::assert_snapshot!(why(&["RUN nothing"]), @"
    error: no step is called `RUN nothing`; the steps are
      [build 1/1] COPY src /src/
      [stage-1 1/1] COPY --from=build /src /
    exit code 1
    ");
    assert_eq!(bench.build(&["--build-arg", "V=1", "--no-cache"]), "exit code 0");
    insta::assert_snapshot!(why(&["COPY src"]), @"
    [build 1/1] COPY src /src/
      the cache was not to answer: --no-cache or --no-cache-filter
    exit code 0
    ");
}

/// What the schema of SARIF 2.1.0 demands of the objects that kiln writes: no other members than these, and the
/// required ones. Whole logs were held against the schema itself when this was written.
fn assert_sarif(log: &serde_json::Value) {
    use serde_json::Value;

    fn object(value: &Value, required: &[&str], optional: &[&str]) {
        let members: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(required.iter().all(|name| members.contains(name)), "{required:?} in {value:#}");
        let known = |name: &&str| required.contains(name) || optional.contains(name);
        assert!(members.iter().all(known), "something else than {required:?} {optional:?} in {value:#}");
    }
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} is no number"));
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned();

    object(log, &["version", "runs"], &["$schema"]);
    assert_eq!(log["version"], "2.1.0");
    for run in log["runs"].as_array().unwrap() {
        object(run, &["tool"], &["results", "columnKind"]);
        assert!(["utf16CodeUnits", "unicodeCodePoints"].contains(&&*text(&run["columnKind"])));
        object(&run["tool"], &["driver"], &[]);
        let driver = &run["tool"]["driver"];
        object(driver, &["name"], &["semanticVersion", "rules"]);
        let rules = driver["rules"].as_array().unwrap();
        let unique: std::collections::BTreeSet<String> = rules.iter().map(|rule| text(&rule["id"])).collect();
        assert_eq!(unique.len(), rules.len(), "a rule stands twice in {driver:#}");
        for rule in rules {
            object(rule, &["id"], &["shortDescription", "helpUri"]);
            object(&rule["shortDescription"], &["text"], &["markdown"]);
        }
        for result in run["results"].as_array().unwrap() {
            object(result, &["message"], &["ruleId", "ruleIndex", "level", "locations"]);
            object(&result["message"], &["text"], &[]);
            assert!(["none", "note", "warning", "error"].contains(&&*text(&result["level"])));
            let index = usize::try_from(number(&result["ruleIndex"])).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"], "{result:#}");
            for location in result["locations"].as_array().unwrap() {
                object(location, &["physicalLocation"], &[]);
                let place = &location["physicalLocation"];
                object(place, &["artifactLocation", "region"], &[]);
                object(&place["artifactLocation"], &["uri"], &[]);
                let uri = text(&place["artifactLocation"]["uri"]);
                assert!(uri.is_ascii() && !uri.contains([' ', '"', '<', '>', '\\']), "{uri}");
                let region = &place["region"];
                object(region, &["startLine", "startColumn", "endLine", "endColumn"], &[]);
                let at = |name: &str| number(&region[name]);
                assert!(at("startLine") >= 1 && at("startColumn") >= 1, "{region}");
                assert!((at("startLine"), at("startColumn")) <= (at("endLine"), at("endColumn")), "{region}");
            }
        }
    }
}

#[test]
fn logs_are_sarif() {
    for (name, text, count) in [
        ("Dockerfile", "FROM scratch\n", 0),
        ("a b\u{e4}.Dockerfile", "from a as B\nENV k v\nRUN echo $X\nCMD x\nEXPOSE 80/TCP\n", 5),
        ("Dockerfile", "FROM a\nNOPE\nRUN --nope x\nCOPY a\n", 3),
        ("Dockerfile", "# nothing\n\n", 1),
        ("Dockerfile", "", 1),
    ] {
        let bench = Bench::new(&[(name, text)]);
        let output = bench.kiln(&["check", "--offline", "--format", "sarif", name]);
        let log: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_sarif(&log);
        assert_eq!(log["runs"][0]["results"].as_array().unwrap().len(), count, "{log:#}");
    }
}
