//! Which tasks have a row, and which of these are memos: what has to be known without reading.

use std::{collections::HashMap, sync::Arc};

use pyinotifyd_core::task::TaskId;

use super::{RowState, TaskRow};

/// The rows of the table `task`, as far as they have to be found.
#[derive(Debug, Default)]
pub(super) struct Journal {
    rows: HashMap<TaskId, Row>,
    memos: HashMap<Arc<[u8]>, Vec<TaskId>>,
}

#[derive(Debug)]
struct Row {
    path: Arc<[u8]>,
    /// The last round that had begun when its run ended.
    done: Option<u64>,
}

impl Journal {
    /// What was read. Memos are of before any round.
    pub(super) fn new(tasks: &[TaskRow]) -> Self {
        let mut journal = Self::default();
        for task in tasks {
            journal.put(task);
            if task.state == RowState::Done {
                journal.end(task.id, 0);
            }
        }
        journal
    }

    /// There is a row for this task, and it is no memo.
    pub(super) fn put(&mut self, task: &TaskRow) {
        self.delete(task.id);
        self.rows.insert(task.id, Row { path: Arc::clone(&task.event.pathname), done: None });
    }

    /// Whether there is a row for this task that is no memo.
    pub(super) fn runs(&self, id: TaskId) -> bool {
        self.rows.get(&id).is_some_and(|row| row.done.is_none())
    }

    /// The task's row is a memo. `false`: there is no such row, or it is one already.
    pub(super) fn end(&mut self, id: TaskId, round: u64) -> bool {
        let Some(row) = self.rows.get_mut(&id).filter(|row| row.done.is_none()) else {
            return false;
        };
        row.done = Some(round);
        self.memos.entry(Arc::clone(&row.path)).or_default().push(id);
        true
    }

    /// There is no row for this task any more. `false`: there was none.
    pub(super) fn delete(&mut self, id: TaskId) -> bool {
        let Some(row) = self.rows.remove(&id) else { return false };
        if row.done.is_some()
            && let Some(ids) = self.memos.get_mut(&row.path)
        {
            ids.retain(|it| *it != id);
            if ids.is_empty() {
                self.memos.remove(&row.path);
            }
        }
        true
    }

    /// Takes out the memos about a path that were made before this round began.
    pub(super) fn forget(&mut self, path: &[u8], round: u64) -> Vec<TaskId> {
        let Some(ids) = self.memos.get(path) else { return Vec::new() };
        let ids = self.old(ids, round);
        for id in &ids {
            self.delete(*id);
        }
        ids
    }

    /// Takes out all memos that were made before this round began.
    pub(super) fn forget_all(&mut self, round: u64) -> Vec<TaskId> {
        let mut ids: Vec<TaskId> =
            self.memos.values().flat_map(|ids| self.old(ids, round)).collect();
        ids.sort_unstable();
        for id in &ids {
            self.delete(*id);
        }
        ids
    }

    fn old(&self, ids: &[TaskId], round: u64) -> Vec<TaskId> {
        let is_old = |id: &&TaskId| {
            self.rows.get(id).is_some_and(|row| row.done.is_some_and(|done| done < round))
        };
        ids.iter().filter(is_old).copied().collect()
    }

    /// Whether there is any memo.
    pub(super) fn has_memos(&self) -> bool {
        !self.memos.is_empty()
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}
