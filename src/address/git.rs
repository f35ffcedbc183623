//! Addresses of git repositories, with the part of them that is meant.

use super::{split_scheme, unescape};
use crate::path::RelPath;

/// A repository, and what of it is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitAddress {
    /// What the git program is given: the address without fragment and query.
    pub remote: String,
    /// A branch, tag or commit; empty for the default branch.
    pub reference: String,
    /// The directory that is meant; empty for the whole.
    pub subdirectory: String,
    /// A commit, or the beginning of one, that the reference must name.
    pub checksum: Option<String>,
    /// Whether `.git` is kept.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched; they are if nothing is said.
    pub submodules: Option<bool>,
    /// Whether files get the time of the commit instead of that of the checkout.
    pub commit_times: bool,
    /// Whether the checksum is fetched without asking where the reference points.
    pub by_commit: bool,
}

/// An address that is a repository's, but wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// A key of the query that means nothing.
    #[error("unexpected query \"{0}\"")]
    UnknownKey(String),
    /// A key without its value.
    #[error("query \"{0}\" has no value")]
    NoValue(String),
    /// A key given twice.
    #[error("query \"{0}\" has multiple values")]
    Twice(String),
    /// A value that is none of the key's.
    #[error("invalid {key} value: \"{value}\"")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Two parts of the address name different things.
    #[error("{what} conflicts: \"{first}\" vs \"{second}\"")]
    Conflict {
        /// `ref` or `subdir`.
        what: &'static str,
        /// What was said first.
        first: String,
        /// What was said then.
        second: String,
    },
    /// Both a branch and a tag.
    #[error("branch conflicts with tag")]
    BranchAndTag,
    /// A reference that git would take for an option.
    #[error("invalid git ref \"{0}\"")]
    Reference(String),
    /// An escape in the address is malformed.
    #[error("malformed address")]
    Malformed,
}

impl GitAddress {
    /// Reads `text`; `None` if it is no repository's address.
    pub fn parse(text: &str) -> Option<Result<Self, GitError>> {
        if text.starts_with("./") || text.starts_with("../") {
            return None;
        }
        match split_scheme(text) {
            Some((scheme, rest)) => {
                let end = rest.find(['?', '#']).unwrap_or(rest.len());
                let (place, after) = rest.split_at(end);
                let known = match scheme.as_str() {
                    "git" | "ssh" => true,
                    "http" | "https" => place.find('/').is_some_and(|slash| place[slash..].ends_with(".git")),
                    _ => false,
                };
                known.then(|| Self::read(format!("{scheme}://{place}"), after, true))
            }
            None if text.contains("://") => None,
            None => {
                let end = text.find(['?', '#']).unwrap_or(text.len());
                let (place, after) = text.split_at(end);
                is_scp_style(place).then(|| Self::read(place.to_owned(), after, false))
            }
        }
    }

    /// The same, and also reads `github.com/owner/name`, which only a build context may be (it looks like a path).
    pub fn parse_context(text: &str) -> Option<Result<Self, GitError>> {
        if !text.starts_with("github.com/") {
            return Self::parse(text);
        }
        let end = text.find(['?', '#']).unwrap_or(text.len());
        let (place, after) = text.split_at(end);
        Some(Self::read(format!("https://{place}"), after, true))
    }

    fn read(remote: String, after: &str, escaped: bool) -> Result<Self, GitError> {
        let (query, fragment) = after.split_once('#').unwrap_or((after, ""));
        let fragment = match escaped {
            true => unescape(fragment, false).ok_or(GitError::Malformed)?,
            false => fragment.to_owned(),
        };
        let (reference, subdirectory) = fragment.split_once(':').unwrap_or((&fragment, ""));
        let mut address = Self { remote, reference: reference.to_owned(), ..Self::default() };
        address.subdirectory = clean(subdirectory);
        address.read_query(query.strip_prefix('?').unwrap_or(query))?;
        if address.reference.starts_with('-') {
            return Err(GitError::Reference(address.reference));
        }
        Ok(address)
    }

    fn read_query(&mut self, query: &str) -> Result<(), GitError> {
        let (mut tag, mut branch) = (None, None);
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = unescape(key, true).ok_or(GitError::Malformed)?;
            let value = unescape(value, true).ok_or(GitError::Malformed)?;
            if seen.contains(&key) {
                return Err(GitError::Twice(key));
            }
            seen.push(key.clone());
            let is_flag = matches!(key.as_str(), "submodules" | "keep-git-dir" | "fetch-by-commit");
            if value.is_empty() && !is_flag {
                return Err(GitError::NoValue(key));
            }
            match key.as_str() {
                "ref" => agree("ref", &mut self.reference, value)?,
                "tag" => tag = Some(below("refs/tags/", &value)),
                "branch" => branch = Some(below("refs/heads/", &value)),
                "subdir" => {
                    let value = clean(&value);
                    agree("subdir", &mut self.subdirectory, value)?;
                }
                "checksum" | "commit" => self.checksum = Some(value),
                "keep-git-dir" => self.keep_git_dir = Some(flag(key, value)?),
                "submodules" => self.submodules = Some(flag(key, value)?),
                "fetch-by-commit" => self.by_commit = flag(key, value)?,
                "mtime" if matches!(value.as_str(), "checkout" | "commit") => {
                    self.commit_times = value == "commit";
                }
                "mtime" => return Err(GitError::Value { key, value }),
                _ => return Err(GitError::UnknownKey(key)),
            }
        }
        match (tag, branch) {
            (Some(_), Some(_)) => Err(GitError::BranchAndTag),
            (Some(name), None) | (None, Some(name)) => agree("ref", &mut self.reference, name),
            (None, None) => Ok(()),
        }
    }
}

