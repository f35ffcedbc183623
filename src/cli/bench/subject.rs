//! What is measured: the steps that make a layer, through the library as a build calls it, and the plain tools.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use kiln::context::Directory;
use kiln::layer::{Compression, DEFAULT_MEMORY_BYTES, Hints, PackOptions, pack};
use kiln::path::RelPath;
use kiln::place::{SelectOptions, select};
use kiln::tree::{Change, Changes, Entry, Kind, Origin, Tree, diff};
use rayon::prelude::*;
use tempfile::TempDir;

use super::super::report::Failure;
use super::tool::{self, Tool};

const CODECS: [(&str, Compression); 9] = [
    ("tar", Compression::None),
    ("gzip 1", Compression::Gzip { level: 1 }),
    ("gzip 2", Compression::Gzip { level: 2 }),
    ("gzip 4", Compression::Gzip { level: 4 }),
    ("gzip 6", Compression::Gzip { level: 6 }),
    ("gzip 9", Compression::Gzip { level: 9 }),
    ("zstd 1", Compression::Zstd { level: 1 }),
    ("zstd 3", Compression::Zstd { level: 3 }),
    ("zstd 9", Compression::Zstd { level: 9 }),
];
/// The codecs that are measured from nothing to the blob, too: the default, and that of who wants it faster.
const COLD: [(&str, Compression); 2] =
    [("cold gzip 4", Compression::Gzip { level: 4 }), ("cold zstd 3", Compression::Zstd { level: 3 })];
const READ_BUFFER_BYTES: usize = 128 * 1024;

/// What is measured, with how many threads.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) jobs: usize,
    what: What,
}

enum What {
    List,
    Read,
    Hash,
    Pack(Compression),
    Cold(Compression),
    Tool(Tool),
}

/// Returns everything that can be measured here.
pub(super) fn all(numbers_of_jobs: &[usize]) -> Result<Vec<Subject>, Failure> {
    let mut subjects = Vec::new();
    for &jobs in numbers_of_jobs {
        let steps = [("list", What::List), ("read", What::Read), ("hash", What::Hash)];
        let codecs = CODECS.map(|(name, compression)| (name, What::Pack(compression)));
        let cold = COLD.map(|(name, compression)| (name, What::Cold(compression)));
        let named = steps.into_iter().chain(codecs).chain(cold);
        subjects.extend(named.map(|(name, what)| Subject { name: name.to_owned(), jobs, what }));
    }
    let tools = tool::installed(numbers_of_jobs)?;
    subjects.extend(tools.into_iter().map(|tool| Subject {
        name: tool.to_string(),
        jobs: tool.jobs,
        what: What::Tool(tool),
    }));
    Ok(subjects)
}

/// A directory and what is known of it.
pub(super) struct Material {
    directory: PathBuf,
    changes: Changes,
    paths: Vec<RelPath>,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Where the stat caches lie that nobody reads again: how the library tells whether a file may still be changing.
    scratch: TempDir,
}

impl Material {
    /// Reads all of `directory`.
    pub(super) fn of(directory: &Path) -> Result<Self, Failure> {
        let scratch = tempfile::tempdir().map_err(Failure::from_error)?;
        let changes = changes(&hashed(&listed(directory, &scratch)?)?, directory);
        let paths: Vec<RelPath> = changes.list.iter().filter_map(file).collect();
        let files = paths.len() as u64;
        let bytes = changes.content_size();
        if bytes == 0 {
            let place = directory.display();
            return Err(Failure::plain(format_args!(
                "there is nothing to measure in `{place}`: no file has a byte"
            )));
        }
        Ok(Self { directory: directory.to_owned(), changes, paths, files, bytes, scratch })
    }
}

impl Subject {
    /// Does it once; returns the number of bytes that came out.
    pub(super) fn run(&self, material: &Material) -> Result<u64, Failure> {
        let directory = material.directory.as_path();
        let list = || listed(directory, &material.scratch);
        match &self.what {
            What::List => self.on_threads(|| list().map(|_| 0)),
            What::Read => self.on_threads(|| read(material).map(|()| 0)),
            What::Hash => self.on_threads(|| hashed(&list()?).map(|_| 0)),
            What::Pack(compression) => packed(&material.changes, *compression, self.jobs, Hints::default()),
            What::Cold(compression) => self.on_threads(|| {
                let listing = list()?;
                let changes = changes(&hashed(&listing)?, directory);
                let is_as_hashed =
                    |_: &Path, path: &RelPath, stat: &rustix::fs::Stat| listing.is_as_hashed(path, stat);
                let hints = Hints { is_as_hashed: Some(&is_as_hashed), ..Hints::default() };
                packed(&changes, *compression, self.jobs, hints)
            }),
            What::Tool(tool) => tool.run(directory),
        }
    }

    fn on_threads<T: Send>(&self, work: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.jobs).build();
        pool.map_err(Failure::from_error)?.install(work)
    }
}

fn listed(directory: &Path, scratch: &TempDir) -> Result<Directory, Failure> {
    Directory::open(directory, None, Some(scratch.path().join("stat"))).map_err(Failure::from_error)
}

fn hashed(directory: &Directory) -> Result<Tree, Failure> {
    let everything = select(directory, "", SelectOptions::default()).map_err(Failure::from_error)?;
    directory.tree(&everything).map_err(Failure::from_error)
}

fn changes(tree: &Tree, directory: &Path) -> Changes {
    let mut changes = diff(&Tree::empty(), tree);
    changes.origins.push(Origin::whole(directory));
    changes
}

fn file(change: Change) -> Option<RelPath> {
    match change {
        Change::Upsert { path, entry: Entry { kind: Kind::File { .. }, .. }, .. } => Some(path),
        Change::Upsert { .. } | Change::Whiteout { .. } | Change::Opaque { .. } => None,
    }
}

fn read(material: &Material) -> Result<(), Failure> {
    let buffer = || vec![0; READ_BUFFER_BYTES];
    material
        .paths
        .par_iter()
        .try_for_each_init(buffer, |buffer, path| {
            let mut file = fs_err::File::open(material.directory.join(path.as_path()))?;
            while file.read(buffer)? > 0 {}
            Ok::<(), io::Error>(())
        })
        .map_err(Failure::from_error)
}

fn packed(
    changes: &Changes,
    compression: Compression,
    jobs: usize,
    hints: Hints<'_>,
) -> Result<u64, Failure> {
    let options = PackOptions { compression, jobs, memory_bytes: DEFAULT_MEMORY_BYTES, clamp_mtime: None };
    pack(changes, &options, hints, io::sink()).map(|packed| packed.size).map_err(Failure::from_error)
}
