//! What a store would hold: what was noted, taken in as it comes.

use std::collections::BTreeMap;

use pyinotifyd_core::{
    schedule::{Note, Schedule, TaskState},
    task::{KeptState, KeptTask, TaskId},
    time::Instant,
};

use crate::oracle::Oracle;

#[derive(Default)]
pub(crate) struct Ledger {
    tasks: BTreeMap<TaskId, KeptTask>,
}

impl Ledger {
    /// Takes in what was noted. A run that is cut off is noted no more: what is left of it then is a
    /// task that runs.
    pub(crate) fn take(&mut self, schedule: &mut Schedule) {
        while let Some(note) = schedule.poll_note() {
            match note {
                Note::Task(task) => {
                    self.tasks.insert(task.id, task);
                }
                Note::Ended(id) | Note::Dropped(id) => {
                    assert!(self.tasks.remove(&id).is_some(), "{id:?} ends twice, or never began");
                }
                Note::Spawned(..) => unreachable!("no command is started here"),
                Note::Finished(_) => (),
            }
        }
    }

    /// Another process that begins with what was noted has all tasks as they are, and no other.
    pub(crate) fn judge(&self, schedule: &Schedule, now: Instant, oracle: &Oracle) {
        let mut left = self.tasks.clone();
        for view in schedule.tasks() {
            let Some(kept) = left.remove(&view.id) else { panic!("not noted: {view:?}") };
            assert_eq!(kept.attempt, view.attempt, "{view:?}");
            assert_eq!(kept.event.cookie, view.event.cookie, "{view:?}");
            match (view.state, kept.state) {
                // Where its file is by now is found out when it runs again.
                (TaskState::Running { .. }, KeptState::Running) => continue,
                // What was found not to be ready is tested at once by another process.
                (TaskState::Waiting { due }, KeptState::Pending { due: noted }) => {
                    let is_past = noted <= now && oracle.was_put_off(&view);
                    assert!(noted == due || is_past, "noted as {noted:?}: {view:?}");
                }
                (TaskState::Held | TaskState::Ready, KeptState::Pending { due }) => {
                    assert!(due <= now, "its delay is over: {view:?}");
                }
                (_, noted) => panic!("noted as {noted:?}: {view:?}"),
            }
            assert_eq!(kept.event.pathname, view.event.pathname, "{view:?}");
        }
        let is_cut_off = |it: &KeptTask| oracle.has_given_up() && it.state == KeptState::Running;
        assert!(left.values().all(is_cut_off), "noted, but gone: {left:?}");
    }
}
