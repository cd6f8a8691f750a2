//! Files that are no store, or not a whole one.

use proptest::prelude::*;
use rusqlite::Connection;

use super::*;

/// A store with enough in it to have several pages, as one file.
fn filled() -> TempDir {
    let place = place();
    let mut bench = Bench::open(place.path());
    bench.say((0..200).map(|id| Say::Task(task(id, format!("/w/{id}").as_bytes()))));
    let listed = (0..200_u64).map(|it| seen(format!("name {it}").as_bytes(), it)).collect();
    bench.join(dir(1), listed, true);
    bench.say([Say::Finished(ended(1, Outcome::Done(None)))]);
    bench.settle();
    drop(bench.reopened());
    place
}

fn with_content(content: &[u8]) -> TempDir {
    let place = place();
    fs::write(place.path().join(FILE), content).unwrap();
    place
}

/// Opens what was tampered with: it is set aside as it was, and a new store is begun.
fn is_set_aside(place: &Path) {
    let content = fs::read(place.join(FILE)).unwrap();
    let mut bench = Bench::open(place);
    let aside = bench.set_aside.clone().expect("it is set aside").path;
    let name = aside.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("state.sqlite.corrupt-"), "{name}");
    assert!(name["state.sqlite.corrupt-".len()..].parse::<u64>().is_ok(), "{name}");
    assert!(fs::read(&aside).unwrap() == content, "as it was");
    assert_eq!((bench.kept.clean, bench.kept.tasks.len()), (false, 0));
    bench.say([Say::Task(task(1, b"/a"))]);
    let bench = bench.reopened();
    assert_eq!((bench.set_aside, bench.kept.tasks.len()), (None, 1));
}

#[test]
fn what_is_no_database_is_set_aside() {
    is_set_aside(with_content(b"x").path());
    is_set_aside(with_content(&vec![0; 100_000]).path());
    is_set_aside(with_content(b"SQLite format 3\0").path());
    is_set_aside(with_content(format!("SQLite format 3\0{}", "x".repeat(5000)).as_bytes()).path());
}

#[test]
fn a_database_of_somebody_else_is_set_aside_untouched() {
    let place = place();
    let other = Connection::open(place.path().join(FILE)).unwrap();
    other.execute_batch("CREATE TABLE x (a); PRAGMA user_version = 99;").unwrap();
    drop(other);
    is_set_aside(place.path());
}

#[test]
fn a_file_that_was_never_written_is_a_new_store() {
    let place = with_content(b"");
    let bench = Bench::open(place.path());
    assert_eq!((bench.set_aside, bench.kept.clean), (None, true));
}

#[test]
fn what_belongs_to_a_broken_file_goes_with_it_and_two_do_not_meet() {
    let place = with_content(b"first");
    fs::write(place.path().join(format!("{FILE}-wal")), b"its log").unwrap();
    let first = Bench::open(place.path()).set_aside.unwrap().path;
    let mut log = first.clone().into_os_string();
    log.push("-wal");
    assert_eq!(fs::read(log).unwrap(), b"its log");
    fs::write(place.path().join(FILE), b"second").unwrap();
    let second = Bench::open(place.path()).set_aside.unwrap().path;
    assert_eq!(
        (fs::read(first).unwrap(), fs::read(second).unwrap()),
        (b"first".into(), b"second".into())
    );
}

#[test]
fn a_newer_version_is_refused_and_not_touched() {
    let place = place();
    let mut bench = Bench::open(place.path());
    bench.say([Say::Task(task(1, b"/a"))]);
    // Once in the file itself, and once in its log only, as a crash leaves it.
    for written_back in [false, true] {
        let copy = super::place();
        copy_store(place.path(), copy.path());
        let file = copy.path().join(FILE);
        let newer = Connection::open(&file).unwrap();
        newer.pragma_update(None, "user_version", 99).unwrap();
        let crashed = super::place();
        if written_back {
            drop(newer);
            copy_store(copy.path(), crashed.path());
        } else {
            copy_store(copy.path(), crashed.path());
            drop(newer);
        }
        let content = |name: &str| fs::read(crashed.path().join(name)).unwrap_or_default();
        let before = (content(FILE), content(&format!("{FILE}-wal")));
        assert_eq!(before.1.is_empty(), written_back);
        let error = Bench::open_with(crashed.path(), AT_ONCE).err().unwrap();
        assert!(matches!(error, OpenError::Newer { found: 99, known: 2, .. }), "{error}");
        assert!(error.hint().is_some());
        assert!(before == (content(FILE), content(&format!("{FILE}-wal"))), "not touched");
    }
}

