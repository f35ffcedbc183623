//! The typed instructions of a Dockerfile: what is written, nothing expanded.
//!
//! A [`Word`] is text that may hold variables; only `lower` can turn it into a plain string. Text that
//! the language never expands (RUN, CMD, ENTRYPOINT, HEALTHCHECK, `--from`, `--exclude`) is a `String`
//! from the start.

use crate::diagnostic::{Source, Span};

/// Something with the place it was written at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The thing.
    pub value: T,
    /// Where it stands in the source.
    pub span: Span,
}

impl<T> Spanned<T> {
    /// Puts `value` at `span`.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span }
    }
}

/// Text that may hold variables, quotes and escapes: not yet expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The text as written, continuations and comments inside them removed.
    pub raw: String,
    /// Where it stands in the source.
    pub span: Span,
}

/// A whole file.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    /// The text that all spans point into.
    pub source: Source,
    /// The parser directives at the top.
    pub directives: Directives,
    /// The ARG instructions before the first FROM.
    pub global_args: Vec<Instruction>,
    /// The stages in the order of the file.
    pub stages: Vec<Stage>,
}

/// The parser directives (`# name=value` lines at the top of the file).
#[derive(Debug, Clone, Default)]
pub struct Directives {
    /// `# syntax=`: the frontend asked for.
    pub syntax: Option<Spanned<String>>,
    /// `# escape=`: backslash unless the file says backtick.
    pub escape: Option<Spanned<char>>,
    /// `# check=`: which build checks are skipped, and whether warnings fail the build.
    pub check: Option<Spanned<String>>,
}

impl Directives {
    /// Returns the escape character in force.
    pub fn escape_char(&self) -> char {
        self.escape.as_ref().map_or('\\', |escape| escape.value)
    }
}

/// From one FROM to the next.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The FROM line.
    pub from: From,
    /// The whole FROM instruction.
    pub span: Span,
    /// The comment lines directly above FROM whose first word is the stage's name.
    pub doc: Option<String>,
    /// All comment lines directly above FROM.
    pub comments: Option<String>,
    /// What follows, up to the next FROM.
    pub instructions: Vec<Instruction>,
}

/// `FROM [--platform=P] IMAGE [AS NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// `--platform`.
    pub platform: Option<Word>,
    /// The image, an earlier stage, or `scratch`.
    pub image: Word,
    /// The word `AS` as written.
    pub keyword: Option<Spanned<String>>,
    /// What stands behind `AS`: lower-case, as stages are looked up.
    pub name: Option<Spanned<String>>,
}

/// One instruction of a stage (or a global ARG).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What it says.
    pub kind: Kind,
    /// From its first character to the end of its last line, heredoc bodies included.
    pub span: Span,
    /// The logical line: continuations joined, comments removed, heredoc bodies left out.
    pub text: String,
    /// The comment lines directly above.
    pub doc: Option<String>,
}

/// The instructions of the language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `ADD`
    Add(Transfer),
    /// `ARG`: one or several names.
    Arg(Vec<ArgDeclaration>),
    /// `CMD`
    Cmd(CommandLine),
    /// `COPY`
    Copy(Transfer),
    /// `ENTRYPOINT`
    Entrypoint(CommandLine),
    /// `ENV`: pairs in the order written.
    Env(Vec<KeyValue>),
    /// `EXPOSE`: sorted by their text, as their order means nothing.
    Expose(Vec<Word>),
    /// `HEALTHCHECK`
    Healthcheck(Healthcheck),
    /// `LABEL`: pairs in the order written.
    Label(Vec<KeyValue>),
    /// `MAINTAINER`
    Maintainer(Word),
    /// `ONBUILD`: the trigger's text as it is stored in the config, and the trigger itself.
    Onbuild(Trigger),
    /// `RUN`
    Run(Run),
    /// `SHELL`: always the exec form.
    Shell(Vec<String>),
    /// `STOPSIGNAL`
    Stopsignal(Word),
    /// `USER`
    User(Word),
    /// `VOLUME`
    Volume(Vec<Word>),
    /// `WORKDIR`
    Workdir(Word),
}

/// `NAME` or `NAME=DEFAULT` of ARG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgDeclaration {
    /// The name as written; it may hold variables too.
    pub name: Spanned<String>,
    /// The default.
    pub default: Option<Word>,
}

/// `KEY=VALUE`, or the old `KEY VALUE` form, of ENV and LABEL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key; it is expanded as well.
    pub key: Word,
    /// The value.
    pub value: Word,
    /// Whether the old form without `=` was used.
    pub legacy: bool,
}

/// The command of RUN, CMD, ENTRYPOINT or a health check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// One string for the shell.
    Shell(String),
    /// A JSON array: used as it is.
    Exec(Vec<String>),
}

