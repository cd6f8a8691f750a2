//! What the thread does with what it hears, without its waiting: collect, commit, reply, begin
//! rounds, and know what an error means.
//!
//! Times are given to it and asked of it; it waits for nothing but the disk, and, within bounds, for
//! the file systems of what it is told of ([`super::eyes`]).

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use pyinotifyd_core::stamp::IndexId;
use rusqlite::Connection;

use super::{
    Reply, Say, Settings, Stats, Trouble,
    apply::{self, Known},
    batch::{Batch, Op},
    eyes::{self, Eyes},
    fault::{Cause, Fault},
    index::{Index, Place},
    journal::Journal,
    room::Room,
};
use crate::errors::words;

/// So many commits, or rows, the log of the database grows by before it is written back: some
/// megabytes.
const CHECKPOINT: (u32, u64) = (500, 20_000);

/// Where the thread's replies go.
pub(super) type Heard = Vec<Reply>;

/// A store at work.
pub(super) struct Keeper {
    connection: Connection,
    files: [PathBuf; 2],
    room: Room,
    settings: Settings,
    stats: Arc<Stats>,
    eyes: Eyes,
    known: Known,
    joined: BTreeSet<IndexId>,
    reconciled: bool,
    journal: Journal,
    index: Index,
    batch: Batch,
    /// What the Watches cover, until that may be written.
    covers: Option<Vec<u8>>,
    health: Health,
    since: (u32, u64),
    round_at: Option<Instant>,
    stopping: bool,
}

/// How the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Well,
    /// The next try is then; `blocked`: the batch could not be written.
    Degraded {
        next: Instant,
        pause: Duration,
        blocked: bool,
        told: Told,
    },
    Failed,
}

/// Which trouble was told last. Worse ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Tight,
    Degraded,
}

/// What opening has found.
pub(super) struct Start {
    pub(super) connection: Connection,
    pub(super) file: PathBuf,
    pub(super) room: Room,
    pub(super) known: Known,
    pub(super) journal: Journal,
}

impl Keeper {
    pub(super) fn new(start: Start, settings: Settings, stats: Arc<Stats>) -> Self {
        let mut log = start.file.clone().into_os_string();
        log.push("-wal");
        let keeper = Self {
            connection: start.connection,
            files: [start.file, log.into()],
            room: start.room,
            settings,
            stats,
            eyes: Eyes::new(move || eyes::sight(settings.racy, settings.fine)),
            index: Index::new(start.known.confirmed),
            known: start.known,
            joined: BTreeSet::new(),
            reconciled: false,
            journal: start.journal,
            batch: Batch::default(),
            covers: None,
            health: Health::Well,
            since: (0, 0),
            round_at: None,
            stopping: false,
        };
        keeper.count(0);
        keeper
    }

    /// Holds back room for hard times. That there is none is trouble already.
    pub(super) fn begin(&mut self, now: Instant, out: &mut Heard) {
        if let Err(error) = self.room.take() {
            self.degrade(now, false, words(&error), out);
        }
    }

    /// Takes in what was said.
    pub(super) fn hear(&mut self, said: impl IntoIterator<Item = Say>) {
        for say in said {
            if self.health == Health::Failed {
                self.stopping |= say == Say::Stop;
            } else {
                self.hear_one(say);
            }
        }
        self.cover();
    }

    fn hear_one(&mut self, say: Say) {
        let ops = &mut self.batch.ops;
        match say {
            Say::Task(row) => {
                self.journal.put(&row);
                self.batch.put(row);
            }
            Say::Finished(row) => self.batch.ended.push(row),
            Say::Spawned(ids, leader) => {
                for id in ids.into_iter().filter(|it| self.journal.runs(*it)) {
                    self.batch.spawned(id, leader);
                }
            }
            Say::Ended(id) => {
                let round = self.index.begun();
                if self.journal.end(id, round) {
                    self.batch.end(id, round);
                }
            }
            Say::Drop(id) => {
                if self.journal.delete(id) {
                    self.batch.delete(id);
                }
            }
            Say::Touch { dir, name, path, probe } => {
                if self.index.touch(dir, name.clone(), Place { path, probe }) {
                    ops.push(Op::Invalidate(dir, name));
                }
            }
            Say::Left { dir, name } => ops.push(Op::Left(dir, name)),
            Say::Join { ticket, identity, listed, baseline } => {
                let generation = self.index.generation();
                ops.push(Op::Join { ticket, identity, listed, baseline, generation });
            }
            Say::Gone(dir) if dir == IndexId::NONE => (),
            Say::Gone(dir) => {
                self.index.gone(dir);
                ops.push(Op::Gone(dir));
            }
            Say::Passed(number) => self.passed(number),
            Say::Renamed { from, to } => self.index.renamed(&from, &to),
            Say::Lost => self.index.suspend(),
            Say::Sync(number) => ops.push(Op::Reply(Reply::Committed(number))),
            // What was listed as known must count as known before that is said of all of it: else
            // the next start would take it for new.
            Say::Covers(coverage) => self.covers = Some(coverage),
            Say::Reconciled => {
                self.reconciled = true;
                self.index.resume();
                ops.push(Op::Reconciled);
            }
            Say::Stop => {
                self.stopping = true;
                self.eyes.hurry();
                ops.push(Op::Clean);
            }
        }
    }

