//! `kiln image inspect`, `kiln inspect`.

use kiln::image::Blob;
use kiln::oci::Platform;
use kiln::store::Store;
use serde_json::{Map, Value, json};

use super::super::environment::Environment;
use super::super::format::Template;
use super::super::report::Failure;
use super::super::{Outcome, registry};
use super::{Catalog, Stored, print};

/// The arguments of `kiln image inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// Names, ids, or the beginnings of ids; `docker://NAME` asks the registry and fetches no layer.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// `json` for one line each, or a Go template.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// The arguments of `kiln inspect`: docker's word for objects of every kind, of which kiln has one.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectObjectArgs {
    #[command(flatten)]
    args: InspectArgs,
    /// The kind of object: `image`.
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<String>,
}

impl InspectObjectArgs {
    pub(crate) fn run(&self, environment: &Environment) -> Outcome {
        match self.kind.as_deref() {
            None | Some("" | "image") => self.args.show(environment, "No such object"),
            Some(kind) => Err(Failure::plain(format!("--type {kind}: kiln has images only"))),
        }
    }
}

impl InspectArgs {
    pub(crate) fn run(&self, environment: &Environment) -> Outcome {
        self.show(environment, "No such image")
    }

    /// Shows what is there, then says what is not, as docker does.
    fn show(&self, environment: &Environment, missing: &str) -> Outcome {
        let store = environment.store()?;
        let catalog = Catalog::read(&store)?;
        let template = match self.format.as_deref() {
            None | Some("" | "json") => None,
            Some(format) => Some(Template::parse(format)?),
        };
        let mut shown = Vec::new();
        let mut failures = Vec::new();
        for name in &self.images {
            if let Some(name) = name.strip_prefix("docker://") {
                shown.push(remote(name, &store, environment)?);
                continue;
            }
            match catalog.find(name) {
                Ok(stored) => {
                    let mut image = to_json(stored, catalog.size(stored)?);
                    image["Descriptor"] = json!(stored.root.descriptor());
                    shown.push(image);
                }
                Err(failure) => failures.push(failure.replacing("No such image", missing)),
            }
        }
        match (&template, self.format.as_deref()) {
            (Some(template), _) => {
                for image in &shown {
                    print(&(template.render(&with_zeroes(image))? + "\n"))?;
                }
                // Docker ends its output so when nothing was found.
                if shown.is_empty() {
                    print("\n")?;
                }
            }
            (None, Some("json")) => print(&format!("{}\n", Value::from(shown)))?,
            (None, _) => print(&format!("{:#}\n", Value::from(shown)))?,
        }
        Failure::all(failures).map_or(Ok(()), Err)
    }
}

/// Shows an image of a registry: reads manifest and config, and no layer. `Size` is what a pull would fetch: the layers
/// as they are sent.
fn remote(name: &str, store: &Store, environment: &Environment) -> Result<Value, Failure> {
    let name = registry::name(name)?;
    let resolved = environment.registry(store)?.resolve_named(&name, &Platform::host());
    let (digest, image) = resolved.map_err(Failure::from_error)?;
    let size = image.layers.iter().map(|layer| layer.blob.size).sum();
    let root = Blob { media_type: String::new(), digest, size: 0 };
    let repo_digests = vec![name.at_digest(digest)];
    Ok(to_json(&Stored { root, names: vec![name], repo_digests, named: None, image }, size))
}

/// Returns what `docker image inspect` shows of an image, under the same names.
fn to_json(stored: &Stored, size: u64) -> Value {
    let config = &stored.image.config;
    let comment = config.history.last().map(|entry| entry.comment.as_str()).unwrap_or_default();
    let tagged = stored.named.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string());
    json!({
        "Id": stored.image.id,
        "RepoTags": stored.repo_tags(),
        "RepoDigests": stored.repo_digests(),
        "Parent": "",
        "Comment": comment,
        "Created": config.created,
        "DockerVersion": "",
        "Author": config.author,
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "Size": size,
        "Config": config.config,
        "GraphDriver": { "Data": null, "Name": "kiln" },
        "RootFS": {
            "Type": "layers",
            "Layers": config.rootfs.diff_ids,
        },
        "Metadata": { "LastTagTime": tagged },
    })
}

/// Adds what the config's JSON leaves out and Go's templates know as empty.
fn with_zeroes(image: &Value) -> Value {
    let mut image = image.clone();
    let zeroes = json!({
        "User": "", "WorkingDir": "", "StopSignal": "", "ArgsEscaped": false,
        "Env": [], "Entrypoint": [], "Cmd": [], "OnBuild": [], "Shell": [],
        "Labels": {}, "Volumes": {}, "ExposedPorts": {}, "Healthcheck": null,
    });
    if let (Some(config), Value::Object(zeroes)) = (image["Config"].as_object_mut(), zeroes) {
        let own: Map<String, Value> = std::mem::take(config);
        *config = zeroes.into_iter().chain(own).collect();
    }
    image
}
