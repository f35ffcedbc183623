//! One JSON object per line and event, for programs.

use std::io::Write as _;

use kiln::diagnostic::Source;
use kiln::event::{Event, Listener, Outcome, Stream};
use serde_json::{Value, json};

/// Prints events as JSON lines with a field `event` that names the kind.
pub(crate) struct RawJson {
    source: Source,
}

impl RawJson {
    pub(crate) const fn new(source: Source) -> Self {
        Self { source }
    }

    fn to_json(&self, event: &Event) -> Value {
        match event {
            Event::Started { rung } => json!({ "event": "started", "rung": rung }),
            Event::Warning(warning) => json!({
                "event": "warning",
                "rule": warning.rule,
                "message": warning.message,
                "file": self.source.name,
                "line": self.source.line(warning.span.start),
                "help": warning.help,
            }),
            Event::Notice(text) => json!({ "event": "notice", "message": text }),
            Event::TaskStarted { task, name } => {
                json!({ "event": "task-started", "task": task, "name": name })
            }
            Event::TaskReason { task, reason } => {
                json!({ "event": "task-reason", "task": task, "reason": reason })
            }
            Event::TaskProgress { task, done, total } => {
                json!({ "event": "task-progress", "task": task, "done": done, "total": total })
            }
            Event::TaskOutput { task, stream, bytes } => json!({
                "event": "task-output",
                "task": task,
                "stream": match stream { Stream::Stdout => 1, Stream::Stderr => 2 },
                "text": String::from_utf8_lossy(bytes),
            }),
            Event::TaskFinished { task, outcome, elapsed } => {
                let (word, message) = match outcome {
                    Outcome::Done => ("done", None),
                    Outcome::Cached => ("cached", None),
                    Outcome::Failed(message) => ("failed", Some(message)),
                    Outcome::Cancelled => ("cancelled", None),
                };
                json!({
                    "event": "task-finished",
                    "task": task,
                    "outcome": word,
                    "message": message,
                    "seconds": elapsed.as_secs_f64(),
                })
            }
        }
    }
}

impl Listener for RawJson {
    fn event(&self, event: Event) {
        let line = format!("{}\n", self.to_json(&event));
        // A reader that went away does not stop the build.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}
