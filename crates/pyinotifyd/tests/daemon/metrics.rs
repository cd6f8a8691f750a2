//! The metrics: what is on the page of a daemon that works, and who cannot keep it from that.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    time::Instant,
};

use rustix::process::Signal;

use crate::{
    exposition::{Family, count, only, parse},
    starts,
    support::{DEADLINE, Daemon, World},
};

const LISTEN: &str = r#"metrics_listen = "127.0.0.1:0""#;

const TREE: &str = r#"
[scheduler.quiet]
log = "SEEN|{maskname}|{pathname}|"
[scheduler.other]
exec = ["false"]
[[watch]]
path = "@/w"
event_map = { IN_CLOSE_WRITE = "quiet", IN_DELETE = "other" }
"#;

fn listening(daemon: &mut Daemon<'_>) -> SocketAddr {
    let at = |line: &str| Some(line.split_once("the metrics are at http://")?.1.to_owned());
    // It is said before the daemon is ready.
    let line = match daemon.log.iter().rev().find_map(|it| at(it)) {
        Some(line) => line,
        None => at(&daemon.wait("the metrics are at ")).unwrap(),
    };
    line.strip_suffix("/metrics").unwrap().parse().unwrap()
}

fn send(address: SocketAddr, request: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn scrape(address: SocketAddr) -> Vec<Family> {
    let answer = answer(send(address, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let (head, page) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", page.len())), "{head}");
    parse(page)
}

/// Scrapes until there are so many: of the end of a task, the log may tell first.
fn scrape_until(address: SocketAddr, name: &str, labels: &[(&str, &str)], are: u64) -> Vec<Family> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let page = scrape(address);
        let count = count(&page, name, labels);
        if count == are {
            return page;
        }
        assert!(Instant::now() < deadline, "{name} {labels:?} is {count}, not {are}");
    }
}

#[test]
fn what_happens_is_on_the_page() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, &format!("{LISTEN}\n{TREE}"));
    let address = listening(&mut daemon);
    let watch = world.path("w").display().to_string();
    let before = scrape(address);
    let events = |page: &[Family], event: &str| {
        count(page, "pyinotifyd_events_total", &[("watch", &watch), ("event", event)])
    };
    assert_eq!([events(&before, "IN_CLOSE_WRITE"), events(&before, "IN_DELETE")], [0, 0]);
    for name in ["w/a", "w/b", "w/c"] {
        world.write(name);
    }
    fs::remove_file(world.path("w/a")).unwrap();
    daemon.sync();
    let ended = "pyinotifyd_tasks_ended_total";
    scrape_until(address, ended, &[("scheduler", "quiet"), ("outcome", "done")], 3);
    let failed = [("scheduler", "other"), ("outcome", "failed")];
    let page = scrape_until(address, ended, &failed, 1);
    assert_eq!([events(&page, "IN_CLOSE_WRITE"), events(&page, "IN_DELETE")], [3, 1]);
    let one = |name: &str, labels: &[(&str, &str)]| count(&page, name, labels);
    assert_eq!(one("pyinotifyd_ready", &[]), 1);
    assert_eq!(one("pyinotifyd_watch_directories", &[("watch", &watch)]), 1);
    assert_eq!(one("pyinotifyd_run_duration_seconds_count", &[("scheduler", "quiet")]), 3);
    assert_eq!(one("pyinotifyd_tasks_scheduled_total", &[("scheduler", "other")]), 1);
    assert!(one("process_resident_memory_bytes", &[]) > 1_000_000);
    assert!(one("process_open_fds", &[]) > 3);
    assert!(only(&page, "process_start_time_seconds", &[]).value > 1.7e9);
    daemon.stop();
}

#[test]
fn the_control_socket_has_the_same_page() {
    let world = World::new();
    let name = "w \\\"x\\\"\\n";
    fs::create_dir(world.path("w \"x\"\n")).unwrap();
    let config = format!(
        "control_socket = \"@/control\"\n[scheduler.quiet]\nlog = \"x\"\n[[watch]]\n\
         path = \"@/{name}\"\nevent_map = {{ IN_CREATE = \"quiet\" }}\n"
    );
    let daemon = Daemon::start(&world, &config);
    let start = starts::one();
    let mut asking = Command::new(env!("CARGO_BIN_EXE_pyinotifyd"));
    let asked = asking.arg("metrics").arg("--socket").arg(world.path("control")).output().unwrap();
    drop(start);
    let page = parse(str::from_utf8(&asked.stdout).unwrap());
    let watch =
        format!("{}/w \"x\"\\n", world.path("").display().to_string().trim_end_matches('/'));
    assert_eq!(count(&page, "pyinotifyd_watch_directories", &[("watch", &watch)]), 1);
    assert!(daemon.log.iter().all(|it| !it.contains("the metrics")), "{daemon}");
}

#[test]
fn nobody_holds_up_the_daemon_over_http() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, &format!("{LISTEN}\n{TREE}"));
    let address = listening(&mut daemon);
    let silent: Vec<_> = (0..50).map(|_| send(address, b"GET /metrics HTTP/1.1\r\nA")).collect();
    world.write("w/a");
    daemon.sync();
    for (request, status) in [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), "400"),
        (b"GET /metrics HTTP/1.1\r\n\r\n", "400"),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421"),
        (b"GET /etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", "404"),
        (b"GET /../metrics HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n", "404"),
        (b"DELETE /metrics HTTP/1.1\r\nHost: [::1]\r\n\r\n", "405"),
    ] {
        let answer = answer(send(address, request));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    let large = [b"GET /metrics HTTP/1.1\r\nA: ".as_slice(), &vec![b'b'; 1 << 20]].concat();
    let large = answer(send(address, &large));
    assert!(large.starts_with("HTTP/1.1 431 "), "{large}");
    let watch = world.path("w").display().to_string();
    let labels = [("watch", watch.as_str()), ("event", "IN_CLOSE_WRITE")];
    assert_eq!(count(&scrape(address), "pyinotifyd_events_total", &labels), 1);
    drop(silent);
    daemon.stop();
}

#[test]
fn a_port_that_is_taken_is_a_warning() {
    let world = World::new();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let mut daemon = Daemon::start(&world, &format!("metrics_listen = \"{address}\"\n{TREE}"));
    let warning = format!("WARNING - the metrics cannot be served at {address}: ");
    assert!(daemon.log.iter().any(|it| it.contains(&warning)), "{daemon}");
    daemon.sync();
    daemon.stop();
}

#[test]
fn a_reload_begins_and_ends_it() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, TREE);
    world.configure(&format!("{LISTEN}\n{TREE}"));
    daemon.signal(Signal::HUP);
    let address = listening(&mut daemon);
    daemon.wait(" - reloaded, ");
    let reloads = |is| scrape_until(address, "pyinotifyd_reloads_total", &[("outcome", "bad")], is);
    assert_eq!(count(&reloads(0), "pyinotifyd_reloads_total", &[("outcome", "good")]), 1);
    world.configure("metrics_listen = \"0.0.0.0:0\"\n[scheduler.quiet]\nlog = \"x\"");
    daemon.signal(Signal::HUP);
    daemon.wait("can be reached from other machines");
    assert_eq!(count(&reloads(1), "pyinotifyd_last_reload_good", &[]), 0);
    world.configure(TREE);
    daemon.signal(Signal::HUP);
    daemon.wait(" - reloaded, ");
    assert!(TcpStream::connect(address).is_err());
    daemon.stop();
}
