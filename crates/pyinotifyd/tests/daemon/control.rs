//! The running daemon is asked over its control socket.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    process::{Command, Output},
    time::{Duration, Instant},
};

use rustix::process::{Signal, geteuid};
use serde_json::Value;

use super::support::{DEADLINE, Daemon, World};

/// `wait` waits until somebody starts it, `gate` runs until the file `open` is there, `fail` fails.
const CONFIG: &str = r#"
[scheduler.wait]
exec = ["true", "{pathname}"]
delay = "1h"
include_filter = { glob = "*.wait" }
[scheduler.gate]
exec = ["sh", "-c", 'until [ -e "@/open" ]; do sleep 0.01; done']
include_filter = { glob = "*.gate" }
kill_after = "1m"
[scheduler.fail]
exec = ["sh", "-c", "echo it hurts; exit 3"]
include_filter = { glob = "*.fail" }
[[watch]]
path = "@/w"
event_map = { IN_CLOSE_WRITE = ["wait", "gate", "fail"] }
"#;

impl Daemon<'_> {
    /// What it answers, as JSON. It must be an answer.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// The only task of a scheduler.
    fn task_of(&self, scheduler: &str) -> Value {
        let tasks = self.json(&["tasks", "--scheduler", scheduler]);
        assert_eq!(tasks["of"], 1, "{tasks}");
        tasks["tasks"][0].clone()
    }
}

/// A connection of our own.
fn connect(world: &World) -> BufReader<UnixStream> {
    let stream = UnixStream::connect(world.path("run/control.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    BufReader::new(stream)
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn line(stream: &mut BufReader<UnixStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

fn say(stream: &mut BufReader<UnixStream>, text: &[u8]) {
    stream.get_mut().write_all(text).unwrap();
}

#[test]
fn status_tells_what_is_watched_and_what_has_become_of_tasks() {
    let world = World::new();
    world.mkdir("w/sub");
    let mut daemon = Daemon::start(&world, CONFIG);
    world.write("w/a.wait");
    world.write("w/sub/b.fail");
    daemon.wait("failed for ");
    let said = daemon.ask(&["sync"]);
    assert!(said.status.success(), "{said:?}");
    let status = daemon.json(&["status"]);
    assert_eq!((&status["protocol"], &status["life"]), (&1.into(), &"running".into()));
    assert_eq!(status["pid"], daemon.pid().as_raw_nonzero().get());
    // `sync`, `w` and `w/sub`.
    assert_eq!(status["directories"], 3);
    let watch = &status["watches"][1];
    assert_eq!((&watch["directories"], &watch["events"]), (&2.into(), &2.into()), "{watch}");
    let of = |name: &str| {
        let schedulers = status["schedulers"].as_array().unwrap();
        schedulers.iter().find(|it| it["name"] == name).unwrap()
    };
    assert_eq!((&of("wait")["waiting"], &of("wait")["scheduled"]), (&1.into(), &1.into()));
    assert_eq!((&of("fail")["failed"], &of("fail")["running"]), (&1.into(), &0.into()));
    assert_eq!((&status["backlog"], &status["python"]), (&0.into(), &Value::Null));
    let text = String::from_utf8(daemon.ask(&["status"]).stdout).unwrap();
    let facts = ["running for ", "3 watched", "1 waiting, 0 ready, 0 running"];
    assert!(facts.iter().all(|it| text.contains(it)), "{text}");
}

#[test]
fn a_task_is_started_early_or_given_up_by_its_id_or_its_beginning() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, CONFIG);
    world.write("w/a.wait");
    daemon.sync();
    let task = daemon.task_of("wait");
    let id = task["task"].as_str().unwrap();
    assert_eq!((&task["state"], &task["attempt"]), (&"waiting".into(), &1.into()));
    assert!(task["due_in"].as_f64().unwrap() > 3_000.0, "{task}");
    let said = daemon.ask(&["run-now", &id[..8]]);
    assert!(said.status.success(), "{said:?}");
    daemon.wait(&format!("{id}: done for "));
    assert!(refused(&daemon.ask(&["run-now", id])).contains("there is no task"));

    world.write("w/b.wait");
    daemon.sync();
    let second = daemon.task_of("wait");
    let second = second["task"].as_str().unwrap();
    let said = daemon.ask(&["cancel", "0", second]);
    assert!(refused_one_of_two(&said), "{said:?}");
    daemon.wait(&format!("{second}: cancelled for "));
    assert_eq!(daemon.json(&["tasks"])["of"], 0);
}

/// Of several tasks, one that is not there is told, and the others are seen to.
fn refused_one_of_two(output: &Output) -> bool {
    let (out, err) = (&output.stdout, &output.stderr);
    let told = |text: &[u8], what: &str| String::from_utf8_lossy(text).contains(what);
    output.status.code() == Some(1) && told(out, "given up") && told(err, "there is no task 0")
}

#[test]
fn what_runs_is_ended_only_if_that_is_asked_for() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, CONFIG);
    world.write("w/a.gate");
    daemon.wait("started for ");
    let task = daemon.task_of("gate");
    let id = task["task"].as_str().unwrap();
    assert_eq!(task["state"], "running");
    assert!(refused(&daemon.ask(&["cancel", id])).contains("--stop ends it"));
    let said = daemon.ask(&["cancel", "--stop", id]);
    assert!(said.status.success(), "{said:?}");
    daemon.wait(&format!("{id}: stopped for "));
    let ended = daemon.json(&["history"])["tasks"][0].clone();
    assert_eq!((&ended["task"], &ended["how"]), (&id.into(), &"stopped".into()));
    // It did not fail.
    assert_eq!(daemon.json(&["history", "--failed"])["tasks"].as_array().unwrap().len(), 0);
}

