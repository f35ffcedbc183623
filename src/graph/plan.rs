//! The printed form of a graph: text to read, JSON for programs. Both come from one description, so
//! neither can lack a field that the other has.
//!
//! The same graph always prints the same: nothing depends on time, addresses or map order. In text, what is
//! absent, empty or off is left out; in JSON every field is there.

use serde_json::{Map, Value, json};

use super::{
    Copy, Graph, HttpSource, Input, Mkdir, Mount, MountKind, Network, Op, Output, Remote, Run, Security,
    Sharing, Source, Step, StepId,
};

/// The version of the JSON form; it grows when a field changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// A value of the description; fields keep their order.
enum Shown {
    Nothing,
    Text(String),
    Number(u64),
    Flag(bool),
    List(Vec<Shown>),
    Fields(Fields),
}

type Fields = Vec<(String, Shown)>;

/// Prints `graph` as text: one block per step, then one per output.
pub fn text(graph: &Graph) -> String {
    let mut out = String::new();
    for (id, step) in graph.ids().zip(graph.steps()) {
        out += &format!("step {}: {}\n", id.index(), one_line(&step.name));
        print(&mut out, 1, &describe_step(step));
        out.push('\n');
    }
    for output in &graph.outputs {
        out += &format!("output {}\n", output.platform);
        print(&mut out, 1, &describe_output(output));
    }
    out
}

/// Returns `graph` as JSON: `{"version", "steps", "outputs"}`.
pub fn json(graph: &Graph) -> Value {
    let steps = graph.ids().zip(graph.steps()).map(|(id, step)| {
        let head = vec![field("id", number(id.index())), field("name", Shown::Text(step.name.clone()))];
        to_json(Shown::Fields(head.into_iter().chain(describe_step(step)).collect()))
    });
    let outputs = graph.outputs.iter().map(|output| {
        let head = vec![field("platform", Shown::Text(output.platform.to_string()))];
        to_json(Shown::Fields(head.into_iter().chain(describe_output(output)).collect()))
    });
    json!({
        "version": VERSION,
        "steps": steps.collect::<Vec<_>>(),
        "outputs": outputs.collect::<Vec<_>>(),
    })
}

fn describe_step(step: &Step) -> Fields {
    let Step { op, name: _, span: _, platform, ignore_cache } = step;
    let (kind, fields) = match op {
        Op::Base(image) => {
            let layers = image.layers.iter().map(|layer| Shown::Text(layer.diff_id.to_string())).collect();
            let manifest = Shown::Text(image.manifest.to_string());
            ("base", vec![field("manifest", manifest), field("layers", Shown::List(layers))])
        }
        Op::Run(run) => ("run", describe_run(run)),
        Op::Copy(copy) => ("copy", describe_copy(copy)),
        Op::Mkdir(mkdir) => ("mkdir", describe_mkdir(mkdir)),
    };
    let mut described = vec![
        field("op", Shown::Text(kind.to_owned())),
        field("platform", Shown::Text(platform.to_string())),
        field("ignore_cache", Shown::Flag(*ignore_cache)),
        field("inputs", Shown::List(op.inputs().into_iter().map(|id| number(id.index())).collect())),
    ];
    described.extend(fields);
    described
}

fn describe_run(run: &Run) -> Fields {
    let Run {
        parent,
        argv,
        env,
        proxy_env,
        working_dir,
        user,
        mounts,
        secret_env,
        network,
        security,
        extra_hosts,
        ulimits,
    } = run;
    let network = match network {
        Network::Host => "host",
        Network::None => "none",
    };
    let secret_env = secret_env.iter().map(|secret| {
        Shown::Fields(vec![
            field("name", Shown::Text(secret.name.clone())),
            field("id", Shown::Text(secret.id.clone())),
            field("required", Shown::Flag(secret.required)),
        ])
    });
    let extra_hosts: Vec<String> =
        extra_hosts.iter().map(|(name, address)| format!("{name}={address}")).collect();
    let ulimits: Vec<String> = ulimits.iter().map(ToString::to_string).collect();
    vec![
        field("parent", step_id(*parent)),
        field("argv", texts(argv)),
        field("env", texts(env)),
        field("proxy_env", texts(proxy_env)),
        field("working_dir", Shown::Text(format!("/{working_dir}"))),
        field("user", some_text(user)),
        field("network", Shown::Text(network.to_owned())),
        field(
            "mounts",
            Shown::List(mounts.iter().map(|mount| Shown::Fields(describe_mount(mount))).collect()),
        ),
        field("secret_env", Shown::List(secret_env.collect())),
        field("insecure", Shown::Flag(*security == Security::Insecure)),
        field("extra_hosts", texts(&extra_hosts)),
        field("ulimits", texts(&ulimits)),
    ]
}

