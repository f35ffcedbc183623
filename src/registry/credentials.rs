//! Credentials that other tools have stored: docker's `config.json` and containers' `auth.json`.
//!
//! In: paths (the caller knows the home directory and the environment), a host, a repository. Out: what to
//! present to that host, or nothing. The first file that knows the host answers; within a file a credential
//! helper of the host wins, then the longest entry of `auths`, then the credential store.
//!
//! A credential is only ever handed out for the host it is stored under. Secrets are not printed: the types
//! that hold them have no derived `Debug`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::error::{Error, excerpt};
use crate::reference::DEFAULT_REGISTRY;

/// The names under which tools file Docker Hub.
const DOCKER_HUB: [&str; 4] =
    ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"];

/// The user name with which a helper says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// All credential files, in the order in which they are asked.
#[derive(Clone, Default)]
pub struct Credentials {
    files: Vec<File>,
}

/// What to present to a host.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user name and a password or access token.
    Password {
        /// The user name.
        user: String,
        /// The secret.
        password: String,
    },
    /// An OAuth2 refresh token.
    IdentityToken(String),
    /// A token that is presented as it is.
    RegistryToken(String),
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Clone, Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, alias = "identityToken")]
    identitytoken: String,
    #[serde(default, alias = "registryToken")]
    registrytoken: String,
}

/// What `docker-credential-NAME get` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} files)", self.files.len())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(..)",
            Self::IdentityToken(_) => "IdentityToken(..)",
            Self::RegistryToken(_) => "RegistryToken(..)",
        })
    }
}

/// What the environment says about where credentials lie.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// `REGISTRY_AUTH_FILE`: then no other file counts.
    pub named: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: where podman, buildah and skopeo keep theirs.
    pub runtime_dir: Option<PathBuf>,
    /// `DOCKER_CONFIG`: a directory instead of `~/.docker`.
    pub docker_config: Option<PathBuf>,
    /// The home directory.
    pub home: Option<PathBuf>,
}

