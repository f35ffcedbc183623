//! The semantics that config, history and plan show, one statement each.

use serde_json::{Value, json};

use super::support::Case;
use crate::graph::{Graph, MountKind, Op, Output, Run, SecretEnv};

fn build(text: &str, settings: &Value) -> Graph {
    let case = Case::new(text, settings);
    match case.lower() {
        Ok((graph, _)) => graph,
        Err(findings) => panic!("{text}\n{}", super::rendered(&case.source, &findings)),
    }
}

fn output(text: &str) -> Output {
    output_with(text, &Value::Null)
}

fn output_with(text: &str, settings: &Value) -> Output {
    build(text, settings).outputs.remove(0)
}

fn history(text: &str) -> Vec<String> {
    output(text).history.into_iter().map(|entry| entry.created_by).collect()
}

fn messages(text: &str, settings: &Value) -> Vec<String> {
    let findings = match Case::new(text, settings).lower() {
        Ok((_, warnings)) => warnings,
        Err(findings) => findings,
    };
    findings.into_iter().map(|finding| finding.message).collect()
}

fn last_run(graph: &Graph) -> &Run {
    let mut runs = graph.steps().iter().filter_map(|step| match &step.op {
        Op::Run(run) => Some(run),
        _ => None,
    });
    runs.next_back().expect("the file has a RUN")
}

#[test]
fn statements_27_and_28_shell_form_is_one_string_behind_shell() {
    let output = output("FROM x AS a\nSHELL [\"/bin/bash\", \"-ec\"]\nFROM a\nCMD a  \"b\"\n");
    assert_eq!(output.config.config.cmd.unwrap(), ["/bin/bash", "-ec", "a  \"b\""]);
    assert_eq!(output.config.config.shell.unwrap(), ["/bin/bash", "-ec"]);
}

#[test]
fn statement_29_empty_lists() {
    let config = output("FROM x\nCMD []\nENTRYPOINT []\n").config.config;
    assert_eq!((config.cmd, config.entrypoint), (Some(vec![]), None));
}

#[test]
fn statements_30_and_31_entrypoint_clears_an_inherited_cmd() {
    let base = json!({"images": {"x": {"config": {"config": {"Cmd": ["old"]}}}}});
    for (text, expected) in [
        ("FROM x\nENTRYPOINT [\"e\"]\n", None),
        ("FROM x\nCMD [\"own\"]\nENTRYPOINT [\"e\"]\n", Some(vec!["own".to_owned()])),
        ("FROM x AS a\nCMD [\"own\"]\nFROM a\nENTRYPOINT [\"e\"]\n", None),
        ("FROM x\nENTRYPOINT [\"e\"]\nCMD [\"late\"]\n", Some(vec!["late".to_owned()])),
    ] {
        assert_eq!(output_with(text, &base).config.config.cmd, expected, "{text}");
    }
}

#[test]
fn statement_33_cmd_sets_args_escaped() {
    assert!(output("FROM x\nCMD [\"a\"]\n").config.config.args_escaped);
    assert!(!output("FROM x\nENTRYPOINT [\"a\"]\n").config.config.args_escaped);
}

#[test]
fn statement_36_one_instruction_sees_the_variables_before_it() {
    assert_eq!(history("FROM x\nENV a=1\nENV a=2 b=$a\n")[1], "ENV a=2 b=1");
}

#[test]
fn statements_37_to_42_values_of_variables() {
    for (word, expected) in [
        ("$NONE", ""),
        ("${a-d}", "v"),
        ("${NONE:-d}", "d"),
        ("${a:+y}", "y"),
        ("${a#v}", ""),
        ("'$a'", "$a"),
    ] {
        assert_eq!(
            history(&format!("FROM x\nENV a=v\nLABEL l={word}\n"))[1],
            format!("LABEL l={expected}"),
            "{word}"
        );
    }
}

#[test]
fn statement_48_only_expose_splits_after_expansion() {
    let text = "FROM x\nENV many=\"1 2\"\nEXPOSE $many\nVOLUME $many\n";
    assert_eq!(history(text)[1..], ["EXPOSE [1/tcp 2/tcp]", "VOLUME [1 2]"]);
    assert_eq!(output(text).config.config.volumes.len(), 1);
}

