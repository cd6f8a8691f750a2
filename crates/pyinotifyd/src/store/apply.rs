//! A batch, written: what each of its words does to the tables.

use std::collections::{BTreeSet, HashMap, HashSet};

use pyinotifyd_core::{
    stamp::{Identity, IndexId},
    tree::Seen,
};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    Reply,
    batch::{Batch, Change, Op},
    fault::Fault,
    history::{self, Rings},
    index::Confirmed,
    rows,
};

/// Keys of the table `meta`.
pub(super) mod key {
    /// Baselines up to this generation count.
    pub(in super::super) const CONFIRMED: &str = "confirmed";
    /// Whether there may be rows that do not count.
    pub(in super::super) const UNSURE: &str = "unsure";
    /// What the Watches cover.
    pub(in super::super) const COVERAGE: &str = "coverage";
    /// Whether the end was said.
    pub(in super::super) const CLEAN: &str = "clean";
    /// The boot in which it was opened last.
    pub(in super::super) const BOOT: &str = "boot_id";
}

/// What is known about the tables, and changes with a commit.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Baselines up to this generation count.
    pub(super) confirmed: i64,
    /// Whether the tables say that there may be rows that do not count.
    pub(super) unsure: bool,
    /// The next directory's number; 0: there is none left. None is given twice, so what is said of
    /// one that is gone is about no other.
    pub(super) next: u32,
    /// Where the history goes on.
    pub(super) rings: Rings,
}

/// What came of a batch.
#[derive(Debug)]
pub(super) struct Applied {
    pub(super) known: Known,
    pub(super) replies: Vec<Reply>,
    pub(super) joined: Vec<IndexId>,
    /// Directories whose baseline was written, with its generation.
    pub(super) baselines: Vec<(IndexId, i64)>,
    pub(super) rows: u64,
}

/// Writes a batch in one transaction. On an error nothing is written, and it may be tried again.
pub(super) fn apply(
    connection: &mut Connection,
    batch: &Batch,
    known: &Known,
    joined: &BTreeSet<IndexId>,
) -> Result<Applied, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut work = Work {
        transaction,
        before: joined,
        out: Applied {
            known: known.clone(),
            replies: Vec::new(),
            joined: Vec::new(),
            baselines: Vec::new(),
            rows: 0,
        },
    };
    for (id, change) in &batch.tasks {
        let transaction = &work.transaction;
        match change {
            Change::Put { row, done_round, .. } => rows::put_task(transaction, row, *done_round)?,
            Change::Spawned(leader) => rows::put_leader(transaction, *id, *leader)?,
            Change::End { done_round } => rows::end_task(transaction, *id, *done_round)?,
            Change::Delete => rows::delete_task(transaction, *id)?,
        }
    }
    work.out.rows += batch.tasks.len() as u64;
    for row in &batch.ended {
        work.out.rows += history::put(&work.transaction, &mut work.out.known.rings, row)?;
    }
    for op in &batch.ops {
        work.op(op)?;
    }
    let Work { transaction, out, .. } = work;
    transaction.commit()?;
    Ok(out)
}

struct Work<'a> {
    transaction: Transaction<'a>,
    /// Directories that were joined before this batch.
    before: &'a BTreeSet<IndexId>,
    out: Applied,
}