impl Places {
    /// Returns the files in the order in which they are asked; they need not exist.
    pub fn files(&self) -> Vec<PathBuf> {
        if let Some(named) = &self.named {
            return vec![named.clone()];
        }
        let below = |folder: &Option<PathBuf>, path: &str| folder.as_ref().map(|folder| folder.join(path));
        [
            below(&self.runtime_dir, "containers/auth.json"),
            below(&self.home, ".config/containers/auth.json"),
            below(&self.docker_config, "config.json").or_else(|| below(&self.home, ".docker/config.json")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

impl Credentials {
    /// Reads the files that exist.
    ///
    /// # Errors
    /// If one exists and cannot be read or is not such a file.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Error> {
        let mut files = Vec::new();
        for path in paths {
            let text = match fs_err::read_to_string(path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(Error::Config {
                        path: path.clone(),
                        line: None,
                        reason: error.kind().to_string(),
                    });
                }
            };
            files.push(parse(path, &text)?);
        }
        Ok(Self { files })
    }

    /// Returns what to present to `host` when reading `repository`.
    ///
    /// # Errors
    /// If a credential helper fails or an entry cannot be decoded.
    pub fn find(&self, host: &str, repository: &str) -> Result<Option<Credential>, Error> {
        for file in &self.files {
            if let Some(credential) = file.find(host, repository)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

fn parse(path: &Path, text: &str) -> Result<File, Error> {
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    serde_json::from_str(text).map_err(|error| Error::Config {
        path: path.to_owned(),
        line: Some(error.line()),
        // serde's message of a type error quotes the value, which may be a secret.
        reason: match error.classify() {
            serde_json::error::Category::Data => "an entry is not what a credentials file holds there".into(),
            _ => "this is not JSON".into(),
        },
    })
}

impl File {
    fn find(&self, host: &str, repository: &str) -> Result<Option<Credential>, Error> {
        let names = names_of(host);
        for name in &names {
            if let Some(program) = self.cred_helpers.get(*name) {
                return ask_helper(&helper(program), host, name);
            }
        }
        if let Some(entry) = self.entry(&names, repository) {
            match entry.credential() {
                Some(credential) => return Ok(Some(credential)),
                // With a credential store `auths` keeps an empty entry per host as a mark.
                None if entry.auth.is_empty() => {}
                None => {
                    return Err(Error::Protocol {
                        host: host.to_owned(),
                        repository: repository.to_owned(),
                        reason: "its `auth` in the credentials file is not base64 of user:password".into(),
                    });
                }
            }
        }
        if self.creds_store.is_empty() {
            return Ok(None);
        }
        ask_helper(&helper(&self.creds_store), host, names[0])
    }

    /// Returns the entry with the longest matching name: `auth.json` may file repositories of a host apart.
    fn entry(&self, names: &[&str], repository: &str) -> Option<&Entry> {
        let mut path = Some(repository);
        while let Some(part) = path {
            for name in names {
                if let Some(entry) = self.auths.get(&format!("{name}/{part}")) {
                    return Some(entry);
                }
            }
            path = part.rsplit_once('/').map(|(parent, _)| parent);
        }
        names.iter().find_map(|name| {
            self.auths
                .iter()
                .find(|(key, _)| key == name || key_host(key).is_some_and(|host| host == *name))
                .map(|(_, entry)| entry)
        })
    }
}

/// Returns the names under which credentials of `host` may be filed, docker's own first.
fn names_of(host: &str) -> Vec<&str> {
    if host == DEFAULT_REGISTRY || DOCKER_HUB.contains(&host) { DOCKER_HUB.to_vec() } else { vec![host] }
}

/// Returns the host of a key as old versions of docker wrote it, `https://host/v1/`.
fn key_host(key: &str) -> Option<&str> {
    let (host, path) = match key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")) {
        Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
        None => return None,
    };
    matches!(path, "" | "v1" | "v1/" | "v2" | "v2/").then_some(host)
}

impl Entry {
    fn credential(&self) -> Option<Credential> {
        if !self.identitytoken.is_empty() {
            return Some(Credential::IdentityToken(self.identitytoken.clone()));
        }
        if !self.registrytoken.is_empty() {
            return Some(Credential::RegistryToken(self.registrytoken.clone()));
        }
        if !self.auth.is_empty() {
            return decode_auth(&self.auth);
        }
        (!self.username.is_empty())
            .then(|| Credential::Password { user: self.username.clone(), password: self.password.clone() })
    }
}

/// Decodes base64 of `user:password`, in either alphabet, padded or not: tools differ.
fn decode_auth(auth: &str) -> Option<Credential> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decode = |alphabet| GeneralPurpose::new(alphabet, config).decode(auth.trim()).ok();
    let bytes = decode(&alphabet::STANDARD).or_else(|| decode(&alphabet::URL_SAFE))?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    // Docker pads the decoded text with zeros.
    Some(Credential::Password { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned() })
}

fn helper(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// Runs `PROGRAM get`, which reads the server's name and prints what it knows.
fn ask_helper(program: &str, host: &str, server: &str) -> Result<Option<Credential>, Error> {
    let failed =
        |reason: String| Error::Helper { program: program.to_owned(), host: host.to_owned(), reason };
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let asked = child.stdin.take().expect("stdin is piped").write_all(server.as_bytes());
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        // Helpers print their errors on stdout.
        let said = excerpt(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
        return if said.contains("credentials not found") { Ok(None) } else { Err(failed(said)) };
    }
    asked.map_err(|error| failed(error.to_string()))?;
    let answer: HelperAnswer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("its answer is not JSON".into()))?;
    Ok(Some(match answer.username.as_str() {
        TOKEN_USER => Credential::IdentityToken(answer.secret),
        _ => Credential::Password { user: answer.username, password: answer.secret },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        parse(Path::new("config.json"), text).unwrap()
    }

    fn password(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Password { user: user.into(), password: password.into() })
    }

    #[test]
    fn both_alphabets_are_read() {
        for (auth, user, secret) in [
            ("dXNlcjpwYXNz", "user", "pass"),
            ("dTpw", "u", "p"),
            ("dXNlcjo/Pz8/", "user", "????"),
            ("dXNlcjo_Pz8_", "user", "????"),
            ("dTpwcA==", "u", "pp"),
            ("dTpwcA", "u", "pp"),
            ("dTphOmI=", "u", "a:b"),
        ] {
            assert!(decode_auth(auth) == password(user, secret), "{auth}");
        }
        assert!(decode_auth("dXNlcg==").is_none(), "no colon");
        assert!(decode_auth("***").is_none());
    }

    #[test]
    fn a_credential_is_for_its_own_host() {
        let file = file(
            r#"{"auths": {
                "one.example": {"auth": "dTox"}, "https://two.example/v1/": {"auth": "dToy"},
                "https://index.docker.io/v1/": {"auth": "dToz"},
                "one.example/team": {"username": "u", "password": "4"},
                "token.example": {"identitytoken": "t"},
                "one.example.evil.example": {"auth": "dTo5"}}}"#,
        );
        for (host, repository, expected) in [
            ("one.example", "x", password("u", "1")),
            ("one.example", "team/app", password("u", "4")),
            ("one.example", "teams/app", password("u", "1")),
            ("two.example", "x", password("u", "2")),
            ("docker.io", "library/x", password("u", "3")),
            ("token.example", "x", Some(Credential::IdentityToken("t".into()))),
            ("one.example:5000", "x", None),
            ("example", "one", None),
        ] {
            assert!(file.find(host, repository).unwrap() == expected, "{host}/{repository}");
        }
    }

    #[test]
    fn a_helper_is_asked_for_its_host() {
        let file = file(r#"{"auths": {"h.example": {}}, "credHelpers": {"h.example": "no-such-helper"}}"#);
        assert!(matches!(
            file.find("h.example", "x"),
            Err(Error::Helper { program, .. }) if program == "docker-credential-no-such-helper"
        ));
        assert!(file.find("other.example", "x").unwrap().is_none());
    }

    #[test]
    fn a_helper_answers_in_its_own_way() {
        let program = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/registry/docker-credential-test");
        let ask = |server| ask_helper(program, "h.example", server);
        assert!(ask("password.example").unwrap() == password("u", "p"));
        assert!(ask("token.example").unwrap() == Some(Credential::IdentityToken("t".into())));
        assert!(ask("unknown.example").unwrap().is_none());
        for (server, reason) in [("locked.example", "locked"), ("broken.example", "not JSON")] {
            let error = ask(server).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(reason), "{server}: {error}");
        }
    }

    #[test]
    fn messages_and_debug_hold_no_secret() {
        let error = parse(Path::new("c"), r#"{"auths": {"h": "s3cret"}}"#).map(|_| ()).unwrap_err();
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        assert!(!format!("{:?}", password("u", "s3cret")).contains("s3cret"));
    }

    #[test]
    fn files_are_looked_for_where_tools_keep_them() {
        let path = |text: &str| Some(PathBuf::from(text));
        let all = Places {
            named: None,
            runtime_dir: path("/run/user/1"),
            docker_config: None,
            home: path("/home/u"),
        };
        let found = |places: &Places| {
            let files: Vec<_> = places.files().iter().map(|file| file.display().to_string()).collect();
            files.join(" ")
        };
        for (places, expected) in [
            (
                all.clone(),
                "/run/user/1/containers/auth.json /home/u/.config/containers/auth.json /home/u/.docker/config.json",
            ),
            (
                Places { docker_config: path("/d"), runtime_dir: None, ..all.clone() },
                "/home/u/.config/containers/auth.json /d/config.json",
            ),
            (Places { named: path("/a.json"), ..all }, "/a.json"),
            (Places::default(), ""),
        ] {
            assert_eq!(found(&places), expected);
        }
    }

    #[test]
    fn missing_files_are_no_credentials() {
        let credentials = Credentials::load(&[PathBuf::from("/no/such/file")]).unwrap();
        assert!(credentials.find("h", "r").unwrap().is_none());
    }
}
