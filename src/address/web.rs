//! Web addresses.

use super::{GitAddress, split_scheme, unescape};

/// Tells whether `text` is the address of a download: `http://` or `https://`, and no git repository.
pub fn is_web(text: &str) -> bool {
    (text.starts_with("http://") || text.starts_with("https://")) && GitAddress::parse(text).is_none()
}

/// Returns the name under which a download is stored: the last part of the address's path, decoded; `__unnamed__`
/// if there is none (statement 143).
pub fn file_name(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let path = rest.find('/').map_or("", |slash| &rest[slash..]);
    let decoded = unescape(path, false).unwrap_or_default();
    match decoded.trim_end_matches('/').rsplit('/').next() {
        None | Some("" | "." | "..") => "__unnamed__".to_owned(),
        Some(name) => name.to_owned(),
    }
}

/// Returns an address without the user and password in it, for people to read.
pub fn redacted(url: &str) -> String {
    let Some((_, rest)) = split_scheme(url) else { return url.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        // The user alone is part of most ssh addresses and no secret.
        Some((user, _)) if user.contains(':') || url.starts_with("http") => {
            url.replacen(&format!("{user}@"), "xxxxx@", 1)
        }
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_143_names() {
        for (url, name) in [
            ("http://h/a/b.txt", "b.txt"),
            ("http://h/a/b.txt?x=/y#z", "b.txt"),
            ("http://h/a%20b", "a b"),
            ("http://h/dir/", "dir"),
            ("http://h/a%zz", "__unnamed__"),
            ("http://h/", "__unnamed__"),
            ("http://h", "__unnamed__"),
            ("http://h?x=/y", "__unnamed__"),
        ] {
            assert_eq!(file_name(url), name, "{url}");
        }
    }

    #[test]
    fn statement_144_downloads() {
        for url in ["http://h/x", "https://h/x.git/y", "https://h"] {
            assert!(is_web(url), "{url}");
        }
        for other in ["https://h/x.git", "https://h/x.git?ref=a", "ftp://h/x", "h/x", "git://h/x"] {
            assert!(!is_web(other), "{other}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("https://user:pass@h/x", "https://xxxxx@h/x"),
            ("https://token@h/x", "https://xxxxx@h/x"),
            ("ssh://git@h/x", "ssh://git@h/x"),
            ("git@h:x", "git@h:x"),
            ("https://h/@x", "https://h/@x"),
        ] {
            assert_eq!(redacted(url), shown);
        }
    }
}
