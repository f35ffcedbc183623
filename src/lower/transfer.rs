//! COPY and ADD.

use crate::diagnostic::{Diagnostic, Span};
use crate::dockerfile::instruction::{Heredoc, Transfer, TransferSource, Word};
use crate::graph::{Copy, Input, Op, Source};
use crate::mode::Chmod;

use super::fold::Fold;
use super::{label, place, remote, words};

impl Fold<'_, '_> {
    pub(super) fn transfer(&mut self, instruction: &str, transfer: &Transfer) -> Result<(), Diagnostic> {
        let is_add = instruction == "ADD";
        let owner = self.optional_word(transfer.chown.as_ref())?.filter(|owner| !owner.is_empty());
        let chmod_text = self.optional_word(transfer.chmod.as_ref())?.filter(|chmod| !chmod.is_empty());
        let checksum =
            self.optional_word(transfer.checksum.as_ref())?.filter(|checksum| !checksum.is_empty());
        let chmod = self.chmod(transfer.chmod.as_ref(), chmod_text.as_deref())?;
        let paths = self.paths(transfer)?;
        let destination = self.word(&transfer.destination)?;
        let checksum = checksum.as_deref().zip(transfer.checksum.as_ref().map(|word| word.span));
        let named = remote::Named { paths: &paths, is_add, checksum, transfer };
        let mut remotes = named.remotes()?;
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
        for (index, (path, _)) in paths.into_iter().enumerate() {
            line += &format!(" {path}");
            sources.push(remotes.remove(&index).unwrap_or(Source::Path { input: input.clone(), path }));
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

    fn paths(&mut self, transfer: &Transfer) -> Result<Vec<(String, Span)>, Diagnostic> {
        let mut paths = Vec::with_capacity(transfer.sources.len());
        for source in &transfer.sources {
            let TransferSource::Path(word) = source else { continue };
            let path = self.word(word)?;
            if path.is_empty() && !word.raw.is_empty() {
                self.explain_last(word.span, "an empty source is the whole context");
            }
            paths.push((path, word.span));
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
