//! A store that is none: what it keeps of what it is told, in the order and at the moments of the
//! real one, and what is left of that when the process ends in the midst of it.
//!
//! What is said becomes one batch, which a commit writes; without one it is lost. The index is
//! brought up to date in rounds: look at what was touched, put a fence behind it, write it down
//! once that has passed, unless it was touched again.

#![allow(dead_code, reason = "no test needs all of it")]

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use pyinotifyd_core::{
    engine::{Keep, Kept, KeptBefore},
    path,
    stamp::{Identity, IndexId, Stamp},
    stats::Finished,
    task::{KeptState, KeptTask, Leader, TaskId},
    tree::{Join, Joined, Kind, Seen, Ticket, Touch},
};

use super::kernel::Kernel;

type Key = (IndexId, Box<[u8]>);
type State = Option<(Kind, Stamp)>;

/// A task's row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) task: KeptTask,
    pub(crate) ended: bool,
    pub(crate) stamp: Option<Stamp>,
}

/// What was committed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) rows: BTreeMap<TaskId, Row>,
    pub(crate) covered: Option<Vec<u8>>,
    pub(crate) dirs: BTreeMap<Identity, IndexId>,
    /// With the generation of a baseline; 0: it came by a round.
    pub(crate) entries: BTreeMap<Key, (Kind, Stamp, u64)>,
    /// Whether the machine was started since it was opened last.
    pub(crate) rebooted: bool,
    pub(crate) history: Vec<Finished>,
    last: u32,
    confirmed: u64,
}

/// What becomes of a task's row.
#[derive(Debug)]
enum Change {
    Put { row: Row, stamped: bool },
    Spawned(Leader),
    End,
    Delete,
}

#[derive(Debug)]
enum Op {
    Join { ticket: Ticket, identity: Identity, baseline: Option<(u64, Vec<Seen>)> },
    Gone(IndexId),
    Left(Key),
    Invalidate(Key),
    Confirm(u64, Vec<(Key, State)>),
    Covers(Vec<u8>),
    InStep,
    Finished(Finished),
    Sync(u64),
}

/// What it has to say.
#[derive(Debug)]
pub(crate) enum Reply {
    Committed(u64),
    Joined(Ticket, IndexId, Option<Vec<Seen>>),
}

#[derive(Debug)]
struct Round {
    number: u64,
    generation: u64,
    seen: BTreeMap<Key, (Vec<u8>, State)>,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) disk: Disk,
    tasks: BTreeMap<TaskId, Change>,
    ops: Vec<Op>,
    /// Names that are behind.
    touched: BTreeMap<Key, Touch>,
    round: Option<Round>,
    begun: u64,
    generation: u64,
    /// Directories whose baseline does not count yet.
    unconfirmed: BTreeMap<IndexId, u64>,
    /// Tasks that have rows, their paths, and the round that had begun when they ended.
    journal: BTreeMap<TaskId, (Vec<u8>, Option<u64>)>,
    joined: BTreeSet<IndexId>,
    in_step: bool,
    /// Events were lost, and it is not known yet which.
    lost: bool,
    /// Whether nothing can be written.
    pub(crate) full: bool,
}

impl Store {
    /// Opens what an earlier process has left.
    pub(crate) fn open(mut disk: Disk) -> Self {
        if disk.rebooted {
            disk.rows.values_mut().for_each(|it| it.task.leader = None);
        }
        let confirmed = disk.confirmed;
        disk.entries.retain(|_, it| it.2 <= confirmed);
        let journal = disk
            .rows
            .iter()
            .map(|(id, row)| (*id, (row.task.event.pathname.to_vec(), row.ended.then_some(0))));
        let journal = journal.collect();
        Self { generation: confirmed + 1, journal, disk, ..Self::default() }
    }

