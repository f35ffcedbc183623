//! The lower room.
