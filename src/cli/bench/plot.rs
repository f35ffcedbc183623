//! A bar chart of speeds as SVG. Pure.

use std::fmt::Write as _;

use super::row::Row;

/// The height of a bar with the space below it.
const PITCH: usize = 18;
/// The height of the title.
const TOP: usize = 34;
const NAMES_WIDTH: usize = 190;
const BARS_WIDTH: usize = 420;
const WIDTH: usize = NAMES_WIDTH + BARS_WIDTH + 110;

/// Draws a bar for each row: how many megabytes of files it does in a second.
pub(super) fn bars(title: &str, rows: &[Row]) -> String {
    let fastest = rows.iter().map(Row::megabytes_per_second).fold(f64::MIN_POSITIVE, f64::max);
    let height = TOP + rows.len() * PITCH + 10;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"14\">{}, MB/s</text>\n",
        escaped(title)
    );
    for (number, row) in rows.iter().enumerate() {
        let speed = row.megabytes_per_second();
        let (top, length) = (TOP + number * PITCH, speed / fastest * BARS_WIDTH as f64);
        let fill = if row.name.contains('|') { "#b0b0b0" } else { "#3a76af" };
        let plural = if row.jobs == 1 { "" } else { "s" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{}, {} job{plural}</text>\
             <rect x=\"{NAMES_WIDTH}\" y=\"{top}\" width=\"{length:.1}\" height=\"{}\" fill=\"{fill}\"/>\
             <text x=\"{:.1}\" y=\"{baseline}\">{speed:.0}</text>",
            NAMES_WIDTH - 6,
            escaped(&row.name),
            row.jobs,
            PITCH - 4,
            NAMES_WIDTH as f64 + length + 4.0,
            baseline = top + 11,
        );
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::row::Sample;
    use super::*;

    #[test]
    fn the_fastest_has_the_longest_bar_and_tools_are_grey() {
        let row = |name, jobs, seconds| {
            Row::new(name, jobs, &[Sample { seconds, cpu_ticks: 0, written: 0 }], 100_000_000, 1)
        };
        let svg = bars("a<b", &[row("tar", 2, 0.5), row("tar | gzip -6", 1, 2.0)]);
        for part in [
            "viewBox=\"0 0 720 80\"",
            ">a&lt;b, MB/s</text>",
            ">tar, 2 jobs</text><rect x=\"190\" y=\"34\" width=\"420.0\" height=\"14\" fill=\"#3a76af\"/>",
            ">tar | gzip -6, 1 job</text><rect x=\"190\" y=\"52\" width=\"105.0\" height=\"14\" fill=\"#b0b0b0\"/>",
            ">200</text>",
        ] {
            assert!(svg.contains(part), "{part} is not in\n{svg}");
        }
    }

    #[test]
    fn a_chart_of_nothing_is_a_chart() {
        assert!(bars("", &[]).ends_with("</svg>\n"));
    }
}
