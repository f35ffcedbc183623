//! The place room.
