//! The Dockerfile language: text to typed instructions, with spans. Pure; could be lifted out as a crate.
//!
//! ```text
//! text ─ lexer ─> logical lines ─ statement ─> instructions ─ parse ─> Dockerfile (all findings at once)
//!                                                   word + variables ─ expand ─> plain text
//! ```
//!
//! Nothing here resolves a stage, reads an environment or knows an image: [`Dockerfile`](instruction::Dockerfile)
//! says what is written. Where the language has odd corners they are BuildKit's, because files rely on them.

pub mod checks;
mod command;
mod directives;
mod duration;
pub mod expand;
mod flags;
mod heredoc;
pub mod instruction;
mod json;
mod lexer;
mod mount;
mod parse;
mod statement;
mod text;

#[cfg(test)]
mod tests;

pub use checks::{CheckFilter, CheckOptions, checks};
pub use duration::nanoseconds;
pub use expand::{ExpandError, Expansion, Mode, expand};
pub use mount::{Expander, parse_size};
pub use parse::{Lines, Parsed, line_of, parse, parse_trigger};
