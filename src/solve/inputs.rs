//! What steps read: files of contexts and of other steps, chosen before anything is done with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::error::Cause;
use super::{Snapshot, Workshop, missing, remote};
use crate::cache::KeyBuilder;
use crate::context::{Directory, Files};
use crate::digest::Digest;
use crate::graph::Remote;
use crate::path::RelPath;
use crate::pattern::Ignore;
use crate::place::{self, Match, SelectOptions, Selection, select};
use crate::tree::{Bytes, Finder, Kind, Tree};

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
pub struct Contexts(BTreeMap<Option<String>, Place>);

/// Where the files of a context are.
#[derive(Debug)]
enum Place {
    /// In a directory of this machine.
    Directory(Box<(Context, OnceLock<Directory>)>),
    /// In the store, all of them.
    Files(Arc<Files>),
    /// On another machine.
    Remote(Remote),
}

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
        self.0.insert(name, Place::Directory(Box::new((context, OnceLock::new()))));
    }

    /// Adds a context whose files are all in the store.
    pub fn add_files(&mut self, name: Option<String>, files: Arc<Files>) {
        self.0.insert(name, Place::Files(files));
    }

    /// Adds a context of another machine, brought when the first step reads it.
    pub fn add_remote(&mut self, name: Option<String>, remote: Remote) {
        self.0.insert(name, Place::Remote(remote));
    }

    /// Selects what a source names in a context, and reads the digests of it.
    pub(super) fn choose(
        &self,
        name: Option<&str>,
        path: &str,
        parents: bool,
        excludes: &[String],
        workshop: &Workshop<'_>,
    ) -> Result<Arc<Chosen>, Cause> {
        let place =
            self.0.get(&name.map(str::to_owned)).expect("lowering names only contexts of the request");
        let of_files = |files: &Files| {
            let chosen = choose_in(&files.tree, &whence(name), path, parents, excludes)?;
            Ok(Arc::new(Chosen { bytes: Some(files.bytes()), ..chosen }))
        };
        let (context, directory) = match place {
            Place::Directory(directory) => (&directory.0, directory.0.open(&directory.1)?),
            Place::Files(files) => return of_files(files),
            Place::Remote(remote) => return of_files(&*remote::open(remote, workshop)?),
        };
        let selection = select(directory, path, SelectOptions { parents, excludes })
            .map_err(|error| explain(context, directory, &whence(name), path, error))?;
        let paths: Vec<RelPath> = selection.paths().collect();
        let tree = directory.tree(&paths)?;
        drop(paths);
        let digest = digest(&tree, &selection);
        Ok(Arc::new(Chosen { selection, tree, digest, bytes: Some(directory.bytes()) }))
    }

    /// Tells whether the file of a context's directory surely has the content that was hashed, by its stat data.
    pub(super) fn is_as_hashed(&self, directory: &Path, file: &RelPath, stat: &rustix::fs::Stat) -> bool {
        self.0.values().any(|place| match place {
            Place::Directory(context) if context.0.path == directory => {
                context.1.get().is_some_and(|listed| listed.is_as_hashed(file, stat))
            }
            Place::Directory(_) | Place::Files(_) | Place::Remote(_) => false,
        })
    }

    /// Keeps what was learned of the files for the next build. A stat cache that cannot be written is none.
    pub fn remember(&self) {
        for place in self.0.values() {
            if let Place::Directory(directory) = place
                && let Some(directory) = directory.1.get()
            {
                let _ = directory.remember();
            }
        }
    }
}

impl Context {
    fn open<'d>(&self, opened: &'d OnceLock<Directory>) -> Result<&'d Directory, Cause> {
        if let Some(directory) = opened.get() {
            return Ok(directory);
        }
        let directory =
            Directory::open(&self.path, Some(self.ignore.clone()), Some(self.stat_cache.clone()))?;
        Ok(opened.get_or_init(|| directory))
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
    match snapshot {
        Some(snapshot) => choose_in(snapshot.tree(workshop)?, RESULT, path, parents, excludes),
        None => choose_in(&Tree::empty(), RESULT, path, parents, excludes),
    }
}

/// What a step is to the user.
const RESULT: &str = "the stage or image";

/// Selects what a source names in a tree that has all digests; `whence` is what the tree is to the user.
pub(super) fn choose_in(
    tree: &Tree,
    whence: &str,
    path: &str,
    parents: bool,
    excludes: &[String],
) -> Result<Chosen, Cause> {
    let selection = select(tree, path, SelectOptions { parents, excludes })
        .map_err(|error| missing::explain(tree, whence, error))?;
    let digest = digest(tree, &selection);
    Ok(Chosen { selection, tree: tree.clone(), digest, bytes: None })
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
    let mut finder = tree.finder();
    for found in &selection.matches {
        let Match { path, real, below } = found;
        builder.unnamed(path.file_name().unwrap_or_default());
        builder.unnamed(digest_alone(&mut finder, real));
        builder.unnamed(below.len() as u64);
        for selected in below {
            builder.unnamed(selected.path.as_bytes());
            builder.unnamed(digest_alone(&mut finder, &real.join(&selected.path)));
        }
    }
    builder.finish().0.0
}

/// Returns the digest of one entry, of a directory without what is in it.
pub(super) fn entry_digest(tree: &Tree, path: &RelPath) -> Option<Digest> {
    digest_alone(&mut tree.finder(), path)
}

fn digest_alone(finder: &mut Finder<'_>, path: &RelPath) -> Option<Digest> {
    let entry = finder.get(path)?;
    if entry.kind != Kind::Directory {
        return finder.digest(path);
    }
    let mut alone = Tree::empty();
    alone.insert(&RelPath::root(), entry.clone());
    alone.digest(&RelPath::root())
}