impl Work<'_> {
    fn op(&mut self, op: &Op) -> Result<(), Fault> {
        match op {
            Op::Join { ticket, identity, listed, baseline, generation } => {
                let baseline = baseline.then_some(*generation);
                let (index, known) = self.join(*identity, listed, baseline)?;
                self.out.replies.push(Reply::Joined { ticket: *ticket, index, known });
            }
            Op::Gone(dir) => self.forget(*dir)?,
            Op::Left(dir, name) => rows::delete_entry(&self.transaction, *dir, name)?,
            Op::Invalidate(dir, name) => {
                let confirmed = self.out.known.confirmed;
                rows::invalidate_entry(&self.transaction, *dir, name, confirmed)?;
            }
            Op::Confirm { confirmed } => self.confirm(confirmed)?,
            Op::Covers(coverage) => rows::put_meta(&self.transaction, key::COVERAGE, coverage)?,
            Op::Reconciled => self.reconciled()?,
            Op::Reply(reply) => self.out.replies.push(reply.clone()),
            Op::Clean => rows::put_meta(&self.transaction, key::CLEAN, true)?,
        }
        Ok(())
    }

    fn join(
        &mut self,
        identity: Identity,
        listed: &[Seen],
        baseline: Option<i64>,
    ) -> Result<(IndexId, Option<Vec<Seen>>), Fault> {
        let Identity { ino, btime, dev } = identity;
        let (ino, dev) = (ino.cast_signed(), dev.cast_signed());
        let found: Option<u32> = self
            .transaction
            .prepare_cached("SELECT id FROM dir WHERE ino = ?1 AND btime = ?2 AND dev = ?3")?
            .query_row(params![ino, btime, dev], |row| row.get(0))
            .optional()?;
        let (index, known) = if let Some(index) = found.map(IndexId) {
            (index, Some(rows::read_entries(&self.transaction, index, self.out.known.confirmed)?))
        } else {
            let index = IndexId(self.out.known.next);
            if index == IndexId::NONE {
                return Ok((index, None));
            }
            self.out.known.next = index.0.checked_add(1).unwrap_or(0);
            self.transaction
                .prepare_cached("INSERT INTO dir VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![index.0, ino, btime, dev])?;
            self.out.rows += 1;
            (index, None)
        };
        self.out.joined.push(index);
        if let Some(generation) = baseline {
            self.baseline(index, listed, known.as_deref().unwrap_or(&[]), generation)?;
        }
        Ok((index, known))
    }

    /// What is listed counts as seen, whatever was seen before: there is nobody to whom it would
    /// be news.
    fn baseline(
        &mut self,
        index: IndexId,
        listed: &[Seen],
        known: &[Seen],
        generation: i64,
    ) -> Result<(), Fault> {
        self.unsure(true)?;
        let names: HashMap<&[u8], &Seen> = known.iter().map(|it| (&*it.name, it)).collect();
        let there: HashSet<&[u8]> = listed.iter().map(|it| &*it.name).collect();
        for name in names.keys().filter(|it| !there.contains(*it)) {
            rows::delete_entry(&self.transaction, index, name)?;
        }
        for seen in listed.iter().filter(|it| names.get(&*it.name) != Some(it)) {
            let Seen { name, kind, stamp } = seen;
            rows::put_entry(&self.transaction, index, name, (*kind, *stamp), generation)?;
        }
        self.out.rows += listed.len() as u64;
        self.out.baselines.push((index, generation));
        Ok(())
    }

    fn forget(&mut self, dir: IndexId) -> Result<(), Fault> {
        self.out.joined.retain(|it| *it != dir);
        let entries = self
            .transaction
            .prepare_cached("DELETE FROM entry WHERE dir = ?1")?
            .execute([dir.0])?;
        self.transaction.prepare_cached("DELETE FROM dir WHERE id = ?1")?.execute([dir.0])?;
        self.out.rows += entries as u64 + 1;
        Ok(())
    }

    fn confirm(&mut self, confirmed: &Confirmed) -> Result<(), Fault> {
        let transaction = &self.transaction;
        for ((dir, name), _, state) in &confirmed.rows {
            match state {
                _ if *dir == IndexId::NONE => (),
                Some(state) => rows::put_entry(transaction, *dir, name, *state, 0)?,
                None => rows::delete_entry(transaction, *dir, name)?,
            }
        }
        self.out.rows += confirmed.rows.len() as u64;
        // Without baselines there is nothing that a generation says.
        if self.out.known.unsure {
            self.out.known.confirmed = confirmed.generation;
            rows::put_meta(transaction, key::CONFIRMED, confirmed.generation)?;
            self.unsure(!confirmed.all)?;
        }
        Ok(())
    }

    fn unsure(&mut self, unsure: bool) -> Result<(), Fault> {
        if self.out.known.unsure != unsure {
            self.out.known.unsure = unsure;
            rows::put_meta(&self.transaction, key::UNSURE, unsure)?;
        }
        Ok(())
    }

    fn reconciled(&mut self) -> Result<(), Fault> {
        let all: Vec<u32> = self
            .transaction
            .prepare_cached("SELECT id FROM dir")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let now: BTreeSet<IndexId> = self.out.joined.iter().copied().collect();
        for dir in all.into_iter().map(IndexId) {
            if !self.before.contains(&dir) && !now.contains(&dir) {
                self.forget(dir)?;
            }
        }
        Ok(())
    }
}
