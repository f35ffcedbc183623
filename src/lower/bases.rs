//! The images that a build stands on: what is asked for, and what is known.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::diagnostic::Span;
use crate::image::Image;
use crate::oci::Platform;
use crate::reference::Reference;

/// An image that lowering wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRequest {
    /// Which image.
    pub key: BaseKey,
    /// The first place that names it.
    pub span: Span,
}

/// What identifies a requested image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BaseKey {
    /// Its name.
    pub name: BaseName,
    /// The platform asked for; an image of another one is taken if there is no choice.
    pub platform: Platform,
}

impl fmt::Display for BaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.name, self.platform)
    }
}

/// How an image is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BaseName {
    /// By an image name.
    Reference(Reference),
    /// By a key of [`Options::named_contexts`](super::Options::named_contexts).
    Context(String),
}

impl fmt::Display for BaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference(reference) => reference.fmt(f),
            Self::Context(name) => name.fmt(f),
        }
    }
}

/// The images known so far.
#[derive(Debug, Clone, Default)]
pub struct Bases(BTreeMap<BaseKey, Result<Arc<Image>, String>>);

impl Bases {
    /// Answers a request: with the image, or with the reason why there is none, which becomes a finding at
    /// the place that names it.
    pub fn insert(&mut self, key: BaseKey, answer: Result<Arc<Image>, String>) {
        self.0.insert(key, answer);
    }

    /// Returns the answer to a request, if there is one.
    pub fn get(&self, key: &BaseKey) -> Option<Result<&Arc<Image>, &str>> {
        self.0.get(key).map(|answer| answer.as_ref().map_err(String::as_str))
    }

    /// Returns every request that was answered, with its answer.
    pub fn iter(&self) -> impl Iterator<Item = (&BaseKey, Result<&Arc<Image>, &str>)> {
        self.0.iter().map(|(key, answer)| (key, answer.as_ref().map_err(String::as_str)))
    }
}
