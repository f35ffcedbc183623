//! Putting selected files into a destination.

use std::collections::HashMap;
use std::sync::Arc;

use crate::digest::Digest;
use crate::mode::Chmod;
use crate::path::RelPath;
use crate::place::changed::{Destination, NewDirectory};
use crate::place::extract::Member;
use crate::place::{Entries, Error, Ids, Match, Role, Selection, Warning};
use crate::time::Timestamp;
use crate::tree::{Bytes, Changes, Entry, Kind, LinkGroup, Meta, Origin, Tree};

/// One source of a copy, found and ready to be put somewhere.
#[derive(Debug, Clone)]
pub enum Source<'a> {
    /// What a path selected.
    Selected {
        /// The path as written.
        pattern: &'a str,
        /// Where it was selected.
        entries: &'a dyn Entries,
        /// What it selected.
        selection: &'a Selection,
        /// Where the bytes of the files lie.
        bytes: Bytes,
    },
    /// The members of an archive that ADD extracts.
    Archive {
        /// The members, in the order of the archive.
        members: &'a [Member],
        /// Where the bytes of its files lie.
        bytes: Bytes,
    },
    /// A here-document.
    Inline {
        /// The file's name.
        name: &'a str,
        /// Its content.
        content: Arc<[u8]>,
    },
}

/// How files are put into the destination.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// An absolute path; a trailing slash (or `/.`) says that it is a directory.
    pub destination: &'a str,
    /// `--chown` as ids; see [`super::Owner`]. With `--link` names have no accounts to be found in.
    pub owner: Option<Ids>,
    /// `--chmod`
    pub chmod: Option<&'a Chmod>,
    /// `--link`
    pub link: bool,
    /// The time of what is made anew: parent directories and here-documents.
    pub now: Timestamp,
}

/// What a copy came to.
#[derive(Debug, Clone, Default)]
pub struct Placed {
    /// What differs from the view, with the directories above it.
    pub changes: Changes,
    /// What should be told to the user.
    pub warnings: Vec<Warning>,
}

impl Options<'_> {
    /// Tells whether the result depends on the destination. With `--link` it does not, except together with
    /// `--chmod`, which makes it a plain copy (as in BuildKit).
    pub const fn sees_destination(&self) -> bool {
        !self.link || self.chmod.is_some()
    }

    /// Directories made on the way get an octal `--chmod`, without the special bits; a symbolic one has no
    /// mode to begin with.
    fn new_directory(&self) -> NewDirectory {
        let mode = match self.chmod {
            Some(Chmod::Octal(mode)) => mode & 0o777,
            Some(Chmod::Symbolic(_)) | None => 0o755,
        };
        NewDirectory { mode, owner: self.owner.unwrap_or_default(), mtime: self.now }
    }

    fn mode(&self, entry: &Entry) -> u16 {
        match (&entry.kind, self.chmod) {
            (Kind::Symlink { .. }, _) | (_, None) => entry.meta.mode,
            (_, Some(chmod)) => chmod.apply(entry.meta.mode, entry.is_directory()),
        }
    }

    /// Returns `entry` as it arrives: with the owner and the mode that were asked for.
    fn arriving(&self, entry: &Entry) -> Entry {
        let Ids { uid, gid } = self.owner.unwrap_or(Ids { uid: entry.meta.uid, gid: entry.meta.gid });
        let meta = Meta { mode: self.mode(entry), uid, gid, ..entry.meta.clone() };
        Entry { meta, kind: entry.kind.clone() }
    }
}

/// Puts `sources` into `view`, one after the other.
///
/// # Errors
/// If a file would have to replace a directory or a directory something else, or a path of the destination
/// leads through something that is no directory.
pub fn place(view: &Tree, sources: &[Source<'_>], options: &Options<'_>) -> Result<Placed, Error> {
    let empty = Tree::empty();
    let view = if options.sees_destination() { view } else { &empty };
    let mut placing = Placing {
        destination: Destination::new(view),
        options,
        origins: HashMap::new(),
        next_group: 0,
        warnings: Vec::new(),
    };
    for (index, source) in sources.iter().enumerate() {
        placing.put_source(index, source)?;
    }
    Ok(Placed { changes: placing.destination.into_changes(), warnings: placing.warnings })
}

/// A copy while it is being done.
pub(super) struct Placing<'a> {
    pub(super) destination: Destination<'a>,
    pub(super) options: &'a Options<'a>,
    /// The origins so far by source, place there and place here.
    origins: HashMap<(usize, RelPath, RelPath), u16>,
    next_group: u64,
    warnings: Vec<Warning>,
}