#[test]
fn what_failed_is_remembered_and_can_be_run_again() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, CONFIG);
    world.write("w/a b.fail");
    daemon.wait("failed for ");
    let ended = daemon.json(&["history", "--failed", "--since", "1h"])["tasks"][0].clone();
    let id = ended["task"].as_str().unwrap();
    assert_eq!(ended["outcome"], "exit status 3: it hurts");
    let path = world.path("w/a b.fail").to_str().unwrap().to_owned();
    assert_eq!(ended["path"], path.as_str());
    let again = daemon.json(&["retry", id]);
    let new = again["task"].as_str().unwrap();
    assert_ne!(new, id);
    daemon.wait(&format!("{new}: failed for {path}"));
    assert_eq!(daemon.json(&["history", "--path", &path])["tasks"].as_array().unwrap().len(), 2);
    let elsewhere = daemon.json(&["history", "--path", "/nowhere"]);
    assert_eq!(elsewhere["tasks"].as_array().unwrap().len(), 0);
}

#[test]
fn what_is_paused_is_kept_until_it_is_resumed_also_over_a_reload() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, CONFIG);
    let said = daemon.ask(&["pause", "fail"]);
    assert!(said.status.success(), "{said:?}");
    world.write("w/a.fail");
    daemon.sync();
    assert_eq!(daemon.task_of("fail")["state"], "ready");
    let said = daemon.ask(&["reload"]);
    assert!(said.status.success(), "{said:?}");
    assert_eq!(daemon.task_of("fail")["state"], "ready");
    let status = daemon.json(&["status"]);
    let paused = |it: &&Value| it["paused"] == true;
    let paused: Vec<_> = status["schedulers"].as_array().unwrap().iter().filter(paused).collect();
    assert_eq!(paused.len(), 1, "{status}");
    let said = daemon.ask(&["resume"]);
    assert!(said.status.success(), "{said:?}");
    daemon.wait("failed for ");
    assert!(refused(&daemon.ask(&["pause", "nobody"])).contains("there are sync, wait, gate"));
}

#[test]
fn a_sync_comes_back_when_the_tasks_of_before_have_ended() {
    let world = World::new();
    let daemon = Daemon::start(&world, CONFIG);
    for name in ["a", "b", "c"] {
        world.write(&format!("w/{name}.gate"));
    }
    let mut stream = connect(&world);
    say(&mut stream, b"{\"ask\":\"sync\",\"tasks\":true}\n");
    let said = daemon.ask(&["sync"]);
    assert!(said.status.success(), "{said:?}");
    // The other sync has seen these run.
    assert_eq!(daemon.json(&["tasks", "--state", "running"])["of"], 3);
    fs::write(world.path("open"), "").unwrap();
    assert_eq!(line(&mut stream)["reply"], "done");
    assert_eq!(daemon.json(&["history"])["tasks"].as_array().unwrap().len(), 3);
}

#[test]
fn a_reload_says_whether_the_configuration_is_good() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, CONFIG);
    world.configure(&format!("{CONFIG}\nIN_OPEN = 7\n"));
    let said = refused(&daemon.ask(&["reload"]));
    assert!(said.contains("what was in force stays so"), "{said}");
    world.configure(
        &CONFIG.replace("scheduler.fail", "scheduler.other").replace("\"fail\"", "\"other\""),
    );
    let said = daemon.ask(&["reload"]);
    assert!(said.status.success(), "{said:?}");
    daemon.wait("reloaded, ");
    let explained = daemon.ask(&[
        "explain",
        "--running",
        "--on",
        "CLOSE_WRITE",
        world.path("w/x.fail").to_str().unwrap(),
    ]);
    let text = String::from_utf8(explained.stdout).unwrap();
    assert!(text.contains("scheduled: `other`"), "{text}");
}

