//! What a source of COPY or ADD selects: wildcards, links that lead to it, `--exclude` and `--parents`.
//!
//! Knows nothing of the destination, so that the key of a step can be made of exactly what it reads.

use crate::path::RelPath;
use crate::pattern::Ignore;
use crate::place::view::{Node, View, resolve};
use crate::place::{Error, glob};

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
            found.below.iter().any(|selected| selected.role == Role::Wanted && selected.path.starts_with(&required))
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
    match components.iter().position(|component| glob::has_wildcard(component)) {
        None => (path.clone(), None),
        Some(at) => {
            let fixed = RelPath::clean(components[..at].join(&b'/'));
            (fixed, Some(components[at..].iter().map(|component| component.to_vec()).collect()))
        }
    }
}

/// Returns what `pattern` matches below `start`, sorted; links are not followed on the way.
fn expand(source: &impl View, start: RelPath, pattern: &[Vec<u8>]) -> Vec<RelPath> {
    let mut found = vec![start];
    for component in pattern {
        let matching = |directory: &RelPath| -> Vec<RelPath> {
            let children = source.children(directory).map(|(name, _)| name);
            children.filter(|name| glob::matches(component, name)).map(|name| directory.child(name)).collect()
        };
        found = found.iter().flat_map(matching).collect();
    }
    found
}

/// `--parents` and `--exclude` as one question.
struct Filter {
    include: Option<(RelPath, Ignore)>,
    exclude: Option<Ignore>,
}

impl Filter {
    fn new(include: Option<RelPath>, excludes: &[String]) -> Result<Self, Error> {
        let compile = |patterns: &[&[u8]]| {
            Ignore::from_patterns(patterns.iter().copied()).map_err(|source| Error::Pattern { source })
        };
        // The pattern of the root selects everything.
        let include = include.filter(|pattern| !pattern.is_root());
        let include = match include {
            Some(pattern) => Some((pattern.clone(), compile(&[pattern.as_bytes()])?)),
            None => None,
        };
        let excludes: Vec<&[u8]> = excludes.iter().map(String::as_bytes).collect();
        let exclude = if excludes.is_empty() { None } else { Some(compile(&excludes)?) };
        Ok(Self { include, exclude })
    }

    /// Returns the path that a `--parents` source without wildcards demands.
    fn required_path(&self, base: &RelPath) -> Option<RelPath> {
        let (pattern, _) = self.include.as_ref()?;
        let fixed = |path: &RelPath| !path.components().any(glob::has_wildcard);
        (fixed(base) && fixed(pattern)).then(|| pattern.clone())
    }

    fn wants(&self, path: &RelPath) -> bool {
        self.include.as_ref().is_none_or(|(_, include)| include.matches(path))
            && !self.exclude.as_ref().is_some_and(|exclude| exclude.matches(path))
    }

    /// Lists what is wanted below the directory `top`, each parent that is only needed right before it.
    fn walk(&self, source: &impl View, top: &RelPath) -> Vec<Selected> {
        let mut selected = Vec::new();
        self.walk_below(source, top, &RelPath::root(), &mut Vec::new(), &mut selected);
        selected
    }

    fn walk_below(
        &self,
        source: &impl View,
        top: &RelPath,
        directory: &RelPath,
        parents: &mut Vec<RelPath>,
        selected: &mut Vec<Selected>,
    ) {
        for (name, node) in source.children(&top.join(directory)) {
            let path = directory.child(name);
            let wanted = self.wants(&path);
            if wanted {
                selected.extend(parents.drain(..).map(|path| Selected { path, role: Role::Parent }));
                selected.push(Selected { path: path.clone(), role: Role::Wanted });
            }
            if node == Node::Directory {
                if !wanted {
                    parents.push(path.clone());
                }
                self.walk_below(source, top, &path, parents, selected);
                if !wanted && parents.last() == Some(&path) {
                    parents.pop();
                }
            }
        }
    }
}
