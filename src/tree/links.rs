//! Which hard links a layer must carry though nothing else about them has changed.
//!
//! The numbers of link groups mean something in one tree only, so two trees are compared by which names go
//! together. That needs every name of both trees, but only if something about links can have changed at all;
//! [`Links`] finds that out while the trees are compared.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;

use super::{Change, Entry, Kind, LinkGroup, List, Tree};
use crate::path::RelPath;

/// What the comparison of two trees saw of links.
#[derive(Default)]
pub(super) struct Links {
    /// A file that has other names changed, or a file's group is numbered differently.
    touched: bool,
}

const fn group(entry: &Entry) -> Option<LinkGroup> {
    match entry.kind {
        Kind::File { link, .. } => link,
        _ => None,
    }
}

impl Links {
    /// Notes two entries at one path.
    pub(super) fn see(&mut self, lower: &Entry, upper: &Entry) {
        self.touched |= group(lower) != group(upper);
    }

    /// Notes an entry that is new or has changed.
    pub(super) fn changed(&mut self, upper: &Entry) {
        self.touched |= group(upper).is_some();
    }

    /// Returns the files of `upper` that must be in a layer because of their links, given the other
    /// `changes`; some may be among these already.
    pub(super) fn travelling(&self, lower: &Tree, upper: &Tree, changes: &List) -> BTreeSet<RelPath> {
        if !self.touched {
            return BTreeSet::new();
        }
        let changed: HashSet<RelPath> = changes.iter().map(|change| change.path().clone()).collect();
        let names = unchanged_names(lower, upper, &changed);
        // A group of the layer travels if one of its names has changed.
        let mut whole: HashSet<LinkGroup> = HashSet::new();
        for change in changes {
            if let Change::Upsert { entry, .. } = change {
                whole.extend(group(&entry));
            }
        }
        // Among the unchanged names, those of one lower group must be one upper group and the other way
        // round; where they are not, they all travel.
        let split = mixed(names.iter().filter_map(|name| Some((name.lower?, name.upper_key()))));
        let joined = mixed(names.iter().filter_map(|name| Some((name.upper?, name.lower_key()))));
        whole.extend(joined);
        let mut travelling = BTreeSet::new();
        for name in &names {
            if name.lower.is_some_and(|group| split.contains(&group)) {
                whole.extend(name.upper);
                travelling.insert(name.path.clone());
            }
        }
        let members = names.iter().filter(|name| name.upper.is_some_and(|group| whole.contains(&group)));
        travelling.extend(members.map(|name| name.path.clone()));
        travelling
    }
}

/// A file that both trees have and that has other names in one of them.
struct Name {
    path: RelPath,
    index: usize,
    lower: Option<LinkGroup>,
    upper: Option<LinkGroup>,
}

/// The group of a name, where a name without group is a group of its own.
type Key = Result<LinkGroup, usize>;

impl Name {
    fn upper_key(&self) -> Key {
        self.upper.ok_or(self.index)
    }

    fn lower_key(&self) -> Key {
        self.lower.ok_or(self.index)
    }
}

fn unchanged_names(lower: &Tree, upper: &Tree, changed: &HashSet<RelPath>) -> Vec<Name> {
    let mut below = lower.iter().peekable();
    let mut names = Vec::new();
    for (path, entry) in upper.iter() {
        while below.next_if(|(lower_path, _)| *lower_path < path).is_some() {}
        let Some((_, lower_entry)) = below.next_if(|(lower_path, _)| *lower_path == path) else { continue };
        let (lower, upper) = (group(lower_entry), group(entry));
        if (lower.is_some() || upper.is_some()) && !changed.contains(&path) {
            names.push(Name { path, index: names.len(), lower, upper });
        }
    }
    names
}

/// Returns the groups that stand with more than one key.
fn mixed<G: Eq + Hash + Copy>(pairs: impl Iterator<Item = (G, Key)>) -> HashSet<G> {
    let mut first: HashMap<G, Key> = HashMap::new();
    let mut mixed = HashSet::new();
    for (group, key) in pairs {
        if *first.entry(group).or_insert(key) != key {
            mixed.insert(group);
        }
    }
    mixed
}
