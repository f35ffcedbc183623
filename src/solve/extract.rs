//! ADD of local archives: which sources are archives, and what is in them.

use std::io;
use std::sync::Arc;

use super::Workshop;
use super::bytes::Picker;
use super::error::Cause;
use super::inputs::Chosen;
use crate::context::Files;
use crate::layer;
use crate::path::RelPath;
use crate::place::{Match, Member, Selection};
use crate::store::{Scratch, Store};
use crate::tree::{Bytes, Change, Entry, Kind, Tree};

/// One source of an ADD, by what becomes of it.
pub(super) enum Part {
    /// Put in place as it is.
    Plain(Selection),
    /// Taken apart.
    Archive { members: Vec<Member>, bytes: Bytes, scratch: Scratch },
}

/// Splits what a source selects into archives and the rest, in the order of the matches.
pub(super) fn split(chosen: &Chosen, bytes: &Bytes, workshop: &Workshop<'_>) -> Result<Vec<Part>, Cause> {
    if chosen.selection.matches.is_empty() {
        return Ok(vec![Part::Plain(Selection::default())]);
    }
    let part = |found: &Match| match open_archive(found, chosen, bytes)? {
        Some(archive) => take_apart(archive, workshop),
        None => Ok(Part::Plain(Selection { matches: vec![found.clone()] })),
    };
    chosen.selection.matches.iter().map(part).collect()
}

/// Opens a match if it is an archive: a file from which a tar header can be read, whatever its name.
fn open_archive(found: &Match, chosen: &Chosen, bytes: &Bytes) -> Result<Option<fs_err::File>, Cause> {
    let entry = chosen.entries().entry(&found.real);
    let is_file = matches!(entry, Some(Entry { kind: Kind::File { .. }, .. }));
    let Bytes::Directory(directory) = bytes else { return Ok(None) };
    if !is_file {
        return Ok(None);
    }
    let path = directory.join(found.real.as_path());
    let archive = layer::is_archive(fs_err::File::open(&path)?)?;
    Ok(if archive { Some(fs_err::File::open(path)?) } else { None })
}

/// Reads an archive once: its members as entries, their bytes as files of a scratch directory.
fn take_apart(archive: fs_err::File, workshop: &Workshop<'_>) -> Result<Part, Cause> {
    let scratch = workshop.store.scratch()?;
    let mut sink = Picker { wanted: None, destination: scratch.path().to_owned() };
    let changes = layer::archive(io::BufReader::with_capacity(1 << 17, archive), &mut sink)?;
    let member = |change: Change| match change {
        Change::Upsert { path, entry, .. } => Some(Member { at: RelPath::clone(&path), path, entry }),
        Change::Whiteout { .. } | Change::Opaque { .. } => None,
    };
    let members = changes.list.into_iter().filter_map(member).collect();
    let bytes = Bytes::Directory(Arc::new(scratch.path().to_owned()));
    Ok(Part::Archive { members, bytes, scratch })
}

/// Takes an archive that is a build context apart: what is in it keeps its owners and modes.
///
/// # Errors
/// If it cannot be read, or the store not written.
pub fn unpack_archive(stream: impl io::Read, store: &Store) -> Result<Files, Cause> {
    let scratch = store.scratch()?;
    let path = scratch.path().to_owned();
    let mut sink = Picker { wanted: None, destination: path.clone() };
    let changes = layer::archive(stream, &mut sink)?;
    Ok(Files::new(Tree::empty().apply(&changes), path, scratch))
}
