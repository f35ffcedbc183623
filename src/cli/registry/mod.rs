//! The verbs that speak with registries, under docker's names and with docker's output where docker has them.

mod copy;
mod delete;
mod file_place;
mod login;
mod manifest;
pub(crate) mod pull;
pub(crate) mod push;
mod referrers;
mod tags;

use kiln::reference::Reference;

use super::environment::{self, Environment};
use super::report::{Failure, print};
use super::{Global, Outcome};

/// One of the verbs.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Checks a user name and a password with a registry and keeps them.
    Login(login::LoginArgs),
    /// Forgets the password of a registry.
    Logout(login::LogoutArgs),
    /// Fetches images from a registry into the store.
    Pull(pull::Args),
    /// Pushes an image to a registry: what the registry lacks, and nothing else.
    Push(Box<push::Args>),
    /// Shows manifests as a registry has them.
    #[command(subcommand)]
    Manifest(manifest::Command),
    /// Lists the tags of a repository.
    Tags(tags::Args),
    /// Lists what says that it belongs to an image: signatures, bills of materials.
    Referrers(referrers::Args),
    /// Copies an image, with all its platforms, between registries, archives and layouts.
    Copy(Box<copy::Args>),
    /// Deletes tags or manifests in a registry.
    Delete(delete::Args),
}

/// Runs one of the verbs.
pub(crate) fn run(command: &Command, global: &Global) -> Outcome {
    let beside = || environment::beside(global);
    match command {
        Command::Login(args) => login::login(args, global),
        Command::Logout(args) => login::logout(args, global),
        Command::Pull(args) => pull::run(args, &beside()?),
        Command::Push(args) => push::run(args, &beside()?),
        Command::Manifest(command) => manifest::run(command, &beside()?),
        Command::Tags(args) => tags::run(args, &beside()?),
        Command::Referrers(args) => referrers::run(args, &beside()?),
        Command::Copy(args) => copy::run(args, &beside()?),
        Command::Delete(args) => delete::run(args, &beside()?),
    }
}

/// Opens the client of registries, with the store that it keeps documents in.
fn client(environment: &Environment) -> Result<kiln::registry::Registry, Failure> {
    environment.registry(&environment.store()?)
}

/// Reads an image's name.
pub(crate) fn name(text: &str) -> Result<Reference, Failure> {
    text.parse().map_err(Failure::usage)
}

/// Reads a repository's name: neither tag nor digest belong there.
fn repository(text: &str) -> Result<Reference, Failure> {
    let reference = name(text)?;
    if reference.digest.is_some() || has_tag(text) {
        return Err(Failure::usage(format!("`{text}`: name a repository, without tag and digest")));
    }
    Ok(reference)
}

/// Tells whether a tag is written in a name.
fn has_tag(text: &str) -> bool {
    let name = text.split('@').next().unwrap_or_default();
    name.rsplit('/').next().unwrap_or_default().contains(':')
}