#[test]
fn statement_55_global_arguments_end_at_from() {
    let text = "ARG G=1\nFROM x\nLABEL a=$G\nARG G\nLABEL b=$G\n";
    assert_eq!(history(text), ["LABEL a=", "ARG G=1", "LABEL b=1"]);
}

#[test]
fn statements_56_to_58_where_an_argument_gets_its_value() {
    let text = "ARG A=1\nARG B=${A}2\nFROM x\nARG B\nARG A=own\n";
    for (given, expected) in [
        (json!({}), ["ARG B=12", "ARG A=own"]),
        (json!({"A": "x"}), ["ARG B=x2", "ARG A=x"]),
        (json!({"B": "y"}), ["ARG B=y", "ARG A=own"]),
    ] {
        let output = output_with(text, &json!({"build_args": given}));
        let lines: Vec<_> = output.history.iter().map(|entry| &*entry.created_by).collect();
        assert_eq!(lines, expected, "{given}");
    }
}

#[test]
fn statements_59_to_61_arguments_in_the_environment() {
    let settings = json!({"build_args": {"UNDECLARED": "x", "ARGUED": "given"}});
    let graph =
        build("FROM x\nENV ARGUED=env LATE=env\nARG ARGUED\nARG LATE=arg\nENV LATE=env2\nRUN a\n", &settings);
    let env: Vec<&str> = last_run(&graph).env.iter().map(|variable| &**variable).collect();
    assert_eq!(env[1..], ["ARGUED=given", "LATE=env2"]);
    assert_eq!(graph.outputs[0].config.config.env[1..], ["ARGUED=env", "LATE=env2"]);
}

#[test]
fn statement_62_arguments_are_inherited_by_stages_on_top() {
    assert_eq!(history("FROM x AS a\nARG A=1\nFROM a\nLABEL l=$A\n")[1], "LABEL l=1");
    assert_eq!(history("FROM x AS a\nARG A=1\nFROM x\nLABEL l=$A\n")[0], "LABEL l=");
}

#[test]
fn statements_63_to_65_platform_arguments() {
    let text = "ARG TARGETARCH\nFROM x$TARGETARCH AS Named\nARG TARGETARCH TARGETSTAGE BUILDPLATFORM\nLABEL a=$TARGETOS\n";
    for (settings, expected) in [
        (
            json!({"platform": "linux/arm64"}),
            "ARG TARGETARCH=arm64 TARGETSTAGE=named BUILDPLATFORM=linux/amd64",
        ),
        (
            json!({"build_args": {"TARGETARCH": "mine"}}),
            "ARG TARGETARCH=mine TARGETSTAGE=named BUILDPLATFORM=linux/amd64",
        ),
    ] {
        let output = output_with(text, &settings);
        assert_eq!(output.history[0].created_by, expected);
        assert_eq!(output.history[1].created_by, "LABEL a=");
    }
}

#[test]
fn statement_66_a_missing_path_is_added_to_the_config() {
    assert!(output("FROM x\n").config.config.env[0].starts_with("PATH=/usr/local/sbin:"));
    let own = json!({"images": {"x": {"config": {"config": {"Env": ["A=1", "PATH=/own"]}}}}});
    assert_eq!(output_with("FROM x\n", &own).config.config.env, ["A=1", "PATH=/own"]);
}

#[test]
fn statement_68_proxies_reach_only_the_command() {
    let settings = json!({"build_args": {"HTTP_PROXY": "p", "https_proxy": "q", "NO_PROXY": ""}});
    let graph = build("FROM x\nENV http_proxy=own\nARG HTTPS_PROXY\nRUN a\n", &settings);
    assert_eq!(last_run(&graph).proxy_env, ["HTTP_PROXY=p", "HTTPS_PROXY=q", "https_proxy=q"]);
    let history = &graph.outputs[0].history;
    assert_eq!(history.last().unwrap().created_by, "RUN |1 HTTPS_PROXY= /bin/sh -c a # buildkit");
}

#[test]
fn statement_72_of_two_stages_with_one_name() {
    // FROM takes the latest above it, --from the last of the file.
    let graph = build("FROM x AS a\nRUN 1\nFROM x AS a\nRUN 2\nFROM a\nCOPY --from=a / /\n", &Value::Null);
    assert_eq!(graph.steps().iter().filter(|step| step.name.contains("RUN")).count(), 1);
    let below = "FROM x AS a\nFROM x AS middle\nCOPY --from=a / /\nFROM x AS a\n";
    let found = messages(below, &json!({"target": "middle"}));
    assert!(found[0].contains("needs to be defined before"), "{found:?}");
}

