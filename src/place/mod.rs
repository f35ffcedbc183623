//! Where COPY, ADD and WORKDIR put files: pure functions from trees to [`Changes`](crate::tree::Changes).
//!
//! [`select`] finds what a source names in a context or another step's tree, before anything is known of the
//! destination. [`place`] puts selections into a view of the destination and returns what differs, [`mkdir`]
//! makes the directory of WORKDIR. The rules are those of BuildKit (`fsutil/copy`, `solver/llbsolver/file`):
//!
//! - A directory source gives its content, never itself; a link that is a source is followed and lands under
//!   its own name. Links inside a copied directory stay links.
//! - Links in the destination are followed inside the root, the last component included; a dangling one
//!   makes its target.
//! - Missing parents, and the top directory of a directory copy, are made 0755 and owned by root; `--chown`
//!   and an octal `--chmod` count for them too. They get the time that is handed in.
//! - An existing top directory keeps mode and owner and takes the source's mtime; a directory further down
//!   that both sides have takes everything from the source.
//! - An archive of ADD comes as a list of members and replaces whatever is in its way.
//! - `--link` places into an empty tree, so it does not see the destination at all. Together with `--chmod`
//!   it is a plain copy ([`Options::sees_destination`]).
//!
//! Where BuildKit silently does something dangerous, its result is kept and a [`Warning`] returned.
//! A selection of a directory does not list what is in it: it is walked through when it is needed ([`Match::walk`]),
//! so that a context of a million files exists once, as its listing. What is known of each entry then comes from
//! [`Entries`].
//!
//! No file is opened here: who has to read `/etc/passwd` for `--chown` is told by [`Owner`].

mod changed;
mod copy;
mod extract;
mod mkdir;
mod owner;
mod select;
mod view;
mod warning;

#[cfg(test)]
mod tests;

pub use copy::{Options, Placed, Source, place};
pub use extract::Member;
pub use mkdir::mkdir;
pub use owner::{Accounts, Ids, Owner};
pub use select::{Match, Role, SelectOptions, Selected, Selection, select};
pub use view::{Entries, Node, View, Visit};
pub use warning::Warning;

use crate::path::RelPath;
use crate::pattern;

/// Why files cannot be placed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source is not there.
    #[error("`{path}` does not exist")]
    NotFound {
        /// The source as it was looked for, clean.
        path: RelPath,
    },
    /// A path goes on below something that is no directory.
    #[error("`{path}` is not a directory")]
    NotADirectory {
        /// What is no directory.
        path: RelPath,
    },
    /// Symbolic links that lead to each other.
    #[error("too many symbolic links in `{path}`")]
    TooManyLinks {
        /// The path that was followed.
        path: RelPath,
    },
    /// A file cannot take the place of a directory.
    #[error("a file cannot replace the directory `{path}`")]
    FileOverDirectory {
        /// The directory in the destination.
        path: RelPath,
    },
    /// A directory cannot take the place of something else.
    #[error("a directory cannot replace `{path}`, which is not one")]
    DirectoryOverFile {
        /// What stands in the destination.
        path: RelPath,
    },
    /// `--exclude` or the pattern of `--parents` is malformed.
    #[error("malformed pattern of a copy")]
    Pattern {
        /// What is wrong with it.
        #[source]
        source: pattern::Error,
    },
    /// More than 65535 groups of files from different places.
    #[error("the sources lie in too many different places")]
    TooManyOrigins,
}
