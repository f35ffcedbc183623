//! The `kiln` program.

fn main() {
    // Before anything else: a step's child needs a process with one thread.
    kiln::sandbox::child_main();
}
