//! The threads that list contexts and read their files.
//!
//! They are more than the processors: what the kernel does not hold in memory they wait for, and a disk or a file server
//! answers many requests in the time of one. Where nothing is waited for, they cost nothing.

use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// How many there are.
const READERS: usize = 16;

/// Does `work`, whose parallel parts are done by the readers; or by the threads of the pool in which this is called, if it
/// is one: then somebody wants it with so many.
pub(super) fn with_readers<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    if rayon::current_thread_index().is_some() {
        return work();
    }
    let name = |number| format!("reader {number}");
    let pool = || ThreadPoolBuilder::new().num_threads(READERS).thread_name(name).build().ok();
    match POOL.get_or_init(pool) {
        Some(pool) => pool.install(work),
        // Where so many may not be had, rayon's own do it, one for each processor.
        None => work(),
    }
}
