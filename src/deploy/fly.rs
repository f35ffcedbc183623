//! fly.toml: what `fly deploy` builds.

use std::collections::BTreeMap;
use std::path::Path;

use super::document::{Node, Table};
use super::{Deployment, Image, Prebuilt, Surroundings, Tag, linux_amd64};
use crate::diagnostic::{Diagnostic, Span};

/// The registry of Fly.io: an app's images are its repository.
const REGISTRY: &str = "registry.fly.io";

/// Ways to build that need another program than kiln, by the key that asks for them.
const OTHER_BUILDERS: [(&str, &str); 5] = [
    ("builder", "a buildpacks builder"),
    ("buildpacks", "buildpacks"),
    ("builtin", "a builtin of Fly.io"),
    ("settings", "a builtin of Fly.io"),
    ("compose", "a compose file"),
];

/// Reads what is to be built.
pub(super) fn read(root: &Node, surroundings: &Surroundings<'_>) -> Result<Deployment, Diagnostic> {
    let top = root.table("the file")?;
    let app = said(top, "app")?;
    let name = app.map_or("", |(app, _)| app).to_owned();
    let build = top.get("build").map(|node| node.table("build")).transpose()?;
    let empty = Table { entries: Vec::new() };
    let build = build.unwrap_or(&empty);
    // The order of flyctl: an image that exists wins.
    if let Some((image, _)) = said(build, "image")? {
        let prebuilt = vec![Prebuilt { name, image: image.to_owned() }];
        return Ok(Deployment { images: Vec::new(), prebuilt });
    }
    for (key, what) in OTHER_BUILDERS {
        if let Some(entry) = build.entry(key) {
            return Err(Diagnostic::error(
                entry.key_span,
                format!("`{key}` asks for {what}, which kiln is not"),
            )
            .with_help("write a Dockerfile and name it with `dockerfile`"));
        }
    }
    let target = match said(build, "build-target")? {
        None => said(build, "build_target")?,
        target => target,
    };
    let image = Image {
        tag: app.map_or(Ok(Tag::None), |(app, span)| tag(app, span))?,
        name,
        dockerfile: said(build, "dockerfile")?
            .map(|(path, span)| local(path, span).map(|()| surroundings.place(path)))
            .transpose()?,
        context: match surroundings.directory {
            directory if directory.as_os_str().is_empty() => Path::new(".").to_owned(),
            directory => directory.to_owned(),
        },
        ignore_file: said(build, "ignorefile")?.map(|(path, _)| surroundings.place(path)),
        build_args: build.get("args").map(build_args).transpose()?.unwrap_or_default(),
        target: target.map(|(target, _)| target.to_owned()),
        platform: linux_amd64(),
    };
    Ok(Deployment { images: vec![image], prebuilt: Vec::new() })
}

/// Returns the text of a key; flyctl takes an empty one for none.
fn said<'a>(table: &'a Table, key: &str) -> Result<Option<(&'a str, Span)>, Diagnostic> {
    Ok(table.text(key)?.filter(|(text, _)| !text.is_empty()))
}

fn tag(app: &str, span: Span) -> Result<Tag, Diagnostic> {
    let reference = format!("{REGISTRY}/{app}").parse().map_err(|error: crate::reference::ParseError| {
        Diagnostic::error(span, format!("no image can be called `{app}`: {}", error.reason))
            .with_help("name the app as `fly apps list` shows it")
    })?;
    Ok(Tag::Registry(reference))
}

fn local(dockerfile: &str, span: Span) -> Result<(), Diagnostic> {
    if dockerfile.starts_with("https://") || dockerfile.starts_with("http://") {
        return Err(Diagnostic::error(span, "kiln does not read a Dockerfile from an address")
            .with_help("download it, and name the file"));
    }
    Ok(())
}

fn build_args(node: &Node) -> Result<BTreeMap<String, String>, Diagnostic> {
    let entries = node.table("build.args")?.entries.iter();
    entries.map(|entry| Ok((entry.key.clone(), entry.node.text(&entry.key)?.to_owned()))).collect()
}
