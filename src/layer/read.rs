//! Reading a layer: what it changes, and its files' contents on the way.
//!
//! In goes an uncompressed tar, out come [`Changes`] with the digest of every file, and every item goes to a
//! [`Sink`] in the order of the tar, contents included: whoever extracts the layer, or wants a single file of
//! it, does so in the same pass.
//!
//! Rules:
//! * Names are cleaned as if the layer's root were `/`: nothing leads out of it.
//! * Whiteouts only hide what lower layers have, wherever in the tar they stand.
//! * Of two members of one name the later counts, as it does when the layer is extracted; a directory over a
//!   directory keeps what is in it.
//! * A hard link has the metadata of what it links to, and that must be in the layer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::Arc;

use super::tar::{self, Member, Reader, Type};
use super::{CAPABILITY, OPAQUE_NAME, WHITEOUT_META_PREFIX, WHITEOUT_PREFIX};
use crate::digest::{DiffId, Digest};
use crate::path::RelPath;
use crate::time::Timestamp;
use crate::tree::{Change, Changes, Entry, Kind, LinkGroup, List, Meta};

/// Why a layer or an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stream gave out: the file, the connection or the decompressor.
    #[error("cannot read the archive")]
    Stream(#[source] io::Error),
    /// The bytes are no tar, or none that a layer may be.
    #[error("the archive is damaged at byte {offset}: {what}")]
    Damaged {
        /// How far the archive was read.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A whiteout that names nothing.
    #[error("the whiteout `{path}` names nothing")]
    Whiteout {
        /// The member.
        path: RelPath,
    },
    /// A hard link to something that is not in the archive, or comes later.
    #[error("`{path}` is a hard link to `{target}`, which is not in the archive before it")]
    LinkTarget {
        /// The link.
        path: RelPath,
        /// What it should be linked to.
        target: RelPath,
    },
    /// The root of the tree is no directory.
    #[error("the archive has something other than a directory for its root")]
    Root,
    /// A content could not be read to its end, or the sink could not take it.
    #[error("cannot take `{path}` out of the archive")]
    Take {
        /// The member.
        path: RelPath,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

/// What comes by while a layer is read.
pub enum Item<'a> {
    /// Anything but a regular file: its kind says which.
    Entry {
        /// Mode, owner, time, attributes.
        meta: &'a Meta,
        /// What it is; never [`Kind::File`].
        kind: &'a Kind,
    },
    /// A regular file.
    File {
        /// Mode, owner, time, attributes.
        meta: &'a Meta,
        /// The length of its content.
        size: u64,
        /// Its content; what the sink leaves is read (for the digest) and dropped.
        content: &'a mut dyn Read,
    },
    /// One more name for a file that came by before.
    Link {
        /// The other name.
        target: &'a RelPath,
    },
    /// The path is gone from the lower layers.
    Whiteout,
    /// What the lower layers have below the path is gone.
    Opaque,
}

/// Takes what is in a layer, in the order of the tar.
pub trait Sink {
    /// Takes one item. Later items may replace it.
    ///
    /// # Errors
    /// Whatever the sink cannot do; reading stops and fails with it.
    fn take(&mut self, path: &RelPath, item: Item<'_>) -> io::Result<()>;
}

/// The sink for those who want the [`Changes`] alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

impl Sink for Discard {
    fn take(&mut self, _path: &RelPath, _item: Item<'_>) -> io::Result<()> {
        Ok(())
    }
}

/// Reads an uncompressed layer to the end of the stream; returns what is in it and its diff id.
///
/// # Errors
/// If the stream fails, is no tar or breaks a rule of layers, or if the sink fails.
pub fn read(stream: impl Read, sink: &mut dyn Sink) -> Result<(Changes, DiffId), Error> {
    let (changes, digest) = read_tar(Reader::hashing(stream), sink, Whiteouts::Decode)?;
    Ok((changes, DiffId(digest.expect("the reader hashes the stream"))))
}

/// What names of whiteouts mean.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whiteouts {
    /// What is gone from lower layers.
    Decode,
    /// Nothing: they are names like others.
    Literal,
}

pub(super) fn read_tar(
    mut reader: Reader<impl Read>,
    sink: &mut dyn Sink,
    whiteouts: Whiteouts,
) -> Result<(Changes, Option<Digest>), Error> {
    let mut layer = Assembly::default();
    let mut scratch = vec![0; 64 * 1024];
    loop {
        let member = match reader.next() {
            Ok(Some(member)) => member,
            Ok(None) => break,
            Err(error) => return Err(Error::of(error, reader.offset())),
        };
        let path = RelPath::clean(&member.path);
        let mark = if whiteouts == Whiteouts::Decode { Mark::of(&path)? } else { None };
        match mark {
            Some(mark) => layer.mark(mark, sink)?,
            // What an archive says of its root is nobody's business, even if it is nonsense.
            None if whiteouts == Whiteouts::Literal && path.is_root() => {}
            None => layer.member(path, member, &mut reader, sink, &mut scratch)?,
        }
    }
    let offset = reader.offset();
    let digest = reader.drain().map_err(|error| Error::of(error, offset))?;
    Ok((layer.finish(), digest))
}

impl Error {
    fn of(error: tar::Error, offset: u64) -> Self {
        match error {
            tar::Error::Stream(source) => Self::Stream(source),
            tar::Error::Damaged(what) => Self::Damaged { offset, what },
        }
    }
}

/// What a whiteout's name says.
enum Mark {
    Whiteout(RelPath),
    Opaque(RelPath),
    /// One of the names that AUFS kept for itself.
    Meaningless,
}

impl Mark {
    fn of(path: &RelPath) -> Result<Option<Self>, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        if name == OPAQUE_NAME {
            return Ok(Some(Self::Opaque(parent)));
        }
        if name.starts_with(WHITEOUT_META_PREFIX) {
            return Ok(Some(Self::Meaningless));
        }
        match name.strip_prefix(WHITEOUT_PREFIX) {
            None => Ok(None),
            Some(b"" | b"." | b"..") => Err(Error::Whiteout { path: path.clone() }),
            Some(hidden) => Ok(Some(Self::Whiteout(parent.child(hidden)))),
        }
    }
}

/// The layer as far as it was read.
#[derive(Default)]
struct Assembly {
    entries: BTreeMap<RelPath, Entry>,
    whiteouts: BTreeSet<RelPath>,
    opaques: BTreeSet<RelPath>,
    groups: u64,
}

impl Assembly {
    fn mark(&mut self, mark: Mark, sink: &mut dyn Sink) -> Result<(), Error> {
        let (path, item) = match mark {
            Mark::Meaningless => return Ok(()),
            Mark::Whiteout(path) => {
                self.whiteouts.insert(path.clone());
                (path, Item::Whiteout)
            }
            Mark::Opaque(path) => {
                self.opaques.insert(path.clone());
                (path, Item::Opaque)
            }
        };
        sink.take(&path, item).map_err(|source| Error::Take { path, source })
    }

    fn member<R: Read>(
        &mut self,
        path: RelPath,
        member: Member,
        reader: &mut Reader<R>,
        sink: &mut dyn Sink,
        scratch: &mut [u8],
    ) -> Result<(), Error> {
        if path.is_root() && member.kind != Type::Directory {
            return Err(Error::Root);
        }
        let meta = meta_of(&member);
        let take_error = |source| Error::Take { path: path.clone(), source };
        let (major, minor) = (member.major, member.minor);
        let kind = match member.kind {
            Type::File => {
                let mut content = reader.content();
                let item = Item::File { meta: &meta, size: member.size, content: &mut content };
                sink.take(&path, item).map_err(take_error)?;
                let digest = content.finish(scratch).map_err(take_error)?;
                Kind::File { size: member.size, digest, link: None }
            }
            Type::HardLink => {
                let target = RelPath::clean(&member.link);
                let entry = self.link(&path, &target)?;
                sink.take(&path, Item::Link { target: &target }).map_err(take_error)?;
                if target != path {
                    self.put(path, entry);
                }
                return Ok(());
            }
            Type::Symlink => Kind::Symlink { target: member.link.into() },
            Type::CharDevice => Kind::CharDevice { major, minor },
            Type::BlockDevice => Kind::BlockDevice { major, minor },
            Type::Directory => Kind::Directory,
            Type::Fifo => Kind::Fifo,
        };
        if !matches!(kind, Kind::File { .. }) {
            sink.take(&path, Item::Entry { meta: &meta, kind: &kind }).map_err(take_error)?;
        }
        self.put(path, Entry { meta, kind });
        Ok(())
    }

    /// Returns the entry of one more name for `target`, which becomes a member of a link group.
    fn link(&mut self, path: &RelPath, target: &RelPath) -> Result<Entry, Error> {
        let missing = || Error::LinkTarget { path: path.clone(), target: target.clone() };
        let entry = self.entries.get_mut(target).ok_or_else(missing)?;
        match &mut entry.kind {
            Kind::Directory => return Err(missing()),
            Kind::File { link, .. } => {
                link.get_or_insert_with(|| {
                    self.groups += 1;
                    LinkGroup(self.groups - 1)
                });
            }
            // The names of one symlink, device or pipe are indistinguishable from several of them.
            Kind::Symlink { .. } | Kind::CharDevice { .. } | Kind::BlockDevice { .. } | Kind::Fifo => {}
        }
        Ok(entry.clone())
    }

    fn put(&mut self, path: RelPath, entry: Entry) {
        if !entry.is_directory() {
            let mut below = Vec::new();
            for (other, _) in
                self.entries.range(path.clone()..).take_while(|(other, _)| other.starts_with(&path))
            {
                below.push(other.clone());
            }
            for other in below {
                self.entries.remove(&other);
            }
        }
        self.entries.insert(path, entry);
    }

    fn finish(mut self) -> Changes {
        for path in &self.whiteouts {
            // What the layer puts in the place of something replaces it anyway, except that a directory
            // would be merged with one in the lower layers.
            if self.entries.get(path).is_some_and(Entry::is_directory) {
                self.opaques.insert(path.clone());
            }
        }
        let entries = &self.entries;
        self.whiteouts.retain(|path| !entries.contains_key(path));
        self.opaques.retain(|path| {
            entries.get(path).is_none_or(Entry::is_directory) && !self.whiteouts.contains(path)
        });
        let upserts = self.entries.into_iter().map(|(path, entry)| Change::Upsert { path, entry, origin: 0 });
        let whiteouts = self.whiteouts.into_iter().map(|path| Change::Whiteout { path });
        let opaques = self.opaques.into_iter().map(|path| Change::Opaque { path });
        // An opaque mark stays behind the entry of its directory.
        Changes { list: List::sorted(upserts.chain(whiteouts).chain(opaques).collect()), origins: Vec::new() }
    }
}

fn meta_of(member: &Member) -> Meta {
    let xattrs = member
        .capability
        .as_ref()
        .map(|capability| Arc::new(BTreeMap::from([(Box::from(CAPABILITY), capability.clone())])));
    Meta { mode: member.mode, uid: member.uid, gid: member.gid, mtime: Timestamp(member.mtime), xattrs }
}

#[cfg(test)]
mod tests;
