//! `kiln build`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use kiln::builder::{
    self, AddressOptions, Annotations, Built, Destination, Export, ExportKind, NamedContext, Request,
};
use kiln::diagnostic::Source;
use kiln::oci::Platform;
use kiln::reference::Reference;
use kiln::time::Timestamp;

use super::Outcome;
use super::check::{self, Call};
use super::context;
use super::environment::Environment;
use super::image_options::ImageArgs;
use super::interrupt;
use super::output::OutputArg;
use super::progress::{self, Style};
use super::report::Failure;
use super::step_options::StepArgs;

/// The arguments of `kiln build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    image: ImageArgs,
    /// Names the image in the store, and in archives; can be given several times.
    #[arg(short, long, value_name = "NAME[:TAG]")]
    tag: Vec<Reference>,
    /// Where the result goes: type=oci|docker|tar|local|image,dest=PATH,...; `-` writes a tar to standard output.
    #[arg(short, long, value_name = "KEY=VALUE,...")]
    output: Vec<OutputArg>,
    /// How many steps run and how many threads pack at the same time.
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// How progress is shown.
    #[arg(long, default_value = "auto", env = "BUILDKIT_PROGRESS")]
    progress: Style,
    /// Prints only the image id.
    #[arg(short, long)]
    quiet: bool,
    /// Writes the image id (the config's digest) to a file.
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Writes digests and names of the result to a JSON file.
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    /// Asks something of the Dockerfile instead of building it: check, outline, targets; with `,format=json`.
    #[arg(long, value_name = "QUESTION", default_value = "build")]
    call: Call,
    /// The same as `--call check`.
    #[arg(long, conflicts_with = "call")]
    check: bool,
}

/// What says which build is meant: shared by `why` and all that read a Dockerfile.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ChoiceArgs {
    /// The build context: a directory, `-` (an archive or a Dockerfile on standard input), a git repository
    /// (`https://host/name.git#ref:directory`, `git@host:name`), or the address of an archive or a Dockerfile.
    #[arg(value_name = "CONTEXT")]
    context: PathBuf,
    /// The Dockerfile; `-` is standard input. The default is `Dockerfile` in the context. In an archive or a
    /// repository the path is the context's.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The stage to build; the default is the last one.
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// The platform of the image, for example linux/arm64; one value.
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
}

impl ChoiceArgs {
    /// Returns the context as the user names it.
    pub(crate) fn context(&self) -> &Path {
        &self.context
    }

    /// Makes another context of it.
    pub(crate) fn with_context(&self, context: impl Into<PathBuf>) -> Self {
        Self { context: context.into(), ..self.clone() }
    }

    /// Returns the name under which the build is remembered: the same for everything that names the same directory
    /// and the same file.
    pub(crate) fn name(&self) -> Result<String, Failure> {
        let platform = self.platform.as_deref().map(platform).transpose()?;
        let real = |path: &Path| fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let file = self.dockerfile_path().filter(|_| self.context.is_dir()).or_else(|| self.file.clone());
        let parts = [
            real(&self.context).to_string_lossy().into_owned(),
            file.map(|file| real(&file).to_string_lossy().into_owned()).unwrap_or_default(),
            self.target.as_deref().unwrap_or_default().to_lowercase(),
            platform.map(|platform| platform.to_string()).unwrap_or_default(),
        ];
        Ok(parts.join("\n"))
    }

    /// Returns where the Dockerfile lies; standard input lies nowhere.
    fn dockerfile_path(&self) -> Option<PathBuf> {
        if self.file.as_deref() == Some(Path::new("-")) {
            return None;
        }
        let named = self.file.clone().unwrap_or_else(|| self.context.join("Dockerfile"));
        Some(kiln::context::find_dockerfile(&named))
    }
}

/// What says what is to be built: shared by `build`, `plan` and `check`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SourceArgs {
    #[command(flatten)]
    choice: ChoiceArgs,
    /// Sets an ARG; without a value it is taken from the environment.
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Names another context: a directory, docker-image://NAME, oci-layout://DIR[:TAG], a git repository, an
    /// https:// address, oci-archive://FILE or docker-archive://FILE.
    #[arg(long, value_name = "NAME=VALUE")]
    build_context: Vec<String>,
    /// Adds a label to the image.
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Does every step anew.
    #[arg(long)]
    no_cache: bool,
    /// Does the steps of these stages anew.
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Asks the registries for bases that the store has a name for, too.
    #[arg(long)]
    pull: bool,
    #[command(flatten)]
    steps: StepArgs,
}

