//! Records for a syslog daemon, and the way to it.
//!
//! The form is that of RFC 3164 as syslog(3) writes it, with the logname in the tag as postfix
//! does it (`pyinotifyd/sched[123]:`), so that a syslog daemon sees the program `pyinotifyd`. By
//! UDP it is the same, without a hostname, as glibc and the original send it: a daemon takes the
//! sender's address for it.
//!
//! No send ever waits: what the other side does not take at once is lost, and counted. To look a
//! name up may take seconds, though, so it is the writing thread's alone, and is not tried again
//! for [`REST`] after it failed.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use pyinotifyd_sys::socket::connect_stream;

use super::{
    Facility, Record, SyslogAddress,
    journald::{cut, priority},
    push, stamp,
};

/// How long a host that was not found is not looked for.
const REST: Duration = Duration::from_secs(30);

/// The longest message by UDP in bytes: with what is before it, a datagram that every syslog daemon
/// takes, and that IPv4 and IPv6 carry.
const LONGEST_BY_UDP: usize = 8 << 10;

/// Appends a record's line, without an end: a datagram has none.
pub(crate) fn write(line: &mut Vec<u8>, record: &Record<'_>, facility: Facility, pid: u32) {
    let _ = write!(line, "<{}>", facility.0 << 3 | priority(record.level));
    stamp::rfc3164(line, record.at);
    line.extend_from_slice(b" pyinotifyd/");
    push(line, &record.logname);
    let _ = write!(line, "[{pid}]: ");
    let start = line.len();
    push(line, record.message);
    cut(line, start);
}

/// The way to a syslog daemon.
#[derive(Debug)]
pub(crate) struct Way {
    address: SyslogAddress,
    socket: Socket,
    /// Until then a host that was not found is not looked for.
    rests: Option<Instant>,
}

#[derive(Debug)]
enum Socket {
    /// Not reached yet, or lost.
    None,
    Datagram(UnixDatagram),
    /// As some daemons ask; each record ends with NUL, as glibc has it.
    Stream(UnixStream),
    Udp(UdpSocket),
}

impl Way {
    /// The way to the daemon at this address, which need not be there yet.
    pub(crate) fn new(address: SyslogAddress) -> Self {
        Self { address, socket: Socket::None, rests: None }
    }

    /// Where it leads.
    pub(crate) fn address(&self) -> &SyslogAddress {
        &self.address
    }

    /// Sends a record. By UDP nobody says whether it arrived.
    ///
    /// # Errors
    ///
    /// The daemon is not there (any more), even after another try to reach it, or takes nothing
    /// now ([`io::ErrorKind::WouldBlock`]).
    pub(crate) fn send(&mut self, line: &[u8]) -> io::Result<()> {
        if !matches!(self.socket, Socket::None) {
            match self.try_send(line) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => (),
                answer => return answer,
            }
        }
        // A syslog daemon that was started anew has another socket under the same name.
        self.socket = self.connect()?;
        self.try_send(line)
    }

    fn try_send(&mut self, line: &[u8]) -> io::Result<()> {
        let answer = match &mut self.socket {
            Socket::None => return Err(io::ErrorKind::NotConnected.into()),
            Socket::Datagram(socket) => return socket.send(line).map(drop),
            Socket::Udp(socket) => {
                let longest = line.len().min(LONGEST_BY_UDP);
                let end = (0..=longest).rev().find(|at| is_boundary(line, *at)).unwrap_or(longest);
                return socket.send(&line[..end]).map(drop);
            }
            Socket::Stream(stream) => stream.write(&[line, b"\0"].concat()),
        };
        match answer {
            Ok(len) if len == line.len() + 1 => Ok(()),
            Ok(_) => {
                // The rest of a record that was cut off would be taken for the next one.
                self.socket = Socket::None;
                Err(io::ErrorKind::WouldBlock.into())
            }
            Err(error) => Err(error),
        }
    }

    fn connect(&mut self) -> io::Result<Socket> {
        match &self.address {
            SyslogAddress::Unix(path) => connect_unix(path),
            SyslogAddress::Udp(address) => {
                if self.rests.is_some_and(|until| Instant::now() < until) {
                    return Err(io::ErrorKind::HostUnreachable.into());
                }
                let socket = connect_udp(address);
                self.rests = socket.is_err().then(|| Instant::now() + REST);
                socket
            }
        }
    }
}

fn connect_unix(path: &Path) -> io::Result<Socket> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    if socket.connect(path).is_ok() {
        return Ok(Socket::Datagram(socket));
    }
    // EPROTOTYPE: a stream listens there.
    Ok(Socket::Stream(connect_stream(path)?))
}