    pub(crate) fn kept(&self) -> Kept {
        let tasks = self.disk.rows.values().map(|row| {
            let Row { task, ended, stamp } = row.clone();
            KeptBefore { task, ended, stamp }
        });
        let covered = self.disk.covered.clone();
        let history = self.disk.history.clone();
        Kept { covered, tasks: tasks.collect(), rebooted: self.disk.rebooted, history }
    }

    pub(crate) fn keep(&mut self, keep: Keep) {
        match keep {
            Keep::Task(task) => {
                self.journal.insert(task.id, (task.event.pathname.to_vec(), None));
                let id = task.id;
                let row = Row { task, ended: false, stamp: None };
                self.tasks.insert(id, Change::Put { row, stamped: false });
            }
            Keep::Ended(id) => {
                let begun = self.begun;
                let Some((_, done @ None)) = self.journal.get_mut(&id) else { return };
                *done = Some(begun);
                match self.tasks.get_mut(&id) {
                    Some(Change::Put { row, stamped }) => (row.ended, *stamped) = (true, true),
                    Some(Change::End | Change::Delete) => (),
                    Some(Change::Spawned(_)) | None => {
                        self.tasks.insert(id, Change::End);
                    }
                }
            }
            Keep::Finished(finished) => self.ops.push(Op::Finished(finished)),
            Keep::Spawned(ids, leader) => {
                for id in ids {
                    match self.tasks.get_mut(&id) {
                        Some(Change::Put { row, .. }) => row.task.leader = Some(leader),
                        Some(Change::End | Change::Delete) => (),
                        Some(Change::Spawned(_)) | None => {
                            self.tasks.insert(id, Change::Spawned(leader));
                        }
                    }
                }
            }
            Keep::Dropped(id) => self.delete(id),
            Keep::Touched(touch) => {
                let key = (touch.index, touch.name.clone());
                if let Some(round) = &mut self.round {
                    round.seen.remove(&key);
                }
                if self.unconfirmed.contains_key(&touch.index) {
                    self.ops.push(Op::Invalidate(key.clone()));
                }
                self.touched.insert(key, touch);
            }
            Keep::Left { index, name } => self.ops.push(Op::Left((index, name))),
            Keep::Renamed { from, to } => {
                let moved = |path: &[u8]| {
                    let rest = path::below(path, &from).filter(|it| !it.is_empty())?;
                    Some(path::join(&to, rest))
                };
                for touch in self.touched.values_mut() {
                    touch.path = moved(&touch.path).unwrap_or_else(|| touch.path.clone());
                }
                let Some(round) = &mut self.round else { return };
                for (key, (path, state)) in mem::take(&mut round.seen) {
                    let (index, name) = key.clone();
                    match moved(&path) {
                        Some(path) => {
                            self.touched.insert(key, Touch { index, name, path, probe: true });
                        }
                        None => {
                            round.seen.insert(key, (path, state));
                        }
                    }
                }
            }
            Keep::Gone(dir) => {
                self.touched.retain(|it, _| it.0 != dir);
                if let Some(round) = &mut self.round {
                    round.seen.retain(|it, _| it.0 != dir);
                }
                self.unconfirmed.remove(&dir);
                self.ops.push(Op::Gone(dir));
            }
            Keep::Covers(words) => self.ops.push(Op::Covers(words)),
            Keep::Lost => {
                self.lost = true;
                for (key, (path, _)) in self.round.take().map(|it| it.seen).unwrap_or_default() {
                    let (index, name) = key.clone();
                    self.touched.insert(key, Touch { index, name, path, probe: true });
                }
            }
            Keep::InStep => {
                (self.in_step, self.lost) = (true, false);
                self.ops.push(Op::InStep);
            }
        }
    }

    fn delete(&mut self, id: TaskId) {
        if self.journal.remove(&id).is_some() {
            self.tasks.insert(id, Change::Delete);
        }
    }

