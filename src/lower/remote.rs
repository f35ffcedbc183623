//! ADD of downloads and git repositories: which sources are one, and what is asked of it (statements 142 to 146).

use std::collections::HashMap;

use crate::address::{self, GitAddress};
use crate::diagnostic::{Diagnostic, Span};
use crate::digest::Digest;
use crate::dockerfile::instruction::{Spanned, Transfer};
use crate::graph::{GitSource, HttpSource, Remote, Source};

/// The sources of an instruction, expanded.
pub(super) struct Named<'a> {
    pub(super) paths: &'a [(String, Span)],
    pub(super) is_add: bool,
    /// `--checksum`, and where it stands.
    pub(super) checksum: Option<(&'a str, Span)>,
    pub(super) transfer: &'a Transfer,
}

impl Named<'_> {
    /// Returns the sources that lie on other machines, by their index.
    pub(super) fn remotes(&self) -> Result<HashMap<usize, Source>, Diagnostic> {
        let mut remotes = HashMap::new();
        if let Some((_, span)) = self.checksum
            && self.paths.len() != 1
        {
            return Err(Diagnostic::error(span, "checksum can't be specified for multiple sources")
                .with_help("write one ADD for each source"));
        }
        for (index, (path, span)) in self.paths.iter().enumerate() {
            if let Some(address) = GitAddress::parse(path) {
                self.only_add("source can't be a git ref for COPY", *span)?;
                let address = address.map_err(|error| {
                    Diagnostic::error(*span, error.to_string())
                        .with_help("for example `https://example.com/name.git#v1:directory`")
                })?;
                let remote = Remote::Git(self.git(address, *span)?);
                remotes.insert(index, Source::Remote { remote, extract: false });
            } else if address::is_web(path) {
                self.only_add("source can't be a URL for COPY", *span)?;
                let checksum = self.checksum.map(|(text, span)| digest(text, span)).transpose()?;
                let name = address::file_name(path);
                let remote = Remote::Http(HttpSource { url: path.clone(), name, checksum });
                let extract = self.transfer.unpack.as_ref().is_some_and(|unpack| unpack.value);
                remotes.insert(index, Source::Remote { remote, extract });
            } else if let Some((_, span)) = self.checksum {
                return Err(Diagnostic::error(span, "checksum requires HTTP(S) or Git sources")
                    .with_help("remove `--checksum`: files of the context are what they are"));
            }
        }
        Ok(remotes)
    }

    /// COPY takes no URL and no repository (statement 110).
    fn only_add(&self, message: &str, span: Span) -> Result<(), Diagnostic> {
        if self.is_add { Ok(()) } else { Err(Diagnostic::error(span, message).with_help("use ADD")) }
    }

    fn git(&self, mut address: GitAddress, span: Span) -> Result<GitSource, Diagnostic> {
        let flag = self.transfer.keep_git_dir.as_ref();
        if let (Some(Spanned { value, span }), Some(in_address)) = (flag, address.keep_git_dir)
            && *value != in_address
        {
            return Err(Diagnostic::error(*span, "inconsistent keep-git-dir configuration")
                .with_help("say it once: with the flag or in the address"));
        }
        address.keep_git_dir = address.keep_git_dir.or(flag.map(|flag| flag.value));
        if let (Some((flag, span)), Some(in_address)) = (self.checksum, &address.checksum)
            && flag != in_address
        {
            let message = format!("checksum mismatch \"{flag}\" != \"{in_address}\"");
            return Err(
                Diagnostic::error(span, message).with_help("say it once: with the flag or in the address")
            );
        }
        address.checksum = address.checksum.or_else(|| self.checksum.map(|(text, _)| text.to_owned()));
        if let Some(checksum) = &address.checksum
            && (checksum.is_empty() || !checksum.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            let span = self.checksum.map_or(span, |(_, span)| span);
            let message = format!("invalid checksum {checksum} for Git URL, expected hex commit hash");
            return Err(Diagnostic::error(span, message)
                .with_help("write the commit: 40 hexadecimal digits, or their beginning"));
        }
        // What BuildKit does with `mtime=` in an ADD: nothing.
        address.commit_times = false;
        Ok(GitSource::of(address))
    }
}

fn digest(text: &str, span: Span) -> Result<Digest, Diagnostic> {
    text.parse().map_err(|_| {
        Diagnostic::error(span, format!("invalid checksum digest format: `{text}`"))
            .with_help("write --checksum=sha256: and 64 hexadecimal digits")
    })
}