impl SourceArgs {
    /// Reads the Dockerfile and makes of the arguments what is meant by them.
    pub(crate) fn request(&self, environment: &Environment) -> Result<Request, Failure> {
        let steps = self.steps.options()?;
        let named = self.named();
        let found = named.find(environment)?;
        let mut request = Request {
            syntax: syntax_override(&self.build_arg),
            dockerfile: found.dockerfile,
            context: found.context,
            foreign_context: found.foreign,
            ignore: found.ignore,
            named_contexts: self.named_contexts()?,
            name: self.choice.name()?,
            target: self.choice.target.clone(),
            build_args: self.build_args(),
            labels: self.label.iter().map(|label| split_pair(label)).collect(),
            platform: self.choice.platform.as_deref().map(platform).transpose()?,
            no_cache: self.no_cache,
            no_cache_filter: self.no_cache_filter.clone(),
            isolation: environment.isolation.clone(),
            network: steps.network,
            extra_hosts: steps.extra_hosts,
            shm_size_bytes: steps.shm_size_bytes,
            ulimits: steps.ulimits,
            allow_insecure: steps.allow_insecure,
            secrets: steps.secrets,
            ssh_agents: steps.ssh_agents,
            jobs: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            now: environment.now,
            epoch: None,
            pull: self.pull,
            squash: false,
            annotations: Annotations::default(),
            tags: Vec::new(),
            exports: Vec::new(),
        };
        self.set_epoch(&mut request, environment)?;
        Ok(request)
    }

    fn named(&self) -> context::Named<'_> {
        let set = |name: &str| self.build_args().get(name).cloned().filter(|value| !value.is_empty());
        let options = AddressOptions {
            commit_times: source_date_epoch(&self.build_arg).is_some(),
            keep_git_dir: set("BUILDKIT_CONTEXT_KEEP_GIT_DIR")
                .is_some_and(|value| matches!(&*value, "1" | "t" | "T" | "true" | "TRUE" | "True")),
        };
        let ChoiceArgs { context, file, .. } = &self.choice;
        context::Named { context, file: file.as_deref(), options }
    }

    /// Tells whether the user named an address for which ssh needs the agent and the keys.
    pub(crate) fn needs_ssh(&self, request: &Request) -> bool {
        let main = self.named().address().ok().flatten();
        let named = request.named_contexts.values().filter_map(|context| match context {
            NamedContext::Remote(remote) => Some(remote),
            _ => None,
        });
        main.iter().chain(named).any(context::is_ssh)
    }

    /// Finds the time that `SOURCE_DATE_EPOCH` stands for; the argument then says it in seconds.
    fn set_epoch(&self, request: &mut Request, environment: &Environment) -> Result<(), Failure> {
        let Some(value) = source_date_epoch(&self.build_arg) else { return Ok(()) };
        request.epoch = match value.parse() {
            Ok(seconds) => Some(Timestamp(seconds)),
            Err(_) => {
                let store = environment.store()?;
                let remotes = environment.remotes(&store, self.needs_ssh(request));
                builder::resolve_epoch(&value, request, &remotes, &store).map_err(Failure::from_error)?
            }
        };
        if let Some(argument) = request.build_args.get_mut("SOURCE_DATE_EPOCH") {
            *argument = request.epoch.map(|epoch| epoch.0.to_string()).unwrap_or_default();
        }
        Ok(())
    }

    /// Takes a context that is a file for the Dockerfile; says whether there still is a context.
    pub(crate) fn or_lone_dockerfile(&self) -> (Self, bool) {
        let mut own = self.clone();
        let ChoiceArgs { context, file, .. } = &mut own.choice;
        if file.is_some() || !context.is_file() {
            return (own, true);
        }
        let directory = context.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or_else(|| Path::new(".")).to_owned();
        *file = Some(std::mem::replace(context, directory));
        (own, false)
    }

    /// Returns where the Dockerfile lies; standard input lies nowhere.
    pub(crate) fn dockerfile_path(&self) -> Option<PathBuf> {
        self.choice.dockerfile_path()
    }

    fn build_args(&self) -> BTreeMap<String, String> {
        let from_environment = |name: &str| std::env::var(name).ok().map(|value| (name.to_owned(), value));
        let given = |arg: &String| match arg.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => from_environment(arg),
        };
        self.build_arg.iter().filter_map(given).collect()
    }

    fn named_contexts(&self) -> Result<BTreeMap<String, NamedContext>, Failure> {
        let named = |text: &String| {
            let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
            let (name, value) =
                pair.ok_or_else(|| Failure::usage(format!("--build-context {text}: must be NAME=VALUE")))?;
            let context =
                value.parse().map_err(|error| Failure::usage(format!("--build-context {name}: {error}")))?;
            Ok((name.to_lowercase(), context))
        };
        self.build_context.iter().map(named).collect::<Result<_, Failure>>()
    }
}

