//! How far the threads of a layer are: order, waiting for space, the first failure.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Error;

/// Puts what threads send back into its order.
pub(super) struct InOrder<T, N> {
    received: Receiver<T>,
    number: N,
    early: BTreeMap<u64, T>,
    next: u64,
}

impl<T, N: Fn(&T) -> u64> InOrder<T, N> {
    pub(super) const fn new(received: Receiver<T>, number: N) -> Self {
        Self { received, number, early: BTreeMap::new(), next: 0 }
    }
}

impl<T, N: Fn(&T) -> u64> Iterator for InOrder<T, N> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(item) = self.early.remove(&self.next) {
                self.next += 1;
                return Some(item);
            }
            let item = self.received.recv().ok()?;
            self.early.insert((self.number)(&item), item);
        }
    }
}

/// How far the layer is, and whether it has failed.
pub(super) struct Progress {
    done: Mutex<Done>,
    changed: Condvar,
    window: u64,
}

#[derive(Default)]
pub(super) struct Done {
    pub(super) hashed: u64,
    pub(super) written: u64,
    failed: bool,
    error: Option<Error>,
}

impl Progress {
    pub(super) fn new(window: usize) -> Self {
        Self { done: Mutex::default(), changed: Condvar::new(), window: window as u64 }
    }

    /// Waits until block `number` is within the window; false if there will be no need for it.
    ///
    /// Blocks are taken in order, so the one that everybody waits for always is within it.
    pub(super) fn wait_for_space(&self, number: u64) -> bool {
        let mut done = lock(&self.done);
        while !done.failed && number >= done.hashed.min(done.written) + self.window {
            done = self.changed.wait(done).unwrap_or_else(PoisonError::into_inner);
        }
        !done.failed
    }

    pub(super) fn advance(&self, counter: impl FnOnce(&mut Done) -> &mut u64) {
        let mut done = lock(&self.done);
        let before = done.hashed.min(done.written);
        *counter(&mut done) += 1;
        if done.hashed.min(done.written) > before {
            self.changed.notify_all();
        }
    }

    /// Runs the work of a thread. If it fails or panics, nobody waits any longer.
    pub(super) fn guard<T>(&self, work: impl FnOnce() -> Result<T, Error>) -> Option<T> {
        struct Stop<'a>(&'a Progress);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                if thread::panicking() {
                    self.0.fail(None);
                }
            }
        }
        let _stop = Stop(self);
        match work() {
            Ok(result) => Some(result),
            Err(error) => {
                self.fail(Some(error));
                None
            }
        }
    }

    fn fail(&self, error: Option<Error>) {
        let mut done = lock(&self.done);
        done.failed = true;
        if done.error.is_none() {
            done.error = error;
        }
        drop(done);
        self.changed.notify_all();
    }

    pub(super) fn into_error(self) -> Option<Error> {
        self.done.into_inner().unwrap_or_else(PoisonError::into_inner).error
    }
}

/// A lock is poisoned only if a thread panicked, and then the scope panics when it ends.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
