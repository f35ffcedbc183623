//! What holds for every file.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::Case;
use crate::graph::Op;

fn lowered(text: &str, settings: &Value) -> crate::graph::Graph {
    let case = Case::new(text, settings);
    match case.lower() {
        Ok((graph, _)) => graph,
        Err(findings) => panic!("{text}\n{}", super::rendered(&case.source, &findings)),
    }
}

#[test]
fn the_same_file_gives_the_same_plan() {
    for case in Case::all() {
        let (Ok((first, _)), Ok((second, _))) = (case.lower(), case.lower()) else { continue };
        assert_eq!(crate::graph::plan::text(&first), crate::graph::plan::text(&second), "{}", case.name);
        assert_eq!(crate::graph::plan::json(&first), crate::graph::plan::json(&second), "{}", case.name);
    }
}

#[test]
fn json_has_what_the_text_has_and_what_is_off() {
    let graph = lowered("FROM x\nENV A=1\nRUN --mount=target=/m a\n", &Value::Null);
    let plan = crate::graph::plan::json(&graph);
    assert_eq!(plan["version"], 1);
    let run = &plan["steps"][1];
    assert_eq!(
        json!([
            run["id"],
            run["op"],
            run["inputs"],
            run["argv"],
            run["env"][1],
            run["user"],
            run["ignore_cache"]
        ]),
        json!([1, "run", [0], ["/bin/sh", "-c", "a"], "A=1", null, false])
    );
    assert_eq!(
        run["mounts"],
        json!([{"target": "/m", "type": "bind", "from": "context", "source": "/", "readonly": true}])
    );
    assert_eq!(plan["outputs"][0]["history"][1]["step"], 1);
    assert_eq!(plan["outputs"][0]["config"]["config"]["Env"][1], "A=1");
}

#[test]
fn every_history_entry_with_a_layer_names_its_step_once() {
    for case in Case::all() {
        let Ok((graph, _)) = case.lower() else { continue };
        let output = &graph.outputs[0];
        let mut steps: Vec<_> = output.history.iter().filter_map(|entry| entry.step).collect();
        let mut chain = Vec::new();
        let mut at = output.root;
        while let Some(step) = at {
            if !matches!(graph.step(step).op, Op::Base(_)) {
                chain.push(step);
            }
            at = graph.step(step).op.parent();
        }
        steps.reverse();
        assert_eq!(steps, chain, "{}", case.name);
    }
}

#[test]
fn statement_79_stages_that_are_not_needed_are_not_asked_for() {
    let text = "FROM nowhere AS a\nRUN x\nFROM scratch AS b\nCOPY x /\nFROM a\nRUN y\n";
    let settings = json!({"target": "b", "images": {"else": {}}});
    let graph = lowered(text, &settings);
    assert_eq!(graph.steps().len(), 1);
}

#[test]
fn statement_211_cache_filters_name_stages_in_any_case() {
    let text = "FROM x AS one\nRUN a\nFROM x AS two\nRUN b\nCOPY --from=one / /\n";
    let graph = lowered(text, &json!({"no_cache_filter": ["TWO"]}));
    let ignored: Vec<_> =
        graph.steps().iter().filter(|step| step.ignore_cache).map(|step| &*step.name).collect();
    assert_eq!(ignored, ["[two 2/3] RUN b", "[two 3/3] COPY --from=one / /"]);
}

#[test]
fn statement_80_a_replaced_stage_is_what_replaces_it() {
    let text = "FROM nowhere AS a\nRUN x\nFROM a AS b\nFROM scratch\nCOPY --from=b / /\nCOPY --from=a / /\n";
    let graph = lowered(text, &json!({"contexts": {"a": "image"}, "images": {"a": {}}}));
    let names: Vec<_> =
        graph.steps().iter().map(|step| step.name.split('@').next().unwrap_or_default()).collect();
    assert_eq!(
        names,
        ["[b 1/1] FROM a", "[stage-2 1/2] COPY --from=b / /", "[stage-2 2/2] COPY --from=a / /"]
    );
    let graph = lowered(text, &json!({"contexts": {"a": "directory"}}));
    let names: Vec<_> = graph.steps().iter().map(|step| &*step.name).collect();
    assert_eq!(
        names,
        ["[context a] FROM a", "[stage-2 1/2] COPY --from=b / /", "[stage-2 2/2] COPY --from=a / /"]
    );
}

