//! Full disks, and those that cannot be written to.
//!
//! They are file systems of their own in a mount namespace of their own, so the test runs itself
//! again in there.

use std::{fs::OpenOptions, io::Write, process::Command};

use super::*;

/// Tells the inner run where its file system is.
const WHERE: &str = "PYINOTIFYD_TEST_FULL";

/// Runs `test` on a small file system; `name` is the test's own.
fn on_small_disk(name: &str, size: &str, test: impl FnOnce(&Path)) {
    if let Some(at) = std::env::var_os(WHERE) {
        return test(Path::new(&at));
    }
    let place = place();
    let script = format!("mount -t tmpfs -o size={size} tmpfs \"$0\" && exec \"$@\"");
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "/bin/sh", "-c", script]);
        command.arg(place.path()).env(WHERE, place.path());
        command
    };
    let tried = unshare("mount -t tmpfs tmpfs \"$0\"").output();
    if !tried.is_ok_and(|it| it.status.success()) {
        eprintln!("skipped: a small disk, because `unshare` or `mount` is not permitted");
        return;
    }
    let mut inner = unshare(&script);
    inner.arg(std::env::current_exe().unwrap());
    inner.args(["--exact", &format!("store::tests::full::{name}"), "--nocapture"]);
    let done = inner.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.contains("1 passed"), "{said}\n{errors}");
}

/// Takes all room there is.
fn fill(at: &Path) -> PathBuf {
    let path = at.join("filling");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    while file.write_all(&[1; 1]).is_ok() {}
    path
}

fn ids(bench: &Bench) -> Vec<u128> {
    let copy = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    copy_store(&bench.dir, copy.path());
    Bench::open(copy.path()).kept.tasks.iter().map(|it| it.id.0).collect()
}

/// What trouble it tells of.
fn told(replies: &[Reply]) -> Vec<String> {
    let trouble = replies.iter().filter(|it| matches!(it, Reply::Trouble(_)));
    trouble.map(|it| format!("{it:?}")).collect()
}

fn is_degraded(replies: &[Reply]) -> bool {
    replies.iter().any(|it| matches!(it, Reply::Trouble(Trouble::Degraded { .. })))
}

#[test]
fn a_full_disk_loses_nothing_and_is_recovered_from() {
    on_small_disk("a_full_disk_loses_nothing_and_is_recovered_from", "8m", |at| {
        let mut bench = Bench::open(&at.join("state"));
        let mut out = Vec::new();
        bench.keeper.begin(bench.now, &mut out);
        assert_eq!(out, []);
        let ballast = at.join("state/ballast");
        assert!(ballast.exists());
        let filling = fill(at);
        // The log has room for some commits until it grows.
        let mut id = 0;
        let mut replies = Vec::new();
        while !is_degraded(&replies) {
            replies = bench.say([Say::Task(task(id, b"/a")), Say::Sync(id.try_into().unwrap())]);
            id += 1;
        }
        assert!(!ballast.exists(), "it was given away");
        let full = "Trouble(Degraded { error: \"database or disk is full\" })";
        assert_eq!(told(&replies), [full]);
        assert_eq!(replies.last(), Some(&Reply::Committed((id - 1).try_into().unwrap())));
        // Then that is full as well.
        fill(at);
        let mut last = replies;
        while last.iter().any(|it| matches!(it, Reply::Committed(_))) {
            last = bench.say([Say::Task(task(id, b"/a")), Say::Sync(id.try_into().unwrap())]);
            id += 1;
        }
        assert_eq!(last, [], "told once");
        // What is said now waits behind it, in order.
        let written = ids(&bench).len();
        assert_eq!(written as u128, id - 1);
        assert_eq!(bench.say([Say::Task(task(id, b"/a")), Say::Drop(TaskId(0)), Say::Sync(7)]), []);
        let first = bench.keeper.poll_timeout().unwrap();
        bench.now = first;
        assert_eq!(bench.work(), []);
        let second = bench.keeper.poll_timeout().unwrap();
        assert!(second - first >= Duration::from_secs(2), "later and later");
        assert_eq!(ids(&bench).len(), written);
        fs::remove_file(filling).unwrap();
        bench.now = second;
        let replies = bench.work();
        let expected = [
            Reply::Committed((id - 1).try_into().unwrap()),
            Reply::Committed(7),
            Reply::Trouble(Trouble::Recovered),
        ];
        assert_eq!(replies, expected);
        assert!(ballast.exists());
        assert_eq!(ids(&bench), (1..=id).collect::<Vec<_>>());
    });
}

