//! `kiln build --deploy`: the platform's own file says what is to be built, explicit arguments win over it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kiln::deploy::{self, Deployment, Format, Image, Presence, Surroundings};
use kiln::diagnostic::{Source, suggest};

use super::report::{Failure, tell};

/// Which file says what is to be built, and which part of it counts.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DeployArgs {
    /// Builds what a deploy platform's file asks for: wrangler.jsonc, wrangler.json, wrangler.toml or fly.toml in
    /// CONTEXT, or where the user is. Dockerfile, context, build arguments, target, platform and name are taken from it.
    #[arg(long, group = "deployment")]
    deploy: bool,
    /// The same with this file.
    #[arg(long, value_name = "FILE", group = "deployment")]
    deploy_config: Option<PathBuf>,
    /// The environment of a wrangler file; the default is CLOUDFLARE_ENV.
    #[arg(long, value_name = "NAME", requires = "deployment")]
    deploy_env: Option<String>,
    /// Builds this container alone; can be given several times.
    #[arg(long, value_name = "NAME", requires = "deployment")]
    deploy_container: Vec<String>,
}

/// What a file asks for.
pub(crate) struct Wanted {
    /// What the user calls the file.
    pub(crate) file: PathBuf,
    /// The images, at least one.
    pub(crate) images: Vec<Image>,
    /// Whether CONTEXT said where the file is, and so is no build context.
    pub(crate) context_is_place: bool,
}

impl DeployArgs {
    /// Reads the file if there is to be one. `context` is what the user gave as CONTEXT.
    pub(crate) fn read(&self, context: Option<&Path>) -> Result<Option<Wanted>, Failure> {
        let file = match &self.deploy_config {
            Some(file) => file.clone(),
            None if self.deploy => find(context.unwrap_or(Path::new("")))?,
            None => return Ok(None),
        };
        let images = self.images(&file)?;
        Ok(Some(Wanted { file, images, context_is_place: self.deploy }))
    }

    fn images(&self, file: &Path) -> Result<Vec<Image>, Failure> {
        let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let format = Format::of(name).ok_or_else(|| {
            Failure::usage(format!(
                "{}: not the name of a deploy platform's file: it begins with `wrangler` and ends in `.jsonc`, `.json` or \
                 `.toml`, or begins with `fly` and ends in `.toml`",
                file.display()
            ))
        })?;
        let environment = match (&self.deploy_env, format) {
            (Some(name), Format::Fly) => {
                return Err(Failure::usage(format!(
                    "--deploy-env {name}: a fly.toml has no environments; name another file with --deploy-config"
                )));
            }
            (None, Format::Fly) => None,
            (Some(name), _) => Some(name.clone()),
            (None, _) => std::env::var("CLOUDFLARE_ENV").ok().filter(|name| !name.is_empty()),
        };
        let text = fs_err::read_to_string(file).map_err(Failure::from_error)?;
        let source = Source::new(file.display().to_string(), text);
        let surroundings = Surroundings {
            directory: file.parent().unwrap_or(Path::new("")),
            environment: environment.as_deref(),
            presence: &presence,
        };
        let deployment = deploy::read(format, &source, &surroundings)
            .map_err(|findings| Failure::findings(&source, &findings))?;
        self.choose(deployment, file)
    }

    /// Returns the images that are to be built, and says which need no build.
    fn choose(&self, deployment: Deployment, file: &Path) -> Result<Vec<Image>, Failure> {
        let Deployment { mut images, mut prebuilt } = deployment;
        let known = images.iter().map(|image| &*image.name);
        let known: Vec<&str> = known.chain(prebuilt.iter().map(|prebuilt| &*prebuilt.name)).collect();
        let chosen: Vec<String> = self.deploy_container.iter().map(|name| name.to_lowercase()).collect();
        if let Some(unknown) = chosen.iter().find(|name| !known.contains(&name.as_str())) {
            let near = suggest::nearest(unknown, known.iter().copied());
            let help = near.map_or_else(|| known.join(", "), |near| format!("did you mean `{near}`?"));
            return Err(Failure::usage(format!("{} has no container `{unknown}`: {help}", file.display())));
        }
        let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
        images.retain(|image| is_chosen(&image.name));
        prebuilt.retain(|prebuilt| is_chosen(&prebuilt.name));
        for prebuilt in &prebuilt {
            let called =
                if prebuilt.name.is_empty() { String::new() } else { format!("`{}` ", prebuilt.name) };
            tell!("note: {called}uses the image {}, which exists: it is not built", prebuilt.image);
        }
        if images.is_empty() {
            return Err(Failure::plain(format!(
                "{}: there is nothing to build; name a Dockerfile in it, or leave out --deploy",
                file.display()
            )));
        }
        Ok(images)
    }
}

impl Wanted {
    /// Refuses arguments that are about one image where there are several. `given` are the names of those in use.
    pub(crate) fn check_single(&self, given: &[(&str, bool)]) -> Result<(), Failure> {
        let names: Vec<&str> = self.images.iter().map(|image| &*image.name).collect();
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((argument, _)) if names.len() > 1 => Err(Failure::usage(format!(
                "{argument} is about one image, and {} asks for {}: choose one with --deploy-container ({})",
                self.file.display(),
                names.len(),
                names.join(", ")
            ))),
            _ => Ok(()),
        }
    }
}

/// Finds the one file of a platform in a directory.
fn find(directory: &Path) -> Result<PathBuf, Failure> {
    let shown = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let found: Vec<&str> =
        deploy::FILE_NAMES.into_iter().filter(|name| directory.join(name).is_file()).collect();
    match found[..] {
        [one] => Ok(directory.join(one)),
        [] => Err(Failure::usage(format!(
            "there is no {} in `{}`; name the file with --deploy-config",
            deploy::FILE_NAMES.join(", no "),
            shown.display()
        ))),
        [first, second, ..] => Err(Failure::usage(format!(
            "there are {first} and {second} in `{}`; choose one with --deploy-config",
            shown.display()
        ))),
    }
}

fn presence(path: &Path) -> Presence {
    match path {
        path if path.is_dir() => Presence::Directory,
        path if path.exists() => Presence::File,
        _ => Presence::Nothing,
    }
}
