//! A config.py under the daemon: what it says is done, and what it does harms nothing else.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    process::{Command, Output},
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::Signal;

use super::support::{Daemon, World};

macro_rules! start {
    ($world:expr, $config:expr) => {
        match Daemon::start_python($world, $config) {
            Some(daemon) => daemon,
            None => return,
        }
    };
}

#[path = "python_faults.rs"]
mod faults;

/// Waits for a line of each of these, in whichever order they come.
fn wait_all(daemon: &mut Daemon<'_>, parts: &[&str]) {
    daemon.sync();
    for part in parts {
        if !daemon.log.iter().any(|line| line.contains(part)) {
            daemon.wait(part);
        }
    }
}

#[test]
fn both_generations_run_side_by_side() {
    let world = World::new();
    world.mkdir("moved");
    let mut daemon = start!(
        &world,
        r#"
async def first(event, task_id):
    logging.getLogger("t").info(f"first {event.name}")

class Second(TaskScheduler):
    async def job(self, event, task_id):
        await asyncio.sleep(0)
        logging.getLogger("t").info(f"second {event.name}")

old = TaskScheduler(task=first)
new = Second()
move = FileManager([Rule("move", r"^@/w/(?P<name>.*)\.in$", r"@/moved/\g<name>")])
keep = ShellScheduler("echo {pathname} > @/shell")
watches = [Watch("@/w", EventMap({"IN_CLOSE_WRITE": [old.schedule, new, keep], "IN_MOVED_TO": move.task}))]
"#
    );
    world.write("w/a");
    fs::write(world.path("b"), "").unwrap();
    world.rename("b", "w/b.in");
    wait_all(&mut daemon, &["first a", "second a", "moved/b"]);
    daemon.stop();
    assert!(world.path("moved/b").exists(), "{daemon}");
    let expected = format!("{}\n", world.path("w/a").display());
    assert_eq!(fs::read_to_string(world.path("shell")).unwrap(), expected);
}

#[test]
fn plain_functions_get_every_event_in_its_order() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        "watches = [Watch(\"@/w\", EventMap(default_sched=seen), rec=True, auto_add=True)]"
    );
    let mut expected = Vec::new();
    for number in 0..500 {
        let (from, to) = (format!("w/{number}"), format!("w/to{number}"));
        fs::File::create(world.path(&from)).unwrap();
        world.rename(&from, &to);
        expected.extend([
            format!("IN_CREATE {from}"),
            format!("IN_MOVED_FROM {from}"),
            format!("IN_MOVED_TO {from} -> {to}"),
        ]);
    }
    daemon.sync();
    // When the other descriptor of a file is closed is nobody's to say.
    let told: Vec<_> = daemon
        .told()
        .into_iter()
        .filter(|it| !it.starts_with("IN_OPEN") && !it.starts_with("IN_CLOSE"))
        .collect();
    assert_eq!(told, expected);
    daemon.stop();
}

#[test]
fn a_name_of_any_bytes_goes_to_python_and_back() {
    let world = World::new();
    world.mkdir("moved");
    let mut daemon = start!(
        &world,
        r#"
files = FileManagerScheduler(FileManagerRule("move", r"^@/w/", r"@/moved/"))

def give(event):
    assert event.pathname == os.fsdecode(os.fsencode(event.pathname))
    assert os.path.exists(event.pathname), ascii(event.pathname)
    files.schedule(event)

watches = [Watch("@/w", {"IN_CLOSE_WRITE": give})]
"#
    );
    let names: [&[u8]; 6] =
        [b"\xff\xfe", b"new\nline", "ä😀".as_bytes(), b"\"q\\uote'", b"\xed\xb2\x80", &[b'x'; 255]];
    let dir = world.path("w");
    for name in names {
        fs::write(dir.join(std::ffi::OsStr::from_bytes(name)), "").unwrap();
    }
    for _ in names {
        daemon.wait(": moved ");
    }
    daemon.stop();
    let mut moved: Vec<_> = fs::read_dir(world.path("moved"))
        .unwrap()
        .map(|it| it.unwrap().file_name().as_bytes().to_owned())
        .collect();
    moved.sort();
    let mut expected = names.map(<[u8]>::to_owned);
    expected.sort();
    assert_eq!(moved, expected);
}

