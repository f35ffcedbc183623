//! Failures as the user reads them, and the exit codes.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use kiln::diagnostic::{self, Diagnostic, Severity, Source};
use rustix::io::Errno;

/// Exit code of a failed build, registry or file.
const FAILED: u8 = 1;
/// Exit code of a bad `--format`: docker's.
const TEMPLATE: u8 = 64;
/// Exit code of wrong usage: docker's.
const USAGE: u8 = 125;
/// Exit code of a bug in kiln (sysexits `EX_SOFTWARE`).
const BUG: i32 = 70;

/// What a build of several steps needs on a machine of some processors.
const THREADS: u32 = 100;

/// Exit code after Ctrl-C: what a shell shows for SIGINT.
const INTERRUPTED: u8 = 130;

/// Why a command failed: what is shown to the user.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    /// Shows an error and its causes, each level once.
    pub(crate) fn from_error(error: impl Error) -> Self {
        let text = chain(&error);
        let help = advice(&text).map(|help| format!("  = help: {help}\n")).unwrap_or_default();
        Self { text: format!("error: {text}\n{help}"), code: FAILED }
    }

    /// Shows one sentence.
    pub(crate) fn plain(text: impl std::fmt::Display) -> Self {
        Self { text: format!("error: {text}\n"), code: FAILED }
    }

    /// Puts `text` before what is shown.
    pub(crate) fn after(mut self, text: &str) -> Self {
        self.text.insert_str(0, text);
        self
    }

    /// Fails without a word: everything was said where the result goes.
    pub(crate) fn told() -> Self {
        Self { text: String::new(), code: FAILED }
    }

    /// Returns what is shown, without the line's end.
    pub(crate) fn text(&self) -> &str {
        self.text.trim_end()
    }

    /// Shows that the user ended the command.
    pub(crate) fn cancelled() -> Self {
        Self { text: "error: cancelled\n".to_owned(), code: INTERRUPTED }
    }

    /// Shows a sentence about wrong arguments.
    pub(crate) fn usage(text: impl std::fmt::Display) -> Self {
        Self { text: format!("error: {text}\n"), code: USAGE }
    }

    /// Shows what is wrong with the template of `--format`.
    pub(crate) fn template(text: impl std::fmt::Display) -> Self {
        Self { text: format!("error: {text}\n"), code: TEMPLATE }
    }

    /// Shows the same, with the exit code of what failed while it was done.
    pub(crate) fn into_failed(mut self) -> Self {
        self.code = FAILED;
        self
    }

    /// Shows the same with other words.
    pub(crate) fn replacing(mut self, from: &str, to: &str) -> Self {
        self.text = self.text.replacen(from, to, 1);
        self
    }

    /// Makes one of several; none for none.
    pub(crate) fn all(failures: Vec<Self>) -> Option<Self> {
        let code = failures.first()?.code;
        Some(Self { text: failures.into_iter().map(|failure| failure.text).collect(), code })
    }

    /// Shows findings about a Dockerfile with a closing count of the errors.
    pub(crate) fn findings(source: &Source, findings: &[Diagnostic]) -> Self {
        let mut text = String::new();
        for finding in findings {
            text += &diagnostic::render(source, finding);
            text.push('\n');
        }
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        let plural = if errors == 1 { "" } else { "s" };
        text += &format!("error: {}: {errors} error{plural}; nothing was built\n", source.name);
        Self { text, code: FAILED }
    }

    /// Shows the findings of build checks that fail the build.
    pub(crate) fn checks(source: &Source, findings: &[Diagnostic]) -> Self {
        let mut text: String =
            findings.iter().map(|finding| diagnostic::render(source, finding) + "\n").collect();
        let mut rules: Vec<&str> = findings.iter().filter_map(|finding| finding.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        text += &format!("error: {}: build checks failed: {}\n", source.name, rules.join(", "));
        Self { text, code: FAILED }
    }

    /// Puts an excerpt of the Dockerfile before an error that comes from one of its lines.
    pub(crate) fn at(
        source: &Source,
        span: diagnostic::Span,
        error: impl Error,
        help: Option<String>,
    ) -> Self {
        let mut finding = Diagnostic::error(span, chain(&error));
        finding.help = help.or_else(|| advice(&finding.message).map(str::to_owned));
        Self { text: diagnostic::render(source, &finding), code: FAILED }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Joins an error's own text and those of its causes with colons.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.contains(&own) {
            text += ": ";
            text += &own;
        }
        cause = error.source();
    }
    text
}

/// Returns what to try where the system's words alone leave one helpless. They are all that libraries hand on of its
/// errors.
fn advice(text: &str) -> Option<&'static str> {
    let full = [Errno::NOSPC, Errno::DQUOT].map(|errno| format!("(os error {})", errno.raw_os_error()));
    full.iter().any(|full| text.contains(full)).then_some(
        "`kiln system df` says what kiln's store takes, `kiln system prune` makes room in it; `KILN_STORE` puts it elsewhere",
    )
}

/// Prints a failure and returns its exit code.
pub(crate) fn failure(failure: &Failure) -> ExitCode {
    say(&failure.text);
    ExitCode::from(failure.code)
}

/// Prints clap's message; help and version are no failures.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // A closed pipe behind `kiln --help | head` is no failure either.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

/// Makes a panic say that it is a bug, and exit with the code for one; unless there can be no more threads, which libraries
/// know to tell in no other way.
pub(crate) fn show_panics_as_bugs() {
    let show = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if ["failed to spawn thread", "ThreadPoolBuildError"].iter().any(|reason| text.contains(reason)) {
            tell!("error: the system lets kiln have no more threads");
            tell!(
                "  = help: `ulimit -u`, or the container's limit of processes, should allow at least {THREADS}"
            );
            std::process::exit(FAILED.into());
        }
        show(panic);
        tell!("error: this is a bug in kiln; please report it with the lines above");
        std::process::exit(BUG);
    }));
}

/// Prints to standard error, if somebody still reads it: a build does not end because nobody watches any more.
pub(crate) fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Prints a line to standard error.
macro_rules! tell {
    ($($text:tt)*) => {
        $crate::cli::report::say(&(format!($($text)*) + "\n"))
    };
}
pub(crate) use tell;

/// Prints to standard output. A reader that has seen enough, `kiln images | head -1`, is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Failure::from_error),
    }
}
