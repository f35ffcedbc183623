//! What steps read: files of contexts and of other steps, chosen before anything is done with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use super::error::Cause;
use super::listing::Listing;
use super::{Snapshot, Workshop, missing, remote};
use crate::cache::KeyBuilder;
use crate::context::{Directory, Files};
use crate::digest::Digest;
use crate::graph::Remote;
use crate::path::RelPath;
use crate::pattern::Ignore;
use crate::place::{self, Entries, SelectOptions, Selected, Selection, select};
use crate::tree::{Bytes, Entry, Tree};

/// What the digest of a selection is made of is hashed in pieces of this size.
const PARTS_BYTES: usize = 16 * 1024;

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
    Directory(Box<(Context, OnceLock<Arc<Directory>>)>),
    /// In the store, all of them.
    Files(Arc<Files>),
    /// On another machine.
    Remote(Remote),
}

/// What one source selects.
pub(super) struct Chosen {
    /// The paths.
    pub(super) selection: Selection,
    /// Where they were selected.
    place: Within,
    /// The digest of everything selected, by content, once it was read.
    digest: OnceLock<Digest>,
    /// The list of everything selected, from when it was made until somebody takes it.
    listing: Mutex<Option<Listing>>,
    /// Where the files lie, for those of a context.
    pub(super) bytes: Option<Bytes>,
}

/// Where something was selected.
enum Within {
    /// In a listing.
    Directory(Arc<Directory>),
    /// In a tree.
    Tree(Tree),
}

impl Chosen {
    fn in_directory(selection: Selection, directory: Arc<Directory>) -> Self {
        let bytes = Some(directory.bytes());
        Self::new(selection, Within::Directory(directory), OnceLock::new(), bytes)
    }

    fn in_tree(selection: Selection, tree: &Tree) -> Self {
        let digest = OnceLock::from(digest(tree, &selection));
        Self::new(selection, Within::Tree(tree.clone()), digest, None)
    }

    const fn new(
        selection: Selection,
        place: Within,
        digest: OnceLock<Digest>,
        bytes: Option<Bytes>,
    ) -> Self {
        Self { selection, place, digest, listing: Mutex::new(None), bytes }
    }

    /// Reads what is selected, as far as nobody has.
    pub(super) fn read(&self) -> Result<(), Cause> {
        if self.digest.get().is_none() {
            self.read_files()?;
            self.identify();
        }
        Ok(())
    }

    /// Reads what is selected, and makes the listing of it beside its digest.
    pub(super) fn read_and_list(&self) -> Result<(), Cause> {
        self.read_files()?;
        thread::scope(|scope| {
            scope.spawn(|| *self.lock_listing() = Some(Listing::of(self)));
            self.identify();
        });
        Ok(())
    }

    fn identify(&self) {
        self.digest.get_or_init(|| digest(self.entries(), &self.selection));
    }

    fn read_files(&self) -> Result<(), Cause> {
        match &self.place {
            Within::Directory(directory) => Ok(directory.digest(&self.selection)?),
            Within::Tree(_) => Ok(()),
        }
    }

    /// Returns the digest of everything selected, by content.
    ///
    /// # Panics
    /// If it was not read.
    pub(super) fn digest(&self) -> Digest {
        *self.digest.get().expect("a definition reads what its step selects")
    }

    /// Returns the list of everything selected, which was read. It is long, and nobody else gets it from here.
    pub(super) fn take_listing(&self) -> Listing {
        self.lock_listing().take().unwrap_or_else(|| Listing::of(self))
    }

    fn lock_listing(&self) -> MutexGuard<'_, Option<Listing>> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the context's directory where it was selected.
    pub(super) fn directory(&self) -> Option<&Arc<Directory>> {
        match &self.place {
            Within::Directory(directory) => Some(directory),
            Within::Tree(_) => None,
        }
    }

    /// Returns the entries of what is selected.
    pub(super) fn entries(&self) -> &dyn Entries {
        match &self.place {
            Within::Directory(directory) => &**directory,
            Within::Tree(tree) => tree,
        }
    }

    /// Returns a tree that holds at least what is selected.
    pub(super) fn tree(&self) -> Result<Tree, Cause> {
        Ok(match &self.place {
            Within::Directory(directory) => directory.tree(&self.selection)?,
            Within::Tree(tree) => tree.clone(),
        })
    }

    /// Calls `visit` with everything that is read, by its path where it was selected and its path below its match. A path
    /// can come twice when matches overlap.
    pub(super) fn for_each(&self, mut visit: impl FnMut(RelPath, RelPath, &Entry)) {
        for found in &self.selection.matches {
            if let Some(entry) = self.entries().entry(&found.real) {
                visit(found.real.clone(), RelPath::root(), &entry);
            }
            let all = self.entries().below(found, &mut |selected| {
                let path = selected.path();
                visit(found.real.join(&path), path, selected.item);
                Ok(())
            });
            all.expect("nothing that visits fails");
        }
    }
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

    /// Selects what a source names in a context, which is still to be read.
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
        let selection = select(&**directory, path, SelectOptions { parents, excludes })
            .map_err(|error| explain(context, directory, &whence(name), path, error))?;
        Ok(Arc::new(Chosen::in_directory(selection, Arc::clone(directory))))
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
    pub(super) fn remember(&self) {
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
    fn open<'d>(&self, opened: &'d OnceLock<Arc<Directory>>) -> Result<&'d Arc<Directory>, Cause> {
        if let Some(directory) = opened.get() {
            return Ok(directory);
        }
        let directory =
            Directory::open(&self.path, Some(self.ignore.clone()), Some(self.stat_cache.clone()))?;
        Ok(opened.get_or_init(|| Arc::new(directory)))
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
    Ok(Chosen::in_tree(selection, tree))
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
fn digest(entries: &dyn Entries, selection: &Selection) -> Digest {
    let mut builder = KeyBuilder::new("selection 2");
    builder.unnamed(selection.matches.len() as u64);
    // Very many parts have a few bytes: they are not hashed one by one.
    let mut parts = Vec::with_capacity(2 * PARTS_BYTES);
    for found in &selection.matches {
        builder.unnamed(found.path.file_name().unwrap_or_default());
        if let Some(entry) = entries.entry(&found.real) {
            entry.content(&mut |part| parts.extend_from_slice(part));
        }
        let all = entries.below(found, &mut |Selected { directory, name, item, .. }| {
            parts.push(1);
            for bytes in [directory.as_bytes(), name] {
                parts.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                parts.extend_from_slice(bytes);
            }
            item.content(&mut |part| parts.extend_from_slice(part));
            if parts.len() >= PARTS_BYTES {
                builder.framed(&parts);
                parts.clear();
            }
            Ok(())
        });
        all.expect("nothing that visits fails");
        parts.push(0);
        builder.framed(&parts);
        parts.clear();
    }
    builder.finish().0.0
}
