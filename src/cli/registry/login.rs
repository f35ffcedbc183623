//! `kiln login` and `kiln logout`: docker's, with docker's file.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use kiln::registry::{
    Credential, Credentials, Kept, Login, erase_login, host_of_server, save_login, server_name,
};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::super::environment::{self, Registries};
use super::super::report::{Failure, say, tell};
use super::super::{Global, Outcome};
use super::print;

/// A password that is longer is a mistake: a file that was meant for something else.
const PASSWORD_LIMIT: u64 = 1 << 20;

/// The arguments of `kiln login`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// The user name; asked for on a terminal.
    #[arg(short, long)]
    username: Option<String>,
    /// The password or access token. Other users of the machine may see it in the list of processes.
    #[arg(short, long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Reads the password or access token from standard input.
    #[arg(long)]
    password_stdin: bool,
    /// The registry; Docker Hub for none.
    #[arg(value_name = "SERVER", default_value = "", hide_default_value = true)]
    server: String,
}

/// The arguments of `kiln logout`.
#[derive(Debug, clap::Args)]
pub(crate) struct LogoutArgs {
    /// The registry; Docker Hub for none.
    #[arg(value_name = "SERVER", default_value = "", hide_default_value = true)]
    server: String,
}

/// Runs `kiln login`.
pub(crate) fn login(args: &LoginArgs, global: &Global) -> Outcome {
    let host = host_of_server(&args.server);
    let found = Registries::find(environment::docker_config(global));
    let path = login_file(&found)?;
    if args.password.is_some() {
        tell!("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let hosts = found.hosts()?;
    let verify = |credentials| {
        let notice = Arc::new(|text: &str| tell!("kiln: {text}"));
        let login = Login { host, hosts: &hosts, certificates: found.certificates.clone(), notice };
        login.verify(credentials).map_err(Failure::from_error)
    };
    let asks_for_nothing = args.username.is_none() && args.password.is_none() && !args.password_stdin;
    if asks_for_nothing {
        let known = found.credentials()?;
        if known.find(host, "").map_err(Failure::from_error)?.is_some() {
            tell!("Authenticating with existing credentials...");
            match verify(known) {
                Ok(()) => return print("Login Succeeded\n"),
                Err(failure) if !std::io::stdin().is_terminal() => return Err(failure),
                Err(failure) => tell!("{}", failure.text()),
            }
        }
    }
    let (user, password) = args.ask()?;
    let credentials = Credentials::only(host, &user, &password);
    verify(credentials)?;
    match save_login(&path, host, &user, &password).map_err(Failure::from_error)? {
        Kept::InTheFile => tell!(
            "WARNING! Your credentials are stored unencrypted in '{}'.\n\
             A credential helper (`credsStore` in that file) keeps them elsewhere.",
            path.display()
        ),
        Kept::ByHelper(program) => tell!("kept by {program}"),
    }
    warn_if_hidden(&found, host, &user, &password)?;
    print("Login Succeeded\n")
}

/// Runs `kiln logout`.
pub(crate) fn logout(args: &LogoutArgs, global: &Global) -> Outcome {
    let host = host_of_server(&args.server);
    let found = Registries::find(environment::docker_config(global));
    let path = login_file(&found)?;
    print(&format!("Removing login credentials for {}\n", server_name(host)))?;
    erase_login(&path, host).map_err(Failure::from_error)?;
    if let Some(origin) = found.credentials()?.origin(host).map_err(Failure::from_error)? {
        tell!("note: {} still holds credentials for {host}", origin.display());
    }
    Ok(())
}

fn login_file(found: &Registries) -> Result<PathBuf, Failure> {
    let none = || Failure::plain("neither HOME nor DOCKER_CONFIG is set: there is no place for credentials");
    found.places.login_file().ok_or_else(none)
}

/// Says that what was saved will not be used, if something else goes before it.
fn warn_if_hidden(found: &Registries, host: &str, user: &str, password: &str) -> Outcome {
    let (user, password) = (user.to_owned(), password.to_owned());
    let credentials = found.credentials()?;
    let used = credentials.find(host, "").map_err(Failure::from_error)?;
    if used != Some(Credential::Password { user, password })
        && let Some(origin) = credentials.origin(host).map_err(Failure::from_error)?
    {
        tell!("WARNING! {} holds other credentials for {host} and goes before them.", origin.display());
    }
    Ok(())
}

impl LoginArgs {
    /// Finds user name and password: in the arguments, on standard input, or by asking.
    fn ask(&self) -> Result<(String, String), Failure> {
        if self.password_stdin && self.username.is_none() {
            return Err(Failure::plain("Must provide --username with --password-stdin"));
        }
        let terminal = std::io::stdin().is_terminal();
        let user = match &self.username {
            Some(user) => user.trim().to_owned(),
            None if terminal => prompt("Username: ", true)?,
            None => return Err(not_interactive()),
        };
        let password = match &self.password {
            Some(password) => password.clone(),
            None if self.password_stdin => password_from_stdin()?,
            None if terminal => prompt("Password: ", false)?,
            None => return Err(not_interactive()),
        };
        match (user.is_empty(), password.is_empty()) {
            (true, _) => Err(Failure::plain("the user name is empty")),
            (_, true) => Err(Failure::plain("the password is empty")),
            _ => Ok((user, password)),
        }
    }
}

fn not_interactive() -> Failure {
    Failure::plain(
        "Cannot perform an interactive login from a non TTY device: name --username and give --password-stdin",
    )
}

/// Reads the password without the line end that `echo` and editors leave.
fn password_from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(PASSWORD_LIMIT).read_to_string(&mut text);
    read.map_err(|_| Failure::plain("the password on standard input is no text"))?;
    Ok(without_line_end(&text).to_owned())
}

fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Asks on the terminal.
fn prompt(question: &str, echo: bool) -> Result<String, Failure> {
    say(question);
    let quiet = if echo { None } else { Some(Quiet::begin()?) };
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(Failure::from_error)?;
    if quiet.is_some() {
        say("\n");
    }
    Ok(without_line_end(&line).to_owned())
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet(rustix::termios::Termios);

impl Quiet {
    fn begin() -> Result<Self, Failure> {
        let stdin = std::io::stdin();
        let before = tcgetattr(stdin.as_fd()).map_err(Failure::from_error)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin.as_fd(), OptionalActions::Flush, &quiet).map_err(Failure::from_error)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin().as_fd(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_line_end_is_no_part_of_the_password() {
        for (text, password) in [("p", "p"), ("p\n", "p"), ("p\r\n", "p"), (" p \n", " p "), ("p\n\n", "p\n")]
        {
            assert_eq!(without_line_end(text), password, "{text:?}");
        }
    }
}
