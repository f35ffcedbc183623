//! Caches that come and go with a build, for machines whose store is empty: `--cache-from` and `--cache-to`.
//!
//! # What is written
//!
//! To a registry or a directory goes one OCI manifest (artifact type [`ARTIFACT`](crate::cache::ARTIFACT)), which any
//! OCI tool can show, copy and delete:
//!
//! ```text
//! config     the document of records (see `cache::Document`): key of a step -> its layer, and when it was made
//! layers     the layers of those steps, as images have them     mode=max: of every step, mode=min: of the image's
//!            the entries of each, and of the layers of bases    small; what a COPY or a key needs to know of a layer
//! ```
//!
//! A directory is an OCI layout, in which the manifest is named by a tag. With `type=inline` the document stands in the
//! config of the image itself, in the field [`INLINE`](crate::cache::INLINE), and names layers of that image.
//!
//! The bytes depend on what the build made alone: an unchanged build writes the same manifest, wherever its layers came
//! from. What an earlier build has put there and this one did not look at is passed on without being read.
//!
//! # Rules
//!
//! - The store's own records are asked first, then the caches in the order given; the first answer counts.
//! - A cache that is not there or cannot be read is a warning. One whose blobs are missing or wrong is left out, and the
//!   build goes on without it.
//! - A cache's records are believed, as a base image is: only what was built with it comes out of it, but whoever can
//!   write a cache decides what that is. Blobs are verified; that a layer belongs to a step cannot be.
//! - A cache that cannot be written is an error, unless it was said to be none.
//! - With mode=max the layers of stages behind the image are published too, with whatever was copied there.

mod export;
mod import;
mod push;

use std::path::PathBuf;

pub(super) use self::export::{export, inline};
pub(super) use self::import::import;
pub(super) use self::push::push;

use super::bases::chain;
use super::{Error, Request};
use crate::event::Event;
use crate::layer::Compression;
use crate::reference::Reference;
use crate::solve::{Pack, Workshop};

/// A cache that is asked: one value of `--cache-from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheSource {
    /// In a registry: a cache, or an image that is its own.
    Registry(Reference),
    /// In an OCI layout.
    Local {
        /// The layout's directory.
        path: PathBuf,
        /// The tag or digest; the only manifest or the one tagged `latest` for `None`.
        selector: Option<String>,
    },
}

/// A cache that is written: one value of `--cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheTarget {
    /// Where it goes.
    pub place: CachePlace,
    /// Whether it holds every step (`mode=max`), and not only those of the image.
    pub everything: bool,
    /// Whether the build does well without it.
    pub ignore_error: bool,
    /// How new layers are compressed, where no export says it.
    pub compression: Option<Compression>,
}

impl CacheTarget {
    /// Returns the name under which it is pushed.
    pub(super) const fn pushed(&self) -> Option<&Reference> {
        match &self.place {
            CachePlace::Registry(reference) => Some(reference),
            CachePlace::Local { .. } | CachePlace::Inline => None,
        }
    }
}

/// Where a cache goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// To a registry, under a name of its own.
    Registry(Reference),
    /// Into an OCI layout, under a tag.
    Local {
        /// The layout's directory.
        path: PathBuf,
        /// The tag.
        tag: String,
    },
    /// Into the config of the image.
    Inline,
}

/// Does `work`, again and without a cache if that turns out to be broken: a cache is a hint. What was done stays done.
pub(super) fn without_broken<'w, T>(
    workshop: &mut Workshop<'w>,
    work: impl Fn(&Workshop<'w>) -> Result<T, Error>,
) -> Result<T, Error> {
    loop {
        let result = work(workshop);
        let broken = result.as_ref().err().and_then(|error| Some((error.broken_cache()?, chain(error))));
        let Some((cache, reason)) = broken else { return result };
        workshop.imports.forget(cache);
        workshop.listener.event(Event::Notice(format!("{reason}; going on without this cache")));
    }
}

impl Request {
    /// Returns which results become layers.
    pub(super) fn what_to_pack(&self) -> Pack {
        if self.cache_to.iter().any(|target| target.everything) {
            Pack::Everything
        } else if !self.cache_to.is_empty() || self.exports.iter().any(|export| export.kind.is_image()) {
            Pack::Images
        } else {
            Pack::Nothing
        }
    }
}
