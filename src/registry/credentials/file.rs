//! One credentials file: docker's `config.json` or containers' `auth.json`, and which entry of it is for a host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;

use super::super::error::Error;
use super::{Credential, helper, names_of};

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct File {
    /// Where it was read, for messages.
    #[serde(skip)]
    pub(super) origin: PathBuf,
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

/// What `auths` says of one host or repository.
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

impl File {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let parsed: Result<Self, _> = serde_json::from_str(text);
        let file = parsed.map_err(|error| Error::Config {
            path: path.to_owned(),
            line: Some(error.line()),
            // serde's message of a type error quotes the value, which may be a secret.
            reason: match error.classify() {
                serde_json::error::Category::Data => {
                    "an entry is not what a credentials file holds there".into()
                }
                _ => "this is not JSON".into(),
            },
        })?;
        Ok(Self { origin: path.to_owned(), ..file })
    }

    /// Returns a file that knows one host.
    pub(super) fn only(server: &str, user: &str, password: &str) -> Self {
        let entry = Entry { username: user.to_owned(), password: password.to_owned(), ..Entry::default() };
        Self { auths: BTreeMap::from([(server.to_owned(), entry)]), ..Self::default() }
    }

    /// Returns the program that keeps the credentials of a host, with the name under which it does.
    pub(super) fn helper<'n>(&self, names: &[&'n str]) -> Option<(String, &'n str)> {
        for name in names {
            if let Some(program) = self.cred_helpers.get(*name) {
                return Some((helper::program(program), name));
            }
        }
        (!self.creds_store.is_empty()).then(|| (helper::program(&self.creds_store), names[0]))
    }

    pub(super) fn find(&self, host: &str, repository: &str) -> Result<Option<Credential>, Error> {
        let names = names_of(host);
        let program = names.iter().find_map(|name| Some((self.cred_helpers.get(*name)?, name)));
        if let Some((program, name)) = program {
            return helper::get(&helper::program(program), host, name);
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
        helper::get(&helper::program(&self.creds_store), host, names[0])
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
            self.auths.iter().find(|(key, _)| is_filed_under(key, name)).map(|(_, entry)| entry)
        })
    }
}

/// Tells whether a key of `auths` is for the host `name` as a whole.
pub(super) fn is_filed_under(key: &str, name: &str) -> bool {
    key == name || key_host(key) == Some(name)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File::parse(Path::new("config.json"), text).unwrap()
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
    fn messages_and_debug_hold_no_secret() {
        let error = File::parse(Path::new("c"), r#"{"auths": {"h": "s3cret"}}"#).map(|_| ()).unwrap_err();
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
        assert!(!format!("{:?}", password("u", "s3cret")).contains("s3cret"));
    }
}
