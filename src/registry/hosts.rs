//! Where an image can be had: `registries.conf` (containers-registries.conf(5), version 2) as a pure function.
//!
//! In: the files' texts and an image's name. Out: endpoints in the order in which they are to be asked:
//! mirrors first, the registry itself last. The longest matching prefix decides; `*.example.com` matches the
//! subdomains of `example.com`.
//!
//! Not here: `unqualified-search-registries` and the short names of `[aliases]`. kiln completes names as docker does
//! (`busybox` is `docker.io/library/busybox`), so that a Dockerfile means the same on every machine; `kiln info` says
//! so.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::Error;
use crate::address::is_loopback;
use crate::reference::Reference;

/// The entries of all `registries.conf` files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    entries: Vec<Entry>,
}

/// One place to ask for an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The host, with a port if there is one.
    pub host: String,
    /// The repository there.
    pub repository: String,
    /// How to speak to the host.
    pub access: Access,
}

/// How far a host is trusted and how it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// TLS with a verified certificate.
    Https,
    /// TLS with any certificate: for hosts marked insecure.
    HttpsUnverified,
    /// No TLS: for this machine itself and, second, for hosts marked insecure.
    Http,
}

/// Which requests a mirror takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFromMirror {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    prefix: String,
    location: String,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    location: String,
    insecure: bool,
    takes: PullFromMirror,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    registry: Vec<RegistryTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryTable {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: Option<PullFromMirror>,
}

impl Hosts {
    /// Returns what to [`load`](Self::load): the file that the user names (`CONTAINERS_REGISTRIES_CONF`) and nothing
    /// else, or the home directory's file, or the system's, and the drop-ins of both.
    pub fn files(named: Option<PathBuf>, home: Option<&Path>) -> Vec<PathBuf> {
        Self::files_below(Path::new("/etc"), named, home)
    }

    fn files_below(etc: &Path, named: Option<PathBuf>, home: Option<&Path>) -> Vec<PathBuf> {
        if let Some(named) = named {
            return vec![named];
        }
        let system = etc.join("containers/registries.conf");
        let own = home.map(|home| home.join(".config/containers/registries.conf"));
        let drop_ins = |file: &Path| file.with_extension("conf.d");
        let main = own.iter().chain([&system]).find(|file| file.exists()).cloned();
        let directories = [Some(drop_ins(&system)), own.as_deref().map(drop_ins)];
        main.into_iter().chain(directories.into_iter().flatten().filter(|path| path.is_dir())).collect()
    }

    /// Reads files, and of directories the files that end in `.conf`, by name.
    ///
    /// An entry replaces an earlier one of the same prefix, so drop-in directories come last.
    ///
    /// # Errors
    /// If a path cannot be read, or does not hold what it should: with file and line.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Error> {
        let unreadable = |path: &Path, error: &std::io::Error| Error::Config {
            path: path.to_owned(),
            line: None,
            reason: error.kind().to_string(),
        };
        let mut hosts = Self::default();
        for path in paths {
            let mut files = vec![path.clone()];
            if path.is_dir() {
                files = fs_err::read_dir(path)
                    .and_then(|entries| {
                        entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()
                    })
                    .map_err(|error| unreadable(path, &error))?;
                files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
                files.sort();
            }
            for file in files {
                let text = fs_err::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
                hosts.add(&file, &text)?;
            }
        }
        Ok(hosts)
    }

    /// Adds the entries of one file's text; `path` is for messages.
    ///
    /// # Errors
    /// If the text is not TOML or an entry is not usable.
    pub fn add(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let invalid = |span: Option<std::ops::Range<usize>>, reason: String| Error::Config {
            path: path.to_owned(),
            line: span.map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1),
            reason,
        };
        let file: File =
            toml::from_str(text).map_err(|error| invalid(error.span(), error.message().to_owned()))?;
        for table in file.registry {
            let entry = Entry::from_table(table).map_err(|reason| invalid(None, reason))?;
            self.entries.retain(|earlier| earlier.prefix != entry.prefix);
            self.entries.push(entry);
        }
        Ok(())
    }

    /// Returns where to ask for `reference`, first the mirrors in their order, last the registry itself.
    ///
    /// # Errors
    /// If the entry for it is blocked.
    pub fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, Error> {
        let name = reference.name();
        let mut endpoints = Vec::new();
        if let Some((entry, matched)) = self.entry(&name) {
            let pinned = reference.digest.is_some();
            for mirror in entry.mirrors.iter().filter(|mirror| mirror.takes.takes(pinned)) {
                endpoints.extend(at(&format!("{}{}", mirror.location, &name[matched..]), mirror.insecure));
            }
        }
        endpoints.extend(self.own_endpoints(reference)?);
        Ok(endpoints)
    }

    /// Returns the registry itself, without mirrors: where `reference` is pushed to. It is more than one where an
    /// insecure host can be spoken to in two ways.
    ///
    /// # Errors
    /// If the entry for it is blocked.
    pub fn own_endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>, Error> {
        let name = reference.name();
        let Some((entry, matched)) = self.entry(&name) else { return Ok(at(&name, false)) };
        if entry.blocked {
            return Err(Error::Blocked { reference: reference.to_string(), prefix: entry.prefix.clone() });
        }
        if entry.location.is_empty() {
            return Ok(at(&name, entry.insecure));
        }
        Ok(at(&format!("{}{}", entry.location, &name[matched..]), entry.insecure))
    }

    /// Finds the entry for a name, and how much of the name its prefix covers.
    fn entry(&self, name: &str) -> Option<(&Entry, usize)> {
        self.entries
            .iter()
            .filter_map(|entry| Some((entry, matched_length(&entry.prefix, name)?)))
            .max_by_key(|(entry, _)| entry.prefix.len())
    }
}

