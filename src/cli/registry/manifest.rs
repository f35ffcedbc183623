//! `kiln manifest inspect`: a manifest as the registry has it, in docker's shapes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kiln::assemble::{self, Document};
use kiln::image::Blob;
use kiln::oci::{ImageConfig, media_type};
use kiln::reference::Reference;
use kiln::registry::{Registry, Served};
use serde_json::{Value, json};

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::report::Failure;

/// The verbs of `kiln manifest`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Prints the manifest or index that a name stands for; the registry is asked in any case.
    Inspect {
        /// Prints each manifest with its name, descriptor and platform.
        #[arg(short, long)]
        verbose: bool,
        /// The image's name.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// Runs `kiln manifest ...`.
pub(crate) fn run(command: &Command, environment: &Environment) -> Outcome {
    let Command::Inspect { verbose, name } = command;
    let name = super::name(name)?;
    let registry = super::client(environment)?;
    let served = ask(&registry, &name)?;
    let text = match (verbose, media_type::is_index(&served.blob.media_type)) {
        (false, false) => indented(&served.bytes, "\t"),
        (false, true) => indented(&served.bytes, "   "),
        (true, false) => indented(described(&registry, &name, &served, None)?.as_bytes(), "\t"),
        (true, true) => indented(all_described(&registry, &name, &served)?.as_bytes(), "\t"),
    };
    super::print(&format!("{text}\n"))
}

fn ask(registry: &Registry, name: &Reference) -> Result<Served, Failure> {
    registry.served(name).map_err(|error| match error.status() {
        Some(404) => Failure::plain(format!("no such manifest: {name}")),
        _ => Failure::from_error(error),
    })
}

/// Describes each manifest of an index.
fn all_described(registry: &Registry, name: &Reference, index: &Served) -> Result<String, Failure> {
    let parsed = assemble::parse(index.blob.digest, &index.bytes).map_err(Failure::from_error)?;
    let Document::Index(parsed) = parsed else { unreachable!("its media type is an index's") };
    let mut objects = Vec::new();
    for entry in parsed.manifests() {
        let blob = Blob::try_from(entry).map_err(Failure::from_error)?;
        let name = Reference { digest: Some(blob.digest), ..name.clone() };
        let platform = entry.platform().as_ref().map(|platform| json!(platform));
        objects.push(described(registry, &name, &ask(registry, &name)?, platform)?);
    }
    Ok(format!("[{}]", objects.join(",")))
}

/// Describes one manifest: name, descriptor with platform, bytes, and the manifest as an object.
fn described(
    registry: &Registry,
    name: &Reference,
    served: &Served,
    platform: Option<Value>,
) -> Result<String, Failure> {
    let blob = &served.blob;
    let Document::Manifest(manifest) =
        assemble::parse(blob.digest, &served.bytes).map_err(Failure::from_error)?
    else {
        return Err(Failure::plain(format!("{name} is an index in an index")));
    };
    let platform = match (platform, assemble::config_of(blob.digest, &manifest)) {
        (None, Ok(config)) => {
            let config = registry.served_config(name, &config).map_err(Failure::from_error)?;
            serde_json::from_slice::<ImageConfig>(&config).ok().map(|config| platform_of(&config))
        }
        (platform, _) => platform,
    };
    let platform = platform.map(|platform| format!(r#","platform":{platform}"#)).unwrap_or_default();
    let kind =
        if blob.media_type == media_type::DOCKER_MANIFEST { "SchemaV2Manifest" } else { "OCIManifest" };
    Ok(format!(
        r#"{{"Ref":{},"Descriptor":{{"mediaType":{},"digest":"{}","size":{}{platform}}},"Raw":"{}","{kind}":{}}}"#,
        json!(name.to_string()),
        json!(blob.media_type),
        blob.digest,
        blob.size,
        STANDARD.encode(&served.bytes),
        String::from_utf8_lossy(&served.bytes),
    ))
}

fn platform_of(config: &ImageConfig) -> Value {
    let mut platform = json!({ "architecture": config.architecture, "os": config.os });
    if !config.variant.is_empty() {
        platform["variant"] = config.variant.clone().into();
    }
    platform
}

/// Lays JSON out in lines; order and numbers stay as they are written.
fn indented(json: &[u8], indent: &str) -> String {
    let json = String::from_utf8_lossy(json);
    let mut text = String::new();
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let mut letters = json.chars().peekable();
    while let Some(letter) = letters.next() {
        if quoted {
            text.push(letter);
            quoted = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
            continue;
        }
        match letter {
            ' ' | '\t' | '\n' | '\r' => {}
            '{' | '[' => {
                text.push(letter);
                while letters.next_if(|next| next.is_ascii_whitespace()).is_some() {}
                if let Some(end) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(end);
                } else {
                    depth += 1;
                    text += &format!("\n{}", indent.repeat(depth));
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                text += &format!("\n{}{letter}", indent.repeat(depth));
            }
            ',' => text += &format!(",\n{}", indent.repeat(depth)),
            ':' => text += ": ",
            _ => {
                quoted = letter == '"';
                text.push(letter);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_in_its_own_order() {
        for (json, expected) in [
            (
                r#"{"b":1.50,"a":[1,{}],"c":[ ]}"#,
                "{\n \"b\": 1.50,\n \"a\": [\n  1,\n  {}\n ],\n \"c\": []\n}",
            ),
            (r#"{ "a,{\"" : "\\" , "b":"}" }"#, "{\n \"a,{\\\"\": \"\\\\\",\n \"b\": \"}\"\n}"),
        ] {
            assert_eq!(indented(json.as_bytes(), " "), expected);
        }
    }
}
