//! The `kiln` command: arguments in, one call into the library, an exit code out.

// They panic where nobody reads any more, which is no bug: `cli::report` prints.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[expect(clippy::disallowed_methods, reason = "environment and clock are read here and nowhere else")]
mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A step's process is this program again: it must become the command before there is a second thread.
    kiln::sandbox::child_main();
    cli::run()
}
