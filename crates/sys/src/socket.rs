//! Sockets as the standard library does not make them.

use std::{
    io,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, fchmod, flock, open, unlink},
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    },
};

/// So often it is tried to have one's turn, and so long it takes until the next try.
const TURNS: u32 = 20;
const TURN: Duration = Duration::from_millis(25);

/// So many connections may wait to be accepted.
const QUEUE: i32 = 64;

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

/// A listener at `path` that only its owner may connect to, in non-blocking mode. What a process
/// has left there that listens no longer is replaced.
///
/// The mode is set before the socket has a name, so that there is no moment at which others could
/// connect (`unix_bind_bsd` in `net/unix/af_unix.c` takes it from the unbound socket). Two processes
/// that start at once take turns by a lock on the directory, which nothing is left of.
///
/// # Errors
///
/// [`io::ErrorKind::AddrInUse`] if somebody listens there or something else than a socket is there,
/// else as in `unix(7)`. The error does not name the path.
pub fn listen_stream(path: &Path) -> io::Result<UnixListener> {
    let dir = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let dir = open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // Whoever may open the directory may hold its lock: nobody is waited for without end.
    for _ in 0..TURNS {
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => thread::sleep(TURN),
            locked => {
                locked?;
                break;
            }
        }
    }
    match connect_stream(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => (),
        // Of a file that is no socket, the kernel says the same: it stays.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            use std::os::unix::fs::FileTypeExt;
            if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            unlink(path)?;
        }
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
        Ok(_) | Err(_) => return Err(io::ErrorKind::AddrInUse.into()),
    }
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, QUEUE)?;
    Ok(UnixListener::from(socket))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;

    #[test]
    fn a_listener_is_its_owners_and_takes_the_place_of_a_dead_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = listen_stream(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(listen_stream(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        let _second = listen_stream(&path).unwrap();
        assert!(connect_stream(&path).is_ok());
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "mine").unwrap();
        assert_eq!(listen_stream(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

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
