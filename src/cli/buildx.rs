//! `kiln buildx`: as much of docker's plugin as recipes of build services call.
//!
//! A builder of buildx is a BuildKit somewhere. kiln has itself; the names that recipes give to builders are kept in a
//! file beside the store, so that what was created can be inspected, used and removed.

use std::path::{Path, PathBuf};

use kiln::oci::Platform;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::environment::Environment;
use super::format::{self, Columns};
use super::report::{Failure, print, tell};
use super::system::CachePruneArgs;
use super::{Outcome, build, docker};

/// `kiln buildx`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The builder that is meant.
    #[arg(long, value_name = "NAME")]
    builder: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Builds an image from a Dockerfile.
    #[command(visible_alias = "b")]
    Build(Box<build::Args>),
    /// Gives kiln another name as a builder, and prints the name.
    Create(CreateArgs),
    /// Shows a builder.
    Inspect(InspectArgs),
    /// Lists the builders.
    Ls(ListArgs),
    /// Removes the build cache.
    Prune(CachePruneArgs),
    /// Removes names of builders.
    Rm(RemoveArgs),
    /// Makes a builder the current one.
    Use(UseArgs),
    /// Prints the version of buildx whose command line this is, and that of kiln.
    Version,
    #[command(external_subcommand)]
    Other(Vec<String>),
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// The name; one is made up for none.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// What `inspect` shall say: docker, docker-container.
    #[arg(long, value_name = "DRIVER", default_value = "docker-container")]
    driver: Driver,
    /// Makes it the current one.
    #[arg(long = "use")]
    is_current: bool,
    /// Accepted as buildx's: there is nothing to start.
    #[arg(long, hide = true)]
    bootstrap: bool,
    #[arg(long, hide = true, value_name = "KEY=VALUE")]
    driver_opt: Vec<String>,
    #[arg(long, alias = "config", hide = true, value_name = "FILE")]
    buildkitd_config: Option<PathBuf>,
    #[arg(long, hide = true, value_name = "FLAGS", allow_hyphen_values = true)]
    buildkitd_flags: Option<String>,
    #[arg(long, hide = true, value_name = "PLATFORMS")]
    platform: Vec<String>,
    #[arg(long, hide = true, value_name = "NAME")]
    node: Option<String>,
    #[arg(hide = true, value_name = "ENDPOINT")]
    endpoint: Option<String>,
}

/// Drivers that could be kiln; others are a service somewhere else.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Driver {
    Docker,
    DockerContainer,
}

impl Driver {
    const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::DockerContainer => "docker-container",
        }
    }
}

#[derive(Debug, clap::Args)]
struct InspectArgs {
    /// The builder; the current one for none.
    name: Option<String>,
    /// Accepted as buildx's: there is nothing to start.
    #[arg(long, hide = true)]
    bootstrap: bool,
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Option<String>,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// `table`, `table TEMPLATE`, `json`, or a Go template for each line.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Accepted as buildx's: nothing is shortened.
    #[arg(long, hide = true)]
    no_trunc: bool,
}

#[derive(Debug, clap::Args)]
struct RemoveArgs {
    /// The builders; the current one for none.
    names: Vec<String>,
    /// Removes all.
    #[arg(long)]
    all_inactive: bool,
    /// What is not there is no failure.
    #[arg(short, long)]
    force: bool,
    #[arg(long, hide = true, value_name = "NAME")]
    builder: Option<String>,
}

#[derive(Debug, clap::Args)]
struct UseArgs {
    /// The builder.
    name: String,
    #[arg(long, hide = true)]
    default: bool,
    #[arg(long, hide = true)]
    global: bool,
}

/// The version of buildx whose command line is answered here: tools compare it before they use an option.
const BUILDX_VERSION: &str = "v0.24.0";
const DEFAULT: &str = "default";

const COLUMNS: Columns = Columns {
    table: "{{.Name}}{{if .Current}}*{{end}}\t{{.DriverEndpoint}}\t{{.Status}}\t{{.Platforms}}",
    quiet: "{{.Name}}",
    headers: &[
        ("Name", "NAME/NODE"),
        ("Current", ""),
        ("DriverEndpoint", "DRIVER/ENDPOINT"),
        ("Status", "STATUS"),
        ("Platforms", "PLATFORMS"),
    ],
};

/// Runs a verb of `kiln buildx`.
pub(crate) fn run(args: &Args, environment: &Environment) -> Outcome {
    let mut builders = Builders::read(&environment.store_root)?;
    let meant = |own: &Option<String>| own.clone().or_else(|| args.builder.clone());
    match &args.command {
        Command::Build(build) => {
            args.builder.as_deref().map_or(Ok(()), |name| builders.find(name).map(drop))?;
            build::run(build, environment)
        }
        Command::Create(create) => builders.create(create),
        Command::Inspect(inspect) => {
            let name = inspect.name.clone().or_else(|| meant(&inspect.builder));
            let builder = builders.find(name.as_deref().unwrap_or(&builders.current))?;
            print(&builder.text())
        }
        Command::Ls(list) => {
            let rows: Vec<Value> =
                builders.all().iter().map(|builder| builder.to_json(&builders.current)).collect();
            print(&format::list(list.format.as_deref(), false, &COLUMNS, &rows)?)
        }
        Command::Prune(prune) => prune.run(environment),
        Command::Rm(remove) => builders.remove(remove, meant(&remove.builder)),
        Command::Use(choice) => {
            builders.find(&choice.name)?;
            builders.current.clone_from(&choice.name);
            builders.write()
        }
        Command::Version => {
            print(&format!("github.com/docker/buildx {BUILDX_VERSION} kiln-{}\n", env!("CARGO_PKG_VERSION")))
        }
        Command::Other(words) => Err(docker::refused("buildx", words)),
    }
}

