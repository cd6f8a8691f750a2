//! What is told by the commands that ask the running daemon, and by it.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{PermissionsExt, chown},
        net::{UnixListener, UnixStream},
        process::CommandExt,
    },
    process::Stdio,
    thread::{self, JoinHandle},
};

use rustix::process::Signal;
use serde_json::Value;

use super::{DEADLINE, World, timeless};

/// `wait` waits until somebody starts it. `once` fails, and later runs until the FIFO is opened.
const CONFIG: &str = r#"
[scheduler.wait]
exec = ["/bin/true", "{pathname}"]
delay = "1h"
include_filter = { glob = "*.wait" }
[scheduler.once]
shell = "if [ -e @/first ]; then cat @/fifo; else echo 'it hurts' >&2; : > @/first; exit 3; fi"
include_filter = { glob = "*.once" }
busy = "skip"
kill_after = "1m"
[[watch]]
path = "@/w"
event_map = { IN_MOVED_TO = ["wait", "once"] }
"#;

/// A connection of our own.
fn connect(world: &World) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(world.path("run/control.sock")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    BufReader::new(stream)
}

fn answer(stream: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// Somebody who answers whatever is asked with this, once, and goes.
fn answers(world: &World, name: &str, text: &'static str) -> JoinHandle<()> {
    let listener = UnixListener::bind(world.path(name)).unwrap();
    thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        stream.read_line(&mut String::new()).unwrap();
        stream.get_mut().write_all(text.as_bytes()).unwrap();
    })
}

/// The id of the only task of a scheduler, waiting or running.
fn task_of(world: &World, scheduler: &str) -> String {
    let line = format!("pyinotifyd tasks --socket run/control.sock --json --scheduler {scheduler}");
    let output = world.shell(&line).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    said["tasks"][0]["task"].as_str().unwrap().to_owned()
}

/// A file that was not there before, in a directory that is watched.
fn put(world: &World, name: &str) {
    world.write(name, "x");
    fs::rename(world.path(name), world.path("w").join(name)).unwrap();
}

#[test]
fn a_daemon_that_is_not_there_or_does_not_answer_is_told_with_what_helps() {
    let world = World::new();
    let talks = [
        answers(&world, "silent.sock", ""),
        answers(&world, "ended.sock", ""),
        answers(&world, "cut.sock", "{\"reply\":"),
        answers(&world, "nonsense.sock", "{\"reply\":\"\u{1b}[2J\"}\n"),
        answers(&world, "other.sock", "{\"reply\":\"done\",\"message\":\"\"}\n"),
    ];
    let silent = UnixListener::bind(world.path("hangs.sock")).unwrap();
    let said = world.said(&[
        "pyinotifyd status --socket none.sock",
        "pyinotifyd status --socket good.toml",
        "pyinotifyd status --socket w",
        "pyinotifyd status --socket $(printf '%0200d' 0)",
        "pyinotifyd tail --socket none.sock",
        "pyinotifyd metrics --socket none.sock",
        "pyinotifyd explain --running --socket none.sock w/a --on CREATE",
        "pyinotifyd top --socket none.sock",
        "pyinotifyd status --socket silent.sock",
        "pyinotifyd tail --socket ended.sock",
        "pyinotifyd status --socket cut.sock",
        "pyinotifyd status --socket nonsense.sock",
        "pyinotifyd explain --running --socket other.sock w/a --on CREATE",
        "pyinotifyd sync --timeout 10ms --socket hangs.sock",
    ]);
    drop(silent);
    for talk in talks {
        talk.join().unwrap();
    }
    insta::assert_snapshot!("no_daemon", said);
}

