//! The integration tests: one binary, one module per subject.

#[path = "../support/validate.rs"]
mod validate;

mod archive;
