//! Images in files, as skopeo names them: `oci:DIRECTORY[:TAG]`, `oci-archive:FILE`, `docker-archive:FILE`.

use std::path::{Path, PathBuf};

use kiln::archive;
use kiln::image::Blob;
use kiln::store::Store;

use super::super::report::Failure;

/// An archive, or an image of a layout's directory.
#[derive(Debug, Clone)]
pub(super) enum FilePlace {
    OciArchive(PathBuf),
    DockerArchive(PathBuf),
    Layout { path: PathBuf, tag: Option<String> },
}

impl FilePlace {
    /// Reads a place; `None` for what has none of the transports.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (transport, rest) = text.split_once(':')?;
        match transport {
            "oci-archive" => Some(Self::OciArchive(rest.into())),
            "docker-archive" => Some(Self::DockerArchive(rest.into())),
            "oci" => Some(match rest.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') => {
                    Self::Layout { path: path.into(), tag: Some(tag.to_owned()) }
                }
                _ => Self::Layout { path: rest.into(), tag: None },
            }),
            _ => None,
        }
    }

    /// Puts the image into the store and returns its root.
    pub(super) fn open(&self, store: &Store) -> Result<Blob, Failure> {
        match self {
            Self::OciArchive(path) | Self::DockerArchive(path) => only_image(store, path),
            Self::Layout { path, tag } => {
                archive::open_layout(store, path, tag.as_deref()).map_err(Failure::from_error)
            }
        }
    }
}

/// Loads an archive and returns the root of its one image.
fn only_image(store: &Store, path: &Path) -> Result<Blob, Failure> {
    let mut roots: Vec<Blob> = Vec::new();
    for image in archive::load_path(store, path).map_err(Failure::from_error)? {
        if !roots.contains(&image.manifest) {
            roots.push(image.manifest);
        }
    }
    match &roots[..] {
        [root] => Ok(root.clone()),
        roots => Err(Failure::plain(format!(
            "{} holds {} images: load it, and push one of them by its name",
            path.display(),
            roots.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_makes_a_place_and_the_last_colon_of_a_layout_a_tag() {
        for (text, expected) in [
            ("a:1", None),
            ("oci", None),
            ("localhost:5000/oci:1", None),
            ("oci-archive:a.tar", Some("OciArchive(\"a.tar\")")),
            ("docker-archive:/x/a:b.tar", Some("DockerArchive(\"/x/a:b.tar\")")),
            ("oci:dir", Some("Layout { path: \"dir\", tag: None }")),
            ("oci:dir:1", Some("Layout { path: \"dir\", tag: Some(\"1\") }")),
            ("oci:/a:b/dir", Some("Layout { path: \"/a:b/dir\", tag: None }")),
        ] {
            let place = FilePlace::parse(text).map(|place| format!("{place:?}"));
            assert_eq!(place.as_deref(), expected, "{text}");
        }
    }
}