    fn passed(&mut self, number: u64) {
        let Some(mut confirmed) = self.index.passed(number) else { return };
        for (_, path, _) in &confirmed.rows {
            for id in self.journal.forget(path, number) {
                self.batch.delete(id);
            }
        }
        if self.index.is_clean() && self.reconciled {
            for id in self.journal.forget_all(number) {
                self.batch.delete(id);
            }
        }
        confirmed.all &= !self.batch.has_baseline();
        self.batch.ops.push(Op::Confirm { confirmed });
        self.cover();
    }

    /// Writes what the Watches cover, once all that was listed for them counts.
    fn cover(&mut self) {
        if self.index.is_confirmed()
            && !self.batch.has_baseline()
            && let Some(coverage) = self.covers.take()
        {
            self.batch.ops.push(Op::Covers(coverage));
        }
    }

    /// Does what there is to do: writes what was said, or tries again, or begins a round.
    pub(super) fn work(&mut self, now: Instant, out: &mut Heard) {
        match self.health {
            Health::Well => self.flush(now, out),
            Health::Degraded { blocked: false, next, .. } => {
                self.flush(now, out);
                if now >= next {
                    self.recover(now, out);
                }
            }
            Health::Degraded { blocked: true, next, .. } => {
                if now >= next || self.stopping {
                    // A log that is written back can be written from its start again.
                    let _ = checkpoint(&self.connection, "PASSIVE");
                    self.flush(now, out);
                    self.recover(now, out);
                }
            }
            Health::Failed => (),
        }
        self.rounds(now, out);
        self.stats.dirty.store(self.index.behind() as u64, Ordering::Relaxed);
        self.stats.forgotten.store(self.index.forgotten(), Ordering::Relaxed);
    }

    fn flush(&mut self, now: Instant, out: &mut Heard) {
        if self.batch.is_empty() {
            return;
        }
        let fault = match self.commit(out) {
            Ok(()) => return self.checkpoint(out),
            Err(fault) => fault,
        };
        match self.understand(fault.cause) {
            cause @ (Cause::NoRoom | Cause::PerhapsNoRoom | Cause::Held) => {
                let freed = cause != Cause::Held && self.room.give();
                self.degrade(now, true, fault.error, out);
                if freed {
                    self.flush(now, out);
                }
            }
            Cause::Corrupt | Cause::Failed => self.fail(fault, out),
        }
    }

    /// What SQLite does not tell apart.
    fn understand(&self, cause: Cause) -> Cause {
        match cause {
            Cause::PerhapsNoRoom if self.room.is_full() => Cause::NoRoom,
            Cause::PerhapsNoRoom => Cause::Failed,
            Cause::NoRoom | Cause::Held | Cause::Corrupt | Cause::Failed => cause,
        }
    }

    fn commit(&mut self, out: &mut Heard) -> Result<(), Fault> {
        if !self.batch.writes() {
            for op in std::mem::take(&mut self.batch).ops {
                if let Op::Reply(reply) = op {
                    out.push(reply);
                }
            }
            return Ok(());
        }
        let eyes = &mut self.eyes;
        self.batch.stamp(|paths| eyes.stamps(paths));
        let applied = apply::apply(&mut self.connection, &self.batch, &self.known, &self.joined)?;
        for op in &self.batch.ops {
            if let Op::Gone(dir) = op {
                self.joined.remove(dir);
            }
        }
        self.batch = Batch::default();
        self.known = applied.known;
        self.joined.extend(applied.joined);
        for (dir, generation) in applied.baselines {
            self.index.written(dir, generation);
        }
        self.since.0 += 1;
        self.since.1 += applied.rows;
        self.stats.commits.fetch_add(1, Ordering::Relaxed);
        self.count(applied.rows);
        if let Health::Degraded { blocked, .. } = &mut self.health {
            *blocked = false;
        }
        out.extend(applied.replies);
        Ok(())
    }