/// Sets what may have been said already, which then must be the same.
fn agree(what: &'static str, known: &mut String, value: String) -> Result<(), GitError> {
    if !known.is_empty() && *known != value {
        return Err(GitError::Conflict { what, first: known.clone(), second: value });
    }
    *known = value;
    Ok(())
}

fn below(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") }
}

/// The texts that Go takes for a truth value, and none at all for true.
fn flag(key: String, value: String) -> Result<bool, GitError> {
    match value.as_str() {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(GitError::Value { key, value }),
    }
}

fn clean(path: &str) -> String {
    RelPath::clean(path).to_string()
}

/// Tells whether a text has the form `user@host:path`.
fn is_scp_style(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, _)) = rest.split_once(':') else { return false };
    let made_of = |text: &str, mark: char| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == mark)
    };
    made_of(user, '_') && made_of(host, '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> GitAddress {
        GitAddress::parse(text).unwrap_or_else(|| panic!("{text}: no repository")).expect(text)
    }

    #[test]
    fn statement_144_git_sources() {
        for source in [
            "https://github.com/o/r.git",
            "https://github.com/o/r.git#v1:sub",
            "HTTPS://h/r.git?ref=a",
            "git@github.com:o/r.git",
            "git://h/r",
            "ssh://git@h/r",
            "u-s_er@h:",
        ] {
            assert!(GitAddress::parse(source).is_some(), "{source}");
        }
        for source in [
            "https://h/x.tar",
            "https://h.git",
            "github.com/o/r",
            "r.git",
            "./git@h:x",
            "../git@h:x",
            "a:b",
            "C:/x",
            "ftp://h/x.git",
            "a b@h:x",
        ] {
            assert!(GitAddress::parse(source).is_none(), "{source}");
        }
        assert!(GitAddress::parse_context("github.com/o/r").is_some());
    }

    #[test]
    fn parts_of_addresses() {
        for (text, remote, reference, subdirectory) in [
            ("https://h/r.git", "https://h/r.git", "", ""),
            ("https://h/r.git#v1", "https://h/r.git", "v1", ""),
            ("https://h/r.git#v1:a/../b/", "https://h/r.git", "v1", "b"),
            ("https://h/r.git#:b", "https://h/r.git", "", "b"),
            ("git@h:o/r.git#a/b:c", "git@h:o/r.git", "a/b", "c"),
            ("git@h:o/r.git?tag=v1&subdir=x", "git@h:o/r.git", "refs/tags/v1", "x"),
            ("https://h/r.git?branch=refs/heads/x", "https://h/r.git", "refs/heads/x", ""),
            ("https://h/r.git?ref=a%2Fb#a/b", "https://h/r.git", "a/b", ""),
        ] {
            let address = parse(text);
            let parts = (&*address.remote, &*address.reference, &*address.subdirectory);
            assert_eq!(parts, (remote, reference, subdirectory), "{text}");
        }
        let address = parse("https://h/r.git?checksum=ab12&keep-git-dir&submodules=false&mtime=commit");
        assert_eq!(address.checksum.as_deref(), Some("ab12"));
        assert_eq!(
            (address.keep_git_dir, address.submodules, address.commit_times),
            (Some(true), Some(false), true)
        );
    }

    #[test]
    fn wrong_queries() {
        for (text, message) in [
            ("https://h/r.git?x=1", "unexpected query \"x\""),
            ("https://h/r.git?ref=", "query \"ref\" has no value"),
            ("https://h/r.git?ref=a&ref=b", "query \"ref\" has multiple values"),
            ("https://h/r.git?ref=a#b", "ref conflicts: \"b\" vs \"a\""),
            ("https://h/r.git?tag=a&branch=b", "branch conflicts with tag"),
            ("https://h/r.git?submodules=maybe", "invalid submodules value: \"maybe\""),
            ("https://h/r.git#--upload-pack=x", "invalid git ref \"--upload-pack=x\""),
        ] {
            let error = GitAddress::parse(text).expect("a repository").expect_err(text);
            assert_eq!(error.to_string(), message, "{text}");
        }
    }
}
