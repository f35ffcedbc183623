//! The files of other machines, as the solver asks for them.

use std::sync::Arc;

use crate::context::Files;
use crate::digest::Digest;
use crate::graph::Remote;
use crate::remote::Remotes;
use crate::solve::{self, FetchError, Progress};

/// Hands the solver's questions to the room that knows the answers.
pub(super) struct Brought<'a>(pub(super) &'a Remotes);

impl solve::Remotes for Brought<'_> {
    fn identify(&self, remote: &Remote, progress: &Progress<'_>) -> Result<Digest, FetchError> {
        Ok(self.0.identify(remote, progress)?)
    }

    fn open(&self, remote: &Remote, progress: &Progress<'_>) -> Result<Arc<Files>, FetchError> {
        Ok(self.0.open(remote, progress)?)
    }
}
