//! Which entries a target needs, whether they can be ordered, and which images they stand on.

use std::collections::BTreeSet;

use crate::diagnostic::suggest::nearest;
use crate::diagnostic::{Diagnostic, Span};

use super::super::{BaseKey, BaseName, BaseRequest, Bases};
use super::{Foundation, Stages};

/// Names that a misspelt image is compared with.
const COMMON_IMAGES: [&str; 7] = ["alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora"];

impl Stages<'_> {
    /// Refuses stages that read from each other (statement 78).
    pub(crate) fn refuse_cycles(&self) -> Result<(), Diagnostic> {
        let mut state = vec![Visit::New; self.entries.len()];
        for start in 0..self.entries.len() {
            if std::mem::replace(&mut state[start], Visit::Open) != Visit::New {
                state[start] = Visit::Done;
                continue;
            }
            // A stack of (entry, what it reads) instead of recursion: files may be long.
            let mut path = vec![(start, self.reads(start))];
            while let Some((entry, reads)) = path.last_mut() {
                let entry = *entry;
                let Some((next, span)) = reads.pop() else {
                    state[entry] = Visit::Done;
                    path.pop();
                    continue;
                };
                match state[next] {
                    Visit::Done => {}
                    Visit::New => {
                        state[next] = Visit::Open;
                        path.push((next, self.reads(next)));
                    }
                    Visit::Open => {
                        let message = format!("circular dependency detected on stage: {}", self.label(next));
                        let finding = Diagnostic::error(span, message);
                        return Err(finding.with_help("a stage can read only from stages above it"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns what an entry reads from and where it says so, the last first.
    fn reads(&self, entry: usize) -> Vec<(usize, Span)> {
        let items = self.entries[entry].items.iter().rev();
        items.flat_map(|item| item.sources.iter().map(|source| (*source, item.instruction.span))).collect()
    }

    /// Returns which entries `target` needs.
    pub(crate) fn reachable(&self, target: usize) -> Vec<bool> {
        let mut reached = vec![false; self.entries.len()];
        if self.options.all_stages {
            reached.fill(true);
            return reached;
        }
        let mut open = vec![target];
        while let Some(entry) = open.pop() {
            if std::mem::replace(&mut reached[entry], true) {
                continue;
            }
            let entry = &self.entries[entry];
            if let Foundation::Stage(base) = entry.foundation {
                open.push(base);
            }
            open.extend(entry.items.iter().flat_map(|item| &item.sources));
        }
        reached
    }

    /// Returns the images that must be known and are not; those that do not exist are findings.
    pub(crate) fn missing(
        &self,
        reached: &[bool],
        bases: &Bases,
        findings: &mut Vec<Diagnostic>,
    ) -> Vec<BaseRequest> {
        let (mut requests, mut seen) = (Vec::new(), BTreeSet::new());
        for (entry, _) in self.entries.iter().zip(reached).filter(|(_, reached)| **reached) {
            let Foundation::Image(key) = &entry.foundation else { continue };
            if !seen.insert(key) {
                continue;
            }
            match bases.get(key) {
                None => requests.push(BaseRequest { key: key.clone(), span: entry.span }),
                Some(Err(reason)) => findings.push(self.not_found(key, reason, entry.span)),
                Some(Ok(_)) => {}
            }
        }
        requests
    }

    fn not_found(&self, key: &BaseKey, reason: &str, span: Span) -> Diagnostic {
        let finding = Diagnostic::error(span, format!("cannot get the image {}: {reason}", key.name));
        let BaseName::Reference(reference) = &key.name else {
            return finding.with_help("see what --build-context says for this name");
        };
        let name = reference.familiar_name();
        if let Some(stage) = self.similar_stage(&name) {
            return finding.with_help(format!("did you mean stage `{stage}`?"));
        }
        match nearest(&name, COMMON_IMAGES) {
            Some(image) => finding.with_help(format!("did you mean `{image}`?")),
            None => finding.with_help("check name and tag, and whether this machine may pull the image"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}
