//! The pictures in `docs/images`: `pyinotifyd top` in a terminal of tmux, before a daemon that has
//! something to do.
//!
//! A picture is what the program has drawn, letter by letter: what tmux captures is turned into SVG
//! by [`svg`]. Only the folder that it happens in has another name there.

mod svg;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{Outcome, cargo, output, root, run as run_command, target};

/// The terminal's columns and lines.
const SIZE: (usize, usize) = (112, 31);

/// How the folder is called in the pictures. The real name has as many letters.
const SHOWN: &str = "/srv/documents";

/// What the daemon does: it scans whatever comes, converts what is in `doc`, which fails, indexes in
/// Python, and sweeps up when nothing has come for long.
const CONFIG: &str = r#"
import time

async def index(event, task_id):
    if "thesis" in event.name:
        time.sleep(3600)

scan = ShellScheduler(cmd="sleep 25 # {pathname}", delay=0.2, slots=6, logname="scan")
convert = ShellScheduler(cmd="echo 'page 7 is damaged' >&2; exit 3", delay=0, logname="convert")
index = TaskScheduler(job=index, delay=0, logname="index")
sweep = ShellScheduler(cmd="rm -f {pathname}", delay=120, logname="sweep")

pyinotifyd = Pyinotifyd([
    Watch("@/in", EventMap({"IN_CREATE": sweep, "IN_MODIFY": sweep})),
    Watch("@/scans", EventMap({"IN_CLOSE_WRITE": scan})),
    Watch("@/doc", EventMap({"IN_CLOSE_WRITE": convert})),
    Watch("@/text", EventMap({"IN_CLOSE_WRITE": index})),
], shutdown_timeout=1)
"#;

/// Takes all pictures.
pub(crate) fn run() -> Outcome {
    if !Command::new("tmux").arg("-V").output().is_ok_and(|it| it.status.success()) {
        return Err("the pictures need tmux: install it, as by `apt install tmux`".into());
    }
    run_command(&mut cargo(&["build", "--quiet", "--package", "pyinotifyd"]))?;
    let stage = Stage::new()?;
    stage.work()?;
    stage.take("top", "a burst of events, and a scheduler whose tasks fail")?;
    stage.write("text/thesis.txt")?;
    stage.wait("Python has not answered for a while", |status| {
        status["python"]["silent"].as_f64().is_some_and(|it| it > 15.0)
    })?;
    // Until the next look has been drawn.
    thread::sleep(Duration::from_millis(1_500));
    stage.take("top-stuck", "a task in Python that blocks, which stops nothing else")
}

/// A daemon and a terminal. Both end with it.
struct Stage {
    program: PathBuf,
    folder: TempDir,
    daemon: Child,
}

impl Stage {
    fn new() -> Result<Self, String> {
        let random = SHOWN.len() - "/tmp/top-".len();
        let folder = tempfile::Builder::new().prefix("top-").rand_bytes(random).tempdir_in("/tmp");
        let folder = folder.map_err(|error| format!("cannot make a folder: {error}"))?;
        let at = folder.path();
        for name in ["in", "scans", "doc", "text"] {
            fs::create_dir(at.join(name))
                .map_err(|error| format!("cannot make {name}: {error}"))?;
        }
        let config = CONFIG.replace('@', &at.to_string_lossy());
        fs::write(at.join("config.py"), config)
            .map_err(|error| format!("cannot write config.py: {error}"))?;
        let program = target().join("debug/pyinotifyd");
        let daemon = Command::new(&program)
            .args(["run", "--state-dir", "state", "--socket", "socket", "--config"])
            .arg(at.join("config.py"))
            .current_dir(at)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start the daemon: {error}"))?;
        let stage = Self { program, folder, daemon };
        stage.wait("the daemon runs", |status| status["life"] == "running")?;
        let (columns, lines) = SIZE;
        let top = format!("exec '{}' top --socket socket", stage.program.display());
        let size = [columns.to_string(), lines.to_string()];
        // The status line of tmux would take one.
        run_command(&mut stage.tmux(&["new-session", "-d", "-x", &size[0], "-y", &size[1], &top]))?;
        Ok(stage)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str) -> Outcome {
        fs::write(self.path(name), name).map_err(|error| format!("cannot write {name}: {error}"))
    }

    /// Gives the daemon something to do, for so long that the line of rates has a shape.
    fn work(&self) -> Outcome {
        for at in 0..14 {
            self.write(&format!("scans/2026-11-{:02}.tiff", at + 1))?;
        }
        let start = Instant::now();
        let (mut number, mut letters) = (0, 0);
        while start.elapsed() < Duration::from_secs(47) {
            // Waves, each higher than the one before.
            let time = start.elapsed();
            let second = time.as_secs();
            let wave = (time.as_secs_f64() / 4.5).sin().powi(2) * (time.as_secs_f64() / 45.0 + 0.3);
            for _ in (0..120).take_while(|it| f64::from(*it) < wave * 120.0) {
                self.write(&format!("in/upload-{:05}.part", number % 4_000))?;
                number += 1;
            }
            if number % 7 == 0 {
                self.write(&format!("text/chapter-{number}.txt"))?;
            }
            if letters < second / 3 {
                letters += 1;
                self.write(&format!("doc/letter-{letters}.doc"))?;
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Asks the daemon how it is until it is so.
    fn wait(&self, what: &str, is_so: impl Fn(&serde_json::Value) -> bool) -> Outcome {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            let socket = self.path("socket");
            let mut status = Command::new(&self.program);
            status.args(["status", "--json", "--socket"]).arg(socket).stderr(Stdio::null());
            let text =
                status.output().map_err(|error| format!("cannot ask the daemon: {error}"))?;
            if serde_json::from_slice(&text.stdout).is_ok_and(|it| is_so(&it)) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(200));
        }
        Err(format!("it was waited in vain until {what}"))
    }

    /// Writes a picture of the terminal.
    fn take(&self, name: &str, title: &str) -> Outcome {
        let screen = output(&mut self.tmux(&["capture-pane", "-e", "-N", "-p"]))?;
        let screen = screen.replace(&*self.folder.path().to_string_lossy(), SHOWN);
        let file = format!("docs/images/{name}.svg");
        let path = root().join(&file);
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))
            .and_then(|()| fs::write(&path, svg::draw(&screen, SIZE, title)))
            .map_err(|error| format!("cannot write {file}: {error}"))?;
        println!("wrote {file}");
        Ok(())
    }

    /// A command to a tmux of our own.
    fn tmux(&self, args: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(self.path("tmux")).args(["-f", "/dev/null"]).args(args);
        // What the user's terminal can do is not asked.
        command.current_dir(self.folder.path()).env_remove("TMUX").env_remove("NO_COLOR");
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Whatever has ended by itself needs no end.
        let _ = self.tmux(&["kill-server"]).status();
        if let Some(pid) = rustix::process::Pid::from_raw(self.daemon.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.daemon.wait();
    }
}
