//! `kiln context ls|show`: docker's contexts name daemons; kiln has one context and no daemon.

use serde_json::json;

use super::Outcome;
use super::docker;
use super::format::{self, Columns};
use super::image::print;

/// The verbs of `kiln context`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists the one context.
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Prints the name of the one context.
    Show,
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// The arguments of `kiln context ls`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// `table`, `table TEMPLATE`, `json`, or a Go template for each line.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Prints only names.
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: Columns = Columns {
    table: "{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
    quiet: "{{.Name}}",
    headers: &[
        ("Name", "NAME"),
        ("Current", ""),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Error", "ERROR"),
    ],
};

/// Docker's own default. Tools want to read an address here, and hand it back with `--host`, where it means nothing.
const ENDPOINT: &str = "unix:///var/run/docker.sock";

/// Runs a verb of `kiln context`.
pub(crate) fn run(command: &Command) -> Outcome {
    match command {
        Command::Ls(args) => {
            let row = json!({
                "Name": "default",
                "Current": true,
                "Description": "kiln works without a daemon",
                "DockerEndpoint": ENDPOINT,
                "Error": "",
            });
            print(&format::list(args.format.as_deref(), args.quiet, &COLUMNS, &[row])?)
        }
        Command::Show => print("default\n"),
        Command::Other(words) => Err(docker::refused("context", words)),
    }
}
