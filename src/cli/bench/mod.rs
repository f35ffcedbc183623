//! `kiln bench`: what this machine does with a directory, and what a layer of it costs.
//!
//! ```text
//! Args -> subjects of kiln, tools that are installed -> rounds of samples -> rows -> table, JSON, plot
//! ```
//!
//! Every round measures every subject once, odd rounds in the opposite order, so that a machine that is busy for a
//! while is busy for all; a row shows medians. The files are read once before, so that all find them in the page cache.
//! Nothing is kept from one sample to the next, and no store is touched.

mod plot;
mod row;
mod subject;
mod tool;

use std::path::PathBuf;
use std::time::Instant;

use self::row::Sample;
use self::subject::{Material, Subject};
use super::format::{self, Columns};
use super::report::{Failure, print, tell};
use super::{Outcome, info};

/// The verbs of `kiln bench`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Measures what a layer of a directory costs: listing, reading, hashing, the tar, each codec and level.
    ///
    /// list: names and stat data. read: every file's bytes. hash: every file's sha256, as for a cache key. tar: the
    /// stream and its diff id, of files that are hashed already. gzip, zstd: the same compressed, with the blob's digest.
    /// cold: all of it, from nothing known to the finished blob. Beside them, where they are installed: tar | sha256sum,
    /// tar | gzip, tar | pigz, tar | zstd.
    ///
    /// Samples take turns, rows show medians. CPU is counted in ticks of 10 ms. Speeds are of the files' bytes; files are
    /// read once before, so they come from memory as far as they fit there.
    Layer(LayerArgs),
}

/// The arguments of `kiln bench layer`.
#[derive(Debug, clap::Args)]
pub(crate) struct LayerArgs {
    /// What is packed: all of it, whatever an ignore file in it says.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The most threads; 1, 2, 4 and so on up to it are measured. The default is the number of CPUs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=32))]
    jobs: Option<u16>,
    /// How many samples of each are taken.
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..))]
    repeat: u16,
    /// `table`, `json` (a line for each row), `table TEMPLATE`, or a Go template for each row.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    /// Also draws a bar chart.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

const COLUMNS: Columns = Columns {
    table: "{{.Name}}\t{{.Jobs}}\t{{.Seconds}}\t{{.CPUSeconds}}\t{{.MBPerSecond}}\t{{.FilesPerSecond}}\t{{.Written}}",
    quiet: "{{.Name}}",
    headers: &[
        ("Name", "WHAT"),
        ("Jobs", "JOBS"),
        ("Seconds", "SECONDS"),
        ("CPUSeconds", "CPU S"),
        ("MBPerSecond", "MB/S"),
        ("FilesPerSecond", "FILES/S"),
        ("Written", "BYTES"),
    ],
};

/// Runs a verb of `kiln bench`.
pub(crate) fn run(command: &Command) -> Outcome {
    let Command::Layer(args) = command;
    let most = args.jobs.map_or_else(info::processors, usize::from);
    let material = Material::of(&args.directory)?;
    let subjects = subject::all(&row::numbers_of_jobs(most))?;
    let mut samples = vec![Vec::new(); subjects.len()];
    for round in 0..args.repeat {
        tell!("round {} of {}", round + 1, args.repeat);
        for number in row::order(round, subjects.len()) {
            samples[number].push(sample(&subjects[number], &material)?);
        }
    }
    let row = |(subject, samples): (&Subject, &Vec<Sample>)| {
        row::Row::new(&subject.name, subject.jobs, samples, material.bytes, material.files)
    };
    let rows: Vec<row::Row> = subjects.iter().zip(&samples).map(row).collect();
    if let Some(file) = &args.plot {
        let title = format!(
            "{}: {} files, {}",
            args.directory.display(),
            material.files,
            format::human::size(material.bytes)
        );
        fs_err::write(file, plot::bars(&title, &rows)).map_err(Failure::from_error)?;
    }
    let rows: Vec<_> = rows.iter().map(row::Row::to_json).collect();
    print(&format::list(Some(&args.format), false, &COLUMNS, &rows)?)
}

fn sample(subject: &Subject, material: &Material) -> Result<Sample, Failure> {
    let (started, cpu) = (Instant::now(), cpu_ticks());
    let written = subject.run(material)?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Sample { seconds, cpu_ticks: cpu_ticks().saturating_sub(cpu), written })
}

/// Returns what this process and those it waited for have used.
fn cpu_ticks() -> u64 {
    let stat = fs_err::read_to_string("/proc/self/stat").unwrap_or_default();
    row::cpu_ticks(&stat)
}
