//! `kiln info`: how kiln works on this machine.

use std::io::Write as _;

use kiln::oci::Platform;

use super::Outcome;
use super::environment::Environment;
use super::report::Failure;

/// Prints what was found out.
pub(crate) fn run(environment: &Environment) -> Outcome {
    let text = format!(
        "Version:    {}\nStore:      {}\nIsolation:  {}\nNetwork:    the host's (RUN --network=none: loopback only)\n\
         Platform:   {}\nProcessors: {}\n",
        env!("CARGO_PKG_VERSION"),
        environment.store_root.display(),
        environment.isolation,
        Platform::host(),
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
    );
    std::io::stdout().write_all(text.as_bytes()).map_err(Failure::from_error)
}
