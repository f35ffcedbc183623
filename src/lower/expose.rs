//! EXPOSE: ports, ranges, protocols.

use std::net::IpAddr;

use crate::diagnostic::Diagnostic;
use crate::dockerfile::instruction::Word;
use crate::oci::Empty;

use super::fold::Fold;
use super::{checks, history, words};

impl Fold<'_, '_> {
    /// The only instruction whose words are split after expansion (statement 48); they are sorted as
    /// written, before it (statement 182).
    pub(super) fn expose(&mut self, words: &[Word]) -> Result<(), Diagnostic> {
        let mut sorted: Vec<&Word> = words.iter().collect();
        sorted.sort_by(|a, b| a.raw.cmp(&b.raw));
        let mut ports = Vec::new();
        for word in sorted {
            let expansion = words::expand_at(&word.raw, word.span, self.build.escape, &self.state.scope)?;
            for text in &expansion.words {
                let exposed = Exposed::parse(text).map_err(|reason| {
                    Diagnostic::error(word.span, reason)
                        .with_help("for example `8080`, `53/udp` or `8000-8010`")
                })?;
                if exposed.odd_protocol {
                    self.report(checks::expose_proto_casing(word.span, text));
                }
                if exposed.host {
                    self.report(checks::expose_invalid_format(word.span, text));
                }
                ports.extend(exposed.ports());
            }
        }
        self.state.record(format!("EXPOSE {}", history::list(&ports)), None);
        self.state.config.config.exposed_ports.extend(ports.into_iter().map(|port| (port, Empty {})));
        Ok(())
    }
}

/// One argument of EXPOSE: `[[ip:]host:]port[-port][/protocol]`, of which only the container's part counts
/// (statements 180 and 181).
#[derive(Debug, PartialEq, Eq)]
struct Exposed {
    first: u16,
    last: u16,
    protocol: String,
    odd_protocol: bool,
    host: bool,
}

impl Exposed {
    fn parse(text: &str) -> Result<Self, String> {
        let (front, container) = text.rsplit_once(':').unwrap_or(("", text));
        let (ip, host) = front.rsplit_once(':').unwrap_or(("", front));
        let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
        if port.is_empty() {
            return Err(format!("invalid port: \"{text}\": no port specified"));
        }
        let lower = protocol.to_ascii_lowercase();
        if !matches!(&*lower, "" | "tcp" | "udp" | "sctp") {
            return Err(format!("invalid port: \"{text}\": invalid proto: {protocol}"));
        }
        let address = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
        if !address.is_empty() && address.parse::<IpAddr>().is_err() {
            return Err(format!("invalid IP address: {address}"));
        }
        let (first, last) = range(port).ok_or_else(|| format!("invalid containerPort: {port}"))?;
        if !host.is_empty() {
            let (host_first, host_last) = range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?;
            if last - first != host_last - host_first && last != first {
                return Err(format!(
                    "invalid ranges specified for container and host Ports: {port} and {host}"
                ));
            }
        }
        Ok(Self {
            first,
            last,
            odd_protocol: lower != protocol,
            protocol: if lower.is_empty() { "tcp".into() } else { lower },
            host: !front.is_empty(),
        })
    }

    fn ports(&self) -> impl Iterator<Item = String> {
        (self.first..=self.last).map(|port| format!("{port}/{}", self.protocol))
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| text.strip_prefix('+').unwrap_or(text).parse::<u16>().ok();
    let (first, last) = match text.split_once('-') {
        None => (number(text)?, number(text)?),
        Some((first, last)) => (number(first)?, number(last)?),
    };
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_180_ranges_and_protocols() {
        for (text, expected) in [
            ("80", &["80/tcp"][..]),
            ("53/UDP", &["53/udp"]),
            ("8000-8002/sctp", &["8000/sctp", "8001/sctp", "8002/sctp"]),
            ("0", &["0/tcp"]),
            ("127.0.0.1:8080:80", &["80/tcp"]),
            ("[::1]:8080:80/udp", &["80/udp"]),
            ("8000-8010:80", &["80/tcp"]),
            ("80/", &["80/tcp"]),
        ] {
            let exposed = Exposed::parse(text).unwrap();
            assert_eq!(exposed.ports().collect::<Vec<_>>(), expected, "{text}");
        }
        for text in ["", "/tcp", "x", "65536", "80-79", "80/icmp", "1-2:3-9", "host:1:2", "-1", "80-"] {
            assert!(Exposed::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn statement_181_host_parts_are_odd() {
        for (text, host, odd_protocol) in [
            ("80", false, false),
            ("1:80", true, false),
            ("80/TCP", false, true),
            ("1.2.3.4::80", true, false),
        ] {
            let exposed = Exposed::parse(text).unwrap();
            assert_eq!((exposed.host, exposed.odd_protocol), (host, odd_protocol), "{text}");
        }
    }
}