fn describe_mount(mount: &Mount) -> Fields {
    let mut fields = vec![field("target", Shown::Text(format!("/{}", mount.target)))];
    fields.extend(match &mount.kind {
        MountKind::Bind { input, source, readonly } => vec![
            field("type", Shown::Text("bind".into())),
            field("from", describe_input(input)),
            field("source", Shown::Text(format!("/{source}"))),
            field("readonly", Shown::Flag(*readonly)),
        ],
        MountKind::Cache { id, sharing, initial, mode, uid, gid, readonly } => {
            let sharing = match sharing {
                Sharing::Shared => "shared",
                Sharing::Private => "private",
                Sharing::Locked => "locked",
            };
            let (from, source) = match initial {
                None => (Shown::Nothing, Shown::Nothing),
                Some((input, source)) => (describe_input(input), Shown::Text(format!("/{source}"))),
            };
            vec![
                field("type", Shown::Text("cache".into())),
                field("id", Shown::Text(id.clone())),
                field("sharing", Shown::Text(sharing.to_owned())),
                field("from", from),
                field("source", source),
                field("mode", Shown::Text(format!("{mode:04o}"))),
                field("uid", Shown::Number((*uid).into())),
                field("gid", Shown::Number((*gid).into())),
                field("readonly", Shown::Flag(*readonly)),
            ]
        }
        MountKind::Tmpfs { size_bytes } => vec![
            field("type", Shown::Text("tmpfs".into())),
            field("size_bytes", size_bytes.map_or(Shown::Nothing, Shown::Number)),
        ],
        MountKind::File { content, mode } => vec![
            field("type", Shown::Text("file".into())),
            field("mode", Shown::Text(format!("{mode:04o}"))),
            field("content", Shown::Text(String::from_utf8_lossy(content).into_owned())),
        ],
        MountKind::Secret { id, required, mode, uid, gid } => {
            describe_handed_in("secret", id, *required, *mode, (*uid, *gid))
        }
        MountKind::Ssh { id, required, mode, uid, gid } => {
            describe_handed_in("ssh", id, *required, *mode, (*uid, *gid))
        }
    });
    fields
}

fn describe_handed_in(kind: &str, id: &str, required: bool, mode: u32, (uid, gid): (u32, u32)) -> Fields {
    vec![
        field("type", Shown::Text(kind.to_owned())),
        field("id", Shown::Text(id.to_owned())),
        field("required", Shown::Flag(required)),
        field("mode", Shown::Text(format!("{mode:04o}"))),
        field("uid", Shown::Number(uid.into())),
        field("gid", Shown::Number(gid.into())),
    ]
}

fn describe_copy(copy: &Copy) -> Fields {
    let Copy { parent, sources, destination, owner, chmod, excludes, parents, link, extract } = copy;
    let sources = sources.iter().map(|source| {
        Shown::Fields(match source {
            Source::Path { input, path } => {
                vec![field("from", describe_input(input)), field("path", Shown::Text(path.clone()))]
            }
            Source::Remote { remote, extract } => describe_remote(remote, *extract),
            Source::Inline { name, content } => vec![
                field("name", Shown::Text(name.clone())),
                field("content", Shown::Text(String::from_utf8_lossy(content).into_owned())),
            ],
        })
    });
    vec![
        field("parent", step_id(*parent)),
        field("sources", Shown::List(sources.collect())),
        field("destination", Shown::Text(destination.clone())),
        field("owner", some_text(owner.as_deref().unwrap_or_default())),
        field("chmod", chmod.as_ref().map_or(Shown::Nothing, |chmod| Shown::Text(chmod.to_string()))),
        field("excludes", texts(excludes)),
        field("parents", Shown::Flag(*parents)),
        field("link", Shown::Flag(*link)),
        field("extract", Shown::Flag(*extract)),
    ]
}

fn describe_remote(remote: &Remote, extract: bool) -> Fields {
    match remote {
        Remote::Http(HttpSource { url: _, name, checksum }) => vec![
            field("url", Shown::Text(remote.shown())),
            field("name", Shown::Text(name.clone())),
            field("checksum", checksum.map_or(Shown::Nothing, |checksum| Shown::Text(checksum.to_string()))),
            field("extract", Shown::Flag(extract)),
        ],
        Remote::Git(source) => vec![
            field("git", Shown::Text(source.shown())),
            field("checksum", some_text(source.checksum.as_deref().unwrap_or_default())),
            field("keep_git_dir", Shown::Flag(source.keep_git_dir)),
            field("submodules", Shown::Flag(source.submodules)),
            field("commit_times", Shown::Flag(source.commit_times)),
            field("by_commit", Shown::Flag(source.by_commit)),
        ],
    }
}

fn describe_mkdir(mkdir: &Mkdir) -> Fields {
    let Mkdir { parent, path, user } = mkdir;
    vec![
        field("parent", step_id(*parent)),
        field("path", Shown::Text(format!("/{path}"))),
        field("user", some_text(user)),
    ]
}

