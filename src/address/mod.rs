//! Addresses of files that lie elsewhere, as users write them: web addresses and git repositories; and hosts.
//!
//! In: the text of an ADD source, a build context or a `--build-context`. Out: what it names, closed. The rules
//! are BuildKit's (`util/gitutil`, `dfgitutil`): a text is a repository if it begins with `git://` or `ssh://`,
//! has the form `user@host:path`, or is a web address whose path ends in `.git`; any other web address is a
//! download. Nothing is looked up here.

mod git;
mod host;
mod web;

pub use git::{GitAddress, GitError};
pub use host::is_loopback;
pub use web::{file_name, is_web, redacted};

/// Decodes `%xx`, and `+` as a blank where that is meant; `None` if an escape is malformed.
fn unescape(text: &str, plus_is_blank: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' if plus_is_blank => b' ',
            other => other,
        });
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Splits `scheme://rest`; the scheme in lower case.
fn split_scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_scheme.then(|| (scheme.to_ascii_lowercase(), rest))
}
