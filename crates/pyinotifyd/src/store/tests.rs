//! What holds of the store as a whole.

mod broken;
mod crash;
mod full;
mod model;
mod rounds;
mod threads;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use pyinotifyd_core::{
    event::{Event, EventType, Mask, Origin},
    record::Wd,
    stamp::{Identity, IndexId, Stamp},
    stats::{Finished, History, REMEMBERED},
    task::{Leader, Outcome, TaskId},
    tree::{Kind, Seen},
};
use tempfile::TempDir;

use super::{
    EndedRow, Kept, Reply, RowState, Say, SetAside, Settings, TaskRow, Trouble,
    keeper::Keeper,
    open::{self, FILE, OpenError},
};

/// Nothing waits, and no time is racy.
const AT_ONCE: Settings = Settings {
    round_pause: Duration::ZERO,
    linger: Duration::ZERO,
    racy: Duration::ZERO,
    fine: false,
    retry: (Duration::from_secs(1), Duration::from_secs(30)),
};

/// A directory for a store, in memory where that can be had: thousands of commits are tried.
fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap()
}

/// A store without its thread.
struct Bench {
    dir: PathBuf,
    keeper: Keeper,
    kept: Kept,
    set_aside: Option<SetAside>,
    now: Instant,
    /// The round whose fence has not been answered.
    fence: Option<u64>,
    lock: File,
}

impl Bench {
    fn open(dir: &Path) -> Self {
        Self::open_with(dir, AT_ONCE).unwrap()
    }

    fn open_with(dir: &Path, settings: Settings) -> Result<Self, OpenError> {
        let found = open::open(dir)?;
        Ok(Self {
            dir: dir.to_owned(),
            keeper: Keeper::new(found.start, settings, Arc::default()),
            kept: found.kept,
            set_aside: found.set_aside,
            now: Instant::now(),
            fence: None,
            lock: found.lock,
        })
    }

    /// Says all of it in one go, and gives back what is replied.
    fn say(&mut self, said: impl IntoIterator<Item = Say>) -> Vec<Reply> {
        self.keeper.hear(said);
        self.work()
    }

    fn work(&mut self) -> Vec<Reply> {
        let mut out = Vec::new();
        self.keeper.verify_invariants();
        self.keeper.work(self.now, &mut out);
        self.keeper.verify_invariants();
        self.fence = out.iter().find_map(fence).or(self.fence);
        out
    }

    fn join(&mut self, identity: Identity, listed: Vec<Seen>, baseline: bool) -> Joined {
        let replies = self.say([Say::Join { ticket: 7, identity, listed, baseline }]);
        match replies.into_iter().next() {
            Some(Reply::Joined { ticket: 7, index, known }) => Joined { index, known },
            other => panic!("{other:?}"),
        }
    }

    /// Answers all fences until there are none.
    fn settle(&mut self) {
        self.work();
        while let Some(number) = self.fence.take() {
            self.say([Say::Passed(number)]);
        }
    }

    /// What a power failure now would leave, opened.
    fn crashed(&self) -> (TempDir, Self) {
        let copy = place();
        copy_store(&self.dir, copy.path());
        let bench = Self::open(copy.path());
        assert_eq!(bench.set_aside, None);
        (copy, bench)
    }

    /// Ends well, and opens again.
    fn reopened(mut self) -> Self {
        self.say([Say::Stop]);
        let Self { dir, keeper, lock, .. } = self;
        keeper.end();
        drop(lock);
        Self::open(&dir)
    }
}

struct Joined {
    index: IndexId,
    known: Option<Vec<Seen>>,
}

fn fence(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::WantFence(number) => Some(*number),
        Reply::Committed(_) | Reply::Joined { .. } | Reply::Trouble(_) => None,
    }
}

