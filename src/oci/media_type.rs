//! Media types: OCI's, and Docker's (image manifest version 2, schema 2) for the same bytes.

/// The media type of an OCI manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an OCI index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an OCI image config.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a layer that is not compressed.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The media type of a layer compressed by gzip.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The media type of a layer compressed by zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's media type of a manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's media type of an index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's media type of an image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// OCI's and Docker's names of the same thing. Docker's archives have a type of their own for layers that are
/// not compressed; no registry ever defined it, but containerd and docker use it.
const PAIRS: [(&str, &str); 8] = [
    (MANIFEST, DOCKER_MANIFEST),
    (INDEX, DOCKER_INDEX),
    (CONFIG, DOCKER_CONFIG),
    (LAYER, "application/vnd.docker.image.rootfs.diff.tar"),
    (LAYER_GZIP, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
    (LAYER_ZSTD, "application/vnd.docker.image.rootfs.diff.tar.zstd"),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.docker.image.rootfs.foreign.diff.tar",
    ),
    (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ),
];

/// Which of the two names documents and layers get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Flavor {
    /// OCI's.
    #[default]
    Oci,
    /// Docker's, for old tools.
    Docker,
}

impl Flavor {
    /// Returns this flavor's name of a media type; a type that has none is returned as it is.
    pub fn of(self, media_type: &str) -> &str {
        let pair = PAIRS.iter().find(|(oci, docker)| *oci == media_type || *docker == media_type);
        match (pair, self) {
            (None, _) => media_type,
            (Some((oci, _)), Self::Oci) => oci,
            (Some((_, docker)), Self::Docker) => docker,
        }
    }
}

/// Tells whether it is the type of a manifest.
pub fn is_manifest(media_type: &str) -> bool {
    Flavor::Oci.of(media_type) == MANIFEST
}

/// Tells whether it is the type of an index.
pub fn is_index(media_type: &str) -> bool {
    Flavor::Oci.of(media_type) == INDEX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavors_are_each_others_inverse() {
        for (oci, docker) in PAIRS {
            assert_eq!((Flavor::Oci.of(oci), Flavor::Oci.of(docker)), (oci, oci));
            assert_eq!((Flavor::Docker.of(oci), Flavor::Docker.of(docker)), (docker, docker));
        }
        assert_eq!(Flavor::Docker.of("application/vnd.in-toto+json"), "application/vnd.in-toto+json");
    }
}
