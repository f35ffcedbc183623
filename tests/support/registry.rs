//! Debian's `docker-registry` on a loopback port of its own, killed with the value.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Bcrypt lines for [`USER`] and [`FLY_USER`], so that no tool is needed to make them.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuHIrMEWpUCQe2YqFR3sXwQ75u4od..9q
x:$2y$05$abcdefghijklmnopqrstuuXB6sbod/JFLRmGWAPk6gx3gdty/DQ6q
";

/// The user of a registry with [`Options::password`].
pub(crate) const USER: &str = "user";

/// Its password.
pub(crate) const PASSWORD: &str = "pw";

/// The user that Fly.io's logins name.
pub(crate) const FLY_USER: &str = "x";

/// Its password: base64 of the pair is another one in the alphabet for URLs.
pub(crate) const FLY_TOKEN: &str = "~fly?~>token";

/// How long a registry may take to listen on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What kind of registry.
#[derive(Default)]
pub(crate) struct Options {
    /// Whether it asks for [`USER`] and [`PASSWORD`].
    pub password: bool,
    /// A certificate and its key, both PEM: speak TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The authority, as PEM, whose client certificates it demands.
    pub client_authority: Option<PathBuf>,
    /// Whether it refuses to delete anything.
    pub keeps_all: bool,
}

/// A running registry.
pub(crate) struct TestRegistry {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl TestRegistry {
    /// Starts a registry without password and TLS.
    pub(crate) fn start() -> Self {
        Self::start_with(&Options::default())
    }

    /// Starts a registry and waits until it listens.
    pub(crate) fn start_with(options: &Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the registry");
        let at = |name: &str| folder.path().join(name);
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: {}}}}}\nhttp:\n  addr: 127.0.0.1:0\n",
            at("storage").display(),
            !options.keeps_all
        );
        if let Some((certificate, key)) = &options.tls {
            let authority = options.client_authority.iter();
            let clients: String =
                authority.map(|path| format!(", clientcas: [{}]", path.display())).collect();
            config += &format!(
                "  tls: {{certificate: {}, key: {}{clients}}}\n",
                certificate.display(),
                key.display()
            );
        }
        if options.password {
            std::fs::write(at("htpasswd"), HTPASSWD).expect("the password file");
            config += &format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", at("htpasswd").display());
        }
        std::fs::write(at("config.yml"), config).expect("the registry's configuration");
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(at("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry starts");
        let log = child.stderr.take().expect("stderr is piped");
        let (send, receive) = mpsc::channel();
        // Reads to the end: a full pipe would stop the registry.
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                if let Some(port) = listening_port(&line) {
                    let _ = send.send(port);
                }
            }
        });
        let mut registry = Self { child, port: 0, folder };
        registry.port = receive.recv_timeout(START_TIMEOUT).expect("docker-registry says where it listens");
        registry
    }

    /// Returns the host as it stands in an image's name.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns where the registry keeps a blob.
    pub(crate) fn blob_path(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a sha256 digest");
        self.storage().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// Returns the registry's storage directory.
    pub(crate) fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }

    /// Returns a folder that lives as long as the registry.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds the port in a log line such as `msg="listening on 127.0.0.1:43051, tls"`.
fn listening_port(line: &str) -> Option<u16> {
    let rest = line.split_once("listening on 127.0.0.1:")?.1;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}