/// Copies what counts: the rest of a database's files is made anew.
fn copy_store(from: &Path, to: &Path) {
    for name in [FILE.to_owned(), format!("{FILE}-wal")] {
        if from.join(&name).exists() {
            fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

fn event(pathname: &[u8]) -> Event {
    Event {
        event_type: EventType::CloseWrite,
        mask: EventType::CloseWrite.mask(),
        is_dir: false,
        pathname: pathname.into(),
        src_pathname: None,
        name_len: 0,
        root_len: 0,
        wd: Wd(1),
        cookie: 0,
        origin: Origin::Live,
        subject: None,
    }
}

fn task(id: u128, pathname: &[u8]) -> TaskRow {
    TaskRow {
        id: TaskId(id),
        scheduler: "job".into(),
        event: Arc::new(event(pathname)),
        attempt: 1,
        first: 10,
        due: 20,
        dir: IndexId(7),
        state: RowState::Pending,
        stamp: None,
        leader: None,
    }
}

fn seen(name: &[u8], ino: u64) -> Seen {
    Seen { name: name.into(), kind: Kind::File, stamp: Stamp { ino, ..Stamp::default() } }
}

fn dir(ino: u64) -> Identity {
    Identity { ino, btime: 5, dev: 0 }
}

fn touch(dir: IndexId, path: &Path) -> Say {
    use std::os::unix::ffi::OsStrExt;

    Say::Touch {
        dir,
        name: path.file_name().unwrap().as_bytes().into(),
        path: path.as_os_str().as_bytes().to_vec(),
        probe: false,
    }
}

/// Every field at its limits, and bytes that are no text.
fn hostile() -> Vec<TaskRow> {
    let path: &[u8] = b"/w/\xff\x01'\n\";--\x7f";
    let full = Event {
        event_type: EventType::MovedTo,
        mask: Mask(u32::MAX),
        is_dir: true,
        pathname: path.into(),
        src_pathname: Some(b"\xfe".as_slice().into()),
        name_len: u16::try_from(path.len()).unwrap(),
        root_len: u32::try_from(path.len()).unwrap(),
        wd: Wd(i32::MIN),
        cookie: u32::MAX,
        origin: Origin::Recovered,
        subject: Some(b"\0\xc0".as_slice().into()),
    };
    let high = TaskRow {
        id: TaskId(u128::MAX),
        scheduler: "\u{0}jo'b\u{1F600}\n".into(),
        event: Arc::new(full),
        attempt: u32::MAX,
        first: i64::MIN,
        due: i64::MAX,
        dir: IndexId(u32::MAX),
        state: RowState::Running,
        stamp: None,
        leader: Some(Leader { pid: u32::MAX, since: u64::MAX, task: TaskId(1) }),
    };
    let mut low = task(0, b"");
    low.scheduler = "".into();
    low.event = Arc::new(Event {
        event_type: EventType::QOverflow,
        subject: Some([].into()),
        ..event(b"")
    });
    let mut rows = vec![low];
    rows.extend((1..).zip(EventType::ALL).map(|(id, event_type)| TaskRow {
        event: Arc::new(Event { event_type, origin: Origin::Scan, ..event(b"/x") }),
        ..task(id, b"")
    }));
    rows.push(high);
    rows
}

#[test]
fn a_task_comes_back_as_it_was_whatever_is_in_it() {
    let place = place();
    let mut bench = Bench::open(place.path());
    assert!(bench.kept.clean && !bench.kept.rebooted && bench.kept.tasks.is_empty());
    bench.say(hostile().into_iter().map(Say::Task));
    let (_copy, crashed) = bench.crashed();
    assert!(!crashed.kept.clean);
    assert_eq!(crashed.kept.tasks, hostile());
    let bench = bench.reopened();
    assert!(bench.kept.clean && !bench.kept.rebooted);
    assert_eq!(bench.kept.tasks, hostile());
}

#[test]
fn entries_come_back_as_they_were_whatever_is_in_them() {
    let place = place();
    let mut bench = Bench::open(place.path());
    let high = Stamp { ino: u64::MAX, ctime: i64::MIN, mtime: i64::MAX, btime: -1, size: u64::MAX };
    let listed = vec![
        Seen { name: b""[..].into(), kind: Kind::Other, stamp: Stamp::default() },
        Seen { name: b"\0\xff'"[..].into(), kind: Kind::Directory, stamp: high },
        seen(&[255; 255], 9),
    ];
    let identity = Identity { ino: u64::MAX, btime: i64::MIN, dev: u64::MAX };
    let first = bench.join(identity, listed.clone(), true);
    assert_eq!(first.known, None);
    bench.settle();
    let mut bench = bench.reopened();
    let again = bench.join(identity, vec![], true);
    assert_eq!((again.index, again.known), (first.index, Some(listed)));
}

#[test]
fn of_one_task_only_the_last_word_is_written() {
    let place = place();
    let mut bench = Bench::open(place.path());
    let later = TaskRow { attempt: 3, state: RowState::Running, ..task(1, b"/a") };
    bench.say([
        Say::Task(task(1, b"/a")),
        Say::Task(task(2, b"/b")),
        Say::Task(task(3, b"/c")),
        Say::Drop(TaskId(2)),
        Say::Task(later.clone()),
        Say::Ended(TaskId(3)),
        Say::Ended(TaskId(4)),
        Say::Drop(TaskId(5)),
    ]);
    let ended = TaskRow { state: RowState::Done, ..task(3, b"/c") };
    let bench = bench.reopened();
    assert_eq!(bench.kept.tasks, [later, ended]);
}

fn ended(id: u128, outcome: Outcome) -> EndedRow {
    let (scheduler, event) = ("job".into(), Arc::new(event(b"/w/\xff")));
    let took = Duration::from_nanos(7);
    EndedRow { id: TaskId(id), scheduler, event, attempt: 2, outcome, took, at: -5 }
}

#[test]
fn what_has_ended_comes_back_as_it_was_however_it_ended() {
    let place = place();
    let mut bench = Bench::open(place.path());
    let outcomes = [
        Outcome::Done(None),
        Outcome::Done(Some("moved /a to /b".into())),
        Outcome::Exited(i32::MIN, "\u{0}last\nwords".into()),
        Outcome::Signalled(9, String::new()),
        Outcome::Failed("it did not work".into()),
        Outcome::Refused("it cannot work".into()),
        Outcome::Stopped,
    ];
    let rows: Vec<EndedRow> = (0..).zip(outcomes).map(|(id, it)| ended(id, it)).collect();
    bench.say(rows.iter().cloned().map(Say::Finished));
    assert_eq!(bench.crashed().1.kept.history, rows);
    assert_eq!(bench.reopened().kept.history, rows);
}

#[test]
fn of_what_has_ended_as_much_is_kept_as_is_remembered() {
    let place = place();
    let mut bench = Bench::open(place.path());
    let mut history = History::default();
    let last = u128::try_from(REMEMBERED).unwrap() * 3;
    for id in 0..last {
        // Failures enough for their ring to go round, and then none for long.
        let failed = id % 2 == 0 && id < last / 2 || id % 500 == 0;
        let outcome = if failed { Outcome::Failed("no".into()) } else { Outcome::Done(None) };
        let row = ended(id, outcome);
        let EndedRow { id, scheduler, event, attempt, outcome, took, .. } = row.clone();
        let (at, before) = (pyinotifyd_core::time::Instant::ZERO, Duration::ZERO);
        history.add(Finished { id, scheduler, event, attempt, outcome, took, at, before });
        bench.say([Say::Finished(row)]);
        // The rings go on where they were.
        if id.0 % 601 == 0 {
            bench = bench.reopened();
        }
    }
    let ids: Vec<TaskId> = bench.crashed().1.kept.history.iter().map(|it| it.id).collect();
    assert_eq!(ids, history.iter().map(|it| it.id).collect::<Vec<_>>());
    let rows: i64 = rusqlite::Connection::open(place.path().join(FILE))
        .unwrap()
        .query_row("SELECT count(*) FROM history", [], |row| row.get(0))
        .unwrap();
    assert!(rows <= 2 * i64::try_from(REMEMBERED).unwrap(), "{rows}");
}

#[test]
fn a_store_of_version_1_opens_and_goes_on() {
    let place = place();
    let mut bench = Bench::open(place.path());
    bench.say(hostile().into_iter().map(Say::Task));
    drop(bench.reopened());
    let connection = rusqlite::Connection::open(place.path().join(FILE)).unwrap();
    for column in ["leader_pid", "leader_started", "leader_task"] {
        connection.execute(&format!("ALTER TABLE task DROP COLUMN {column}"), []).unwrap();
    }
    connection.execute("DROP TABLE history", []).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    drop(connection);
    let mut bench = Bench::open(place.path());
    let rows = hostile().into_iter().map(|it| TaskRow { leader: None, ..it });
    assert_eq!((&bench.set_aside, &*bench.kept.tasks), (&None, &*rows.collect::<Vec<_>>()));
    bench.say(hostile().into_iter().map(Say::Task));
    assert_eq!(bench.reopened().kept.tasks, hostile());
}

#[test]
fn it_is_known_as_which_process_a_task_runs_until_it_does_not() {
    let place = place();
    let mut bench = Bench::open(place.path());
    let leader = Leader { pid: u32::MAX, since: u64::MAX, task: TaskId(u128::MAX) };
    let running = |id| TaskRow { state: RowState::Running, ..task(id, b"/a") };
    let leaders = |bench: &Bench| -> Vec<Option<Leader>> {
        bench.crashed().1.kept.tasks.iter().map(|it| it.leader).collect()
    };
    bench.say((0..4).map(|id| Say::Task(running(id))));
    bench.say([Say::Spawned((0..4).map(TaskId).collect(), leader), Say::Ended(TaskId(0))]);
    assert_eq!(leaders(&bench), [None, Some(leader), Some(leader), Some(leader)]);
    // The next of the same run, and one of whom it is said with its row, and one that does not run.
    let next = Leader { pid: 1, ..leader };
    bench.say([
        Say::Spawned(vec![TaskId(1)], next),
        Say::Task(running(2)),
        Say::Task(running(3)),
        Say::Spawned(vec![TaskId(3), TaskId(4)], next),
    ]);
    assert_eq!(leaders(&bench), [None, Some(next), None, Some(next)]);
    // Of another boot it says nothing, at this start and at the next.
    let connection = rusqlite::Connection::open(place.path().join(FILE)).unwrap();
    connection.execute("UPDATE meta SET value = 'another' WHERE key = 'boot_id'", []).unwrap();
    drop(connection);
    let bench = bench.reopened();
    assert!(bench.kept.rebooted);
    assert_eq!(leaders(&bench), [None; 4]);
}

#[test]
fn a_task_keeps_the_state_of_its_file_from_before_its_run() {
    let place = place();
    let file = place.path().join("file");
    fs::write(&file, b"1").unwrap();
    let path = file.to_str().unwrap().as_bytes();
    let mut bench = Bench::open(&place.path().join("state"));
    bench.say([Say::Task(task(1, path))]);
    let before = super::eyes::state(path).unwrap().1;
    fs::write(&file, b"22").unwrap();
    bench.say([Say::Ended(TaskId(1))]);
    // Of a run that is over before its task was written, nobody knows what it has seen.
    bench.say([Say::Task(task(2, path)), Say::Ended(TaskId(2))]);
    bench.say([Say::Task(task(3, b"/no/such/file"))]);
    let (_copy, crashed) = bench.crashed();
    let stamps: Vec<Option<Stamp>> = crashed.kept.tasks.iter().map(|it| it.stamp).collect();
    assert_eq!(stamps, [Some(before), None, None]);
    let states: Vec<RowState> = crashed.kept.tasks.iter().map(|it| it.state).collect();
    assert_eq!(states, [RowState::Done, RowState::Done, RowState::Pending]);
}

#[test]
fn a_state_that_may_change_without_showing_is_not_kept_with_a_task() {
    let place = place();
    let file = place.path().join("file");
    fs::write(&file, b"1").unwrap();
    let settings = Settings { racy: Duration::from_secs(3600), ..AT_ONCE };
    let mut bench = Bench::open_with(&place.path().join("state"), settings).unwrap();
    bench.say([Say::Task(task(1, file.to_str().unwrap().as_bytes()))]);
    assert_eq!(bench.crashed().1.kept.tasks[0].stamp, None);
}

#[test]
fn replies_come_in_the_order_of_what_was_said() {
    let place = place();
    let mut bench = Bench::open(place.path());
    let join =
        |ticket| Say::Join { ticket, identity: dir(ticket), listed: vec![], baseline: false };
    let replies = bench.say([Say::Sync(1), join(1), Say::Sync(2), join(2), join(1), Say::Sync(3)]);
    let joined = |ticket, index, known: bool| Reply::Joined {
        ticket,
        index: IndexId(index),
        known: known.then(Vec::new),
    };
    let expected = [
        Reply::Committed(1),
        joined(1, 1, false),
        Reply::Committed(2),
        joined(2, 2, false),
        joined(1, 1, true),
        Reply::Committed(3),
    ];
    assert_eq!(replies, expected);
}

#[test]
fn what_the_watches_cover_is_given_back() {
    let place = place();
    let mut bench = Bench::open(place.path());
    assert_eq!(bench.kept.coverage, None);
    bench.say([Say::Covers(b"x".to_vec()), Say::Covers(b"\0\xff".to_vec())]);
    assert_eq!(bench.reopened().kept.coverage.as_deref(), Some(&b"\0\xff"[..]));
}

#[test]
fn directories_that_are_gone_or_not_joined_are_forgotten() {
    let place = place();
    let mut bench = Bench::open(place.path());
    for ino in 1..=4 {
        bench.join(dir(ino), vec![seen(b"a", ino)], true);
    }
    bench.settle();
    let mut bench = bench.reopened();
    let (first, second) = (bench.join(dir(1), vec![], false), bench.join(dir(2), vec![], false));
    bench.say([Say::Gone(first.index), Say::Reconciled, Say::Gone(IndexId::NONE)]);
    bench.settle();
    let mut bench = bench.reopened();
    for ino in [1, 3, 4] {
        let joined = bench.join(dir(ino), vec![], false);
        assert_eq!(joined.known, None, "{ino}");
        assert!(joined.index > second.index);
    }
    assert_eq!(bench.join(dir(2), vec![], true).known, Some(vec![seen(b"a", 2)]));
}

#[test]
fn a_baseline_is_what_was_seen_of_a_directory_that_is_known_as_well() {
    let place = place();
    let mut bench = Bench::open(place.path());
    bench.join(dir(1), vec![seen(b"a", 1), seen(b"b", 2)], true);
    bench.settle();
    let listed = vec![seen(b"b", 2), seen(b"c", 3)];
    bench.join(dir(1), listed.clone(), true);
    bench.settle();
    let mut bench = bench.reopened();
    assert_eq!(bench.join(dir(1), vec![], false).known, Some(listed));
}

#[test]
fn a_number_of_a_directory_is_not_given_twice() {
    let place = place();
    let mut bench = Bench::open(place.path());
    let first = bench.join(dir(1), vec![], true).index;
    bench.say([Say::Gone(first)]);
    assert_ne!(bench.join(dir(2), vec![], true).index, first);
}

#[test]
fn a_boot_is_told_from_another() {
    let place = place();
    drop(Bench::open(place.path()));
    let connection = rusqlite::Connection::open(place.path().join(FILE)).unwrap();
    connection.execute("UPDATE meta SET value = 'other' WHERE key = 'boot_id'", []).unwrap();
    drop(connection);
    assert!(Bench::open(place.path()).kept.rebooted);
    assert!(!Bench::open(place.path()).kept.rebooted);
}

#[test]
fn an_administrator_can_read_it() {
    let place = place();
    let mut bench = Bench::open(place.path());
    bench.say([Say::Task(task(1, b"/srv/in/a"))]);
    let reader = rusqlite::Connection::open(place.path().join(FILE)).unwrap();
    let row: (String, String, String) = reader
        .query_row(
            "SELECT scheduler, state, CAST(pathname AS TEXT) FROM task WHERE event_type = 'IN_CLOSE_WRITE'",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap();
    assert_eq!(row, ("job".into(), "pending".into(), "/srv/in/a".into()));
}
