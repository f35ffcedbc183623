//! `kiln pull`: docker's, with its lines on standard output.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressStyle};
use kiln::oci::Platform;
use kiln::reference::Reference;
use kiln::registry::Registry;
use kiln::store::Store;

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::report::{Failure, tell};
use super::{has_tag, print};

/// The arguments of `kiln pull`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image's name; a repository's with --all-tags.
    #[arg(value_name = "NAME")]
    name: String,
    /// The platform of the image, for example linux/arm64; this machine's for none.
    #[arg(long, env = "DOCKER_DEFAULT_PLATFORM", value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Prints only the image's full name.
    #[arg(short, long)]
    quiet: bool,
    /// Pulls every tag of the repository.
    #[arg(short, long)]
    all_tags: bool,
}

/// Pulls one image or all of a repository.
pub(crate) fn run(args: &Args, environment: &Environment) -> Outcome {
    let store = environment.store()?;
    let registry = environment.registry(&store)?;
    if args.all_tags {
        let repository = super::repository(&args.name)?;
        for tag in registry.tags(&repository).map_err(Failure::from_error)? {
            args.pull(&Reference { tag: Some(tag), ..repository.clone() }, &store, &registry)?;
        }
        return Ok(());
    }
    let name = super::name(&args.name)?;
    if !args.quiet && name.digest.is_none() && !has_tag(&args.name) {
        print("Using default tag: latest\n")?;
    }
    args.pull(&name, &store, &registry)
}

impl Args {
    fn pull(&self, name: &Reference, store: &Store, registry: &Registry) -> Outcome {
        let platform = self.platform.clone().unwrap_or_else(Platform::host);
        if !self.quiet {
            let what = name.tag.clone().or_else(|| name.digest.map(|digest| digest.to_string()));
            print(&format!("{}: Pulling from {}\n", what.unwrap_or_default(), name.repository))?;
        }
        // What was fetched is nobody's until it has its name.
        let _lease = store.lease().map_err(Failure::from_error)?;
        let bar = self.bar();
        let progress = |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let pulled = registry.pull(name, &platform, &progress).map_err(Failure::from_error);
        bar.finish_and_clear();
        let pulled = pulled?;
        let before = store.resolve_name(name).ok().flatten();
        let config = &pulled.image.config;
        // An image without an index is taken whatever it is for, as docker does.
        if let Some(asked) = &self.platform
            && (&asked.os, &asked.architecture) != (&config.os, &config.architecture)
        {
            tell!(
                "warning: {} is for {}/{}, not for {asked}",
                name.familiar(),
                config.os,
                config.architecture
            );
        }
        let is_new = before.as_ref() != Some(&pulled.manifest) || !pulled.fetched.is_empty();
        store.tag(name, &pulled.manifest).map_err(Failure::from_error)?;
        if !self.quiet {
            for layer in &pulled.image.layers {
                let fetched = pulled.fetched.contains(&layer.blob.digest);
                let state = if fetched { "Pull complete" } else { "Already exists" };
                print(&format!("{}: {state}\n", &layer.blob.digest.hex()[..12]))?;
            }
            let status = if is_new { "Downloaded newer image" } else { "Image is up to date" };
            print(&format!("Digest: {}\nStatus: {status} for {}\n", pulled.digest, name.familiar()))?;
        }
        print(&format!("{name}\n"))
    }

    /// Shows how far the bytes are, where somebody looks.
    fn bar(&self) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(
            "{bar:30} {binary_bytes} / {binary_total_bytes} {binary_bytes_per_sec}",
        );
        ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}
