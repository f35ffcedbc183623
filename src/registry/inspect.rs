//! Looking at a repository: documents as they are served, tags, referrers. Nothing of it is read from the store.

use serde::Deserialize;

use super::error::Error;
use super::hosts::Endpoint;
use super::resolve::{manifest_request, too_large};
use super::transport::{Answer, Method, Request, header, protocol};
use super::{Registry, in_turn, wrong_bytes};
use crate::digest::Digest;
use crate::image::Blob;
use crate::oci::media_type;
use crate::reference::{DEFAULT_TAG, Reference};
use crate::store::DOCUMENT_LIMIT_BYTES;

/// How many tags are asked for at once; registries give fewer where that is too many.
const PAGE: usize = 1000;

/// A list of tags with more pages does not end.
const PAGE_LIMIT: usize = 10_000;

/// A page of tags, or a list of referrers, that is longer is none.
const LIST_LIMIT: u64 = 16 << 20;

/// A document as a registry serves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Its media type, digest and size.
    pub blob: Blob,
    /// Its bytes, which have the digest.
    pub bytes: Vec<u8>,
}

/// A manifest that says that it belongs to another one: a signature, a bill of materials.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// What it is.
    #[serde(default)]
    pub artifact_type: String,
}

/// What a registry answers with `Link: <address>; rel="next"`.
const LINK: header::HeaderName = header::LINK;

impl Registry {
    /// Asks for the manifest or index that a name stands for, whatever it holds.
    ///
    /// # Errors
    /// If neither the registry nor a mirror has it, or its bytes are not those of the name's digest.
    pub fn served(&self, reference: &Reference) -> Result<Served, Error> {
        let about = about(reference);
        in_turn(&self.hosts.endpoints(reference)?, &reference.to_string(), |endpoint| {
            let served = self.retry.ask(|| {
                let answer =
                    self.transport.send(endpoint, &manifest_request(Method::GET, endpoint, &about))?;
                served(endpoint, answer)
            })?;
            match reference.digest {
                Some(digest) if digest != served.blob.digest => {
                    Err(wrong_bytes(endpoint, digest, served.blob.digest.to_string()))
                }
                _ => Ok(served),
            }
        })
    }

    /// Reads a blob of a repository that is a document: an image's config.
    ///
    /// # Errors
    /// If the registry lacks it, or its bytes are wrong.
    pub fn served_config(&self, reference: &Reference, config: &Blob) -> Result<Vec<u8>, Error> {
        in_turn(&self.hosts.endpoints(reference)?, &reference.to_string(), |endpoint| {
            self.config(endpoint, config)
        })
    }

    /// Returns the tags of a repository in the registry's order, all pages of them. Mirrors are not asked: they have
    /// what was asked of them before.
    ///
    /// # Errors
    /// If the registry refuses, or its pages do not end.
    pub fn tags(&self, repository: &Reference) -> Result<Vec<String>, Error> {
        in_turn(&self.hosts.own_endpoints(repository)?, &repository.name(), |endpoint| self.tags_at(endpoint))
    }

