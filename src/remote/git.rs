//! Git repositories: which commit an address names, and its files.

use std::path::{Path, PathBuf};

use super::program::Repository;
use super::{Config, Error};
use crate::address;
use crate::cache::KeyBuilder;
use crate::context::{Directory, Files};
use crate::digest::Digest;
use crate::graph::GitSource;
use crate::path::RelPath;
use crate::place::{SelectOptions, select};
use crate::store::remove_tree;
use crate::time::Timestamp;
use crate::tree::Tree;

/// What an address names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Commit {
    /// The reference that is fetched: a full name, or an object.
    reference: String,
    /// The object that it names: a commit, or the tag that stands for one.
    object: String,
    /// The commit, if the object is a tag.
    peeled: Option<String>,
}

/// Returns what stands for the files of a commit.
pub(super) fn identity(source: &GitSource, commit: &Commit) -> Digest {
    let keeps = source.keeps_git_dir();
    let mut builder = KeyBuilder::new("git");
    // With `.git` the tag and its name are among the files.
    let object = if keeps { &commit.object } else { commit.peeled.as_ref().unwrap_or(&commit.object) };
    builder.input("commit", object);
    builder.input("reference", keeps.then_some(&commit.reference));
    builder.input("subdirectory", &source.subdirectory);
    builder.input("submodules", source.submodules);
    builder.input("commit times", source.commit_times);
    builder.finish().0.0
}

impl GitSource {
    /// Tells whether `.git` is among the files: below a subdirectory there is none.
    const fn keeps_git_dir(&self) -> bool {
        self.keep_git_dir && self.subdirectory.is_empty()
    }
}

/// Tells whether a reference is an object's full name.
fn is_object(reference: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    matches!(reference.len(), 40 | 64) && reference.bytes().all(is_hex)
}

/// Asks repositories through the git program.
pub(super) struct Git<'a> {
    pub(super) config: &'a Config,
    /// The list of hosts that were met for the first time.
    pub(super) met: PathBuf,
}

impl Git<'_> {
    /// Finds the commit that an address names; a full commit is not asked for.
    pub(super) fn resolve(&self, source: &GitSource) -> Result<Commit, Error> {
        let expected = source.checksum.as_deref();
        let mismatch = |actual: &str| Error::Commit {
            expected: expected.unwrap_or_default().to_owned(),
            actual: actual.to_owned(),
        };
        let fits = |object: &str| expected.is_none_or(|expected| object.starts_with(expected));
        if is_object(&source.reference) {
            let object = source.reference.clone();
            // BuildKit takes the checksum for the beginning of the reference here as well.
            return match fits(&object) {
                true => Ok(Commit { reference: object.clone(), object, peeled: None }),
                false => Err(mismatch(&object)),
            };
        }
        if source.by_commit {
            return by_commit(source);
        }
        self.need_agent(source)?;
        let scratch = self.config.store.scratch()?;
        let server = self.repository(source, None, scratch.path());
        let reference = match source.reference.as_str() {
            "" => default_branch(&server, &source.remote)?,
            reference => reference.to_owned(),
        };
        let peeled = format!("{reference}^{{}}");
        let answer = server.run(&["ls-remote", "--", &source.remote, &reference, &peeled])?;
        let commit = choose(&answer, &reference).ok_or_else(|| Error::NoReference {
            remote: address::redacted(&source.remote),
            reference: reference.clone(),
        })?;
        match fits(&commit.object) || commit.peeled.as_deref().is_some_and(fits) {
            true => Ok(commit),
            false => Err(mismatch(commit.peeled.as_ref().unwrap_or(&commit.object))),
        }
    }

    /// Checks the files of a commit out.
    pub(super) fn files(&self, source: &GitSource, commit: &Commit) -> Result<Files, Error> {
        self.need_agent(source)?;
        let scratch = self.config.store.scratch()?;
        let work = scratch.path().join("files");
        fs_err::create_dir(&work)?;
        let git_dir =
            if source.keeps_git_dir() { work.join(".git") } else { scratch.path().join("repository") };
        let repository = self.repository(source, Some(&git_dir), &work);
        repository.fetch(source, commit)?;
        repository.run(&["checkout", "--force", "--detach", &commit.object])?;
        if source.submodules && work.join(".gitmodules").exists() {
            repository.run(&["submodule", "update", "--init", "--recursive", "--depth=1"])?;
        }
        let time = match source.commit_times {
            true => Some(repository.commit_time(&commit.object)?),
            false => None,
        };
        if source.keeps_git_dir() {
            repository.forget_the_way(source)?;
        }
        let path = directory_below(&work, source)?;
        let mut tree = list(&path, source.keeps_git_dir())?;
        if let Some(time) = time {
            tree = with_time(&tree, time);
        }
        Ok(Files::new(tree, path, scratch))
    }

    /// Returns the time of a commit.
    pub(super) fn commit_time(&self, source: &GitSource, commit: &Commit) -> Result<Timestamp, Error> {
        self.need_agent(source)?;
        let scratch = self.config.store.scratch()?;
        let git_dir = scratch.path().join("repository");
        let repository = self.repository(source, Some(&git_dir), scratch.path());
        repository.fetch(source, commit)?;
        repository.commit_time(&commit.object)
    }

    fn need_agent(&self, source: &GitSource) -> Result<(), Error> {
        match source.is_ssh() && self.config.ssh_agent.is_none() {
            true => Err(Error::NoAgent),
            false => Ok(()),
        }
    }

    fn repository<'a>(
        &'a self,
        source: &'a GitSource,
        git_dir: Option<&'a Path>,
        work_tree: &'a Path,
    ) -> Repository<'a> {
        Repository { config: self.config, met: &self.met, remote: &source.remote, git_dir, work_tree }
    }
}