#[test]
fn statements_73_and_74_case_of_stage_names() {
    let found = messages("FROM x AS builder\nFROM Builder\n", &Value::Null);
    assert!(found.iter().any(|message| message.contains("must be lower-case")), "{found:?}");
    let graph = build(
        "FROM x AS builder\nFROM scratch AS last\nCOPY --from=BUILDER / /\n",
        &json!({"target": "LAST"}),
    );
    assert_eq!(graph.steps().len(), 2);
}

#[test]
fn statement_75_numbers_count_images_too() {
    let graph = build("FROM scratch AS a\nCOPY --from=nginx /n /\nCOPY --from=1 /m /\n", &Value::Null);
    let sources: Vec<_> = graph.steps().iter().map(|step| step.op.sources()).collect();
    assert_eq!(sources[1], sources[2]);
}

#[test]
fn statement_82_an_image_without_layers_is_as_good_as_nothing() {
    let settings = json!({"images": {"x": {"layers": 0, "config": {"config": {"User": "u"}}}}});
    let output = output_with("FROM x\n", &settings);
    assert_eq!((output.root, &*output.config.config.user), (None, "u"));
}

#[test]
fn statements_84_and_86_the_target_platform_wins() {
    let settings = json!({"platform": "linux/arm/v6"});
    assert_eq!(
        messages("FROM x\n", &settings),
        [
            "Base image x was pulled with platform \"linux/amd64\", expected \"linux/arm/v6\" for current build"
        ]
    );
    let output = output_with("FROM x\n", &settings);
    assert_eq!((&*output.config.architecture, &*output.config.variant), ("arm", "v6"));
}

#[test]
fn statement_87_scratch() {
    let output = output("FROM scratch\n");
    assert_eq!((output.root, &*output.config.config.working_dir), (None, "/"));
    assert_eq!(output.config.config.env.len(), 1);
}

#[test]
fn statements_88_and_89_labels() {
    let text = "FROM x AS a\nLABEL inner=1\nFROM x AS b\nLABEL b=1 c=1\nFROM b\nCOPY --from=a / /\n";
    let labels = output_with(text, &json!({"labels": {"c": "given"}})).config.config.labels;
    assert_eq!(labels, [("b".into(), "1".into()), ("c".into(), "given".into())].into());
}

#[test]
fn statement_131_link_with_chmod_is_a_plain_copy() {
    for (flags, expected) in [("--link", true), ("--link --chmod=600", false)] {
        let graph = build(&format!("FROM scratch\nCOPY {flags} a /\n"), &Value::Null);
        let Op::Copy(copy) = &graph.steps()[0].op else { panic!("{flags}") };
        assert_eq!(copy.link, expected, "{flags}");
    }
}

#[test]
fn statement_160_the_root_is_no_mount_point() {
    assert_eq!(
        messages("FROM x\nRUN --mount=type=cache,target=/a/.. b\n", &Value::Null),
        ["invalid mount target \"/\""]
    );
}

/// Returns the targets of the last RUN's mounts with their kinds.
fn mounts(text: &str) -> Vec<(String, MountKind)> {
    let graph = build(text, &Value::Null);
    last_run(&graph).mounts.iter().map(|mount| (mount.target.to_string(), mount.kind.clone())).collect()
}

#[test]
fn statement_166_where_a_secret_is_seen() {
    let secret =
        |id: &str, required| MountKind::Secret { id: id.into(), required, mode: 0o400, uid: 0, gid: 0 };
    for (options, target, kind) in [
        ("id=a", "run/secrets/a", secret("a", false)),
        ("id=dir/a", "run/secrets/a", secret("dir/a", false)),
        ("target=/etc/token", "etc/token", secret("token", false)),
        ("target=token", "token", secret("token", false)),
        ("source=a,target=/b,required", "b", secret("a", true)),
        ("id=a,env=A,target=/b", "b", secret("a", false)),
        (
            "id=a,uid=1",
            "run/secrets/a",
            MountKind::Secret { id: "a".into(), required: false, mode: 0o400, uid: 1, gid: 0 },
        ),
    ] {
        let text = format!("FROM x\nWORKDIR /w\nRUN --mount=type=secret,{options} x\n");
        assert_eq!(mounts(&text), [(target.to_owned(), kind)], "{options}");
    }
    let graph = build("FROM x\nRUN --mount=type=secret,id=a,env=A,required x\n", &Value::Null);
    let run = last_run(&graph);
    assert_eq!(run.mounts, []);
    assert_eq!(run.secret_env, [SecretEnv { name: "A".into(), id: "a".into(), required: true }]);
}

