//! `--output`: docker's comma-separated `key=value` form.

use std::path::PathBuf;
use std::str::FromStr;

use kiln::builder::{Destination, Export, ExportKind};
use kiln::layer::Compression;

/// One `--output`: more than one place for an image that is kept and pushed.
#[derive(Debug, Clone)]
pub(crate) struct OutputArg {
    pub(crate) exports: Vec<Export>,
}

const KINDS: &str = "oci, docker, local, tar, image, registry";

impl FromStr for OutputArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // `--output DIR` and `--output -` are docker's short forms of type=local and type=tar.
        if !text.contains('=') {
            let kind = if text == "-" { ExportKind::Tar } else { ExportKind::Local };
            return Ok(Self { exports: vec![Export::new(kind, Some(destination(text)))] });
        }
        let mut fields = Fields::default();
        for field in split_csv(text)? {
            let (key, value) =
                field.split_once('=').ok_or_else(|| format!("`{field}` is not of the form key=value"))?;
            fields.set(key.trim(), value)?;
        }
        fields.finish().map(|exports| Self { exports })
    }
}

#[derive(Default)]
struct Fields {
    kind: Option<String>,
    dest: Option<String>,
    name: Option<String>,
    tar: Option<bool>,
    rewrite_timestamp: bool,
    compression: Option<String>,
    level: Option<u8>,
    force_compression: bool,
    oci_media_types: Option<bool>,
    push: Option<bool>,
    by_digest: bool,
}

impl Fields {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let text = value.to_owned();
        match key {
            "type" => self.kind = Some(text),
            "dest" => self.dest = Some(text),
            "name" => self.name = Some(text),
            "tar" => self.tar = Some(boolean(key, value)?),
            "rewrite-timestamp" => self.rewrite_timestamp = boolean(key, value)?,
            "compression" => self.compression = Some(text),
            "compression-level" => {
                self.level =
                    Some(value.parse().map_err(|_| format!("compression-level `{value}` is not a number"))?);
            }
            "force-compression" => self.force_compression = boolean(key, value)?,
            "oci-mediatypes" => self.oci_media_types = Some(boolean(key, value)?),
            "push" => self.push = Some(boolean(key, value)?),
            "push-by-digest" => self.by_digest = boolean(key, value)?,
            _ => return Err(format!("`{key}` is not an attribute of --output that kiln knows")),
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<Export>, String> {
        let kind = match self.kind.as_deref() {
            Some("oci") if self.tar == Some(false) => ExportKind::OciDirectory,
            Some("oci") => ExportKind::Oci,
            Some("docker") => ExportKind::Docker,
            Some("local") => ExportKind::Local,
            Some("tar") => ExportKind::Tar,
            Some("image") => ExportKind::Store,
            Some("registry") => ExportKind::Registry,
            Some(other) => return Err(format!("type={other} is not one of {KINDS}")),
            None => return Err(format!("type= is missing: one of {KINDS}")),
        };
        if self.tar == Some(false) && kind != ExportKind::OciDirectory {
            return Err("tar=false goes with type=oci".to_owned());
        }
        let pushes = match (kind, self.push) {
            (ExportKind::Registry, Some(false)) => return Err("push=false goes with type=image".to_owned()),
            (ExportKind::Registry, _) => true,
            (ExportKind::Store, push) => push.unwrap_or(false),
            (_, Some(true)) => return Err("push=true goes with type=image or type=registry".to_owned()),
            (_, _) => false,
        };
        if self.by_digest && !pushes {
            return Err("push-by-digest=true goes with type=registry, or push=true".to_owned());
        }
        if pushes && self.dest.is_some() {
            return Err("dest= does not go with a push: name= says where to".to_owned());
        }
        let needs_destination = matches!(kind, ExportKind::Local | ExportKind::OciDirectory);
        if needs_destination && self.dest.as_deref().is_none_or(|dest| dest == "-") {
            return Err("dest= must name a directory".to_owned());
        }
        // Like docker: archives go to standard output unless a file is named; type=docker loads into the store.
        let default = matches!(kind, ExportKind::Oci | ExportKind::Tar).then_some(Destination::Stdout);
        let mut export = Export::new(kind, self.dest.as_deref().map(destination).or(default));
        if kind == ExportKind::Docker && export.destination.is_none() {
            export.kind = ExportKind::Store;
        }
        if let Some(names) = &self.name {
            for name in names.split(',') {
                export.names.push(name.parse().map_err(|error| format!("name=: {error}"))?);
            }
        }
        export.rewrite_timestamps = self.rewrite_timestamp;
        export.force_compression = self.force_compression;
        export.oci_media_types = self.oci_media_types;
        export.compression = compression(self.compression.as_deref(), self.level)?;
        export.by_digest = self.by_digest;
        let kept_and_pushed = pushes && kind == ExportKind::Store;
        let pushed = kept_and_pushed.then(|| Export { kind: ExportKind::Registry, ..export.clone() });
        Ok([export].into_iter().chain(pushed).collect())
    }
}

/// zstd's own default.
const ZSTD_LEVEL: u8 = 3;

pub(crate) fn compression(name: Option<&str>, level: Option<u8>) -> Result<Option<Compression>, String> {
    let in_range = |range: std::ops::RangeInclusive<u8>, default: u8| match level {
        None => Ok(default),
        Some(level) if range.contains(&level) => Ok(level),
        Some(level) => {
            Err(format!("compression-level {level} is not in {}..={}", range.start(), range.end()))
        }
    };
    match name {
        None if level.is_none() => Ok(None),
        Some("gzip") | None => {
            let default = match Compression::default() {
                Compression::Gzip { level } => level,
                Compression::None | Compression::Zstd { .. } => unreachable!("gzip is the default codec"),
            };
            Ok(Some(Compression::Gzip { level: in_range(0..=9, default)? }))
        }
        Some("zstd") => Ok(Some(Compression::Zstd { level: in_range(1..=22, ZSTD_LEVEL)? })),
        Some("uncompressed") => Ok(Some(Compression::None)),
        Some("estargz") => {
            Err("compression=estargz is not supported: use gzip, zstd or uncompressed".to_owned())
        }
        Some(other) => Err(format!("compression={other} is not one of gzip, zstd, uncompressed")),
    }
}

fn destination(text: &str) -> Destination {
    if text == "-" { Destination::Stdout } else { Destination::Path(PathBuf::from(text)) }
}

pub(crate) fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{key}={value}: must be true or false")),
    }
}

