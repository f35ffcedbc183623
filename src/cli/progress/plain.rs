//! Plain lines: `#3 [2/4] RUN make`, `#3 0.512 output`, `#3 DONE 1.2s`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use kiln::diagnostic::{self, Source};
use kiln::event::{Event, Listener, Outcome, TaskId};

use super::super::report::tell;
use super::{Output, seconds};

/// Prints each event as soon as it comes; output only in whole lines, so that tasks do not mix.
pub(crate) struct Plain {
    source: Source,
    tasks: Mutex<BTreeMap<TaskId, Task>>,
}

struct Task {
    started: Instant,
    lines: Output,
}

impl Plain {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, tasks: Mutex::default() }
    }
}

impl Listener for Plain {
    fn event(&self, event: Event) {
        // The lock also keeps the lines of one event together on the terminal.
        let mut tasks = self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::Started { rung } => tell!("kiln: {rung}"),
            Event::Warning(warning) => tell!("{}", diagnostic::render(&self.source, &warning)),
            Event::Notice(text) => tell!("warning: {text}"),
            Event::TaskStarted { task, name } => {
                tasks.insert(task, Task { started: Instant::now(), lines: Output::default() });
                tell!("#{} {name}", task + 1);
            }
            Event::TaskReason { task, reason } => tell!("#{} not cached: {reason}", task + 1),
            Event::TaskProgress { .. } => {}
            Event::TaskOutput { task, stream, bytes } => {
                if let Some(state) = tasks.get_mut(&task) {
                    let elapsed = state.started.elapsed().as_secs_f64();
                    for line in state.lines.push(stream, &bytes) {
                        tell!("#{} {elapsed:.3} {line}", task + 1);
                    }
                }
            }
            Event::TaskFinished { task, outcome, elapsed } => {
                for line in tasks.remove(&task).into_iter().flat_map(|mut state| state.lines.finish()) {
                    tell!("#{} {:.3} {line}", task + 1, elapsed.as_secs_f64());
                }
                let text = match outcome {
                    Outcome::Done => format!("DONE {}", seconds(elapsed)),
                    Outcome::Cached => "CACHED".to_owned(),
                    Outcome::Failed(message) => format!("ERROR: {message}"),
                    Outcome::Cancelled => "CANCELED".to_owned(),
                };
                tell!("#{} {text}", task + 1);
            }
        }
    }
}