#[test]
fn code_that_schedules_and_cancels_is_obeyed() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
class Folder(TaskScheduler):
    def taskindex(self, event):
        return os.path.dirname(event.pathname)

    async def job(self, event, task_id):
        logging.getLogger("t").info(f"ran for {event.name}")

folder = Folder(delay=3600)
quick = TaskScheduler(job=Folder.job.__get__(folder), delay=0)

def decide(event):
    folder.schedule(event)
    if event.name == "last":
        folder.cancel(event)
        quick.schedule(event)

watches = [Watch("@/w", {"IN_CLOSE_WRITE": decide}, rec=True)]
"#
    );
    for name in ["w/one", "w/two", "w/last"] {
        world.write(name);
    }
    daemon.wait("ran for last");
    daemon.sync();
    let count = |part: &str| daemon.log.iter().filter(|line| line.contains(part)).count();
    // One task for the folder: scheduled, put off twice, given up.
    assert_eq!(count(": scheduled "), 1, "{daemon}");
    assert_eq!(count(": cancelled "), 1, "{daemon}");
    assert_eq!(count("ran for "), 1, "{daemon}");
    // With the task for the folder still there, this would wait for it.
    daemon.stop();
}

#[test]
fn rules_that_only_python_can_match_are_matched_by_it() {
    let world = World::new();
    world.mkdir("moved");
    let mut daemon = start!(
        &world,
        r#"
rules = [
    # What the group of a loop holds that matched nothing at last is nobody's business but Python's.
    FileManagerRule("move", r"^@/w/(?:(a*)|b)*\.x$", r"@/moved/got\1.x"),
    FileManagerRule("move", r"(?i)^@/w/(Ä.*)$", r"@/moved/\1"),
    FileManagerRule("delete", r"^@/w/gone"),
]
files = FileManagerScheduler(rules)
old = FileManager(rules)

async def ask(event, task_id):
    await old.task(event, task_id)
    logging.getLogger("t").info(f"asked for {event.name}")

watches = [Watch("@/w", {"IN_CLOSE_WRITE": files, "IN_MOVED_TO": ask})]
"#
    );
    for name in ["aab.x", "äb", "gone", "other"] {
        world.write(&format!("w/{name}"));
    }
    fs::write(world.path("äc"), "").unwrap();
    world.rename("äc", "w/äc");
    let moved = |to: &str| format!("moved/{to}");
    wait_all(&mut daemon, &[&moved("got.x"), &moved("äb"), "deleted ", "no rule", "asked for äc"]);
    daemon.stop();
    for name in ["got.x", "äb", "äc"] {
        assert!(world.path("moved").join(name).exists(), "no {name}: {daemon}");
    }
    assert!(!world.path("w/gone").exists() && world.path("w/other").exists());
}

/// Makes 5,000 files while the configuration is read again and again.
#[test]
fn each_event_is_told_once_while_hosts_come_and_go() {
    const FILES: usize = 5_000;
    const CONFIG: &str =
        "watches = [Watch(\"@/w\", {\"IN_CLOSE_WRITE\": seen}, rec=True, auto_add=True)]";
    let world = World::new();
    let mut daemon = start!(&world, CONFIG);
    let file = |number: usize| format!("w/d{}/f{number}", number / 100);
    thread::scope(|scope| {
        let (done, over) = mpsc::channel::<()>();
        let world = &world;
        scope.spawn(move || {
            for number in 0..FILES {
                if number % 100 == 0 {
                    world.mkdir(&format!("w/d{}", number / 100));
                }
                world.write(&file(number));
            }
            drop(done);
        });
        let mut reloads = 0;
        while reloads < 3
            || over.recv_timeout(Duration::from_millis(1)) == Err(mpsc::RecvTimeoutError::Timeout)
        {
            world.configure_python(&format!("{CONFIG}\nreload = {reloads}"));
            reloads += 1;
            daemon.signal(Signal::HUP);
            daemon.wait(" - reloaded, ");
        }
    });
    daemon.sync();
    // Whatever a host that was replaced still had to say has been said with this.
    daemon.stop();
    daemon.assert_each_once((0..FILES).map(file));
}

