//! `kiln delete`: tags and manifests of a registry.

use kiln::registry::Deleted;

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::report::Failure;

/// The arguments of `kiln delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Names with a tag or with a digest.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Deletes the manifest that a tag stands for where the registry cannot delete tags: all tags of that manifest go.
    #[arg(long)]
    manifest: bool,
}

/// Deletes one name after the other and says what is gone.
pub(crate) fn run(args: &Args, environment: &Environment) -> Outcome {
    let registry = super::client(environment)?;
    for text in &args.names {
        let name = super::name(text)?;
        if name.digest.is_none() && !super::has_tag(text) {
            return Err(Failure::usage(format!(
                "`{text}`: name the tag or the digest that is to be deleted"
            )));
        }
        match registry.delete(&name, args.manifest).map_err(Failure::from_error)? {
            Deleted::Tag => super::print(&format!("Untagged: {name}\n"))?,
            Deleted::Manifest(digest) => super::print(&format!("Deleted: {}@{digest}\n", name.name()))?,
        }
    }
    Ok(())
}
