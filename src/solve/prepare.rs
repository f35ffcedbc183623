//! Compressing what a command writes while it still runs.
//!
//! Most commands that take long write files that they do not touch again, and leave a CPU to others now and then: packages are
//! unpacked one by one, and during a download there is little to compute. A thread of the lowest priority looks at what changed
//! so far and compresses what no longer changes ([`Preparer`]). When the command has ended everything is read as
//! it would have been anyway; only what was compressed before need not be again.

use std::fs::File;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::layer::{Compression, PackOptions, Prepared, Preparer};
use crate::rootfs::{self, Contents};
use crate::tree::Changes;

/// How long nobody looks at what a command changed: most commands end before. What changed in between is taken to be in
/// work.
const PAUSE: Duration = Duration::from_millis(200);

/// Looking takes one part of the time in so many, where there is very much to look at.
const PART_OF_TIME: u32 = 10;

/// The priority of who uses only what nobody else needs (`setpriority(2)`).
const LOWEST_PRIORITY: i32 = 19;

/// Does `work`, and compresses meanwhile what `look` finds to be done, into `file`. What then was prepared is a hint for
/// packing with these options; `None` if there is nothing.
pub(super) fn prepare_during<T>(
    options: &PackOptions,
    file: File,
    look: &(impl Fn(Contents<'_>) -> Result<Changes, rootfs::Error> + Sync),
    work: impl FnOnce() -> T,
) -> (T, Option<Prepared>) {
    let preparer = match options.compression {
        // Nothing would be saved.
        Compression::None => None,
        Compression::Gzip { .. } | Compression::Zstd { .. } => Preparer::new(options, file).ok(),
    };
    // Looking is parallel, and a pool of one thread keeps all of it on that thread.
    let Some((mut preparer, pool)) = preparer.zip(idle_thread()) else { return (work(), None) };
    let end = End::default();
    let done = pool.in_place_scope(|scope| {
        scope.spawn(|_| prepare_until(&end, &mut preparer, look));
        // Also when it panics, for the scope waits for the thread.
        let _stop = Stop(&end);
        work()
    });
    (done, Some(preparer.finish()))
}

/// Returns a thread that works when no other one wants to.
fn idle_thread() -> Option<ThreadPool> {
    let lower = |_| {
        // Of the calling thread alone. Where it is refused the work is done all the same.
        let _ = rustix::process::setpriority_process(None, LOWEST_PRIORITY);
    };
    ThreadPoolBuilder::new().num_threads(1).start_handler(lower).build().ok()
}

fn prepare_until(
    end: &End,
    preparer: &mut Preparer,
    look: &(impl Fn(Contents<'_>) -> Result<Changes, rootfs::Error> + Sync),
) {
    let mut pause = PAUSE;
    let go_on = || !end.is_reached();
    while !end.wait(pause) {
        let started = Instant::now();
        let looked = look(Contents::Stamped(&go_on));
        pause = PAUSE.max(started.elapsed() * PART_OF_TIME);
        // Things that come and go make looking fail: the next time it may be quiet.
        let Ok(changes) = looked else { continue };
        // What is wrong with the layer is said when it is packed, and without room there is no use in going on.
        if preparer.prepare(&changes, &go_on).is_err() {
            return;
        }
    }
}

/// Whether the work has ended.
#[derive(Default)]
struct End {
    reached: Mutex<bool>,
    changed: Condvar,
}

impl End {
    fn is_reached(&self) -> bool {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end, but no longer than this; tells whether it is reached.
    fn wait(&self, longest: Duration) -> bool {
        let reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(reached, longest, |reached| !*reached);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Says that the work has ended.
struct Stop<'a>(&'a End);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        *self.0.reached.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use super::*;
    use crate::layer::{DEFAULT_MEMORY_BYTES, Hints, pack};
    use crate::rootfs::{Disk, Marks, scan_upper};
    use crate::tree::Tree;

    const OPTIONS: PackOptions = PackOptions {
        compression: Compression::Gzip { level: 1 },
        jobs: 1,
        memory_bytes: DEFAULT_MEMORY_BYTES,
        clamp_mtime: None,
    };

    fn look(directory: &Path, contents: Contents<'_>) -> Result<Changes, rootfs::Error> {
        let disk = Disk { owners: true, devices: true, marks: Marks::User };
        scan_upper(directory, &Tree::empty(), disk, contents)
    }

    /// Waits until `is_so`, for half a minute at most.
    fn soon(is_so: impl Fn() -> bool) -> bool {
        (0..3000).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            is_so()
        })
    }

    #[test]
    fn what_is_done_is_compressed_before_the_work_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = tempfile::tempfile().expect("a file");
        let same = file.try_clone().expect("the same file");
        let len = || same.metadata().expect("a file").len();
        let look = |contents: Contents<'_>| look(directory.path(), contents);
        let work = || {
            fs_err::write(directory.path().join("file"), vec![7; 2_500_000]).expect("a file");
            soon(|| len() > 0)
        };
        let (was_soon, prepared) = prepare_during(&OPTIONS, file, &look, work);
        assert!(was_soon);
        // With another level, so that it shows whose work it was.
        let options = PackOptions { compression: Compression::Gzip { level: 9 }, ..OPTIONS };
        let changes = look(Contents::Read).expect("the directory can be read");
        let hints = Hints { prepared: prepared.as_ref(), ..Hints::default() };
        let layers = [hints, Hints::default()]
            .map(|hints| pack(&changes, &options, hints, std::io::sink()).expect("a layer").size);
        assert!(layers[0] > layers[1], "{layers:?}");
    }

    #[test]
    fn nobody_waits_for_a_look() {
        let (started, has_started) = mpsc::channel();
        let looks = Mutex::new(started);
        let look = |contents: Contents<'_>| {
            let Contents::Stamped(go_on) = contents else { unreachable!("the command runs") };
            looks.lock().expect("one thread").send(()).expect("somebody waits");
            assert!(soon(|| !go_on()), "told that the work has ended");
            look(Path::new("/nowhere"), Contents::Read)
        };
        let file = tempfile::tempfile().expect("a file");
        let work = || has_started.recv().expect("there is a look");
        let (_, prepared) = prepare_during(&OPTIONS, file, &look, work);
        assert!(prepared.is_some());
    }

    #[test]
    fn what_is_not_compressed_is_not_prepared() {
        let look = |_: Contents<'_>| unreachable!("nobody looks");
        let options = PackOptions { compression: Compression::None, ..OPTIONS };
        let file = tempfile::tempfile().expect("a file");
        let (_, prepared) = prepare_during(&options, file, &look, || std::thread::sleep(2 * PAUSE));
        assert!(prepared.is_none());
    }
}