#[test]
fn a_broken_file_keeps_what_was_in_force() {
    let world = World::new();
    let config = "watches = [Watch(\"@/w\", {\"IN_CLOSE_WRITE\": seen})]";
    let mut daemon = start!(&world, config);
    for broken in ["nonsense(", "import sys; sys.exit(3)", "watches = [Watch()]", "os._exit(0)"] {
        world.configure_python(broken);
        daemon.signal(Signal::HUP);
        daemon.wait("not reloaded, what was in force stays so");
    }
    world.write("w/a");
    daemon.sync();
    assert_eq!(daemon.told(), ["IN_CLOSE_WRITE w/a"]);
    world.configure_python(&format!("{config}\nlogging.info('read again')"));
    daemon.signal(Signal::HUP);
    daemon.wait(" - reloaded, ");
    world.write("w/b");
    daemon.sync();
    assert_eq!(daemon.told(), ["IN_CLOSE_WRITE w/a", "IN_CLOSE_WRITE w/b"]);
    daemon.stop();
}

#[test]
fn a_stop_waits_for_tasks_and_then_cancels_them() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
async def task(event, task_id):
    logging.getLogger("t").info(f"began {event.name}")
    try:
        await asyncio.sleep(0.3 if event.name == "short" else 3600)
        logging.getLogger("t").info(f"ended {event.name}")
    except asyncio.CancelledError:
        logging.getLogger("t").info(f"gave up {event.name}")
        raise

s = TaskScheduler(task)
watches = [Watch("@/w", {"IN_CLOSE_WRITE": s})]

class Impatient(Pyinotifyd):
    def __init__(self, watches, shutdown_timeout):
        super().__init__(watches, shutdown_timeout=1)
Pyinotifyd = Impatient
"#
    );
    world.write("w/short");
    world.write("w/long");
    daemon.wait("began long");
    daemon.stop();
    for part in ["ended short", "gave up long"] {
        assert!(daemon.log.iter().any(|line| line.contains(part)), "no {part}: {daemon}");
    }
}

#[test]
fn what_python_logs_and_how_governs_the_daemon_too() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
handler = logging.FileHandler("@/log")
handler.setFormatter(logging.Formatter("%(name)s/%(levelname)s %(message)s"))
logging.getLogger().addHandler(handler)
loud = ShellScheduler("true", logname="loud")
mute = ShellScheduler("true", logname="mute")
setLoglevel(ERROR, "mute")

async def task(event, task_id):
    logging.getLogger("own").warning("two\nlines")
    setLoglevel(ERROR, "loud")

s = TaskScheduler(task, logname="own")
watches = [Watch("@/w", {"IN_CLOSE_WRITE": [loud, mute], "IN_DELETE": s})]
"#
    );
    let file = world.write("w/a");
    daemon.wait(&format!("done for {}", file.display()));
    fs::remove_file(&file).unwrap();
    daemon.wait("pyinotifyd/own - WARNING - two");
    daemon.wait("pyinotifyd/own - WARNING - lines");
    daemon.wait("pyinotifyd/own - INFO - ");
    daemon.sync();
    world.write("w/b");
    daemon.sync();
    daemon.stop();
    assert!(!daemon.log.iter().any(|it| it.contains("pyinotifyd/mute")), "{daemon}");
    let file = fs::read_to_string(world.path("log")).unwrap();
    for part in ["daemon/INFO ready, ", "loud/INFO ", "own/WARNING two\nlines\n", ": done for "] {
        assert!(file.contains(part), "no {part}: {file}");
    }
    assert!(!file.contains("mute"), "{file}");
    let loud: Vec<_> = file.lines().filter(|it| it.starts_with("loud/")).collect();
    assert!(loud.iter().all(|it| it.contains("/w/a")), "{loud:?}");
}

#[test]
fn commands_inherit_what_config_py_made_of_its_process() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
os.environ["FOR_TASKS"] = "yes"
os.environ.pop("HOME", None)
os.umask(0o027)
os.chdir("@/w")
s = ShellScheduler("echo $FOR_TASKS ${HOME-none} $(umask) $(pwd) > ../told", env={"FOR_TASKS": "more"})
watches = [Watch(".", {"IN_CLOSE_WRITE": s})]
"#
    );
    world.write("w/a");
    daemon.wait(": done for ");
    daemon.stop();
    let told = fs::read_to_string(world.path("told")).unwrap();
    assert_eq!(told, format!("more none 0027 {}\n", world.path("w").display()));
}

