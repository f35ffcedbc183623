//! How an image came to be, made consistent with its layers.

use crate::oci::History;
use crate::time::Timestamp;

/// What a build adds to an image's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// The instruction as the history shows it.
    pub created_by: String,
    /// MAINTAINER at that point.
    pub author: String,
    /// When its layer was made; `None` to take the time of the entries around it.
    pub created: Option<Timestamp>,
    /// Whether it has a layer.
    pub has_layer: bool,
    /// What made it; [`HISTORY_COMMENT`](crate::oci::HISTORY_COMMENT) for an instruction.
    pub comment: String,
}

/// Returns the base's history followed by the new entries.
///
/// Of the base, as many entries have a layer as it has layers: missing ones are invented, surplus ones become
/// empty, and nothing else in it changes. New entries without a time get one as BuildKit gives it: that of
/// the entry before, the first ones that of the first new layer, and if nothing new has a time that of the
/// base.
pub(super) fn join(
    base: Vec<History>,
    base_layers: usize,
    new: Vec<NewEntry>,
    epoch: Option<Timestamp>,
) -> Vec<History> {
    let base_time = base.iter().rev().find_map(|entry| entry.created);
    let mut time = new.iter().find_map(|entry| entry.created).or(base_time);
    let mut history = match_layers(base, base_layers);
    history.extend(new.into_iter().map(|entry| {
        time = entry.created.or(time);
        History {
            created: clamp(time, epoch).or(epoch),
            created_by: entry.created_by,
            author: entry.author,
            comment: entry.comment,
            empty_layer: !entry.has_layer,
        }
    }));
    history
}

/// Returns a time that is not after the epoch.
pub(super) fn clamp(time: Option<Timestamp>, epoch: Option<Timestamp>) -> Option<Timestamp> {
    match (time, epoch) {
        (Some(time), Some(epoch)) => Some(time.min(epoch)),
        (time, _) => time,
    }
}

fn match_layers(mut base: Vec<History>, layers: usize) -> Vec<History> {
    let mut found = 0;
    for entry in base.iter_mut().filter(|entry| !entry.empty_layer) {
        if found == layers {
            entry.empty_layer = true;
        } else {
            found += 1;
        }
    }
    let invented = History {
        created_by: "layer of the base image, not in its history".to_owned(),
        ..History::default()
    };
    base.extend(std::iter::repeat_n(invented, layers - found));
    base
}
