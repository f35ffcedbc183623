//! Paths as instructions write them: against the working directory, as BuildKit normalises them.

/// Returns the working directory after `WORKDIR path`, when it was `current` (statement 176).
///
/// An absolute path is taken as written, not cleaned: the config shows it so.
pub(super) fn workdir(current: &str, path: &str) -> String {
    let current = absolute(current);
    match path {
        "" => current,
        _ if path.starts_with('/') => path.to_owned(),
        _ => clean(&format!("{current}/{path}")),
    }
}

/// Returns the absolute destination of COPY and ADD; a slash or `/.` at the end says that it is a
/// directory, and ends in a slash here (statements 113 and 114).
pub(super) fn destination(workdir: &str, path: &str) -> String {
    let path = if matches!(path, "" | ".") { "./" } else { path };
    let directory = path.ends_with('/') || path.ends_with("/.");
    let joined =
        if path.starts_with('/') { clean(path) } else { clean(&format!("{}/{path}", absolute(workdir))) };
    if directory && joined != "/" { joined + "/" } else { joined }
}

/// Puts a slash in front of a relative path.
fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { clean(path) }
}

/// Returns `path` as an absolute path without `.`, `..` and doubled slashes, none at the end.
pub(super) fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            name => kept.push(name),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_176_relative_workdirs_join() {
        for (current, path, expected) in [
            ("", "a", "/a"),
            ("/", "a/b", "/a/b"),
            ("/a", "../c", "/c"),
            ("/a", "/b", "/b"),
            ("/a", "", "/a"),
            ("/a", "..", "/"),
            ("/a", "/b//c/", "/b//c/"),
            ("rel", "x", "/rel/x"),
        ] {
            assert_eq!(workdir(current, path), expected, "{path} in {current}");
        }
    }

    #[test]
    fn statement_113_destinations() {
        for (current, path, expected) in [
            ("/w", ".", "/w/"),
            ("/w", "", "/w/"),
            ("/w", "./", "/w/"),
            ("/w", "x", "/w/x"),
            ("/w", "x/", "/w/x/"),
            ("/w", "/x/.", "/x/"),
            ("/w", "/", "/"),
            ("/w", "../x", "/x"),
            ("", ".", "/"),
            ("/w", "/a//b", "/a/b"),
        ] {
            assert_eq!(destination(current, path), expected, "{path} in {current}");
        }
    }
}