/// Splits a line of comma-separated fields; a field in double quotes may hold commas, `""` is a quote.
pub(crate) fn split_csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            _ => field.push(letter),
        }
    }
    if quoted {
        return Err("a double quote is not closed".to_owned());
    }
    fields.push(field);
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Result<(ExportKind, Option<Destination>), String> {
        let export = text.parse::<OutputArg>().map(|output| output.exports[0].clone());
        export.map(|export| (export.kind, export.destination))
    }

    #[test]
    fn forms_of_output() {
        let path = |text: &str| Some(Destination::Path(PathBuf::from(text)));
        assert_eq!(kind("type=oci,dest=a.tar"), Ok((ExportKind::Oci, path("a.tar"))));
        assert_eq!(kind("type=oci,dest=d,tar=false"), Ok((ExportKind::OciDirectory, path("d"))));
        assert_eq!(kind("type=docker"), Ok((ExportKind::Store, None)));
        assert_eq!(kind("type=tar,dest=-"), Ok((ExportKind::Tar, Some(Destination::Stdout))));
        assert_eq!(kind("out"), Ok((ExportKind::Local, path("out"))));
        assert_eq!(kind("-"), Ok((ExportKind::Tar, Some(Destination::Stdout))));
        assert_eq!(kind("\"type=oci\",\"dest=a,b\""), Ok((ExportKind::Oci, path("a,b"))));
        for wrong in [
            "type=x",
            "dest=a",
            "type=local",
            "type=oci,foo=1",
            "type=docker,tar=false",
            "type=oci,compression=lz4",
            "type=oci,push=true",
            "type=registry,push=false",
            "type=image,push-by-digest=true",
            "type=registry,dest=x",
        ] {
            assert!(kind(wrong).is_err(), "{wrong}");
        }
    }
}
