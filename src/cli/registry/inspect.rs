//! `kiln image inspect docker://NAME`: an image of a registry as `docker image inspect` shows one of its own.

use kiln::oci::Platform;
use kiln::store::Store;
use serde_json::{Value, json};

use super::super::environment::Environment;
use super::super::report::Failure;

/// Reads manifest and config, and no layer. `Size` is what a pull would fetch: the layers as they are sent.
pub(crate) fn inspect(name: &str, store: &Store, environment: &Environment) -> Result<Value, Failure> {
    let name = super::name(name)?;
    let registry = environment.registry(store)?;
    let resolved = registry.resolve_named(&name, &Platform::host());
    let (digest, image) = resolved.map_err(Failure::from_error)?;
    let config = &image.config;
    let tagged = name.tag.is_some().then(|| kiln::reference::Reference { digest: None, ..name.clone() });
    Ok(json!({
        "Id": image.id,
        "RepoTags": tagged.iter().map(|name| name.familiar()).collect::<Vec<_>>(),
        "RepoDigests": [name.at_digest(digest).familiar()],
        "Created": config.created,
        "Author": config.author,
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "Size": image.layers.iter().map(|layer| layer.blob.size).sum::<u64>(),
        "Config": config.config,
        "RootFS": { "Type": "layers", "Layers": config.rootfs.diff_ids },
    }))
}
