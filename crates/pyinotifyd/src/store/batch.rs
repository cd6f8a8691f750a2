//! What is said but not written: one transaction's worth.
//!
//! Of a task only the last word counts, since no one can see what is between two commits. All else
//! keeps its order. A batch that cannot be written grows by what is said meanwhile, so nothing
//! overtakes it.

use std::collections::BTreeMap;

use pyinotifyd_core::{
    stamp::{Identity, IndexId, Stamp},
    task::{Leader, TaskId},
    tree::Seen,
};

use super::{EndedRow, Reply, RowState, TaskRow, index::Confirmed};

/// What is to be written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) tasks: BTreeMap<TaskId, Change>,
    pub(super) ops: Vec<Op>,
    /// Tasks that have ended, in this order.
    pub(super) ended: Vec<EndedRow>,
}

/// What becomes of a task's row.
#[derive(Debug)]
pub(super) enum Change {
    /// It is written.
    Put {
        row: TaskRow,
        /// Whether `row` has its stamp already.
        stamped: bool,
        done_round: Option<u64>,
    },
    /// It is written as which process it runs.
    Spawned(Leader),
    /// It becomes a memo.
    End { done_round: u64 },
    /// It goes.
    Delete,
}

/// Everything else. Order is load-bearing.
#[derive(Debug)]
pub(super) enum Op {
    Join { ticket: u64, identity: Identity, listed: Vec<Seen>, baseline: bool, generation: i64 },
    Gone(IndexId),
    Left(IndexId, Box<[u8]>),
    Invalidate(IndexId, Box<[u8]>),
    Confirm { confirmed: Confirmed },
    Covers(Vec<u8>),
    Reconciled,
    Reply(Reply),
    Clean,
}

impl Batch {
    /// The task is so now.
    pub(super) fn put(&mut self, row: TaskRow) {
        let row = TaskRow { stamp: None, ..row };
        self.tasks.insert(row.id, Change::Put { row, stamped: false, done_round: None });
    }

    /// The task's run is over.
    pub(super) fn end(&mut self, id: TaskId, round: u64) {
        match self.tasks.get_mut(&id) {
            Some(Change::Put { row, stamped, done_round }) => {
                row.state = RowState::Done;
                *done_round = Some(round);
                // What is there now is not what the run has seen.
                *stamped = true;
            }
            Some(Change::End { .. } | Change::Delete) => (),
            Some(Change::Spawned(_)) | None => {
                self.tasks.insert(id, Change::End { done_round: round });
            }
        }
    }

    /// The task runs as this process.
    pub(super) fn spawned(&mut self, id: TaskId, leader: Leader) {
        match self.tasks.get_mut(&id) {
            Some(Change::Put { row, .. }) => row.leader = Some(leader),
            Some(Change::End { .. } | Change::Delete) => (),
            Some(Change::Spawned(_)) | None => {
                self.tasks.insert(id, Change::Spawned(leader));
            }
        }
    }

    /// The task has no row.
    pub(super) fn delete(&mut self, id: TaskId) {
        self.tasks.insert(id, Change::Delete);
    }

    /// Reads the states that are to be kept with tasks and have not been read yet.
    pub(super) fn stamp(&mut self, look: impl FnOnce(Vec<Vec<u8>>) -> Vec<Option<Stamp>>) {
        let mut bare = Vec::new();
        for change in self.tasks.values_mut() {
            match change {
                Change::Put { row, stamped: stamped @ false, .. } => bare.push((row, stamped)),
                Change::Put { .. } | Change::Spawned(_) | Change::End { .. } | Change::Delete => (),
            }
        }
        let stamps = look(bare.iter().map(|(row, _)| row.event.pathname.to_vec()).collect());
        for ((row, stamped), stamp) in bare.into_iter().zip(stamps) {
            row.stamp = stamp;
            *stamped = true;
        }
    }

    /// Whether nothing has been said.
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.ended.is_empty() && self.ops.is_empty()
    }

    /// Whether there is anything to write.
    pub(super) fn writes(&self) -> bool {
        !self.tasks.is_empty()
            || !self.ended.is_empty()
            || self.ops.iter().any(|op| !matches!(op, Op::Reply(_)))
    }

    /// Whether a baseline may be among it.
    pub(super) fn has_baseline(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Join { baseline: true, .. }))
    }
}