/// Checks the value of `kiln build --builder`.
pub(crate) fn check_name(name: &str, environment: &Environment) -> Outcome {
    Builders::read(&environment.store_root)?.find(name).map(drop)
}

#[derive(Debug, Serialize, Deserialize)]
struct Builders {
    current: String,
    created: Vec<Builder>,
    #[serde(skip)]
    path: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Builder {
    name: String,
    driver: String,
}

impl Builders {
    fn read(store_root: &Path) -> Result<Self, Failure> {
        let path = store_root.join("builders.json");
        let none = Self { current: DEFAULT.to_owned(), created: Vec::new(), path: path.clone() };
        match fs_err::read(&path) {
            Ok(text) => {
                let read: Self = serde_json::from_slice(&text)
                    .map_err(|error| Failure::plain(format!("cannot read {}: {error}", path.display())))?;
                Ok(Self { path, ..read })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(none),
            Err(error) => Err(Failure::from_error(error)),
        }
    }

    fn write(&self) -> Outcome {
        let text = serde_json::to_vec(self).expect("texts can be written as JSON");
        let directory = self.path.parent().expect("the file lies in the store's directory");
        let file = tempfile::NamedTempFile::new_in(directory).map_err(Failure::from_error)?;
        fs_err::write(file.path(), text).map_err(Failure::from_error)?;
        file.persist(&self.path).map(drop).map_err(Failure::from_error)
    }

    fn all(&self) -> Vec<Builder> {
        let default = Builder { name: DEFAULT.to_owned(), driver: Driver::Docker.name().to_owned() };
        std::iter::once(default).chain(self.created.iter().cloned()).collect()
    }

    fn find(&self, name: &str) -> Result<Builder, Failure> {
        let found = self.all().into_iter().find(|builder| builder.name == name);
        found.ok_or_else(|| {
            Failure::plain(format!(
                "no builder \"{name}\" found; `kiln buildx create --name {name}` makes it"
            ))
        })
    }

    fn create(&mut self, args: &CreateArgs) -> Outcome {
        let ignored = [
            ("driver-opt", !args.driver_opt.is_empty()),
            ("buildkitd-config", args.buildkitd_config.is_some()),
            ("buildkitd-flags", args.buildkitd_flags.is_some()),
            ("platform", !args.platform.is_empty()),
            ("node", args.node.is_some()),
        ];
        for (option, _) in ignored.into_iter().filter(|(_, given)| *given) {
            tell!("note: --{option} makes no difference: kiln is its own builder");
        }
        if let Some(endpoint) = &args.endpoint {
            tell!("note: the endpoint {endpoint} makes no difference: kiln is its own builder");
        }
        let made_up = || (0..).map(|number| format!("builder{number}")).find(|name| self.find(name).is_err());
        let name = args.name.clone().or_else(made_up).expect("there is always another number");
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        {
            return Err(Failure::usage(format!(
                "--name {name}: a builder's name holds letters, digits, `-`, `_` and `.`"
            )));
        }
        if self.find(&name).is_ok() {
            return Err(Failure::plain(format!("existing instance for \"{name}\"")));
        }
        self.created.push(Builder { name: name.clone(), driver: args.driver.name().to_owned() });
        if args.is_current {
            self.current.clone_from(&name);
        }
        self.write()?;
        print(&format!("{name}\n"))
    }

    fn remove(&mut self, args: &RemoveArgs, meant: Option<String>) -> Outcome {
        let names = match &args.names[..] {
            [] if args.all_inactive => self.created.iter().map(|builder| builder.name.clone()).collect(),
            [] => vec![meant.unwrap_or_else(|| self.current.clone())],
            names => names.to_vec(),
        };
        for name in names {
            match self.find(&name) {
                Err(_) if args.force => continue,
                found => drop(found?),
            }
            if name == DEFAULT {
                return Err(Failure::plain("the builder \"default\" is kiln itself and cannot be removed"));
            }
            self.created.retain(|builder| builder.name != name);
            if self.current == name {
                self.current = DEFAULT.to_owned();
            }
            tell!("{name} removed");
        }
        self.write()
    }
}

impl Builder {
    fn text(&self) -> String {
        let Self { name, driver } = self;
        format!(
            "Name:          {name}\nDriver:        {driver}\n\nNodes:\nName:           {name}0\nEndpoint:       {DEFAULT}\n\
             Status:         running\nPlatforms:      {}\n",
            Platform::host()
        )
    }

    fn to_json(&self, current: &str) -> Value {
        let platform = Platform::host().to_string();
        json!({
            "Name": self.name,
            "Driver": self.driver,
            "DriverEndpoint": self.driver,
            "Current": self.name == current,
            "Dynamic": false,
            "Status": "running",
            "Platforms": platform,
            "Nodes": [{
                "Name": format!("{}0", self.name),
                "Endpoint": DEFAULT,
                "Status": "running",
                "Platforms": [platform],
            }],
        })
    }
}
