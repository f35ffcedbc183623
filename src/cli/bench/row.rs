//! What comes of samples: medians and speeds. Pure.

use serde_json::{Value, json};

/// Linux counts a process's time in hundredths of a second wherever programs see it (`USER_HZ`, proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    pub(super) cpu_ticks: u64,
    /// The number of bytes that came out.
    pub(super) written: u64,
}

/// What the samples of one subject say.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) jobs: usize,
    pub(super) seconds: f64,
    cpu_seconds: f64,
    bytes: u64,
    files: u64,
    written: u64,
}

impl Row {
    /// Sums up samples of something done to `files` files of `bytes` bytes.
    pub(super) fn new(name: &str, jobs: usize, samples: &[Sample], bytes: u64, files: u64) -> Self {
        let median_of = |value: fn(&Sample) -> f64| median(samples.iter().map(value).collect());
        Self {
            name: name.to_owned(),
            jobs,
            seconds: median_of(|sample| sample.seconds),
            cpu_seconds: median_of(|sample| sample.cpu_ticks as f64) / TICKS_PER_SECOND,
            bytes,
            files,
            written: samples.last().map_or(0, |sample| sample.written),
        }
    }

    /// Returns millions of bytes of files in a second.
    pub(super) fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.seconds / 1e6
    }

    /// Returns the fields that `--format` knows.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "Name": self.name,
            "Jobs": self.jobs,
            "Seconds": rounded(self.seconds, 4),
            "CPUSeconds": rounded(self.cpu_seconds, 2),
            "MBPerSecond": rounded(self.megabytes_per_second(), 1),
            "FilesPerSecond": rounded(self.files as f64 / self.seconds, 0),
            "Written": self.written,
        })
    }
}

/// Returns the value in the middle, or the mean of the two there; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn rounded(value: f64, decimals: i32) -> f64 {
    let unit = 10_f64.powi(decimals);
    (value * unit).round() / unit
}

/// Returns 1, 2, 4 and so on up to `most`, and `most`.
pub(super) fn numbers_of_jobs(most: usize) -> Vec<usize> {
    let doubled = std::iter::successors(Some(1), |jobs| Some(2 * jobs));
    doubled.take_while(|jobs| *jobs < most).chain([most]).collect()
}

/// Returns in which order a round takes its samples.
pub(super) fn order(round: u16, subjects: usize) -> Vec<usize> {
    if round.is_multiple_of(2) { (0..subjects).collect() } else { (0..subjects).rev().collect() }
}

/// Returns the time in `/proc/self/stat` of a process and the children it waited for.
pub(super) fn cpu_ticks(stat: &str) -> u64 {
    // The second field, a name in parentheses, may hold anything; time is in fields 14 to 17 (proc(5)).
    let behind_name = stat.rsplit(") ").next().unwrap_or_default();
    behind_name.split(' ').skip(11).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        for (values, expected) in
            [(vec![], 0.0), (vec![3.0], 3.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 9.0], 3.0)]
        {
            assert_eq!(median(values.clone()), expected, "{values:?}");
        }
    }

    #[test]
    fn jobs_double_up_to_the_most() {
        for (most, expected) in [(1, vec![1]), (2, vec![1, 2]), (6, vec![1, 2, 4, 6]), (8, vec![1, 2, 4, 8])]
        {
            assert_eq!(numbers_of_jobs(most), expected);
        }
    }

    #[test]
    fn every_other_round_is_the_other_way_round() {
        assert_eq!([order(0, 3), order(1, 3), order(2, 3)], [[0, 1, 2], [2, 1, 0], [0, 1, 2]]);
    }

    #[test]
    fn time_of_a_process_and_its_children() {
        let stat = "7 (a ) b) R 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0 1";
        assert_eq!(cpu_ticks(stat), 127);
        assert_eq!(cpu_ticks(""), 0);
    }

    #[test]
    fn a_row_is_made_of_medians() {
        let sample = |seconds, cpu_ticks| Sample { seconds, cpu_ticks, written: 5 };
        let samples = [sample(4.0, 100), sample(2.000_04, 300), sample(1.0, 200)];
        let row = Row::new("tar", 2, &samples, 8_000_000, 10);
        assert_eq!(
            row.to_json(),
            json!({
                "Name": "tar", "Jobs": 2, "Seconds": 2.0, "CPUSeconds": 2.0, "MBPerSecond": 4.0,
                "FilesPerSecond": 5.0, "Written": 5,
            })
        );
    }
}
