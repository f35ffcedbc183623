//! wrangler's configuration: what `wrangler deploy` builds, as wrangler 4 understands it.

use std::collections::BTreeMap;
use std::path::Path;

use super::document::{Node, Table, Value};
use super::{Deployment, Image, Prebuilt, Presence, Surroundings, Tag, linux_amd64};
use crate::diagnostic::{Diagnostic, Span, suggest};

/// The name of the worker, and the environment if one is meant.
struct Worker<'a> {
    name: Option<&'a str>,
    environment: Option<&'a str>,
}

/// One container of the file.
enum Container {
    Build(Box<Image>),
    Prebuilt(Prebuilt),
}

impl Container {
    fn name(&self) -> &str {
        match self {
            Self::Build(image) => &image.name,
            Self::Prebuilt(prebuilt) => &prebuilt.name,
        }
    }
}

/// Reads what is to be built.
pub(super) fn read(root: &Node, surroundings: &Surroundings<'_>) -> Result<Deployment, Vec<Diagnostic>> {
    let (worker, containers) = containers(root, surroundings.environment).map_err(|finding| vec![finding])?;
    let mut deployment = Deployment { images: Vec::new(), prebuilt: Vec::new() };
    let mut findings = Vec::new();
    let mut names = BTreeMap::new();
    for node in containers {
        match container(node, &worker, surroundings) {
            Ok(container) => {
                if names.insert(container.name().to_owned(), ()).is_some() {
                    let message = format!("two containers have the name `{}`", container.name());
                    findings.push(Diagnostic::error(node.span, message).with_help("give each a `name`"));
                }
                match container {
                    Container::Build(image) => deployment.images.push(*image),
                    Container::Prebuilt(prebuilt) => deployment.prebuilt.push(prebuilt),
                }
            }
            Err(finding) => findings.push(finding),
        }
    }
    if findings.is_empty() { Ok(deployment) } else { Err(findings) }
}

/// Finds the list of containers. An environment does not inherit it.
fn containers<'a>(
    root: &'a Node,
    environment: Option<&'a str>,
) -> Result<(Worker<'a>, &'a [Node]), Diagnostic> {
    let top = root.table("the file")?;
    let scope = match environment {
        None => top,
        Some(name) => environment_table(top, name)?,
    };
    let name = match scope.text("name")? {
        None => top.text("name")?,
        own => own,
    };
    let worker = Worker { name: name.map(|(name, _)| name), environment };
    if let Some(list) = scope.get("containers") {
        return Ok((worker, list.list("containers")?));
    }
    Err(match (environment, top.entry("containers")) {
        (Some(name), Some(above)) => Diagnostic::error(
            above.key_span,
            format!("`containers` stands at the top level only, and `env.{name}` does not inherit it"),
        )
        .with_help(format!("repeat it below `env.{name}`")),
        _ => Diagnostic::error(Span::default(), "the file has no `containers`: there is nothing to build")
            .with_help("add a container whose `image` names a Dockerfile"),
    })
}

fn environment_table<'a>(top: &'a Table, name: &str) -> Result<&'a Table, Diagnostic> {
    let Some(entry) = top.entry("env") else {
        return Err(Diagnostic::error(Span::default(), format!("the file has no environment `{name}`"))
            .with_help("build without one"));
    };
    let environments = entry.node.table("env")?;
    let Some(found) = environments.get(name) else {
        let known: Vec<&str> = environments.entries.iter().map(|entry| &*entry.key).collect();
        let help = match suggest::nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it has {}", known.join(", ")),
        };
        let message = format!("the file has no environment `{name}`");
        return Err(Diagnostic::error(entry.key_span, message).with_help(help));
    };
    found.table(&format!("env.{name}"))
}