#[test]
fn a_row_that_nobody_can_have_written_is_a_broken_file() {
    for change in [
        "UPDATE task SET state = 'x'",
        "UPDATE task SET event_type = 'IN_NOTHING'",
        "UPDATE task SET origin = ''",
        "UPDATE task SET id = x'00' WHERE scheduler = 'job'",
        "UPDATE task SET name_len = 9999",
        "UPDATE task SET name_len = -1",
        "UPDATE task SET mask = 99999999999",
        "UPDATE task SET attempt = -1",
        "DROP TABLE dir",
    ] {
        let place = place();
        let mut bench = Bench::open(place.path());
        bench.say([Say::Task(task(1, b"/a"))]);
        drop(bench.reopened());
        let connection = Connection::open(place.path().join(FILE)).unwrap();
        connection.execute_batch(change).unwrap();
        drop(connection);
        is_set_aside(place.path());
    }
}

#[test]
fn a_file_that_was_cut_short_is_set_aside() {
    let place = filled();
    let whole = fs::read(place.path().join(FILE)).unwrap();
    assert!(whole.len() > 20_000, "{}", whole.len());
    for len in [1, 99, 100, 4095, 4096, 8192, whole.len() / 2, whole.len() - 4096] {
        is_set_aside(with_content(&whole[..len]).path());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever bits fall over, opening ends in one of four ways, and what is given back are rows.
    #[test]
    fn no_bytes_do_harm(flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 1..20), header in any::<bool>()) {
        static WHOLE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let whole = WHOLE.get_or_init(|| fs::read(filled().path().join(FILE)).unwrap());
        let mut content = whole.clone();
        let len = if header { 100 } else { content.len() };
        for (at, bit) in flips {
            content[at.index(len)] ^= 1 << bit;
        }
        let place = with_content(&content);
        match Bench::open_with(place.path(), AT_ONCE) {
            Ok(mut bench) => {
                if bench.set_aside.is_some() {
                    prop_assert_eq!(bench.kept.tasks.len(), 0);
                }
                // What is found later ends it in an orderly way.
                let join = Say::Join { ticket: 1, identity: dir(1), listed: vec![], baseline: true };
                let replies = bench.say([Say::Task(task(9999, b"/a")), join, Say::Sync(1)]);
                let failed = matches!(replies.last(), Some(Reply::Trouble(Trouble::Failed { .. })));
                prop_assert!(failed || replies.contains(&Reply::Committed(1)), "{:?}", replies);
            }
            Err(OpenError::Newer { .. } | OpenError::Database { .. }) => (),
            Err(error) => prop_assert!(false, "{}", error),
        }
    }
}

/// Rows that the schema lets through, and no store writes.
#[test]
fn what_is_wrong_with_a_file_is_told() {
    let cases = [
        "UPDATE task SET state = 'lost'",
        "UPDATE task SET id = x'00' WHERE id = (SELECT min(id) FROM task)",
        "UPDATE task SET event_type = 'IN_NOTHING'",
        "UPDATE task SET origin = 'nowhere'",
        "UPDATE task SET name_len = 60000",
        "UPDATE task SET attempt = -1",
        "UPDATE history SET outcome = 'lost'",
        "DROP TABLE history",
        "PRAGMA application_id = 1",
    ];
    let mut told = Vec::new();
    for case in cases {
        let place = filled();
        let other = Connection::open(place.path().join(FILE)).unwrap();
        other.execute_batch(case).unwrap();
        drop(other);
        let error = Bench::open(place.path()).set_aside.expect(case).error;
        told.push(format!("{case}: {error}"));
    }
    insta::assert_snapshot!("told", told.join("\n"));
}

#[test]
fn an_entry_that_no_store_writes_is_told() {
    let place = filled();
    let mut bench = Bench::open(place.path());
    let other = Connection::open(place.path().join(FILE)).unwrap();
    other.execute_batch("UPDATE entry SET kind = 'door'").unwrap();
    let join = Say::Join { ticket: 7, identity: dir(1), listed: vec![], baseline: true };
    let error = "a row of the table entry has an unknown kind".into();
    assert_eq!(bench.say([join]), [Reply::Trouble(Trouble::Failed { error })]);
}