#[test]
fn what_the_daemon_does_and_does_not_do_is_told_with_the_reason() {
    let world = World::new();
    world.write("config.toml", CONFIG);
    assert!(world.shell("mkfifo fifo").status().unwrap().success());
    let mut daemon = world.start("run -c config.toml");
    let ask = |line: &str| world.said(&[&format!("pyinotifyd {line} --socket run/control.sock")]);
    let mut page =
        ["tasks", "history", "tasks --scheduler none", "pause none", "cancel zz"].map(ask).concat();
    put(&world, "a.once");
    let failed = daemon.wait(" failed for ").pop().unwrap();
    let ended = failed.split(" - ").last().unwrap().split(": ").next().unwrap().to_owned();
    put(&world, "a.wait");
    page += &ask("sync");
    let waits = task_of(&world, "wait");
    let named = |line: &str, id: &str, name: &str| {
        let said = ask(&format!("{line} {id}")).replace(id, name);
        // What is told of a task begins with the first of it.
        id.get(..8).map_or_else(|| said.clone(), |short| said.replace(short, name))
    };
    // One with which none begins.
    let none = "00000000-0000-0000-0000-000000000000";
    for line in ["cancel", "run-now", "retry"] {
        page += &named(line, none, "0");
    }
    page += &named("retry", &waits, "WAITS");
    page += &ask("pause wait");
    page += &named("run-now", &waits, "WAITS");
    page += &named("cancel", &waits, "WAITS");
    page += &ask("resume");
    let again = named("retry", &ended, "ENDED");
    daemon.wait("started for ");
    let runs = task_of(&world, "once");
    page += &again.replace(&runs[..8], "RUNS");
    page += &named("retry", &ended, "ENDED");
    for line in ["cancel", "run-now"] {
        page += &named(line, &runs, "RUNS");
    }
    // One of sixteen digits begins two of seventeen.
    for number in 0..17 {
        put(&world, &format!("{number}.wait"));
    }
    assert!(ask("sync").ends_with("[0]\n\n"));
    let tasks = world.shell("pyinotifyd tasks --socket run/control.sock --json --scheduler wait");
    let said: Value = serde_json::from_slice(&{ tasks }.output().unwrap().stdout).unwrap();
    let mut first: Vec<_> = said["tasks"].as_array().unwrap().iter().collect();
    first.sort_by_key(|it| it["task"].as_str().unwrap());
    let digit = |it: &&Value| it["task"].as_str().unwrap()[..1].to_owned();
    let twice = first.windows(2).find(|it| digit(&it[0]) == digit(&it[1])).unwrap();
    let twice = digit(&twice[0]);
    page += &ask(&format!("cancel {twice}")).replace(&format!(" {twice}"), " DIGIT");
    for (text, said) in [
        (CONFIG.to_owned(), "reload"),
        (format!("state_dir = \"@/state\"\n{CONFIG}"), "reload"),
        ("stat_dir = 3\n".to_owned(), "reload"),
    ] {
        world.write("config.toml", &text);
        page += &ask(said);
    }
    daemon.signal(Signal::TERM);
    daemon.wait(" - stopping");
    page += &["sync", "pause", "reload"].map(ask).concat();
    page += &named("retry", &ended, "ENDED");
    page += &named("cancel --stop", &runs, "RUNS");
    drop(daemon);
    insta::assert_snapshot!("asked", page);
}

#[test]
fn a_request_that_means_nothing_is_refused_with_the_reason() {
    let world = World::new();
    let daemon = world.start("run -c good.toml");
    let mut stream = connect(&world);
    let requests = [
        r#"{"ask":"tasks","path":{"path":"x","path_hex":"2f7"}}"#,
        r#"{"ask":"history","path":{"path":"x","path_hex":"zz"}}"#,
        r#"{"ask":"explain","path":"/x","event":"IN_NOTHING\u001b[2J"}"#,
        r#"{"ask":"pause","scheduler":"\u001b[2J\n"}"#,
        r#"{"ask":"cancel","task":""}"#,
        r#"{"ask":"dance"}"#,
    ];
    let mut told = Vec::new();
    for request in requests {
        writeln!(stream.get_mut(), "{request}").unwrap();
        told.push(format!("{request}\n  {}", answer(&mut stream)));
    }
    // Where the next one begins is not known, so this is the last.
    stream.get_mut().write_all(&vec![b' '; 64 * 1024]).unwrap();
    told.push(answer(&mut stream).to_string());
    assert_eq!(stream.read_line(&mut String::new()).unwrap(), 0);
    drop(stream);
    let all: Vec<_> = (0..64).map(|_| connect(&world)).collect();
    told.push(answer(&mut connect(&world)).to_string());
    drop(all);
    daemon.stop();
    insta::assert_snapshot!("requests", told.join("\n"));
}

#[test]
fn a_control_socket_that_cannot_be_had_is_a_warning() {
    let world = World::new();
    let first = world.start("run -c good.toml");
    let mut told = Vec::new();
    for socket in ["run/control.sock", "good.toml/control.sock", "none/of/it/control.sock"] {
        let mut daemon = world.start(&format!("run -c good.toml --socket {socket}"));
        told.append(&mut daemon.said);
        daemon.stop();
    }
    first.stop();
    let told = told.iter().map(|it| timeless(&world.shown(it)));
    let told: Vec<_> = told.filter(|it| it.contains("control socket")).collect();
    insta::assert_snapshot!("sockets", told.join("\n"));
}

#[test]
fn somebody_else_is_told_who_may_ask() {
    let world = World::new();
    let mut daemon = world.start("run -c good.toml");
    let ask = || {
        let mut command = world.shell("exec pyinotifyd status --socket run/control.sock");
        command.uid(65534).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        // The shell's own word, where the program cannot be run.
        (output.status.code() != Some(126) && output.status.code() != Some(127))
            .then(|| world.shown(&String::from_utf8(text).unwrap()))
    };
    let open = |name: &str, mode| {
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("", 0o755);
    open("run", 0o755);
    let (Ok(()), Some(closed)) = (chown(world.path("good.toml"), Some(0), None), ask()) else {
        eprintln!("skipped: another user who asks, because only root can be one");
        return;
    };
    open("run/control.sock", 0o666);
    let opened = ask().unwrap();
    let said = timeless(&daemon.wait("control socket").pop().unwrap());
    daemon.stop();
    insta::assert_snapshot!("another_user", [closed, opened, said].join("\n"));
}
