//! A real sshd on loopback that serves git repositories to whoever has a key.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{find_program, run};

/// A running server; it ends with the value.
pub(crate) struct SshServer {
    process: Child,
    /// Its port.
    pub(crate) port: u16,
    /// Its key, as it stands in a list of known hosts behind the host.
    pub(crate) host_key: String,
    directory: PathBuf,
}

impl SshServer {
    /// Starts a server that lets in the owners of the public keys. What it needs lies in `directory`.
    pub(crate) fn start(directory: &Path, public_keys: &[&Path]) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
        let host_key = directory.join("host_key");
        keygen(&host_key, "ed25519", "");
        let allowed: String = public_keys.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        std::fs::write(directory.join("authorized_keys"), allowed).unwrap();
        // Debian's sshd wants it, and only its service makes it.
        let _ = std::fs::create_dir_all("/run/sshd");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = |name: &str| directory.join(name).display().to_string();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPermitRootLogin yes\n",
            at("host_key"),
            at("authorized_keys")
        );
        std::fs::write(directory.join("config"), config).unwrap();
        let log = std::fs::File::create(directory.join("log")).unwrap();
        // It executes itself for each connection, and wants to be named by its whole path.
        let process = Command::new(find_program("sshd").unwrap())
            .args(["-D", "-e", "-f", &at("config")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let public = std::fs::read_to_string(directory.join("host_key.pub")).unwrap();
        let host_key = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let mut server = Self { process, port, host_key, directory: directory.to_owned() };
        server.wait();
        server
    }

    fn wait(&mut self) {
        for _ in 0..500 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            assert!(self.process.try_wait().unwrap().is_none(), "sshd ended: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        panic!("sshd does not listen: {}", self.log());
    }

    /// Returns what it has written.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap()
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes a pair of keys, the public one in `.pub` beside the other.
pub(crate) fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let path = path.to_str().unwrap();
    run("ssh-keygen", ["-q", "-t", kind, "-N", passphrase, "-C", "", "-f", path]);
}
