//! `kiln context ls|show|inspect`: docker's contexts name daemons; kiln has one context and no daemon.

use serde_json::json;

use super::Outcome;
use super::docker;
use super::format::{self, Columns};
use super::image::print;
use super::report::Failure;

/// The verbs of `kiln context`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists the one context.
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Prints everything about contexts, as JSON or by a Go template.
    Inspect(InspectArgs),
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

/// The arguments of `kiln context inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// Names; the current context for none.
    names: Vec<String>,
    /// A Go template.
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
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

/// The one context.
const NAME: &str = "default";
/// Docker's own default. Tools want to read an address here, and hand it back with `--host`, where it means nothing.
const ENDPOINT: &str = "unix:///var/run/docker.sock";

/// Runs a verb of `kiln context`.
pub(crate) fn run(command: &Command) -> Outcome {
    match command {
        Command::Ls(args) => {
            let row = json!({
                "Name": NAME,
                "Current": true,
                "Description": "kiln works without a daemon",
                "DockerEndpoint": ENDPOINT,
                "Error": "",
            });
            print(&format::list(args.format.as_deref(), args.quiet, &COLUMNS, &[row])?)
        }
        Command::Inspect(args) => args.run(),
        Command::Show => print(&format!("{NAME}\n")),
        Command::Other(words) => Err(docker::refused("context", words)),
    }
}

impl InspectArgs {
    fn run(&self) -> Outcome {
        if let Some(other) = self.names.iter().find(|name| *name != NAME) {
            return Err(Failure::plain(format!(
                "context \"{other}\": context not found: there is \"{NAME}\" only"
            )));
        }
        let context = json!({
            "Name": NAME,
            "Metadata": {},
            "Endpoints": { "docker": { "Host": ENDPOINT, "SkipTLSVerify": false } },
            "TLSMaterial": {},
            "Storage": { "MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>" },
        });
        match self.format.as_deref().filter(|format| !format.is_empty()) {
            Some(format) => print(&(format::object(format, &context)? + "\n")),
            None => print(&format!("{:#}\n", json!([context]))),
        }
    }
}
