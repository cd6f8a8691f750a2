//! What people are told when something is wrong, word for word, by the program itself.
//!
//! Each case is a line for the shell, run in a folder of the test's own, which reads as `@` in the
//! snapshots. What no case of these can bring about has its snapshot beside the code.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

#[path = "messages/control.rs"]
mod control;
#[path = "messages/kept.rs"]
mod kept;
#[path = "support/known.rs"]
mod known;
#[path = "messages/python.rs"]
mod python;
#[path = "support/starts.rs"]
mod starts;

/// A configuration that is good.
const GOOD: &str = "\
[scheduler.list]\nexec = [\"/bin/ls\", \"{pathname}\"]\n
[[watch]]\npath = \"@/w\"\nevent_map = { IN_CREATE = \"list\" }\n";

/// How long a line may take. Nothing that works comes near it.
const DEADLINE: Duration = Duration::from_secs(60);

struct World {
    dir: TempDir,
}

impl World {
    /// With the program in `bin`, a directory `w`, and good.toml, which watches that.
    fn new() -> Self {
        let world = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(world.path("w")).unwrap();
        fs::create_dir(world.path("bin")).unwrap();
        symlink(env!("CARGO_BIN_EXE_pyinotifyd"), world.path("bin/pyinotifyd")).unwrap();
        world.write("good.toml", GOOD);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn top(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }

    /// Writes a file, in which `@` stands for the folder.
    fn write(&self, name: &str, text: &str) {
        let _apart = starts::none();
        fs::write(self.path(name), text.replace("@/", &format!("{}/", self.top()))).unwrap();
    }

    /// A script of the shell that can be run.
    fn script(&self, name: &str, text: &str) {
        self.write(name, &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The shell with a line to run, knowing nothing of who runs the tests.
    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        command.arg("-c").arg(line).current_dir(self.dir.path());
        command.env_clear().env("PATH", path).env("LC_ALL", "C");
        command.env("RUNTIME_DIRECTORY", self.path("run")).stdin(Stdio::null());
        command
    }

    /// What is said to each line, and with which status it ends. Nothing is said twice.
    fn said(&self, lines: &[&str]) -> String {
        let mut page = String::new();
        for line in lines {
            let start = starts::one();
            let output = self.shell(line).output().unwrap();
            drop(start);
            let [stdout, stderr] =
                [output.stdout, output.stderr].map(|it| self.shown(&String::from_utf8_lossy(&it)));
            for said in stdout.lines().chain(stderr.lines()) {
                let times = format!("{stdout}{stderr}").matches(said).count();
                let is_message =
                    ["error: ", "warning: ", "hint: "].iter().any(|it| said.starts_with(it));
                assert!(!is_message || times == 1, "{line}: {times} times {said}");
            }
            writeln!(page, "$ {line}").unwrap();
            let status = output.status.code().unwrap();
            write!(page, "{stdout}{stderr}[{status}]\n\n").unwrap();
        }
        page
    }

    /// A text with `@` for the folder, and without what differs from run to run.
    fn shown(&self, text: &str) -> String {
        text.replace(self.top(), "@")
    }

    /// The daemon, ready.
    fn start(&self, args: &str) -> Daemon {
        self.start_by(&format!("exec pyinotifyd {args}"))
    }

    /// The same, by a line that turns into it.
    fn start_by(&self, line: &str) -> Daemon {
        let start = starts::one();
        let mut child =
            self.shell(line).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (said, lines) = channel();
        thread::spawn(move || {
            // A test that has ended does not listen any more.
            stderr.lines().map(Result::unwrap).try_for_each(|line| said.send(line).ok())
        });
        let mut daemon = Daemon { child, lines, said: Vec::new() };
        daemon.said = daemon.wait(" - ready, ");
        drop(start);
        daemon
    }
}

/// A daemon that runs. Killed when it is dropped.
struct Daemon {
    child: Child,
    lines: Receiver<String>,
    /// The log up to where it was ready.
    said: Vec<String>,
}

impl Daemon {
    /// The log up to the first line with this in it.
    fn wait(&mut self, part: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let deadline = Instant::now() + DEADLINE;
        while !lines.last().is_some_and(|it| it.contains(part)) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => lines.push(line),
                Err(error) => panic!("no {part:?}, {error}: {lines:#?}"),
            }
        }
        lines
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it, and gives the rest of the log.
    fn stop(mut self) -> Vec<String> {
        self.signal(Signal::TERM);
        let lines = self.wait(" - stopped");
        assert!(self.child.wait().unwrap().success());
        lines
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended: that is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of the log without its time and its task's id.
fn timeless(line: &str) -> String {
    let (_, rest) = line.split_once(" - pyinotifyd/").unwrap_or(("", line));
    let (head, text) = rest.rsplit_once(" - ").unwrap_or(("", rest));
    let is_id = |it: &str| it.len() == 36 && it.matches('-').count() == 4;
    let text = match text.split_once(": ") {
        Some((id, text)) if is_id(id) => text,
        _ => text,
    };
    format!("{head} - {text}")
}

#[test]
fn what_a_command_cannot_do_is_told_with_the_reason_and_the_way_out() {
    let world = World::new();
    world.write("text.toml", "slots = 1\n\u{fffd}");
    fs::write(world.path("latin1.toml"), b"# \xe4\n").unwrap();
    insta::assert_snapshot!(
        "commands",
        world.said(&[
            "pyinotifyd run -c none.toml",
            "pyinotifyd -t -c none.toml",
            "pyinotifyd check none.toml",
            "pyinotifyd explain -c none.toml /x --on CREATE",
            "pyinotifyd convert none.py",
            "pyinotifyd convert good.toml",
            "pyinotifyd check w",
            "pyinotifyd check latin1.toml",
            "head -c 5000000 /dev/zero > big.toml; pyinotifyd check big.toml",
            "pyinotifyd check --format xml good.toml",
            "pyinotifyd watch w --exclude '(' -- true",
            "pyinotifyd watch w --on CREATE --cancel-on CREATE -- true",
            "pyinotifyd watch w -- ''",
            "pyinotifyd watch w -- \"$(printf '\\377')\"",
            "pyinotifyd watch w --delay 5x -- true",
            "pyinotifyd watch w --delay 99999999999999999999h -- true",
            "pyinotifyd watch --help",
            "pyinotifyd explain -c good.toml w/a --on DELETE",
            "pyinotifyd explain -c good.toml w/d/ --on CREATE",
            "pyinotifyd top",
            "mkdir gone; cd gone; rmdir ../gone; pyinotifyd watch x -- true",
            "mkdir gone; cd gone; rmdir ../gone; pyinotifyd explain -c $OLDPWD/good.toml x --on CREATE",
            "pyinotifyd run -c good.toml --metrics-listen 0.0.0.0:9469",
            "pyinotifyd run -c good.toml --metrics-listen here",
            "pyinotifyd --list > /dev/full",
            "pyinotifyd schema > /dev/full",
            "ulimit -n 63; pyinotifyd watch w -- true",
            "ulimit -n 63; pyinotifyd run -c good.toml",
            "pyinotifyd run -c good.toml --state-dir w/state",
            "pyinotifyd run -c good.toml --state-dir good.toml",
            "pyinotifyd run -c good.toml --state-dir good.toml/state",
        ])
    );
}

#[test]
fn a_store_that_cannot_be_used_is_told_with_the_reason_and_the_way_out() {
    let world = World::new();
    world.start("run -c good.toml --state-dir state").stop();
    let database = rusqlite::Connection::open(world.path("state/state.sqlite")).unwrap();
    database.pragma_update(None, "user_version", 9999).unwrap();
    drop(database);
    let daemon = world.start("run -c good.toml --state-dir taken");
    let process = format!("(process {})", daemon.child.id());
    fs::create_dir(world.path("open")).unwrap();
    fs::set_permissions(world.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    let said = world.said(&[
        "pyinotifyd run -c good.toml --state-dir open",
        "pyinotifyd run -c good.toml --state-dir state",
        "pyinotifyd run -c good.toml --state-dir taken",
    ]);
    daemon.stop();
    insta::assert_snapshot!("store", said.replace(&process, "(process PID)"));
}

#[test]
fn a_command_that_cannot_run_is_told_with_the_reason() {
    let world = World::new();
    world.write("plain", "#!/bin/sh\n");
    world.write("garbage", "\u{1}\u{2}");
    world.write("lost", "#!/none/sh\n");
    for name in ["garbage", "lost"] {
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let big = "x".repeat(200_000);
    let cases = [
        ("missing", r#"exec = ["/none/program"]"#.to_owned()),
        ("nowhere", r#"exec = ["no-such-program-anywhere"]"#.into()),
        ("plain", r#"exec = ["@/plain"]"#.into()),
        ("directory", r#"exec = ["@/w"]"#.into()),
        ("garbage", r#"exec = ["@/garbage"]"#.into()),
        ("lost", r#"exec = ["@/lost"]"#.into()),
        ("too-long", format!("exec = [\"/bin/true\"]\nenv = {{ BIG = \"{big}\" }}")),
        ("cwd-none", "exec = [\"/bin/true\"]\ncwd = \"/none\"".into()),
        ("cwd-file", "exec = [\"/bin/true\"]\ncwd = \"@/plain\"".into()),
        ("status", r#"shell = "echo first; echo 'the reason' >&2; exit 3""#.into()),
        ("silent", r#"shell = "exit 3""#.into()),
        ("signal", r#"shell = "kill -9 $$""#.into()),
        ("timeout", "shell = \"exec sleep 600\"\ntimeout = 0.1".into()),
    ];
    insta::assert_snapshot!("runs", errors(&world, &cases));
}

#[test]
fn a_file_rule_that_fails_is_told_with_the_key_that_helps() {
    let world = World::new();
    fs::create_dir_all(world.path("there/full")).unwrap();
    world.write("there/x", "another");
    world.write("there/full/f", "x");
    symlink(world.path("there"), world.path("link")).unwrap();
    let rule = |action: &str, keys: &str| {
        format!("rules = [{{ action = \"{action}\", src_re = '^@/w/(.*)$', {keys} }}]")
    };
    let cases = [
        ("exists", rule("copy", r"dst_re = '@/there/\1'")),
        ("no-directory", rule("copy", r"dst_re = '@/none/\1'")),
        ("link", rule("copy", r"dst_re = '@/\1/../link/y'")),
        ("itself", rule("copy", r"dst_re = '@/w/\1'")),
        ("over-directory", rule("move", r"dst_re = '@/there/full', overwrite = true")),
        ("hard-link", rule("move", r"dst_re = '@/moved', filemode = '0600'")),
        ("no-match", "rules = [{ action = \"delete\", src_re = '^/other' }]".to_owned()),
    ];
    insta::assert_snapshot!("rules", errors(&world, &cases));
}

/// What is said about one file by schedulers of these lines, each in its own way, in order.
fn errors(world: &World, cases: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, lines) in cases {
        write!(text, "[scheduler.{name}]\n{lines}\n").unwrap();
    }
    let names: Vec<_> = cases.iter().map(|(name, _)| format!("{name:?}")).collect();
    let names = names.join(", ");
    write!(text, "[[watch]]\npath = \"@/w\"\nevent_map = {{ IN_MOVED_TO = [{names}] }}\n").unwrap();
    world.write("runs.toml", &text);
    let mut daemon = world.start("run -c runs.toml");
    world.write("x", "x");
    if cases.iter().any(|(name, _)| *name == "hard-link") {
        fs::hard_link(world.path("x"), world.path("other-name")).unwrap();
    }
    fs::rename(world.path("x"), world.path("w/x")).unwrap();
    let mut lines: Vec<Vec<String>> = vec![Vec::new(); cases.len()];
    let mut open = cases.len();
    while open > 0 {
        let line = daemon.wait(" - pyinotifyd/").pop().unwrap();
        let line = timeless(&world.shown(&line));
        let of = |(name, _): &(&str, String)| line.starts_with(&format!("{name} - "));
        let Some(case) = cases.iter().position(of) else { continue };
        if line.contains("started for ") {
            continue;
        }
        open -= usize::from(line.contains("@/w/x after "));
        // How long it took is the machine's affair.
        let time = line.split(" after ").nth(1).and_then(|it| it.split([':', ' ']).next());
        let line = time.map_or_else(|| line.clone(), |time| line.replacen(time, "TIME", 1));
        lines[case].push(line);
    }
    daemon.stop();
    lines.concat().join("\n")
}

#[test]
fn a_reload_that_is_refused_says_what_is_wrong_and_what_is_in_force() {
    let world = World::new();
    fs::copy(world.path("good.toml"), world.path("config.toml")).unwrap();
    let mut daemon = world.start("run -c config.toml");
    world.write("config.toml", "stat_dir = 3\n[scheduler.x]\ndelay = \"soon\"\n");
    daemon.signal(Signal::HUP);
    let lines = daemon.wait(": not reloaded, ");
    daemon.stop();
    let lines: Vec<_> = lines.iter().map(|it| timeless(&world.shown(it))).collect();
    insta::assert_snapshot!("reload", lines.join("\n"));
}

#[test]
fn colours_are_for_terminals_and_no_color_turns_them_off() {
    let world = World::new();
    world.write("bad.toml", "delay = 1\n");
    let terminal = |before: &str| {
        let line = format!("{before} script -qec 'pyinotifyd check bad.toml' /dev/null");
        let output = world.shell(&line).env("TERM", "xterm").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    if !terminal("").contains("`delay`") {
        eprintln!("skipped: colours on a terminal, because there is no `script`");
        return;
    }
    assert!(terminal("").contains('\u{1b}'), "{:?}", terminal(""));
    assert!(!terminal("NO_COLOR=1").contains('\u{1b}'), "{:?}", terminal("NO_COLOR=1"));
    assert!(!world.said(&["pyinotifyd check bad.toml"]).contains('\u{1b}'));
}

#[test]
fn no_configuration_at_all_names_the_places() {
    if ["config.py", "config.toml"].iter().any(|it| Path::new("/etc/pyinotifyd").join(it).exists())
    {
        eprintln!("skipped: no configuration at all, because this machine has one");
        return;
    }
    let world = World::new();
    insta::assert_snapshot!(
        "nothing",
        world.said(&["pyinotifyd", "pyinotifyd check", "pyinotifyd -t"])
    );
}

#[test]
fn what_is_not_ready_says_what_it_waits_for() {
    let world = World::new();
    let conditions =
        ["quiet:1h", "done-file:{pathname}.ok", "done-file:{pathname}/of/a/file", "closed"];
    let mut text = String::new();
    for (number, condition) in conditions.iter().enumerate() {
        write!(text, "[scheduler.s{number}]\nlog = \"x\"\nready = \"{condition}\"\n").unwrap();
    }
    text += "[[watch]]\npath = \"@/w\"\n\
             event_map = { IN_CREATE = [\"s0\", \"s1\", \"s2\", \"s3\"] }\n";
    world.write("ready.toml", &text);
    let mut daemon = world.start("run -c ready.toml");
    let open = fs::File::create(world.path("w/x")).unwrap();
    let mut lines: Vec<String> = conditions
        .iter()
        .map(|_| timeless(&world.shown(daemon.wait(" is not ready: ").last().unwrap())))
        // Who it is may not be found out in time.
        .map(|it| it.split(" by pid ").next().unwrap().to_owned())
        .collect();
    drop(open);
    lines.sort();
    insta::assert_snapshot!("ready", lines.join("\n"));
}

#[test]
fn a_limit_of_the_kernel_is_named_with_the_way_to_raise_it() {
    let world = World::new();
    let inside = |limit: &str, line: &str| {
        let script = format!("echo {limit} && exec {line}");
        world.said(&[&format!("unshare --user --map-root-user sh -c '{script}'")])
    };
    if !inside("0 > /proc/sys/user/max_inotify_instances", "true").ends_with("[0]\n\n") {
        eprintln!("skipped: limits of the kernel, because nobody may set them here");
        return;
    }
    let said = inside("0 > /proc/sys/user/max_inotify_instances", "pyinotifyd watch w -- true");
    // The number that it names is this machine's.
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap();
    insta::assert_snapshot!("limits", said.replace(&format!("({})", limit.trim()), "(N)"));
}

#[test]
fn what_a_machine_lacks_is_told() {
    let world = World::new();
    let apart = |script: &str| {
        format!(
            "unshare --user --map-root-user --mount sh -c '{script} exec pyinotifyd watch w -- true'"
        )
    };
    let without = |place: &str| apart(&format!("mount -t tmpfs none {place} &&"));
    if !world
        .shell(&without("/dev").replace("pyinotifyd watch w --", ""))
        .status()
        .unwrap()
        .success()
    {
        eprintln!("skipped: what a machine lacks, because nobody may take it away here");
        return;
    }
    let mut page = world.said(&[&without("/dev")]);
    for line in [without("/proc"), apart("echo 0 > /proc/sys/user/max_inotify_watches;")] {
        let mut daemon = world.start_by(&format!("exec {line}"));
        let said = std::mem::take(&mut daemon.said);
        daemon.stop();
        for line in said.iter().map(|it| timeless(&world.shown(it))) {
            // How many directories there are above is the machine's affair.
            let parts: Vec<_> = line.split("; ").collect();
            let is_count = |it: &&&str| it.ends_with("unwatched");
            let count = parts.iter().find(is_count).and_then(|it| it.split(' ').next());
            writeln!(page, "{}", count.map_or(line.clone(), |it| line.replace(it, "N"))).unwrap();
        }
    }
    insta::assert_snapshot!("machine", page);
}

#[test]
fn a_daemon_without_a_place_for_its_socket_says_that_it_cannot_be_asked() {
    let world = World::new();
    // Nobody, and without a home of its own.
    let nobody = "env -u RUNTIME_DIRECTORY unshare --user";
    if !world.said(&[&format!("{nobody} true")]).ends_with("[0]\n\n") {
        eprintln!("skipped: a daemon of an ordinary user, because nobody may become one here");
        return;
    }
    let daemon = world.start_by(&format!("exec {nobody} pyinotifyd run -c good.toml"));
    let mut said: Vec<_> = daemon.said.iter().map(|it| timeless(&world.shown(it))).collect();
    daemon.stop();
    // What it is told to do without is not missed.
    world.write("none.toml", &format!("control_socket = \"\"\n{GOOD}"));
    let daemon = world.start_by(&format!("exec {nobody} pyinotifyd run -c none.toml"));
    said.extend(daemon.said.iter().map(|it| timeless(&world.shown(it))));
    daemon.stop();
    insta::assert_snapshot!("no_place_for_the_socket", said.join("\n"));
}

#[test]
fn a_state_directory_of_somebody_else_is_refused() {
    let world = World::new();
    fs::create_dir(world.path("state")).unwrap();
    if std::os::unix::fs::chown(world.path("state"), Some(65534), None).is_err() {
        eprintln!("skipped: a state directory of somebody else, because only root can make one");
        return;
    }
    insta::assert_snapshot!(
        "state_of_another",
        world.said(&["pyinotifyd run -c good.toml --state-dir state"])
    );
}

#[test]
fn a_service_manager_that_cannot_be_told_is_a_warning() {
    let world = World::new();
    let mut lines = Vec::new();
    for socket in ["nonsense", "./none"] {
        let line = format!("NOTIFY_SOCKET={socket} exec pyinotifyd run -c good.toml");
        let mut daemon = world.start_by(&line);
        lines.append(&mut daemon.said);
        lines.extend(daemon.stop());
    }
    let lines = lines.iter().map(|it| timeless(&world.shown(it)));
    let lines: Vec<_> = lines.filter(|it| it.contains("WARNING")).collect();
    insta::assert_snapshot!("service_manager", lines.join("\n"));
}
