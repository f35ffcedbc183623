//! `--cache-from` and `--cache-to`: docker's comma-separated `key=value` form.

use std::path::PathBuf;
use std::str::FromStr;

use kiln::builder::{CachePlace, CacheSource, CacheTarget, Export, ExportKind};
use kiln::layer::Compression;
use kiln::reference::Reference;

use super::output::{boolean, compression, split_csv};
use super::report::Failure;

/// The caches of a build.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct CacheArgs {
    /// Asks another cache after the store's own: NAME, type=registry,ref=NAME or type=local,src=DIR[,tag=TAG]; a
    /// name is that of a cache or of an image built with `--cache-to type=inline`. Can be given several times.
    #[arg(long, value_name = "NAME|KEY=VALUE,...")]
    cache_from: Vec<FromArg>,
    /// Writes the cache: type=registry,ref=NAME, type=local,dest=DIR[,tag=TAG] or type=inline, with mode=min|max (the
    /// image's steps, or every step) and ignore-error=true. Can be given several times.
    #[arg(long, value_name = "KEY=VALUE,...")]
    cache_to: Vec<ToArg>,
}

#[derive(Debug, Clone)]
struct FromArg(CacheSource);

#[derive(Debug, Clone)]
struct ToArg(CacheTarget);

impl CacheArgs {
    /// Returns what the arguments mean for a build of images with these names and exports.
    pub(crate) fn options(
        &self,
        tags: &[Reference],
        exports: &[Export],
        squash: bool,
    ) -> Result<(Vec<CacheSource>, Vec<CacheTarget>), Failure> {
        let sources = self.cache_from.iter().map(|from| from.0.clone()).collect();
        let targets: Vec<CacheTarget> = self.cache_to.iter().map(|to| to.0.clone()).collect();
        check(&targets, tags, exports, squash)
            .map_err(|error| Failure::usage(format!("--cache-to: {error}")))?;
        Ok((sources, targets))
    }
}

fn check(
    targets: &[CacheTarget],
    tags: &[Reference],
    exports: &[Export],
    squash: bool,
) -> Result<(), String> {
    for name in exports.iter().flat_map(|export| &export.names).chain(tags) {
        if targets.iter().any(|target| target.place == CachePlace::Registry(name.clone())) {
            return Err(format!(
                "{} is the image's own name, which the cache would take from it: use another tag, or type=inline",
                name.familiar()
            ));
        }
    }
    if targets.iter().any(|target| target.place == CachePlace::Inline) {
        if exports.iter().all(|export| matches!(export.kind, ExportKind::Local | ExportKind::Tar)) {
            return Err("type=inline stands in the config of an image, but no image is made".to_owned());
        }
        if squash {
            return Err(
                "type=inline names the layers of the image, which --squash takes out of it".to_owned()
            );
        }
    }
    let of_exports = exports.iter().filter_map(|export| export.compression);
    let mut asked = of_exports.chain(targets.iter().filter_map(|target| target.compression));
    let first = asked.next();
    match asked.find(|other| Some(*other) != first) {
        Some(_) => Err("layers are compressed once: compression= must be the same everywhere".to_owned()),
        None => Ok(()),
    }
}

impl FromStr for FromArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The short form of docker: a name.
        if !text.contains('=') {
            return Ok(Self(CacheSource::Registry(reference(text)?)));
        }
        let mut fields = Fields::read(text)?;
        let source = match fields.kind()?.as_str() {
            "registry" => CacheSource::Registry(reference(&fields.needed("ref")?)?),
            "local" => {
                let path = PathBuf::from(fields.needed("src")?);
                let selector = fields.take("digest").or_else(|| fields.take("tag"));
                CacheSource::Local { path, selector }
            }
            "inline" => {
                return Err("type=inline is for --cache-to; name the image: type=registry,ref=NAME".into());
            }
            other => return Err(unknown(other)),
        };
        fields.nothing_left().map(|()| Self(source))
    }
}

impl FromStr for ToArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // As in docker a name alone is one of a registry.
        let text = if text.contains('=') { text.to_owned() } else { short(text) };
        let mut fields = Fields::read(&text)?;
        let kind = fields.kind()?;
        let place = match kind.as_str() {
            "registry" => CachePlace::Registry(reference(&fields.needed("ref")?)?),
            "local" => CachePlace::Local {
                path: PathBuf::from(fields.needed("dest")?),
                tag: fields.take("tag").unwrap_or_else(|| "latest".to_owned()),
            },
            "inline" => CachePlace::Inline,
            other => return Err(unknown(other)),
        };
        let everything = match fields.take("mode").as_deref() {
            None | Some("min") => false,
            Some("max") if place == CachePlace::Inline => {
                return Err(
                    "mode=max needs a cache of its own: type=inline knows the layers of the image only"
                        .into(),
                );
            }
            Some("max") => true,
            Some(other) => return Err(format!("mode={other} is neither min nor max")),
        };
        let ignore_error = fields.flag("ignore-error")?;
        let compression = fields.compression()?;
        // What kiln always does may be said.
        for always in ["oci-mediatypes", "image-manifest"] {
            if fields.take(always).is_some_and(|value| boolean(always, &value) != Ok(true)) {
                return Err(format!("{always}=false is not supported: a cache is an OCI manifest"));
            }
        }
        fields.nothing_left()?;
        Ok(Self(CacheTarget { place, everything, ignore_error, compression }))
    }
}

fn short(text: &str) -> String {
    match text {
        "inline" => "type=inline".to_owned(),
        name => format!("type=registry,ref={name}"),
    }
}

