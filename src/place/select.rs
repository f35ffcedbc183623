//! What a source of COPY or ADD selects: wildcards, links that lead to it, `--exclude` and `--parents`.
//!
//! Knows nothing of the destination, so that the key of a step can be made of exactly what it reads.

use std::convert::Infallible;
use std::sync::Arc;

use crate::path::RelPath;
use crate::pattern::{Glob, Ignore, Trail, is_glob};
use crate::place::Error;
use crate::place::view::{Node, View, resolve};

/// How a source is selected.
#[derive(Debug, Clone, Copy, Default)]
pub struct SelectOptions<'a> {
    /// `--parents`: what stands behind `/./` (or all of it) is a pattern whose directories are kept.
    pub parents: bool,
    /// `--exclude`, in the order written; relative to each match.
    pub excludes: &'a [String],
}

/// What a source selects. It names directories, not what is in them: that is walked through whenever it is needed.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// What the path matched, in the order in which it is copied.
    pub matches: Vec<Match>,
}

/// One path that a source matched.
#[derive(Debug, Clone)]
pub struct Match {
    /// The path before its links are followed: its last name is the one under which a file lands.
    pub path: RelPath,
    /// The path that is read.
    pub real: RelPath,
    below: Below,
}

/// What is copied from below a match.
#[derive(Debug, Clone)]
enum Below {
    /// Nothing: it is no directory.
    Nothing,
    /// All there is.
    Everything,
    /// What the patterns leave.
    Filtered(Arc<Filter>),
}

/// An entry below a matched directory.
#[derive(Debug, Clone, Copy)]
pub struct Selected<'a, I> {
    /// The directory in which it is, relative to [`Match::real`].
    pub directory: &'a RelPath,
    /// Its name.
    pub name: &'a [u8],
    /// What is known of it.
    pub item: I,
    /// Why it is there.
    pub role: Role,
}

impl<I> Selected<'_, I> {
    /// Returns the path relative to [`Match::real`].
    pub fn path(&self) -> RelPath {
        self.directory.child(self.name)
    }
}

/// Why an entry is part of a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It was selected.
    Wanted,
    /// It is a directory that was not selected itself but holds something that was.
    Parent,
}

impl Selection {
    /// Returns every path that is read, in the order of the copy. A path can appear twice when matches overlap.
    pub fn paths(&self, view: &impl View) -> Vec<RelPath> {
        let mut paths = Vec::new();
        for found in &self.matches {
            paths.push(found.real.clone());
            let all: Result<(), Infallible> = found.walk(view, |selected| {
                paths.push(found.real.join(&selected.path()));
                Ok(())
            });
            let Ok(()) = all;
        }
        paths
    }
}

impl Match {
    /// Hands what is copied from below a directory of `view`, in which it was selected, to `visit`: in the order of
    /// paths, each parent that is only needed right before what is in it.
    ///
    /// # Errors
    /// The first that `visit` returns; it ends the walk.
    pub fn walk<'v, V: View, E>(
        &self,
        view: &'v V,
        visit: impl FnMut(Selected<'_, V::Item<'v>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut walk = Walk { view, top: &self.real, parents: Vec::new(), visit };
        match &self.below {
            Below::Nothing => Ok(()),
            Below::Everything => walk.everything(&RelPath::root()),
            Below::Filtered(filter) => walk.filtered(&RelPath::root(), filter, &filter.root()),
        }
    }
}

/// Selects what the source `path` names in `source`.
///
/// A path without wildcards must exist; a pattern may match nothing, which gives an empty selection.
///
/// # Errors
/// If a path does not exist, leads through something that is no directory, or an exclude pattern is malformed.
pub fn select(source: &impl View, path: &str, options: SelectOptions<'_>) -> Result<Selection, Error> {
    let (base, include) = if options.parents { split_pivot(path) } else { (path, None) };
    let filter = Arc::new(Filter::new(include, options.excludes)?);
    let base = RelPath::clean(base);
    let node = |path: &RelPath| source.node(path);
    let found = match split_wildcards(&base) {
        (fixed, Some(pattern)) => {
            let start = resolve(node, &fixed)?;
            source.node(&start).ok_or(Error::NotFound { path: fixed })?;
            expand(source, start, &pattern)
        }
        (fixed, None) => vec![fixed],
    };
    let mut selection = Selection::default();
    for path in found {
        let real = resolve(node, &path)?;
        let below = match source.node(&real) {
            None => return Err(Error::NotFound { path }),
            Some(Node::Directory) if filter.takes_everything() => Below::Everything,
            Some(Node::Directory) => Below::Filtered(Arc::clone(&filter)),
            Some(Node::Symlink(_) | Node::Leaf) => Below::Nothing,
        };
        selection.matches.push(Match { path, real, below });
    }
    if let Some(required) = filter.required_path(&base) {
        let exists = |found: &Match| {
            let is_other = |selected: Selected<'_, _>| match selected.role {
                Role::Wanted if selected.path().starts_with(&required) => Err(()),
                Role::Wanted | Role::Parent => Ok(()),
            };
            found.walk(source, is_other).is_err()
        };
        if !selection.matches.iter().any(exists) {
            return Err(Error::NotFound { path: base.join(&required) });
        }
    }
    Ok(selection)
}

/// Splits the source of a `--parents` copy at its pivot `/./`: where to begin, and the pattern from there.
fn split_pivot(path: &str) -> (&str, Option<RelPath>) {
    match path.split_once("/./") {
        Some((base, pattern)) => (base, Some(RelPath::clean(pattern))),
        None => ("", Some(RelPath::clean(path))),
    }
}

