//! A Dockerfile with options and images, lowered as the builder would.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::diagnostic::{Diagnostic, Source};
use crate::digest::{DiffId, Digest};
use crate::dockerfile;
use crate::graph::{Graph, Network};
use crate::image::{Blob, Image, Layer};
use crate::lower::{BaseKey, BaseName, Bases, Foreign, Lowered, NamedContext, Options, lower};
use crate::oci::ImageConfig;

/// One file of the test data.
pub(super) struct Case {
    pub name: String,
    pub source: Source,
    pub options: Options,
    images: Value,
}

impl Case {
    /// A case from texts; `settings` as the JSON files of the test data have them.
    pub(super) fn new(text: &str, settings: &Value) -> Self {
        let source = Source::new("Dockerfile", text);
        Self { name: String::new(), source, options: options(settings), images: settings["images"].clone() }
    }

    /// All files of the test data, by name.
    pub(super) fn all() -> Vec<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/lower");
        let mut cases = Vec::new();
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "Dockerfile") {
                continue;
            }
            let settings = fs_err::read_to_string(path.with_extension("json"))
                .map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
            let case = Self::new(&fs_err::read_to_string(&path).unwrap(), &settings);
            cases.push(Self { name: path.file_stem().unwrap().to_string_lossy().into_owned(), ..case });
        }
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        cases
    }

    /// Parses and lowers the file, and answers every request for an image.
    pub(super) fn lower(&self) -> Result<(Graph, Vec<Diagnostic>), Vec<Diagnostic>> {
        let parsed = dockerfile::parse(self.source.clone());
        let Some(file) = parsed.dockerfile else { return Err(parsed.diagnostics) };
        let mut bases = Bases::default();
        for _ in 0..10 {
            match lower(&file, &self.options, &bases)? {
                Lowered::Done { graph, warnings } => return Ok((graph, warnings)),
                Lowered::Missing(requests) => {
                    assert!(!requests.is_empty(), "nothing is asked for");
                    for request in requests {
                        assert!(bases.get(&request.key).is_none(), "{} is asked for twice", request.key);
                        let image = self.image(&request.key);
                        bases.insert(request.key, image);
                    }
                }
            }
        }
        panic!("lowering asks for images without end")
    }

    /// What the JSON file says about an image; without any, a plain one. `null` is an image that is not there.
    fn image(&self, key: &BaseKey) -> Result<Arc<Image>, String> {
        let name = match &key.name {
            BaseName::Reference(reference) => reference.familiar(),
            BaseName::Context(name) => name.clone(),
        };
        let given = &self.images[name.strip_suffix(":latest").unwrap_or(&name)];
        if self.images.as_object().is_some_and(|images| !images.is_empty()) && given.is_null() {
            return Err("not found".into());
        }
        let mut config: ImageConfig = match &given["config"] {
            Value::Null => {
                ImageConfig { os: "linux".into(), architecture: "amd64".into(), ..ImageConfig::default() }
            }
            config => serde_json::from_value(config.clone()).unwrap(),
        };
        let layers = given["layers"].as_u64().unwrap_or(1);
        let layers: Vec<Layer> = (0..layers).map(|number| layer(&format!("{key} {number}"))).collect();
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
        Ok(Arc::new(Image {
            manifest: Digest::of(key.to_string()),
            id: Digest::of("config"),
            config,
            layers,
            remote: None,
        }))
    }
}

fn layer(name: &str) -> Layer {
    let digest = Digest::of(name);
    let media_type = "application/vnd.oci.image.layer.v1.tar+gzip".into();
    Layer { blob: Blob { media_type, digest, size: 1 }, diff_id: DiffId(digest) }
}

fn options(settings: &Value) -> Options {
    let text = |name: &str| settings[name].as_str().map(str::to_owned);
    let map = |name: &str| {
        let pairs = settings[name].as_object().into_iter().flatten();
        pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
    };
    let mut options = Options::new("linux/amd64".parse().unwrap());
    options.target = text("target");
    options.target_platform = text("platform").map(|platform| platform.parse().unwrap());
    options.foreign = map("foreign")
        .map(|(name, interpreter)| {
            let execution = match &*interpreter {
                "" => Foreign::Executed,
                path => Foreign::NeedsInterpreter(path.to_owned()),
            };
            (name, execution)
        })
        .collect();
    options.build_args = map("build_args").collect();
    options.labels = map("labels").collect();
    options.named_contexts = map("contexts")
        .map(|(name, kind)| {
            let kind = match &*kind {
                "directory" => NamedContext::Directory,
                "image" => NamedContext::Image,
                "scratch" => NamedContext::Scratch,
                stage if stage.starts_with("target:") => {
                    NamedContext::Stage(stage["target:".len()..].to_owned())
                }
                other => panic!("no kind of context: {other}"),
            };
            (name, kind)
        })
        .collect();
    options.no_cache = settings["no_cache"].as_bool().unwrap_or(false);
    options.no_cache_filter = settings["no_cache_filter"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    options.allow_insecure = settings["allow_insecure"].as_bool().unwrap_or(false);
    options.extra_hosts = map("add_hosts").map(|(name, address)| (name, address.parse().unwrap())).collect();
    options.shm_size_bytes = settings["shm_size"].as_u64();
    options.ulimits = settings["ulimits"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|limit| limit.as_str().unwrap().parse().unwrap())
        .collect();
    if text("network").as_deref() == Some("none") {
        options.network = Network::None;
    }
    options
}
