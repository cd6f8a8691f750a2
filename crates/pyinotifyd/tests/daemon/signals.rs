//! How it ends.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open},
};
use std::{fs, os::unix::process::ExitStatusExt, process::Command};

use super::support::{Daemon, World};
use crate::{program::Program, starts};

fn config(run: &str, more: &str) -> String {
    format!(
        "{more}\n[scheduler.run]\nexec = [\"@/run\", \"{{pathname}}\"]\n{run}\n\
         [[watch]]\npath = \"@/w\"\nevent_map = {{ IN_CLOSE_WRITE = \"run\" }}\n"
    )
}

#[test]
fn term_and_int_end_it_with_status_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::new();
        let mut daemon = Daemon::start(&world, &config("", ""));
        daemon.signal(signal);
        let status = daemon.wait_end();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "{daemon}");
        assert!(daemon.log.last().unwrap().ends_with(" - stopped"), "{daemon}");
    }
}

#[test]
fn a_stop_waits_for_what_runs_and_what_waits_and_a_second_one_is_harmless() {
    let world = World::new();
    // It runs until somebody writes to the pipe.
    world.script("run", r#"case $1 in *slow) read -r _ < "${0%/*}/pipe" ;; esac; touch "$1.done""#);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let late = "[scheduler.late]\nexec = [\"@/run\", \"{pathname}\"]\ndelay = 1\n\
                [[watch]]\npath = \"@/late\"\nevent_map = { IN_CLOSE_WRITE = \"late\" }\n";
    world.mkdir("late");
    let mut daemon = Daemon::start(
        &world,
        &config("", "shutdown_timeout = 60").replace("[[watch]]", &format!("{late}[[watch]]")),
    );
    world.write("w/slow");
    daemon.wait(": started for ");
    world.write("late/later");
    daemon.wait(": scheduled for ");
    daemon.signal(Signal::TERM);
    daemon.wait("stopping, 1 running and 1 waiting tasks have up to ");
    daemon.signal(Signal::TERM);
    daemon.signal(Signal::INT);
    daemon.signal(Signal::HUP);
    // The intake is closed.
    world.write("w/too_late");
    daemon.wait(&format!(": done for {} ", world.path("late/later").display()));
    fs::write(world.path("pipe"), "\n").unwrap();
    daemon.wait(&format!(": done for {} ", world.path("w/slow").display()));
    let status = daemon.wait_end();
    assert_eq!(status.code(), Some(0), "{daemon}");
    assert!(world.path("w/slow.done").exists() && world.path("late/later.done").exists());
    assert!(!world.path("w/too_late.done").exists());
    assert_eq!(daemon.log.iter().filter(|it| it.contains(" - stopping, ")).count(), 1, "{daemon}");
}

#[test]
fn what_takes_longer_than_the_stop_may_is_killed_with_its_children() {
    let world = World::new();
    world.script(
        "run",
        r#"trap '' TERM; sleep 1000 & echo $! > "${0%/*}/pid"; mv "${0%/*}/pid" "$1.pid"; wait; wait"#,
    );
    let mut daemon = Daemon::start(
        &world,
        &config(
            "kill_after = \"100ms\"\nbusy = \"skip\"",
            "shutdown_timeout = 0.5\n[scheduler.pid]\nlog = \"PID {pathname}\"",
        )
        .replace("\" }\n", "\", IN_MOVED_TO = \"pid\" }\n"),
    );
    world.write("w/f");
    daemon.wait("PID ");
    let pid: i32 = fs::read_to_string(world.path("w/f.pid")).unwrap().trim().parse().unwrap();
    // Known for sure, whatever becomes of its number.
    let child = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    daemon.signal(Signal::TERM);
    daemon.wait("gave up 1 running and 0 waiting tasks");
    assert_eq!(daemon.wait_end().code(), Some(0), "{daemon}");
    // It was killed before the daemon ended, and dies when the kernel has time for that.
    let deadline = Timespec { tv_sec: 60, tv_nsec: 0 };
    let has_ended = poll(&mut [PollFd::new(&child, PollFlags::IN)], Some(&deadline));
    assert_eq!(has_ended, Ok(1), "{daemon}");
}

#[test]
fn as_the_first_process_of_a_container_it_reaps_what_tasks_leave() {
    let world = World::new();
    let container = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]);
        command.arg("--mount-proc");
        command
    };
    let start = starts::one();
    if !container().arg("true").output().is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: the first process of a container, because none can be made here");
        return;
    }
    drop(start);
    // What it leaves has ended before, or ends later than itself; only the latter is inherited.
    world.script("leave", "for _ in 1 2 3 4 5 6 7 8; do setsid sleep 0 & done");
    world.script(
        "look",
        "until [ \"$(grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l)\" -eq 0 ]; do \
         sleep 0.01; done",
    );
    let schedulers = ["leave", "look"].map(|it| {
        format!("[scheduler.{it}]\nexec = [\"@/{it}\"]\ninclude_filter = {{ glob = \"*.{it}\" }}\n")
    });
    world.configure(&format!(
        "{}[[watch]]\npath = \"@/w\"\nevent_map = {{ IN_CLOSE_WRITE = [\"leave\", \"look\"] }}\n",
        schedulers.concat()
    ));
    let mut command = container();
    command.arg(env!("CARGO_BIN_EXE_pyinotifyd")).arg("run").arg("-c");
    command.arg(world.path("config.toml")).env("RUNTIME_DIRECTORY", world.path("run"));
    let mut program = Program::start(command, " - ready, ");
    for name in ["w/1.leave", "w/2.leave"] {
        world.write(name);
        program.wait(": done for ");
    }
    world.write("w/3.look");
    program.wait(&format!(": done for {} ", world.path("w/3.look").display()));
}
