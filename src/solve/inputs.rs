//! What steps read: files of contexts and of other steps, chosen before anything is done with them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::error::Cause;
use super::{Snapshot, Workshop};
use crate::cache::KeyBuilder;
use crate::context::{Directory, IgnoreFile};
use crate::digest::Digest;
use crate::path::RelPath;
use crate::place::{self, Match, SelectOptions, Selection, View, select};
use crate::tree::{Kind, Tree};

/// A directory that steps may read, opened when the first one does.
pub struct ContextDirectory {
    /// The directory.
    pub path: PathBuf,
    /// What is left out of it.
    pub ignore: Option<IgnoreFile>,
    opened: OnceLock<Directory>,
}

/// The build contexts of a build: the main one under `None`.
pub struct Contexts {
    directories: BTreeMap<Option<String>, ContextDirectory>,
    /// Where stat caches are kept.
    stat_caches: PathBuf,
}

/// What one source selects.
pub(super) struct Chosen {
    /// The paths.
    pub(super) selection: Selection,
    /// A tree that holds at least what is selected, with digests.
    pub(super) tree: Tree,
    /// The digest of everything selected, by content.
    pub(super) digest: Digest,
    /// The directory that holds the files, for those of a context.
    pub(super) directory: Option<PathBuf>,
}

impl Contexts {
    /// Takes the directories by name; stat caches lie in `stat_caches`.
    pub fn new(
        directories: impl IntoIterator<Item = (Option<String>, PathBuf, Option<IgnoreFile>)>,
        stat_caches: PathBuf,
    ) -> Self {
        let directories = directories
            .into_iter()
            .map(|(name, path, ignore)| (name, ContextDirectory { path, ignore, opened: OnceLock::new() }))
            .collect();
        Self { directories, stat_caches }
    }

    /// Lists the context, once.
    fn open(&self, name: Option<&str>) -> Result<&Directory, Cause> {
        let context = self.directories.get(&name.map(str::to_owned));
        let context = context.expect("lowering names only contexts of the request");
        if let Some(opened) = context.opened.get() {
            return Ok(opened);
        }
        let stat_cache = self.stat_caches.join(Digest::of(context.path.as_os_str().as_encoded_bytes()).hex());
        let opened = Directory::open(&context.path, context.ignore.as_ref(), Some(&stat_cache))?;
        Ok(context.opened.get_or_init(|| opened))
    }

    /// Selects what a source names in a context and reads the digests of it.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        path: &str,
        parents: bool,
        excludes: &[String],
    ) -> Result<Arc<Chosen>, Cause> {
        let directory = self.open(name)?;
        let options = SelectOptions { parents, excludes };
        let selection = select(directory, path, options).map_err(|error| explain(directory, path, error))?;
        let tree = directory.tree_of(selection.paths())?;
        let digest = digest(&tree, &selection);
        Ok(Arc::new(Chosen { selection, tree, digest, directory: Some(directory.path().to_owned()) }))
    }

    /// Selects a file or directory as a whole.
    pub(super) fn choose_whole(&self, name: Option<&str>, path: &RelPath) -> Result<Arc<Chosen>, Cause> {
        let directory = self.open(name)?;
        let selection = whole(directory, path).map_err(|error| explain(directory, &path.to_string(), error))?;
        let tree = directory.tree_of(selection.paths())?;
        let digest = digest(&tree, &selection);
        Ok(Arc::new(Chosen { selection, tree, digest, directory: Some(directory.path().to_owned()) }))
    }

    /// Keeps what was learned of the files for the next build. A stat cache that cannot be written is none.
    pub fn save_stat_caches(&self) {
        for context in self.directories.values() {
            if let Some(directory) = context.opened.get() {
                let _ = directory.save_stat_cache();
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
    let selection = select(&tree, path, SelectOptions { parents, excludes })?;
    let digest = digest(&tree, &selection);
    Ok(Chosen { selection, tree, digest, directory: None })
}

/// Selects `path` literally, whatever characters are in it.
fn whole<V: View>(view: &V, path: &RelPath) -> Result<Selection, place::Error> {
    // A mount's source is no pattern: what would be a wildcard is escaped.
    let text = String::from_utf8_lossy(path.as_bytes());
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    select(view, &escaped, SelectOptions::default())
}

/// Says which rule took a missing source out of the context.
fn explain(directory: &Directory, path: &str, error: place::Error) -> Cause {
    let place::Error::NotFound { path: missing } = &error else { return error.into() };
    match directory.excluded_by(missing) {
        Some(rule) => Cause::Ignored {
            path: path.to_owned(),
            ignore_file: rule.file,
            line: rule.line,
            rule: rule.text,
        },
        None => error.into(),
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
fn entry_digest(tree: &Tree, path: &RelPath) -> Option<Digest> {
    let entry = tree.get(path)?;
    if entry.kind != Kind::Directory {
        return tree.digest(path);
    }
    let mut alone = Tree::empty();
    alone.insert(&RelPath::root(), entry.clone());
    alone.digest(&RelPath::root())
}
