//! Random histories of real files, of a daemon that hears of them late, and of crashes.
//!
//! The kernel's queue is a list here. After each word a crash is tried: what a new daemon would find
//! then must not make it believe that something was told which was not.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;

const NAMES: u8 = 5;

#[derive(Clone, Debug)]
enum Op {
    /// A file is written.
    Write(u8),
    /// A file is deleted, if it is there.
    Delete(u8),
    /// The daemon handles the next record of the kernel's queue.
    Handle,
    /// The thread gets its turn.
    Work,
    /// A run ends, if there is one.
    End(u8),
    /// The daemon is killed and starts again: all that it knew is gone but for the store.
    Crash,
    /// It ends and starts again.
    Restart,
    /// The kernel's queue overflows: the daemon hears of that, and compares all anew.
    Overflow,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => (0..NAMES).prop_map(Op::Write),
        2 => (0..NAMES).prop_map(Op::Delete),
        8 => Just(Op::Handle),
        6 => Just(Op::Work),
        3 => (0..NAMES).prop_map(Op::End),
        1 => Just(Op::Crash),
        1 => Just(Op::Restart),
        1 => Just(Op::Overflow),
    ];
    prop::collection::vec(op, 1..60)
}

/// What the kernel tells.
#[derive(Clone, Copy, Debug)]
enum Told {
    Changed(u8, u32),
    Fence(u64),
}

struct World {
    place: TempDir,
    /// Where the store is; a crash goes on with a copy.
    state: PathBuf,
    starts: u32,
    bench: Option<Bench>,
    index: IndexId,
    queue: VecDeque<Told>,
    /// Each file's last change, by number; even deleted ones.
    changes: BTreeMap<u8, u32>,
    count: u32,
    /// What was said and not written, so what a crash may lose.
    said: Vec<Say>,
    /// The change that each run is about.
    running: BTreeMap<u8, u32>,
    /// The change that was acted upon last.
    acted: BTreeMap<u8, u32>,
}

const DIR: Identity = Identity { ino: 77, btime: 5, dev: 0 };

impl World {
    fn new() -> Self {
        let place = place();
        fs::create_dir(place.path().join("files")).unwrap();
        let mut world = Self {
            state: place.path().join("state0"),
            place,
            starts: 0,
            bench: None,
            index: IndexId::NONE,
            queue: VecDeque::new(),
            changes: BTreeMap::new(),
            count: 0,
            said: Vec::new(),
            running: BTreeMap::new(),
            acted: BTreeMap::new(),
        };
        world.start();
        world
    }

    fn path(&self, name: u8) -> PathBuf {
        self.place.path().join("files").join(format!("f{name}"))
    }

    fn bytes(&self, name: u8) -> Vec<u8> {
        self.path(name).to_str().unwrap().as_bytes().to_vec()
    }

    fn state_of(&self, name: u8) -> Option<(Kind, Stamp)> {
        crate::store::eyes::state(&self.bytes(name))
    }

    /// A new daemon: it lists, compares, and tells what differs as if the kernel had told it.
    fn start(&mut self) {
        let mut bench = Bench::open(&self.state);
        assert_eq!(bench.set_aside, None);
        self.said.clear();
        self.queue.clear();
        let again = bench.kept.tasks.iter().filter(|it| it.state != RowState::Done);
        self.running = again.map(|it| (u8::try_from(it.id.0).unwrap(), it.attempt)).collect();
        let listed = self.listed();
        let joined = bench.join(DIR, listed.clone(), self.starts == 0);
        self.starts += 1;
        self.index = joined.index;
        let known = joined.known.unwrap_or(listed);
        self.bench = Some(bench);
        self.compare(&known);
        self.bench.as_mut().unwrap().say([Say::Reconciled]);
    }

    /// Takes what differs from the index as if the kernel had told of it.
    fn compare(&mut self, known: &[Seen]) {
        for name in 0..NAMES {
            let was = known.iter().find(|it| *it.name == *format!("f{name}").as_bytes());
            let is = self.state_of(name);
            if was.map(|it| (it.kind, it.stamp)) != is {
                let change = self.changes.get(&name).copied().unwrap_or(0);
                self.queue.push_back(Told::Changed(name, change));
            }
        }
    }

