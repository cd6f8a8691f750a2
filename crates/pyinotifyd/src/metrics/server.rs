//! The page over HTTP, at an address of this machine.
//!
//! A thread of its own speaks with whoever connects; the loop is only asked for a snapshot, one at a
//! time, and is left alone for nine times as long as that took. So it spends no more than a tenth of
//! its time on this, whatever others do. A connection is for one request, and each step of it has
//! its time.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use pyinotifyd_sys::usage::Usage;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Mutex, Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{
    Snapshot,
    http::{self, LONGEST, Refusal, Request, Target},
    page::{self, render},
};

/// So many connections at once; the others wait in the kernel's queue.
const CONNECTIONS: usize = 16;

/// How long a step may take: to send a request, to be answered by the loop, to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many times as long as the last snapshot took, the loop is left alone.
const REST: u32 = 9;

/// What a client still sends when it has been answered is read for so long, and so much of it:
/// otherwise the kernel would reset the connection, and the answer with it.
const LINGER: (Duration, u64) = (Duration::from_secs(1), 4 << 20);

/// What stands at `/`.
const INDEX: &str =
    "<!DOCTYPE html>\n<title>pyinotifyd</title>\n<a href=\"/metrics\">Metrics</a>\n";

/// Where the loop's answer to a scrape goes.
pub(crate) type Asked = oneshot::Sender<Snapshot>;

