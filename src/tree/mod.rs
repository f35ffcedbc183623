//! A tree.