fn by_commit(source: &GitSource) -> Result<Commit, Error> {
    let checksum = source.checksum.as_deref().unwrap_or_default();
    if !is_object(checksum) {
        return Err(Error::Address("fetch-by-commit requires a full commit as its checksum"));
    }
    let object = checksum.to_owned();
    let reference = match source.reference.as_str() {
        "" => object.clone(),
        full if full.starts_with("refs/") => full.to_owned(),
        branch => format!("refs/heads/{branch}"),
    };
    Ok(Commit { reference, object, peeled: None })
}

fn default_branch(server: &Repository<'_>, remote: &str) -> Result<String, Error> {
    let answer = server.run(&["ls-remote", "--symref", "--", remote, "HEAD"])?;
    let branch = answer.lines().find_map(|line| line.strip_prefix("ref: ")?.strip_suffix("\tHEAD"));
    let none = || Error::NoReference { remote: address::redacted(remote), reference: "HEAD".to_owned() };
    branch.filter(|branch| !branch.starts_with('-')).map(str::to_owned).ok_or_else(none)
}

/// Chooses from what a server has under a name: the full name, then a branch, then a tag.
fn choose(answer: &str, reference: &str) -> Option<Commit> {
    let find = |name: &str| {
        let mut lines = answer.lines().filter_map(|line| line.split_once('\t'));
        lines.find(|(object, found)| *found == name && is_object(object)).map(|(object, _)| object.to_owned())
    };
    let below = |prefix: &str| format!("{prefix}{}", reference.strip_prefix(prefix).unwrap_or(reference));
    let tag = below("refs/tags/");
    for name in [below("refs/"), below("refs/heads/"), tag.clone()] {
        if let Some(object) = find(&name) {
            let peeled = if name == tag { find(&format!("{tag}^{{}}")) } else { None };
            return Some(Commit { reference: name, object, peeled });
        }
    }
    None
}

