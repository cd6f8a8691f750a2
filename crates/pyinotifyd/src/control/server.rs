//! The daemon's side of the control socket.
//!
//! Connections are tasks beside the loop. What they ask goes to it through a bounded queue, one
//! request of each at a time; what it answers comes back through a queue of the connection's own.

use std::{
    fmt, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pyinotifyd_sys::socket;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

use super::{
    LONGEST,
    words::{Code, Refused, Reply, Request},
};
use crate::{errors::words, json};

/// So many connections at once.
const CONNECTIONS: usize = 64;

/// So many lines of a stream may wait for its reader.
const BACKLOG: usize = 10_000;

/// A client that takes nothing for so long is left.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket, and what is asked over it.
#[derive(Debug)]
pub(crate) struct Server {
    path: PathBuf,
    /// Which file it is.
    file: Option<(u64, u64)>,
    asked: mpsc::Receiver<Asked>,
}

/// A request, and where its answer goes.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The request.
    pub(crate) request: Request,
    /// Where the answer goes. To drop it ends the answer.
    pub(crate) answer: Answer,
}

/// Where the answer to a request goes.
pub(crate) struct Answer {
    replies: mpsc::Sender<Reply>,
    too_slow: Arc<AtomicBool>,
}

/// What it answers with is shown where it arrives.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

impl Answer {
    /// Sends a part of the answer. False: nobody wants more of it. A reader that is too slow gets no
    /// more, and is told.
    pub(crate) fn send(&self, reply: Reply) -> bool {
        match self.replies.try_send(reply) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.too_slow.store(true, Ordering::Relaxed);
                false
            }
        }
    }

    /// An answer, and where it arrives.
    #[cfg(test)]
    pub(crate) fn pair() -> (Self, mpsc::Receiver<Reply>) {
        let (replies, arrive) = mpsc::channel(BACKLOG);
        (Self { replies, too_slow: Arc::default() }, arrive)
    }

    /// Whether whoever asked is still there.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.replies.is_closed()
    }
}

impl Server {
    /// Makes the socket, in a directory that is made if it is not there, and listens. To be called
    /// inside the runtime.
    pub(crate) fn listen(path: &Path) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            // Its parents are the system's.
            match std::fs::DirBuilder::new().mode(0o700).create(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => (),
            }
        }
        let listener = UnixListener::from_std(socket::listen_stream(path)?)?;
        let (ask, asked) = mpsc::channel(CONNECTIONS);
        tokio::spawn(accept(listener, ask));
        Ok(Self { path: path.to_owned(), file: file_at(path), asked })
    }

    /// What is asked next.
    pub(crate) async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            // Whoever accepts has a sender for ever.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be another daemon's by now. What cannot be removed is replaced by the next one.
        if self.file.is_some() && file_at(&self.path) == self.file {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

async fn accept(listener: UnixListener, ask: mpsc::Sender<Asked>) {
    let owner = nix::unistd::geteuid().as_raw();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Mostly too many open files: there may be fewer in a moment.
                ::log::warn!("the control socket cannot accept a connection: {}", words(&error));
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let uid = stream.peer_cred().map(|it| it.uid()).ok();
        if uid.is_none_or(|it| it != 0 && it != owner) {
            let who = uid.map_or_else(|| "an unknown user".to_owned(), |it| format!("user {it}"));
            ::log::warn!("the control socket has refused a connection of {who}");
            let said = "only root, and the user that the daemon runs as, may ask it";
            tokio::spawn(refuse(stream, Refused::new(Code::NotAllowed, said)));
            continue;
        }
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            tokio::spawn(serve(stream, ask.clone(), place));
        } else {
            let said = format!("there are {CONNECTIONS} connections already");
            let refused =
                Refused::new(Code::Busy, said).hint("end one: a `tail` or `top`, or what hangs");
            tokio::spawn(refuse(stream, refused));
        }
    }
}

async fn refuse(mut stream: UnixStream, refused: Refused) {
    // Who has gone need not be told.
    write(&mut stream, &Reply::Refused(refused)).await;
}

/// Serves a connection until it ends. What goes wrong with it is nobody else's business.
async fn serve(
    stream: UnixStream,
    ask: mpsc::Sender<Asked>,
    _place: OwnedSemaphorePermit,
) -> Option<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let mut line = Vec::new();
    loop {
        line.clear();
        let most = u64::try_from(LONGEST).unwrap_or(u64::MAX);
        (&mut reading).take(most).read_until(b'\n', &mut line).await.ok()?;
        if line.is_empty() {
            return None;
        }
        let request = match understand(&line) {
            Ok(request) => request,
            Err(refused) => {
                write(&mut writing, &Reply::Refused(refused)).await?;
                // Where the next request begins is not known.
                if line.last() != Some(&b'\n') {
                    return None;
                }
                continue;
            }
        };
        let (replies, mut answer) = mpsc::channel(BACKLOG);
        let too_slow = Arc::new(AtomicBool::new(false));
        let asked = Asked { request, answer: Answer { replies, too_slow: Arc::clone(&too_slow) } };
        ask.send(asked).await.ok()?;
        loop {
            tokio::select! {
                biased;
                reply = answer.recv() => match reply {
                    Some(reply) => write(&mut writing, &reply).await?,
                    None => break,
                },
                // Nobody asks while an answer is on its way: this is the end of the connection.
                _ = reading.fill_buf(), if reading.buffer().is_empty() => {
                    if reading.buffer().is_empty() {
                        return None;
                    }
                }
            }
        }
        if too_slow.load(Ordering::Relaxed) {
            let said = "the stream is ended: what was to be told is not read fast enough";
            write(&mut writing, &Reply::Refused(Refused::new(Code::TooSlow, said))).await?;
        }
    }
}

/// A request from its line.
pub(crate) fn understand(line: &[u8]) -> Result<Request, Refused> {
    let error = match serde_json::from_slice(line.trim_ascii_end()) {
        Ok(request) => return Ok(request),
        Err(_) if line.last() != Some(&b'\n') && line.len() == LONGEST => {
            format!("a request is at most {LONGEST} bytes long, with a newline at its end")
        }
        Err(error) => error.to_string(),
    };
    Err(Refused::new(Code::BadRequest, format!("this is no request: {error}"))
        .hint("the requests are in docs/reference/control.md"))
}

/// Writes a reply. `None`: the client has gone, or takes nothing.
async fn write(to: &mut (impl AsyncWriteExt + Unpin), reply: &Reply) -> Option<()> {
    let line = json::line(reply);
    tokio::time::timeout(PATIENCE, to.write_all(&line)).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::words::Text;

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_so_behind_what_it_gets() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let (ask, mut asked) = mpsc::channel(1);
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        tokio::spawn(serve(theirs, ask, place));
        ours.write_all(b"{\"ask\":\"tail\"}\n").await.unwrap();
        let Asked { answer, .. } = asked.recv().await.unwrap();
        // Nobody else is asked to do anything meanwhile.
        let text = || Reply::Text(Text { text: String::new() });
        let sent = std::iter::repeat_with(|| answer.send(text())).take_while(|it| *it).count();
        assert_eq!((sent, answer.is_wanted()), (BACKLOG, true));
        drop(answer);
        let mut lines = BufReader::new(ours).lines();
        for _ in 0..sent {
            assert!(lines.next_line().await.unwrap().unwrap().contains("\"text\""));
        }
        insta::assert_snapshot!("too_slow", lines.next_line().await.unwrap().unwrap());
    }
}
