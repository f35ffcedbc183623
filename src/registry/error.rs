//! What can go wrong between kiln and a registry, and what a user can do about it.

use std::path::PathBuf;
use std::time::Duration;

use crate::assemble;
use crate::digest::Digest;
use crate::oci::NoPlatform;
use crate::time::Timestamp;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// How much of an error's body is kept: enough for a message, too little for a page.
pub(super) const BODY_LIMIT: usize = 1024;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// To read.
    Read,
    /// To push.
    Write,
    /// To delete.
    Delete,
    /// To find out who may.
    LogIn,
}

/// A failure to speak with a registry, or to read what says how.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The registry answered, and it was no.
    #[error("{}", describe_status(*action, *status, host, repository, reference, body))]
    Status {
        /// What was to be done.
        action: Action,
        /// The HTTP status.
        status: u16,
        /// The registry.
        host: String,
        /// The repository in it.
        repository: String,
        /// The tag or digest that was asked for, if one was.
        reference: String,
        /// The beginning of the answer, printable.
        body: String,
        /// How long the registry wants not to be asked again.
        retry_after: Option<Duration>,
    },
    /// No answer, or a broken one.
    #[error("{}", describe_network(*problem, host))]
    Network {
        /// The registry.
        host: String,
        /// What kind of failure.
        problem: Problem,
        /// What the transport says.
        #[source]
        source: Cause,
    },
    /// The bytes are not those that the digest names.
    #[error(
        "{host} sent wrong bytes for {digest} of {repository}: {actual}; the registry or something before it is damaged"
    )]
    Mismatch {
        /// The registry.
        host: String,
        /// The repository in it.
        repository: String,
        /// What was asked for.
        digest: Digest,
        /// What came: another digest or another size.
        actual: String,
    },
    /// The registry says that it has taken other bytes than those that were sent.
    #[error(
        "{host} was sent {digest} for {repository} and says that it has {actual}: the registry or something before it is damaged"
    )]
    Altered {
        /// The registry.
        host: String,
        /// The repository in it.
        repository: String,
        /// What was sent.
        digest: Digest,
        /// What the registry says.
        actual: String,
    },
    /// A layer is too large to be pushed.
    #[error(
        "{layer} has {size} bytes, more than {by}: {limit} bytes a layer; split the instruction, leave files out with .dockerignore, or pack with `--output compression=zstd`"
    )]
    LayerLimit {
        /// Which layer, with the instruction that made it.
        layer: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
        /// Whose limit.
        by: String,
    },
    /// An image is too large to be pushed.
    #[error(
        "the image has {size} bytes, more than {by}: {limit} bytes an image, which {layer} exceeds; use a smaller base, copy less into the last stage, or pack with `--output compression=zstd`"
    )]
    ImageLimit {
        /// The layer that was too much, with the instruction that made it.
        layer: String,
        /// The image's size.
        size: u64,
        /// The limit.
        limit: u64,
        /// Whose limit.
        by: String,
    },
    /// Something that an image needs is not in the store, and nobody is known to have it.
    #[error(
        "{digest} is not in the store, and no repository is known that has it: build or pull the image again"
    )]
    Nowhere {
        /// What is missing.
        digest: Digest,
    },
    /// A name has the digest of something else.
    #[error("the name ends in {named}, but the image is {actual}: leave the digest out")]
    OtherDigest {
        /// The name's digest.
        named: Digest,
        /// The image's.
        actual: Digest,
    },
    /// The registry's answer does not follow the specification.
    #[error("{host} answered for {repository} with something that is no image: {reason}")]
    Protocol {
        /// The registry.
        host: String,
        /// The repository in it.
        repository: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A document of the image cannot be used.
    #[error("{host} serves {repository} with a document that cannot be used")]
    Document {
        /// The registry.
        host: String,
        /// The repository in it.
        repository: String,
        /// What is wrong with it.
        #[source]
        source: Box<assemble::Error>,
    },
    /// The image exists, but not for this platform.
    #[error("{reference} is not for this platform")]
    NoPlatform {
        /// The image's name.
        reference: String,
        /// What it is for.
        #[source]
        source: NoPlatform,
    },
    /// `registries.conf` forbids the registry.
    #[error("{reference} is blocked by the entry for `{prefix}` in registries.conf")]
    Blocked {
        /// The image's name.
        reference: String,
        /// The entry's prefix.
        prefix: String,
    },
    /// Neither the registry nor a mirror has it; the source is the registry's own answer.
    #[error("no mirror served {what} either ({mirrors})")]
    Everywhere {
        /// What was asked for.
        what: String,
        /// The mirrors' answers in one line.
        mirrors: String,
        /// The last one's answer.
        #[source]
        last: Box<Error>,
    },
    /// A configuration file cannot be understood.
    #[error("{path}{}: {reason}", line.map(|line| format!(":{line}")).unwrap_or_default(), path = path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The 1-based line, where known.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// A credential helper failed.
    #[error("the credential helper `{program}` failed for {host}: {reason}")]
    Helper {
        /// The program's name.
        program: String,
        /// The registry.
        host: String,
        /// What it said.
        reason: String,
    },
    /// Only an identity token is stored for the host.
    #[error(
        "only an identity token is stored for {host}, which asks for a user name and a password: log in with those"
    )]
    IdentityToken {
        /// The registry.
        host: String,
    },
    /// The transport could not be set up.
    #[error("cannot set up the registry client")]
    Setup(#[source] Cause),
    /// The store refused.
    #[error("cannot keep {what}")]
    Store {
        /// A digest, or what else was to be kept.
        what: String,
        /// What the store says.
        #[source]
        source: Cause,
    },
    /// Another transfer failed first.
    #[error("the transfer was given up because another one failed")]
    Cancelled,
}

