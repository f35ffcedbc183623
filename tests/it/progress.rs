//! Progress on standard error.

use serde_json::Value;

use crate::support::kiln::{Kiln, ended};
use crate::support::skip;

const DOCKERFILE: &str = "\
FROM busybox AS one
RUN echo to stdout; echo to stderr >&2; printf 'no line end'
FROM scratch
COPY --from=one /etc/passwd /copied
";

/// The two streams reach kiln in no order: within one line they do not mix.
#[test]
fn lines_of_two_streams() {
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    kiln.dockerfile(
        "FROM busybox\nRUN printf 'half'; printf 'err' >&2; sleep 0.1; echo ' whole'; echo 'or' >&2\n",
    );
    let stderr = kiln.build("--progress plain context").success().stderr;
    for line in [" half whole", " error"] {
        assert!(
            stderr.lines().any(|printed| printed.starts_with('#') && printed.ends_with(line)),
            "{stderr}"
        );
    }
}

/// Puts a fixed time in the place of every duration and offset.
fn without_times(text: &str) -> String {
    let line = |line: &str| -> String {
        let words = line.split(' ').map(|word| {
            let number = word.strip_suffix('s').unwrap_or(word);
            let is_time = number.contains('.') && number.parse::<f64>().is_ok();
            if is_time { "0.0" } else { word }
        });
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn plain_lines() {
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    kiln.dockerfile(&DOCKERFILE.replace("echo to stderr >&2; ", ""));
    let without_base = |stderr: &str| -> String {
        let lines =
            stderr.lines().filter(|line| !line.starts_with("kiln: ") && !line.contains("FROM busybox@"));
        without_times(&lines.collect::<Vec<_>>().join("\n"))
    };
    let built = kiln.build("--jobs 1 --progress plain context").success();
    assert!(built.stderr.starts_with("kiln: "), "the rung is named first: {}", built.stderr);
    insta::assert_snapshot!(without_base(&built.stderr), @r#"
    #1 DONE 0.0
    #2 [one 2/2] RUN echo to stdout; printf 'no line end'
    #2 0.0 to stdout
    #2 0.0 no line end
    #2 DONE 0.0
    #3 [stage-1 1/1] COPY --from=one /etc/passwd /copied
    #3 DONE 0.0
    #4 storing the image
    #4 DONE 0.0
    "#);
    let again = kiln.build("--jobs 1 --progress plain context").success();
    insta::assert_snapshot!(without_base(&again.stderr), @r#"
    #1 CACHED
    #2 [one 2/2] RUN echo to stdout; printf 'no line end'
    #2 CACHED
    #3 [stage-1 1/1] COPY --from=one /etc/passwd /copied
    #3 CACHED
    #4 storing the image
    #4 DONE 0.0
    "#);
}

#[test]
fn the_variable_chooses_the_form() {
    let kiln = Kiln::new();
    kiln.dockerfile("FROM scratch\nLABEL a=1\n");
    let stderr = |progress: &str| {
        ended(kiln.command().env("BUILDKIT_PROGRESS", progress).args(["build", "context"])).success().stderr
    };
    assert_eq!(stderr("quiet"), "");
    assert!(stderr("rawjson").starts_with('{'));
    assert!(stderr("plain").starts_with("kiln: "));
}

#[test]
fn a_json_object_per_line() {
    let Some(kiln) = Kiln::with_busybox() else { skip!("busybox-static is not installed") };
    kiln.dockerfile(DOCKERFILE);
    let built = kiln.build("--progress rawjson context").success();
    let events: Vec<Value> = built.stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    assert_eq!(events[0]["event"], "started");
    assert!(!events[0]["rung"].as_str().unwrap().is_empty());
    assert_eq!(of("task-started").len(), of("task-finished").len());
    let text = |stream: u64| -> String {
        let output = of("task-output").into_iter().filter(|event| event["stream"] == stream);
        output.map(|event| event["text"].as_str().unwrap()).collect()
    };
    assert_eq!((text(1).as_str(), text(2).as_str()), ("to stdout\nno line end", "to stderr\n"));
    for finished in of("task-finished") {
        assert_eq!(finished["outcome"], "done", "{finished}");
        let started = of("task-started").into_iter().find(|event| event["task"] == finished["task"]).unwrap();
        assert!(started["name"].is_string() && finished["seconds"].is_number());
    }
}

/// On a terminal, the view is drawn; nothing of that goes to a pipe.
#[test]
fn no_escape_codes_outside_a_terminal() {
    let kiln = Kiln::new();
    kiln.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    for style in ["auto", "plain", "rawjson"] {
        let ended = kiln.build(&format!("--progress {style} context"));
        assert!(!ended.success().stderr.contains('\u{1b}'), "{style}");
    }
}