fn container(
    node: &Node,
    worker: &Worker<'_>,
    surroundings: &Surroundings<'_>,
) -> Result<Container, Diagnostic> {
    let table = node.table("containers")?;
    if let Some((policy @ "durable_object", span)) = table.text("scheduling_policy")? {
        let message = format!("kiln does not read containers with the scheduling policy `{policy}`");
        return Err(Diagnostic::error(span, message)
            .with_help("build each of its `images` with --file and a context"));
    }
    let (name, name_span) = name(node, table, worker)?;
    let configuration = table.get("configuration").map(|node| node.table("configuration")).transpose()?;
    let image = match (table.text("image")?, configuration) {
        (None, Some(configuration)) => configuration.text("image")?,
        (image, _) => image,
    };
    let Some((image, span)) = image.filter(|(image, _)| !image.is_empty()) else {
        return Err(Diagnostic::error(node.span, format!("the container `{name}` has no `image`"))
            .with_help("name its Dockerfile or an image with a tag"));
    };
    let dockerfile = surroundings.place(image);
    match (surroundings.presence)(&dockerfile) {
        Presence::File => {}
        Presence::Directory => {
            return Err(Diagnostic::error(span, format!("`{image}` is a directory")).with_help(format!(
                "name the Dockerfile in it: `{}/Dockerfile`",
                image.trim_end_matches('/')
            )));
        }
        Presence::Nothing => {
            check_reference(image, span)?;
            return Ok(Container::Prebuilt(Prebuilt { name, image: image.to_owned() }));
        }
    }
    let context = match table.text("image_build_context")?.filter(|(context, _)| !context.is_empty()) {
        Some((context, span)) => {
            let path = surroundings.place(context);
            if (surroundings.presence)(&path) != Presence::Directory {
                return Err(Diagnostic::error(
                    span,
                    format!("the build context `{context}` is no directory"),
                )
                .with_help("the path begins at the directory of this file"));
            }
            path
        }
        None => match dockerfile.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => Path::new(".").to_owned(),
        },
    };
    let tag = name.parse().map_err(|error: crate::reference::ParseError| {
        Diagnostic::error(name_span, format!("no image can be called `{name}`: {}", error.reason))
            .with_help("give the container another `name`")
    })?;
    Ok(Container::Build(Box::new(Image {
        tag: Tag::Local(tag),
        name,
        dockerfile: Some(dockerfile),
        context,
        ignore_file: None,
        build_args: table.get("image_vars").map(build_args).transpose()?.unwrap_or_default(),
        target: None,
        platform: linux_amd64(),
    })))
}

/// Returns the container's name: its own, or one made of worker, class and environment. Images are called so.
fn name(node: &Node, table: &Table, worker: &Worker<'_>) -> Result<(String, Span), Diagnostic> {
    if let Some((name, span)) = table.text("name")?.filter(|(name, _)| !name.is_empty()) {
        return Ok((name.to_lowercase(), span));
    }
    let class = table.text("class_name")?;
    let (Some(worker_name), Some((class, span))) = (worker.name, class) else {
        let message =
            "the container has no name, and none can be made of the worker's `name` and its `class_name`";
        return Err(Diagnostic::error(node.span, message).with_help("give the container a `name`"));
    };
    let environment = worker.environment.map(|name| format!("-{name}")).unwrap_or_default();
    Ok((format!("{worker_name}-{class}{environment}").to_lowercase().replace(' ', "-"), span))
}

/// An image that is no file must be the name of one that exists, with a tag or a digest.
fn check_reference(image: &str, span: Span) -> Result<(), Diagnostic> {
    let fail = |message: String, help: String| Err(Diagnostic::error(span, message).with_help(help));
    if image.contains("://") {
        return fail(format!("`{image}` is an address"), "leave out what stands before the host".into());
    }
    let is_pinned = image.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if !is_pinned || image.parse::<crate::reference::Reference>().is_err() {
        return fail(
            format!("there is no file `{image}`, and it is no image with a tag either"),
            "name a Dockerfile, by a path that begins at the directory of this file".into(),
        );
    }
    Ok(())
}

fn build_args(node: &Node) -> Result<BTreeMap<String, String>, Diagnostic> {
    let pairs = node.table("image_vars")?.entries.iter().map(|entry| match &entry.node.value {
        Value::Text(value) | Value::Scalar(value) => Ok((entry.key.clone(), value.clone())),
        _ => {
            let message = format!("the build argument `{}` must be a string", entry.key);
            Err(Diagnostic::error(entry.node.span, message).with_help("write it in double quotes"))
        }
    });
    pairs.collect()
}
