//! `kiln build`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use kiln::builder::{
    self, AddressOptions, Annotations, Built, Destination, Export, ExportKind, NamedContext, Request,
};
use kiln::context::IgnoreFile;
use kiln::deploy::{Image, Tag};
use kiln::diagnostic::Source;
use kiln::dockerfile::parse_size;
use kiln::oci::Platform;
use kiln::reference::Reference;
use kiln::registry::Limits;
use kiln::time::Timestamp;

use super::Outcome;
use super::buildx;
use super::cache_options::CacheArgs;
use super::check::{self, Call};
use super::context;
use super::deploy::{DeployArgs, Wanted};
use super::docker_config;
use super::environment::Environment;
use super::image_options::ImageArgs;
use super::interrupt;
use super::output::OutputArg;
use super::progress::{self, Style};
use super::report::Failure;
use super::ssh;
use super::step_options::{StepArgs, StepOptions};

/// The arguments of `kiln build`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    deploy: DeployArgs,
    #[command(flatten)]
    image: ImageArgs,
    #[command(flatten)]
    cache: CacheArgs,
    /// Names the image in the store, and in archives; can be given several times.
    #[arg(short, long, value_name = "NAME[:TAG]")]
    tag: Vec<Reference>,
    /// Where the result goes: type=oci|docker|tar|local|image|registry,dest=PATH,...; `-` writes a tar to standard output.
    #[arg(short, long, value_name = "KEY=VALUE,...")]
    output: Vec<OutputArg>,
    /// How many steps run and how many threads pack at the same time.
    #[arg(long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// How much memory packing takes for what it reads ahead and compresses, for example 64m; fewer threads work at the
    /// same time if that is not enough for all. The default is 192m. RUN steps are not limited.
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<u64>,
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
    /// The builder, by a name that `kiln buildx create` gave: kiln itself in any case.
    #[arg(long, value_name = "NAME", env = "BUILDX_BUILDER", hide = true)]
    builder: Option<String>,
}

fn parse_memory(text: &str) -> Result<u64, String> {
    parse_size(text).filter(|size| *size > 0).ok_or_else(|| "must be a size such as 64m or 1g".to_owned())
}

/// What says which build is meant: shared by `why` and all that read a Dockerfile.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ChoiceArgs {
    /// The build context: a directory, `-` (an archive or a Dockerfile on standard input), a git repository
    /// (`https://host/name.git#ref:directory`, `git@host:name`), or the address of an archive or a Dockerfile.
    #[arg(value_name = "CONTEXT")]
    context: Option<PathBuf>,
    /// The Dockerfile; `-` is standard input. The default is `Dockerfile` in the context. In an archive or a
    /// repository the path is the context's.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The stage to build; the default is the last one.
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// The platform of the image, for example linux/arm64; one value.
    #[arg(long, value_name = "OS/ARCH", env = "DOCKER_DEFAULT_PLATFORM")]
    platform: Option<String>,
}

impl ChoiceArgs {
    /// Returns the context as the user names it, or where the user is.
    pub(crate) fn context(&self) -> &Path {
        self.context.as_deref().unwrap_or(Path::new("."))
    }

    fn platform(&self) -> Result<Option<Platform>, Failure> {
        self.platform.as_deref().filter(|text| !text.is_empty()).map(platform).transpose()
    }

    /// Makes another context of it.
    pub(crate) fn with_context(&self, context: impl Into<PathBuf>) -> Self {
        Self { context: Some(context.into()), ..self.clone() }
    }