impl Hosts {
    /// Returns how to speak to a registry itself, about no repository: no mirrors, and no other location.
    ///
    /// # Errors
    /// If the host as a whole is blocked.
    pub fn of_registry(&self, host: &str) -> Result<Vec<Endpoint>, Error> {
        let own = self.entries.iter().find(|entry| matched_length(&entry.prefix, host) == Some(host.len()));
        if let Some(entry) = own.filter(|entry| entry.blocked) {
            return Err(Error::Blocked { reference: host.to_owned(), prefix: entry.prefix.clone() });
        }
        let is_host = |location: &str| location.split('/').next() == Some(host);
        let as_mirror = self.entries.iter().flat_map(|entry| &entry.mirrors);
        let insecure = own.is_some_and(|entry| entry.insecure)
            || as_mirror.clone().any(|mirror| mirror.insecure && is_host(&mirror.location));
        Ok(at(host, insecure))
    }

    /// Says in one line per entry what the files say, for people.
    pub fn describe(&self) -> Vec<String> {
        self.entries.iter().map(Entry::describe).collect()
    }
}

impl Entry {
    fn describe(&self) -> String {
        let marked = |location: &str, insecure: bool| {
            if insecure { format!("{location} (insecure)") } else { location.to_owned() }
        };
        if self.blocked {
            return format!("{}: blocked", self.prefix);
        }
        let own = if self.location.is_empty() { &self.prefix } else { &self.location };
        let mirrors = self.mirrors.iter().map(|mirror| marked(&mirror.location, mirror.insecure));
        let places: Vec<String> = mirrors.chain([marked(own, self.insecure)]).collect();
        format!("{}: {}", self.prefix, places.join(", then "))
    }
}

impl PullFromMirror {
    const fn takes(self, pinned: bool) -> bool {
        match self {
            Self::All => true,
            Self::DigestOnly => pinned,
            Self::TagOnly => !pinned,
        }
    }
}

