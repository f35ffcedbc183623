//! The solve room.
