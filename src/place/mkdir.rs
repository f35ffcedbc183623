//! The directory that WORKDIR makes.

use crate::path::RelPath;
use crate::place::changed::{Destination, NewDirectory};
use crate::place::{Error, Ids};
use crate::time::Timestamp;
use crate::tree::{Changes, Tree};

/// Makes the directory `path` with its missing parents, 0755 and owned by `owner`. Links are followed; a
/// directory that exists already is left as it is, and nothing has changed.
///
/// # Errors
/// If something that is no directory stands in the way.
pub fn mkdir(view: &Tree, path: &RelPath, owner: Ids, mtime: Timestamp) -> Result<Changes, Error> {
    let mut destination = Destination::new(view);
    let path = destination.resolve(path)?;
    destination.make_directories(&path, NewDirectory { mode: 0o755, owner, mtime })?;
    Ok(destination.into_changes())
}
