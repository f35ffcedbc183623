//! The builder room.