    fn tags_at(&self, endpoint: &Endpoint) -> Result<Vec<String>, Error> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let mut request = Request::new(Method::GET, endpoint, &format!("tags/list?n={PAGE}"), "");
        let mut tags = Vec::new();
        for _ in 0..PAGE_LIMIT {
            let (page, next) = self.retry.ask(|| {
                let answer = self.transport.send(endpoint, &request)?;
                let next = answer.header(&LINK).and_then(next_page).and_then(|to| answer.url().join(to).ok());
                Ok((answer.read(LIST_LIMIT)?, next))
            })?;
            let page: Page = serde_json::from_slice(&page)
                .map_err(|error| protocol(endpoint, format!("its list of tags cannot be read: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                None => return Ok(tags),
                Some(next) if next == request.url => break,
                Some(next) => request.url = next,
            }
        }
        Err(protocol(endpoint, "its list of tags does not end".into()))
    }

    /// Returns what says that it belongs to the manifest that a name stands for: the registry's own list, or where it
    /// has none the index under the tag `sha256-<hex>` (distribution-spec, "listing referrers").
    ///
    /// # Errors
    /// If the registry refuses or does not have the name.
    pub fn referrers(
        &self,
        reference: &Reference,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Referrer>, Error> {
        in_turn(&self.hosts.own_endpoints(reference)?, &reference.to_string(), |endpoint| {
            let digest = match reference.digest {
                Some(digest) => digest,
                None => self.retry.ask(|| self.digest_of_tag(endpoint, &about(reference)))?,
            };
            let list = match self.list_of_referrers(endpoint, &digest) {
                Err(error) if matches!(error.status(), Some(404 | 405 | 501)) => {
                    match self.retry.ask(|| self.ask_for_manifest(endpoint, &fallback_tag(&digest))) {
                        Err(error) if error.status() == Some(404) => return Ok(Vec::new()),
                        other => other?,
                    }
                }
                other => other?,
            };
            let mut referrers = parse_referrers(endpoint, &list)?;
            // The registry may have filtered, or not: it is done here in any case.
            referrers.retain(|referrer| artifact_type.is_none_or(|wanted| referrer.artifact_type == wanted));
            Ok(referrers)
        })
    }

    fn list_of_referrers(&self, endpoint: &Endpoint, digest: &Digest) -> Result<Vec<u8>, Error> {
        let request =
            Request::new(Method::GET, endpoint, &format!("referrers/{digest}"), &digest.to_string())
                .header(header::ACCEPT, media_type::INDEX);
        self.retry.ask(|| self.transport.send(endpoint, &request)?.read(LIST_LIMIT))
    }
}

/// What stands for a name in `manifests/<this>`.
pub(super) fn about(reference: &Reference) -> String {
    match reference.digest {
        Some(digest) => digest.to_string(),
        None => reference.tag.as_deref().unwrap_or(DEFAULT_TAG).to_owned(),
    }
}

/// The tag under which clients keep an index of referrers where the registry has no list.
fn fallback_tag(digest: &Digest) -> String {
    format!("sha256-{}", digest.hex())
}

fn parse_referrers(endpoint: &Endpoint, list: &[u8]) -> Result<Vec<Referrer>, Error> {
    #[derive(Deserialize)]
    struct List {
        manifests: Option<Vec<Referrer>>,
    }
    let list: List = serde_json::from_slice(list)
        .map_err(|error| protocol(endpoint, format!("its list of referrers cannot be read: {error}")))?;
    Ok(list.manifests.unwrap_or_default())
}

/// Reads a document, whose media type is what the document says, or else the answer's header.
fn served(endpoint: &Endpoint, answer: Answer<'_>) -> Result<Served, Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        media_type: Option<String>,
    }
    let header = answer.header(&header::CONTENT_TYPE).unwrap_or_default();
    let header = header.split(';').next().unwrap_or_default().trim().to_owned();
    let bytes = answer.read(DOCUMENT_LIMIT_BYTES)?;
    if bytes.len() as u64 > DOCUMENT_LIMIT_BYTES {
        return Err(too_large(endpoint, "a manifest", bytes.len() as u64));
    }
    let kind: Kind = serde_json::from_slice(&bytes)
        .map_err(|error| protocol(endpoint, format!("the manifest is no JSON: {error}")))?;
    let blob = Blob {
        media_type: kind.media_type.unwrap_or(header),
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
    };
    Ok(Served { blob, bytes })
}

/// Finds the address of the next page (RFC 8288): `</v2/a/tags/list?n=1&last=b>; rel="next"`.
fn next_page(link: &str) -> Option<&str> {
    let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = parameters.split(';').map(str::trim).any(|parameter| {
        let value = parameter.strip_prefix("rel=").unwrap_or_default();
        value.trim_matches('"').eq_ignore_ascii_case("next")
    });
    next.then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_the_next_page_only() {
        for (link, expected) in [
            (r#"</v2/a/tags/list?last=b&n=1>; rel="next""#, Some("/v2/a/tags/list?last=b&n=1")),
            ("<https://h/x>;rel=next", Some("https://h/x")),
            (r#"<https://h/x>; title="a"; rel="NEXT""#, Some("https://h/x")),
            (r#"</x>; rel="prev""#, None),
            ("/x", None),
        ] {
            assert_eq!(next_page(link), expected, "{link}");
        }
    }
}
