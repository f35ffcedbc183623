//! Looking up the images that a build stands on.

use std::path::Path;
use std::sync::Arc;

use super::{Error, NamedContext, Request};
use crate::archive;
use crate::assemble;
use crate::image::{Blob, Image};
use crate::lower::{BaseKey, BaseName, BaseRequest, Bases};
use crate::oci::Platform;
use crate::reference::Reference;
use crate::registry::Registry;
use crate::store::Store;

/// Finds images by name: in the store, in archives and layouts, in registries.
pub(super) struct Finder<'a> {
    pub(super) request: &'a Request,
    pub(super) store: &'a Store,
    pub(super) registry: &'a Registry,
}

impl Finder<'_> {
    /// Answers `requests`, several at a time; an image that cannot be had is answered with the reason.
    pub(super) fn answer(&self, requests: &[BaseRequest], bases: &mut Bases) {
        let answers: Vec<_> = std::thread::scope(|scope| {
            let look_up = |request: &BaseRequest| {
                let key = request.key.clone();
                scope.spawn(move || self.find(&key).map(Arc::new).map_err(|error| chain(&error)))
            };
            let threads: Vec<_> = requests.iter().map(look_up).collect();
            threads.into_iter().map(|thread| thread.join().expect("a look-up returns its errors")).collect()
        });
        for (request, answer) in requests.iter().zip(answers) {
            bases.insert(request.key.clone(), answer);
        }
    }

    fn find(&self, key: &BaseKey) -> Result<Image, Error> {
        match &key.name {
            BaseName::Reference(reference) => self.by_reference(reference, &key.platform),
            BaseName::Context(name) => self.by_context(name, &key.platform),
        }
    }

    /// A name of the store wins over the registry's: it was built or loaded here on purpose. Unless the user wants to
    /// have what the registry has now.
    fn by_reference(&self, reference: &Reference, platform: &Platform) -> Result<Image, Error> {
        if !self.request.pull
            && reference.digest.is_none()
            && let Some(root) = self.store.resolve_name(reference)?
            && let Ok(image) = assemble::read(self.store, &root, platform)
        {
            return Ok(image);
        }
        Ok(self.registry.resolve(reference, platform)?)
    }

    fn by_context(&self, name: &str, platform: &Platform) -> Result<Image, Error> {
        let context = self.request.named_contexts.get(name);
        let (path, found) = match context.expect("lowering asks only for contexts of the request") {
            NamedContext::Image(reference) => return self.by_reference(reference, platform),
            NamedContext::OciLayout { path, tag } => (path, self.by_layout(path, tag.as_deref())),
            NamedContext::Archive(path) => (path, self.by_archive(path)),
            NamedContext::Directory(_)
            | NamedContext::Remote(_)
            | NamedContext::Scratch
            | NamedContext::Stage(_) => {
                unreachable!("lowering asks for images only")
            }
        };
        let image = found.and_then(|root| Ok(assemble::read(self.store, &root, platform)?));
        image.map_err(|source| Error::NamedContext {
            name: name.to_owned(),
            path: path.clone(),
            source: Box::new(source),
        })
    }

    fn by_layout(&self, path: &Path, tag: Option<&str>) -> Result<Blob, Error> {
        Ok(archive::open_layout(self.store, path, tag)?)
    }

    fn by_archive(&self, path: &Path) -> Result<Blob, Error> {
        let images = archive::load_path(self.store, path)?;
        match &images[..] {
            [image] => Ok(image.manifest.clone()),
            _ => Err(Error::NotOneImage { path: path.to_owned(), count: images.len() }),
        }
    }
}

/// Joins an error's text and those of its causes, for a finding.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
