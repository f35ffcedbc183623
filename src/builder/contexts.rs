//! Build contexts that are no directory of this machine: addresses, and what comes on standard input.
//!
//! They have no ignore file (statement 242). The owners in an archive stay, as those of a directory do not.

use std::io::{self, Read};
use std::sync::Arc;

use super::Error;
use crate::address::{GitAddress, GitError, is_web};
use crate::context::Files;
use crate::graph::{GitSource, HttpSource, Remote};
use crate::layer;
use crate::path::RelPath;
use crate::remote::Remotes;
use crate::solve;
use crate::store::Store;
use crate::time::Timestamp;
use crate::tree::{Entry, Kind, Tree};

/// The name of the one file of a downloaded context, as BuildKit calls it.
const DOWNLOAD_NAME: &str = "context";

const DOCKERFILE: &str = "Dockerfile";

/// What is read of a stream to tell what it is: enough for a tar's first header with its extensions.
const START_BYTES: u64 = 16 << 10;

/// Options of an address that stands for a context.
#[derive(Debug, Clone, Copy, Default)]
pub struct AddressOptions {
    /// Files of a repository get the time of the commit: when an epoch is asked for.
    pub commit_times: bool,
    /// `.git` is kept (`BUILDKIT_CONTEXT_KEEP_GIT_DIR`).
    pub keep_git_dir: bool,
}

/// Reads the address of a context; `None` if the text is none, but a path.
///
/// # Errors
/// If it is a repository's, but wrong.
pub fn context_address(text: &str, options: AddressOptions) -> Option<Result<Remote, GitError>> {
    if let Some(address) = GitAddress::parse_context(text) {
        let remote = |address| {
            let mut source = GitSource::of(address);
            source.commit_times |= options.commit_times;
            source.keep_git_dir |= options.keep_git_dir;
            Remote::Git(source)
        };
        return Some(address.map(remote));
    }
    is_web(text).then(|| {
        Ok(Remote::Http(HttpSource { url: text.to_owned(), name: DOWNLOAD_NAME.to_owned(), checksum: None }))
    })
}

/// A context that is no directory of this machine.
#[derive(Debug, Clone)]
pub struct ForeignContext {
    /// Its files.
    pub files: Arc<Files>,
    /// The file that is the Dockerfile, where there is but one.
    pub only_file: Option<RelPath>,
    /// The time that the context itself names: of the commit, of the download, or of an archive's newest file.
    pub time: Option<Timestamp>,
}

/// What came on standard input.
#[derive(Debug, Clone)]
pub enum Stream {
    /// An archive of files.
    Archive(ForeignContext),
    /// A Dockerfile.
    Dockerfile(Vec<u8>),
}

/// Tells a Dockerfile from an archive by the first bytes, and takes the archive apart.
///
/// # Errors
/// If the stream cannot be read, or breaks off.
pub fn read_stream(mut stream: impl Read, store: &Store) -> Result<Stream, Error> {
    let mut start = Vec::new();
    stream.by_ref().take(START_BYTES).read_to_end(&mut start)?;
    if begins_like_archive(&start)? {
        return Ok(Stream::Archive(unpack(io::Cursor::new(start).chain(stream), store)?));
    }
    stream.read_to_end(&mut start)?;
    Ok(Stream::Dockerfile(start))
}

/// Brings a context from an address. A download that is an archive is taken apart, another is the Dockerfile.
///
/// # Errors
/// If it cannot be had.
pub fn open_context(remote: &Remote, remotes: &Remotes, store: &Store) -> Result<ForeignContext, Error> {
    let silent = |_, _| {};
    let files = remotes.open(remote, &silent)?;
    let time = remotes.time(remote, &silent)?;
    let Remote::Http(source) = remote else { return Ok(ForeignContext { files, only_file: None, time }) };
    let name = RelPath::clean(&source.name);
    let file = || fs_err::File::open(files.path().join(name.as_path()));
    let mut start = Vec::new();
    file()?.take(START_BYTES).read_to_end(&mut start)?;
    if !begins_like_archive(&start)? {
        return Ok(ForeignContext { files, only_file: Some(name), time });
    }
    let unpacked = unpack(file()?, store)?;
    Ok(ForeignContext { time: time.or(unpacked.time), ..unpacked })
}

/// Tells whether bytes are the start of a tar, or of something compressed.
fn begins_like_archive(start: &[u8]) -> Result<bool, Error> {
    let compressed: [&[u8]; 4] = [b"BZh", b"\x1f\x8b\x08", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    Ok(compressed.iter().any(|magic| start.starts_with(magic)) || layer::is_archive(start)?)
}

fn unpack(stream: impl Read, store: &Store) -> Result<ForeignContext, Error> {
    let files = solve::unpack_archive(stream, store)?;
    let regular = |entry: &Entry| matches!(entry.kind, Kind::File { .. });
    let time = files.tree.iter().filter(|(_, entry)| regular(entry)).map(|(_, entry)| entry.meta.mtime).max();
    Ok(ForeignContext { files: Arc::new(files), only_file: None, time })
}

impl ForeignContext {
    /// Returns a context without files.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn empty(store: &Store) -> Result<Self, Error> {
        let scratch = store.scratch()?;
        let files = Files::new(Tree::empty(), scratch.path().to_owned(), scratch);
        Ok(Self { files: Arc::new(files), only_file: None, time: None })
    }

    /// Reads the Dockerfile `path` (the default name for `None`), links followed inside the context; returns its
    /// name and bytes.
    ///
    /// # Errors
    /// If there is none.
    pub fn dockerfile(&self, path: Option<&str>) -> Result<(String, Vec<u8>), Error> {
        let path = match &self.only_file {
            Some(only) => only.clone(),
            None => RelPath::clean(path.unwrap_or(DOCKERFILE)),
        };
        let lower_case = (path.file_name() == Some(DOCKERFILE.as_bytes()))
            .then(|| path.parent().unwrap_or_default().child(DOCKERFILE.to_ascii_lowercase().as_bytes()));
        for path in [Some(path.clone()), lower_case].into_iter().flatten() {
            let real = follow(&self.files.tree, &path);
            if let Some(bytes) = self.files.read(&real)? {
                return Ok((path.to_string(), bytes));
            }
        }
        Err(Error::NoDockerfile { path: path.to_string() })
    }
}

/// A loop of links leads nowhere.
fn follow(tree: &Tree, path: &RelPath) -> RelPath {
    tree.resolve(path, true).unwrap_or_else(|_| path.clone())
}
