//! The page over HTTP, at an address of this machine.
//!
//! A thread of its own speaks with whoever connects; the loop is only asked for a snapshot, one at a
//! time, and is left alone for nine times as long as that took. So it spends no more than a tenth of
//! its time on this, whatever others do. A connection is for one request, and each step of it has
//! its time. Places are few, and who only waits for its client has to give its own to who comes: so
//! whoever connects and says nothing keeps nobody out.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use pyinotifyd_sys::usage::Usage;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::yield_now,
    time::{sleep, timeout},
};

use super::{
    Snapshot,
    http::{self, LONGEST, Refusal, Request, Target},
    page::{self, render},
};
use crate::errors::words;

/// So many connections at once.
const CONNECTIONS: usize = 16;

/// How long each step of a connection may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For the whole request to come.
    request: Duration,
    /// For the loop to answer.
    page: Duration,
    /// For the answer to be taken.
    answer: Duration,
    /// For what the client still sends when it has been answered: if it were not read, the kernel
    /// would reset the connection, and the answer with it.
    rest: Duration,
}

/// A client is on this machine, and sends what it has to say at once.
const PATIENCE: Patience = Patience {
    request: Duration::from_secs(2),
    page: Duration::from_secs(10),
    answer: Duration::from_secs(10),
    rest: Duration::from_secs(1),
};

/// So many times as long as the last snapshot took, the loop is left alone.
const REST: u32 = 9;

/// So much is read of what a client still sends when it has been answered.
const MOST_REST: u64 = 4 << 20;

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

/// The places that connections have.
#[derive(Debug)]
struct Places {
    free: Arc<Semaphore>,
    /// Whoever waits for its client hears here that somebody needs a place: who waits for longest
    /// hears it first.
    wanted: Notify,
}