fn reference(text: &str) -> Result<Reference, String> {
    text.parse().map_err(|error| format!("`{text}`: {error}"))
}

/// Says what does the same for a kind that kiln does not have.
fn unknown(kind: &str) -> String {
    let instead = match kind {
        "gha" => "use type=registry with ghcr.io, or type=local with the action actions/cache",
        "s3" | "azblob" => {
            "use type=registry with the provider's registry, or type=local and its own copy command"
        }
        _ => "use type=registry, type=local or (for --cache-to) type=inline",
    };
    format!("type={kind} is not supported: {instead}")
}

/// The fields of one value; each may be used once.
struct Fields(Vec<(String, String)>);

impl Fields {
    fn read(text: &str) -> Result<Self, String> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for field in split_csv(text)? {
            let (key, value) =
                field.split_once('=').ok_or_else(|| format!("`{field}` is not of the form key=value"))?;
            let key = key.trim().to_owned();
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(format!("{key}= is there twice"));
            }
            fields.push((key, value.to_owned()));
        }
        Ok(Self(fields))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        Some(self.0.swap_remove(at).1)
    }

    fn needed(&mut self, key: &str) -> Result<String, String> {
        self.take(key).filter(|value| !value.is_empty()).ok_or_else(|| format!("{key}= is missing"))
    }

    fn kind(&mut self) -> Result<String, String> {
        self.take("type").ok_or_else(|| "type= is missing: registry, local or inline".to_owned())
    }

    fn flag(&mut self, key: &str) -> Result<bool, String> {
        self.take(key).map_or(Ok(false), |value| boolean(key, &value))
    }

    fn compression(&mut self) -> Result<Option<Compression>, String> {
        let level = self.take("compression-level");
        let level = level
            .map(|level| level.parse().map_err(|_| format!("compression-level `{level}` is not a number")));
        compression(self.take("compression").as_deref(), level.transpose()?)
    }

    fn nothing_left(&self) -> Result<(), String> {
        match self.0.first() {
            Some((key, _)) => Err(format!("`{key}` is not an attribute that kiln knows here")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_cache_from() {
        let named = |name: &str| Ok(CacheSource::Registry(name.parse().unwrap()));
        let local = |selector: Option<&str>| {
            Ok(CacheSource::Local { path: "dir".into(), selector: selector.map(str::to_owned) })
        };
        for (text, expected) in [
            ("host/team/cache", named("host/team/cache")),
            ("type=registry,ref=host/cache:v1", named("host/cache:v1")),
            ("type=local,src=dir", local(None)),
            ("type=local,src=dir,tag=main", local(Some("main"))),
        ] {
            assert_eq!(text.parse::<FromArg>().map(|from| from.0), expected, "{text}");
        }
        for (wrong, reason) in [
            ("type=gha,scope=a", "ghcr.io"),
            ("type=s3,bucket=a", "type=local"),
            ("type=azblob", "type=local"),
            ("type=inline", "name the image"),
            ("type=registry", "ref= is missing"),
            ("ref=a", "type= is missing"),
            ("type=local,src=a,mode=max", "`mode`"),
            ("type=local,src=a,src=b", "twice"),
            ("Upper Case", "Upper Case"),
        ] {
            let error = wrong.parse::<FromArg>().unwrap_err();
            assert!(error.contains(reason), "{wrong}: {error}");
        }
    }

    #[test]
    fn forms_of_cache_to() {
        let parse = |text: &str| text.parse::<ToArg>().map(|to| to.0);
        let max =
            parse("type=registry,ref=host/cache,mode=max,image-manifest=true,oci-mediatypes=true").unwrap();
        assert!(max.everything && !max.ignore_error);
        assert_eq!(max.place, CachePlace::Registry("host/cache".parse().unwrap()));
        let local = parse("type=local,dest=d,ignore-error=true,compression=zstd").unwrap();
        assert!(!local.everything && local.ignore_error && local.compression.is_some());
        assert_eq!(local.place, CachePlace::Local { path: "d".into(), tag: "latest".into() });
        for text in ["inline", "type=inline", "type=inline,mode=min"] {
            assert_eq!(parse(text).unwrap().place, CachePlace::Inline, "{text}");
        }
        for wrong in [
            "type=inline,mode=max",
            "type=gha",
            "type=local",
            "type=local,dest=d,mode=all",
            "type=local,dest=d,force-compression=true",
            "type=registry,ref=a,image-manifest=false",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_does_not_go_together() {
        let targets = |texts: &[&str]| -> Vec<CacheTarget> {
            texts.iter().map(|text| text.parse::<ToArg>().unwrap().0).collect()
        };
        let image = [Export::new(ExportKind::Store, None)];
        let files = [Export::new(ExportKind::Tar, None)];
        assert!(check(&targets(&["type=inline"]), &[], &image, false).is_ok());
        assert!(check(&targets(&["type=inline"]), &[], &files, false).is_err());
        assert!(check(&targets(&["type=inline"]), &[], &image, true).is_err());
        let name = ["host/app:latest".parse().unwrap()];
        assert!(check(&targets(&["type=registry,ref=host/app"]), &name, &image, false).is_err());
        assert!(check(&targets(&["type=registry,ref=host/app:cache"]), &name, &image, false).is_ok());
        let two = ["type=local,dest=a,compression=zstd", "type=local,dest=b,compression=gzip"];
        assert!(check(&targets(&two), &[], &image, false).is_err());
        assert!(check(&targets(&two[..1]), &[], &files, false).is_ok());
    }
}
