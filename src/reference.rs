//! Names of images: `[host[:port]/]path[:tag][@digest]`, normalised as docker does (distribution/reference).

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// The registry of names without a host.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// The tag of names without tag and digest.
pub const DEFAULT_TAG: &str = "latest";

/// A full image name: registry and repository are always there.
///
/// Prints the full form (`docker.io/library/busybox:latest`); [`Reference::familiar`] the short one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The host, with a port if one was written: `docker.io`, `localhost:5000`.
    pub registry: String,
    /// The path: `library/busybox`.
    pub repository: String,
    /// The tag; `latest` if neither tag nor digest was written.
    pub tag: Option<String>,
    /// The digest of a manifest or index.
    pub digest: Option<Digest>,
}

/// A text that is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid image name `{text}`: {reason}")]
pub struct ParseError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// distribution/reference `NameTotalLengthMax`.
const MAX_NAME_LENGTH: usize = 255;
const MAX_TAG_LENGTH: usize = 128;

impl Reference {
    /// Returns the short form that docker shows: without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        format!("{}{}", self.familiar_name(), self.suffix())
    }

    /// Returns the short form of registry and repository, without tag and digest.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        let short = match self.repository.strip_prefix("library/") {
            Some(official) if !official.contains('/') => official,
            _ => &self.repository,
        };
        // A first component that looks like a host would be read as one.
        let first = short.split_once('/').map(|(first, _)| first);
        if first.is_some_and(is_host) { self.name() } else { short.to_owned() }
    }

    /// Returns registry and repository, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Returns the same repository at a manifest's digest, without a tag.
    #[must_use]
    pub fn at_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    fn suffix(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
        let digest = self.digest.map(|digest| format!("@{digest}")).unwrap_or_default();
        tag + &digest
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name(), self.suffix())
    }
}

impl FromStr for Reference {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fail = |reason| Err(ParseError { text: text.to_owned(), reason });
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => match digest.parse() {
                Ok(digest) => (rest, Some(digest)),
                Err(_) => {
                    return fail("what follows `@` must be sha256: and 64 lower-case hexadecimal digits");
                }
            },
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return fail(
                "a tag holds up to 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two",
            );
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, path)) if is_host(first) => (first, path),
            _ => (DEFAULT_REGISTRY, name),
        };
        if path.is_empty() {
            return fail("it names no repository");
        }
        if path.chars().any(|letter| letter.is_ascii_uppercase()) {
            return fail("the repository must be lower-case");
        }
        if !path.split('/').all(is_path_component) {
            return fail(
                "a repository holds lower-case letters, digits and single separators (`.`, `_`, `__`, `-`)",
            );
        }
        let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
        let official = registry == DEFAULT_REGISTRY && !path.contains('/');
        let repository = if official { format!("library/{path}") } else { path.to_owned() };
        if registry.len() + 1 + repository.len() > MAX_NAME_LENGTH {
            return fail("it is longer than 255 characters");
        }
        let tag = match (tag, digest) {
            (None, None) => Some(DEFAULT_TAG.to_owned()),
            (tag, _) => tag.map(str::to_owned),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

/// Tells whether the first component is a host and not a part of the path: docker's rule.
fn is_host(component: &str) -> bool {
    let marked = component.contains(['.', ':', '[']) || component == "localhost";
    let upper = component.chars().any(|letter| letter.is_ascii_uppercase());
    let well_formed =
        component.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']'));
    (marked || upper) && well_formed && !component.starts_with(['-', '.', ':'])
}

fn is_tag(tag: &str) -> bool {
    (1..=MAX_TAG_LENGTH).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_path_component(component: &str) -> bool {
    let separator_ends =
        |text: &str| text.starts_with(['.', '_', '-']) || text.ends_with(['.', '_', '-']) || text.is_empty();
    let separators =
        component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).filter(|s| !s.is_empty());
    !separator_ends(component)
        && separators.into_iter().all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|byte| byte == b'-'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_printed_is_parsed_back(
            host in proptest::option::of("(localhost|[a-c]{1,3}\\.[a-c]{2}|[a-c]{1,3}:[1-9][0-9]{0,3})"),
            path in "[a-c0-9]{1,3}([._-]?[a-c0-9]{1,3}){0,2}(/[a-c0-9]{1,3}){0,2}",
            tag in proptest::option::of("[a-cA-C0-9_][a-cA-C0-9_.-]{0,5}"),
            digest in proptest::option::of(any::<[u8; 4]>()),
        ) {
            let host = host.map(|host| host + "/").unwrap_or_default();
            let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
            let digest = digest.map(|bytes| format!("@{}", Digest::of(bytes))).unwrap_or_default();
            let text = format!("{host}{path}{tag}{digest}");
            let parsed: Reference = text.parse().unwrap();
            prop_assert_eq!(parsed.to_string().parse(), Ok(parsed.clone()));
            prop_assert_eq!(parsed.familiar().parse(), Ok(parsed));
        }

        #[test]
        fn no_text_panics(text in "[aA/:@._ -]{0,12}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse(), Ok(reference));
            }
        }
    }

    #[test]
    fn normalises_as_docker_does() {
        for (text, full, familiar) in [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("a/b:1", "docker.io/a/b:1", "a/b:1"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/x/y:v", "localhost:5000/x/y:v", "localhost:5000/x/y:v"),
            ("ghcr.io/o/r", "ghcr.io/o/r:latest", "ghcr.io/o/r:latest"),
            ("index.docker.io/library/x", "docker.io/library/x:latest", "x:latest"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"),
            ("a__b/c--d/e.f", "docker.io/a__b/c--d/e.f:latest", "a__b/c--d/e.f:latest"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(full.parse(), Ok(reference), "{text}");
        }
        let digest = Digest::of("x");
        let pinned: Reference = format!("x:1@{digest}").parse().unwrap();
        assert_eq!((pinned.tag.as_deref(), pinned.digest), (Some("1"), Some(digest)));
        assert_eq!(format!("x@{digest}").parse::<Reference>().unwrap().tag, None);
    }

    #[test]
    fn refuses_what_docker_refuses() {
        for wrong in [
            "",
            ":x",
            "a:",
            "A",
            "a//b",
            "a/",
            "/a",
            "a_-b",
            "a___b",
            "-a",
            "x@sha256:00",
            "a:b:c",
            "a b",
            "x:-",
        ] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong}");
        }
    }
}
