//! Subjects that are renamed: their tasks, and what is known of their runs, go on under the new
//! path. Costs by what is renamed, not by what waits elsewhere.

use std::sync::Arc;

use super::{
    Schedule,
    breaker::Trigger,
    pending::{State, Task},
    table::{Entry, LaneId, Table},
};
use crate::{
    event::Event,
    path,
    plan::SchedulerId,
    report::{CancelReason, Say},
    time::Instant,
};

impl Schedule {
    /// Takes in that `from` was renamed to `to`. A scheduler for which `says` is true is left
    /// alone: the event map itself tells it what the rename means.
    ///
    /// Where the new path has a task already, the one that is due later stays.
    pub fn handle_moved(
        &mut self,
        from: &[u8],
        to: &[u8],
        is_dir: bool,
        says: &dyn Fn(SchedulerId) -> bool,
    ) {
        // A directory cannot be moved into itself, nor onto one that it is in.
        if path::below(to, from).is_some() || path::below(from, to).is_some() {
            return;
        }
        let lanes: Vec<(LaneId, bool)> = (0..)
            .map(LaneId)
            .zip(&self.lanes)
            .filter_map(|(id, lane)| {
                let lane = lane.as_ref()?;
                let follows = lane.settings.follow && lane.id.is_some_and(|it| !says(it));
                follows.then_some((id, lane.settings.singlejob))
            })
            .collect();
        if lanes.is_empty() {
            return;
        }
        for key in affected(&self.subjects, &lanes, from, is_dir) {
            self.move_subject(key, from, to);
        }
        for key in affected(&self.tasks, &lanes, from, is_dir) {
            self.move_task(key, from, to);
        }
        self.start_ready(self.now);
    }

    fn move_subject(&mut self, key: u32, from: &[u8], to: &[u8]) {
        let lane = self.subjects[key].lane;
        let path = moved(&self.subjects[key].path, from, to);
        if let Some(other) = self.subjects.find(lane, &path) {
            let gone = self.subjects.remove(key);
            for run in &gone.runs {
                for task in self.runs[*run].tasks.iter_mut().filter(|it| it.subject == key) {
                    task.subject = other;
                }
            }
            let other = self.subjects.get_mut(other);
            match (other.runs.is_empty(), gone.runs.is_empty()) {
                (false, false) => {
                    other.cancelled &= gone.cancelled;
                    other.restarted |= gone.restarted;
                }
                (true, false) => {
                    (other.cancelled, other.restarted) = (gone.cancelled, gone.restarted);
                    other.task = gone.task;
                }
                (_, true) => (),
            }
            other.streak.merge(gone.streak);
            other.runs.extend(gone.runs);
            // A breaker's memory counts from the end of the last run.
            let outlived = if other.runs.is_empty() { None } else { other.memory.take() };
            for timer in gone.memory.into_iter().chain(outlived) {
                self.memories.remove(timer);
            }
        } else {
            self.subjects.rename(key, true, |it| it.path = Arc::clone(&path));
        }
        // What waits under the new path may have found a run in its way.
        if let Some(task) = self.tasks.find(lane, &path) {
            self.settle(task);
        }
    }

    fn move_task(&mut self, key: u32, from: &[u8], to: &[u8]) {
        let Task { id, lane, single, .. } = self.tasks[key];
        let old = Arc::clone(&self.tasks[key].event.pathname);
        let path = moved(&old, from, to);
        let other = if single { None } else { self.tasks.find(lane, &path) };
        if let Some(other) = other
            && !self.make_one(key, other)
        {
            return;
        }
        let event = renamed(&self.tasks[key].event, &path);
        self.ask_anew(key);
        self.tasks.rename(key, true, |it| it.event = event);
        self.note_task(key);
        self.say(lane, id, Say::Followed { from: old, to: path });
        self.settle(key);
    }

    /// Two tasks are to become one: gives up the one that is due first. True if `key` stays. An
    /// order weighs more than a retry, as it does when it comes while a retry waits.
    pub(super) fn make_one(&mut self, key: u32, other: u32) -> bool {
        let weight = |task: &Task| {
            let due = match task.state {
                State::Waiting(timer) => self.timers.due(timer),
                State::Held | State::Ready(_) | State::Tested(_) => Instant::ZERO,
            };
            (task.trigger != Trigger::Before, due)
        };
        let stays = weight(&self.tasks[key]) > weight(&self.tasks[other]);
        self.cancel_task(if stays { other } else { key }, CancelReason::Superseded);
        stays
    }
}

/// The entries of these lanes that are about `from` or, if it is a directory, about what is in it.
fn affected<T: Entry>(
    table: &Table<T>,
    lanes: &[(LaneId, bool)],
    from: &[u8],
    is_dir: bool,
) -> Vec<u32> {
    let mut keys = Vec::new();
    if table.is_empty() {
        return keys;
    }
    for (lane, single) in lanes {
        let subject = if *single { b"" } else { from };
        let found = table.find(*lane, subject).filter(|key| **table[*key].path() == *from);
        keys.extend(found);
    }
    if is_dir {
        let below = table.below(from).into_iter();
        keys.extend(below.filter(|it| lanes.iter().any(|(lane, _)| *lane == table[*it].lane())));
    }
    keys
}

/// `path`, which is `from` or below it, after the rename.
fn moved(path: &[u8], from: &[u8], to: &[u8]) -> Arc<[u8]> {
    let rest = path.strip_prefix(from).expect("what is renamed lies in what is renamed");
    [to, rest].concat().into()
}

/// The event, about the same subject under its new path. All else that it says stays, but how
/// much of the path is trusted: no more than what both paths share.
pub(super) fn renamed(event: &Arc<Event>, to: &Arc<[u8]>) -> Arc<Event> {
    if event.pathname == *to {
        return Arc::clone(event);
    }
    let root = usize::try_from(event.root_len).unwrap_or(usize::MAX).min(event.pathname.len());
    let keeps_root = to.get(..root) == Some(&event.pathname[..root]);
    let name = path::split(to).map_or(0, |(_, name)| name.len());
    Arc::new(Event {
        pathname: Arc::clone(to),
        name_len: match event.name_len {
            0 => 0,
            _ => u16::try_from(name).expect("a name is at most 255 bytes long (NAME_MAX)"),
        },
        root_len: if keeps_root { event.root_len } else { 0 },
        ..Event::clone(event)
    })
}
