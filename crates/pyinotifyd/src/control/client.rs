//! A client's side of the control socket. It may wait.
//!
//! Whoever listens there may be anybody: root may ask another user's daemon. So what is answered has
//! a bound, and no text of it gets to a terminal as it is.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use pyinotifyd_core::time::Human;
use pyinotifyd_sys::socket;

use super::words::{Reply, Request};
use crate::{
    errors::{Exit, Fatal, shown_path, words},
    json,
};

/// How long a daemon may take to answer what it answers at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The longest line of an answer, in bytes: 10,000 tasks with the longest paths, each byte of them
/// escaped, are shorter.
const LONGEST: u64 = 256 << 20;

/// What may be the matter with an answer.
const OTHER_VERSION: &str = "are this program and the daemon of the same version?";

/// A connection to the daemon.
#[derive(Debug)]
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
    /// How long a part of the answer may take.
    patience: Option<Duration>,
}

impl Client {
    /// Connects to the daemon that listens at a path.
    ///
    /// # Errors
    ///
    /// None does (exit status 69), or we may not (1).
    pub(crate) fn connect(path: &Path) -> Result<Self, Fatal> {
        let stream = stream(path).map_err(|error| unreachable(path, &error))?;
        Ok(Self { stream: BufReader::new(stream), patience: None })
    }

    /// Sends a request. Each part of the answer is to come within `patience`.
    ///
    /// # Errors
    ///
    /// The daemon has gone.
    pub(crate) fn ask(
        &mut self,
        request: &Request,
        patience: Option<Duration>,
    ) -> Result<(), Fatal> {
        self.patience = patience;
        let stream = self.stream.get_mut();
        let sent = stream.set_read_timeout(patience).and_then(|()| {
            stream.set_write_timeout(patience)?;
            stream.write_all(&json::line(request))
        });
        // Why it hangs up, it may have said.
        match sent {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            sent => sent.map_err(|error| lost(&error, patience)),
        }
    }

    /// The next part of the answer, and its line, safe for terminals; `None`: the daemon has ended.
    ///
    /// # Errors
    ///
    /// Nothing comes in time, or what comes is no reply.
    pub(crate) fn next(&mut self) -> Result<Option<(Reply, String)>, Fatal> {
        let line = line(&mut self.stream, LONGEST).map_err(|it| lost(&it, self.patience))?;
        let Some(line) = line else { return Ok(None) };
        let reply = serde_json::from_str(&line).map_err(|error| {
            Fatal::text(format!("the daemon's answer is not understood: {error}"))
                .hint(OTHER_VERSION)
        })?;
        Ok(Some((reply, json::tame(&line))))
    }

    /// Asks for something that has one answer.
    ///
    /// # Errors
    ///
    /// See above, or the daemon ends meanwhile.
    pub(crate) fn get(
        &mut self,
        request: &Request,
        patience: Option<Duration>,
    ) -> Result<(Reply, String), Fatal> {
        self.ask(request, patience)?;
        self.next()?.ok_or_else(|| Fatal::text("the daemon has ended before it answered"))
    }
}

/// The next line, if it is not longer than this; `None`: there is no more.
fn line(from: &mut impl BufRead, longest: u64) -> io::Result<Option<String>> {
    let mut line = String::new();
    match from.take(longest).read_line(&mut line)? {
        0 => Ok(None),
        _ if !line.ends_with('\n') && u64::try_from(line.len()).is_ok_and(|it| it >= longest) => {
            Err(io::Error::other(format!("an answer is longer than {longest} bytes")))
        }
        _ => Ok(Some(line)),
    }
}

/// A connection, if the daemon takes one in time.
fn stream(path: &Path) -> io::Result<UnixStream> {
    let begun = Instant::now();
    loop {
        match socket::connect_stream(path) {
            Err(error)
                if error.kind() == io::ErrorKind::WouldBlock && begun.elapsed() < PATIENCE =>
            {
                thread::sleep(Duration::from_millis(50));
            }
            connected => {
                let stream = connected?;
                stream.set_nonblocking(false)?;
                return Ok(stream);
            }
        }
    }
}

/// Why there is no connection.
fn unreachable(path: &Path, error: &io::Error) -> Fatal {
    let at = shown_path(path);
    let fatal = Fatal::text(format!("cannot ask the daemon at {at}: {}", words(error)));
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => fatal
            .exit(Exit::Unavailable)
            .hint("is it running? name its socket with --socket if it has another"),
        io::ErrorKind::PermissionDenied => {
            fatal.hint("ask as root, or as the user that it runs as")
        }
        io::ErrorKind::WouldBlock => fatal.hint("it takes no connections: does it hang?"),
        _ => fatal,
    }
}

/// What was answered answers something else.
pub(crate) fn other_answer() -> Fatal {
    Fatal::text("the daemon has answered something else than was asked").hint(OTHER_VERSION)
}

fn lost(error: &io::Error, patience: Option<Duration>) -> Fatal {
    match (error.kind(), patience) {
        (io::ErrorKind::WouldBlock, Some(patience)) => {
            Fatal::text(format!("the daemon has not answered for {}", Human(patience)))
        }
        _ => Fatal::text(format!("the connection to the daemon is lost: {}", words(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_does_not_answer_is_told_with_what_helps() {
        let path = Path::new("/run/\n/control.sock");
        let errno = io::Error::from_raw_os_error;
        // ENOENT, ECONNREFUSED, EACCES, EAGAIN, ENOTSOCK, ECONNRESET.
        let mut told =
            [2, 111, 13, 11, 88].map(|it| unreachable(path, &errno(it)).to_string()).to_vec();
        let long = line(&mut "abcd\n".as_bytes(), 3).unwrap_err();
        let patience = Some(Duration::from_millis(1500));
        let lost = [(&errno(11), patience), (&errno(104), patience), (&long, None)];
        told.extend(lost.map(|(error, patience)| super::lost(error, patience).to_string()));
        told.push(other_answer().to_string());
        insta::assert_snapshot!("told", told.join("\n\n"));
    }

    #[test]
    fn a_line_has_a_bound() {
        let read = |text: &str, longest| line(&mut text.as_bytes(), longest);
        assert_eq!(read("ab\ncd", 3).unwrap().as_deref(), Some("ab\n"));
        assert_eq!(read("", 3).unwrap(), None);
        assert!(read("abcd\n", 3).unwrap_err().to_string().contains("longer than 3 bytes"));
        // The end came first: what it is, is told by whoever reads it as JSON.
        assert_eq!(read("ab", 3).unwrap().as_deref(), Some("ab"));
    }
}