impl Entry {
    fn from_table(table: RegistryTable) -> Result<Self, String> {
        let location = clean_location(&table.location)?;
        let prefix = if table.prefix.is_empty() { location.clone() } else { clean_location(&table.prefix)? };
        if prefix.is_empty() {
            return Err("a [[registry]] needs `prefix` or `location`".into());
        }
        if prefix.trim_start_matches("*.").contains('*') {
            return Err(format!("`{prefix}`: a wildcard stands only at the beginning, as `*.example.com`"));
        }
        if location.starts_with('*') {
            return Err(format!("`{location}`: a location is a host, not a wildcard"));
        }
        let default =
            if table.mirror_by_digest_only { PullFromMirror::DigestOnly } else { PullFromMirror::All };
        let mirrors = table
            .mirror
            .into_iter()
            .map(|mirror| {
                let location = clean_location(&mirror.location)?;
                if location.is_empty() {
                    return Err(format!("a mirror of `{prefix}` has no location"));
                }
                let takes = mirror.pull_from_mirror.unwrap_or(default);
                Ok(Mirror { location, insecure: mirror.insecure, takes })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { prefix, location, insecure: table.insecure, blocked: table.blocked, mirrors })
    }
}

fn clean_location(text: &str) -> Result<String, String> {
    if text.contains("://") {
        return Err(format!("`{text}`: write the host without a scheme"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Returns how many bytes of `name` the prefix covers: whole components, or a host's subdomains.
fn matched_length(prefix: &str, name: &str) -> Option<usize> {
    if let Some(suffix) = prefix.strip_prefix('*') {
        let host_end = name.find('/').unwrap_or(name.len());
        let (domain, path) = suffix.split_at(suffix.find('/').unwrap_or(suffix.len()));
        let ends = name[..host_end].strip_suffix(domain).is_some_and(|subdomain| !subdomain.is_empty());
        let rest = name[host_end..].strip_prefix(path)?;
        return (ends && (rest.is_empty() || rest.starts_with('/'))).then_some(host_end + path.len());
    }
    let rest = name.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with(['/', ':'])).then_some(prefix.len())
}

/// The ways to speak to `host/repository`: one, or for an insecure host unverified TLS and then none.
fn at(name: &str, insecure: bool) -> Vec<Endpoint> {
    let (host, repository) = name.split_once('/').unwrap_or((name, ""));
    let ways: &[Access] = match (is_loopback(host), insecure) {
        (true, _) => &[Access::Http],
        (false, true) => &[Access::HttpsUnverified, Access::Http],
        (false, false) => &[Access::Https],
    };
    ways.iter()
        .map(|access| Endpoint { host: host.to_owned(), repository: repository.to_owned(), access: *access })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
unqualified-search-registries = ["ignored.example"]
some-future-key = 1

[[registry]]
prefix = "docker.io"
location = "docker.io"
[[registry.mirror]]
location = "localhost:5000"
[[registry.mirror]]
location = "mirror.example.com/hub"
insecure = true

[[registry]]
prefix = "docker.io/library/pinned"
location = "other.example/p"
[[registry.mirror]]
location = "digests.example/p"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.example/p"
pull-from-mirror = "tag-only"

[[registry]]
prefix = "*.wild.example"
[[registry.mirror]]
location = "cache.example/wild"

[[registry]]
prefix = "*.moved.example"
location = "new.example"

[[registry]]
location = "lan.example:8080"
insecure = true

[[registry]]
prefix = "evil.example/x"
blocked = true
"#;

    fn show(endpoints: &[Endpoint]) -> Vec<String> {
        let scheme = |access| match access {
            Access::Https => "https",
            Access::HttpsUnverified => "https?",
            Access::Http => "http",
        };
        endpoints.iter().map(|e| format!("{}://{} {}", scheme(e.access), e.host, e.repository)).collect()
    }

    #[test]
    fn endpoints_follow_the_longest_prefix() {
        let mut hosts = Hosts::default();
        hosts.add(Path::new("registries.conf"), CONFIG).unwrap();
        let digest = crate::digest::Digest::of("x");
        let pinned = format!("pinned@{digest}");
        for (name, expected) in [
            (
                "busybox",
                &[
                    "http://localhost:5000 library/busybox",
                    "https?://mirror.example.com hub/library/busybox",
                    "http://mirror.example.com hub/library/busybox",
                    "https://docker.io library/busybox",
                ][..],
            ),
            ("pinned:1", &["https://tags.example p", "https://other.example p"]),
            (&pinned, &["https://digests.example p", "https://other.example p"]),
            ("a.b.wild.example/r", &["https://cache.example wild/r", "https://a.b.wild.example r"]),
            ("wild.example/r", &["https://wild.example r"]),
            ("notwild.example/r", &["https://notwild.example r"]),
            ("a.moved.example/x/y", &["https://new.example x/y"]),
            ("lan.example:8080/r", &["https?://lan.example:8080 r", "http://lan.example:8080 r"]),
            ("lan.example/r", &["https://lan.example r"]),
            ("evil.example/xy", &["https://evil.example xy"]),
            ("ghcr.io/o/r", &["https://ghcr.io o/r"]),
        ] {
            let endpoints = hosts.endpoints(&name.parse().unwrap()).unwrap();
            assert_eq!(show(&endpoints), expected, "{name}");
        }
        for (name, expected) in [
            ("busybox", &["https://docker.io library/busybox"][..]),
            ("a.moved.example/x/y", &["https://new.example x/y"]),
            ("lan.example:8080/r", &["https?://lan.example:8080 r", "http://lan.example:8080 r"]),
        ] {
            assert_eq!(show(&hosts.own_endpoints(&name.parse().unwrap()).unwrap()), expected, "{name}");
        }
        assert!(hosts.own_endpoints(&"evil.example/x/y".parse().unwrap()).is_err());
        assert!(matches!(
            hosts.endpoints(&"evil.example/x/y".parse().unwrap()),
            Err(Error::Blocked { prefix, .. }) if prefix == "evil.example/x"
        ));
    }

    #[test]
    fn a_registry_itself_is_asked_without_mirrors() {
        let mut hosts = Hosts::default();
        hosts.add(Path::new("registries.conf"), CONFIG).unwrap();
        for (host, expected) in [
            ("docker.io", &["https://docker.io "][..]),
            ("a.moved.example", &["https://a.moved.example "]),
            ("lan.example:8080", &["https?://lan.example:8080 ", "http://lan.example:8080 "]),
            ("mirror.example.com", &["https?://mirror.example.com ", "http://mirror.example.com "]),
            ("evil.example", &["https://evil.example "]),
        ] {
            assert_eq!(show(&hosts.of_registry(host).unwrap()), expected, "{host}");
        }
        hosts.add(Path::new("f"), "[[registry]]\nprefix = 'no.example'\nblocked = true").unwrap();
        assert!(hosts.of_registry("no.example").is_err());
    }

    #[test]
    fn entries_are_described_in_the_order_in_which_they_are_asked() {
        let mut hosts = Hosts::default();
        hosts.add(Path::new("registries.conf"), CONFIG).unwrap();
        let lines = hosts.describe();
        assert_eq!(
            lines[0],
            "docker.io: localhost:5000, then mirror.example.com/hub (insecure), then docker.io"
        );
        assert_eq!(lines[5], "evil.example/x: blocked");
    }

    #[test]
    fn only_this_machine_is_spoken_to_without_tls() {
        for (host, plain) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("a.localhost:1", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("128.0.0.1", false),
            ("localhost.example.com", false),
            ("127.0.0.1.example.com", false),
            ("[::2]:5000", false),
        ] {
            let ways = Hosts::default().of_registry(host).unwrap();
            let access = if plain { Access::Http } else { Access::Https };
            assert_eq!(ways.iter().map(|way| way.access).collect::<Vec<_>>(), [access], "{host}");
        }
    }

    #[test]
    fn mistakes_are_reported_with_their_line() {
        for (text, line, reason) in [
            ("a = 1\n[[registry]\n", Some(2), ""),
            ("[[registry]]\nprefix = 3\n", Some(2), "string"),
            ("[[registry]]\n[[registry.mirror]]\nlocation = \"m\"", None, "prefix"),
            ("[[registry]]\nlocation = \"https://x\"", None, "scheme"),
            ("[[registry]]\nprefix = \"a*b\"", None, "wildcard"),
        ] {
            match Hosts::default().add(Path::new("f"), text) {
                Err(Error::Config { line: found, reason: said, .. }) => {
                    assert_eq!(found, line, "{text}");
                    assert!(said.contains(reason), "{text}: {said}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn the_nearest_file_and_all_drop_ins_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let (etc, home) = (folder.path().join("etc"), folder.path().join("home"));
        let system = etc.join("containers/registries.conf");
        let own = home.join(".config/containers/registries.conf");
        let files = |home: Option<&Path>| Hosts::files_below(&etc, None, home);
        assert!(files(Some(&home)).is_empty());
        fs_err::create_dir_all(etc.join("containers/registries.conf.d")).unwrap();
        fs_err::create_dir_all(home.join(".config/containers")).unwrap();
        fs_err::write(&system, "").unwrap();
        let drop_ins = system.with_extension("conf.d");
        assert_eq!(files(Some(&home)), [system.clone(), drop_ins.clone()]);
        fs_err::write(&own, "").unwrap();
        assert_eq!(files(Some(&home)), [own, drop_ins.clone()]);
        assert_eq!(files(None), [system, drop_ins]);
        let named = PathBuf::from("/elsewhere");
        assert_eq!(Hosts::files_below(&etc, Some(named.clone()), Some(&home)), [named]);
    }

    #[test]
    fn a_drop_in_replaces_the_entry_of_its_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("registries.conf");
        let drop_ins = folder.path().join("registries.conf.d");
        fs_err::create_dir(&drop_ins).unwrap();
        fs_err::write(&main, "[[registry]]\nprefix='a.example'\nlocation='one.example'").unwrap();
        fs_err::write(drop_ins.join("1.conf"), "[[registry]]\nprefix='a.example'\nlocation='two.example'")
            .unwrap();
        fs_err::write(drop_ins.join("2.txt"), "not toml").unwrap();
        let hosts = Hosts::load(&[main, drop_ins]).unwrap();
        let endpoints = hosts.endpoints(&"a.example/r".parse().unwrap()).unwrap();
        assert_eq!(show(&endpoints), ["https://two.example r"]);
        assert!(Hosts::load(&[folder.path().join("missing")]).is_err());
    }
}
