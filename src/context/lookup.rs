//! Which files are the Dockerfile and its ignore file.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::context::Error;

const DOCKERFILE: &str = "Dockerfile";
const IGNORE_FILE: &str = ".dockerignore";

/// An ignore file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoreFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its content.
    pub text: Vec<u8>,
}

/// Returns the file to read for the Dockerfile `path`: `dockerfile` beside it if the default name is asked for
/// and there is only that.
pub fn find_dockerfile(path: &Path) -> PathBuf {
    let lower_case = path.with_file_name(DOCKERFILE.to_ascii_lowercase());
    let is_default = path.file_name() == Some(OsStr::new(DOCKERFILE));
    if is_default && !path.exists() && lower_case.exists() { lower_case } else { path.to_owned() }
}

/// Reads the ignore file for a Dockerfile and a context directory: `<Dockerfile>.dockerignore` beside the
/// Dockerfile replaces the context's `.dockerignore` entirely. `None` if there is neither.
///
/// # Errors
/// If the file is there but cannot be read.
pub fn find_ignore_file(dockerfile: Option<&Path>, context: &Path) -> Result<Option<IgnoreFile>, Error> {
    let own = dockerfile.map(|dockerfile| {
        let mut path = OsString::from(dockerfile);
        path.push(IGNORE_FILE);
        PathBuf::from(path)
    });
    for path in own.into_iter().chain([context.join(IGNORE_FILE)]) {
        match fs::read(&path) {
            Ok(text) => return Ok(Some(IgnoreFile { path, text })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::IgnoreFile(error)),
        }
    }
    Ok(None)
}
