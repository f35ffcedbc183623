//! What steps read: files of contexts and of other steps, chosen before anything is done with them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::error::Cause;
use super::missing;
use super::{Snapshot, Workshop};
use crate::cache::KeyBuilder;
use crate::context::Directory;
use crate::digest::Digest;
use crate::path::RelPath;
use crate::pattern::Ignore;
use crate::place::{self, Match, SelectOptions, Selection, select};
use crate::tree::{Bytes, Kind, Tree};

/// A directory that steps may read.
#[derive(Debug)]
pub struct Context {
    /// The directory, absolute.
    pub path: PathBuf,
    /// What is left out of it.
    pub ignore: Ignore,
    /// What the user calls the file that says so.
    pub ignore_file: String,
    /// Where the digests of its files are remembered.
    pub stat_cache: PathBuf,
}

/// The build contexts of a build, each listed when the first step reads it.
#[derive(Debug, Default)]
pub struct Contexts(BTreeMap<Option<String>, (Context, OnceLock<Directory>)>);

/// What one source selects.
pub(super) struct Chosen {
    /// The paths.
    pub(super) selection: Selection,
    /// A tree that holds at least what is selected, with digests.
    pub(super) tree: Tree,
    /// The digest of everything selected, by content.
    pub(super) digest: Digest,
    /// Where the files lie, for those of a context.
    pub(super) bytes: Option<Bytes>,
}

impl Contexts {
    /// Adds a context: the main one under `None`.
    pub fn add(&mut self, name: Option<String>, context: Context) {
        self.0.insert(name, (context, OnceLock::new()));
    }

    fn open(&self, name: Option<&str>) -> Result<(&Context, &Directory), Cause> {
        let (context, opened) =
            self.0.get(&name.map(str::to_owned)).expect("lowering names only contexts of the request");
        if let Some(directory) = opened.get() {
            return Ok((context, directory));
        }
        let directory =
            Directory::open(&context.path, Some(context.ignore.clone()), Some(context.stat_cache.clone()))?;
        Ok((context, opened.get_or_init(|| directory)))
    }

    /// Selects what a source names in a context, and reads the digests of it.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        path: &str,
        parents: bool,
        excludes: &[String],
    ) -> Result<Arc<Chosen>, Cause> {
        let (context, directory) = self.open(name)?;
        let selection = select(directory, path, SelectOptions { parents, excludes })
            .map_err(|error| explain(context, directory, &whence(name), path, error))?;
        let paths: Vec<RelPath> = selection.paths().collect();
        let tree = directory.tree(&paths)?;
        let digest = digest(&tree, &selection);
        Ok(Arc::new(Chosen { selection, tree, digest, bytes: Some(directory.bytes()) }))
    }

    /// Keeps what was learned of the files for the next build. A stat cache that cannot be written is none.
    pub fn remember(&self) {
        for (_, opened) in self.0.values() {
            if let Some(directory) = opened.get() {
                let _ = directory.remember();
            }
        }
    }
}

/// Selects what a source names in the result of a step.
pub(super) fn choose_of_step(
    snapshot: Option<&Arc<Snapshot>>,
    path: &str,
    parents: bool,
    excludes: &[String],
    workshop: &Workshop<'_>,
) -> Result<Chosen, Cause> {
    let tree = match snapshot {
        Some(snapshot) => snapshot.tree(workshop)?.clone(),
        None => Tree::empty(),
    };
    let selection = select(&tree, path, SelectOptions { parents, excludes })
        .map_err(|error| missing::explain(&tree, "the stage or image", error))?;
    let digest = digest(&tree, &selection);
    Ok(Chosen { selection, tree, digest, bytes: None })
}

/// Turns the path of a mount into a pattern that matches nothing else.
pub(super) fn literal(path: &RelPath) -> String {
    let text = String::from_utf8_lossy(path.as_bytes());
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// Names a context for the user.
fn whence(name: Option<&str>) -> String {
    name.map_or_else(|| "the build context".to_owned(), |name| format!("the build context `{name}`"))
}

/// Says which rule took a missing source out of the context.
fn explain(context: &Context, directory: &Directory, whence: &str, path: &str, error: place::Error) -> Cause {
    let place::Error::NotFound { path: missing } = &error else { return error.into() };
    match directory.excluded_by(missing) {
        Some(rule) => Cause::Ignored {
            path: path.to_owned(),
            ignore_file: context.ignore_file.clone(),
            line: rule.line,
            rule: rule.text.clone(),
        },
        None => missing::explain(directory, whence, error),
    }
}

/// Returns the digest of everything selected: for each match the name under which it lands, what it is, and
/// what is selected below it.
fn digest(tree: &Tree, selection: &Selection) -> Digest {
    let mut builder = KeyBuilder::new("selection");
    for found in &selection.matches {
        let Match { path, real, below } = found;
        builder.input("name", path.file_name().unwrap_or_default());
        builder.input("entry", entry_digest(tree, real));
        for selected in below {
            builder.input("path", selected.path.as_bytes());
            builder.input("entry", entry_digest(tree, &real.join(&selected.path)));
        }
    }
    builder.finish().0.0
}

/// Returns the digest of one entry, of a directory without what is in it.
pub(super) fn entry_digest(tree: &Tree, path: &RelPath) -> Option<Digest> {
    let entry = tree.get(path)?;
    if entry.kind != Kind::Directory {
        return tree.digest(path);
    }
    let mut alone = Tree::empty();
    alone.insert(&RelPath::root(), entry.clone());
    alone.digest(&RelPath::root())
}
