//! How an upload goes on after a failure: decisions without effects.

use super::super::error::{Error, Problem};

/// How a blob is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// In one request.
    Whole,
    /// In requests of at most so many bytes.
    Chunks(u64),
}

/// How an upload stands when a request of it has failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) way: Way,
    pub(super) size: u64,
    /// What the registry is known to have.
    pub(super) offset: u64,
    /// The shortest chunk that the registry takes.
    pub(super) shortest: u64,
    /// How many failures in a row brought nothing on.
    pub(super) stalls: u32,
    /// Whether one request was too long for the registry.
    pub(super) too_long: bool,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ask how much the registry has, and go on from there.
    Resume,
    /// The same after a pause.
    Wait(Way),
    /// Begin a new session.
    Anew(Way),
    /// It has no use.
    GiveUp,
}

const MIB: u64 = 1 << 20;

/// What is tried first where one request is too long: below the 100 MB that proxies of many hosts allow.
pub(super) const LONG_CHUNK: u64 = 64 * MIB;

/// Whoever takes no request of this length takes no images.
const SHORT_CHUNK: u64 = MIB;

/// So often an upload breaks at its beginning before it is tried in chunks: a proxy may end requests that are too
/// long for it without a word.
const STALLS: u32 = 2;

/// Decides how to go on after `error`.
pub(super) fn turn(error: &Error, at: &Standing) -> Turn {
    let in_chunks = matches!(at.way, Way::Chunks(_)) || at.offset > 0;
    match error.status() {
        Some(413) => shorter(at).map_or(Turn::GiveUp, Turn::Anew),
        // The session is gone.
        Some(404) => Turn::Anew(at.way),
        Some(416) => Turn::Resume,
        // No chunks here, or not as we send them; the digest of two halves may be wrong, too.
        Some(400 | 405 | 415 | 501) if in_chunks && !at.too_long => Turn::Anew(Way::Whole),
        None if matches!(error, Error::Protocol { .. }) && in_chunks && !at.too_long => {
            Turn::Anew(Way::Whole)
        }
        _ if !error.is_transient() => Turn::GiveUp,
        _ => {
            let broken = matches!(error, Error::Network { problem: Problem::Broken | Problem::Timeout, .. });
            let stuck = broken && at.offset == 0 && at.stalls >= STALLS;
            Turn::Wait(if stuck { shorter(at) } else { None }.unwrap_or(at.way))
        }
    }
}

/// Returns a way with shorter requests, unless they are short already.
fn shorter(at: &Standing) -> Option<Way> {
    let length = match at.way {
        Way::Whole => at.size - at.offset,
        Way::Chunks(length) => length.min(at.size),
    };
    let next = if length > LONG_CHUNK { LONG_CHUNK } else { length / 2 };
    (next >= SHORT_CHUNK.max(at.shortest)).then_some(Way::Chunks(next))
}

/// Decides how to send `size` bytes to a registry that takes no longer requests than `longest` and no shorter chunks
/// than `shortest`.
pub(super) fn begin(size: u64, longest: Option<u64>, shortest: u64) -> Way {
    match longest {
        Some(longest) if longest > 0 && size > longest => Way::Chunks(longest.max(shortest)),
        _ => Way::Whole,
    }
}

/// Reads how many bytes a registry has: `0-99` (distribution-spec, "pushing a blob in chunks"), which some write as
/// `bytes=0-99`. `0-0` is what registries say that have nothing.
pub(super) fn received(range: &str) -> Option<u64> {
    let range = range.trim().trim_start_matches("bytes").trim_start_matches(['=', ' ']);
    let (first, last) = range.split_once('-')?;
    if first.trim() != "0" {
        return None;
    }
    match last.trim().parse::<u64>().ok()? {
        0 => Some(0),
        last => last.checked_add(1),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::error::Action;
    use super::*;

    fn status(status: u16) -> Error {
        Error::Status {
            action: Action::Write,
            status,
            host: "h".into(),
            repository: "r".into(),
            reference: String::new(),
            body: String::new(),
            retry_after: None,
        }
    }

    fn broken() -> Error {
        Error::Network { host: "h".into(), problem: Problem::Broken, source: "x".into() }
    }

    #[test]
    fn turns() {
        let whole =
            Standing { way: Way::Whole, size: 200 * MIB, offset: 0, shortest: 0, stalls: 1, too_long: false };
        let resumed = Standing { offset: MIB, ..whole };
        let chunks = Standing { way: Way::Chunks(8 * MIB), ..whole };
        let forced = Standing { too_long: true, ..chunks };
        for (what, error, at, expected) in [
            ("one request is too long", status(413), whole, Turn::Anew(Way::Chunks(LONG_CHUNK))),
            ("so is a chunk", status(413), forced, Turn::Anew(Way::Chunks(4 * MIB))),
            (
                "nothing is short enough",
                status(413),
                Standing { way: Way::Chunks(MIB), ..forced },
                Turn::GiveUp,
            ),
            ("shorter is not allowed", status(413), Standing { shortest: 5 * MIB, ..forced }, Turn::GiveUp),
            ("the session is gone", status(404), chunks, Turn::Anew(Way::Chunks(8 * MIB))),
            ("another offset", status(416), chunks, Turn::Resume),
            ("no chunks", status(405), chunks, Turn::Anew(Way::Whole)),
            ("no chunks, and no whole", status(405), forced, Turn::GiveUp),
            ("wrong halves", status(400), resumed, Turn::Anew(Way::Whole)),
            ("a wrong whole", status(400), whole, Turn::GiveUp),
            ("not allowed", status(403), whole, Turn::GiveUp),
            ("busy", status(503), chunks, Turn::Wait(Way::Chunks(8 * MIB))),
            ("cut once", broken(), whole, Turn::Wait(Way::Whole)),
            ("cut again", broken(), Standing { stalls: 2, ..whole }, Turn::Wait(Way::Chunks(LONG_CHUNK))),
            ("cut, but it goes on", broken(), Standing { stalls: 2, ..resumed }, Turn::Wait(Way::Whole)),
            ("a chunk is cut", broken(), Standing { stalls: 2, ..chunks }, Turn::Wait(Way::Chunks(4 * MIB))),
            ("small", broken(), Standing { stalls: 2, size: MIB, ..whole }, Turn::Wait(Way::Whole)),
        ] {
            assert_eq!(turn(&error, &at), expected, "{what}");
        }
    }

    #[test]
    fn the_registry_says_how_long_requests_may_be() {
        for (size, longest, shortest, expected) in [
            (10, None, 0, Way::Whole),
            (10, Some(10), 0, Way::Whole),
            (11, Some(10), 0, Way::Chunks(10)),
            (11, Some(0), 0, Way::Whole),
            (11, Some(5), 8, Way::Chunks(8)),
        ] {
            assert_eq!(begin(size, longest, shortest), expected, "{size} {longest:?} {shortest}");
        }
    }

    #[test]
    fn what_a_registry_has_is_a_range_from_zero() {
        for (text, expected) in [
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("bytes 0-99", Some(100)),
            ("0-0", Some(0)),
            ("5-99", None),
            ("0--1", None),
            ("0-18446744073709551615", None),
            ("", None),
        ] {
            assert_eq!(received(text), expected, "{text}");
        }
    }
}