impl Places {
    fn new(places: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(places)), wanted: Notify::new() }
    }

    /// A place for a new connection. If none is free, another has to leave: the first that waits
    /// for its client.
    async fn take(&self) -> OwnedSemaphorePermit {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return place;
        }
        self.wanted.notify_one();
        let place = Arc::clone(&self.free).acquire_owned().await;
        // If one was done by itself, nobody has to leave any more.
        pin!(self.wanted.notified()).enable();
        place.expect("nobody closes it")
    }

    /// Waits for a client: for so long, and until somebody else needs the place.
    async fn wait_for_client<T>(
        &self,
        patience: Duration,
        step: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        tokio::select! {
            biased;
            done = timeout(patience, step) => done.unwrap_or_else(|late| Err(late.into())),
            () = self.wanted.notified() => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

async fn accept(listener: TcpListener, scraper: Scraper) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return ::log::warn!("the metrics cannot be served: {}", words(&error)),
    };
    let places = Arc::new(Places::new(CONNECTIONS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let place = places.take().await;
                let (scraper, places) = (scraper.clone(), Arc::clone(&places));
                tokio::spawn(async move {
                    // What goes wrong with a connection is nobody else's business.
                    let _ = serve(stream, &scraper, &places, PATIENCE).await;
                    drop(place);
                });
                // What it has sent already is read before others come, for whom it had to leave.
                yield_now().await;
            }
            Err(error) => {
                // Mostly too many open files: there may be fewer in a moment.
                ::log::warn!("the metrics cannot accept a connection: {}", words(&error));
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Serves a connection until it ends.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    scraper: &Scraper,
    places: &Places,
    patience: Patience,
) -> io::Result<()> {
    let request = match places.wait_for_client(patience.request, read(&mut stream)).await {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Refusal::TooSlow.into(),
        request => request?,
    };
    let answer = match request.target {
        Ok(Target::Metrics) => match timeout(patience.page, scraper.page()).await {
            Ok(Some(page)) => http::found(page::CONTENT_TYPE, &page),
            Ok(None) | Err(_) => http::refused(Refusal::Busy),
        },
        Ok(Target::Index) => http::found("text/html; charset=utf-8", INDEX),
        Err(refusal) => http::refused(refusal),
    };
    let answered = async {
        stream.write_all(answer.bytes(request.is_head)).await?;
        stream.shutdown().await
    };
    places.wait_for_client(patience.answer, answered).await?;
    let mut rest = stream.take(MOST_REST);
    let mut nowhere = tokio::io::sink();
    // Nobody has to be told how it went on.
    let _ = places.wait_for_client(patience.rest, tokio::io::copy(&mut rest, &mut nowhere)).await;
    Ok(())
}

/// Reads a request, without its body.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Request> {
    let mut head = vec![0; LONGEST];
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
        net::{Ipv4Addr, TcpStream},
    };

    use tokio::io::duplex;

    use super::*;

    const ASK: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

    /// What is not there at once does not come in time.
    const NONE: Patience = Patience {
        request: Duration::ZERO,
        page: Duration::ZERO,
        answer: Duration::ZERO,
        rest: Duration::ZERO,
    };

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

    /// The answer to a request that has come, or has not.
    async fn served(request: &[u8], scraper: &Scraper, patience: Patience) -> String {
        let (mut client, stream) = duplex(1 << 20);
        client.write_all(request).await.unwrap();
        serve(stream, scraper, &Places::new(1), patience).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
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
        let body = [b"POST /metrics HTTP/1.0\r\n\r\n".as_slice(), &vec![0; 1 << 20]].concat();
        let body = answer_to_large(address, &body);
        assert!(body.starts_with("HTTP/1.1 405 "), "{body}");
    }

    #[test]
    fn whoever_says_nothing_keeps_nobody_out() {
        let (address, _ends) = server();
        let silent =
            || (0..4 * CONNECTIONS).map(|_| connect(address, b"GET /met")).collect::<Vec<_>>();
        let before = silent();
        let asks = connect(address, ASK);
        let after = silent();
        let answer = answer(asks);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        drop((before, after));
    }

    #[test]
    fn who_has_waited_longest_for_its_client_leaves_first() {
        block_on(async {
            let places = Places::new(2);
            let connection = async |name: &'static str| {
                let place = places.take().await;
                let waits = std::future::pending::<io::Result<()>>();
                let left = places.wait_for_client(Duration::MAX, waits).await.unwrap_err();
                assert_eq!(left.kind(), io::ErrorKind::ConnectionAborted);
                drop(place);
                name
            };
            let (mut first, mut second) = (pin!(connection("first")), pin!(connection("second")));
            let third = async {
                let place = places.take().await;
                // It waits for the loop, and may stay.
                std::future::pending::<()>().await;
                drop(place);
            };
            let left = tokio::select! {
                biased;
                left = &mut first => left,
                left = &mut second => left,
                () = third => unreachable!("it stays"),
            };
            assert_eq!(left, "first");
        });
    }

    #[test]
    fn who_is_done_by_itself_leaves_for_nobody() {
        block_on(async {
            let places = Places::new(1);
            let place = places.take().await;
            let (_new, ()) = tokio::join!(places.take(), async { drop(place) });
            let waits = std::future::pending::<io::Result<()>>();
            let stays = places.wait_for_client(Duration::ZERO, waits).await.unwrap_err();
            assert_eq!(stays.kind(), io::ErrorKind::TimedOut);
        });
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
            let slow = served(b"GET /metrics", &scraper, NONE).await;
            assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
            assert!(asked.try_recv().is_err());
            let busy = served(ASK, &scraper, NONE).await;
            assert!(busy.starts_with("HTTP/1.1 503 "), "{busy}");
            // It is still in the queue, and nobody wants it any more.
            assert!(asked.try_recv().unwrap().send(Snapshot::default()).is_err());
            let (mut client, stream) = duplex(ASK.len());
            client.write_all(ASK).await.unwrap();
            let answers = async { asked.recv().await.unwrap().send(Snapshot::default()).unwrap() };
            let places = Places::new(1);
            let patience = Patience { page: PATIENCE.page, ..NONE };
            let (left, ()) = tokio::join!(serve(stream, &scraper, &places, patience), answers);
            assert_eq!(left.unwrap_err().kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn the_loop_is_left_alone_after_a_snapshot() {
        block_on(async {
            let (ask, mut asked) = mpsc::channel::<Asked>(1);
            let scraper = Scraper { ask, turn: Arc::default() };
            let took = Duration::from_secs(3600);
            let patience = Patience { page: PATIENCE.page, ..NONE };
            let answers = async {
                asked.recv().await.unwrap().send(Snapshot { took, ..Snapshot::default() }).unwrap();
            };
            let (first, ()) = tokio::join!(served(ASK, &scraper, patience), answers);
            assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
            let second = served(ASK, &scraper, NONE).await;
            assert!(second.starts_with("HTTP/1.1 503 "), "{second}");
            assert!(asked.try_recv().is_err(), "the loop was asked");
        });
    }
}
