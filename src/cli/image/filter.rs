//! `--filter` of `image ls` and of the `prune` verbs.

use kiln::pattern::Glob;
use kiln::reference::Reference;
use kiln::time::Timestamp;

use super::super::format::human;
use super::super::report::Failure;
use super::{Catalog, Stored};

/// Conditions that an image must meet: of one key any, of different keys all.
#[derive(Debug, Default)]
pub(crate) struct Filters {
    references: Vec<(String, Glob)>,
    dangling: Option<bool>,
    labels: Vec<String>,
    without_labels: Vec<String>,
    before: Vec<Timestamp>,
    since: Vec<Timestamp>,
    until: Option<Timestamp>,
}

impl Filters {
    /// Reads `KEY=VALUE` pairs; only the keys of `allowed` may be there.
    pub(crate) fn parse(
        given: &[String],
        allowed: &[&str],
        catalog: &Catalog<'_>,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let mut filters = Self::default();
        for text in given {
            let wrong = |message: String| Failure::plain(format!("--filter {text}: {message}"));
            let pair = text.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
            let (key, value) = pair.ok_or_else(|| wrong("must be KEY=VALUE".to_owned()))?;
            if !allowed.contains(&key) {
                return Err(wrong(format!("invalid filter '{key}': it is one of {}", allowed.join(", "))));
            }
            let created = || Ok::<_, Failure>(catalog.find(value)?.image.config.created.unwrap_or_default());
            match key {
                "reference" => filters.add_reference(value)?,
                "dangling" => {
                    let is_true = matches!(value.to_lowercase().as_str(), "true" | "1" | "t");
                    if !is_true && !matches!(value.to_lowercase().as_str(), "false" | "0" | "f") {
                        return Err(wrong("must be true or false".to_owned()));
                    }
                    filters.dangling = Some(is_true);
                }
                "label" => filters.labels.push(value.to_owned()),
                "label!" => filters.without_labels.push(value.to_owned()),
                "before" => filters.before.push(created()?),
                "since" => filters.since.push(created()?),
                _ => {
                    let until = human::until(value, now);
                    filters.until = Some(
                        until.ok_or_else(|| wrong("must be a time, or a duration such as 24h".to_owned()))?,
                    );
                }
            }
        }
        Ok(filters)
    }

    /// Adds a pattern for names, as `image ls NAME` does.
    pub(crate) fn add_reference(&mut self, pattern: &str) -> Result<(), Failure> {
        let glob =
            Glob::parse(pattern).map_err(|error| Failure::plain(format!("--filter reference: {error}")))?;
        self.references.push((pattern.to_owned(), glob));
        Ok(())
    }

    /// Returns the time before which things are meant.
    pub(crate) const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// Tells whether something is said that only images can meet.
    pub(crate) fn are_about_images(&self) -> bool {
        !self.labels.is_empty() || !self.without_labels.is_empty()
    }

    /// Tells whether the image meets the conditions that are not about a single name.
    pub(crate) fn hold(&self, stored: &Stored) -> bool {
        let config = &stored.image.config;
        let created = config.created.unwrap_or_default();
        let has_label = |label: &String| match label.split_once('=') {
            Some((key, value)) => config.config.labels.get(key).is_some_and(|own| own == value),
            None => config.config.labels.contains_key(label),
        };
        self.dangling.is_none_or(|dangling| dangling == stored.names.is_empty())
            && self.labels.iter().all(has_label)
            && !self.without_labels.iter().any(has_label)
            && self.before.iter().all(|time| created < *time)
            && self.since.iter().all(|time| created > *time)
            && self.until.is_none_or(|time| created < time)
            && (self.references.is_empty() || stored.names.iter().any(|name| self.name_holds(name)))
    }

    /// Tells whether a name is one of those that are meant.
    pub(crate) fn name_holds(&self, name: &Reference) -> bool {
        let (whole, repository) = (name.familiar(), name.familiar_name());
        self.references.is_empty()
            || self.references.iter().any(|(text, glob)| {
                glob.matches(&whole)
                    || glob.matches(&repository)
                    // A name that is written out in full is no pattern.
                    || text.parse::<Reference>().is_ok_and(|meant| {
                        meant == *name || is_bare(text) && meant.name() == name.name()
                    })
            })
    }
}

/// Tells whether a name has neither tag nor digest.
pub(super) fn is_bare(text: &str) -> bool {
    !text.contains('@') && !text.rsplit('/').next().is_some_and(|last| last.contains(':'))
}
