//! `pyinotifyd top` in a terminal of its own, before a daemon of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::OFlags,
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};
use tempfile::TempDir;

/// How long anything may take. Nothing that works comes near it.
const DEADLINE: Duration = Duration::from_secs(60);

/// What begins and ends the screen of its own that a program has.
const OWN_SCREEN: (&str, &str) = ("\u{1b}[?1049h", "\u{1b}[?1049l");

const CONFIG: &str = "\
[scheduler.scan]\nexec = [\"/bin/true\", \"{pathname}\"]\n
[[watch]]\npath = \"@\"\nevent_map = { IN_CREATE = \"scan\" }\n";

fn pyinotifyd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pyinotifyd"))
}

/// A daemon that is ready. It ends with this.
struct Daemon(Child);

impl Daemon {
    fn start(dir: &Path) -> Self {
        let config = CONFIG.replace('@', dir.to_str().expect("the folder's name is text"));
        std::fs::write(dir.join("config.toml"), config).unwrap();
        let mut child = pyinotifyd()
            .args(["run", "-c", "config.toml", "--socket", "socket"])
            .env_remove("JOURNAL_STREAM")
            .current_dir(dir)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(log.any(|it| it.unwrap().contains(" - ready, ")), "it is never ready");
        // Its log is read on, so that it never has to drop a line.
        thread::spawn(move || log.count());
        Self(child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A terminal with `top` in it.
struct Top {
    child: Child,
    keys: File,
    terminal: OwnedFd,
    screen: Receiver<Vec<u8>>,
    seen: String,
    /// How the terminal was before.
    before: Termios,
}

impl Top {
    fn start(dir: &Path, no_color: &str) -> Self {
        Self::start_on("xterm-256color", dir, no_color)
    }

    /// The same on a terminal of another kind.
    fn start_on(kind: &str, dir: &Path, no_color: &str) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap();
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&ours, size).unwrap();
        let before = tcgetattr(&terminal).unwrap();
        let child = pyinotifyd()
            .args(["top", "--socket", "socket", "--interval", "0.1"])
            .env("TERM", kind)
            .env("NO_COLOR", no_color)
            .current_dir(dir)
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal.try_clone().unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let keys = File::from(ours);
        let mut output = keys.try_clone().unwrap();
        let (sender, screen) = channel();
        thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count) = output.read(&mut part) {
                if sender.send(part[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { child, keys, terminal, screen, seen: String::new(), before }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is drawn, behind what was waited for last.
    fn wait(&mut self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = end.saturating_duration_since(Instant::now());
            let part = self.screen.recv_timeout(left);
            let part = part.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&part));
        }
    }

    /// Waits for its end, and sees whether the terminal is as it was.
    fn wait_end(mut self) -> (ExitStatus, String) {
        self.wait(OWN_SCREEN.1);
        let status = self.child.wait().unwrap();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let (after, before) = (tcgetattr(&self.terminal).unwrap(), &self.before);
        assert_eq!(after.local_modes, before.local_modes);
        assert_eq!(after.input_modes, before.input_modes);
        assert_eq!(after.output_modes, before.output_modes);
        (status, said)
    }
}

fn world() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_key_or_a_signal_ends_it_and_the_terminal_is_as_it_was() {
    let world = world();
    let _daemon = Daemon::start(world.path());
    let ends: [&dyn Fn(&mut Top); 4] = [
        &|top| top.press("q"),
        &|top| top.press("?\u{3}"),
        &|top| kill_process(Pid::from_child(&top.child), Signal::TERM).unwrap(),
        &|top| kill_process(Pid::from_child(&top.child), Signal::HUP).unwrap(),
    ];
    for end in ends {
        let mut top = Top::start(world.path(), "");
        top.wait(OWN_SCREEN.0);
        let drawn = top.wait("running");
        assert!(drawn.contains("pyinotifyd"), "{drawn:?}");
        assert!(drawn.contains("\u{1b}[38;5;"), "no colours in {drawn:?}");
        let raw = tcgetattr(&top.terminal).unwrap();
        assert_ne!(raw.local_modes, top.before.local_modes);
        end(&mut top);
        let (status, said) = top.wait_end();
        assert_eq!((status.code(), said.as_str()), (Some(0), ""));
    }
}

#[test]
fn who_wants_no_colours_gets_none() {
    let world = world();
    let _daemon = Daemon::start(world.path());
    let mut top = Top::start(world.path(), "1");
    let mut drawn = top.wait("scan");
    top.press("q");
    drawn += &top.wait(OWN_SCREEN.1);
    assert!(!drawn.contains("\u{1b}[38;"), "{drawn:?}");
}

#[test]
fn a_daemon_that_went_away_is_found_again() {
    let world = world();
    let daemon = Daemon::start(world.path());
    let mut top = Top::start(world.path(), "");
    top.wait("running");
    drop(daemon);
    top.wait("does not answer");
    top.press("?");
    top.wait("quit");
    top.press("q");
    let _daemon = Daemon::start(world.path());
    top.wait("running");
    top.press("q");
    assert_eq!(top.wait_end().0.code(), Some(0));
}

#[test]
fn without_a_terminal_or_a_daemon_it_says_so() {
    let output = pyinotifyd().args(["top"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(1), Vec::new()));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: top needs a terminal"), "{said}");
    assert!(said.contains("\nhint: `pyinotifyd status`"), "{said}");
    let world = world();
    for (kind, exit, error) in [
        ("xterm-256color", 69, "error: cannot ask the daemon at socket"),
        ("dumb", 1, "error: top cannot draw on this terminal"),
    ] {
        let mut top = Top::start_on(kind, world.path(), "");
        let status = top.child.wait().unwrap();
        let mut said = String::new();
        top.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(status.code(), Some(exit), "{said}");
        assert!(said.starts_with(error), "{said}");
        assert!(top.screen.try_recv().is_err(), "it has drawn");
    }
}
