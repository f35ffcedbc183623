//! What the servers of the tests have in common: connections on threads of their own, and the head of a request.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// Serves each connection on a thread of its own and returns the port; the threads end with the test process.
pub(crate) fn listen(serve: impl Fn(TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = listener.local_addr().expect("a bound address").port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            // A connection that breaks is the purpose, or the client's choice, and not a failure.
            std::thread::spawn(move || serve(client));
        }
    });
    port
}

/// The head of a request.
#[derive(Debug)]
pub(crate) struct Head {
    /// The first line, without its end.
    pub(crate) line: String,
    /// The headers, names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Head {
    /// Reads a head and leaves the body.
    pub(crate) fn read(reader: &mut impl BufRead) -> std::io::Result<Self> {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
        }
        Ok(Self { line: line.trim().to_owned(), headers })
    }

    /// Returns the method.
    pub(crate) fn method(&self) -> String {
        self.line.split_whitespace().next().unwrap_or_default().to_owned()
    }

    /// Returns the path with the query.
    pub(crate) fn path(&self) -> String {
        self.line.split_whitespace().nth(1).unwrap_or_default().to_owned()
    }
}
