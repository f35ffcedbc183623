//! Hosts, by their names alone.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Tells whether a host is this machine itself, with or without a port; nothing is resolved. A name below `localhost`
/// is nobody else's either (RFC 6761).
pub fn is_loopback(host: &str) -> bool {
    if let Some(bracketed) = host.strip_prefix('[') {
        let address = bracketed.split_once(']').and_then(|(address, _port)| address.parse::<Ipv6Addr>().ok());
        return address.is_some_and(|address| address.is_loopback());
    }
    let name = host.split_once(':').map_or(host, |(name, _port)| name);
    let top = name.rsplit_once('.').map_or(name, |(_, top)| top);
    top.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_name() {
        for (host, expected) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("LocalHost:5000", true),
            ("a.localhost:1", true),
            ("a.b.localhost", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("[::1]:5000", true),
            ("[0:0:0:0:0:0:0:1]:5000", true),
            ("", false),
            ("128.0.0.1", false),
            ("0.0.0.0:5000", false),
            ("127.example", false),
            ("127.0.0.1.example.com", false),
            ("localhost.example.com", false),
            ("notlocalhost", false),
            ("example.com:5000", false),
            ("[::2]:5000", false),
            ("[::1", false),
        ] {
            assert_eq!(is_loopback(host), expected, "{host}");
        }
    }
}
