//! What a daemon might answer.

use crate::control::words::{
    Counts, Ended, History, How, Life, PROTOCOL, PythonStatus, Reply, SchedulerStatus, Shown,
    State, Status, StoreStatus, Task, Tasks, WatchStatus,
};

/// The time on the wall at which it is all told.
pub(super) const WALL: f64 = 1_795_414_890.0;

/// Names that somebody has made to see what comes of them.
pub(super) const HOSTILE: [&[u8]; 6] = [
    b"/in/\x1b[31mred\x1b[2J\r\n\x07",
    b"/in/\xff\xfe not UTF-8",
    "/in/\u{202e}gpj.exe".as_bytes(),
    "/in/漢字の長い名前🦀👩‍👩‍👧.txt".as_bytes(),
    "/in/e\u{301}\u{302}\u{303}\u{304}\u{305}combined".as_bytes(),
    "/in/שלום עולם مرحبا".as_bytes(),
];

pub(in crate::cli) fn status() -> Status {
    Status {
        protocol: PROTOCOL,
        version: "0.1.0".into(),
        pid: 4_242,
        life: Life::Running,
        uptime: 3_723.4,
        config: Some(Shown::new(b"/etc/pyinotifyd/config.py")),
        directories: 12_345,
        unwatched: 0,
        overflows: 0,
        backlog: 0,
        lag: 0.0,
        tasks: Counts { waiting: 1_200, ready: 3, running: 4 },
        slots: 8,
        watches: vec![
            WatchStatus { paths: vec![Shown::new(b"/in")], directories: 12_000, events: 1_000_000 },
            WatchStatus { paths: vec![Shown::new(b"/out")], directories: 345, events: 2_000 },
        ],
        schedulers: vec![
            scheduler("scan", Counts { waiting: 1_200, ready: 3, running: 3 }),
            SchedulerStatus { paused: true, failed: 17, ..scheduler("convert", Counts::default()) },
            scheduler("index", Counts { running: 1, ..Counts::default() }),
        ],
        python: Some(PythonStatus { pid: Some(4_243), running: 1, silent: None, restarts: 0 }),
        store: Some(StoreStatus {
            path: Shown::new(b"/var/lib/pyinotifyd"),
            error: None,
            commits: 77,
        }),
    }
}

/// Everything that can go wrong, going wrong.
pub(in crate::cli) fn bad_status() -> Status {
    let good = status();
    Status {
        life: Life::Stopping,
        unwatched: 3,
        overflows: 2,
        backlog: 5 << 20,
        lag: 12.5,
        python: Some(PythonStatus { pid: Some(7), running: 3, silent: Some(130.0), restarts: 2 }),
        store: Some(StoreStatus {
            path: Shown::new(b"/var/lib/pyinotifyd"),
            error: Some("no space left on device\u{1b}[2J".into()),
            commits: 77,
        }),
        ..good
    }
}

fn scheduler(name: &str, tasks: Counts) -> SchedulerStatus {
    SchedulerStatus {
        name: name.into(),
        paused: false,
        tasks,
        scheduled: 100_000,
        done: 98_765,
        failed: 0,
        cancelled: 12,
        stopped: 1,
        retried: 34,
    }
}

pub(super) fn task(number: u32, state: State, path: &[u8]) -> Task {
    Task {
        task: format!("{number:08x}-0000-4000-8000-000000000000"),
        scheduler: Some("scan".into()),
        state,
        path: Shown::new(path),
        event: "IN_CLOSE_WRITE".into(),
        attempt: 1,
        due_in: (state == State::Waiting).then(|| f64::from(number) * 10.0 + 0.5),
        running_for: (state == State::Running).then(|| f64::from(number) * 100.0 + 0.7),
    }
}

pub(in crate::cli) fn tasks() -> Vec<Task> {
    let waiting = (5..40).map(|it| {
        task(it, State::Waiting, format!("/in/2026/november/{it}/report.pdf").as_bytes())
    });
    [
        task(1, State::Running, b"/in/short"),
        task(
            2,
            State::Running,
            b"/in/a/rather/long/path/to/a/file/that/does/not/fit/into/a/line/of.it",
        ),
        task(3, State::Ready, b"/in/ready"),
        task(4, State::Held, b"/in/held"),
    ]
    .into_iter()
    .chain(waiting)
    .collect()
}

pub(super) fn failure(number: u32, path: &[u8], outcome: &str) -> Ended {
    Ended {
        task: format!("{number:08x}-0000-4000-8000-000000000001"),
        scheduler: "convert".into(),
        path: Shown::new(path),
        event: "IN_MOVED_TO".into(),
        attempt: 3,
        how: How::Failed,
        outcome: outcome.into(),
        at: WALL - 60.0 * f64::from(100 - number),
        took: 1.25,
    }
}

pub(super) fn failures() -> Vec<Ended> {
    vec![
        failure(97, b"/in/one.doc", "exit status 1"),
        failure(98, b"/in/two.doc", "killed after its timeout of 30s"),
        failure(99, b"/in/three.doc", "cannot start /usr/bin/convert: no such file or directory"),
    ]
}

/// The answers to a look.
pub(super) fn look(status: Status, tasks: Vec<Task>, failures: Vec<Ended>) -> Vec<Reply> {
    let of = tasks.len().max(1_207);
    vec![
        Reply::Status(Box::new(status)),
        Reply::Tasks(Tasks { tasks, of }),
        Reply::History(History { tasks: failures }),
    ]
}
