//! What a service manager hears that wants to know whether the loop goes round.

use std::{
    fs,
    io::{self, Read},
    os::unix::net::UnixDatagram,
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{starts, support::World};

/// So often it has to be heard, in microseconds.
const USEC: &str = "100000";

/// Long after that it would have been heard.
const SILENCE: Duration = Duration::from_secs(2);

/// A program that a manager watches over. Killed when it is dropped.
struct Watched {
    child: Child,
    manager: UnixDatagram,
}

impl Watched {
    /// `pyinotifyd events`, whose output nobody reads yet: its loop writes it.
    fn start(world: &World, usec: Option<&str>) -> Self {
        let socket = world.path("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pyinotifyd"));
        command.arg("events").arg(world.path("w")).stdout(Stdio::piped()).stderr(Stdio::null());
        command.env("NOTIFY_SOCKET", &socket).env_remove("WATCHDOG_PID");
        match usec {
            Some(usec) => command.env("WATCHDOG_USEC", usec),
            None => command.env_remove("WATCHDOG_USEC"),
        };
        let start = starts::one();
        let watched = Self { child: command.spawn().unwrap(), manager };
        while !watched.hear(Duration::from_secs(60)).unwrap().starts_with("READY=1") {}
        drop(start);
        watched
    }

    /// What it says next; `None`: nothing in this time.
    fn hear(&self, within: Duration) -> Option<String> {
        self.manager.set_read_timeout(Some(within)).unwrap();
        let mut buf = [0; 4096];
        match self.manager.recv(&mut buf) {
            Ok(len) => Some(String::from_utf8(buf[..len].to_vec()).unwrap()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn hear_alive(&self) {
        while self.hear(Duration::from_secs(60)).expect("it is alive") != "WATCHDOG=1" {}
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_loop_that_goes_round_is_heard_and_one_that_hangs_is_not() {
    let world = World::new();
    let mut watched = Watched::start(&world, Some(USEC));
    for _ in 0..3 {
        watched.hear_alive();
    }
    // More than a pipe takes: the loop hangs in the midst of it.
    for number in 0..3_000 {
        fs::write(world.path("w").join(format!("file-{number}")), "").unwrap();
    }
    let heard = (0..1_000).take_while(|_| watched.hear(SILENCE).is_some()).count();
    assert!(heard < 1_000, "a loop that hangs is heard all the same");
    // Somebody reads: it goes on.
    let mut stdout = watched.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || io::copy(&mut stdout.by_ref(), &mut io::sink()));
    watched.hear_alive();
    watched.hear_alive();
    drop(watched);
    reader.join().unwrap().unwrap();
}
