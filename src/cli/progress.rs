//! Progress on standard error: a live view on a terminal, plain lines elsewhere, JSON lines for programs.

mod live;
mod plain;
mod rawjson;

use std::io::IsTerminal as _;
use std::sync::Arc;

use kiln::diagnostic::Source;
use kiln::event::{Event, Listener, Silent, Stream};
use kiln::registry::Notice;

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Style {
    /// A live view on a terminal, plain lines elsewhere.
    Auto,
    /// One line after another.
    Plain,
    /// A live view.
    Tty,
    /// One JSON object per line.
    Rawjson,
    /// Nothing.
    Quiet,
}

/// Returns the listener for `style`; `source` is what warnings point into.
pub(crate) fn listener(style: Style, source: Source) -> Arc<dyn Listener + Send> {
    match style {
        Style::Auto if std::io::stderr().is_terminal() => Arc::new(live::Live::new(source)),
        Style::Tty => Arc::new(live::Live::new(source)),
        Style::Auto | Style::Plain => Arc::new(plain::Plain::new(source)),
        Style::Rawjson => Arc::new(rawjson::RawJson::new(source)),
        Style::Quiet => Arc::new(Silent),
    }
}

/// Returns what takes a registry's notices to the listener, as long as it is there.
pub(crate) fn notice(listener: &Arc<dyn Listener + Send>) -> Notice {
    let listener = Arc::downgrade(listener);
    Arc::new(move |text| {
        if let Some(listener) = listener.upgrade() {
            listener.event(Event::Notice(text.to_owned()));
        }
    })
}

/// What a task writes, as lines: the two streams do not mix within one.
#[derive(Debug, Default)]
struct Output {
    stdout: Lines,
    stderr: Lines,
}

impl Output {
    fn push(&mut self, stream: Stream, bytes: &[u8]) -> Vec<String> {
        match stream {
            Stream::Stdout => self.stdout.push(bytes),
            Stream::Stderr => self.stderr.push(bytes),
        }
    }

    /// Returns what has no line end.
    fn finish(&mut self) -> impl Iterator<Item = String> + use<> {
        self.stdout.finish().into_iter().chain(self.stderr.finish())
    }
}

/// Splits output into lines: returns the whole lines and keeps the rest.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        String::from_utf8_lossy(&whole[..end]).split('\n').map(visible).collect()
    }

    fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| visible(&String::from_utf8_lossy(&rest)))
    }
}

/// Keeps what a line shows in the end when programs redraw it with carriage returns.
fn visible(line: &str) -> String {
    line.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default().to_owned()
}

/// Prints a duration as BuildKit does: `1.2s`.
fn seconds(elapsed: std::time::Duration) -> String {
    format!("{:.1}s", elapsed.as_secs_f64())
}

/// Prints a number of bytes with a binary unit.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_line_ends_only() {
        let mut lines = Lines::default();
        assert!(lines.push(b"a").is_empty());
        assert_eq!(lines.push(b"b\nc\r\n10%\r20%\nd"), ["ab", "c", "20%"]);
        assert_eq!(lines.finish().as_deref(), Some("d"));
        assert_eq!(lines.finish(), None);
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(
            [bytes(0), bytes(1023), bytes(1536), bytes(3 << 30)],
            ["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]
        );
    }
}