fn describe_output(output: &Output) -> Fields {
    let Output { root, config, history, platform: _ } = output;
    let history = history.iter().map(|entry| {
        Shown::Fields(vec![
            field("step", step_id(entry.step)),
            field("created_by", Shown::Text(entry.created_by.clone())),
            field("author", some_text(&entry.author)),
        ])
    });
    // Maps with text keys, strings, numbers: nothing that JSON could refuse.
    let config = serde_json::to_value(config).unwrap_or_default();
    vec![
        field("root", step_id(*root)),
        field("config", from_json(config)),
        field("history", Shown::List(history.collect())),
    ]
}

fn describe_input(input: &Input) -> Shown {
    match input {
        Input::Context(None) => Shown::Text("context".into()),
        Input::Context(Some(name)) => Shown::Text(format!("context {name}")),
        Input::Step(id) => Shown::Text(format!("step {}", id.index())),
        Input::Empty => Shown::Text("scratch".into()),
    }
}

fn field(name: &str, value: Shown) -> (String, Shown) {
    (name.to_owned(), value)
}

fn step_id(id: Option<StepId>) -> Shown {
    id.map_or(Shown::Nothing, |id| number(id.index()))
}

fn number(index: usize) -> Shown {
    Shown::Number(index as u64)
}

fn texts(texts: &[impl AsRef<str>]) -> Shown {
    Shown::List(texts.iter().map(|text| Shown::Text(text.as_ref().to_owned())).collect())
}

fn some_text(text: &str) -> Shown {
    if text.is_empty() { Shown::Nothing } else { Shown::Text(text.to_owned()) }
}

fn from_json(value: Value) -> Shown {
    match value {
        Value::Null => Shown::Nothing,
        Value::Bool(flag) => Shown::Flag(flag),
        Value::String(text) => Shown::Text(text),
        Value::Number(number) => {
            number.as_u64().map_or_else(|| Shown::Text(number.to_string()), Shown::Number)
        }
        Value::Array(values) => Shown::List(values.into_iter().map(from_json).collect()),
        Value::Object(fields) => {
            Shown::Fields(fields.into_iter().map(|(name, value)| (name, from_json(value))).collect())
        }
    }
}

fn to_json(shown: Shown) -> Value {
    match shown {
        Shown::Nothing => Value::Null,
        Shown::Text(text) => Value::String(text),
        Shown::Number(number) => number.into(),
        Shown::Flag(flag) => Value::Bool(flag),
        Shown::List(values) => values.into_iter().map(to_json).collect(),
        Shown::Fields(fields) => Value::Object(
            fields.into_iter().map(|(name, value)| (name, to_json(value))).collect::<Map<_, _>>(),
        ),
    }
}

fn print(out: &mut String, depth: usize, fields: &Fields) {
    let indent = "  ".repeat(depth);
    for (name, value) in fields {
        match value {
            Shown::Nothing | Shown::Flag(false) => {}
            Shown::Text(text) => *out += &format!("{indent}{}: {}\n", one_line(name), one_line(text)),
            Shown::Number(number) => *out += &format!("{indent}{name}: {number}\n"),
            Shown::Flag(true) => *out += &format!("{indent}{name}: yes\n"),
            Shown::Fields(fields) => {
                *out += &format!("{indent}{}:\n", one_line(name));
                print(out, depth + 1, fields);
            }
            Shown::List(values) if values.is_empty() => {}
            Shown::List(values) => {
                *out += &format!("{indent}{}:\n", one_line(name));
                print_list(out, depth + 1, values);
            }
        }
    }
}

fn print_list(out: &mut String, depth: usize, values: &[Shown]) {
    let indent = "  ".repeat(depth);
    for value in values {
        match value {
            Shown::Nothing => {}
            Shown::Text(text) => *out += &format!("{indent}- {}\n", one_line(text)),
            Shown::Number(number) => *out += &format!("{indent}- {number}\n"),
            Shown::Flag(flag) => *out += &format!("{indent}- {flag}\n"),
            Shown::List(values) => print_list(out, depth + 1, values),
            Shown::Fields(fields) => {
                let start = out.len();
                print(out, depth + 1, fields);
                // The first field stands on the line of its dash.
                let dash = start + 2 * depth;
                if out.len() > dash {
                    out.replace_range(dash..=dash, "-");
                }
            }
        }
    }
}

/// Text that has control characters, blanks at an end, or nothing at all is quoted.
fn one_line(text: &str) -> String {
    let plain =
        !text.is_empty() && text.trim() == text && !text.contains(char::is_control) && !text.starts_with('"');
    if plain { text.to_owned() } else { Value::String(text.to_owned()).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_graph() {
        assert_eq!(text(&Graph::default()), "");
        assert_eq!(json(&Graph::default()), json!({"version": 1, "steps": [], "outputs": []}));
    }

    #[test]
    fn text_stays_on_its_line() {
        for (text, expected) in
            [("a b", "a b"), ("a\nb", r#""a\nb""#), ("", r#""""#), (" a", r#"" a""#), ("\"a\"", r#""\"a\"""#)]
        {
            assert_eq!(one_line(text), expected, "{text:?}");
        }
    }
}
