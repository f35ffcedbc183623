//! An authority of the test's own, a TLS server before a plain one, and a proxy that only passes bytes on.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::http::{Head, listen};
use super::run;

/// An authority that issues certificates.
pub(crate) struct Authority {
    folder: PathBuf,
}

/// A certificate and its key, as PEM files.
pub(crate) type Pair = (PathBuf, PathBuf);

impl Authority {
    /// Makes an authority whose files lie in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let authority = Self { folder: folder.to_owned() };
        authority.make("ca", &["-addext", "basicConstraints=critical,CA:TRUE"]);
        authority
    }

    /// Returns the authority's certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Issues a certificate for names such as `IP:127.0.0.1,DNS:host.test`.
    pub(crate) fn issue(&self, file: &str, names: &str) -> Pair {
        let at = |name: &str| self.folder.join(name).display().to_string();
        let names = format!("subjectAltName={names}");
        let issuer = ["-CA", &at("ca.pem"), "-CAkey", &at("ca.key"), "-addext", &names];
        self.make(file, &[&issuer[..], &["-addext", "basicConstraints=critical,CA:FALSE"]].concat())
    }

    fn make(&self, file: &str, more: &[&str]) -> Pair {
        let pair = (self.folder.join(format!("{file}.pem")), self.folder.join(format!("{file}.key")));
        let (certificate, key) = (pair.0.display().to_string(), pair.1.display().to_string());
        let subject = format!("/CN={file}");
        let fixed = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let own = ["-days", "2", "-subj", &subject, "-keyout", &key, "-out", &certificate];
        run("openssl", fixed.iter().chain(&own).chain(more));
        pair
    }
}

/// Starts a TLS server that hands each request on to a plain one; returns its port.
pub(crate) fn tls_before(upstream: &str, (certificate, key): &Pair) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(certificate).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider's versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair");
    let (config, upstream) = (Arc::new(config), upstream.to_owned());
    listen(move |client| {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).map_err(std::io::Error::other)?;
        let mut client = rustls::StreamOwned::new(connection, client);
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte)? > 0 {
            head.push(byte[0]);
        }
        let mut server = TcpStream::connect(&upstream)?;
        server.write_all(&head)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        client.write_all(&answer)?;
        client.conn.send_close_notify();
        client.flush()
    })
}

/// A proxy: `CONNECT` leads to `target` whatever it names, other requests too.
pub(crate) struct Proxy {
    /// Where it listens.
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts it.
    pub(crate) fn start(target: &str) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, target) = (Arc::clone(&asked), target.to_owned());
        let port = listen(move |client| {
            let mut reader = BufReader::new(client.try_clone()?);
            let head = Head::read(&mut reader)?;
            log.lock().expect("no proxy thread panics").push(head.line);
            let mut client = client;
            client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
            let server = TcpStream::connect(&target)?;
            let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_server, &mut to_client);
                let _ = to_client.shutdown(Shutdown::Write);
            });
            let mut to_server = server;
            std::io::copy(&mut reader, &mut to_server)?;
            to_server.shutdown(Shutdown::Write)
        });
        Self { port, asked }
    }

    /// Returns the first lines of the requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no proxy thread panics").clone()
    }
}