    /// Returns the name under which the build is remembered: the same for everything that names the same directory
    /// and the same file.
    pub(crate) fn name(&self) -> Result<String, Failure> {
        let platform = self.platform()?;
        let real = |path: &Path| fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let file = self.dockerfile_path().filter(|_| self.context().is_dir()).or_else(|| self.file.clone());
        let parts = [
            real(self.context()).to_string_lossy().into_owned(),
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
        let named = self.file.clone().unwrap_or_else(|| self.context().join("Dockerfile"));
        Some(kiln::context::find_dockerfile(&named))
    }
}

/// What says what is to be built: shared by `build`, `plan` and `check`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SourceArgs {
    #[command(flatten)]
    choice: ChoiceArgs,
    /// What takes the place of the context's `.dockerignore`.
    #[arg(skip)]
    ignore_file: Option<PathBuf>,
    /// Sets an ARG; without a value it is taken from the environment.
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Names another context: a directory, docker-image://NAME, oci-layout://DIR[:TAG], a git repository, an
    /// https:// address, oci-archive://FILE, docker-archive://FILE, or target:STAGE of the same Dockerfile.
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
        if self.choice.context.is_none() {
            return Err(Failure::usage("no build context: give a directory, for example `.`"));
        }
        let mut steps = self.steps.options()?;
        let named_contexts = self.named_contexts()?;
        if self.named(&steps).address()?.as_ref().is_some_and(context::is_ssh) {
            steps.add_agent_of_environment()?;
        }
        let over_ssh = |context: &NamedContext| matches!(context, NamedContext::Remote(remote) if context::is_ssh(remote));
        if named_contexts.values().any(over_ssh) {
            // Whether one is needed shows when the context is.
            let _ = steps.add_agent_of_environment();
        }
        let named = self.named(&steps);
        let found = named.find(environment)?;
        let ignore = match &self.ignore_file {
            Some(path) => {
                let text = fs_err::read(path).map_err(Failure::from_error)?;
                Some(IgnoreFile { path: path.clone(), text })
            }
            None => found.ignore,
        };
        let mut request = Request {
            syntax: syntax_override(&self.build_arg),
            dockerfile: found.dockerfile,
            context: found.context,
            foreign_context: found.foreign,
            ignore,
            named_contexts,
            name: self.choice.name()?,
            target: self.choice.target.clone(),
            build_args: self.build_args_and_proxies(environment)?,
            labels: self.label.iter().map(|label| split_pair(label)).collect(),
            platform: self.choice.platform()?,
            no_cache: self.no_cache,
            no_cache_filter: self.no_cache_filter.clone(),
            isolation: environment.isolation.clone(),
            network: steps.network,
            extra_hosts: steps.extra_hosts.clone(),
            shm_size_bytes: steps.shm_size_bytes,
            ulimits: steps.ulimits.clone(),
            allow_insecure: steps.allow_insecure,
            secrets: steps.secrets.clone(),
            ssh_agents: steps.ssh_agents.clone(),
            jobs: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
            memory_bytes: None,
            now: environment.now,
            epoch: None,
            pull: self.pull,
            squash: false,
            annotations: Annotations::default(),
            tags: Vec::new(),
            exports: Vec::new(),
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            limits: Limits::default(),
        };
        self.set_epoch(&mut request, &steps, environment)?;
        Ok(request)
    }

    fn named<'a>(&'a self, steps: &'a StepOptions) -> context::Named<'a> {
        let set = |name: &str| self.build_args().get(name).cloned().filter(|value| !value.is_empty());
        let options = AddressOptions {
            commit_times: source_date_epoch(&self.build_arg).is_some(),
            keep_git_dir: set("BUILDKIT_CONTEXT_KEEP_GIT_DIR")
                .is_some_and(|value| matches!(&*value, "1" | "t" | "T" | "true" | "TRUE" | "True")),
        };
        context::Named { context: self.choice.context(), file: self.choice.file.as_deref(), options, steps }
    }

    /// Finds the time that `SOURCE_DATE_EPOCH` stands for; the argument then says it in seconds.
    fn set_epoch(
        &self,
        request: &mut Request,
        steps: &StepOptions,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let Some(value) = source_date_epoch(&self.build_arg) else { return Ok(()) };
        request.epoch = match value.parse() {
            Ok(seconds) => Some(Timestamp(seconds)),
            Err(_) => {
                let store = environment.store()?;
                let remotes = steps.remotes(environment, &store);
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
        let choice = &mut own.choice;
        if choice.file.is_some() || !choice.context().is_file() {
            return (own, true);
        }
        let directory = choice.context().parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or_else(|| Path::new(".")).to_owned();
        choice.file = choice.context.replace(directory);
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

    fn build_args_and_proxies(&self, environment: &Environment) -> Result<BTreeMap<String, String>, Failure> {
        let mut args = match environment.docker_config() {
            Some(directory) => docker_config::proxy_args(&directory)?,
            None => BTreeMap::new(),
        };
        args.extend(self.build_args());
        Ok(args)
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

impl Args {
    /// Adds what a deploy platform's file says about an image: what the user said stays.
    fn with(&self, image: &Image, wanted: &Wanted) -> Self {
        let mut own = self.clone();
        let source = &mut own.source;
        if source.choice.context.is_none() || wanted.context_is_place {
            source.choice.context = Some(image.context.clone());
        }
        if source.choice.file.is_none() {
            source.choice.file.clone_from(&image.dockerfile);
        }
        source.ignore_file.clone_from(&image.ignore_file);
        if source.choice.target.is_none() {
            source.choice.target.clone_from(&image.target);
        }
        let platform = || format!("{}/{}", image.platform.os, image.platform.architecture);
        source.choice.platform.get_or_insert_with(platform);
        let said = self.source.build_args();
        let unsaid = image.build_args.iter().filter(|(name, _)| !said.contains_key(*name));
        source.build_arg.extend(unsaid.map(|(name, value)| format!("{name}={value}")));
        // A name of this machine is no place to push to.
        let counts = !matches!(image.tag, Tag::Local(_)) || !self.pushes();
        if own.tag.is_empty() && counts {
            own.tag.extend(image.tag.reference().cloned());
        }
        own
    }

    fn pushes(&self) -> bool {
        let mut exports = self.output.iter().flat_map(|output| &output.exports);
        self.image.pushes() || exports.any(|export| export.kind == ExportKind::Registry)
    }
}

/// Runs a build, or all that a deploy platform's file asks for; or answers what is asked of the Dockerfile.
pub(crate) fn run(args: &Args, environment: &Environment) -> Outcome {
    let Some(wanted) = args.deploy.read(args.source.choice.context.as_deref())? else {
        return execute(args, environment).map(drop);
    };
    let to_one_place =
        args.output.iter().flat_map(|output| &output.exports).any(|export| export.destination.is_some());
    wanted.check_single(&[
        ("--tag", !args.tag.is_empty()),
        ("--file", args.source.choice.file.is_some()),
        ("--output with dest", to_one_place),
        ("--iidfile", args.iidfile.is_some()),
        ("--metadata-file", args.metadata_file.is_some()),
    ])?;
    wanted.images.iter().try_for_each(|image| execute(&args.with(image, &wanted), environment).map(drop))
}

/// What came of a build, and the names that it was given.
pub(crate) struct Done {
    pub(crate) built: Built,
    pub(crate) tags: Vec<Reference>,
}

/// Runs a build and prints its result; `None` if only something was asked of the Dockerfile.
pub(crate) fn execute(args: &Args, environment: &Environment) -> Result<Option<Done>, Failure> {
    if let Some(builder) = args.builder.as_deref().filter(|name| !name.is_empty()) {
        buildx::check_name(builder, environment)?;
    }
    let mut request = args.source.request(environment)?;
    let call = if args.check { Call::CHECK } else { args.call };
    if !call.builds() {
        return check::call(call, &request, environment).map(|()| None);
    }
    request.tags.clone_from(&args.tag);
    request.exports = exports(&args.output)?;
    let image = args.image.options(&mut request.exports)?;
    (request.annotations, request.squash, request.limits) = (image.annotations, image.squash, image.limits);
    (request.cache_from, request.cache_to) =
        args.cache.options(&request.tags, &request.exports, request.squash)?;
    let is_pushed = |export: &Export| export.kind == ExportKind::Registry;
    if request.tags.is_empty()
        && request.exports.iter().any(|export| is_pushed(export) && export.names.is_empty())
    {
        return Err(Failure::usage("what is pushed needs a name: -t NAME[:TAG], or name= of --output"));
    }
    if let Some(jobs) = args.jobs {
        request.jobs = jobs.get();
    }
    request.memory_bytes = args.memory;
    let store = environment.store()?;
    let agent = request.ssh_agents.get(ssh::DEFAULT).cloned();
    let remotes = environment.remotes(&store, &request.secrets, agent);
    let style = if args.quiet { Style::Quiet } else { args.progress };
    let listener = progress::listener(style, request.dockerfile.clone());
    let registry = environment.registry_with(&store, progress::notice(&listener))?;
    let cancel = interrupt::cancel_on_signal()?;
    let result = builder::build(&request, &store, &registry, &remotes, &*listener, &cancel);
    drop(listener);
    let built = result.map_err(|error| {
        // Every other style has shown it.
        let unseen = if style == Style::Quiet { last_output(&error) } else { String::new() };
        explain(&request.dockerfile, error).after(&unseen)
    })?;
    report_result(args, &request, &built)?;
    Ok(Some(Done { built, tags: request.tags }))
}

fn exports(outputs: &[OutputArg]) -> Result<Vec<Export>, Failure> {
    let exports: Vec<Export> = outputs.iter().flat_map(|output| output.exports.clone()).collect();
    let on_stdout = exports.iter().filter(|export| export.destination == Some(Destination::Stdout)).count();
    if on_stdout > 1 {
        return Err(Failure::usage("only one --output can go to standard output"));
    }
    Ok(exports)
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
