//! `kiln image ls`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::Outcome;
use super::super::environment::Environment;
use super::super::format::{self, Columns, human};
use super::super::report::Failure;
use super::{Catalog, Filters, Stored, print, short};

/// The arguments of `kiln image ls`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct ListArgs {
    /// Only images of this name; wildcards do not cross a slash.
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
    /// Accepted as docker's: there are no intermediate images to hide.
    #[arg(short, long, hide = true)]
    all: bool,
    /// Shows the digests that registries know.
    #[arg(long)]
    digests: bool,
    /// Only some images: reference=PATTERN, dangling=BOOL, label=KEY[=VALUE], before=IMAGE, since=IMAGE, until=TIME.
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `table`, `table TEMPLATE`, `json`, or a Go template for each line.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Shows whole ids.
    #[arg(long)]
    no_trunc: bool,
    /// Prints only image ids.
    #[arg(short, long)]
    quiet: bool,
}

const HEADERS: &[(&str, &str)] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];

const COLUMNS: Columns = Columns {
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}",
    quiet: "{{.ID}}",
    headers: HEADERS,
};

const WITH_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";

impl ListArgs {
    pub(crate) fn run(&self, environment: &Environment) -> Outcome {
        const KEYS: [&str; 6] = ["reference", "dangling", "label", "before", "since", "until"];
        let store = environment.store()?;
        let catalog = Catalog::read(&store)?;
        let mut filters = Filters::parse(&self.filter, &KEYS, &catalog, environment.now)?;
        if let Some(name) = &self.name {
            filters.add_reference(name)?;
        }
        let mut rows = Vec::new();
        for stored in catalog.images.iter().filter(|stored| filters.hold(stored)) {
            self.add_rows(stored, &filters, &catalog, environment, &mut rows)?;
        }
        let columns = if self.digests { Columns { table: WITH_DIGESTS, ..COLUMNS } } else { COLUMNS };
        print(&format::list(self.format.as_deref(), self.quiet, &columns, &rows)?)
    }

    /// One row for each name, or for an image without one.
    fn add_rows(
        &self,
        stored: &Stored,
        filters: &Filters,
        catalog: &Catalog<'_>,
        environment: &Environment,
        rows: &mut Vec<Value>,
    ) -> Result<(), Failure> {
        const NONE: &str = "<none>";
        let created = stored.image.config.created;
        let id = &stored.image.id;
        let size = human::size(catalog.size(stored)?);
        let common = json!({
            "ID": if self.no_trunc { id.to_string() } else { short(id) },
            "CreatedSince": created.map(|time| human::since(time, environment.now)).unwrap_or_default(),
            "CreatedAt": created.map(human::time).unwrap_or_default(),
            "Size": size,
            "VirtualSize": size,
            "Containers": "N/A",
            "SharedSize": "N/A",
            "UniqueSize": "N/A",
        });
        let digests: BTreeMap<String, String> = stored
            .repo_digests()
            .into_iter()
            .filter_map(|text| {
                text.split_once('@').map(|(name, digest)| (name.to_owned(), digest.to_owned()))
            })
            .collect();
        let mut add = |repository: &str, tag: &str, digest: &str| {
            let mut row = common.clone();
            row["Repository"] = repository.into();
            row["Tag"] = tag.into();
            row["Digest"] = digest.into();
            rows.push(row);
        };
        for name in stored.names.iter().filter(|name| filters.name_holds(name)) {
            let repository = name.familiar_name();
            let digest = digests.get(&repository).map_or(NONE, String::as_str);
            add(&repository, name.tag.as_deref().unwrap_or(NONE), digest);
        }
        if stored.names.is_empty() {
            match digests.first_key_value() {
                Some((repository, digest)) => add(repository, NONE, digest),
                None => add(NONE, NONE, NONE),
            }
        }
        Ok(())
    }
}
