//! As much of HTTP/1.1 as a page needs: a request without a body, an answer with its length, and
//! the end of the connection.
//!
//! Only who asks for this machine by a name that is nobody else's is answered: otherwise any page
//! in a browser here could have its own name lead to this address, and read what it gets (DNS
//! rebinding).

use std::{
    fmt::Write,
    net::{IpAddr, Ipv6Addr},
};

/// The longest head of a request, in bytes.
pub(super) const LONGEST: usize = 8 * 1024;

/// The most fields that it may have.
const FIELDS: usize = 64;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// What of it is to be had.
    pub(super) target: Result<Target, Refusal>,
    /// Whether only the answer's head is wanted.
    pub(super) is_head: bool,
}

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `/metrics`.
    Metrics,
    /// `/`.
    Index,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is no request, or breaks off.
    Malformed,
    /// It is for another machine, by its `Host`.
    Misdirected,
    /// There is nothing else here.
    NotFound,
    /// Nothing here can be changed.
    NotAllowed,
    /// It did not come in time.
    TooSlow,
    /// Its head is longer than anybody's.
    TooLarge,
    /// The daemon stops, or has no time.
    Busy,
}

impl From<Refusal> for Request {
    fn from(refusal: Refusal) -> Self {
        Self { target: Err(refusal), is_head: false }
    }
}

/// Understands what has come of a request so far; `None`: there is more to come.
pub(super) fn understand(head: &[u8]) -> Option<Request> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => (),
        Ok(httparse::Status::Partial) if head.len() < LONGEST => return None,
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Some(Refusal::TooLarge.into());
        }
        Err(_) => return Some(Refusal::Malformed.into()),
    }
    if let Err(refusal) = is_for_us(&request) {
        return Some(refusal.into());
    }
    let path = request.path.unwrap_or_default().split('?').next();
    let target = match path {
        Some("/metrics") => Ok(Target::Metrics),
        Some("/") => Ok(Target::Index),
        Some(_) | None => Err(Refusal::NotFound),
    };
    Some(match request.method {
        Some("GET") => Request { target, is_head: false },
        Some("HEAD") => Request { target, is_head: true },
        Some(_) | None => target.err().unwrap_or(Refusal::NotAllowed).into(),
    })
}

/// Whether a request is for this machine. A browser always says for whom.
fn is_for_us(request: &httparse::Request<'_, '_>) -> Result<(), Refusal> {
    let mut hosts = request.headers.iter().filter(|it| it.name.eq_ignore_ascii_case("host"));
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version == Some(0) => Ok(()),
        (Some(host), None) if is_loopback(host.value) => Ok(()),
        (Some(_), None) => Err(Refusal::Misdirected),
        (None, _) | (Some(_), Some(_)) => Err(Refusal::Malformed),
    }
}

/// Whether this is a name or an address of the machine itself, at whatever port: that may be the
/// one of a tunnel.
fn is_loopback(host: &[u8]) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    let is_port = |it: &str| it.bytes().all(|it| it.is_ascii_digit());
    let name = match host.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) | None => host,
    };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bracketed = name.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let address = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().map(IpAddr::from),
        None => name.parse().map(IpAddr::V4),
    };
    address.is_ok_and(|it| it.is_loopback())
}

/// An answer: what is in it, in the words of HTTP, and the text.
pub(super) fn found(content_type: &str, text: &str) -> Answer {
    answer("200 OK", content_type, text)
}

/// The answer to what is refused.
pub(super) fn refused(refusal: Refusal) -> Answer {
    let (status, text) = match refusal {
        Refusal::Malformed => ("400 Bad Request", "this is no request of HTTP/1\n"),
        Refusal::Misdirected => (
            "421 Misdirected Request",
            "ask for localhost, 127.0.0.1 or [::1]: other names may be anybody's\n",
        ),
        Refusal::NotFound => ("404 Not Found", "the metrics are at /metrics\n"),
        Refusal::NotAllowed => {
            ("405 Method Not Allowed\r\nAllow: GET, HEAD", "only GET and HEAD are allowed\n")
        }
        Refusal::TooSlow => ("408 Request Timeout", "the request did not come in time\n"),
        Refusal::TooLarge => ("431 Request Header Fields Too Large", "the request is too large\n"),
        Refusal::Busy => ("503 Service Unavailable", "the daemon stops, or has no time\n"),
    };
    answer(status, "text/plain; charset=utf-8", text)
}

/// An answer, with the length of its head.
pub(super) struct Answer {
    text: String,
    head: usize,
}

impl Answer {
    /// What is sent of it.
    pub(super) fn bytes(&self, is_head: bool) -> &[u8] {
        let bytes = self.text.as_bytes();
        if is_head { &bytes[..self.head] } else { bytes }
    }
}