    fn count(&self, rows: u64) {
        let bytes: u64 =
            self.files.iter().filter_map(|it| fs::metadata(it).ok()).map(|it| it.len()).sum();
        self.stats.rows.fetch_add(rows, Ordering::Relaxed);
        self.stats.bytes.store(bytes, Ordering::Relaxed);
        self.stats.tasks.store(self.journal.len() as u64, Ordering::Relaxed);
    }

    /// Writes the log of the database back from time to time. SQLite would do so itself, but keep to
    /// itself that the disk has failed.
    fn checkpoint(&mut self, out: &mut Heard) {
        if self.since.0 < CHECKPOINT.0 && self.since.1 < CHECKPOINT.1 {
            return;
        }
        self.since = (0, 0);
        if let Err(fault) = checkpoint(&self.connection, "PASSIVE") {
            match self.understand(fault.cause) {
                // The log grows on until that fails as well.
                Cause::NoRoom | Cause::PerhapsNoRoom | Cause::Held => (),
                Cause::Corrupt | Cause::Failed => self.fail(fault, out),
            }
        }
    }

    fn degrade(&mut self, now: Instant, blocked: bool, error: String, out: &mut Heard) {
        let (first, most) = self.settings.retry;
        let (pause, before) = match self.health {
            Health::Well => (first, None),
            Health::Degraded { next, pause, told, .. } if now < next => (pause, Some(told)),
            Health::Degraded { pause, told, .. } => ((pause * 2).min(most), Some(told)),
            Health::Failed => return,
        };
        let (is, trouble) = if blocked {
            (Told::Degraded, Trouble::Degraded { error })
        } else {
            (Told::Tight, Trouble::Tight { error })
        };
        if before < Some(is) {
            out.push(Reply::Trouble(trouble));
        }
        let told = before.map_or(is, |before| before.max(is));
        self.health = Health::Degraded { next: now + pause, pause, blocked, told };
    }

    /// Whether hard times are over: everything is written, and there is room to hold back.
    fn recover(&mut self, now: Instant, out: &mut Heard) {
        match self.health {
            Health::Degraded { blocked: false, .. } => (),
            Health::Degraded { blocked: true, .. } | Health::Well | Health::Failed => return,
        }
        match self.room.take() {
            Ok(()) => {
                self.health = Health::Well;
                out.push(Reply::Trouble(Trouble::Recovered));
            }
            Err(error) => self.degrade(now, false, words(&error), out),
        }
    }

    fn fail(&mut self, fault: Fault, out: &mut Heard) {
        self.health = Health::Failed;
        self.batch = Batch::default();
        out.push(Reply::Trouble(Trouble::Failed { error: fault.error }));
    }

    /// Begins a round when its time has come.
    fn rounds(&mut self, now: Instant, out: &mut Heard) {
        if !self.wants_round() {
            self.round_at = None;
            return;
        }
        let at = *self.round_at.get_or_insert(now + self.settings.round_pause);
        if now < at {
            return;
        }
        let memos = self.wants_memos_gone();
        let eyes = &mut self.eyes;
        if let Some(number) = self.index.begin(memos, |it| eyes.look(it)) {
            self.round_at = None;
            out.push(Reply::WantFence(number));
        } else {
            let pause = self.settings.round_pause.max(self.settings.racy);
            self.round_at = Some(now + pause.max(Duration::from_millis(1)));
        }
    }

    fn wants_round(&self) -> bool {
        let writable = match self.health {
            Health::Well | Health::Degraded { blocked: false, .. } => true,
            Health::Degraded { blocked: true, .. } | Health::Failed => false,
        };
        writable && !self.stopping && (self.index.wants_round() || self.wants_memos_gone())
    }

    fn wants_memos_gone(&self) -> bool {
        let index = &self.index;
        self.reconciled && self.journal.has_memos() && index.is_idle() && index.is_clean()
    }

    /// When [`Keeper::work`] has something to do though nothing is said.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let retry = match self.health {
            Health::Degraded { next, .. } => Some(next),
            Health::Well | Health::Failed => None,
        };
        [retry, self.round_at].into_iter().flatten().min()
    }

    /// Whether the end was said.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Ends: what is written is written back, so that the database is one file.
    pub(super) fn end(self) {
        if self.health != Health::Failed {
            // It is all in the log; the next start writes it back.
            let _ = checkpoint(&self.connection, "TRUNCATE");
        }
    }

    #[cfg(test)]
    pub(super) fn verify_invariants(&self) {
        self.index.verify_invariants();
        assert!(self.known.confirmed < self.index.generation());
    }
}

fn checkpoint(connection: &Connection, how: &str) -> Result<(), Fault> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |_| Ok(()))?;
    Ok(())
}
