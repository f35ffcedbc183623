//! `kiln check`, and the questions of `kiln build --check` and `--call`: a Dockerfile is looked at, not built.

mod call;
mod lint;
mod mend;
mod sarif;

use kiln::builder::{self, Lookup, Request};
use kiln::checkup::Examination;

use super::build::SourceArgs;
use super::environment::Environment;
use super::report::{Failure, print};
use super::{Global, Outcome, environment};

pub(crate) use self::call::Call;

/// The arguments of `kiln check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Looks up no base image: each counts as linux/amd64 with only PATH in its environment.
    #[arg(long)]
    offline: bool,
    /// The form of the result.
    #[arg(long, default_value = "text")]
    format: Format,
    /// Rewrites the file where that is certain: casing, ENV and LABEL without `=`, MAINTAINER.
    #[arg(long, conflicts_with = "format")]
    fix: bool,
}

/// `--format` of `kiln check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Findings with the lines that they are about.
    Text,
    /// One JSON object.
    Json,
    /// SARIF 2.1.0, which code hosts read.
    Sarif,
}

/// Makes the context of `kiln check` a matter of choice: a directory, a Dockerfile, or where the user is.
pub(crate) fn with_optional_context(command: clap::Command) -> clap::Command {
    command.mut_arg("context", |argument| {
        argument
            .required(false)
            .default_value(".")
            .value_name("CONTEXT|DOCKERFILE")
            .help("The build context, or the Dockerfile alone")
    })
}

/// Looks at a Dockerfile and prints what is found; fails if that is anything.
pub(crate) fn run(args: &Args, global: &Global) -> Outcome {
    // Without look-ups there is nothing to open and nowhere to enter.
    let environment = if args.offline { environment::outside(global) } else { environment::enter(global) }?;
    let (source, has_context) = args.source.or_lone_dockerfile();
    let mut request = source.request(&environment)?;
    if !has_context {
        request.ignore = None;
    }
    if args.fix {
        let path = source.dockerfile_path();
        return mend::run(&mut request, path.as_deref(), |request| {
            examine(request, &environment, args.offline)
        });
    }
    let examination = examine(&request, &environment, args.offline)?;
    let text = match args.format {
        Format::Text => lint::text(&request.dockerfile, &examination),
        Format::Json => format!("{:#}\n", lint::json(&request.dockerfile, &examination)),
        Format::Sarif => format!("{:#}\n", sarif::log(&request.dockerfile, &examination)),
    };
    print(&text)?;
    verdict(&examination)
}

/// Answers the question of `kiln build --call`.
pub(crate) fn call(call: Call, request: &Request, environment: &Environment) -> Outcome {
    call::run(call, request, || examine(request, environment, false))
}

fn examine(request: &Request, environment: &Environment, offline: bool) -> Result<Examination, Failure> {
    if offline {
        return builder::check(request, Lookup::None).map_err(Failure::from_error);
    }
    let store = environment.store()?;
    let registry = environment.registry(&store)?;
    builder::check(request, Lookup::Images { store: &store, registry: &registry })
        .map_err(Failure::from_error)
}

/// Any finding is a failure, as it is for `docker build --check`.
fn verdict(examination: &Examination) -> Outcome {
    if examination.findings.is_empty() { Ok(()) } else { Err(Failure::told()) }
}
