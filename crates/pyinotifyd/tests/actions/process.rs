//! What a command finds around itself.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    process::{Command, Stdio},
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Resource, Rlimit, getpriority_process, getrlimit, prlimit},
};

use crate::{
    starts,
    support::{WATCH, World, is_root},
};

/// Starts the daemon in disorder, with a job that runs this script; gives what it prints.
fn told(keys: &str, script: &str) -> Vec<String> {
    let world = World::new();
    let script = world.text(script);
    // Anybody may read it, on descriptor 0 of a shell that is somebody else.
    let quoted = script.replace('\\', r"\\").replace('"', "\\\"").replace('\n', "\\n");
    let config =
        format!("[scheduler.job]\nexec = [\"/bin/sh\", \"-c\", \"{quoted}\"]\n{keys}\n{WATCH}");
    // One that commands must not get; others started meanwhile have it too, which hurts nobody.
    let leak = File::open("/dev/null").unwrap();
    fcntl_setfd(&leak, FdFlags::empty()).unwrap();
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "trap '' HUP INT PIPE USR1; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_pyinotifyd"))
        .env("NOTIFY_SOCKET", "@nobody-listens-here")
        .env("WATCHDOG_USEC", "1000000")
        .env("PYINOTIFYD_SRC_PATHNAME", "/left/over")
        .env("KEPT", "kept")
        .env("TAKEN_OUT", "taken out")
        .stdin(Stdio::null());
    let daemon = world.start_by(command, &[], &config);
    world.write("in/x", "");
    let end = daemon.wait_for("job *done for ");
    let id = end.split(" - ").nth(3).unwrap().split(": ").next().unwrap().to_owned();
    let start = format!(" - {id}: ");
    let lines = daemon.lines_with(&format!("job - INFO{start}"));
    lines
        .iter()
        .map(|line| line.split_once(&start).unwrap().1.to_owned())
        .filter(|line| !line.starts_with("started for ") && !line.starts_with("done for "))
        .collect()
}

#[test]
fn the_environment_is_the_daemons_without_what_is_only_for_it() {
    let lines = told("env = { OWN = \"own\", TAKEN_OUT = false }", "env");
    let env: BTreeMap<_, _> = lines.iter().filter_map(|line| line.split_once('=')).collect();
    assert_eq!((env["KEPT"], env["OWN"], env["PYINOTIFYD_SRC_PATHNAME"]), ("kept", "own", ""));
    assert_eq!((env["PYINOTIFYD_MASKNAME"], env["PYINOTIFYD_ATTEMPT"]), ("IN_CLOSE_WRITE", "1"));
    assert!(env["PYINOTIFYD_PATHNAME"].ends_with("/in/x"));
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "TAKEN_OUT"] {
        assert!(!env.contains_key(name), "{name}");
    }
}

#[test]
fn no_descriptor_is_inherited_and_signals_are_as_for_a_login() {
    for keys in ["", "umask = \"022\""] {
        let lines = told(
            keys,
            "ls /proc/self/fd; readlink /proc/self/fd/0; grep -E '^Sig(Blk|Ign)' /proc/self/status",
        );
        let [fds, rest] = [&lines[..4], &lines[4..]];
        assert_eq!(fds, ["0", "1", "2", "3"], "its own three, and what `ls` reads: {lines:?}");
        assert_eq!(rest[0], "/dev/null");
        for line in &rest[1..] {
            let (_, mask) = line.split_once(':').unwrap();
            let mask = u64::from_str_radix(mask.trim_start_matches(r"\t"), 16).unwrap();
            // 32 and 33 are the C library's own.
            assert_eq!(mask & !(0b11 << 31), 0, "{line}");
        }
        assert_eq!(rest.len(), 3);
    }
}

#[test]
fn what_there_is_no_room_for_is_done_when_there_is() {
    let world = World::new();
    let daemon = world.start(
        r#"
[scheduler.job]
shell = "echo {pathname}"
[scheduler.mover]
rules = [{ action = "move", src_re = '^$DIR/in/(.*\.m)$', dst_re = '$DIR/out/\1' }]
[[watch]]
path = "$DIR/in"
event_map = { IN_CLOSE_WRITE = ["job", "mover"] }
"#,
    );
    let pid = Pid::from_raw(daemon.pid().try_into().unwrap());
    let before = getrlimit(Resource::Nofile);
    let limit = |limit| prlimit(pid, Resource::Nofile, limit).unwrap();
    // All that it has are above.
    limit(Rlimit { current: Some(3), ..before });
    world.write("in/x.m", "");
    daemon.wait_for("WARNING *commands wait until they can be started: *: too many open files");
    daemon.wait_for("WARNING *a file action waits until it can be done: *: too many open files");
    fs::create_dir(world.path("in/new")).unwrap();
    world.write("in/new/y", "");
    limit(before);
    daemon.wait_for("job - INFO *done for */in/x.m ");
    daemon.wait_for("mover - INFO *moved */in/x.m to */out/x.m for ");
    daemon.wait_for("job - INFO *done for */in/new/y ");
    assert_eq!(daemon.lines_with(" - ERROR - "), [""; 0]);
}

#[test]
fn a_command_gets_the_limits_that_are_configured() {
    let lines = told(
        "umask = \"027\"\nnice = 5\nrlimits = { nofile = 123, core = 0 }\ncwd = \"/usr\"",
        "umask; nice; ulimit -n; ulimit -c; pwd",
    );
    // On top of what this has been started with.
    let nice = (getpriority_process(None).unwrap() + 5).min(19).to_string();
    assert_eq!(lines, ["0027", &*nice, "123", "0", "/usr"]);
}

#[test]
fn a_command_can_run_as_somebody_else() {
    if !is_root() {
        eprintln!("skipped: a command as another user, because this is not root");
        return;
    }
    let script = "id -u; id -g; id -G; echo $USER $LOGNAME $HOME";
    let lines = told("user = \"nobody\"\ncwd = \"/\"", script);
    let nobody = "id -u nobody; id -g nobody; id -G nobody; getent passwd nobody | cut -d: -f6";
    let start = starts::one();
    let output = Command::new("/bin/sh").args(["-c", nobody]).output().unwrap();
    drop(start);
    let want = String::from_utf8(output.stdout).unwrap();
    let mut want: Vec<_> = want.lines().map(str::to_owned).collect();
    let home = want.pop().unwrap();
    want.push(format!("nobody nobody {home}"));
    assert_eq!(lines, want);
    assert_ne!(lines[0], "0");
    let lines = told("user = \"nobody\"\ngroup = 7\ncwd = \"/\"", "id -u; id -g");
    assert_eq!(lines, [&*want[0], "7"]);
}
