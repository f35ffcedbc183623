//! The difference of two trees, and where the bytes of its files lie.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::path::RelPath;
use crate::time::Timestamp;
use crate::tree::{Entry, Kind, List};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The path holds this entry now. A directory keeps what was below it; anything else replaces it.
    Upsert {
        /// Where.
        path: RelPath,
        /// What.
        entry: Entry,
        /// The index in [`Changes::origins`] of a regular file's bytes; 0 and unused for other kinds and for
        /// changes read back from a layer's index.
        origin: u16,
    },
    /// The path and everything below it is gone.
    Whiteout {
        /// Where.
        path: RelPath,
    },
    /// Everything that lower layers have below the path is gone. Read from foreign layers; kiln writes
    /// explicit whiteouts.
    Opaque {
        /// The directory.
        path: RelPath,
    },
}

impl Change {
    /// Returns the path that changes.
    pub const fn path(&self) -> &RelPath {
        match self {
            Self::Upsert { path, .. } | Self::Whiteout { path } | Self::Opaque { path } => path,
        }
    }
}

/// Where the bytes of a group of files are read: the file at `to`/rest in the tree lies at `at`/rest in `bytes`.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The place.
    pub bytes: Bytes,
    /// The path in that place.
    pub at: RelPath,
    /// The path in the tree.
    pub to: RelPath,
}

impl Origin {
    /// Returns the origin of files that lie in `directory` at their own paths.
    pub fn whole(directory: &Path) -> Self {
        let bytes = Bytes::Directory(Arc::new(directory.to_owned()));
        Self { bytes, at: RelPath::root(), to: RelPath::root() }
    }

    /// Returns where in [`Origin::bytes`] the file `path` of the tree lies.
    ///
    /// # Panics
    /// If `path` is not below [`Origin::to`].
    pub fn locate(&self, path: &RelPath) -> RelPath {
        let rest = path.strip_prefix(&self.to).expect("an origin serves the paths below its destination");
        self.at.join(&rest)
    }
}

/// A place that holds bytes of files.
#[derive(Debug, Clone)]
pub enum Bytes {
    /// A directory of this machine.
    Directory(Arc<PathBuf>),
    /// One file's content itself: here-documents.
    Inline(Arc<[u8]>),
}

/// What a step changed: sorted by path, each path at most once (an opaque mark may stand beside an upsert of
/// the same path, behind it).
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The differences in the order of [`RelPath`].
    pub list: List,
    /// Where files' bytes lie. Empty for changes read back from a layer's index.
    pub origins: Vec<Origin>,
}

impl Changes {
    /// Returns the same changes with later times of modification set to `latest`.
    #[must_use]
    pub fn with_times_up_to(&self, latest: Timestamp) -> Self {
        let clamped = |mut change: Change| {
            if let Change::Upsert { entry, .. } = &mut change {
                entry.meta.mtime = entry.meta.mtime.min(latest);
            }
            change
        };
        Self { list: self.list.iter().map(clamped).collect(), origins: self.origins.clone() }
    }

    /// Returns the sum of the sizes of the regular files, each group of hard links counted once per name.
    pub fn content_size(&self) -> u64 {
        let size = |change: Change| match change {
            Change::Upsert { entry: Entry { kind: Kind::File { size, .. }, .. }, .. } => size,
            Change::Upsert { .. } | Change::Whiteout { .. } | Change::Opaque { .. } => 0,
        };
        self.list.iter().map(size).sum()
    }
}
