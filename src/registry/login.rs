//! Whether a registry takes a password: what `kiln login` asks before it saves one.

use super::certificates::Certificates;
use super::credentials::Credentials;
use super::error::Error;
use super::hosts::Hosts;
use super::in_turn;
use super::retry::{Notice, Patience, Retry};
use super::transport::{Request, Transport};

/// Who is asked, and how.
pub struct Login<'l> {
    /// The registry's host.
    pub host: &'l str,
    /// Insecure and blocked hosts.
    pub hosts: &'l Hosts,
    /// Authorities and client certificates of single hosts.
    pub certificates: Certificates,
    /// Where it is said that something is asked again.
    pub notice: Notice,
}

impl Login<'_> {
    /// Asks the registry for its version, with the credentials: the request that every registry answers and that needs
    /// no repository. A token server, if it has one, is asked on the way.
    ///
    /// # Errors
    /// If the registry or its token server refuses, or there is no answer.
    pub fn verify(self, credentials: Credentials) -> Result<(), Error> {
        let transport = Transport::new(credentials, self.certificates)?;
        let retry = Retry::new(Patience::default(), self.notice);
        in_turn(&self.hosts.of_registry(self.host)?, self.host, |endpoint| {
            retry.ask(|| transport.send(endpoint, &Request::version(endpoint)).map(|_| ()))
        })
    }
}