fn answer(status: &str, content_type: &str, body: &str) -> Answer {
    let mut text = String::with_capacity(body.len() + 256);
    write!(
        text,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    )
    .expect("text takes all");
    let head = text.len();
    text.push_str(body);
    Answer { text, head }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(head: &str) -> Result<Target, Refusal> {
        understand(head.as_bytes()).unwrap().target
    }

    #[test]
    fn there_are_two_pages() {
        assert_eq!(target("GET /metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n"), Ok(Target::Metrics));
        assert_eq!(target("GET /metrics?x=/ HTTP/1.0\n\n"), Ok(Target::Metrics));
        assert_eq!(target("GET / HTTP/1.0\r\n\r\nGET /x HTTP/1.0\r\n\r\n"), Ok(Target::Index));
        for path in ["/metrics/", "/x", "//metrics", "/%6detrics", "http://x/metrics", "*"] {
            assert_eq!(target(&format!("GET {path} HTTP/1.0\r\n\r\n")), Err(Refusal::NotFound));
        }
        let head = understand(b"HEAD /metrics HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(head, Request { target: Ok(Target::Metrics), is_head: true });
    }

    #[test]
    fn what_is_no_question_is_refused() {
        assert_eq!(target("POST /metrics HTTP/1.0\r\n\r\n"), Err(Refusal::NotAllowed));
        assert_eq!(target("get / HTTP/1.0\r\n\r\n"), Err(Refusal::NotAllowed));
        assert_eq!(target("POST /x HTTP/1.0\r\n\r\n"), Err(Refusal::NotFound));
        for text in ["\0", "GET /\r\n", "GET / HTTP/2\r\n\r\n", "\x16\x03\x01\x02\x00\x01"] {
            assert_eq!(target(text), Err(Refusal::Malformed), "{text:?}");
        }
        let many = "a: b\r\n".repeat(FIELDS + 1);
        assert_eq!(target(&format!("GET / HTTP/1.1\r\n{many}\r\n")), Err(Refusal::TooLarge));
        let long = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(LONGEST));
        assert_eq!(target(&long[..LONGEST]), Err(Refusal::TooLarge));
        assert_eq!(understand(&long.as_bytes()[..LONGEST - 1]), None);
    }

    #[test]
    fn only_who_asks_for_this_machine_is_answered() {
        let host = |host: &str| target(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let ours = [
            "localhost",
            "LocalHost:80",
            "127.0.0.1",
            "127.0.0.1:9469",
            "127.3.2.1:1",
            "[::1]",
            "[::1]:9469",
            "[0:0:0:0:0:0:0:1]",
            "localhost:",
        ];
        for name in ours {
            assert_eq!(host(name), Ok(Target::Index), "{name}");
        }
        let others = [
            "",
            "x",
            "evil.example",
            "evil.example:9469",
            "localhost.evil.example",
            "xlocalhost",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0:9469",
            "[::2]",
            "::1",
            "[127.0.0.1]",
            "localhost@evil.example",
            "evil.example:localhost",
            "localhost:9469:1",
            "\u{e9}",
        ];
        for name in others {
            assert_eq!(host(name), Err(Refusal::Misdirected), "{name}");
        }
        assert_eq!(target("GET / HTTP/1.1\r\n\r\n"), Err(Refusal::Malformed));
        assert_eq!(host("localhost\r\nhost: localhost"), Err(Refusal::Malformed));
        assert_eq!(target("GET / HTTP/1.0\r\nHost: x\r\n\r\n"), Err(Refusal::Misdirected));
    }

    #[test]
    fn to_head_the_same_is_answered_without_the_text() {
        let answer = found("text/x", "text");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nContent-Length: 4\r\n\
                    Connection: close\r\n\r\n";
        assert_eq!(answer.bytes(true), head.as_bytes());
        assert_eq!(answer.bytes(false), format!("{head}text").as_bytes());
        let refused = refused(Refusal::NotAllowed);
        let text = str::from_utf8(refused.bytes(true)).unwrap();
        assert!(text.starts_with("HTTP/1.1 405 Method Not Allowed\r\nAllow: GET, HEAD\r\n"));
    }

    proptest! {
        /// What has been said to be whole or wrong stays so, and before the limit all is decided.
        #[test]
        fn any_bytes_are_understood(mut bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let first = (0..=bytes.len()).find_map(|end| understand(&bytes[..end]));
            prop_assert_eq!(understand(&bytes), first);
            bytes.resize(LONGEST, b'x');
            prop_assert!(understand(&bytes).is_some());
        }
    }

    #[test]
    fn each_refusal_says_what_is_wrong() {
        let refusals = [
            Refusal::Malformed,
            Refusal::Misdirected,
            Refusal::NotFound,
            Refusal::NotAllowed,
            Refusal::TooSlow,
            Refusal::TooLarge,
            Refusal::Busy,
        ];
        // A new one belongs above.
        for it in refusals {
            match it {
                Refusal::Malformed
                | Refusal::Misdirected
                | Refusal::NotFound
                | Refusal::NotAllowed
                | Refusal::TooSlow
                | Refusal::TooLarge
                | Refusal::Busy => (),
            }
        }
        let told = refusals.map(|it| {
            let answer = refused(it);
            String::from_utf8_lossy(answer.bytes(false)).replace("\r\n", "\n")
        });
        insta::assert_snapshot!("refusals", told.join("\n"));
    }
}
