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
        _ => match (error, at.way) {
            (Error::Network { problem: Problem::Broken | Problem::Timeout, .. }, Way::Whole)
                if at.offset == 0 && at.stalls >= STALLS && at.size > LONG_CHUNK =>
            {
                Turn::Wait(Way::Chunks(LONG_CHUNK))
            }
            (_, way) => Turn::Wait(way),
        },
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
