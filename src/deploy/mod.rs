//! The files in which deploy platforms say what is to be built: Cloudflare's wrangler and Fly.io.
//!
//! In: a file's text, the directory that it lies in, the environment of it that is meant, and what lies at a path (a
//! function: nothing is opened here). Out: the images to be built, and the names of those that need no build.
//!
//! | file | what counts |
//! |---|---|
//! | `wrangler.jsonc`, `wrangler.json`, `wrangler.toml` | `name`, `containers[]` with `class_name`, `name`, `image` (a Dockerfile, or an image that exists), `image_build_context`, `image_vars`, `configuration.image`; the same below `env.NAME` |
//! | `fly.toml` | `app`, `[build]` with `dockerfile`, `ignorefile`, `build-target`, `[build.args]`, `image` |
//!
//! A key means what the platform's own program takes it for; keys that do not change what an image holds are passed
//! over (also `compression` of a fly.toml: `--output` says that), and what would be built in another way than from a
//! Dockerfile is refused by name. All findings of a file are reported at once, each with its span.
//!
//! Not here: finding the file, and what the command line says besides.

mod document;
mod fly;
#[cfg(test)]
mod tests;
mod wrangler;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Source};
use crate::oci::Platform;
use crate::reference::Reference;

use self::document::Node;

/// The files that are looked for by their names.
pub const FILE_NAMES: [&str; 4] = ["wrangler.jsonc", "wrangler.json", "wrangler.toml", "fly.toml"];

/// Whose file it is, and how it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// wrangler's, as JSON with comments and trailing commas.
    WranglerJson,
    /// wrangler's, as TOML.
    WranglerToml,
    /// Fly.io's, as TOML.
    Fly,
}

impl Format {
    /// Tells the format from a file's name: `wrangler.staging.jsonc` is wrangler's, `fly.production.toml` is Fly.io's.
    pub fn of(file_name: &str) -> Option<Self> {
        let extension = file_name.rsplit_once('.')?.1;
        match (file_name.starts_with("wrangler"), file_name.starts_with("fly"), extension) {
            (true, _, "json" | "jsonc") => Some(Self::WranglerJson),
            (true, _, "toml") => Some(Self::WranglerToml),
            (_, true, "toml") => Some(Self::Fly),
            _ => None,
        }
    }
}

/// What lies at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing.
    Nothing,
    /// A file.
    File,
    /// A directory.
    Directory,
}

/// Where a file stands, and which part of it is meant.
pub struct Surroundings<'a> {
    /// The directory of the file; paths in it are relative to this.
    pub directory: &'a Path,
    /// The environment: wrangler's `env.NAME`.
    pub environment: Option<&'a str>,
    /// Tells what lies at a path.
    pub presence: &'a dyn Fn(&Path) -> Presence,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// What is to be built, in the file's order.
    pub images: Vec<Image>,
    /// What needs no build, in the file's order.
    pub prebuilt: Vec<Prebuilt>,
}

/// An image to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What the file calls it: a container's or an app's name.
    pub name: String,
    /// What the image is called.
    pub tag: Tag,
    /// The Dockerfile; `None` is that of the context.
    pub dockerfile: Option<PathBuf>,
    /// The build context.
    pub context: PathBuf,
    /// The file that takes the place of `.dockerignore`.
    pub ignore_file: Option<PathBuf>,
    /// The build arguments.
    pub build_args: BTreeMap<String, String>,
    /// The stage to build; `None` is the last.
    pub target: Option<String>,
    /// The platform that the deploy platform runs.
    pub platform: Platform,
}

/// An image that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prebuilt {
    /// What the file calls it: a container's or an app's name.
    pub name: String,
    /// The image, as written.
    pub image: String,
}

/// What an image is called where the command line says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// A name of this machine's store: the platform's program finds the place in a registry when it deploys.
    Local(Reference),
    /// The name in the platform's registry.
    Registry(Reference),
    /// The file gives none.
    None,
}

impl Tag {
    /// Returns the name, wherever it counts.
    pub const fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Local(reference) | Self::Registry(reference) => Some(reference),
            Self::None => None,
        }
    }
}

/// Reads a platform's file.
///
/// # Errors
/// Everything that is wrong with what the file says about building.
pub fn read(
    format: Format,
    source: &Source,
    surroundings: &Surroundings<'_>,
) -> Result<Deployment, Vec<Diagnostic>> {
    let parse = match format {
        Format::WranglerJson => Node::from_json,
        Format::WranglerToml | Format::Fly => Node::from_toml,
    };
    let root = parse(&source.text).map_err(|finding| vec![finding])?;
    match format {
        Format::WranglerJson | Format::WranglerToml => wrangler::read(&root, surroundings),
        Format::Fly => fly::read(&root, surroundings).map_err(|finding| vec![finding]),
    }
}

impl Surroundings<'_> {
    /// Returns the path that a text in the file means, without needless `.`.
    fn place(&self, text: &str) -> PathBuf {
        let path: PathBuf = Path::new(text)
            .components()
            .filter(|component| *component != std::path::Component::CurDir)
            .collect();
        let path = self.directory.join(path);
        if path.as_os_str().is_empty() { ".".into() } else { path }
    }
}

/// What both platforms run.
fn linux_amd64() -> Platform {
    Platform { os: "linux".into(), architecture: "amd64".into(), variant: String::new() }
}
