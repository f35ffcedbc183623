//! Which manifest of an index serves a platform.

use oci_spec::image::{Descriptor, ImageIndex};

use super::Platform;

/// An index holds nothing for the platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no image for {wanted}, only for {}", list(.offered))]
pub struct NoPlatform {
    /// The platform that was asked for.
    pub wanted: Platform,
    /// What is there, in the index's order.
    pub offered: Vec<Platform>,
}

fn list(offered: &[Platform]) -> String {
    match offered {
        [] => "no platform at all".to_owned(),
        _ => offered.iter().map(Platform::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Returns the manifest for a platform: the same variant, else the newest older variant that its processors
/// can run (containerd's order, but never another architecture). A single manifest that names no platform
/// serves every platform: archives hold such.
///
/// # Errors
/// If there is none.
pub fn select_platform<'a>(index: &'a ImageIndex, wanted: &Platform) -> Result<&'a Descriptor, NoPlatform> {
    if let [only] = index.manifests().as_slice()
        && only.platform().is_none()
    {
        return Ok(only);
    }
    let offered: Vec<_> =
        index.manifests().iter().filter_map(|entry| Some((entry, platform(entry)?))).collect();
    let mut best: Option<(&Descriptor, (u32, u32))> = None;
    for (entry, offered) in &offered {
        let Some(rank) = rank(wanted, offered) else { continue };
        // Of equals the first is taken.
        if best.is_none_or(|(_, best)| rank > best) {
            best = Some((entry, rank));
        }
    }
    best.map(|(entry, _)| entry).ok_or_else(|| NoPlatform {
        wanted: wanted.clone(),
        offered: offered.into_iter().map(|(_, platform)| platform).collect(),
    })
}

/// Attestations stand in an index as `unknown/unknown`: they are no images.
fn platform(entry: &Descriptor) -> Option<Platform> {
    let platform = entry.platform().as_ref()?;
    let variant = platform.variant().as_deref().unwrap_or_default();
    let (os, architecture) = (platform.os(), platform.architecture());
    let text = match variant {
        "" => format!("{os}/{architecture}"),
        _ => format!("{os}/{architecture}/{variant}"),
    };
    text.parse().ok().filter(|platform: &Platform| platform.os != "unknown")
}

/// Returns how well `offered` serves `wanted`, higher is better; `None` if it does not.
fn rank(wanted: &Platform, offered: &Platform) -> Option<(u32, u32)> {
    if (&wanted.os, &wanted.architecture) != (&offered.os, &offered.architecture) {
        return None;
    }
    if wanted.variant == offered.variant {
        return Some((u32::MAX, u32::MAX));
    }
    let (wanted, offered) = (version(wanted)?, version(offered)?);
    let serves = match (wanted, offered) {
        // Arm's v9.n has what v8.(n+5) has.
        ((9, minor), (8, offered_minor)) => offered_minor <= minor + 5,
        _ => offered <= wanted,
    };
    serves.then_some(offered)
}

/// Returns the variant as a number, for the architectures where a higher one includes the lower ones.
fn version(platform: &Platform) -> Option<(u32, u32)> {
    let default = match platform.architecture.as_str() {
        "amd64" => "v1",
        "arm" => "v7",
        "arm64" => "v8",
        _ => return None,
    };
    let variant = if platform.variant.is_empty() { default } else { &platform.variant };
    let (major, minor) = variant.strip_prefix('v')?.split_once('.').unwrap_or((&variant[1..], "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> ImageIndex {
        let entries: Vec<_> = platforms
            .iter()
            .enumerate()
            .map(|(size, text)| {
                let mut entry = serde_json::json!({
                    "mediaType": super::super::media_type::MANIFEST,
                    "digest": format!("sha256:{}", "0".repeat(64)),
                    "size": size,
                });
                if let [os, architecture, variant @ ..] = text.split('/').collect::<Vec<_>>().as_slice() {
                    entry["platform"] = serde_json::json!({"os": os, "architecture": architecture});
                    if let [variant] = variant {
                        entry["platform"]["variant"] = (*variant).into();
                    }
                }
                entry
            })
            .collect();
        serde_json::from_value(serde_json::json!({"schemaVersion": 2, "manifests": entries})).unwrap()
    }

    #[test]
    fn takes_the_same_or_the_newest_older_variant() {
        for (wanted, offered, expected) in [
            ("linux/amd64", &["linux/arm64", "linux/amd64", "unknown/unknown"][..], Some(1)),
            ("linux/amd64", &["linux/386", "linux/arm64/v8"], None),
            ("linux/amd64", &["linux/amd64/v2"], None),
            ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], Some(1)),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm/v8"], Some(1)),
            ("linux/arm", &["linux/arm/v6", "linux/arm/v7"], Some(1)),
            ("linux/arm64", &["linux/arm/v7", "linux/arm64/v8"], Some(1)),
            ("linux/arm64/v9", &["linux/arm64", "linux/arm64/v8.5", "linux/arm64/v8.6"], Some(1)),
            ("linux/riscv64", &["linux/riscv64"], Some(0)),
            ("linux/amd64", &["linux/amd64", "linux/amd64"], Some(0)),
            ("linux/amd64", &[""], Some(0)),
            ("linux/amd64", &["", ""], None),
            ("windows/amd64", &["linux/amd64"], None),
        ] {
            let index = index(offered);
            let selected = select_platform(&index, &wanted.parse().unwrap());
            assert_eq!(selected.ok().map(Descriptor::size), expected, "{wanted} of {offered:?}");
        }
    }

    #[test]
    fn says_what_is_there() {
        let wanted = "linux/s390x".parse().unwrap();
        let index = index(&["linux/arm64/v8", "linux/amd64", "unknown/unknown"]);
        insta::assert_snapshot!(select_platform(&index, &wanted).unwrap_err(), @"no image for linux/s390x, only for linux/arm64, linux/amd64");
    }
}
