//! What a manifest document says: an index of platforms or one image. Pure: bytes in, values out.

use serde::Deserialize;

use super::error::excerpt;
use crate::image::{Blob, Image, Layer};
use crate::oci::{ImageConfig, Platform};
use crate::reference::Reference;

/// A manifest document of either kind.
pub(super) enum Document {
    /// Images of several platforms.
    Index(Vec<Entry>),
    /// One image.
    Manifest(Manifest),
}

/// One line of an index.
pub(super) struct Entry {
    /// The manifest.
    pub(super) manifest: Blob,
    /// What it is for; `None` where the index does not say.
    pub(super) platform: Option<Platform>,
}

/// The parts of one image.
pub(super) struct Manifest {
    /// The config document.
    pub(super) config: Blob,
    /// The layers, base first.
    pub(super) layers: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: Option<u64>,
    manifests: Option<Vec<WireEntry>>,
    config: Option<WireBlob>,
    layers: Option<Vec<WireBlob>>,
}

#[derive(Deserialize)]
struct WireEntry {
    #[serde(flatten)]
    blob: WireBlob,
    platform: Option<WirePlatform>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBlob {
    media_type: String,
    digest: crate::digest::Digest,
    size: u64,
}

#[derive(Deserialize)]
struct WirePlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl From<WireBlob> for Blob {
    fn from(wire: WireBlob) -> Self {
        Self { media_type: wire.media_type, digest: wire.digest, size: wire.size }
    }
}

impl WirePlatform {
    /// Returns the platform, normalised; `None` for `unknown/unknown`, under which attestations are filed.
    fn normalised(&self) -> Option<Platform> {
        let text = match (self.os.as_str(), self.variant.as_str()) {
            ("unknown", _) => return None,
            (os, "") => format!("{os}/{}", self.architecture),
            (os, variant) => format!("{os}/{}/{variant}", self.architecture),
        };
        text.parse().ok()
    }
}

impl Document {
    /// Reads a document of image-spec or Docker's schema 2.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let wire: Wire = serde_json::from_slice(bytes).map_err(|error| excerpt(&error.to_string()))?;
        if wire.schema_version == Some(1) {
            return Err("the manifest has schema version 1, which is no longer in use; push it again with a current tool".into());
        }
        match wire {
            Wire { manifests: Some(entries), .. } => Ok(Self::Index(
                entries
                    .into_iter()
                    .filter_map(|entry| match entry.platform {
                        None => Some(Entry { manifest: entry.blob.into(), platform: None }),
                        Some(platform) => Some(Entry {
                            platform: Some(platform.normalised()?),
                            manifest: entry.blob.into(),
                        }),
                    })
                    .collect(),
            )),
            Wire { config: Some(config), layers: Some(layers), .. } => Ok(Self::Manifest(Manifest {
                config: config.into(),
                layers: layers.into_iter().map(Blob::from).collect(),
            })),
            _ => Err("the manifest has neither `manifests` nor `config` and `layers`".into()),
        }
    }
}

impl Manifest {
    /// Puts manifest and config together.
    pub(super) fn image(
        self,
        digest: crate::digest::Digest,
        config: &[u8],
        remote: &Reference,
    ) -> Result<Image, String> {
        let config: ImageConfig = serde_json::from_slice(config)
            .map_err(|error| format!("config: {}", excerpt(&error.to_string())))?;
        let (blobs, diff_ids) = (self.layers.len(), config.rootfs.diff_ids.len());
        if blobs != diff_ids {
            return Err(format!("the manifest has {blobs} layers, the config {diff_ids} diff ids"));
        }
        let layers = self
            .layers
            .into_iter()
            .zip(&config.rootfs.diff_ids)
            .map(|(blob, diff_id)| Layer { blob, diff_id: *diff_id })
            .collect();
        Ok(Image { manifest: digest, config, layers, remote: Some(remote.clone()) })
    }
}

/// Returns the manifest for `platform`: the same platform, else the best variant that it can run, else the
/// only one if the index does not say what it is for.
pub(super) fn select<'e>(entries: &'e [Entry], platform: &Platform) -> Option<&'e Blob> {
    for variant in runnable_variants(platform) {
        let found = entries.iter().find(|entry| {
            entry.platform.as_ref().is_some_and(|offered| {
                offered.os == platform.os
                    && offered.architecture == platform.architecture
                    && offered.variant == variant
            })
        });
        if let Some(found) = found {
            return Some(&found.manifest);
        }
    }
    match entries {
        [Entry { manifest, platform: None }] => Some(manifest),
        _ => None,
    }
}