    /// A directory was entered and listed.
    pub(crate) fn join(&mut self, ticket: Ticket, identity: Identity, listed: Option<Vec<Seen>>) {
        let baseline = listed.map(|it| (self.generation, it));
        self.ops.push(Op::Join { ticket, identity, baseline });
    }

    pub(crate) fn sync(&mut self, number: u64) {
        self.ops.push(Op::Sync(number));
    }

    /// Begins a round, if there is one to begin; gives back its number, for the fence.
    pub(crate) fn round(&mut self, kernel: &Kernel) -> Option<u64> {
        if self.round.is_some() || self.lost || self.full {
            return None;
        }
        let mut seen = BTreeMap::new();
        for (key, touch) in mem::take(&mut self.touched) {
            let state = look(kernel, &touch.path);
            let is_open = |it: &(Kind, Stamp)| {
                it.0 == Kind::File && kernel.writing.iter().any(|ino| *ino as u64 == it.1.ino)
            };
            // Its close is still to come.
            if !(touch.probe && state.as_ref().is_some_and(is_open)) {
                seen.insert(key, (touch.path, state));
            }
        }
        let memos = self.in_step && self.journal.values().any(|it| it.1.is_some());
        if seen.is_empty() && self.unconfirmed.is_empty() && !memos {
            return None;
        }
        self.begun += 1;
        self.round = Some(Round { number: self.begun, generation: self.generation, seen });
        self.generation += 1;
        Some(self.begun)
    }

    /// The fence of a round has passed.
    pub(crate) fn passed(&mut self, number: u64) {
        let Some(round) = self.round.take_if(|it| it.number == number) else { return };
        self.unconfirmed.retain(|_, it| *it > round.generation);
        let is_clean = self.touched.is_empty() && self.in_step;
        let paths: BTreeSet<&[u8]> = round.seen.values().map(|it| &*it.0).collect();
        let old = |it: &(Vec<u8>, Option<u64>)| it.1.is_some_and(|it| it < number);
        let over = self.journal.iter().filter(|(_, it)| old(it));
        let over = over.filter(|(_, it)| is_clean || paths.contains(&*it.0)).map(|it| *it.0);
        for id in over.collect::<Vec<_>>() {
            self.delete(id);
        }
        let rows = round.seen.into_iter().map(|(key, (_, state))| (key, state)).collect();
        self.ops.push(Op::Confirm(round.generation, rows));
    }

    /// Writes down what was said.
    pub(crate) fn commit(&mut self, kernel: &Kernel) -> Vec<Reply> {
        for change in self.tasks.values_mut() {
            if let Change::Put { row, stamped: stamped @ false } = change {
                row.stamp = look(kernel, &row.task.event.pathname).map(|it| it.1);
                *stamped = true;
            }
        }
        if self.full {
            return Vec::new();
        }
        for (id, change) in mem::take(&mut self.tasks) {
            match change {
                Change::Put { row, .. } => {
                    self.disk.rows.insert(id, row);
                }
                Change::Spawned(leader) => {
                    let row = self.disk.rows.get_mut(&id).expect("what runs has a row");
                    row.task.leader = Some(leader);
                }
                Change::End => self.disk.rows.get_mut(&id).expect("it has a row").ended = true,
                Change::Delete => {
                    self.disk.rows.remove(&id);
                }
            }
        }
        let ops = mem::take(&mut self.ops);
        ops.into_iter().filter_map(|it| self.apply(it)).collect()
    }

