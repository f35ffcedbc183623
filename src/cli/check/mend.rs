//! `kiln check --fix`.

use std::io::Write as _;
use std::path::Path;

use kiln::builder::Request;
use kiln::checkup::{Change, Examination, mend};

use super::super::Outcome;
use super::super::report::Failure;
use super::{lint, print, verdict};

/// Mends the file in its place, says what was done, and shows what is left.
pub(super) fn run(
    request: &mut Request,
    path: Option<&Path>,
    examine: impl Fn(&Request) -> Result<Examination, Failure>,
) -> Outcome {
    let path = path.ok_or_else(|| Failure::usage("--fix needs a file, not standard input"))?;
    let original = request.dockerfile.clone();
    let mut failure = None;
    let mended = mend(&original, |source| {
        request.dockerfile = source.clone();
        examine(request).map(|examination| examination.findings).unwrap_or_else(|error| {
            failure.get_or_insert(error);
            Vec::new()
        })
    });
    if let Some(failure) = failure {
        return Err(failure);
    }
    if !mended.changes.is_empty() {
        replace(path, mended.source.text.as_bytes()).map_err(Failure::from_error)?;
    }
    let shown: String = mended.changes.iter().map(|change| show(&original.name, change)).collect();
    request.dockerfile = mended.source;
    let left = examine(request)?;
    let count = lint::counted(mended.changes.len(), "change");
    print(&format!("{shown}{}: {count}\n{}", original.name, lint::text(&request.dockerfile, &left)))?;
    verdict(&left)
}

fn show(name: &str, Change { rule, line, before, after }: &Change) -> String {
    format!("{name}:{line}: {rule}\n- {before}\n+ {after}\n")
}

/// Puts `bytes` in the place of a file at once: no reader ever sees half of it. A link stays a link.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let path = fs_err::canonicalize(path)?;
    let permissions = fs_err::metadata(&path)?.permissions();
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(permissions)?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}
