//! What gets into the index, and when.

use super::*;

struct World {
    _place: TempDir,
    files: PathBuf,
    bench: Bench,
    index: IndexId,
}

const DIR: Identity = Identity { ino: 1, btime: 5, dev: 0 };

/// A store that knows an empty directory.
fn world() -> World {
    let place = place();
    let files = place.path().join("files");
    fs::create_dir(&files).unwrap();
    let mut bench = Bench::open(&place.path().join("state"));
    let index = bench.join(DIR, vec![], false).index;
    World { files, bench, index, _place: place }
}

impl World {
    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.files.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn touch(&mut self, name: &str) -> Vec<Reply> {
        let touch = touch(self.index, &self.files.join(name));
        self.bench.say([touch])
    }

    /// The names that a crash now would leave in the index.
    fn known(&self) -> Vec<String> {
        let known = self.bench.crashed().1.join(DIR, vec![], true).known.unwrap();
        known.iter().map(|it| String::from_utf8_lossy(&it.name).into_owned()).collect()
    }

    fn tasks(&self) -> Vec<u128> {
        self.bench.crashed().1.kept.tasks.iter().map(|it| it.id.0).collect()
    }

    fn path(&self, name: &str) -> Vec<u8> {
        self.files.join(name).to_str().unwrap().as_bytes().to_vec()
    }
}

#[test]
fn a_name_is_in_the_index_when_its_fence_has_passed_and_not_before() {
    let mut world = world();
    world.write("a", "1");
    assert_eq!(world.touch("a"), [Reply::WantFence(1)]);
    assert_eq!(world.known(), [""; 0]);
    let stamp = crate::store::eyes::state(&world.path("a")).unwrap().1;
    // The state is that of before the fence, whatever it is now.
    world.write("a", "22");
    assert_eq!(world.bench.say([Say::Passed(1)]), []);
    let known = world.bench.crashed().1.join(DIR, vec![], true).known.unwrap();
    assert_eq!(known, [Seen { name: b"a"[..].into(), kind: Kind::File, stamp }]);
}

#[test]
fn what_is_gone_leaves_the_index() {
    let mut world = world();
    let file = world.write("a", "1");
    world.touch("a");
    world.bench.say([Say::Passed(1)]);
    assert_eq!(world.known(), ["a"]);
    fs::remove_file(file).unwrap();
    world.touch("a");
    world.bench.say([Say::Passed(2)]);
    assert_eq!(world.known(), [""; 0]);
}

#[test]
fn what_is_touched_during_a_round_is_not_written_by_it() {
    let mut world = world();
    world.write("a", "1");
    world.write("b", "1");
    let (a, b) =
        (touch(world.index, &world.files.join("a")), touch(world.index, &world.files.join("b")));
    assert_eq!(world.bench.say([a, b]), [Reply::WantFence(1)]);
    assert_eq!(world.touch("a"), []);
    assert_eq!(world.bench.say([Say::Passed(1)]), [Reply::WantFence(2)]);
    assert_eq!(world.known(), ["b"]);
    world.bench.say([Say::Passed(2)]);
    assert_eq!(world.known(), ["a", "b"]);
}

#[test]
fn a_fence_of_no_round_confirms_nothing() {
    let mut world = world();
    world.write("a", "1");
    world.touch("a");
    world.bench.say([Say::Passed(0), Say::Passed(2)]);
    assert_eq!(world.known(), [""; 0]);
}

#[test]
fn what_was_lost_is_not_in_the_index_before_it_was_compared() {
    let mut world = world();
    world.write("a", "1");
    world.touch("a");
    assert_eq!(world.bench.say([Say::Lost, Say::Passed(1)]), []);
    assert_eq!(world.touch("a"), []);
    assert_eq!(world.known(), [""; 0]);
    assert_eq!(world.bench.say([Say::Reconciled]), [Reply::WantFence(2)]);
    world.bench.say([Say::Passed(2)]);
    assert_eq!(world.known(), ["a"]);
}

#[test]
fn a_name_that_may_change_without_showing_waits() {
    let place = place();
    let file = place.path().join("a");
    fs::write(&file, "1").unwrap();
    let settings = Settings { racy: Duration::from_secs(3600), ..AT_ONCE };
    let mut bench = Bench::open_with(&place.path().join("state"), settings).unwrap();
    let index = bench.join(DIR, vec![], false).index;
    assert_eq!(bench.say([touch(index, &file)]), [], "no fence for nothing");
    let next = bench.keeper.poll_timeout().unwrap();
    assert_eq!(next, bench.now + settings.racy, "and no look before it can help");
    assert_eq!(bench.say([touch(index, &place.path().join("gone"))]), []);
    bench.now = next;
    assert_eq!(bench.work(), [Reply::WantFence(1)], "what is gone cannot be racy");
}

#[test]
fn rounds_wait_for_their_pause() {
    let place = place();
    let settings = Settings { round_pause: Duration::from_millis(100), ..AT_ONCE };
    let mut bench = Bench::open_with(place.path(), settings).unwrap();
    assert_eq!(bench.keeper.poll_timeout(), None, "nothing to wake up for");
    let begun = bench.now;
    assert_eq!(bench.say([touch(IndexId(1), Path::new("/no/such/file"))]), []);
    bench.now += Duration::from_millis(60);
    assert_eq!(bench.say([touch(IndexId(1), Path::new("/no/such/other"))]), []);
    assert_eq!(bench.keeper.poll_timeout(), Some(begun + settings.round_pause));
    bench.now += Duration::from_millis(40);
    assert_eq!(bench.work(), [Reply::WantFence(1)]);
    assert_eq!(bench.keeper.poll_timeout(), None);
}

