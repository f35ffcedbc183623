//! Secrets that are credentials of a server, by the names that BuildKit gives them.
//!
//! | secret | for |
//! |---|---|
//! | `HTTP_AUTH_HEADER_<host>` | downloads: the value of `Authorization` |
//! | `HTTP_AUTH_TOKEN_<host>` | downloads: a bearer token; it wins |
//! | `GIT_AUTH_HEADER.<host>`, `GIT_AUTH_HEADER` | repositories: the value of `Authorization` |
//! | `GIT_AUTH_TOKEN.<host>`, `GIT_AUTH_TOKEN` | repositories: a token, the password of `x-access-token` |
//!
//! The first that is there of a repository's counts: header for the host, token for the host, header, token. A
//! host of a repository has its port, one of a download has not.

use base64::Engine as _;

use crate::secret::Secrets;

/// Where git sends the header: for GitHub to the whole site, where submodules lie (BuildKit does the same).
const SITES: [&str; 2] = ["https://github.com/", "https://www.github.com/"];

/// Returns the value of `Authorization` for a download.
pub(super) fn of_download(secrets: &Secrets, url: &str) -> Option<Vec<u8>> {
    let host = host_and_port(url)?;
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let named = |prefix: &str| secrets.get(&format!("{prefix}{host}")).map(|secret| bare(secret.expose()));
    let token = named("HTTP_AUTH_TOKEN_").map(|token| [b"Bearer ", token].concat());
    token.or_else(|| named("HTTP_AUTH_HEADER_").map(<[u8]>::to_vec))
}

/// Returns the key and the value of git's configuration that make it send a header to a repository.
pub(super) fn of_repository(secrets: &Secrets, remote: &str) -> Option<(String, Vec<u8>)> {
    let host = host_and_port(remote)?;
    let find = |name: String| secrets.get(&name).map(|secret| bare(secret.expose()));
    let header = |name: String| find(name).map(<[u8]>::to_vec);
    let token = |name: String| {
        let plain = [b"x-access-token:", find(name)?].concat();
        Some(format!("basic {}", base64::engine::general_purpose::STANDARD.encode(plain)).into_bytes())
    };
    let value = header(format!("GIT_AUTH_HEADER.{host}"))
        .or_else(|| token(format!("GIT_AUTH_TOKEN.{host}")))
        .or_else(|| header("GIT_AUTH_HEADER".to_owned()))
        .or_else(|| token("GIT_AUTH_TOKEN".to_owned()))?;
    let scope = SITES.into_iter().find(|site| remote.starts_with(site)).unwrap_or(remote);
    Some((format!("http.{scope}.extraheader"), [b"Authorization: ", &value[..]].concat()))
}

/// A file ends in a line end, which is no part of the value.
fn bare(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

/// Returns the host of a web address as it is written, without user and password.
fn host_and_port(url: &str) -> Option<&str> {
    let rest = ["http://", "https://"].iter().find_map(|scheme| url.strip_prefix(scheme))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn secrets(named: &[(&str, &str)]) -> Secrets {
        let mut secrets = Secrets::default();
        for (id, value) in named {
            secrets.insert(*id, Secret::new(value.as_bytes()));
        }
        secrets
    }

    #[test]
    fn downloads_have_credentials_by_host_alone() {
        let header = ("HTTP_AUTH_HEADER_h", "Basic x\n");
        let token = ("HTTP_AUTH_TOKEN_h", "t\n");
        for (given, url, expected) in [
            (&[header][..], "https://h/f", Some("Basic x")),
            (&[token], "http://h:8080/f", Some("Bearer t")),
            (&[header, token], "https://h", Some("Bearer t")),
            (&[token], "https://user:h@other/f", None),
            (&[token], "https://sub.h/f", None),
            (&[token], "https://h.other/h", None),
            (&[("HTTP_AUTH_TOKEN_::1", "t")], "http://[::1]:80/f", Some("Bearer t")),
            (&[("HTTP_AUTH_TOKEN_", "t"), ("GIT_AUTH_TOKEN", "t")], "https://h/f", None),
        ] {
            let found = of_download(&secrets(given), url).map(|value| String::from_utf8(value).unwrap());
            assert_eq!(found.as_deref(), expected, "{url} {given:?}");
        }
    }

    #[test]
    fn repositories_have_credentials_by_host_and_port() {
        let (any, own) = (("GIT_AUTH_TOKEN", "any"), ("GIT_AUTH_TOKEN.h:1", "own"));
        for (given, remote, expected) in [
            (&[any][..], "https://h/r.git", Some(("https://h/r.git", "basic eC1hY2Nlc3MtdG9rZW46YW55"))),
            (&[any, own], "http://h:1/r.git", Some(("http://h:1/r.git", "basic eC1hY2Nlc3MtdG9rZW46b3du"))),
            (&[own], "https://h/r.git", None),
            (
                &[own, ("GIT_AUTH_HEADER", "x")],
                "https://h:1/r",
                Some(("https://h:1/r", "basic eC1hY2Nlc3MtdG9rZW46b3du")),
            ),
            (&[own, ("GIT_AUTH_HEADER.h:1", "x")], "https://h:1/r", Some(("https://h:1/r", "x"))),
            (
                &[any],
                "https://github.com/o/r.git",
                Some(("https://github.com/", "basic eC1hY2Nlc3MtdG9rZW46YW55")),
            ),
            (&[any], "git@h:r.git", None),
            (&[any], "ssh://h/r.git", None),
        ] {
            let expected = expected.map(|(scope, value)| {
                (format!("http.{scope}.extraheader"), format!("Authorization: {value}"))
            });
            let found = of_repository(&secrets(given), remote)
                .map(|(key, value)| (key, String::from_utf8(value).unwrap()));
            assert_eq!(found, expected, "{remote} {given:?}");
        }
    }
}
