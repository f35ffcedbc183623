//! What is built from: the context and the Dockerfile, wherever they are.
//!
//! | context | `-f` | Dockerfile |
//! |---|---|---|
//! | directory | none, path | the context's, the path's |
//! | directory, address | `-` | standard input |
//! | `-`, a Dockerfile | none | standard input; the context is empty |
//! | `-`, an archive; address | none, relative | in the context |
//! | address | absolute | the path's |

use std::io::Read as _;
use std::path::{Path, PathBuf};

use kiln::builder::{self, AddressOptions, ForeignContext, Stream};
use kiln::context::{self, IgnoreFile};
use kiln::diagnostic::Source;
use kiln::graph::Remote;

use super::environment::Environment;
use super::report::Failure;
use super::step_options::StepOptions;

/// What the user named.
pub(crate) struct Named<'a> {
    pub(crate) context: &'a Path,
    pub(crate) file: Option<&'a Path>,
    pub(crate) options: AddressOptions,
    pub(crate) steps: &'a StepOptions,
}

/// What was found.
pub(crate) struct Found {
    /// The directory, absolute; or what the user calls the context.
    pub(crate) context: PathBuf,
    pub(crate) foreign: Option<ForeignContext>,
    pub(crate) dockerfile: Source,
    /// Where the Dockerfile lies, if it is a file of this machine.
    pub(crate) ignore: Option<IgnoreFile>,
}

impl Named<'_> {
    /// Returns the address that the context is, if it is one: a directory wins over an address of the same text.
    pub(crate) fn address(&self) -> Result<Option<Remote>, Failure> {
        let Some(text) = self.context.to_str().filter(|_| !self.context.is_dir()) else { return Ok(None) };
        let address = builder::context_address(text, self.options).transpose();
        address.map_err(|error| Failure::usage(format!("the context `{text}`: {error}")))
    }

    /// Brings the context if it lies elsewhere, and reads the Dockerfile.
    pub(crate) fn find(&self, environment: &Environment) -> Result<Found, Failure> {
        let file_is_stdin = self.file == Some(Path::new("-"));
        if self.context == Path::new("-") {
            if file_is_stdin {
                return Err(Failure::usage(
                    "standard input cannot be both the build context and the Dockerfile",
                ));
            }
            return self.find_on_stdin(environment);
        }
        if let Some(remote) = self.address()? {
            let store = environment.store()?;
            let remotes = self.steps.remotes(environment, &store);
            let foreign = builder::open_context(&remote, &remotes, &store).map_err(Failure::from_error)?;
            return self.found_elsewhere(foreign);
        }
        if !self.context.is_dir() {
            let context = self.context.display();
            return Err(Failure::plain(format!("the context `{context}` is not a directory")));
        }
        let (dockerfile, path) = match self.file {
            Some(_) if file_is_stdin => (from_stdin()?, None),
            file => {
                let named = file.map_or_else(|| self.context.join("Dockerfile"), Path::to_owned);
                let path = context::find_dockerfile(&named);
                (from_file(&path)?, Some(path))
            }
        };
        let ignore = context::find_ignore_file(path.as_deref(), self.context).map_err(Failure::from_error)?;
        let context = fs_err::canonicalize(self.context).map_err(Failure::from_error)?;
        Ok(Found { context, foreign: None, dockerfile, ignore })
    }

    fn find_on_stdin(&self, environment: &Environment) -> Result<Found, Failure> {
        let store = environment.store()?;
        match builder::read_stream(std::io::stdin().lock(), &store).map_err(Failure::from_error)? {
            Stream::Archive(foreign) => self.found_elsewhere(foreign),
            Stream::Dockerfile(_) if self.file.is_some() => Err(Failure::usage(
                "two Dockerfiles: one on standard input, one with --file; give the context's directory instead of `-`",
            )),
            Stream::Dockerfile(bytes) => Ok(Found {
                context: self.context.to_owned(),
                foreign: Some(ForeignContext::empty(&store).map_err(Failure::from_error)?),
                dockerfile: source("-".to_owned(), bytes)?,
                ignore: None,
            }),
        }
    }

    fn found_elsewhere(&self, foreign: ForeignContext) -> Result<Found, Failure> {
        let dockerfile = match self.file {
            Some(file) if file == Path::new("-") => from_stdin()?,
            Some(file) if file.is_absolute() && self.context != Path::new("-") => {
                from_file(&context::find_dockerfile(file))?
            }
            file => {
                let path = file.map(|file| file.to_string_lossy());
                let (name, bytes) = foreign.dockerfile(path.as_deref()).map_err(Failure::from_error)?;
                source(name, bytes)?
            }
        };
        Ok(Found { context: self.context.to_owned(), foreign: Some(foreign), dockerfile, ignore: None })
    }
}

/// Tells whether an address is reached over ssh.
pub(crate) fn is_ssh(remote: &Remote) -> bool {
    matches!(remote, Remote::Git(source) if source.is_ssh())
}

fn from_stdin() -> Result<Source, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes).map_err(Failure::from_error)?;
    source("-".to_owned(), bytes)
}

fn from_file(path: &Path) -> Result<Source, Failure> {
    source(path.display().to_string(), fs_err::read(path).map_err(Failure::from_error)?)
}

fn source(name: String, bytes: Vec<u8>) -> Result<Source, Failure> {
    String::from_utf8(bytes).map(|text| Source::new(&*name, text)).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        Failure::plain(format!("{name}:{line}: the Dockerfile is not UTF-8 text"))
    })
}
