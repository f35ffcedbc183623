//! The options of `kiln build` for the image that it makes, and those that docker has and kiln needs not.

use kiln::builder::{Annotations, Export, ExportKind};
use kiln::registry::Limits;

use super::registry::push::LimitArgs;
use super::report::{Failure, tell};

/// What is said about the image.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ImageArgs {
    /// Adds an annotation to the manifest, or with `manifest-descriptor:` to its descriptor in an OCI layout.
    #[arg(long, value_name = "[LEVEL:]KEY=VALUE")]
    annotation: Vec<String>,
    /// Makes one layer of everything that the build adds to the base.
    #[arg(long)]
    squash: bool,
    /// Puts the image into the store, beside what --output asks for; without --output that is the default.
    #[arg(long)]
    load: bool,
    /// Pushes the image under its names, beside what --output asks for; the store keeps no name for it unless --load
    /// or --output asks for one.
    #[arg(long)]
    push: bool,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    accepted: AcceptedArgs,
}

/// What docker's command lines may say, and what makes no difference here.
#[derive(Debug, Clone, clap::Args)]
struct AcceptedArgs {
    /// Accepted if `false`: kiln makes no attestations.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provenance: Option<String>,
    /// Accepted if `false`: kiln makes no attestations.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rm: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    force_rm: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    compress: Option<bool>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_content_trust: Option<bool>,
}

/// What is meant by the arguments.
pub(crate) struct ImageOptions {
    pub(crate) annotations: Annotations,
    pub(crate) squash: bool,
    pub(crate) limits: Limits,
}

impl ImageArgs {
    /// Tells whether --push was given.
    pub(crate) const fn pushes(&self) -> bool {
        self.push
    }

    /// Reads the arguments; `exports` are those of --output, to which --load and --push may add one each; for
    /// none at all the image goes into the store.
    pub(crate) fn options(&self, exports: &mut Vec<Export>) -> Result<ImageOptions, Failure> {
        self.accepted.check()?;
        let has = |exports: &[Export], kind| exports.iter().any(|export| export.kind == kind);
        if self.push && !has(exports, ExportKind::Registry) {
            let kept = exports.iter().find(|export| export.kind == ExportKind::Store).cloned();
            let pushed = kept.unwrap_or_else(|| Export::new(ExportKind::Registry, None));
            exports.push(Export { kind: ExportKind::Registry, ..pushed });
        }
        if (self.load || exports.is_empty()) && !has(exports, ExportKind::Store) {
            exports.push(Export::new(ExportKind::Store, None));
        }
        let annotations = annotations(&self.annotation)?;
        let in_layout = |export: &Export| matches!(export.kind, ExportKind::Oci | ExportKind::OciDirectory);
        if !annotations.descriptor.is_empty() && !exports.iter().any(in_layout) {
            return Err(Failure::usage(
                "--annotation manifest-descriptor:… stands in the index of an OCI layout: use --output type=oci",
            ));
        }
        Ok(ImageOptions { annotations, squash: self.squash, limits: self.limits.limits() })
    }
}

impl AcceptedArgs {
    fn check(&self) -> Result<(), Failure> {
        for (name, value) in [("provenance", &self.provenance), ("sbom", &self.sbom)] {
            if value.as_deref().is_some_and(|value| !matches!(value, "false" | "0" | "")) {
                return Err(Failure::usage(format!(
                    "--{name}: attestations are not supported; use --{name}=false or leave it out"
                )));
            }
        }
        let given = [("rm", self.rm), ("force-rm", self.force_rm), ("compress", self.compress)];
        if self.disable_content_trust == Some(false) {
            return Err(Failure::usage(
                "--disable-content-trust=false: signatures of bases are not supported",
            ));
        }
        for (name, _) in given.into_iter().filter(|(_, value)| value.is_some()) {
            tell!(
                "note: --{name} makes no difference: there is no container to remove and no context to send"
            );
        }
        Ok(())
    }
}

/// Reads `KEY=VALUE` and `LEVEL[,LEVEL]:KEY=VALUE`.
fn annotations(given: &[String]) -> Result<Annotations, Failure> {
    let mut annotations = Annotations::default();
    for text in given {
        let wrong = |message: String| Failure::usage(format!("--annotation {text}: {message}"));
        let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) = pair.ok_or_else(|| wrong("must be [LEVEL:]KEY=VALUE".to_owned()))?;
        let (levels, key) = key.split_once(':').unwrap_or(("manifest", key));
        for level in levels.split(',') {
            let map = match level {
                "manifest" => &mut annotations.manifest,
                "manifest-descriptor" => &mut annotations.descriptor,
                "index" | "index-descriptor" => {
                    return Err(wrong("an image of one platform has no index; use `manifest:`".to_owned()));
                }
                level if level.contains('[') => {
                    return Err(wrong(format!(
                        "`{level}`: there is one platform, so leave the brackets out"
                    )));
                }
                level => {
                    return Err(wrong(format!("`{level}` is neither manifest nor manifest-descriptor")));
                }
            };
            map.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(annotations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_annotations() {
        let given = ["a=1", "manifest:b=2=3", "manifest-descriptor:c=", "manifest,manifest-descriptor:d=4"];
        let annotations = annotations(&given.map(str::to_owned)).unwrap();
        let manifest: Vec<_> =
            annotations.manifest.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let descriptor: Vec<_> =
            annotations.descriptor.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(manifest, ["a=1", "b=2=3", "d=4"]);
        assert_eq!(descriptor, ["c=", "d=4"]);
        for wrong in ["a", "=1", "index:a=1", "manifest[linux/amd64]:a=1", "layer:a=1"] {
            assert!(super::annotations(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