/// Returns the variants that a platform can run, best first; the empty one is the architecture's first
/// (v8 of arm64, v1 of amd64).
fn runnable_variants(platform: &Platform) -> Vec<String> {
    let lowest = match platform.architecture.as_str() {
        "arm" => 5,
        "arm64" => 8,
        "amd64" => 1,
        _ => return vec![platform.variant.clone()],
    };
    let number = platform.variant.strip_prefix('v').and_then(|number| number.parse::<u32>().ok());
    let mut variants = vec![platform.variant.clone()];
    if let Some(number) = number.filter(|number| (lowest..100).contains(number)) {
        variants.extend((lowest..number).rev().map(|number| format!("v{number}")));
    }
    if !variants.contains(&String::new()) {
        variants.push(String::new());
    }
    variants
}

/// Lists platforms for a message.
pub(super) fn list(entries: &[Entry]) -> String {
    let mut names: Vec<String> =
        entries.iter().filter_map(|entry| Some(entry.platform.as_ref()?.to_string())).collect();
    names.dedup();
    if names.is_empty() { "no platforms".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn entries(platforms: &[&str]) -> Vec<Entry> {
        platforms
            .iter()
            .map(|text| Entry {
                manifest: Blob { media_type: (*text).into(), digest: Digest::of(text), size: 1 },
                platform: text.parse().ok(),
            })
            .collect()
    }

    #[test]
    fn the_best_runnable_variant_is_selected() {
        for (offered, wanted, selected) in [
            (&["linux/amd64", "linux/arm64"][..], "linux/arm64", Some("linux/arm64")),
            (&["linux/amd64", "linux/arm64/v8"], "linux/arm64", Some("linux/arm64/v8")),
            (&["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", Some("linux/arm/v6")),
            (&["linux/arm/v7", "linux/arm/v6"], "linux/arm/v6", Some("linux/arm/v6")),
            (&["linux/arm/v7"], "linux/arm/v6", None),
            (&["linux/amd64/v3", "linux/amd64"], "linux/amd64", Some("linux/amd64")),
            (&["linux/amd64", "linux/amd64/v2"], "linux/amd64/v3", Some("linux/amd64/v2")),
            (&["linux/amd64/v3"], "linux/amd64", None),
            (&["windows/amd64"], "linux/amd64", None),
            (&["linux/arm64"], "linux/arm64/v9", Some("linux/arm64")),
            (&["linux/riscv64"], "linux/riscv64", Some("linux/riscv64")),
            (&[""], "linux/amd64", Some("")),
            (&["", ""], "linux/amd64", None),
        ] {
            let entries = entries(offered);
            let found = select(&entries, &wanted.parse().unwrap()).map(|blob| blob.media_type.as_str());
            assert_eq!(found, selected, "{wanted} of {offered:?}");
        }
    }

    #[test]
    fn attestations_are_no_platform() {
        let digest = Digest::of("x");
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[
              {{"mediaType":"m","digest":"{digest}","size":1,"platform":{{"os":"linux","architecture":"arm64","variant":"v8"}}}},
              {{"mediaType":"m","digest":"{digest}","size":1,"platform":{{"os":"unknown","architecture":"unknown"}}}}]}}"#
        );
        let Ok(Document::Index(entries)) = Document::parse(text.as_bytes()) else { panic!("{text}") };
        assert_eq!(list(&entries), "linux/arm64");
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for (text, reason) in [
            ("{}", "neither"),
            ("[", "EOF"),
            (r#"{"schemaVersion":1}"#, "schema version 1"),
            (r#"{"config":{"mediaType":"m","digest":"md5:0","size":1},"layers":[]}"#, "digest"),
        ] {
            let refused = Document::parse(text.as_bytes()).err().unwrap_or_default();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
        let manifest = Manifest {
            config: Blob { media_type: "c".into(), digest: Digest::of("c"), size: 1 },
            layers: vec![Blob { media_type: "l".into(), digest: Digest::of("l"), size: 1 }],
        };
        let refused = manifest.image(Digest::of("m"), b"{}", &"x".parse().unwrap()).unwrap_err();
        assert!(refused.contains("1 layers, the config 0"), "{refused}");
    }
}
