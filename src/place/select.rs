//! What a source of COPY or ADD selects: wildcards, links that lead to it, `--exclude` and `--parents`.
//!
//! Knows nothing of the destination, so that the key of a step can be made of exactly what it reads.

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

/// What a source selects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// What the path matched, in the order in which it is copied.
    pub matches: Vec<Match>,
}

/// One path that a source matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The path before its links are followed: its last name is the one under which a file lands.
    pub path: RelPath,
    /// The path that is read.
    pub real: RelPath,
    /// What is copied from below a directory, parents first; empty for anything else.
    pub below: Vec<Selected>,
}

/// An entry below a matched directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// The path relative to [`Match::real`].
    pub path: RelPath,
    /// Why it is there.
    pub role: Role,
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
    pub fn paths(&self) -> impl Iterator<Item = RelPath> + '_ {
        self.matches.iter().flat_map(|found| {
            let below = found.below.iter().map(|selected| found.real.join(&selected.path));
            std::iter::once(found.real.clone()).chain(below)
        })
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
    let filter = Filter::new(include, options.excludes)?;
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
            Some(Node::Directory) => filter.walk(source, &real),
            Some(Node::Symlink(_) | Node::Leaf) => Vec::new(),
        };
        selection.matches.push(Match { path, real, below });
    }
    if let Some(required) = filter.required_path(&base) {
        let exists = |found: &Match| {
            found
                .below
                .iter()
                .any(|selected| selected.role == Role::Wanted && selected.path.starts_with(&required))
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
        (included && !excluded.excluded, Trails { include, exclude })
    }

    /// Lists what is wanted below the directory `top`, each parent that is only needed right before it.
    fn walk(&self, source: &impl View, top: &RelPath) -> Vec<Selected> {
        let trails = Trails {
            include: self.include.as_ref().map(|(_, matcher)| matcher.root()),
            exclude: self.exclude.root(),
        };
        let mut walk = Walk { filter: self, source, top, parents: Vec::new(), selected: Vec::new() };
        walk.below(&RelPath::root(), &trails);
        walk.selected
    }
}

/// What the patterns said about a directory.
struct Trails {
    include: Option<Trail>,
    exclude: Trail,
}

struct Walk<'a, V> {
    filter: &'a Filter,
    source: &'a V,
    top: &'a RelPath,
    /// The directories being walked that are not selected yet, outermost first.
    parents: Vec<RelPath>,
    selected: Vec<Selected>,
}

impl<V: View> Walk<'_, V> {
    fn below(&mut self, directory: &RelPath, trails: &Trails) {
        for (name, node) in self.source.children(&self.top.join(directory)) {
            let path = directory.child(name);
            let (wanted, trails) = self.filter.step(trails, &path);
            if wanted {
                let parents = self.parents.drain(..);
                self.selected.extend(parents.map(|path| Selected { path, role: Role::Parent }));
                self.selected.push(Selected { path: path.clone(), role: Role::Wanted });
            }
            if node == Node::Directory {
                if !wanted {
                    self.parents.push(path.clone());
                }
                self.below(&path, &trails);
                if !wanted && self.parents.last() == Some(&path) {
                    self.parents.pop();
                }
            }
        }
    }
}
