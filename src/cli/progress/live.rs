//! The live view: finished tasks scroll by, running ones stay at the bottom with their last line of output.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kiln::diagnostic::{self, Source};
use kiln::event::{Event, Listener, Outcome, TaskId};

use super::{Output, bytes, seconds};

/// How often the running tasks are redrawn.
const TICK: Duration = Duration::from_millis(100);

/// Draws the tasks with indicatif.
pub(crate) struct Live {
    source: Source,
    screen: MultiProgress,
    tasks: Mutex<BTreeMap<TaskId, Task>>,
}

struct Task {
    name: String,
    bar: ProgressBar,
    lines: Output,
    reason: Option<String>,
    output: Vec<String>,
}

impl Live {
    pub(crate) fn new(source: Source) -> Self {
        Self { source, screen: MultiProgress::new(), tasks: Mutex::default() }
    }

    fn print(&self, text: impl AsRef<str>) {
        // A terminal that went away does not stop the build.
        let _ = self.screen.println(text);
    }
}

impl Listener for Live {
    fn event(&self, event: Event) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { rung } => self.print(format!("kiln: {rung}")),
            Event::Warning(warning) => self.print(diagnostic::render(&self.source, &warning)),
            Event::Notice(text) => self.print(format!("warning: {text}")),
            Event::TaskStarted { task, name } => {
                let bar = self.screen.add(ProgressBar::new_spinner());
                let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar.set_prefix(name.clone());
                bar.enable_steady_tick(TICK);
                let task_state =
                    Task { name, bar, lines: Output::default(), reason: None, output: Vec::new() };
                tasks.insert(task, task_state);
            }
            Event::TaskReason { task, reason } => {
                if let Some(state) = tasks.get_mut(&task) {
                    state.bar.set_message(format!("not cached: {reason}"));
                    state.reason = Some(reason);
                }
            }
            Event::TaskProgress { task, done, total } => {
                if let Some(state) = tasks.get(&task) {
                    let total = total.map(|total| format!(" / {}", bytes(total))).unwrap_or_default();
                    state.bar.set_message(format!("{}{total}", bytes(done)));
                }
            }
            Event::TaskOutput { task, stream, bytes } => {
                if let Some(state) = tasks.get_mut(&task) {
                    let lines = state.lines.push(stream, &bytes);
                    if let Some(last) = lines.last() {
                        state.bar.set_message(last.clone());
                    }
                    state.output.extend(lines);
                    // Only the end of the output is shown, and only when the task fails.
                    let surplus = state.output.len().saturating_sub(SHOWN_ON_FAILURE);
                    state.output.drain(..surplus);
                }
            }
            Event::TaskFinished { task, outcome, elapsed } => {
                let Some(mut state) = tasks.remove(&task) else { return };
                state.bar.finish_and_clear();
                let reason =
                    state.reason.map(|reason| format!(" (not cached: {reason})")).unwrap_or_default();
                match outcome {
                    Outcome::Done => self.print(format!("  {} {}{reason}", state.name, seconds(elapsed))),
                    Outcome::Cached => self.print(format!("  CACHED {}", state.name)),
                    Outcome::Cancelled => self.print(format!("  CANCELED {}", state.name)),
                    Outcome::Failed(message) => {
                        state.output.extend(state.lines.finish());
                        for line in &state.output {
                            self.print(format!("    {line}"));
                        }
                        self.print(format!("  ERROR {}: {message}", state.name));
                    }
                }
            }
        }
    }
}

/// How many last lines of a failed task are shown.
const SHOWN_ON_FAILURE: usize = 30;
