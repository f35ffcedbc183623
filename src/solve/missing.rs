//! What a user is told of a source that is not there: what is, nearby.

use super::error::Cause;
use crate::diagnostic::suggest::nearest;
use crate::path::RelPath;
use crate::place::{self, Node, View};

/// How many names of a directory are listed.
const LISTED: usize = 5;

/// Makes the cause of a failed selection; `whence` is what was searched, for example `the build context`.
pub(super) fn explain(view: &impl View, whence: &str, error: place::Error) -> Cause {
    let place::Error::NotFound { path } = error else { return error.into() };
    let help = help(view, &path);
    Cause::Missing { path, whence: whence.to_owned(), help }
}

/// Looks at the deepest directory on the way that is there.
fn help(view: &impl View, missing: &RelPath) -> Option<String> {
    let is_directory = |path: &RelPath| matches!(view.node(path), Some(Node::Directory));
    let directory = missing.ancestors().filter(is_directory).last()?;
    let rest = missing.strip_prefix(&directory)?;
    let wanted = String::from_utf8_lossy(rest.components().next()?).into_owned();
    let names: Vec<String> =
        view.children(&directory).map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    let place = if directory.is_root() { "its root".to_owned() } else { format!("`{directory}`") };
    if names.is_empty() {
        return Some(format!("{place} is empty"));
    }
    let other_case = names.iter().find(|name| name.eq_ignore_ascii_case(&wanted)).map(String::as_str);
    if let Some(near) = other_case.or_else(|| near(&wanted, &names)) {
        let mut meant = directory.child(near);
        rest.components().skip(1).for_each(|name| meant = meant.child(name));
        return Some(format!("did you mean `{meant}`?"));
    }
    let listed: Vec<String> = names.iter().take(LISTED).map(|name| format!("`{name}`")).collect();
    let more = names.len().saturating_sub(LISTED);
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Some(format!("{place} holds {}{and_more}", listed.join(", ")))
}

/// Two letters of difference make another word of a short name.
fn near<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    let near = nearest(wanted, names.iter().map(String::as_str))?;
    let length = wanted.chars().count().min(near.chars().count());
    (length > 3).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;
    use crate::tree::testing::{dir, file};

    #[test]
    fn near_names_and_lists() {
        let mut tree = Tree::empty();
        for path in ["src/app.js", "src/README", "package.json", "a", "b", "c", "d", "e"] {
            let path = RelPath::clean(path);
            if let Some(parent) = path.parent().filter(|parent| tree.get(parent).is_none()) {
                tree.insert(&parent, dir(0o755));
            }
            tree.insert(&path, file("x"));
        }
        tree.insert(&RelPath::clean("empty"), dir(0o755));
        for (missing, expected) in [
            ("src/ap.js", "did you mean `src/app.js`?"),
            ("src/readme", "did you mean `src/README`?"),
            ("scr/app.js", "its root holds `a`, `b`, `c`, `d`, `e` and 3 more"),
            ("packge.json", "did you mean `package.json`?"),
            ("empty/x", "`empty` is empty"),
            ("src/other", "`src` holds `README`, `app.js`"),
        ] {
            assert_eq!(help(&tree, &RelPath::clean(missing)).as_deref(), Some(expected), "{missing}");
        }
    }
}