    fn listed(&self) -> Vec<Seen> {
        let seen = |name| {
            let (kind, stamp) = self.state_of(name)?;
            Some(Seen { name: format!("f{name}").into_bytes().into(), kind, stamp })
        };
        (0..NAMES).filter_map(seen).collect()
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Write(name) => {
                self.count += 1;
                // No two states are equal, whatever the clock does.
                fs::write(self.path(name), vec![1; self.count as usize]).unwrap();
                self.changed(name);
            }
            Op::Delete(name) => {
                if fs::remove_file(self.path(name)).is_ok() {
                    self.count += 1;
                    self.changed(name);
                }
            }
            Op::Handle => self.handle(),
            Op::Work => {
                for number in self.commit().iter().filter_map(fence) {
                    self.queue.push_back(Told::Fence(number));
                }
            }
            Op::End(name) => self.end(name),
            Op::Crash => {
                let next = self.place.path().join(format!("state{}", self.starts));
                fs::create_dir(&next).unwrap();
                copy_store(&self.state, &next);
                self.state = next;
                self.bench = None;
                self.start();
            }
            Op::Restart => {
                self.commit();
                drop(self.bench.take().unwrap().reopened());
                self.start();
            }
            Op::Overflow => {
                // A fence that was put behind it comes.
                self.queue.retain(|it| matches!(it, Told::Fence(_)));
                self.said.push(Say::Lost);
                self.commit();
                let known = self.bench.as_mut().unwrap().join(DIR, vec![], false).known.unwrap();
                self.compare(&known);
                self.said.push(Say::Reconciled);
            }
        }
    }

    /// Writes what was said. What is committed may run.
    fn commit(&mut self) -> Vec<Reply> {
        for say in &self.said {
            if let Say::Task(row) = say {
                self.running.insert(u8::try_from(row.id.0).unwrap(), row.attempt);
            }
        }
        self.bench.as_mut().unwrap().say(std::mem::take(&mut self.said))
    }

    /// The run of a task ends. It began after its commit, and nothing was ordered since.
    fn end(&mut self, name: u8) {
        let id = TaskId(name.into());
        let waits = self.said.iter().any(|it| matches!(it, Say::Task(row) if row.id == id));
        if !waits && let Some(change) = self.running.remove(&name) {
            self.acted.insert(name, change);
            self.said.push(Say::Ended(id));
        }
    }

    fn changed(&mut self, name: u8) {
        self.changes.insert(name, self.count);
        self.queue.push_back(Told::Changed(name, self.count));
    }

    fn handle(&mut self) {
        match self.queue.pop_front() {
            Some(Told::Changed(name, change)) => {
                let row = TaskRow { attempt: change, ..task(name.into(), &self.bytes(name)) };
                self.said.push(Say::Task(row));
                self.said.push(touch(self.index, &self.path(name)));
            }
            Some(Told::Fence(number)) => self.said.push(Say::Passed(number)),
            None => (),
        }
    }

    /// The one thing that must never be: a file is in the state that the index has, and its last
    /// change is neither in the journal nor acted upon.
    fn verify(&self) {
        let acted = &self.acted;
        let (_copy, mut crashed) = self.bench.as_ref().unwrap().crashed();
        let journal: BTreeMap<u128, (u32, RowState)> =
            crashed.kept.tasks.iter().map(|it| (it.id.0, (it.attempt, it.state))).collect();
        let known = crashed.join(DIR, vec![], false).known.unwrap();
        for (name, change) in &self.changes {
            let row = known.iter().find(|it| *it.name == *format!("f{name}").as_bytes());
            let Some(row) = row else { continue };
            if Some((row.kind, row.stamp)) != self.state_of(*name) {
                continue;
            }
            let ordered = journal.get(&u128::from(*name)).is_some_and(|it| it.0 == *change);
            let acted = acted.get(name).is_some_and(|it| it >= change);
            assert!(ordered || acted, "f{name}: change {change} is lost; {journal:?}");
        }
        for (id, (change, state)) in journal {
            // A memo never says more than what was acted upon.
            if state == RowState::Done {
                let name = u8::try_from(id).unwrap();
                assert!(acted.get(&name).is_some_and(|it| *it >= change), "f{name} was not run");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_happened_is_believed_to_have_been_told_when_it_was_not(ops in ops()) {
        let mut world = World::new();
        for op in ops {
            world.apply(&op);
            world.verify();
        }
    }
}
