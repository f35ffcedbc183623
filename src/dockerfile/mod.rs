//! The Dockerfile language: text to typed instructions, with spans. Pure; could be lifted out as a crate.

pub mod expand;
pub mod instruction;