/// Splits `path` before its first component with a wildcard.
fn split_wildcards(path: &RelPath) -> (RelPath, Option<Vec<Vec<u8>>>) {
    let components: Vec<&[u8]> = path.components().collect();
    match components.iter().position(is_glob) {
        None => (path.clone(), None),
        Some(at) => {
            let fixed = RelPath::clean(components[..at].join(&b'/'));
            (fixed, Some(components[at..].iter().map(|component| component.to_vec()).collect()))
        }
    }
}

/// Returns what `pattern` matches below `start`, sorted; links are not followed on the way. A malformed
/// pattern matches nothing.
fn expand(source: &impl View, start: RelPath, pattern: &[Vec<u8>]) -> Vec<RelPath> {
    let mut found = vec![start];
    for component in pattern {
        let Ok(glob) = Glob::parse(component) else { return Vec::new() };
        let matching = |directory: &RelPath| -> Vec<RelPath> {
            let children = source.children(directory).map(|(name, _)| name);
            children.filter(|name| glob.matches(name)).map(|name| directory.child(name)).collect()
        };
        found = found.iter().flat_map(matching).collect();
    }
    found
}

/// `--parents` and `--exclude` as one question.
#[derive(Debug)]
struct Filter {
    include: Option<(RelPath, Ignore)>,
    exclude: Ignore,
}

impl Filter {
    fn new(include: Option<RelPath>, excludes: &[String]) -> Result<Self, Error> {
        let malformed = |source| Error::Pattern { source };
        // The pattern of the root selects everything.
        let include = match include.filter(|pattern| !pattern.is_root()) {
            Some(pattern) => {
                let matcher = Ignore::from_patterns([pattern.as_bytes()]).map_err(malformed)?;
                Some((pattern, matcher))
            }
            None => None,
        };
        let exclude = Ignore::from_patterns(excludes).map_err(malformed)?;
        Ok(Self { include, exclude })
    }

    /// Returns the path that a `--parents` source without wildcards demands.
    fn required_path(&self, base: &RelPath) -> Option<RelPath> {
        let (pattern, _) = self.include.as_ref()?;
        let fixed = |path: &RelPath| !path.components().any(is_glob);
        (fixed(base) && fixed(pattern)).then(|| pattern.clone())
    }

    /// Tells whether `path` is wanted, an entry of the directory that `parent` belongs to.
    fn step(&self, parent: &Trails, path: &RelPath) -> (bool, Trails) {
        let (excluded, exclude) = self.exclude.step(&parent.exclude, path);
        let (included, include) = match (&self.include, &parent.include) {
            (Some((_, matcher)), Some(trail)) => {
                let (verdict, trail) = matcher.step(trail, path);
                (verdict.excluded, Some(trail))
            }
            _ => (true, None),
        };
        let excluded = excluded.excluded;
        (included && !excluded, Trails { included, include, excluded, exclude })
    }

    fn takes_everything(&self) -> bool {
        self.include.is_none() && self.exclude.rules().is_empty()
    }

    fn root(&self) -> Trails {
        let include = self.include.as_ref().map(|(_, matcher)| matcher.root());
        Trails { included: include.is_none(), include, excluded: false, exclude: self.exclude.root() }
    }

    /// Tells whether something below the directory `path` may be wanted; it may say yes too often.
    fn reaches_below(&self, path: &RelPath, said: &Trails) -> bool {
        let includes = |(_, matcher): &(RelPath, Ignore)| said.included || matcher.may_match_below(path);
        self.include.as_ref().is_none_or(includes) && (!said.excluded || self.exclude.may_keep_below(path))
    }
}

/// What the patterns said about a directory.
struct Trails {
    included: bool,
    include: Option<Trail>,
    excluded: bool,
    exclude: Trail,
}

struct Walk<'a, 'v, V: View, F> {
    view: &'v V,
    top: &'a RelPath,
    /// The directories being walked that are not selected yet, outermost first: where each is, and what.
    parents: Vec<(RelPath, &'v [u8], V::Item<'v>)>,
    visit: F,
}

impl<'v, V: View, E, F: FnMut(Selected<'_, V::Item<'v>>) -> Result<(), E>> Walk<'_, 'v, V, F> {
    fn everything(&mut self, directory: &RelPath) -> Result<(), E> {
        for (name, item) in self.view.children(&self.top.join(directory)) {
            (self.visit)(Selected { directory, name, item, role: Role::Wanted })?;
            if item.into() == Node::Directory {
                self.everything(&directory.child(name))?;
            }
        }
        Ok(())
    }

    fn filtered(&mut self, directory: &RelPath, filter: &Filter, trails: &Trails) -> Result<(), E> {
        for (name, item) in self.view.children(&self.top.join(directory)) {
            let path = directory.child(name);
            let (wanted, trails) = filter.step(trails, &path);
            if wanted {
                for (directory, name, item) in self.parents.drain(..) {
                    (self.visit)(Selected { directory: &directory, name, item, role: Role::Parent })?;
                }
                (self.visit)(Selected { directory, name, item, role: Role::Wanted })?;
            }
            if item.into() != Node::Directory || !filter.reaches_below(&path, &trails) {
                continue;
            }
            let depth = self.parents.len();
            if !wanted {
                self.parents.push((directory.clone(), name, item));
            }
            self.filtered(&path, filter, &trails)?;
            // Those that turned out to be needed are gone already.
            self.parents.truncate(depth);
        }
        Ok(())
    }
}
