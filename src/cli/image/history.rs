//! `kiln image history`.

use serde_json::{Value, json};

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::format::{self, Columns, human};
use super::super::report::Failure;
use super::{Catalog, Stored, print, short};

/// The arguments of `kiln image history`.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// A name or an image id.
    #[arg(value_name = "IMAGE")]
    image: String,
    /// `table`, `table TEMPLATE`, `json`, or a Go template for each line.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Shows sizes and ages in words; `--human=false` in bytes and as times.
    #[arg(
        short = 'H',
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    human: bool,
    /// Shows whole ids and instructions.
    #[arg(long)]
    no_trunc: bool,
    /// Prints only image ids.
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: Columns = Columns {
    table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "{{.ID}}",
    headers: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
};

/// The table of `--human=false`.
const EXACT: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
/// How much of an instruction is shown.
const CREATED_BY_WIDTH: usize = 45;

impl HistoryArgs {
    pub(crate) fn run(&self, environment: &Environment) -> Outcome {
        let store = environment.store()?;
        let catalog = Catalog::read(&store)?;
        let rows = self.rows(catalog.find(&self.image)?, &catalog, environment)?;
        let columns = if self.human { COLUMNS } else { Columns { table: EXACT, ..COLUMNS } };
        print(&format::list(self.format.as_deref(), self.quiet, &columns, &rows)?)
    }

    /// The newest first; only the topmost is an image that can be named.
    fn rows(
        &self,
        stored: &Stored,
        catalog: &Catalog<'_>,
        environment: &Environment,
    ) -> Result<Vec<Value>, Failure> {
        let mut layers = stored.image.layers.iter();
        let mut rows = Vec::new();
        for entry in &stored.image.config.history {
            let layer = if entry.empty_layer { None } else { layers.next() };
            let size = layer.map(|layer| catalog.layer_size(layer)).transpose()?.unwrap_or_default();
            let created_by = entry.created_by.replace('\t', " ");
            let width = if self.no_trunc { usize::MAX } else { CREATED_BY_WIDTH };
            rows.push(json!({
                "ID": "<missing>",
                "CreatedSince": entry.created.map(|time| human::since(time, environment.now)).unwrap_or_default(),
                "CreatedAt": entry.created.map(|time| time.to_string()).unwrap_or_default(),
                "CreatedBy": human::ellipsis(&created_by, width),
                "Size": if self.human { human::size(size) } else { size.to_string() },
                "Comment": entry.comment,
            }));
        }
        rows.reverse();
        if let Some(top) = rows.first_mut() {
            let id = &stored.image.id;
            top["ID"] = if self.no_trunc { id.to_string() } else { short(id) }.into();
        }
        Ok(rows)
    }
}