#[test]
fn a_baseline_counts_after_a_crash_only_if_its_fence_has_passed() {
    let place = place();
    let mut bench = Bench::open(place.path());
    let replies = bench.say([Say::Join {
        ticket: 1,
        identity: DIR,
        listed: vec![seen(b"a", 1), seen(b"b", 2)],
        baseline: true,
    }]);
    assert_eq!(replies[1..], [Reply::WantFence(1)], "although nothing was touched");
    let known = |bench: &Bench| bench.crashed().1.join(DIR, vec![], true).known;
    assert_eq!(known(&bench), Some(vec![]));
    // What is written while the round is open waits for the next.
    bench.join(dir(9), vec![seen(b"x", 1)], true);
    assert_eq!(bench.say([Say::Passed(1)]), [Reply::WantFence(2)]);
    assert_eq!(known(&bench), Some(vec![seen(b"a", 1), seen(b"b", 2)]));
    assert_eq!(bench.crashed().1.join(dir(9), vec![], true).known, Some(vec![]));
    assert_eq!(bench.say([Say::Passed(2)]), []);
    assert_eq!(bench.crashed().1.join(dir(9), vec![], true).known, Some(vec![seen(b"x", 1)]));
}

#[test]
fn rows_that_did_not_count_do_not_come_to_count_later() {
    let place = place();
    let mut bench = Bench::open(place.path());
    bench.join(DIR, vec![seen(b"a", 1)], true);
    let (_copy, mut crashed) = bench.crashed();
    crashed.join(dir(2), vec![seen(b"b", 1)], true);
    crashed.settle();
    assert_eq!(crashed.crashed().1.join(DIR, vec![], true).known, Some(vec![]));
    assert_eq!(crashed.crashed().1.join(dir(2), vec![], true).known, Some(vec![seen(b"b", 1)]));
}

#[test]
fn a_touch_takes_a_name_out_of_a_baseline_that_does_not_count_yet() {
    let place = place();
    let mut bench = Bench::open(place.path());
    let index = bench.join(DIR, vec![seen(b"a", 1), seen(b"b", 2)], true).index;
    assert_eq!(bench.say([touch(index, Path::new("/no/such/a"))]), []);
    bench.say([Say::Passed(1)]);
    let known = bench.crashed().1.join(DIR, vec![], true).known;
    assert_eq!(known, Some(vec![seen(b"b", 2)]));
}

#[test]
fn a_directory_that_is_gone_takes_its_names_along() {
    let mut world = world();
    world.write("a", "1");
    world.touch("a");
    let index = world.index;
    world.bench.say([Say::Gone(index), Say::Passed(1)]);
    assert_eq!(world.bench.crashed().1.join(DIR, vec![], true).known, None);
}

#[test]
fn a_memo_goes_when_the_index_says_the_same() {
    let mut world = world();
    world.bench.say([Say::Reconciled]);
    world.write("a", "1");
    let (a, b) = (task(1, &world.path("a")), task(2, &world.path("b")));
    let late = task(3, &world.path("a"));
    world.bench.say([Say::Task(a), Say::Task(b), Say::Task(late)]);
    let touch = touch(world.index, &world.files.join("a"));
    assert_eq!(world.bench.say([Say::Ended(TaskId(1)), touch]), [Reply::WantFence(1)]);
    assert_eq!(world.tasks(), [1, 2, 3]);
    // What ends during a round may be about a state that the round has not seen.
    world.bench.say([Say::Ended(TaskId(2)), Say::Ended(TaskId(3)), Say::Passed(1)]);
    assert_eq!(world.tasks(), [2, 3]);
    world.bench.settle();
    assert_eq!(world.tasks(), [0; 0]);
}

#[test]
fn a_memo_stays_as_long_as_its_name_is_behind() {
    let mut world = world();
    world.bench.say([Say::Reconciled]);
    let task = task(1, &world.path("a"));
    let touch = touch(world.index, &world.files.join("a"));
    world.bench.say([Say::Task(task), touch]);
    world.bench.say([Say::Ended(TaskId(1))]);
    world.touch("a");
    assert_eq!(world.bench.say([Say::Passed(1)]), [Reply::WantFence(2)]);
    assert_eq!(world.tasks(), [1]);
    world.bench.say([Say::Passed(2)]);
    assert_eq!(world.tasks(), [0; 0]);
}

#[test]
fn memos_of_before_a_start_stay_until_all_has_been_compared() {
    let place = place();
    let mut bench = Bench::open(place.path());
    bench.say([Say::Task(task(1, b"/a"))]);
    bench.say([Say::Ended(TaskId(1))]);
    let mut bench = bench.reopened();
    bench.join(DIR, vec![seen(b"a", 1)], true);
    bench.settle();
    assert_eq!(bench.crashed().1.kept.tasks.len(), 1);
    bench.say([Say::Reconciled]);
    bench.settle();
    assert_eq!(bench.crashed().1.kept.tasks.len(), 0);
}

#[test]
fn a_task_that_comes_again_is_no_memo() {
    let place = place();
    let mut bench = Bench::open(place.path());
    bench.say([Say::Reconciled, Say::Task(task(1, b"/a"))]);
    assert_eq!(bench.say([Say::Ended(TaskId(1))]), [Reply::WantFence(1)]);
    bench.say([Say::Task(task(1, b"/b")), Say::Passed(1)]);
    bench.settle();
    assert_eq!(bench.crashed().1.kept.tasks, [task(1, b"/b")]);
}
