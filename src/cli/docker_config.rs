//! What docker's `config.json` says about builds: proxies as build arguments.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::report::Failure;

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    proxies: BTreeMap<String, Proxies>,
}

/// The proxies for one daemon, or for `default`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Proxies {
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    ftp_proxy: String,
    all_proxy: String,
}

/// Returns the build arguments that the proxies of `config.json` stand for, in both spellings. They are predefined
/// arguments: no part of a cache key, and not in the image's history.
pub(crate) fn proxy_args(directory: &Path) -> Result<BTreeMap<String, String>, Failure> {
    let path = directory.join("config.json");
    let text = match fs_err::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(Failure::from_error(error)),
    };
    parse(&text).map_err(|error| Failure::plain(format!("cannot read {}: {error}", path.display())))
}

fn parse(text: &[u8]) -> Result<BTreeMap<String, String>, serde_json::Error> {
    let config: Config = serde_json::from_slice(text)?;
    let Some(proxies) = config.proxies.get("default") else { return Ok(BTreeMap::new()) };
    let Proxies { http_proxy, https_proxy, no_proxy, ftp_proxy, all_proxy } = proxies;
    let named = [
        ("http_proxy", http_proxy),
        ("https_proxy", https_proxy),
        ("no_proxy", no_proxy),
        ("ftp_proxy", ftp_proxy),
        ("all_proxy", all_proxy),
    ];
    let set = named.into_iter().filter(|(_, value)| !value.is_empty());
    Ok(set
        .flat_map(|(name, value)| [name.to_owned(), name.to_uppercase()].map(|name| (name, value.clone())))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_default_proxies_count_and_in_both_spellings() {
        let text = br#"{"auths": {}, "proxies": {
            "default": {"httpProxy": "http://p:1", "noProxy": "*.local"},
            "tcp://daemon": {"httpsProxy": "http://other"}
        }}"#;
        let names: Vec<_> =
            parse(text).unwrap().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let expected =
            ["HTTP_PROXY=http://p:1", "NO_PROXY=*.local", "http_proxy=http://p:1", "no_proxy=*.local"];
        assert_eq!(names, expected);
        assert!(parse(b"{}").unwrap().is_empty());
        assert!(parse(b"nonsense").is_err());
    }
}
