//! When to ask again: the decision is a pure function, the waiting a loop around it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::error::Error;

/// How often a request is repeated and how long to wait before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The pause before the second attempt; it doubles with each further one.
    pub first_pause: Duration,
    /// How many attempts for one request.
    pub attempts: u32,
    /// How many repetitions of all requests together: a registry that is down is not asked for each blob anew.
    pub budget: u32,
    /// A `Retry-After` beyond this is not waited for: the request fails, and says so.
    pub longest_pause: Duration,
    /// How long a connection may stand still, in both directions: then the request has failed. A registry that puts a
    /// large upload together may think for a while before it answers.
    pub silence: Duration,
}

/// A registry that says "too many requests" counts in longer spans than one that hiccups.
const TOO_MANY_REQUESTS_FACTOR: u32 = 8;

impl Default for Patience {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(500),
            attempts: 5,
            budget: 40,
            longest_pause: Duration::from_secs(60),
            silence: Duration::from_secs(120),
        }
    }
}

impl Patience {
    /// Returns how long to wait before the next attempt after `failures` failed ones; `None` to give up.
    /// `chance` spreads the pauses of those who failed together; 0.0 to 1.0.
    fn pause(&self, failures: u32, error: &Error, chance: f64) -> Option<Duration> {
        if failures >= self.attempts || !error.is_transient() {
            return None;
        }
        if let Some(asked) = error.retry_after() {
            return (asked <= self.longest_pause).then_some(asked);
        }
        let factor = if error.status() == Some(429) { TOO_MANY_REQUESTS_FACTOR } else { 1 };
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let pause = self.first_pause.saturating_mul(doubled).saturating_mul(factor).min(self.longest_pause);
        Some(pause.mul_f64(0.75 + chance / 2.0))
    }
}

/// Where it is said aloud that something is asked again.
pub type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// The patience of one client, and how much of it is left.
pub(super) struct Retry {
    patience: Patience,
    spent: AtomicU32,
    notice: Notice,
}

impl Retry {
    pub(super) fn new(patience: Patience, notice: Notice) -> Self {
        Self { patience, spent: AtomicU32::new(0), notice }
    }

    /// Calls `request` until it succeeds or there is no use in asking again.
    pub(super) fn ask<T>(&self, mut request: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let mut failures = 0;
        loop {
            match request() {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    failures += 1;
                    if !self.wait(failures, &error) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Waits before another attempt; false if there is to be none.
    pub(super) fn wait(&self, failures: u32, error: &Error) -> bool {
        let Some(pause) = self.patience.pause(failures, error, chance()) else { return false };
        if self.spent.fetch_add(1, Ordering::Relaxed) >= self.patience.budget {
            return false;
        }
        (self.notice)(&format!("{error}; asking again in {:.1} s", pause.as_secs_f64()));
        std::thread::sleep(pause);
        true
    }
}

/// A number from 0.0 to 1.0 that differs between processes and calls.
fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::error::Action;
    use super::*;

    fn status(status: u16, retry_after: Option<u64>) -> Error {
        Error::Status {
            action: Action::Read,
            status,
            host: "h".into(),
            repository: "r".into(),
            reference: "t".into(),
            body: String::new(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    fn patience(first_pause: Duration, attempts: u32) -> Patience {
        Patience { first_pause, attempts, ..Patience::default() }
    }

    #[test]
    fn pauses_double_and_end() {
        let patience = patience(Duration::from_secs(1), 4);
        for (failures, code, retry_after, seconds) in [
            (1, 503, None, Some(1)),
            (2, 503, None, Some(2)),
            (3, 503, None, Some(4)),
            (4, 503, None, None),
            (1, 429, None, Some(8)),
            (1, 429, Some(3), Some(3)),
            (1, 429, Some(3600), None),
            (1, 404, None, None),
        ] {
            assert_eq!(
                patience.pause(failures, &status(code, retry_after), 0.5),
                seconds.map(Duration::from_secs),
                "{failures} × {code}"
            );
        }
    }

    #[test]
    fn pauses_are_spread() {
        let pause = |chance| patience(Duration::from_secs(4), 4).pause(1, &status(503, None), chance);
        assert_eq!(pause(0.0), Some(Duration::from_secs(3)));
        assert_eq!(pause(1.0), Some(Duration::from_secs(5)));
        assert!((0.0..=1.0).contains(&chance()));
    }

    fn answers(retry: &Retry, answers: &[u16]) -> (usize, bool) {
        let mut count = 0;
        let result = retry.ask(|| {
            count += 1;
            match answers[count - 1] {
                0 => Ok(()),
                code => Err(status(code, None)),
            }
        });
        (count, result.is_ok())
    }

    #[test]
    fn asks_again_only_while_it_makes_sense() {
        for (codes, calls, succeeds) in [
            (&[503, 0][..], 2, true),
            (&[503, 503, 503, 0], 3, false),
            (&[404, 0], 1, false),
            (&[0], 1, true),
        ] {
            let retry = Retry::new(patience(Duration::ZERO, 3), Arc::new(|_| ()));
            assert_eq!(answers(&retry, codes), (calls, succeeds), "{codes:?}");
        }
    }

    #[test]
    fn all_requests_share_one_budget() {
        let retry = Retry::new(Patience { budget: 3, ..patience(Duration::ZERO, 9) }, Arc::new(|_| ()));
        assert_eq!(answers(&retry, &[503, 503, 0]), (3, true));
        assert_eq!(answers(&retry, &[503, 503, 0]), (2, false), "one was left");
    }
}
