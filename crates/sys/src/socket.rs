//! Sockets as the standard library does not make them.

use std::{io, os::unix::net::UnixStream, path::Path};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// A stream to the Unix socket at `path`, in non-blocking mode from the start: where `connect(2)`
/// would wait for a listener whose queue is full, this fails.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] in that case, else as in `unix(7)`. The error does not name the
/// path.
pub fn connect_stream(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_listener_that_does_not_accept_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let _listener = UnixListener::bind(&path).unwrap();
        let mut streams = Vec::new();
        let error = loop {
            match connect_stream(&path) {
                Ok(stream) => streams.push(stream),
                Err(error) => break error,
            }
        };
        // net.core.somaxconn bounds the queue; a test run may also have few descriptors.
        let full = error.kind() == io::ErrorKind::WouldBlock;
        assert!(full || error.raw_os_error() == Some(libc::EMFILE), "{error}");
        assert!(!streams.is_empty());
    }
}