#[test]
fn a_change_at_run_time_is_in_force() {
    let world = World::new();
    world.mkdir("other");
    let mut daemon = start!(
        &world,
        r#"
async def task(event, task_id):
    logging.getLogger("t").info(f"ran for {event.name}")
    pyinotifyd.add_watch(path="@/other", event_map={"IN_CLOSE_WRITE": s})

s = TaskScheduler(task)
watches = [Watch("@/w", {"IN_CLOSE_WRITE": s})]
"#
    );
    world.write("w/a");
    daemon.wait("ran for a");
    // What is there when a Watch begins is not told: only the line about the directory says that
    // it has begun.
    daemon.wait(" - watching ");
    world.write("other/b");
    daemon.wait("ran for b");
    daemon.stop();
}

#[test]
fn a_stop_lets_a_job_end_that_has_begun_after_its_delay() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
os.mkfifo("@/gate")

async def task(event, task_id):
    logging.getLogger("t").info("began")
    await asyncio.get_running_loop().run_in_executor(None, lambda: open("@/gate").close())
    logging.getLogger("t").info("ended")

s = TaskScheduler(task, delay=0.01)
watches = [Watch("@/w", {"IN_CLOSE_WRITE": s})]
"#
    );
    world.write("w/f");
    daemon.wait("began");
    daemon.signal(Signal::TERM);
    daemon.wait("stopping, ");
    drop(fs::OpenOptions::new().write(true).open(world.path("gate")).unwrap());
    assert_eq!(daemon.wait_end().code(), Some(0));
    assert!(daemon.log.iter().any(|line| line.ends_with("ended")), "{daemon}");
}

#[test]
fn a_reload_doubles_no_handler_and_no_line() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
handler = logging.FileHandler("@/log")
logging.getLogger().addHandler(handler)
def note(event): logging.getLogger("t").info(f"noted {event.name}")
watches = [Watch("@/w", {"IN_CLOSE_WRITE": note})]
"#
    );
    for _ in 0..3 {
        daemon.signal(Signal::HUP);
        daemon.wait("reloaded, ");
    }
    world.write("w/f");
    daemon.wait("noted f");
    daemon.sync();
    daemon.stop();
    let lines = daemon.log.iter().filter(|line| line.contains("noted f"));
    assert_eq!(lines.count(), 1, "{daemon}");
    let log = fs::read_to_string(world.path("log")).unwrap();
    assert_eq!(log.matches("noted f").count(), 1, "{log}");
}

#[test]
fn a_command_gets_what_is_empty_as_an_argument_and_no_word_for_directories() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
s = ShellScheduler("printf '%s|' {maskname} {src_pathname} > @/said", dirs=True)
watches = [Watch("@/w", {"IN_CREATE": s})]
"#
    );
    world.mkdir("w/d");
    daemon.wait("done for ");
    daemon.stop();
    assert_eq!(fs::read_to_string(world.path("said")).unwrap(), "IN_CREATE||");
}

#[test]
fn how_a_command_ended_is_told_for_schedulers_of_both_generations() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
command = "case {basename} in good) exit 0;; seven) exit 7;; killed) kill -9 $$;; esac"
first = ShellScheduler(command, logname="first")
second = ShellScheduler(cmd=command, logname="second")
nothing = ShellScheduler("/nonexistent/program {pathname}", logname="nothing")
watches = [Watch("@/w", {"IN_CREATE": [first.schedule, second], "IN_ATTRIB": nothing})]
"#
    );
    for name in ["good", "seven", "killed"] {
        fs::File::create(world.path("w").join(name)).unwrap();
    }
    let file = fs::File::open(world.path("w/good")).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    let ends = [
        ("good", "INFO", "done for "),
        ("seven", "ERROR", "exit status 7"),
        ("killed", "ERROR", "signal 9"),
    ];
    for logname in ["first", "second"] {
        for (name, level, how) in ends {
            let head = format!("pyinotifyd/{logname} - {level} - ");
            let is = |line: &String| {
                line.contains(&head) && line.contains(&format!("/w/{name}")) && line.contains(how)
            };
            while !daemon.log.iter().any(is) {
                daemon.wait(&head);
            }
        }
    }
    while !daemon.log.iter().any(|it| it.contains("pyinotifyd/nothing - ERROR - ")) {
        daemon.wait("pyinotifyd/nothing - ERROR - ");
    }
    daemon.stop();
}

