//! The socket of an ssh agent in a step.
//!
//! The step gets a socket of its own, because the agent's belongs to the user who builds and not to the one who
//! runs the command. Each connection is passed on to the agent request by request. A step may list keys and let
//! things be signed; it may not add, remove or lock keys, as under BuildKit.

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};

/// The name of the socket in its directory.
pub(super) const SOCKET: &str = "agent";

/// The longest message that OpenSSH's agent takes.
const LONGEST_MESSAGE: usize = 256 * 1024;

/// Numbers of messages (draft-ietf-sshm-ssh-agent, section 6.1).
mod number {
    pub(super) const FAILURE: u8 = 5;
    pub(super) const REQUEST_IDENTITIES: u8 = 11;
    pub(super) const SIGN_REQUEST: u8 = 13;
}

/// A socket that passes on to an agent as long as it is kept.
pub(super) struct Forward {
    /// Closed to end the listener.
    stop: Option<UnixStream>,
    listener: Option<JoinHandle<()>>,
}

impl Forward {
    /// Makes the socket in `directory`, with the mode and the owner given.
    pub(super) fn start(
        agent: &Path,
        directory: &Path,
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> io::Result<Self> {
        // By a short name: the path of a socket has at most 107 bytes.
        let opened = fs_err::File::open(directory)?;
        let place = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()));
        let listener = UnixListener::bind(&place)?;
        if (uid, gid) != (0, 0) {
            chown(&place, Some(uid), Some(gid))?;
        }
        fs_err::set_permissions(&place, std::fs::Permissions::from_mode(mode))?;
        let (stop, stopped) = UnixStream::pair()?;
        let agent = agent.to_owned();
        let thread = std::thread::spawn(move || listen(&listener, &stopped, &agent));
        Ok(Self { stop: Some(stop), listener: Some(thread) })
    }
}

impl Drop for Forward {
    /// Ends all connections.
    fn drop(&mut self) {
        self.stop = None;
        if let Some(listener) = self.listener.take() {
            // A panic there has been shown already, and must not become a second one here.
            let _ = listener.join();
        }
    }
}

/// Both ends of a connection, to be cut from elsewhere.
type Open = Arc<Mutex<Vec<UnixStream>>>;

fn listen(listener: &UnixListener, stopped: &UnixStream, agent: &Path) {
    let open = Open::default();
    std::thread::scope(|scope| {
        loop {
            let mut descriptors = [PollFd::new(stopped, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
            match poll(&mut descriptors, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
            if !descriptors[0].revents().is_empty() {
                break;
            }
            if descriptors[1].revents().contains(PollFlags::IN)
                && let Ok((client, _)) = listener.accept()
            {
                let open = Arc::clone(&open);
                // To the client every failure is a closed connection, which ssh reports in its own words.
                scope.spawn(move || serve(client, agent, &open));
            }
        }
        for stream in open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    });
}

fn serve(mut client: UnixStream, agent: &Path, open: &Open) -> io::Result<()> {
    let mut agent = UnixStream::connect(agent)?;
    let ends = [client.try_clone()?, agent.try_clone()?];
    open.lock().unwrap_or_else(PoisonError::into_inner).extend(ends);
    while let Some(request) = receive(&mut client)? {
        let answer = match request.first() {
            Some(&(number::REQUEST_IDENTITIES | number::SIGN_REQUEST)) => {
                send(&mut agent, &request)?;
                receive(&mut agent)?.ok_or(io::ErrorKind::UnexpectedEof)?
            }
            Some(_) | None => vec![number::FAILURE],
        };
        send(&mut client, &answer)?;
    }
    Ok(())
}

/// Reads a message: its length, then its bytes. `None` at the end of the stream.
fn receive(from: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > LONGEST_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message)?;
    Ok(Some(message))
}

fn send(to: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).expect("messages have a longest length");
    to.write_all(&[&length.to_be_bytes(), message].concat())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    /// An agent that answers every request with its first byte, twice.
    fn echo_agent(directory: &Path) -> PathBuf {
        let path = directory.join("real");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            while let Ok((mut client, _)) = listener.accept() {
                std::thread::spawn(move || {
                    while let Ok(Some(request)) = receive(&mut client) {
                        send(&mut client, &[request[0], request[0]]).unwrap();
                    }
                });
            }
        });
        path
    }

    #[test]
    fn keys_are_listed_and_used_but_never_changed() {
        const ADD_IDENTITY: u8 = 17;
        let directory = tempfile::tempdir().unwrap();
        let agent = echo_agent(directory.path());
        let forward = Forward::start(&agent, directory.path(), 0o640, (0, 0)).unwrap();
        let place = directory.path().join(SOCKET);
        assert_eq!(fs_err::metadata(&place).unwrap().mode() & 0o777, 0o640);
        let mut first = UnixStream::connect(&place).unwrap();
        let mut second = UnixStream::connect(&place).unwrap();
        for (request, expected) in [
            (number::REQUEST_IDENTITIES, vec![number::REQUEST_IDENTITIES; 2]),
            (number::SIGN_REQUEST, vec![number::SIGN_REQUEST; 2]),
            (ADD_IDENTITY, vec![number::FAILURE]),
        ] {
            for client in [&mut first, &mut second] {
                send(client, &[request, 1, 2]).unwrap();
                assert_eq!(receive(client).unwrap(), Some(expected.clone()), "{request}");
            }
        }
        drop(forward);
        assert_eq!(receive(&mut first).unwrap(), None, "a connection does not outlive the step");
    }
}