    fn apply(&mut self, op: Op) -> Option<Reply> {
        let disk = &mut self.disk;
        match op {
            Op::Join { ticket, identity, baseline } => {
                let known = disk.dirs.get(&identity).copied();
                let index = known.unwrap_or_else(|| {
                    disk.last += 1;
                    IndexId(disk.last)
                });
                disk.dirs.insert(identity, index);
                self.joined.insert(index);
                let seen = known.map(|_| disk.seen(index));
                if let Some((generation, listed)) = baseline {
                    // Whatever was seen before: there is nobody to whom it would be news.
                    disk.entries.retain(|it, (kind, stamp, _)| {
                        let is_same = |seen: &Seen| {
                            seen.name == it.1 && (seen.kind, seen.stamp) == (*kind, *stamp)
                        };
                        it.0 != index || listed.iter().any(is_same)
                    });
                    for Seen { name, kind, stamp } in listed {
                        disk.entries.entry((index, name)).or_insert((kind, stamp, generation));
                    }
                    self.unconfirmed.insert(index, generation);
                }
                return Some(Reply::Joined(ticket, index, seen));
            }
            Op::Gone(dir) => {
                self.joined.remove(&dir);
                disk.forget(dir);
            }
            Op::Left(key) => drop(disk.entries.remove(&key)),
            Op::Invalidate(key) => {
                if disk.entries.get(&key).is_some_and(|it| it.2 > disk.confirmed) {
                    disk.entries.remove(&key);
                }
            }
            Op::Confirm(generation, rows) => {
                disk.confirmed = generation;
                for (key, state) in rows {
                    match state {
                        Some((kind, stamp)) => disk.entries.insert(key, (kind, stamp, 0)),
                        None => disk.entries.remove(&key),
                    };
                }
            }
            Op::Covers(words) => disk.covered = Some(words),
            Op::InStep => {
                let left: Vec<IndexId> =
                    disk.dirs.values().filter(|it| !self.joined.contains(it)).copied().collect();
                for dir in left {
                    disk.forget(dir);
                }
            }
            Op::Finished(finished) => disk.history.push(finished),
            Op::Sync(number) => return Some(Reply::Committed(number)),
        }
        None
    }

    /// Whether nothing waits to be written, and nothing is behind.
    pub(crate) fn is_clean(&self) -> bool {
        self.tasks.is_empty()
            && self.ops.is_empty()
            && self.touched.is_empty()
            && self.unconfirmed.is_empty()
            && self.round.is_none()
    }

    /// What is known of a name, if that counts.
    pub(crate) fn known(&self, dir: Identity, name: &[u8]) -> Option<(Kind, Stamp)> {
        let index = *self.disk.dirs.get(&dir)?;
        let found = self.disk.entries.get(&(index, name.into()))?;
        (found.2 <= self.disk.confirmed).then_some((found.0, found.1))
    }
}

impl Disk {
    fn seen(&self, dir: IndexId) -> Vec<Seen> {
        let rows = self.entries.iter().filter(|(key, _)| key.0 == dir);
        let rows = rows.filter(|(_, it)| it.2 <= self.confirmed);
        let seen = rows.map(|(key, it)| Seen { name: key.1.clone(), kind: it.0, stamp: it.1 });
        seen.collect()
    }

    fn forget(&mut self, dir: IndexId) {
        self.entries.retain(|it, _| it.0 != dir);
        self.dirs.retain(|_, it| *it != dir);
    }

    /// Whether a task of this name has to be run or is being run.
    pub(crate) fn runs(&self, id: TaskId, attempt: u32) -> bool {
        self.rows.get(&id).is_some_and(|it| {
            !it.ended && it.task.state == KeptState::Running && it.task.attempt == attempt
        })
    }
}

/// The answer to a question.
pub(crate) fn joined(join: Join, index: IndexId, known: Option<Vec<Seen>>) -> Joined {
    match (join, known) {
        (Join::Seen, Some(seen)) => Joined::Seen(index, seen),
        (Join::Seen, None) => Joined::New(index),
        (Join::Number | Join::Baseline | Join::No, _) => Joined::Number(index),
    }
}

fn look(kernel: &Kernel, path: &[u8]) -> State {
    let (ino, is_dir) = kernel.resolve(path)?;
    Some((if is_dir { Kind::Directory } else { Kind::File }, kernel.stamp(ino)))
}
