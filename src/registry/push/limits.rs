//! How large layers and images may be, and how large a request: what the user says and what is known of hosts.

use super::super::error::Error;
use super::plan::Planned;

/// What a push must not exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of one layer as it is sent.
    pub layer: Option<u64>,
    /// Bytes of an image: its layers and its config as they are sent.
    pub image: Option<u64>,
}

/// What is known of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) host: &'static str,
    pub(super) limits: Limits,
    /// The longest request body that it takes.
    pub(super) request: Option<u64>,
}

const MIB: u64 = 1 << 20;
const GB: u64 = 1_000_000_000;

/// Hosts with limits of their own.
///
/// Cloudflare (developers.cloudflare.com/containers/platform-details/limits, 2026): an image may be as large as the disk of
/// the instance that runs it, 2 GB for the smallest and 20 GB for the largest. Which one it will be is not known here,
/// so only what none can run is refused. Its registry is a Worker, whose requests may have 100 MB on most plans; and
/// users report 413 for less than half a GB.
const PROFILES: &[Profile] = &[Profile {
    host: "registry.cloudflare.com",
    limits: Limits { layer: None, image: Some(20 * GB) },
    request: Some(64 * MIB),
}];

/// Finds what is known of a host.
pub(super) fn profile(host: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.host == host)
}

/// A limit, and whose it is.
type Limit = Option<(u64, String)>;

/// Returns the limits of a layer and of an image at `host`.
fn effective(given: &Limits, host: &str) -> (Limit, Limit) {
    let known = profile(host).map(|profile| profile.limits).unwrap_or_default();
    let (own, others) = ("what was asked for".to_owned(), format!("what {host} is known to take"));
    let lower = |given: Option<u64>, known: Option<u64>| match (given, known) {
        (Some(given), Some(known)) if known < given => Some((known, others.clone())),
        (Some(given), _) => Some((given, own.clone())),
        (None, known) => known.map(|known| (known, others.clone())),
    };
    (lower(given.layer, known.layer), lower(given.image, known.image))
}

/// Tells whether a layer may be sent to `host` when layers of `sum` bytes, it among them, were.
pub(super) fn allow(sum: u64, layer: u64, given: &Limits, host: &str) -> bool {
    let within = |size: u64, limit: Limit| limit.is_none_or(|(limit, _)| size <= limit);
    let (layer_limit, image_limit) = effective(given, host);
    within(layer, layer_limit) && within(sum, image_limit)
}

/// Checks one image against what the user says and what the host is known to take.
pub(super) fn check(image: &Planned, given: &Limits, host: &str) -> Result<(), Error> {
    let (layer_limit, image_limit) = effective(given, host);
    let mut sum = 0;
    let count = image.parts.len().saturating_sub(1);
    for (index, part) in image.parts.iter().enumerate() {
        let what = || match &part.made_by {
            Some(made_by) => format!("layer {} of {count} (`{}`)", index + 1, made_by.trim()),
            None if index == count => "the config".to_owned(),
            None => format!("layer {} of {count}", index + 1),
        };
        sum += part.blob.size;
        if let Some((limit, by)) = &layer_limit
            && part.blob.size > *limit
        {
            return Err(Error::LayerLimit {
                layer: what(),
                size: part.blob.size,
                limit: *limit,
                by: by.clone(),
            });
        }
        if let Some((limit, by)) = &image_limit
            && sum > *limit
        {
            let total = image.parts.iter().map(|part| part.blob.size).sum();
            return Err(Error::ImageLimit { layer: what(), size: total, limit: *limit, by: by.clone() });
        }
    }
    Ok(())
}