#[test]
fn an_end_on_a_full_disk_writes_what_the_ballast_has_room_for() {
    on_small_disk("an_end_on_a_full_disk_writes_what_the_ballast_has_room_for", "8m", |at| {
        let mut bench = Bench::open(&at.join("state"));
        bench.keeper.begin(bench.now, &mut Vec::new());
        fill(at);
        let replies = bench.say((0..500).map(|id| Say::Task(task(id, b"/a"))).chain([Say::Stop]));
        assert!(is_degraded(&replies));
        drop(bench);
        let opened = Bench::open(&at.join("state"));
        assert_eq!((opened.kept.clean, opened.kept.tasks.len()), (true, 500));
    });
}

#[test]
fn a_store_can_be_opened_on_a_full_disk_that_has_its_ballast() {
    on_small_disk("a_store_can_be_opened_on_a_full_disk_that_has_its_ballast", "8m", |at| {
        let mut bench = Bench::open(&at.join("state"));
        bench.keeper.begin(bench.now, &mut Vec::new());
        bench.say([Say::Task(task(1, b"/a"))]);
        drop(bench.reopened());
        fill(at);
        let mut bench = Bench::open(&at.join("state"));
        assert_eq!(bench.kept.tasks.len(), 1);
        let mut out = Vec::new();
        bench.keeper.begin(bench.now, &mut out);
        assert_eq!(told(&out), ["Trouble(Tight { error: \"no space left on device\" })"]);
        // There is room enough for nothing any more.
        fill(at);
        let mut id = 2;
        while !is_degraded(&out) {
            out = bench.say([Say::Task(task(id, b"/a")), Say::Sync(7)]);
            id += 1;
        }
        assert_eq!(told(&out), ["Trouble(Degraded { error: \"database or disk is full\" })"]);
        drop(bench);
        fill(at);
        let error = Bench::open_with(&at.join("state"), AT_ONCE).err().unwrap();
        assert!(matches!(error, OpenError::NoRoom { .. }), "{error}");
    });
}

#[test]
fn no_inodes_are_no_room() {
    on_small_disk("no_inodes_are_no_room", "8m,nr_inodes=12", |at| {
        let error = || {
            for number in 0..100 {
                fs::write(at.join(number.to_string()), "").unwrap_or_default();
            }
            Bench::open_with(&at.join("state"), AT_ONCE).err().unwrap()
        };
        fs::create_dir(at.join("state")).unwrap();
        fs::write(at.join("state/lock"), "").unwrap();
        let error = error();
        assert!(matches!(error, OpenError::NoRoom { .. }), "{error}");
    });
}

#[test]
fn a_disk_that_cannot_be_written_to_is_an_error_and_sets_nothing_aside() {
    let name = "a_disk_that_cannot_be_written_to_is_an_error_and_sets_nothing_aside";
    on_small_disk(name, "8m", |at| {
        let state = at.join("state");
        let mut bench = Bench::open(&state);
        bench.say([Say::Task(task(1, b"/a"))]);
        drop(bench.reopened());
        let remount = |how: &str| {
            let mut mount = Command::new("mount");
            let done = mount.args(["-o", &format!("remount,{how}")]).arg(at).status().unwrap();
            assert!(done.success());
        };
        remount("ro");
        let error = Bench::open_with(&state, AT_ONCE).err().unwrap();
        assert!(error.to_string().contains("read-only file system"), "{error}");
        remount("rw");
        let bench = Bench::open(&state);
        assert_eq!((bench.set_aside, bench.kept.tasks.len()), (None, 1));
    });
}

#[test]
fn after_a_fault_that_is_no_lack_of_room_nothing_is_written() {
    let place = place();
    let mut bench = Bench::open(place.path());
    // The table is gone: as good a fault as any.
    let other = rusqlite::Connection::open(place.path().join(FILE)).unwrap();
    other.execute_batch("ALTER TABLE task RENAME TO elsewhere").unwrap();
    let replies = bench.say([Say::Task(task(1, b"/a")), Say::Sync(1)]);
    let error = "no such table: task";
    assert_eq!(replies, [Reply::Trouble(Trouble::Failed { error: error.into() })]);
    other.execute_batch("ALTER TABLE elsewhere RENAME TO task").unwrap();
    assert_eq!(bench.say([Say::Task(task(2, b"/a")), Say::Sync(2)]), []);
    assert_eq!(bench.keeper.poll_timeout(), None);
    assert_eq!(bench.crashed().1.kept.tasks, []);
}

#[test]
fn a_store_that_somebody_else_writes_to_is_waited_for() {
    let place = place();
    let mut bench = Bench::open(place.path());
    let other = rusqlite::Connection::open(place.path().join(FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let replies = bench.say([Say::Task(task(1, b"/a")), Say::Sync(1)]);
    let error = "database is locked".into();
    assert_eq!(replies, [Reply::Trouble(Trouble::Degraded { error })]);
    other.execute_batch("ROLLBACK").unwrap();
    bench.now = bench.keeper.poll_timeout().unwrap();
    assert_eq!(bench.work(), [Reply::Committed(1), Reply::Trouble(Trouble::Recovered)]);
}
