//! ADD of a local archive: its members put below the destination, as moby's `go-archive` does it.
//!
//! Unlike a copy, an archive replaces whatever is in its way, directories too; `--chmod` does not count.

use std::collections::HashMap;

use crate::path::RelPath;
use crate::place::changed::NewDirectory;
use crate::place::copy::Placing;
use crate::place::view::resolve;
use crate::place::{Error, Ids};
use crate::tree::{Bytes, Entry, Kind, LinkGroup};

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name in the archive, clean.
    pub path: RelPath,
    /// What it is. Hard links are files with the entry of their target and its link group.
    pub entry: Entry,
    /// Where a file's bytes lie in the place that holds the archive's bytes.
    pub at: RelPath,
}

impl Placing<'_> {
    /// Puts `members` in their order below the destination, which is a directory in any case: made 0755 with
    /// the owner of `--chown`. Directories that the archive implies belong to root.
    ///
    /// Links in the destination are followed as if the destination were the root.
    pub(super) fn put_archive(
        &mut self,
        index: usize,
        members: &[Member],
        bytes: &Bytes,
    ) -> Result<(), Error> {
        let top = self.destination.resolve(&RelPath::clean(self.options.destination))?;
        let owner = self.options.owner.unwrap_or_default();
        let mtime = self.options.now;
        self.destination.make_directories(&top, NewDirectory { mode: 0o755, owner, mtime })?;
        let implied = NewDirectory { mode: 0o755, owner: Ids::default(), mtime };
        let mut groups: HashMap<LinkGroup, LinkGroup> = HashMap::new();
        for member in members {
            // The archive's own `.` does not alter the destination.
            let (Some(parent), Some(name)) = (member.path.parent(), member.path.file_name()) else {
                continue;
            };
            let parent = resolve(|path| self.destination.node(&top.join(path)), &parent)?;
            self.destination.make_directories(&top.join(&parent), implied)?;
            let to = top.join(&parent).child(name);
            let mut entry = member.entry.clone();
            if let Some(Ids { uid, gid }) = self.options.owner {
                (entry.meta.uid, entry.meta.gid) = (uid, gid);
            }
            let mut origin = 0;
            if let Kind::File { link, .. } = &mut entry.kind {
                *link = link.map(|group| *groups.entry(group).or_insert_with(|| self.fresh_group()));
                let in_place = to.strip_prefix(&top).as_ref() == Some(&member.at);
                origin = if in_place {
                    self.origin((index, RelPath::root(), top.clone()), bytes)?
                } else {
                    self.file_origin(index, &member.at, &to, bytes)?
                };
            }
            self.destination.replace(&to, entry, origin);
        }
        Ok(())
    }
}
