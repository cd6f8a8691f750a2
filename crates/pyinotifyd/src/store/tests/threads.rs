//! The thread, its queue and its end.

use std::sync::mpsc;

use super::*;
use crate::{
    log::heard,
    store::{Opened, Store, Writer},
};

fn start(dir: &Path) -> (Writer, mpsc::Receiver<Reply>) {
    let Opened { store, .. } = Store::open(dir).unwrap();
    let (sender, replies) = mpsc::channel();
    let writer = store.start_with(AT_ONCE, Box::new(move |reply| drop(sender.send(reply))));
    (writer.unwrap(), replies)
}

#[test]
fn what_was_said_before_a_reply_is_on_the_disk_and_nothing_is_lost_at_the_end() {
    let place = place();
    let (writer, replies) = start(place.path());
    for id in 0..1000 {
        writer.say(Say::Task(task(id, b"/a")));
        if id % 100 == 99 {
            writer.say(Say::Sync(u64::try_from(id).unwrap()));
            assert_eq!(replies.recv().unwrap(), Reply::Committed(u64::try_from(id).unwrap()));
            let copy = super::place();
            copy_store(place.path(), copy.path());
            assert_eq!(Bench::open(copy.path()).kept.tasks.len() as u128, id + 1);
        }
    }
    assert_eq!(writer.stats().tasks(), 1000);
    writer.say(Say::Task(task(1000, b"/a")));
    assert!(writer.stats().bytes() > 0 && writer.stats().commits() >= 10);
    writer.join();
    assert!(replies.recv().is_err(), "no reply comes after the end");
    assert!(!place.path().join(format!("{FILE}-wal")).exists(), "all is in one file");
    let opened = Store::open(place.path()).unwrap();
    assert!(opened.kept.clean);
    assert_eq!(opened.kept.tasks.len(), 1001);
}

#[test]
fn who_drops_it_ends_it_well() {
    let place = place();
    let (writer, _replies) = start(place.path());
    writer.say(Say::Task(task(1, b"/a")));
    drop(writer);
    let opened = Store::open(place.path()).unwrap();
    assert_eq!((opened.kept.clean, opened.kept.tasks.len()), (true, 1));
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let place = place();
    let Opened { store, .. } = Store::open(place.path()).unwrap();
    // It hangs as it would in a disk that does not answer.
    let (release, released) = mpsc::channel::<()>();
    let (sender, hangs) = mpsc::channel();
    let reply = Box::new(move |_| {
        sender.send(()).unwrap();
        let _ = released.recv();
    });
    let writer = store.start_with(AT_ONCE, reply).unwrap().with_patience(Duration::from_millis(1));
    writer.say(Say::Sync(1));
    hangs.recv().unwrap();
    writer.say(Say::Task(task(1, b"/a")));
    insta::assert_snapshot!("late", heard(|| drop(writer)).join("\n"));
    drop(release);
}

#[test]
fn nothing_is_heard_after_the_end() {
    let place = place();
    let (writer, _replies) = start(place.path());
    writer.say(Say::Stop);
    writer.say(Say::Task(task(1, b"/a")));
    drop(writer);
    assert_eq!(Store::open(place.path()).unwrap().kept.tasks, []);
}

#[test]
fn a_round_goes_through_the_thread() {
    let place = place();
    let (writer, replies) = start(place.path());
    writer.say(Say::Join {
        ticket: 1,
        identity: dir(1),
        listed: vec![seen(b"a", 1)],
        baseline: true,
    });
    assert!(matches!(replies.recv().unwrap(), Reply::Joined { ticket: 1, .. }));
    assert_eq!(replies.recv().unwrap(), Reply::WantFence(1));
    writer.say(Say::Passed(1));
    drop(writer);
    let known = Bench::open(place.path()).join(dir(1), vec![], true).known;
    assert_eq!(known, Some(vec![seen(b"a", 1)]));
}

#[test]
fn many_may_wait_and_all_get_their_reply_in_order() {
    let place = place();
    let Opened { store, .. } = Store::open(place.path()).unwrap();
    let (sender, replies) = mpsc::channel();
    let reply = Box::new(move |reply| drop(sender.send(reply)));
    // With a linger that would be noticed, if anybody waited for it.
    let settings = Settings { linger: Duration::from_secs(3600), ..AT_ONCE };
    let writer = store.start_with(settings, reply).unwrap();
    for number in 0..1000 {
        writer.say(Say::Task(task(u128::from(number), b"/a")));
        writer.say(Say::Sync(number));
    }
    let committed: Vec<Reply> = replies.iter().take(1000).collect();
    assert_eq!(committed, (0..1000).map(Reply::Committed).collect::<Vec<_>>());
    assert!(writer.stats().commits() <= 1000);
    // Nobody waits for these, but they are enough.
    for id in 0..256 {
        writer.say(Say::Task(task(10_000 + id, b"/a")));
    }
    while writer.stats().tasks() < 1256 {
        std::thread::yield_now();
    }
}

#[test]
fn two_do_not_share_a_directory() {
    let place = place();
    let (writer, _replies) = start(place.path());
    match Store::open(place.path()) {
        Err(OpenError::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(writer);
    let opened = Store::open(place.path()).unwrap();
    let error = Store::open(place.path()).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("another pyinotifyd has it (process "), "{text}");
    assert!(error.hint().is_some());
    drop(opened);
}

#[test]
fn a_directory_is_made_with_no_rights_for_others_and_one_with_rights_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let place = place();
    let deep = place.path().join("a/b");
    drop(Store::open(&deep).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&deep), 0o700);
    assert_eq!(mode(&deep.join(FILE)), 0o600);
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o720)).unwrap();
    let error = Store::open(&deep).unwrap_err();
    assert!(error.to_string().ends_with("others can write in it (mode 0720)"), "{error}");
    fs::set_permissions(&deep, fs::Permissions::from_mode(0o755)).unwrap();
    drop(Store::open(&deep).unwrap());
    let file = place.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Store::open(&file), Err(OpenError::Kind { .. })));
    let linked = place.path().join("linked");
    fs::create_dir(&linked).unwrap();
    fs::set_permissions(&linked, fs::Permissions::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", linked.join(FILE)).unwrap();
    assert!(matches!(Store::open(&linked), Err(OpenError::Kind { .. })));
}

#[test]
fn a_directory_of_somebody_else_is_refused() {
    let place = place();
    if std::os::unix::fs::chown(place.path(), Some(12345), None).is_err() {
        eprintln!("skipped: somebody else's directory, because this is not root");
        return;
    }
    let error = Store::open(place.path()).unwrap_err();
    assert!(matches!(error, OpenError::Owner { uid: 12345, .. }), "{error}");
}

#[test]
fn a_thread_that_ends_by_a_fault_of_its_own_is_told_of() {
    let place = place();
    let Opened { store, .. } = Store::open(place.path()).unwrap();
    let (sender, replies) = mpsc::channel();
    let reply = move |reply| {
        let fails = matches!(reply, Reply::Committed(_));
        sender.send(reply).unwrap();
        assert!(!fails, "on purpose");
    };
    let writer = store.start_with(AT_ONCE, Box::new(reply)).unwrap();
    writer.say(Say::Sync(1));
    assert_eq!(replies.recv().unwrap(), Reply::Committed(1));
    let error = "the store's thread has ended by a fault of its own".into();
    assert_eq!(replies.recv().unwrap(), Reply::Trouble(Trouble::Failed { error }));
    writer.join();
}