#[test]
fn an_event_and_a_task_id_are_as_the_original_shows_them() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
import uuid

def shown(event):
    logging.getLogger("t").info(repr(event))

async def task(event, task_id):
    assert str(uuid.UUID(task_id)) == task_id
    logging.getLogger("t").info(f"a {type(task_id).__name__} of version {uuid.UUID(task_id).version}")

s = TaskScheduler(task, delay=0.01)
os.chdir("@/")
types = ["IN_ATTRIB", "IN_CREATE", "IN_MOVED_FROM", "IN_MOVED_TO"]
watches = [Watch("./w//", {**{it: shown for it in types}, "IN_CLOSE_WRITE": s})]
"#
    );
    world.mkdir("w/d");
    fs::set_permissions(world.path("w"), fs::Permissions::from_mode(0o700)).unwrap();
    world.write("w/f");
    world.rename("w/f", "w/g");
    wait_all(&mut daemon, &["a str of version 4"]);
    daemon.stop();
    let expected = [
        "<Event dir=True mask=0x40000100 maskname=IN_CREATE|IN_ISDIR name=d path=@ pathname=@/d wd=",
        "<Event dir=True mask=0x40000004 maskname=IN_ATTRIB|IN_ISDIR name='' path=@ pathname=@ wd=",
        "<Event dir=False mask=0x100 maskname=IN_CREATE name=f path=@ pathname=@/f wd=",
        " dir=False mask=0x40 maskname=IN_MOVED_FROM name=f path=@ pathname=@/f wd=",
        " dir=False mask=0x80 maskname=IN_MOVED_TO name=g path=@ pathname=@/g src_pathname=@/f wd=",
    ];
    let events: Vec<_> = daemon.log.iter().filter(|line| line.contains("<Event ")).collect();
    assert_eq!(events.len(), expected.len(), "{daemon}");
    for (line, expected) in events.into_iter().zip(expected) {
        let expected = expected.replace('@', world.path("w").to_str().unwrap());
        assert!(line.contains(&expected) && line.ends_with(" >"), "{line}: no {expected}");
        assert_eq!(line.contains("cookie="), line.contains("IN_MOVED_"), "{line}");
    }
}

#[test]
fn a_rule_deletes_an_empty_directory() {
    let world = World::new();
    world.mkdir("old");
    let mut daemon = start!(
        &world,
        r#"
manager = FileManager([Rule("delete", r"^@/old/")])
first = TaskScheduler(task=manager.task, files=False, dirs=True)
second = FileManagerScheduler(FileManagerRule("delete", r"^@/w/"), files=False, dirs=True)
watches = [Watch("@/old", {"IN_CREATE": first.schedule}), Watch("@/w", {"IN_CREATE": second})]
"#
    );
    for name in ["old/empty", "w/empty"] {
        world.mkdir(name);
        daemon.wait(&format!("deleted {}", world.path(name).display()));
        assert!(!world.path(name).exists(), "{daemon}");
    }
    daemon.stop();
}

#[test]
fn the_configuration_that_is_installed_is_good() {
    let world = World::new();
    let python = Command::new("python3").arg("-V").output();
    if !python.is_ok_and(|it| it.status.success()) {
        return eprintln!("skipped: there is no python3 to run a config.py");
    }
    let checked = check(&world, include_str!("../../dist/config.py"), &["-t"]);
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stdout).contains("config file ok"), "{checked:?}");
}