#[test]
fn a_reload_says_what_only_a_restart_puts_in_force() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, CONFIG);
    let changed = format!("state_dir = \"@/state\"\ncontrol_socket = \"@/other\"\n{CONFIG}");
    world.configure(&changed);
    let said = daemon.json(&["reload"]);
    assert_eq!(said["needs_restart"], serde_json::json!(["state_dir", "control_socket"]));
    let sentence = "state_dir and control_socket changed: only a restart puts that in force";
    assert!(said["message"].as_str().unwrap().ends_with(sentence), "{said}");
    daemon.wait(&format!(" - WARNING - {}: {sentence}", world.path("config.toml").display()));
    assert!(!world.path("state").exists() && !world.path("other").exists());
    world.configure(CONFIG);
    assert_eq!(daemon.json(&["reload"])["needs_restart"], Value::Null);
}

#[test]
fn a_reload_that_would_watch_the_state_in_use_is_refused() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, &format!("state_dir = \"@/state\"\n{CONFIG}"));
    let watches = daemon.json(&["status"])["watches"].clone();
    // What the file says of another one is for the next start.
    world.configure(&CONFIG.replace("path = \"@/w\"", "path = \"@/\""));
    let said = refused(&daemon.ask(&["reload"]));
    assert!(said.contains("what was in force stays so"), "{said}");
    daemon.wait("the state directory is inside the watched ");
    assert_eq!(daemon.json(&["status"])["watches"], watches);
    world.configure(CONFIG);
    assert_eq!(daemon.json(&["reload"])["needs_restart"], serde_json::json!(["state_dir"]));
}

#[test]
fn a_reload_that_is_refused_takes_nothing_from_a_good_one_before_it() {
    let world = World::new();
    let daemon = Daemon::start(&world, CONFIG);
    // Its Watches take a while to be set.
    for number in 0..5_000 {
        world.mkdir(&format!("large/{number}"));
    }
    let more = "[[watch]]\npath = \"@/large\"\nevent_map = { IN_DELETE = \"fail\" }\n";
    world.configure(&format!("{CONFIG}{more}"));
    let [mut good, mut bad, mut state] = [(); 3].map(|()| connect(&world));
    say(&mut good, b"{\"ask\":\"reload\"}\n");
    // `sync` is one, too.
    let watches = |state: &mut BufReader<UnixStream>| {
        say(state, b"{\"ask\":\"status\"}\n");
        line(state)["watches"].as_array().unwrap().len()
    };
    let begun = Instant::now();
    while watches(&mut state) < 3 {
        assert!(begun.elapsed() < DEADLINE, "{daemon}");
    }
    world.configure("[watch\n");
    say(&mut bad, b"{\"ask\":\"reload\"}\n");
    assert_eq!(line(&mut bad)["code"], "bad-configuration");
    assert_eq!(line(&mut good)["reply"], "done");
}

#[test]
fn a_daemon_that_stops_reads_nothing_anew() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, CONFIG);
    world.write("w/a.gate");
    daemon.wait("started for ");
    daemon.signal(Signal::TERM);
    daemon.wait(" - stopping, 1 running");
    for command in ["reload", "sync"] {
        let said = refused(&daemon.ask(&[command]));
        assert!(said.contains("the daemon stops"), "{said}");
    }
    daemon.signal(Signal::HUP);
    fs::write(world.path("open"), "").unwrap();
    let status = daemon.wait_end();
    assert!(status.success(), "{daemon}");
    assert!(!daemon.log.iter().any(|it| it.contains("reloaded, ")), "{daemon}");
}

#[test]
fn a_tail_begins_with_the_state_and_tells_all_that_is_said() {
    let world = World::new();
    let _daemon = Daemon::start(&world, CONFIG);
    let mut stream = connect(&world);
    say(&mut stream, b"{\"ask\":\"tail\"}\n");
    let state = line(&mut stream);
    assert_eq!((&state["reply"], &state["protocol"]), (&"status".into(), &1.into()));
    // A name that is not UTF-8, and could do something to a terminal.
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"a\x1b[2J\xff.fail");
    fs::write(world.path("w").join(name), "").unwrap();
    let (first, second) = (line(&mut stream), line(&mut stream));
    assert_eq!((&first["name"], &second["name"]), (&"started".into(), &"ended".into()));
    assert_eq!(first["task"], second["task"]);
    assert_eq!(second["level"], "ERROR");
    assert!(first["path"].as_str().unwrap().ends_with(r"/w/a\x1b[2J\xff.fail"), "{first}");
    assert!(first["path_hex"].as_str().unwrap().ends_with("611b5b324aff2e6661696c"), "{first}");
}