#[test]
fn statement_167_a_variable_that_is_a_secret_is_shown_as_one() {
    let graph = build("FROM x\nENV A=1\nRUN --mount=type=secret,id=a,env=A echo $A $B\n", &Value::Null);
    let step = graph.steps().last().unwrap();
    assert!(step.name.ends_with("echo **** $B"), "{}", step.name);
    assert_eq!(graph.outputs[0].history.last().unwrap().created_by, "RUN /bin/sh -c echo $A $B # buildkit");
}

#[test]
fn statement_168_where_an_agent_is_seen() {
    let graph = build("FROM x\nRUN --mount=type=ssh,target=/s --mount=type=ssh,id=b x\n", &Value::Null);
    let run = last_run(&graph);
    let targets: Vec<String> = run.mounts.iter().map(|mount| mount.target.to_string()).collect();
    assert_eq!(targets, ["s", "run/buildkit/ssh_agent.1"]);
    assert_eq!(&*run.env[1], "SSH_AUTH_SOCK=/s");
    let ssh = |id: &str| MountKind::Ssh { id: id.into(), required: false, mode: 0o600, uid: 0, gid: 0 };
    assert_eq!([&run.mounts[0].kind, &run.mounts[1].kind], [&ssh("default"), &ssh("b")]);
}

#[test]
fn statements_174_and_175_workdir() {
    let graph = build("FROM x\nUSER 5\nWORKDIR /a\nWORKDIR b\nWORKDIR /\n", &Value::Null);
    let made: Vec<_> = graph
        .steps()
        .iter()
        .filter_map(|step| match &step.op {
            Op::Mkdir(mkdir) => Some((mkdir.path.to_string(), mkdir.user.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(made, [("a".into(), "5".into()), ("a/b".into(), "5".into())]);
    assert_eq!(graph.outputs[0].history.last().unwrap().step, None);
}

#[test]
fn statement_182_ports_are_sorted_as_written() {
    assert_eq!(history("FROM x\nEXPOSE 90 80/udp 8-9\n"), ["EXPOSE [8/tcp 9/tcp 80/udp 90/tcp]"]);
}

#[test]
fn statement_194_triggers_do_not_reach_grandchildren() {
    let text = "FROM x AS a\nONBUILD LABEL t=1\nFROM a AS b\nFROM b\nLABEL own=1\n";
    assert_eq!(history(text), ["LABEL t=1", "LABEL own=1"]);
    assert!(output(text).config.config.on_build.is_empty());
}

#[test]
fn statement_198_onbuild_makes_no_history() {
    let output = output("FROM x\nONBUILD RUN a\n");
    assert!(output.history.is_empty());
    assert_eq!(output.config.config.on_build, ["RUN a"]);
}

#[test]
fn statement_208_an_argument_without_value_is_not_in_the_environment() {
    let graph = build("FROM x\nARG NONE\nRUN a\n", &Value::Null);
    assert_eq!(last_run(&graph).env.len(), 1);
}

#[test]
fn statement_81_scratch_and_context_cannot_be_replaced() {
    let settings = json!({ "contexts": { "scratch": "image", "context": "image" } });
    let graph = build("FROM scratch\nCOPY a /\n", &settings);
    assert!(!graph.steps().iter().any(|step| matches!(step.op, Op::Base(_))), "nothing stands below");
}

#[test]
fn statement_85_a_base_is_one_digest_for_the_whole_build() {
    let graph = build("FROM x AS a\nFROM x\nCOPY --from=a /a /\n", &Value::Null);
    let bases: Vec<&str> = graph
        .steps()
        .iter()
        .filter(|step| matches!(step.op, Op::Base(_)))
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(bases.len(), 1, "{bases:?}");
    assert!(bases[0].contains("@sha256:"), "{bases:?}");
}
