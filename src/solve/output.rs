//! What a step's command writes, on its way to the user: without secrets, its last lines kept for an error.

use std::collections::VecDeque;

use crate::event::{Event, Listener, Stream, TaskId};
use crate::secret::{Redactor, Secrets};

/// How many last lines of a failing command are kept for the error.
const KEPT_LINES: usize = 20;

/// The output of one command.
pub(super) struct Output<'a> {
    listener: &'a dyn Listener,
    task: TaskId,
    stdout: Redactor,
    stderr: Redactor,
    tail: Tail,
}

impl<'a> Output<'a> {
    /// Begins without any.
    pub(super) fn new(listener: &'a dyn Listener, task: TaskId, secrets: &Secrets) -> Self {
        let (stdout, stderr) = (secrets.redactor(), secrets.redactor());
        Self { listener, task, stdout, stderr, tail: Tail::default() }
    }

    /// Passes on what the command has written, as far as it can hold no beginning of a secret.
    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let shown = match stream {
            Stream::Stdout => self.stdout.push(bytes),
            Stream::Stderr => self.stderr.push(bytes),
        };
        self.show(stream, shown);
    }

    /// Passes on what is left, and returns the last lines.
    pub(super) fn finish(mut self) -> Vec<String> {
        let (stdout, stderr) = (self.stdout.finish(), self.stderr.finish());
        self.show(Stream::Stdout, stdout);
        self.show(Stream::Stderr, stderr);
        self.tail.finish()
    }

    fn show(&mut self, stream: Stream, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.tail.push(&bytes);
        self.listener.event(Event::TaskOutput { task: self.task, stream, bytes });
    }
}

/// The last lines of a command's output.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    rest: Vec<u8>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.lines.push_back(String::from_utf8_lossy(&line[..end]).into_owned());
            if self.lines.len() > KEPT_LINES {
                self.lines.pop_front();
            }
        }
    }

    fn finish(mut self) -> Vec<String> {
        if !self.rest.is_empty() {
            self.lines.push_back(String::from_utf8_lossy(&self.rest).into_owned());
        }
        self.lines.into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::secret::Secret;

    #[derive(Default)]
    struct Heard(Mutex<Vec<u8>>);

    impl Listener for Heard {
        fn event(&self, event: Event) {
            if let Event::TaskOutput { bytes, .. } = event {
                self.0.lock().unwrap().extend(bytes);
            }
        }
    }

    #[test]
    fn streams_do_not_mix_and_secrets_do_not_pass() {
        let mut secrets = Secrets::default();
        secrets.insert("id", Secret::new(b"hunter2\n".as_slice()));
        let heard = Heard::default();
        let mut output = Output::new(&heard, 0, &secrets);
        for (stream, bytes) in [
            (Stream::Stdout, "one hun"),
            (Stream::Stderr, "warning\n"),
            (Stream::Stdout, "ter2 two\n"),
            (Stream::Stderr, "hunter"),
        ] {
            output.push(stream, bytes.as_bytes());
        }
        assert_eq!(output.finish(), ["one warning", "**** two", "hunter"]);
        assert_eq!(
            String::from_utf8(heard.0.into_inner().unwrap()).unwrap(),
            "one warning\n**** two\nhunter"
        );
    }
}
