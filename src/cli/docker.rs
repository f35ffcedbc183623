//! What docker's command line has and kiln does not: said by name, with the reason.

use clap::ArgAction;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use kiln::diagnostic::suggest;

use super::report::{Failure, tell};

/// Docker's options before the verb.
#[derive(Debug, clap::Args)]
pub(crate) struct GlobalArgs {
    #[arg(short = 'c', long, hide = true, value_name = "NAME")]
    context: Option<String>,
    #[arg(short = 'D', long, hide = true)]
    debug: bool,
    #[arg(short = 'H', long, hide = true, value_name = "ADDRESS")]
    host: Vec<String>,
    #[arg(short = 'l', long, hide = true, value_name = "LEVEL")]
    log_level: Option<String>,
    #[arg(long, hide = true)]
    tls: bool,
    #[arg(long, hide = true, value_name = "FILE")]
    tlscacert: Option<String>,
    #[arg(long, hide = true, value_name = "FILE")]
    tlscert: Option<String>,
    #[arg(long, hide = true, value_name = "FILE")]
    tlskey: Option<String>,
    #[arg(long, hide = true)]
    tlsverify: bool,
}

impl GlobalArgs {
    /// Says of each option that it means nothing here.
    pub(crate) fn note(&self) {
        let given = [
            ("context", self.context.is_some()),
            ("debug", self.debug),
            ("host", !self.host.is_empty()),
            ("log-level", self.log_level.is_some()),
            ("tls", self.tls),
            ("tlscacert", self.tlscacert.is_some()),
            ("tlscert", self.tlscert.is_some()),
            ("tlskey", self.tlskey.is_some()),
            ("tlsverify", self.tlsverify),
        ];
        for (name, _) in given.into_iter().filter(|(_, given)| *given) {
            tell!("note: --{name} makes no difference: there is no daemon");
        }
    }
}

const NO_CONTAINERS: &str = "kiln builds images and runs no containers";
const NO_SWARM: &str = "kiln builds images and has no swarm";
const NO_DAEMON: &str = "kiln has no daemon";
const NO_SUCH_THING: &str = "kiln builds images and does not do this";

/// Docker's verbs that are not kiln's business.
const VERBS: [(&[&str], &str); 4] = [
    (
        &[
            "attach",
            "checkpoint",
            "commit",
            "compose",
            "container",
            "cp",
            "create",
            "diff",
            "exec",
            "export",
            "kill",
            "logs",
            "network",
            "pause",
            "port",
            "ps",
            "rename",
            "restart",
            "rm",
            "run",
            "start",
            "stats",
            "stop",
            "top",
            "unpause",
            "update",
            "volume",
            "wait",
        ],
        NO_CONTAINERS,
    ),
    (&["config", "node", "secret", "service", "stack", "swarm"], NO_SWARM),
    (&["events"], NO_DAEMON),
    (&["import", "plugin", "scout", "search", "trust"], NO_SUCH_THING),
];

/// Options of `docker build` that ask for what kiln cannot give.
const BUILD_OPTIONS: [(&[&str], &str); 5] = [
    (
        &[
            "--memory",
            "-m",
            "--memory-swap",
            "--cpu-period",
            "--cpu-quota",
            "--cpu-shares",
            "-c",
            "--cpuset-cpus",
            "--cpuset-mems",
            "--cgroup-parent",
            "--resource",
        ],
        "RUN steps share the resources of kiln itself: limit the process, for example with systemd-run",
    ),
    (&["--security-opt"], "RUN steps have docker's default seccomp profile and capabilities; see --allow"),
    (&["--attest"], "attestations are not supported; leave it out"),
    (&["--push"], "pushing from a build is not supported yet: build into the store, then push"),
    (&["--cache-from", "--cache-to"], "remote caches are not supported yet; the cache is the store's"),
];

/// Refuses words below a verb that kiln knows in part, or unknown verbs: as docker does, but with the reason.
pub(crate) fn refused(above: &str, words: &[String]) -> Failure {
    let whole = words.first().map(String::as_str).unwrap_or_default();
    let whole = if above.is_empty() { whole.to_owned() } else { format!("{above} {whole}") };
    Failure::plain(format!("{whole}: {NO_SUCH_THING}"))
}

/// Refuses a verb that kiln does not have: docker's with the reason, others with a near one.
pub(crate) fn unknown(words: &[String], known: &clap::Command) -> Failure {
    let word = words.first().map(String::as_str).unwrap_or_default();
    if let Some((_, reason)) = VERBS.iter().find(|(verbs, _)| verbs.contains(&word)) {
        return Failure::plain(format!("{word}: {reason}"));
    }
    let names = known.get_subcommands().map(clap::Command::get_name);
    let hint =
        suggest::nearest(word, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Failure::usage(format!("unknown command `{word}`{hint}; see `kiln --help`"))
}

/// Adds the reason to clap's message about an option of docker's that kiln does not have.
pub(crate) fn explain(mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return error };
    let name = argument.split('=').next().unwrap_or(argument);
    let reason = BUILD_OPTIONS.iter().find(|(options, _)| options.contains(&name)).map(|(_, reason)| *reason);
    if let Some(reason) = reason {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(reason)]));
    }
    error
}

/// Lets switches have a value, `--pull=false`, as Go's flags do.
pub(crate) fn with_go_booleans(command: clap::Command) -> clap::Command {
    let switch = |argument: clap::Arg| {
        if !matches!(argument.get_action(), ArgAction::SetTrue) {
            return argument;
        }
        let argument =
            argument.action(ArgAction::Set).num_args(0..=1).require_equals(true).value_name("BOOL");
        argument
            .default_value("false")
            .default_missing_value("true")
            .value_parser(parse_bool)
            .hide_default_value(true)
    };
    command.mut_args(switch).mut_subcommands(with_go_booleans)
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}
