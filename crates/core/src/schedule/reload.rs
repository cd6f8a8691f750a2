//! A new plan: schedulers are matched by their names.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Schedule,
    lane::{Lane, Settings},
    table::LaneId,
};
use crate::{plan::Plan, report::CancelReason, time::Instant};

impl Schedule {
    /// Takes in a new plan.
    ///
    /// A scheduler whose name stays keeps its tasks, with id, event and due time: a new delay is
    /// for later orders. The tasks of one that is gone are given up, unless they run: a run keeps
    /// the `timeout` and `kill_after` that it started with. It is not tried again when its
    /// scheduler is gone.
    ///
    /// # Panics
    ///
    /// If a command is left to take: it names a scheduler by the old plan's number.
    pub fn handle_plan(&mut self, now: Instant, plan: &Plan) {
        assert!(self.commands.is_empty(), "commands are taken before the plan is changed");
        let now = self.advance(now);
        self.match_lanes(plan);
        self.slots = plan.slots.get();
        // Whether one shares slots may have changed.
        let turns: Vec<LaneId> = self.turn.drain(..).chain(self.own_turn.drain(..)).collect();
        for id in turns {
            self.give_turn(id);
        }
        self.refit_tasks();
        for key in self.subjects.keys() {
            self.refit_subject(key);
        }
        for id in (0..self.lanes.len()).map(lane_id) {
            if self.lanes[usize::from(id.0)].is_some() {
                self.offer(id);
                self.forget_lane_if_gone(id);
            }
        }
        self.timers.forget_unused();
        self.memories.forget_unused();
        self.start_ready(now);
    }

    /// Removes a lane whose scheduler is gone when its last run has ended.
    pub(super) fn forget_lane_if_gone(&mut self, id: LaneId) {
        let lane = self.lane(id);
        if lane.id.is_none() && lane.counts.runs == 0 && lane.probes == 0 {
            self.lanes[usize::from(id.0)] = None;
            self.turn.retain(|it| *it != id);
            self.own_turn.retain(|it| *it != id);
        }
    }

    fn match_lanes(&mut self, plan: &Plan) {
        let mut by_name = BTreeMap::new();
        for (id, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(lane) = lane {
                lane.id = None;
                by_name.insert(Arc::clone(&lane.name), lane_id(id));
            }
        }
        self.by_id.clear();
        for (id, scheduler) in plan.schedulers() {
            let lane = if let Some(lane) = by_name.get(&scheduler.name) {
                let kept = self.lane_mut(*lane);
                kept.id = Some(id);
                kept.logname = Arc::clone(&scheduler.logname);
                kept.settings = Settings::of(scheduler);
                *lane
            } else {
                let paused = self.pauses_new;
                let new = Some(Lane { paused, ..Lane::new(id, scheduler) });
                if let Some(free) = self.lanes.iter().position(Option::is_none) {
                    self.lanes[free] = new;
                    lane_id(free)
                } else {
                    self.lanes.push(new);
                    lane_id(self.lanes.len() - 1)
                }
            };
            self.by_id.push(lane);
        }
    }

    fn refit_tasks(&mut self) {
        for key in self.tasks.keys() {
            if !self.tasks.contains(key) {
                continue; // Given up for another of these.
            }
            let lane = self.lane(self.tasks[key].lane);
            let (gone, settings) = (lane.id.is_none(), lane.settings);
            if gone {
                self.cancel_task(key, CancelReason::SchedulerGone);
                continue;
            }
            if self.tasks[key].single != settings.singlejob {
                let task = &self.tasks[key];
                let other = self.find_task(task.lane, &task.event);
                if let Some(other) = other
                    && !self.make_one(key, other)
                {
                    continue;
                }
                self.tasks.rename(key, settings.follow, |it| it.single = settings.singlejob);
            }
            self.tasks.follow(key, settings.follow);
            self.settle(key);
        }
    }

    fn refit_subject(&mut self, key: u32) {
        let Lane { id, settings, .. } = self.lane(self.subjects[key].lane);
        let (gone, settings) = (id.is_none(), *settings);
        self.subjects.follow(key, settings.follow);
        if (gone || settings.breaker.is_none())
            && let Some(timer) = self.subjects.get_mut(key).memory.take()
        {
            self.memories.remove(timer);
        }
        self.forget_if_idle(key);
    }
}

fn lane_id(index: usize) -> LaneId {
    LaneId(u16::try_from(index).expect("a plan has at most 65,535 schedulers"))
}