#[test]
fn what_is_no_request_is_told_and_a_good_one_may_follow() {
    let world = World::new();
    let _daemon = Daemon::start(&world, CONFIG);
    let mut stream = connect(&world);
    for bad in [&b"\n"[..], b"{}\n", b"{\"ask\":\"dance\"}\n", b"\xff\xfe\n", b"[[[[\n"] {
        say(&mut stream, bad);
        let answer = line(&mut stream);
        assert_eq!((&answer["reply"], &answer["code"]), (&"refused".into(), &"bad-request".into()));
    }
    say(&mut stream, b"{\"ask\":\"status\"}\n{\"ask\":\"history\"}\n");
    assert_eq!(line(&mut stream)["reply"], "status");
    assert_eq!(line(&mut stream)["reply"], "history");
    // What never ends is not waited for, nor kept.
    let mut endless = connect(&world);
    say(&mut endless, &b"x".repeat(64 * 1024));
    assert_eq!(line(&mut endless)["code"], "bad-request");
    let mut rest = Vec::new();
    // The daemon has hung up; whether it does so with a reset depends on what it had not read.
    let _ = endless.read_to_end(&mut rest);
    assert!(rest.is_empty());
}

#[test]
fn clients_that_only_hang_about_harm_nobody() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, CONFIG);
    let mut streams: Vec<_> = (0..64).map(|_| connect(&world)).collect();
    for stream in &mut streams {
        say(stream, b"{\"ask\":\"tail\"}\n");
        assert_eq!(line(stream)["reply"], "status");
    }
    let mut one_more = connect(&world);
    assert_eq!(line(&mut one_more)["code"], "busy");
    // Each of them would have it all, and reads nothing.
    for number in 0..500 {
        world.write(&format!("w/{number}.fail"));
    }
    daemon.sync();
    drop(streams);
    // As soon as it has noticed.
    let begun = Instant::now();
    while !daemon.ask(&["status"]).status.success() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{daemon}");
    }
    world.write("w/last.fail");
    daemon.wait("/last.fail");
    daemon.stop();
}

#[test]
fn the_socket_is_nobody_elses_and_goes_with_the_daemon() {
    let world = World::new();
    let mut daemon = Daemon::start(&world, CONFIG);
    let socket = world.path("run/control.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    if geteuid().is_root() {
        // Even if its mode were opened by mistake.
        for dir in [world.path(""), world.path("run")] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", "python3", "-c"]);
        let script = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\n\
                      s.connect(sys.argv[1])\ns.settimeout(60)\n\
                      print(s.recv(4096), s.recv(1))";
        match nobody.arg(script).arg(&socket).output() {
            Ok(output) if output.status.success() => {
                let said = String::from_utf8(output.stdout).unwrap();
                // Nothing is asked for that, and nothing comes after it.
                assert!(said.contains("\"code\":\"not-allowed\""), "{said}");
                assert!(said.ends_with(" b''\n"), "{said}");
                daemon.wait("has refused a connection of user 65534");
            }
            other => eprintln!("skipped: cannot ask as another user: {other:?}"),
        }
    } else {
        eprintln!("skipped: only root can try it as another user");
    }
    daemon.stop();
    assert!(!socket.exists());
    let gone = daemon.ask(&["status"]);
    assert_eq!(gone.status.code(), Some(69), "{gone:?}");
    assert!(String::from_utf8(gone.stderr).unwrap().contains("is it running?"));
}

#[test]
fn a_daemon_takes_the_place_of_one_that_was_killed_and_not_of_one_that_lives() {
    let world = World::new();
    let mut first = Daemon::start(&world, CONFIG);
    first.signal(Signal::KILL);
    first.wait_end();
    let second = Daemon::start(&world, CONFIG);
    let third = Daemon::start(&world, CONFIG);
    let warned = third.log.iter().any(|it| it.contains("is another daemon's"));
    assert!(warned, "{third}");
    assert_eq!(second.json(&["status"])["pid"], second.pid().as_raw_nonzero().get());
}
