//! When to ask again, as a pure function.

use std::time::Duration;

use super::error::Error;

/// How often a request is repeated and how long to wait before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// The pause before the second attempt; it doubles with each further one.
    pub first_pause: Duration,
    /// How many attempts in all.
    pub attempts: u32,
}

/// A registry that says "too many requests" counts in longer spans than one that hiccups.
const TOO_MANY_REQUESTS_FACTOR: u32 = 8;

impl Default for Patience {
    fn default() -> Self {
        Self { first_pause: Duration::from_millis(500), attempts: 5 }
    }
}

impl Patience {
    /// Returns how long to wait before the next attempt after `failures` failed ones; `None` to give up.
    pub(super) fn pause(&self, failures: u32, error: &Error) -> Option<Duration> {
        if failures >= self.attempts || !error.is_transient() {
            return None;
        }
        let factor = if error.status() == Some(429) { TOO_MANY_REQUESTS_FACTOR } else { 1 };
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        Some(self.first_pause.saturating_mul(doubled).saturating_mul(factor))
    }

    /// Calls `request` until it succeeds or there is no use in asking again.
    pub(super) fn ask<T>(&self, mut request: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let mut failures = 0;
        loop {
            match request() {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    failures += 1;
                    match self.pause(failures, &error) {
                        Some(pause) => std::thread::sleep(pause),
                        None => return Err(error),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Error {
        Error::Status {
            status,
            host: "h".into(),
            repository: "r".into(),
            reference: "t".into(),
            body: String::new(),
        }
    }

    #[test]
    fn pauses_double_and_end() {
        let patience = Patience { first_pause: Duration::from_secs(1), attempts: 4 };
        for (failures, code, seconds) in [
            (1, 503, Some(1)),
            (2, 503, Some(2)),
            (3, 503, Some(4)),
            (4, 503, None),
            (1, 429, Some(8)),
            (1, 404, None),
        ] {
            assert_eq!(
                patience.pause(failures, &status(code)),
                seconds.map(Duration::from_secs),
                "{failures} × {code}"
            );
        }
    }

    #[test]
    fn asks_again_only_while_it_makes_sense() {
        let patience = Patience { first_pause: Duration::ZERO, attempts: 3 };
        for (answers, calls, succeeds) in [
            (&[503, 0][..], 2, true),
            (&[503, 503, 503, 0], 3, false),
            (&[404, 0], 1, false),
            (&[0], 1, true),
        ] {
            let mut count = 0;
            let result = patience.ask(|| {
                count += 1;
                match answers[count - 1] {
                    0 => Ok(()),
                    code => Err(status(code)),
                }
            });
            assert_eq!((count, result.is_ok()), (calls, succeeds), "{answers:?}");
        }
    }
}
