//! The registry room.