#[test]
fn a_context_that_is_a_stage_is_read_like_that_stage() {
    let contexts = json!({"contexts": {"busybox": "target:Own", "tools": "target:own", "old": "target:own"}});
    let text = "FROM scratch AS own\nENV A=1\nONBUILD LABEL b=2\nCOPY x /\n\
                FROM nowhere AS old\nRUN never\n\
                FROM busybox:latest\nCOPY --from=tools /x /y\nRUN --mount=from=old,target=/o c\n";
    let graph = lowered(text, &contexts);
    let names: Vec<_> = graph.steps().iter().map(|step| &*step.name).collect();
    assert_eq!(names[0], "[own 1/1] COPY x /");
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(graph.steps()[1..].iter().all(|step| step.op.sources().iter().all(|source| source.index() == 0)));
    let config = &graph.outputs[0].config.config;
    assert!(config.env.contains(&"A=1".to_owned()), "{:?}", config.env);
    assert_eq!(config.labels.get("b").map(String::as_str), Some("2"));
}

#[test]
fn a_context_that_is_a_stage_cannot_stand_on_itself() {
    for (text, contexts, message) in [
        (
            "FROM busybox AS own\n",
            json!({"busybox": "target:own"}),
            "the build context `busybox` is the stage `own`, which does not stand above",
        ),
        (
            "FROM a AS b\nFROM scratch AS c\nCOPY x /\n",
            json!({"b": "target:c"}),
            "the build context `b` is the stage `c`, which does not stand above",
        ),
        (
            "FROM scratch AS first\nCOPY --from=tools / /\nFROM first AS later\n",
            json!({"tools": "target:later"}),
            "cannot copy from stage \"later\", it needs to be defined before current stage \"first\"",
        ),
        (
            "FROM a\n",
            json!({"a": "target:none"}),
            "the build context `a` is the stage `none`, which does not stand above",
        ),
    ] {
        let findings = Case::new(text, &json!({"contexts": contexts})).lower().unwrap_err();
        assert_eq!(findings[0].message, message, "{text}");
        assert!(findings[0].help.is_some(), "{text}");
    }
}

#[test]
fn one_image_is_one_step() {
    let graph =
        lowered("FROM x AS one\nRUN a\nFROM x\nCOPY --from=x / /\nCOPY --from=one / /\n", &Value::Null);
    let bases = graph.steps().iter().filter(|step| matches!(step.op, Op::Base(_))).count();
    assert_eq!(bases, 1);
}

#[test]
fn statement_209_metadata_does_not_reach_a_later_run() {
    let plain = lowered("FROM x\nRUN a\n", &Value::Null);
    let labelled = lowered("FROM x\nLABEL a=b\nEXPOSE 80\nVOLUME /v\nCMD c\nRUN a\n", &Value::Null);
    let runs = [&plain, &labelled].map(|graph| format!("{:?}", graph.steps()[1].op));
    assert_eq!(runs[0], runs[1]);
}

/// Far above what is needed, so that a slow machine does not fail: it is quadratic work that must show.
const LIMIT: Duration = Duration::from_secs(2);

#[test]
fn long_files_are_lowered_in_proportion() {
    let mut text = String::from("FROM x\n");
    for number in 0..1000 {
        writeln!(text, "ENV NAME{number}=value\nLABEL a{number}=$NAME{number}").unwrap();
    }
    text += "RUN a\n";
    for number in 0..1000 {
        writeln!(text, "FROM scratch AS s{number}\nCOPY --from={number} / /").unwrap();
    }
    let start = Instant::now();
    let graph = lowered(&text, &Value::Null);
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    assert_eq!(graph.steps().len(), 1002);
}

proptest::proptest! {
    #[test]
    fn lowering_never_panics(text in "(FROM (scratch|x|a|\\$B)( AS (a|b))?\n|(RUN|COPY|ENV|ARG|WORKDIR|EXPOSE|USER|ONBUILD RUN|CMD|STOPSIGNAL|VOLUME) ?(--from=(a|1|y) |--mount=from=b,target=/m )?[a$B{}=:/1\" ]{0,12}\n){0,12}") {
        let contexts = json!({"contexts": {"a": "directory", "b": "image", "x": "scratch"}});
        for settings in [Value::Null, contexts, json!({"target": "a", "platform": "linux/arm64"})] {
            let _ = Case::new(&text, &settings).lower();
        }
    }
}