fn check(world: &World, config: &str, arguments: &[&str]) -> Output {
    fs::write(world.path("config.py"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pyinotifyd"));
    command.args(arguments).env_remove("PYINOTIFYD_PYTHON").arg("-c").arg(world.path("config.py"));
    let _start = super::starts::one();
    command.output().unwrap()
}

#[test]
fn a_mistake_is_told_with_its_place_and_the_lines_of_the_users_own_code() {
    let world = World::new();
    let python = Command::new("python3").arg("-V").output();
    if !python.is_ok_and(|it| it.status.success()) {
        return eprintln!("skipped: there is no python3 to run a config.py");
    }
    let good = check(&world, "pyinotifyd = Pyinotifyd(Watch('/', {'IN_OPEN': print}))", &["-t"]);
    assert_eq!(String::from_utf8_lossy(&good.stdout), "config file ok\n");
    assert_eq!(good.status.code(), Some(0));
    let mistakes: [(&str, &[&str]); 9] = [
        ("\nx = (", &["config.py:2", "SyntaxError"]),
        ("def f():\n    1 / 0\nf()", &["config.py:2", "ZeroDivisionError", "line 3, in <module>"]),
        ("sys.exit(5)", &["config.py:1", "sys.exit"]),
        (
            "\nRule('mvoe', 'x')\ns = FileManagerScheduler(Rule('mvoe', '^/x', '/y'))\npyinotifyd = \
          Pyinotifyd(Watch('/', {'IN_OPEN': s}))",
            &["config.py:3", "move"],
        ),
        (
            "s = ShellScheduler('x', delay=-1)\npyinotifyd = Pyinotifyd(Watch('/', {'IN_OPN': s}))",
            &["config.py:1", "negative", "config.py:2", "IN_OPEN"],
        ),
        ("s = ShellScheduler('x', dleay=1)", &["config.py:1", "delay"]),
        (
            "\ns = FileManagerScheduler(Rule('move', r'^/\\p{L}', '/y'))\npyinotifyd = \
          Pyinotifyd(Watch('/', {'IN_OPEN': s}))",
            &["config.py:2", "this pattern is wrong", "bad escape \\p"],
        ),
        (
            "\ns = FileManagerScheduler(Rule('move', '(?i)^/ä', r'/\\g<x>'))\npyinotifyd = \
          Pyinotifyd(Watch('/', {'IN_OPEN': s}))",
            &["config.py:2", "this destination is wrong", "no group `x`"],
        ),
        (
            "\npyinotifyd = Pyinotifyd(Watch('/', {'IN_OPEN': print}, exclude_filter=['(?i)ä']))",
            &["config.py:2", "only Python itself can match it"],
        ),
    ];
    for (config, parts) in mistakes {
        let refused = check(&world, config, &["-t"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        for part in parts {
            assert!(said.contains(part), "no {part}: {said}");
        }
        assert!(!said.contains("<pyinotifyd") && !said.contains("importlib"), "{said}");
    }
}

#[test]
fn without_a_python_it_is_said_how_to_name_one() {
    let world = World::new();
    let refused = check(&world, "", &["-t", "--python", "/nonexistent/python"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("/nonexistent/python (--python)"), "{said}");
    assert!(said.contains("$PYINOTIFYD_PYTHON"), "{said}");
    let refused = check(&world, "", &["-t", "--python", "/bin/false"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("Python has ended (exit status 1)"), "{said}");
}

#[test]
fn a_command_that_reads_a_value_as_text_runs_for_plain_names() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
s = ShellScheduler("sh -c 'echo {pathname} >> @/shell'")
watches = [Watch("@/w", {"IN_CLOSE_WRITE": s})]
"#
    );
    let warned = "`{pathname}` stands where `sh -c` would read its value as text";
    assert!(daemon.log.iter().any(|line| line.contains(warned)), "{daemon}");
    world.write("w/plain");
    daemon.wait("done for");
    world.write("w/$(id)");
    daemon.wait("not run, because its {pathname} is more than letters");
    daemon.stop();
    let expected = format!("{}\n", world.path("w/plain").display());
    assert_eq!(fs::read_to_string(world.path("shell")).unwrap(), expected);
}

#[test]
fn a_signal_to_python_is_the_daemon_s() {
    let world = World::new();
    let mut daemon = start!(
        &world,
        r#"
async def end(event, task_id):
    os.kill(os.getpid(), signal.SIGTERM)
watches = [Watch("@/w", {"IN_CLOSE_WRITE": end})]
"#
    );
    world.write("w/a");
    daemon.wait("stopped");
}

#[test]
fn an_event_about_a_watched_directory_itself_says_so() {
    let world = World::new();
    world.mkdir("w/d");
    let mut daemon = start!(
        &world,
        r#"
async def job(event, task_id):
    logging.getLogger("t").info(f"{event.maskname} {event.dir} {event.name!r}")
s = TaskScheduler(job, files=False, dirs=True)
watches = [Watch("@/w", {"IN_DELETE_SELF": s}, rec=True)]
"#
    );
    fs::remove_dir(world.path("w/d")).unwrap();
    daemon.wait("t - INFO - IN_DELETE_SELF True ''");
    daemon.stop();
}
