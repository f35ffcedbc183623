//! Ctrl-C and SIGTERM: running steps end, temporary files go, the exit code says so.

use std::time::Duration;

use kiln::sandbox::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::report::Failure;

/// How long an orderly end may take. What is left then (a download, a file being packed) is cut off; the next
/// command recognises the leftovers.
const GRACE: Duration = Duration::from_secs(2);

/// Returns what is cancelled by a signal that asks the program to end.
pub(crate) fn cancel_on_signal() -> Result<Cancel, Failure> {
    let cancel = Cancel::new().map_err(Failure::from_error)?;
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Failure::from_error)?;
    let cancelled = cancel.clone();
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            cancelled.cancel();
            std::thread::sleep(GRACE);
            std::process::exit(128 + signal);
        }
    });
    Ok(cancel)
}
