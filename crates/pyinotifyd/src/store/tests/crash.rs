//! What is left when the power fails.

use super::*;

#[test]
fn everything_that_was_committed_is_there_after_each_commit() {
    let place = place();
    let mut bench = Bench::open(place.path());
    let mut number = 0;
    let mut expected: Vec<u128> = Vec::new();
    for round in 0..60_u64 {
        number += 1;
        let id = u128::from(round);
        let mut said = vec![Say::Task(task(id, b"/a")), Say::Task(task(1000 + id, b"/b"))];
        expected.extend([id, 1000 + id]);
        if round % 3 == 2 {
            said.push(Say::Drop(TaskId(id - 1)));
            expected.retain(|it| *it != id - 1);
        }
        said.push(Say::Sync(number));
        assert!(bench.say(said).contains(&Reply::Committed(number)));
        let (_copy, crashed) = bench.crashed();
        let mut ids: Vec<u128> = crashed.kept.tasks.iter().map(|it| it.id.0).collect();
        ids.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ids, expected);
    }
}

#[test]
fn a_log_that_is_torn_anywhere_holds_whole_commits_and_no_parts() {
    let place = place();
    let mut bench = Bench::open(place.path());
    // In each commit one task goes and two come, so a part of one would be seen.
    let mut log_lens = Vec::new();
    let log = place.path().join(format!("{FILE}-wal"));
    for id in 0..20 {
        let mut said = vec![Say::Task(task(2 * id, b"/a")), Say::Task(task(2 * id + 1, b"/b"))];
        if id > 0 {
            said.push(Say::Drop(TaskId(2 * id - 1)));
        }
        bench.say(said);
        log_lens.push(fs::metadata(&log).unwrap().len());
    }
    let whole = fs::read(&log).unwrap();
    for cut in (0..whole.len()).step_by(1009) {
        let copy = super::place();
        copy_store(place.path(), copy.path());
        fs::write(copy.path().join(format!("{FILE}-wal")), &whole[..cut]).unwrap();
        let torn = Bench::open(copy.path());
        assert_eq!(torn.set_aside, None);
        let commits = log_lens.iter().filter(|it| **it <= cut as u64).count() as u128;
        let ids: Vec<u128> = torn.kept.tasks.iter().map(|it| it.id.0).collect();
        let mut expected: Vec<u128> = (0..commits).map(|it| 2 * it).collect();
        expected.extend(commits.checked_sub(1).map(|it| 2 * it + 1));
        assert_eq!(ids, expected, "cut at {cut}");
    }
}

#[test]
fn a_log_that_is_written_back_loses_nothing() {
    let place = place();
    let mut bench = Bench::open(place.path());
    for id in 0..1200 {
        bench.say([Say::Task(task(id, b"/a"))]);
    }
    assert!(fs::metadata(place.path().join(FILE)).unwrap().len() > 100_000, "it was");
    assert_eq!(bench.crashed().1.kept.tasks.len(), 1200);
}