/// Why there was no usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Nothing listens there.
    Refused,
    /// The name has no address.
    UnknownHost,
    /// The certificate is from an authority that this machine does not know, or not valid for the host.
    Certificate,
    /// The other side does not speak TLS.
    NotTls,
    /// It took too long.
    Timeout,
    /// The connection broke.
    Broken,
}

impl Error {
    /// Tells whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504),
            Self::Network { problem, .. } => matches!(problem, Problem::Timeout | Problem::Broken),
            _ => false,
        }
    }

    /// Returns how long the registry wants not to be asked again.
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Returns the HTTP status, if the registry answered with one.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Tells whether asking another endpoint makes sense; a full disk here is full for all of them.
    pub(super) const fn is_about_the_endpoint(&self) -> bool {
        matches!(
            self,
            Self::Status { .. }
                | Self::Network { .. }
                | Self::Mismatch { .. }
                | Self::Protocol { .. }
                | Self::Document { .. }
                | Self::Helper { .. }
                | Self::IdentityToken { .. }
        )
    }
}

impl Problem {
    /// Finds the kind of a failure in what the transport and its causes say.
    ///
    /// The transport's error types are private to it, so after [`std::io::ErrorKind`] the texts decide.
    pub(super) fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        let mut texts = String::new();
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(io) = error.downcast_ref::<std::io::Error>() {
                match io.kind() {
                    std::io::ErrorKind::ConnectionRefused => return Self::Refused,
                    std::io::ErrorKind::TimedOut => return Self::Timeout,
                    _ => {}
                }
            }
            texts.push_str(&error.to_string().to_ascii_lowercase());
            texts.push('\n');
            next = error.source();
        }
        let says = |needles: &[&str]| needles.iter().any(|needle| texts.contains(needle));
        if says(&["certificate", "unknownissuer"]) {
            Self::Certificate
        } else if says(&["dns error", "failed to lookup", "name or service not known"]) {
            Self::UnknownHost
        } else if says(&["received corrupt message", "invalidcontenttype"]) {
            Self::NotTls
        } else if says(&["timed out", "timeout"]) {
            Self::Timeout
        } else {
            Self::Broken
        }
    }
}

/// Makes the beginning of an answer printable on one line.
pub(super) fn excerpt(body: &str) -> String {
    let mut text = String::new();
    for word in body.split_whitespace() {
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(word.chars().filter(|letter| !letter.is_control()));
        if text.len() > BODY_LIMIT {
            let end = (0..=BODY_LIMIT).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
            text.truncate(end);
            text.push('…');
            break;
        }
    }
    text
}

