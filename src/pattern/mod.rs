//! Patterns over paths: the ignore file's and COPY's.
//!
//! Two dialects, which differ on purpose because their models do:
//!
//! | type | used for | `*`, `?` | `**` | a directory that matches | order |
//! |---|---|---|---|---|---|
//! | [`Ignore`] | `.dockerignore`, `--exclude`, `--parents` | not across `/` | any number of components | stands for all below | last match wins, `!` takes back |
//! | [`Glob`] | sources of COPY and ADD | not across `/` | like `*` | only itself | one pattern |
//!
//! A class may match a slash (`[^a]` does), as it may in Go. Paths are bytes; a `?` or a class stands for one character if the bytes are UTF-8, else for one byte.
//! Nothing here touches a file system: a walker asks, and decides what to do.

mod class;
mod glob;
mod ignore;
mod matcher;

pub use glob::{Glob, is_glob};
pub use ignore::{Ignore, Rule, Trail, Verdict};

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A `!` with nothing behind it.
    #[error("line {line}: `!` without a pattern")]
    LoneExclamationMark {
        /// The 1-based line, or the number of the pattern in a list.
        line: usize,
    },
    /// An unfinished class or escape.
    #[error("line {line}: malformed pattern `{pattern}`")]
    Malformed {
        /// The 1-based line, or the number of the pattern in a list.
        line: usize,
        /// The pattern as written.
        pattern: String,
    },
    /// A [`Glob`] with an unfinished class or escape.
    #[error("malformed pattern `{pattern}`")]
    MalformedGlob {
        /// The pattern as written.
        pattern: String,
    },
}

#[cfg(test)]
mod tests;
