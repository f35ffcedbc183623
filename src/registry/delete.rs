//! Removing a tag or a manifest from a repository.

use super::error::Error;
use super::hosts::Endpoint;
use super::inspect::about;
use super::transport::{Method, Request, Scopes, header};
use super::{Action, Registry, in_turn};
use crate::digest::Digest;
use crate::reference::Reference;

/// What a deletion removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// The tag; the manifest stays for others.
    Tag,
    /// The manifest, and with it every tag that stood for it.
    Manifest(Digest),
}

impl Registry {
    /// Deletes the manifest of a name with a digest, or a tag. A registry that deletes no tags (docker's, before
    /// version 3) has the tag's manifest deleted only if `whole` allows it, since other tags may stand for it.
    ///
    /// # Errors
    /// If there is no such name, or the registry does not delete: [`Error::Undeletable`].
    pub fn delete(&self, reference: &Reference, whole: bool) -> Result<Deleted, Error> {
        in_turn(&self.hosts.own_endpoints(reference)?, &reference.to_string(), |endpoint| {
            if let Some(digest) = reference.digest {
                self.delete_at(endpoint, &digest.to_string())?;
                return Ok(Deleted::Manifest(digest));
            }
            let tag = about(reference);
            // First of all it must be there: a registry that cannot delete says so of names that do not exist, too.
            let digest = self.retry.ask(|| self.digest_of_tag(endpoint, &tag))?;
            match self.delete_at(endpoint, &tag) {
                Ok(()) => Ok(Deleted::Tag),
                Err(error) if whole && is_about_tags(&error) => {
                    self.delete_at(endpoint, &digest.to_string())?;
                    Ok(Deleted::Manifest(digest))
                }
                Err(error) if is_about_tags(&error) => Err(Error::Undeletable {
                    host: endpoint.host.clone(),
                    what: format!("the tag {}:{tag}", endpoint.repository),
                    advice: format!(
                        "it may delete manifests (`{}@{digest}`), and every tag of them with it: --manifest says that this is meant",
                        reference.name()
                    ),
                }),
                Err(error) => Err(error),
            }
        })
    }

    fn delete_at(&self, endpoint: &Endpoint, what: &str) -> Result<(), Error> {
        let mut request = Request::new(Method::DELETE, endpoint, &format!("manifests/{what}"), what)
            .header(header::CONTENT_LENGTH, "0");
        request.scopes = Scopes::delete(&endpoint.repository);
        request.action = Action::Delete;
        let result = self.retry.ask(|| self.transport.send(endpoint, &request).map(|_| ()));
        result.map_err(|error| match error.status() {
            Some(405 | 501) if what.starts_with("sha256:") => Error::Undeletable {
                host: endpoint.host.clone(),
                what: format!("{}@{what}", endpoint.repository),
                advice: "deletion is disabled there (docker's registry: `storage.delete.enabled: true`)"
                    .into(),
            },
            _ => error,
        })
    }
}

/// Tells whether a registry takes a digest where it was given a tag: 400 or 405 (distribution-spec, "deleting tags").
fn is_about_tags(error: &Error) -> bool {
    matches!(error.status(), Some(400 | 404 | 405 | 501))
}