impl Placing<'_> {
    fn put_source(&mut self, index: usize, source: &Source<'_>) -> Result<(), Error> {
        match source {
            Source::Selected { pattern, entries, selection, bytes } => {
                if selection.matches.is_empty() {
                    self.warnings.push(Warning::NoMatch { pattern: (*pattern).to_owned() });
                }
                for found in &selection.matches {
                    let entry = entries.entry(&found.real);
                    let entry = entry.ok_or_else(|| Error::NotFound { path: found.path.clone() })?;
                    if entry.is_directory() {
                        self.put_directory(index, *entries, &entry, found, bytes)?;
                    } else {
                        let name = found.path.file_name().expect("only a directory stands at the root");
                        self.put_file(index, name, &entry, &found.real, bytes)?;
                    }
                }
                Ok(())
            }
            Source::Archive { members, bytes } => self.put_archive(index, members, bytes),
            Source::Inline { name, content } => {
                let kind = Kind::File { size: content.len() as u64, digest: Digest::of(content), link: None };
                let entry = Entry { meta: Meta::root_owned(0o644, self.options.now), kind };
                let name = RelPath::clean(name);
                let base = name.file_name().ok_or_else(|| Error::NotFound { path: name.clone() })?;
                self.put_file(index, base, &entry, &name, &Bytes::Inline(Arc::clone(content)))
            }
        }
    }

    /// Puts one entry that is no directory: inside the destination if that is a directory, else as it.
    fn put_file(
        &mut self,
        index: usize,
        name: &[u8],
        entry: &Entry,
        at: &RelPath,
        bytes: &Bytes,
    ) -> Result<(), Error> {
        let mut target = self.prepare()?;
        let inside = self.destination.is_directory(&target) || target.is_root();
        if inside {
            target = target.child(name);
        } else if self.destination.was_put(&target) {
            self.warnings.push(Warning::Overwritten { path: target.clone() });
        }
        let parent = target.parent().unwrap_or_default();
        self.make_directories(&parent)?;
        let entry = unlinked(self.options.arriving(entry));
        let origin = self.file_origin(index, at, &target, bytes)?;
        self.put_leaf(&target, entry, origin)
    }

    /// Puts what was selected below a directory into the destination.
    fn put_directory(
        &mut self,
        index: usize,
        entries: &dyn Entries,
        top: &Entry,
        found: &Match,
        bytes: &Bytes,
    ) -> Result<(), Error> {
        let target = self.prepare()?;
        match self.destination.get(&target) {
            Some(existing) if !existing.is_directory() => {
                return Err(Error::DirectoryOverFile { path: target });
            }
            Some(_) => {}
            None => self.make_directories(&target)?,
        }
        let mut groups = Groups::of(entries, found)?;
        let mut origin = None;
        // Most entries lie in the directory of the one before.
        let mut last: Option<(RelPath, RelPath)> = None;
        entries.below(found, &mut |selected| {
            let to = match &last {
                Some((directory, to)) if directory == selected.directory => to.child(selected.name),
                Some(_) | None => {
                    let to = target.join(selected.directory);
                    let child = to.child(selected.name);
                    last = Some((selected.directory.clone(), to));
                    child
                }
            };
            let entry = selected.item;
            if entry.is_directory() {
                return self.put_nested_directory(&to, entry, selected.role);
            }
            let mut arriving = self.options.arriving(entry);
            let mut index_of_bytes = 0;
            if let Kind::File { link, .. } = &mut arriving.kind {
                *link = link.and_then(|group| groups.renumbered(group, || self.fresh_group()));
                index_of_bytes = match origin {
                    Some(origin) => origin,
                    None => {
                        let place = (index, found.real.clone(), target.clone());
                        *origin.insert(self.origin(place, bytes)?)
                    }
                };
            }
            self.put_leaf(&to, arriving, index_of_bytes)
        })?;
        // The top directory is never the source's, but it takes its time, new or not.
        if let Some(mut entry) = self.destination.get(&target) {
            entry.meta.mtime = top.meta.mtime;
            self.destination.put(&target, entry, 0);
        }
        Ok(())
    }

    fn put_nested_directory(&mut self, to: &RelPath, entry: &Entry, role: Role) -> Result<(), Error> {
        let mut arriving = self.options.arriving(entry);
        if let Some(existing) = self.destination.get(to) {
            if !existing.is_directory() {
                return Err(Error::DirectoryOverFile { path: to.clone() });
            }
            match role {
                Role::Wanted => {
                    let kept = existing.meta.xattrs.iter().flat_map(|xattrs| xattrs.iter());
                    let brought = arriving.meta.xattrs.iter().flat_map(|xattrs| xattrs.iter());
                    let both: crate::tree::Xattrs =
                        kept.chain(brought).map(|(name, value)| (name.clone(), value.clone())).collect();
                    arriving.meta.xattrs = (!both.is_empty()).then(|| Arc::new(both));
                }
                // Of a directory on the way only the mode counts, and not that of `--chmod`.
                Role::Parent => {
                    arriving = existing;
                    arriving.meta.mode = entry.meta.mode;
                }
            }
        }
        self.destination.put(to, arriving, 0);
        Ok(())
    }

    fn put_leaf(&mut self, to: &RelPath, entry: Entry, origin: u16) -> Result<(), Error> {
        if self.destination.is_directory(to) {
            return Err(Error::FileOverDirectory { path: to.clone() });
        }
        self.destination.put(to, entry, origin);
        Ok(())
    }

    /// Makes what the destination's text demands to exist, and follows the links that lead to it.
    fn prepare(&mut self) -> Result<RelPath, Error> {
        let text = self.options.destination;
        let path = RelPath::clean(text);
        let is_directory = text.ends_with('/') || text.ends_with("/.");
        let demanded = if is_directory { path.clone() } else { path.parent().unwrap_or_default() };
        let demanded = self.destination.resolve(&demanded)?;
        self.make_directories(&demanded)?;
        self.destination.resolve(&path)
    }

    /// Returns a link group that no other file of this copy has.
    pub(super) const fn fresh_group(&mut self) -> LinkGroup {
        let group = LinkGroup(self.next_group);
        self.next_group += 1;
        group
    }

    fn make_directories(&mut self, path: &RelPath) -> Result<(), Error> {
        let new = self.options.new_directory();
        let made = self.destination.make_directories(path, new)?;
        if new.mode & 0o111 == 0 {
            let unsearchable = |path| Warning::UnsearchableDirectory { path, mode: new.mode };
            self.warnings.extend(made.into_iter().map(unsearchable));
        }
        Ok(())
    }

    /// Returns the origin of a single file. Files that keep their names share one for their directory.
    pub(super) fn file_origin(
        &mut self,
        index: usize,
        at: &RelPath,
        to: &RelPath,
        bytes: &Bytes,
    ) -> Result<u16, Error> {
        let place = match (at.parent(), to.parent(), bytes) {
            (Some(at_parent), Some(to_parent), Bytes::Directory(_)) if at.file_name() == to.file_name() => {
                (index, at_parent, to_parent)
            }
            _ => (index, at.clone(), to.clone()),
        };
        self.origin(place, bytes)
    }

    pub(super) fn origin(&mut self, place: (usize, RelPath, RelPath), bytes: &Bytes) -> Result<u16, Error> {
        if let Some(known) = self.origins.get(&place) {
            return Ok(*known);
        }
        let (_, at, to) = place.clone();
        let index = self.destination.add_origin(Origin { bytes: bytes.clone(), at, to })?;
        self.origins.insert(place, index);
        Ok(index)
    }
}

