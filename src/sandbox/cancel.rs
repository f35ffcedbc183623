//! A wish to stop that wakes whoever waits.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// Tells running steps to end; clones are the same wish. Once uttered it stays.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<OwnedFd>);

impl Cancel {
    /// Makes a wish that nobody uttered yet.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(descriptor)))
    }

    /// Utters it. Running steps are killed, later ones end at once.
    pub fn cancel(&self) {
        // A full counter was written to before, which is all that is wanted.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// Tells whether it was uttered.
    pub fn is_cancelled(&self) -> bool {
        let mut descriptors = [PollFd::new(&*self.0, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut descriptors, Some(&at_once)), Ok(1))
    }

    /// Returns the descriptor that is readable once it was uttered.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_and_is_shared() {
        let cancel = Cancel::new().unwrap();
        let other = cancel.clone();
        assert!(!other.is_cancelled());
        cancel.cancel();
        assert!(other.is_cancelled() && other.is_cancelled() && cancel.is_cancelled());
    }
}