fn describe_status(
    action: Action,
    status: u16,
    host: &str,
    repository: &str,
    reference: &str,
    body: &str,
) -> String {
    let separator = match reference {
        "" => "",
        digest if digest.starts_with("sha256:") => "@",
        _ => ":",
    };
    let name = format!("{repository}{separator}{reference}");
    let mut text = match (status, action) {
        (401 | 403, Action::LogIn) => {
            format!("{host} refuses the login ({status}): check the user name and the password or token")
        }
        (401 | 403, Action::Read) => format!(
            "{host} refuses access to {name} ({status}): the repository is private or does not exist; check the name, or log in with `kiln login {host}`"
        ),
        (401 | 403, Action::Write | Action::Delete) => {
            let what = if action == Action::Write { "push to" } else { "delete in" };
            format!(
                "{host} does not allow to {what} {repository} ({status}): log in with `kiln login {host}` as somebody who may"
            )
        }
        (404, Action::Read | Action::Delete) => {
            format!("{host} has no {name} ({status}): check the name and the tag")
        }
        (404, Action::Write) => format!(
            "{host} has no place for {repository} ({status}): check the name; some registries want a repository to be created first"
        ),
        (413, _) => format!(
            "{host} takes no request of this size for {name} ({status}): it, or a proxy before it, has a limit"
        ),
        (429, _) => format!(
            "{host} answers {status} to the request for {name}: too many requests; wait, log in, or name a mirror in registries.conf"
        ),
        _ => format!("{host} answers {status} to the request for {name}"),
    };
    if !body.is_empty() {
        text.push_str(": ");
        text.push_str(body);
    }
    text
}

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date, which counts from the answer's own `Date`.
pub(super) fn retry_after(text: &str, date: Option<&str>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let (until, now) = (Timestamp::parse_http(text)?, Timestamp::parse_http(date?)?);
    Some(Duration::from_secs(u64::try_from(until.0 - now.0).unwrap_or(0)))
}

fn describe_network(problem: Problem, host: &str) -> String {
    match problem {
        Problem::Refused => {
            format!("nothing listens at {host}: connection refused; is the registry running?")
        }
        Problem::UnknownHost => {
            format!("the host {host} has no address: check the name and the network's DNS")
        }
        Problem::Certificate => format!(
            "the certificate of {host} is not trusted: add its authority to this machine's certificates, or set `insecure = true` for it in registries.conf"
        ),
        Problem::NotTls => format!(
            "{host} does not speak TLS: if it serves plain http, set `insecure = true` for it in registries.conf"
        ),
        Problem::Timeout => format!("{host} did not answer in time"),
        Problem::Broken => format!("the connection to {host} broke"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16) -> Error {
        Error::Status {
            action: Action::Read,
            retry_after: None,
            status,
            host: "h".into(),
            repository: "r".into(),
            reference: "t".into(),
            body: String::new(),
        }
    }

    #[test]
    fn what_may_pass_by_itself_is_transient() {
        for (code, transient) in
            [(401, false), (403, false), (404, false), (408, true), (429, true), (500, true), (503, true)]
        {
            assert_eq!(status(code).is_transient(), transient, "{code}");
        }
        let network =
            |problem| Error::Network { host: "h".into(), problem, source: Box::from("x") }.is_transient();
        assert!(network(Problem::Timeout) && network(Problem::Broken));
        assert!(!network(Problem::Refused) && !network(Problem::Certificate));
    }

    #[test]
    fn the_kind_is_found_below_wrappers() {
        #[derive(Debug, thiserror::Error)]
        #[error("error sending request")]
        struct Wrapper(#[source] std::io::Error);
        for (kind, text, problem) in [
            (std::io::ErrorKind::ConnectionRefused, "x", Problem::Refused),
            (std::io::ErrorKind::Other, "invalid peer certificate: UnknownIssuer", Problem::Certificate),
            (std::io::ErrorKind::Other, "dns error", Problem::UnknownHost),
            (std::io::ErrorKind::ConnectionReset, "reset by peer", Problem::Broken),
        ] {
            assert_eq!(Problem::of(&Wrapper(std::io::Error::new(kind, text))), problem, "{text}");
        }
    }

    #[test]
    fn bodies_are_cut_and_printable() {
        assert_eq!(excerpt("a\n  b\u{7}"), "a b");
        assert!(excerpt(&"é ".repeat(BODY_LIMIT)).len() <= BODY_LIMIT + '…'.len_utf8());
        assert!(excerpt(&"x".repeat(BODY_LIMIT * 2)).len() <= BODY_LIMIT + '…'.len_utf8());
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (text, seconds) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
        ] {
            assert_eq!(retry_after(text, date), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn messages_say_what_to_try() {
        for (code, advice) in [(404, "check the name"), (401, "kiln login h"), (429, "mirror")] {
            assert!(status(code).to_string().contains(advice), "{code}");
        }
    }
}