/// Looks the host up, and takes the first of its addresses that there is a route to. (To connect a
/// UDP socket sends nothing.)
fn connect_udp(address: &str) -> io::Result<Socket> {
    let mut error = io::ErrorKind::HostUnreachable.into();
    for remote in address.to_socket_addrs()? {
        let local: SocketAddr = match remote {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        match socket.connect(remote) {
            Ok(()) => return Ok(Socket::Udp(socket)),
            Err(unreachable) => error = unreachable,
        }
    }
    Err(error)
}

/// Whether a character of a line begins here, or the line ends.
fn is_boundary(line: &[u8], at: usize) -> bool {
    line.get(at).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000)
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read, os::unix::net::UnixListener};

    use pyinotifyd_core::plan::Level;

    use super::*;

    #[test]
    fn the_priority_is_the_facility_and_the_severity() {
        let began = |facility, level| {
            let mut line = Vec::new();
            let (task, path, name, message) = (None, None, None, &"x");
            let at = Duration::ZERO;
            let record = Record { at, level, logname: "daemon", task, path, name, message };
            write(&mut line, &record, Facility(facility), 1);
            String::from_utf8(line).unwrap().split_once('>').unwrap().0.to_owned()
        };
        assert_eq!(began(0, Level::Critical), "<2");
        assert_eq!(began(3, Level::Info), "<30");
        assert_eq!(began(10, Level::Error), "<83");
        assert_eq!(began(23, Level::Debug), "<191");
    }

    #[test]
    fn by_udp_a_record_is_a_datagram_of_a_length_that_arrives() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let daemon = match UdpSocket::bind(local) {
                Ok(daemon) => daemon,
                Err(error) => {
                    eprintln!("skipped: {local}, because it cannot be bound here: {error}");
                    continue;
                }
            };
            let address = daemon.local_addr().unwrap().to_string();
            let mut way = Way::new(SyslogAddress::Udp(address.into()));
            way.send(b"<30>short").unwrap();
            way.send(format!("<30>{}", "\u{fc}".repeat(30_000)).as_bytes()).unwrap();
            let mut buf = vec![0; 1 << 16];
            let len = daemon.recv(&mut buf).unwrap();
            assert_eq!(&buf[..len], b"<30>short");
            let len = daemon.recv(&mut buf).unwrap();
            assert_eq!(len, LONGEST_BY_UDP);
            assert!(str::from_utf8(&buf[..len]).unwrap().ends_with('\u{fc}'));
        }
    }

    #[test]
    fn nobody_there_to_take_a_datagram_ends_nothing() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = gone.local_addr().unwrap().to_string();
        drop(gone);
        let mut way = Way::new(SyslogAddress::Udp(address.into()));
        for _ in 0..10 {
            // That the port is closed comes back as an error of the next send, which tries again.
            way.send(b"lost").unwrap();
        }
    }

    #[test]
    fn a_host_that_was_not_found_rests() {
        // Without a port nothing is looked up, and nothing is found.
        let mut way = Way::new(SyslogAddress::Udp("nowhere".into()));
        way.send(b"lost").unwrap_err();
        assert!(way.rests.is_some());
        assert_eq!(way.send(b"lost").unwrap_err().kind(), io::ErrorKind::HostUnreachable);
    }

    #[test]
    fn a_daemon_that_comes_later_and_comes_back_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        let address = dir.path().join("log");
        let mut syslog = Way::new(SyslogAddress::Unix(address.clone()));
        assert_eq!(syslog.send(b"lost").unwrap_err().kind(), io::ErrorKind::NotFound);
        for _ in 0..2 {
            let daemon = UnixDatagram::bind(&address).unwrap();
            syslog.send(b"told").unwrap();
            let mut buf = [0; 16];
            assert_eq!(daemon.recv(&mut buf).unwrap(), 4);
            drop(daemon);
            fs::remove_file(&address).unwrap();
        }
    }

    #[test]
    fn a_daemon_that_does_not_read_holds_up_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let address = dir.path().join("log");
        let _daemon = UnixDatagram::bind(&address).unwrap();
        let mut syslog = Way::new(SyslogAddress::Unix(address));
        let error = (0..100_000).find_map(|_| syslog.send(b"full").err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_stream_is_spoken_too() {
        let dir = tempfile::tempdir().unwrap();
        let address = dir.path().join("log");
        let daemon = UnixListener::bind(&address).unwrap();
        let mut syslog = Way::new(SyslogAddress::Unix(address));
        syslog.send(b"one").unwrap();
        syslog.send(b"two").unwrap();
        drop(syslog);
        let mut text = String::new();
        daemon.accept().unwrap().0.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\0two\0");
    }
}
