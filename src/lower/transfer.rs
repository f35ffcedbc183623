//! COPY and ADD.

use crate::diagnostic::{Diagnostic, Span};
use crate::dockerfile::instruction::{Heredoc, Transfer, TransferSource, Word};
use crate::graph::{Copy, Input, Op, Source};
use crate::mode::Chmod;

use super::fold::Fold;
use super::{label, place, words};

impl Fold<'_, '_> {
    pub(super) fn transfer(&mut self, instruction: &str, transfer: &Transfer) -> Result<(), Diagnostic> {
        let is_add = instruction == "ADD";
        let owner = self.optional_word(transfer.chown.as_ref())?.filter(|owner| !owner.is_empty());
        let chmod_text = self.optional_word(transfer.chmod.as_ref())?.filter(|chmod| !chmod.is_empty());
        let checksum =
            self.optional_word(transfer.checksum.as_ref())?.filter(|checksum| !checksum.is_empty());
        let chmod = self.chmod(transfer.chmod.as_ref(), chmod_text.as_deref())?;
        let paths = self.paths(is_add, transfer)?;
        let destination = self.word(&transfer.destination)?;
        if let (Some(_), Some(word)) = (&checksum, &transfer.checksum) {
            return Err(Diagnostic::error(word.span, "checksum requires HTTP(S) or Git sources")
                .with_help("remove `--checksum`: files of the context are what they are"));
        }
        let input = match (&transfer.from, self.now.sources.first().copied()) {
            (Some(from), Some(source)) => self.input(source, "copy from", from.span)?,
            _ => Input::Context(None),
        };
        // Paths first, then here-documents, whatever their order in the line: as BuildKit copies them.
        let mut line = String::from(instruction);
        for (flag, value) in [("--chown", &owner), ("--chmod", &chmod_text)] {
            if flag == "--chown" && transfer.parents {
                line += " --parents";
            }
            if let Some(value) = value {
                line += &format!(" {flag}={value}");
            }
        }
        let mut sources = Vec::with_capacity(transfer.sources.len());
        for path in paths {
            line += &format!(" {path}");
            sources.push(Source::Path { input: input.clone(), path });
        }
        for heredoc in heredocs(transfer) {
            line += &format!(" <<{}", heredoc.name);
            let content = self.body(heredoc)?.into_bytes().into();
            sources.push(Source::Inline { name: heredoc.name.clone(), content });
        }
        line += &format!(" {destination} # buildkit");
        let op = Op::Copy(Copy {
            parent: self.state.root,
            sources,
            destination: place::destination(&self.state.config.config.working_dir, &destination),
            owner,
            // With --chmod it is executed as a plain copy (statement 131).
            link: transfer.link && chmod.is_none(),
            chmod,
            excludes: transfer.excludes.iter().map(|pattern| pattern.value.clone()).collect(),
            parents: transfer.parents,
            extract: transfer.unpack.as_ref().map_or(is_add, |unpack| unpack.value),
        });
        let shown = words::expand_for_show(&self.now.text, self.build.escape, &self.state.scope).into_owned();
        let step = self.add_step(op, &label::with_capital_instruction(&shown));
        self.state.record(line, Some(step));
        Ok(())
    }

    fn chmod(&self, word: Option<&Word>, text: Option<&str>) -> Result<Option<Chmod>, Diagnostic> {
        let (Some(word), Some(text)) = (word, text) else { return Ok(None) };
        Chmod::parse(text).map(Some).map_err(|error| {
            Diagnostic::error(word.span, error.to_string())
                .with_help("for example `--chmod=755` or `--chmod=u+x`")
        })
    }

    fn paths(&mut self, is_add: bool, transfer: &Transfer) -> Result<Vec<String>, Diagnostic> {
        let mut paths = Vec::with_capacity(transfer.sources.len());
        for source in &transfer.sources {
            let TransferSource::Path(word) = source else { continue };
            let path = self.word(word)?;
            if path.is_empty() && !word.raw.is_empty() {
                self.explain_last(word.span, "an empty source is the whole context");
            }
            refuse_remote(is_add, &path, word.span)?;
            paths.push(path);
        }
        Ok(paths)
    }

    fn body(&mut self, heredoc: &Heredoc) -> Result<String, Diagnostic> {
        if !heredoc.expand {
            return Ok(heredoc.body.clone());
        }
        let expansion = words::expand_body(&heredoc.body, heredoc.span, &self.state.scope)?;
        self.warn_of_unset(&expansion.unset, heredoc.span);
        Ok(expansion.text)
    }
}

fn heredocs(transfer: &Transfer) -> impl Iterator<Item = &Heredoc> {
    transfer.sources.iter().filter_map(|source| match source {
        TransferSource::Heredoc(heredoc) => Some(heredoc),
        TransferSource::Path(_) => None,
    })
}

/// COPY takes no URL and no repository (statement 110); ADD of them is not supported yet.
fn refuse_remote(is_add: bool, path: &str, span: Span) -> Result<(), Diagnostic> {
    let git = is_git(path);
    let url = path.starts_with("http://") || path.starts_with("https://");
    let message = match (is_add, git, url) {
        (_, false, false) => return Ok(()),
        (false, true, _) => "source can't be a git ref for COPY",
        (false, false, true) => "source can't be a URL for COPY",
        (true, true, _) => "ADD of a git repository is not supported yet",
        (true, false, true) => "ADD of a URL is not supported yet",
    };
    let help = if is_add { "fetch it in a RUN, or into the build context" } else { "use ADD" };
    Err(Diagnostic::error(span, message).with_help(help))
}

/// Tells whether BuildKit takes `source` for a git repository: `git://` and `ssh://`, `user@host:path`, and
/// web addresses whose path ends in `.git`.
fn is_git(source: &str) -> bool {
    if let Some((scheme, rest)) = source.split_once("://") {
        let path = rest.split(['#', '?']).next().unwrap_or(rest);
        return match scheme {
            "git" | "ssh" => true,
            "http" | "https" => path.ends_with(".git") && path.contains('/'),
            _ => false,
        };
    }
    let Some((host, path)) = source.split_once(':') else { return false };
    let Some((user, host)) = host.split_once('@') else { return false };
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    is_name(user) && is_name(host) && !path.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_144_git_sources() {
        for source in [
            "https://github.com/o/r.git",
            "https://github.com/o/r.git#v1:sub",
            "git@github.com:o/r.git",
            "git://h/r",
            "ssh://git@h/r",
        ] {
            assert!(is_git(source), "{source}");
        }
        for source in ["https://h/x.tar", "github.com/o/r", "r.git", "./git@h:x", "a:b", "C:/x"] {
            assert!(!is_git(source), "{source}");
        }
    }
}