/// The listener. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    asked: mpsc::Receiver<Asked>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at an address, from which the port may be left to the kernel: 0.
    pub(crate) fn listen(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (ask, asked) = mpsc::channel(1);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        let thread = thread::Builder::new().name("metrics".into()).spawn(move || {
            let ended = ask.clone();
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, Scraper { ask, turn: Arc::default() }) => (),
                    () = ended.closed() => (),
                }
            });
        })?;
        Ok(Self { address, asked, thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who wants a snapshot next.
    pub(crate) async fn next(&mut self) -> Asked {
        match self.asked.recv().await {
            Some(asked) => asked,
            // The thread has ended, which was told.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.asked.close();
        // The thread waits for nothing but sockets. After it, the address is free.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Asks the loop.
#[derive(Clone)]
struct Scraper {
    ask: mpsc::Sender<Asked>,
    /// Held while the loop is asked, and while it is left alone afterwards.
    turn: Arc<Mutex<()>>,
}

impl Scraper {
    /// The page as it is now; `None`: the loop has ended.
    async fn page(&self) -> Option<String> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let (answer, answered) = oneshot::channel();
        self.ask.send(answer).await.ok()?;
        let snapshot = answered.await.ok()?;
        let rest = snapshot.took * REST;
        tokio::spawn(async move {
            sleep(rest).await;
            drop(turn);
        });
        Some(render(&snapshot, &Usage::read()))
    }
}

async fn accept(listener: TcpListener, scraper: Scraper) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return ::log::warn!("the metrics cannot be served: {error}"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let scraper = scraper.clone();
                tokio::spawn(async move {
                    // What goes wrong with a connection is nobody else's business.
                    let _ = serve(stream, &scraper, PATIENCE).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Mostly too many open files: there may be fewer in a moment.
                ::log::warn!("the metrics cannot accept a connection: {error}");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Serves a connection until it ends.
async fn serve(mut stream: TcpStream, scraper: &Scraper, patience: Duration) -> io::Result<()> {
    let request = match timeout(patience, read(&mut stream)).await {
        Ok(request) => request?,
        Err(_) => Refusal::TooSlow.into(),
    };
    let answer = match request.target {
        Ok(Target::Metrics) => match timeout(patience, scraper.page()).await {
            Ok(Some(page)) => http::found(page::CONTENT_TYPE, &page),
            Ok(None) | Err(_) => http::refused(Refusal::Busy),
        },
        Ok(Target::Index) => http::found("text/html; charset=utf-8", INDEX),
        Err(refusal) => http::refused(refusal),
    };
    timeout(patience, async {
        stream.write_all(answer.bytes(request.is_head)).await?;
        stream.shutdown().await
    })
    .await??;
    let (linger, most) = LINGER;
    let rest = async { tokio::io::copy(&mut stream.take(most), &mut tokio::io::sink()).await };
    // Nobody has to be told how it went on.
    let _ = timeout(linger, rest).await;
    Ok(())
}

/// Reads a request, without its body.
async fn read(stream: &mut TcpStream) -> io::Result<Request> {
    let mut head = [0; LONGEST];
    let mut len = 0;
    loop {
        // It is understood before there is no more room.
        match stream.read(&mut head[len..]).await? {
            0 => return Ok(Refusal::Malformed.into()),
            more => len += more,
        }
        if let Some(request) = http::understand(&head[..len]) {
            return Ok(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{Ipv4Addr, Shutdown, TcpStream},
    };

    use super::*;

    const ASK: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    const SHORT: Duration = Duration::from_millis(1);

    /// A server, until it is dropped, and a loop that answers as often as it is asked.
    fn server() -> (SocketAddr, impl Drop) {
        struct Ends(Option<oneshot::Sender<()>>, Option<thread::JoinHandle<()>>);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.take();
                self.1.take().unwrap().join().unwrap();
            }
        }
        let mut server = Server::listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let (address, (end, ended)) = (server.address(), oneshot::channel());
        let answer = async move {
            loop {
                let _ = server.next().await.send(Snapshot { overflows: 7, ..Snapshot::default() });
            }
        };
        let thread = thread::spawn(|| {
            block_on(async {
                tokio::select! { () = answer => (), _ = ended => () }
            });
        });
        (address, Ends(Some(end), Some(thread)))
    }

    fn block_on<T>(of: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_io().enable_time().build().unwrap().block_on(of)
    }

    fn connect(address: SocketAddr, request: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        stream
    }

    /// The answer to a request of which the kernel holds only a little: who sends it has to get rid
    /// of all the rest before it can hear anything.
    fn answer_to_large(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(&stream, 1 << 14).unwrap();
        stream.write_all(request).unwrap();
        answer(stream)
    }

    fn answer(mut stream: TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The answer to a request while each step may take so long.
    async fn served(request: &[u8], scraper: &Scraper, patience: Duration) -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = connect(listener.local_addr().unwrap(), request);
        let (stream, _) = listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(stream).unwrap();
        // Or it would be waited for what it still sends.
        client.shutdown(Shutdown::Write).unwrap();
        serve(stream, scraper, patience).await.unwrap();
        answer(client)
    }

    #[test]
    fn the_page_is_served_once_a_connection() {
        let (address, _ends) = server();
        let twice = answer(connect(address, &[ASK, ASK].concat()));
        assert!(twice.starts_with("HTTP/1.1 200 OK\r\n"), "{twice}");
        assert_eq!(twice.matches("pyinotifyd_overflows_total 7\n").count(), 1, "{twice}");
        let index = answer(connect(address, b"GET / HTTP/1.0\r\n\r\n"));
        assert!(index.ends_with(INDEX), "{index}");
        let head = answer(connect(address, b"HEAD / HTTP/1.0\r\n\r\n"));
        assert_eq!(head, index.strip_suffix(INDEX).unwrap());
    }

    #[test]
    fn whoever_sends_too_much_is_told_so() {
        let (address, _ends) = server();
        let field = [b"a: ".as_slice(), &vec![b'b'; 1 << 20], b"\r\n"].concat();
        let large = [b"GET / HTTP/1.1\r\n".as_slice(), &field].concat();
        let large = answer_to_large(address, &large);
        assert!(large.starts_with("HTTP/1.1 431 "), "{large}");
        let body = [b"POST /metrics HTTP/1.1\r\n\r\n".as_slice(), &vec![0; 1 << 20]].concat();
        let body = answer_to_large(address, &body);
        assert!(body.starts_with("HTTP/1.1 405 "), "{body}");
    }

    #[test]
    fn whoever_says_nothing_keeps_nobody_out_for_ever() {
        let (address, _ends) = server();
        let silent: Vec<_> = (0..CONNECTIONS).map(|_| connect(address, b"GET /met")).collect();
        let waiting = connect(address, ASK);
        drop(silent);
        assert!(answer(waiting).starts_with("HTTP/1.1 200 "));
    }

    #[test]
    fn a_port_is_free_again_once_its_server_is_dropped() {
        let server = Server::listen((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = server.address();
        assert_eq!(Server::listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(server);
        Server::listen(address).unwrap();
    }

    #[test]
    fn each_step_has_its_time() {
        block_on(async {
            let (ask, mut asked) = mpsc::channel(1);
            let scraper = Scraper { ask, turn: Arc::default() };
            let busy = served(ASK, &scraper, SHORT).await;
            assert!(busy.starts_with("HTTP/1.1 503 "), "{busy}");
            // It is still in the queue, and nobody wants it any more.
            assert!(asked.recv().await.unwrap().send(Snapshot::default()).is_err());
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut slow = connect(listener.local_addr().unwrap(), b"GET /metrics");
            let (stream, _) = listener.accept().await.unwrap();
            let (served, answer) = tokio::join!(
                serve(stream, &scraper, SHORT),
                tokio::task::spawn_blocking(move || {
                    let mut answer = String::new();
                    slow.read_to_string(&mut answer).map(|_| answer)
                })
            );
            served.unwrap();
            let answer = answer.unwrap().unwrap();
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        });
    }

    #[test]
    fn the_loop_is_left_alone_after_a_snapshot() {
        block_on(async {
            let (ask, mut asked) = mpsc::channel::<Asked>(1);
            let scraper = Scraper { ask, turn: Arc::default() };
            let took = Duration::from_secs(3600);
            tokio::spawn(async move {
                while let Some(answer) = asked.recv().await {
                    let _ = answer.send(Snapshot { took, ..Snapshot::default() });
                }
            });
            let first = served(ASK, &scraper, PATIENCE).await;
            assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
            // Long enough to be answered in, were it not left alone.
            let second = served(ASK, &scraper, Duration::from_millis(200)).await;
            assert!(second.starts_with("HTTP/1.1 503 "), "{second}");
        });
    }
}
