//! A layer's index.
