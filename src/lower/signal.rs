//! STOPSIGNAL: a number or a name that Linux knows.

use crate::diagnostic::suggest::nearest;
use crate::diagnostic::{Diagnostic, Span};

const NAMES: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

/// Refuses what is no signal; the text itself is stored as written (statement 185).
pub(super) fn check(text: &str, span: Span) -> Result<(), Diagnostic> {
    let invalid = || {
        Diagnostic::error(span, format!("invalid signal: {text}"))
            .with_help("use a name such as `SIGTERM`, or a number")
    };
    if let Ok(number) = text.parse::<i64>() {
        return if number == 0 { Err(invalid()) } else { Ok(()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if NAMES.contains(&name) || is_realtime(name) {
        return Ok(());
    }
    Err(match nearest(name, NAMES) {
        Some(near) => invalid().with_help(format!("did you mean `SIG{near}`?")),
        None => invalid().with_help("use a number or a name such as SIGTERM"),
    })
}

/// `RTMIN+1` to `RTMIN+15`, `RTMAX-14` to `RTMAX-1`.
fn is_realtime(name: &str) -> bool {
    let within = |prefix, last| {
        let number = name.strip_prefix(prefix).and_then(|number: &str| number.parse::<u8>().ok());
        number.is_some_and(|number| (1..=last).contains(&number))
    };
    within("RTMIN+", 15) || within("RTMAX-", 14)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_185_signals() {
        for text in ["SIGTERM", "term", "9", "SIGRTMIN+3", "RTMAX-14", "SIGRTMIN", "sigusr1"] {
            assert_eq!(check(text, Span::default()), Ok(()), "{text}");
        }
        for text in ["", "0", "SIGFOO", "RTMIN+16", "RTMAX-0", "SIG"] {
            assert!(check(text, Span::default()).is_err(), "{text}");
        }
        assert_eq!(
            check("SIGTREM", Span::default()).unwrap_err().help.as_deref(),
            Some("did you mean `SIGTERM`?")
        );
    }
}
