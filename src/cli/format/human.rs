//! Sizes, ages and times in docker's words.

use kiln::dockerfile::nanoseconds;
use kiln::time::Timestamp;

/// Returns a size in decimal units with three digits: `95B`, `2.14MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    // Go's `%.3g` of 999.9.
    let text = if text == "1000" { "1e+03" } else { text };
    format!("{text}{}", UNITS[unit])
}

/// Returns how long ago a time was: `2 weeks ago`.
pub(crate) fn since(time: Timestamp, now: Timestamp) -> String {
    format!("{} ago", duration((now.0 - time.0).max(0)))
}

fn duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// Returns a time as Go prints it: `2023-11-14 22:13:20 +0000 UTC`.
pub(crate) fn time(time: Timestamp) -> String {
    time.to_string().replace('T', " ").replace('Z', " +0000 UTC")
}

/// Reads the value of `--filter until=`: a duration before now, seconds since 1970, or a time.
pub(crate) fn until(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(nanoseconds) = nanoseconds(text) {
        return Some(Timestamp(now.0 - nanoseconds / 1_000_000_000));
    }
    let seconds = text.split('.').next().and_then(|seconds| seconds.parse().ok());
    let padded = || match text.len() {
        10 => Timestamp::parse(&format!("{text}T00:00:00Z")).ok(),
        19 => Timestamp::parse(&format!("{text}Z")).ok(),
        _ => Timestamp::parse(text).ok(),
    };
    seconds.map(Timestamp).or_else(padded)
}

/// Cuts a text to at most `width` characters, with an ellipsis for what is cut.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (bytes, expected) in [
            (0, "0B"),
            (95, "95B"),
            (999, "999B"),
            (1000, "1kB"),
            (2_136_576, "2.14MB"),
            (10_049_000, "10MB"),
            (77_800_000, "77.8MB"),
            (100_000_000, "100MB"),
            (999_900, "1e+03kB"),
            (1_234_000_000, "1.23GB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn ages_are_dockers_words() {
        for (seconds, expected) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (86_400, "24 hours"),
            (172_800, "2 days"),
            (86_400 * 14, "2 weeks"),
            (86_400 * 60, "2 months"),
            (86_400 * 365 * 3, "3 years"),
        ] {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
        assert_eq!(since(Timestamp(10), Timestamp(0)), "Less than a second ago");
        assert_eq!(time(Timestamp(1_700_000_000)), "2023-11-14 22:13:20 +0000 UTC");
    }

    #[test]
    fn forms_of_until() {
        let now = Timestamp(1_700_000_000);
        for (text, expected) in [
            ("24h", Some(1_699_913_600)),
            ("10m", Some(1_699_999_400)),
            ("1699913600", Some(1_699_913_600)),
            ("2023-11-14", Some(1_699_920_000)),
            ("2023-11-14T22:13:20", Some(1_700_000_000)),
            ("2023-11-14T22:13:20Z", Some(1_700_000_000)),
            ("soon", None),
        ] {
            assert_eq!(until(text, now), expected.map(Timestamp), "{text}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!((ellipsis("abc", 3), ellipsis("abcd", 3)), ("abc".to_owned(), "ab…".to_owned()));
    }
}