impl Repository<'_> {
    /// Brings the commit, without what came before it if the server can do that.
    fn fetch(&self, source: &GitSource, commit: &Commit) -> Result<(), Error> {
        let format =
            if commit.object.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        self.run(&["init", "--quiet", "--template=", format])?;
        self.run(&["remote", "add", "origin", &source.remote])?;
        let object = commit.object.as_str();
        // The name of a branch or tag is kept, for those who look at `.git`.
        let wanted = match is_object(&commit.reference) || source.by_commit {
            true => object.to_owned(),
            false => format!("{0}:{0}", commit.reference),
        };
        let fetched = self.fetch_shallow(&["--no-tags", "--", "origin", &wanted]);
        let there = || self.run(&["cat-file", "-e", object]).is_ok();
        if fetched.is_ok() && there() {
            return Ok(());
        }
        // The branch has moved since it was looked up, or the server gives no single commits: then all of it.
        let everything = self.run(&[
            "fetch",
            "--force",
            "--update-head-ok",
            "--tags",
            "--",
            "origin",
            "+refs/heads/*:refs/remotes/origin/*",
        ]);
        if there() {
            return Ok(());
        }
        fetched.and(everything).map(|_| ()).and(Err(Error::NoReference {
            remote: address::redacted(&source.remote),
            reference: object.to_owned(),
        }))
    }

    fn fetch_shallow(&self, what: &[&str]) -> Result<String, Error> {
        let fetch =
            |depth: &[&str]| self.run(&[&["fetch", "--force", "--update-head-ok"], depth, what].concat());
        match fetch(&["--depth=1"]) {
            // Old servers, and the simple HTTP protocol, cannot.
            Err(Error::Git { output, .. }) if output.contains("shallow") || output.contains("--depth") => {
                fetch(&[])
            }
            other => other,
        }
    }

    fn commit_time(&self, object: &str) -> Result<Timestamp, Error> {
        let printed = self.run(&["log", "-1", "--format=%ct", &format!("{object}^{{commit}}")])?;
        let seconds = printed.trim().parse();
        seconds.map(Timestamp).map_err(|_| Error::Git {
            command: "log".to_owned(),
            remote: address::redacted(self.remote),
            output: format!("`{}` is not a time", printed.trim()),
        })
    }

    /// Removes from a `.git` that is kept what depends on how and when it came here.
    fn forget_the_way(&self, source: &GitSource) -> Result<(), Error> {
        self.run(&["remote", "set-url", "origin", &address::redacted(&source.remote)])?;
        self.run(&["reflog", "expire", "--all", "--expire=now"])?;
        let leftover = self.git_dir.map(|git_dir| git_dir.join("FETCH_HEAD"));
        if let Some(leftover) = leftover.filter(|leftover| leftover.exists()) {
            fs_err::remove_file(leftover)?;
        }
        Ok(())
    }
}

/// Returns the directory that is meant: no part of the way to it may be a link.
fn directory_below(work: &Path, source: &GitSource) -> Result<std::path::PathBuf, Error> {
    let mut path = work.to_owned();
    for name in RelPath::clean(&source.subdirectory).as_path() {
        path.push(name);
        if !fs_err::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            return Err(Error::Subdirectory {
                remote: address::redacted(&source.remote),
                subdirectory: source.subdirectory.clone(),
            });
        }
    }
    Ok(path)
}

/// Lists a checkout. The `.git` files of submodules point to a repository that is not there unless it is kept.
fn list(path: &Path, keep_git_dir: bool) -> Result<Tree, Error> {
    let directory = Directory::open(path, None, None)?;
    let mut excludes = Vec::new();
    if !keep_git_dir {
        excludes.push("**/.git".to_owned());
        let paths = select(&directory, "/", SelectOptions::default())?.paths(&directory);
        for own in paths.iter().filter(|path| path.file_name().is_some_and(|name| name == b".git")) {
            let place = path.join(own.as_path());
            if place.is_dir() { remove_tree(&place)? } else { fs_err::remove_file(place)? }
        }
    }
    let selection = select(&directory, "/", SelectOptions { parents: false, excludes: &excludes })?;
    Ok(directory.tree(&selection)?)
}

fn with_time(tree: &Tree, time: Timestamp) -> Tree {
    let timed = |(path, entry): (RelPath, &crate::tree::Entry)| {
        let mut entry = entry.clone();
        entry.meta.mtime = time;
        (path, entry)
    };
    tree.iter().map(timed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_go_before_tags() {
        let (a, b, c, d) = ("a".repeat(40), "b".repeat(40), "c".repeat(40), "d".repeat(40));
        let answer = format!(
            "{a}\trefs/heads/both\n{b}\trefs/tags/both\n{c}\trefs/tags/v1\n{d}\trefs/tags/v1^{{}}\n{b}\trefs/heads/x/both\n"
        );
        let commit = |reference: &str, object: &str, peeled: Option<&str>| Commit {
            reference: reference.to_owned(),
            object: object.to_owned(),
            peeled: peeled.map(str::to_owned),
        };
        for (reference, expected) in [
            ("both", Some(commit("refs/heads/both", &a, None))),
            ("refs/heads/both", Some(commit("refs/heads/both", &a, None))),
            ("refs/tags/both", Some(commit("refs/tags/both", &b, None))),
            ("heads/both", Some(commit("refs/heads/both", &a, None))),
            ("v1", Some(commit("refs/tags/v1", &c, Some(&d)))),
            ("refs/tags/v1", Some(commit("refs/tags/v1", &c, Some(&d)))),
            ("none", None),
        ] {
            assert_eq!(choose(&answer, reference), expected, "{reference}");
        }
    }

    #[test]
    fn full_names_of_objects() {
        for (text, is) in
            [("a".repeat(40), true), ("0".repeat(64), true), ("A".repeat(40), false), ("a".repeat(39), false)]
        {
            assert_eq!(is_object(&text), is, "{text}");
        }
    }
}