/// Runs a build and prints its result.
pub(crate) fn run(args: &Args, environment: &Environment) -> Outcome {
    let mut request = args.source.request(environment)?;
    let call = if args.check { Call::CHECK } else { args.call };
    if !call.builds() {
        return check::call(call, &request, environment);
    }
    request.tags.clone_from(&args.tag);
    request.exports = exports(&args.output)?;
    let image = args.image.options(&mut request.exports)?;
    (request.annotations, request.squash) = (image.annotations, image.squash);
    if let Some(jobs) = args.jobs {
        request.jobs = jobs.get();
    }
    let store = environment.store()?;
    let registry = environment.registry(&store)?;
    let remotes = environment.remotes(&store, args.source.needs_ssh(&request));
    let style = if args.quiet { Style::Quiet } else { args.progress };
    let listener = progress::listener(style, request.dockerfile.clone());
    let cancel = interrupt::cancel_on_signal()?;
    let result = builder::build(&request, &store, &registry, &remotes, &*listener, &cancel);
    drop(listener);
    let built = result.map_err(|error| {
        // Every other style has shown it.
        let unseen = if style == Style::Quiet { last_output(&error) } else { String::new() };
        explain(&request.dockerfile, error).after(&unseen)
    })?;
    report_result(args, &request, &built)
}

fn exports(outputs: &[OutputArg]) -> Result<Vec<Export>, Failure> {
    let exports: Vec<Export> = outputs.iter().map(|output| output.export.clone()).collect();
    let on_stdout = exports.iter().filter(|export| export.destination == Some(Destination::Stdout)).count();
    if on_stdout > 1 {
        return Err(Failure::usage("only one --output can go to standard output"));
    }
    Ok(if exports.is_empty() { vec![Export::new(ExportKind::Store, None)] } else { exports })
}

/// Shows what a failed command wrote last.
fn last_output(error: &builder::Error) -> String {
    let output = error.output();
    if output.is_empty() {
        return String::new();
    }
    let lines: String = output.iter().map(|line| format!("  {line}\n")).collect();
    format!("the command wrote last:\n{lines}\n")
}

/// Puts the line of the Dockerfile before an error that has one.
pub(crate) fn explain(source: &Source, error: builder::Error) -> Failure {
    match error {
        builder::Error::Findings(findings) => Failure::findings(source, &findings),
        builder::Error::Checks(findings) => Failure::checks(source, &findings),
        error if error.is_cancelled() => Failure::cancelled(),
        error => match error.span() {
            Some(span) => Failure::at(source, span, &error, error.help()),
            None => Failure::from_error(error),
        },
    }
}

fn report_result(args: &Args, request: &Request, built: &Built) -> Outcome {
    let id = built.image_id();
    if let (Some(path), Some(id)) = (&args.iidfile, id) {
        fs_err::write(path, id.to_string()).map_err(Failure::from_error)?;
    }
    if let Some(path) = &args.metadata_file {
        let text = format!("{:#}\n", built.metadata(&request.tags));
        fs_err::write(path, text).map_err(Failure::from_error)?;
    }
    // Standard output is the tar's alone when one goes there.
    let taken = request.exports.iter().any(|export| export.destination == Some(Destination::Stdout));
    match id {
        Some(id) if !taken => writeln!(std::io::stdout(), "{id}").map_err(Failure::from_error),
        _ => Ok(()),
    }
}

fn platform(text: &str) -> Result<Platform, Failure> {
    if text.contains(',') {
        return Err(Failure::usage(format!(
            "--platform {text}: several platforms in one build are not supported yet"
        )));
    }
    text.parse().map_err(|error| Failure::usage(format!("--platform: {error}")))
}

/// `BUILDKIT_SYNTAX` as a build argument or in the environment replaces `# syntax=`.
fn syntax_override(build_args: &[String]) -> Option<String> {
    let given = build_args.iter().find_map(|arg| arg.strip_prefix("BUILDKIT_SYNTAX=")).map(str::to_owned);
    given.or_else(|| std::env::var("BUILDKIT_SYNTAX").ok()).filter(|syntax| !syntax.is_empty())
}

/// `SOURCE_DATE_EPOCH` as a build argument or in the environment.
fn source_date_epoch(build_args: &[String]) -> Option<String> {
    let given = build_args.iter().find_map(|arg| arg.strip_prefix("SOURCE_DATE_EPOCH=")).map(str::to_owned);
    given.or_else(|| std::env::var("SOURCE_DATE_EPOCH").ok()).filter(|value| !value.is_empty())
}

fn split_pair(text: &str) -> (String, String) {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    (key.to_owned(), value.to_owned())
}