/// A here-document of RUN, COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter, quotes removed; the file's name for COPY.
    pub name: String,
    /// Whether variables are expanded: the delimiter has no quote.
    pub expand: bool,
    /// Whether `<<-` was written.
    pub chomp: bool,
    /// The text up to the terminator with its final newline; the tabs that `<<-` strips are gone.
    pub body: String,
    /// Where the body stands in the source.
    pub span: Span,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The command without its flags. With here-documents it is the shell text as written, redirections
    /// included (`<<EOF`, `cat <<A <<B`), without the bodies.
    pub command: CommandLine,
    /// The here-documents in the order of their redirections.
    pub heredocs: Vec<Heredoc>,
    /// `--mount`, in the order written.
    pub mounts: Vec<Mount>,
    /// `--network`
    pub network: Option<Spanned<Network>>,
    /// `--security`
    pub security: Option<Spanned<Security>>,
    /// `--device`: values as written.
    pub devices: Vec<Word>,
}

/// `RUN --network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The build's own choice.
    Default,
    /// Only loopback.
    None,
    /// The host's.
    Host,
}

/// `RUN --security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Docker's default capabilities and filters.
    Sandbox,
    /// Everything the builder may do.
    Insecure,
}

/// One `--mount` of RUN: options as written and checked by name, values unexpanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `type=`; bind when not written.
    pub kind: MountKind,
    /// `target`, `dst`, `destination`.
    pub target: Option<Word>,
    /// `source`, `src`.
    pub source: Option<Word>,
    /// `from`: never expanded.
    pub from: Option<Spanned<String>>,
    /// `readonly`, `ro`, `readwrite`, `rw`: `None` when not written.
    pub readonly: Option<bool>,
    /// `id`
    pub id: Option<Word>,
    /// `sharing`
    pub sharing: Option<Sharing>,
    /// `size` of tmpfs, in bytes.
    pub size: Option<u64>,
    /// `required`
    pub required: bool,
    /// `mode`
    pub mode: Option<u32>,
    /// `uid`
    pub uid: Option<u32>,
    /// `gid`
    pub gid: Option<u32>,
    /// `env` of secrets.
    pub env: Option<Word>,
    /// Whether an option that must be understood holds a variable (`type=$T`): until
    /// [`Mount::expanded`](Mount::expanded) is asked, that option has its default here.
    pub late: bool,
    /// The options as written.
    pub text: Word,
    /// The whole flag.
    pub span: Span,
}

/// `type=` of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the build context, a stage or an image.
    Bind,
    /// A directory that lives on between builds.
    Cache,
    /// An empty file system in memory.
    Tmpfs,
    /// A secret as a file or an environment variable.
    Secret,
    /// An SSH agent's socket.
    Ssh,
}

/// `sharing=` of a cache mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sharing {
    /// Several writers at once.
    Shared,
    /// A second writer gets a copy of its own.
    Private,
    /// A second writer waits.
    Locked,
}

/// `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Paths, URLs or here-documents, in the order written.
    pub sources: Vec<TransferSource>,
    /// The destination.
    pub destination: Word,
    /// `--from`: stage, index or image; never expanded. COPY only.
    pub from: Option<Spanned<String>>,
    /// `--chown`
    pub chown: Option<Word>,
    /// `--chmod`
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// `--parents`; COPY only.
    pub parents: bool,
    /// `--exclude`, never expanded.
    pub excludes: Vec<Spanned<String>>,
    /// `--checksum`; ADD only.
    pub checksum: Option<Word>,
    /// `--keep-git-dir`; ADD only.
    pub keep_git_dir: Option<Spanned<bool>>,
    /// `--unpack`; ADD only. `None` when not written.
    pub unpack: Option<Spanned<bool>>,
}

/// One source of COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferSource {
    /// A path or, for ADD, a URL: known only after expansion.
    Path(Word),
    /// A here-document: a file named by its delimiter.
    Heredoc(Heredoc),
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `NONE`: an inherited check is switched off.
    None,
    /// `[options] CMD command`
    Check {
        /// The command.
        command: CommandLine,
        /// `--interval`, in nanoseconds; 0 means inherit.
        interval: i64,
        /// `--timeout`, in nanoseconds; 0 means inherit.
        timeout: i64,
        /// `--start-period`, in nanoseconds; 0 means inherit.
        start_period: i64,
        /// `--start-interval`, in nanoseconds; 0 means inherit.
        start_interval: i64,
        /// `--retries`; 0 means inherit.
        retries: i64,
    },
}

/// The instruction behind ONBUILD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The text stored in the config: the instruction with its here-documents.
    pub text: String,
    /// The instruction, parsed already so that its errors are reported with the file's.
    pub instruction: Box<Instruction>,
}