/// A file that is copied by itself is linked to nothing.
fn unlinked(mut entry: Entry) -> Entry {
    if let Kind::File { link, .. } = &mut entry.kind {
        *link = None;
    }
    entry
}

/// The link groups of one match: those with at least two names in it stay together, under new numbers.
struct Groups {
    names: HashMap<LinkGroup, usize>,
    renumbered: HashMap<LinkGroup, LinkGroup>,
}

impl Groups {
    fn of(entries: &dyn Entries, found: &Match) -> Result<Self, Error> {
        let mut names = HashMap::new();
        // Most sources have none, and are not looked through.
        if !entries.is_without_links() {
            entries.below(found, &mut |selected| {
                if let Kind::File { link: Some(group), .. } = selected.item.kind {
                    *names.entry(group).or_insert(0) += 1;
                }
                Ok(())
            })?;
        }
        Ok(Self { names, renumbered: HashMap::new() })
    }

    /// Returns the number in this copy of the source's `group`; `None` if the file is its only name here.
    fn renumbered(&mut self, group: LinkGroup, fresh: impl FnOnce() -> LinkGroup) -> Option<LinkGroup> {
        if *self.names.get(&group)? < 2 {
            return None;
        }
        Some(*self.renumbered.entry(group).or_insert_with(fresh))
    }
}
