//! What is counted and remembered for people and for metrics: nothing is decided by it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    event::{Event, EventType},
    task::{How, Outcome, TaskId},
    time::Instant,
};

/// How many ended tasks are remembered; of those that did not do what they were for, as many again.
pub const REMEMBERED: usize = 1_000;

/// How often something took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many took at most the bound of the same place in [`Self::BOUNDS`], and longer than the
    /// one before; the last place is for what took longer than any bound.
    pub counts: [u64; Self::BOUNDS.len() + 1],
    /// How long all of them took.
    pub sum: Duration,
}

/// What has become of a scheduler's tasks since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tasks that orders have made.
    pub scheduled: u64,
    /// Tasks that were given up before they started.
    pub cancelled: u64,
    /// Tasks that did what they were for.
    pub done: u64,
    /// Tasks that did not, and are not tried again.
    pub failed: u64,
    /// Tasks that were ended before they were done, because somebody or another event asked.
    pub stopped: u64,
    /// Runs that failed and were followed by another attempt.
    pub retried: u64,
    /// How long tasks ran, each attempt for itself.
    pub took: Histogram,
}

/// How many events there were, by [`EventType`], in its order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventCounts(pub [u64; EventType::ALL.len()]);

/// A task that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its name.
    pub id: TaskId,
    /// Its scheduler's name.
    pub scheduler: Arc<str>,
    /// The last event that it was scheduled with.
    pub event: Arc<Event>,
    /// Which attempt was the last, from 1.
    pub attempt: u32,
    /// How that ended.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// When it ended.
    pub at: Instant,
    /// How long before this process began, if that was in an earlier one.
    pub before: Duration,
}

/// The tasks that have ended last. What failed is remembered apart, so that a flood of what went
/// well does not wash it away.
#[derive(Debug, Default)]
pub struct History {
    ended: VecDeque<(u64, Finished)>,
    /// Those of them that failed, and older ones.
    failed: VecDeque<(u64, Finished)>,
    count: u64,
}

impl Histogram {
    /// In powers of about three, from what no person notices to what nobody waits for.
    pub const BOUNDS: [Duration; 14] = [
        Duration::from_millis(1),
        Duration::from_millis(3),
        Duration::from_millis(10),
        Duration::from_millis(30),
        Duration::from_millis(100),
        Duration::from_millis(300),
        Duration::from_secs(1),
        Duration::from_secs(3),
        Duration::from_secs(10),
        Duration::from_secs(30),
        Duration::from_secs(100),
        Duration::from_secs(300),
        Duration::from_secs(1_000),
        Duration::from_secs(3_600),
    ];

    /// Adds one.
    pub fn add(&mut self, took: Duration) {
        self.counts[Self::BOUNDS.partition_point(|it| *it < took)] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl EventCounts {
    /// Adds one.
    pub fn add(&mut self, event_type: EventType) {
        self.0[event_type as usize] += 1;
    }

    /// How many there were of one type.
    #[must_use]
    pub fn get(&self, event_type: EventType) -> u64 {
        self.0[event_type as usize]
    }

    /// How many there were of all types.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

impl History {
    /// Adds a task that has just ended.
    pub fn add(&mut self, finished: Finished) {
        self.count += 1;
        if finished.outcome.how() == How::Failed {
            remember(&mut self.failed, self.count, finished.clone());
        }
        remember(&mut self.ended, self.count, finished);
    }

    /// The tasks, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Finished> {
        let first = self.ended.front().map_or(u64::MAX, |it| it.0);
        let older = self.failed.iter().filter(move |it| it.0 < first);
        older.chain(&self.ended).map(|it| &it.1)
    }
}

fn remember(among: &mut VecDeque<(u64, Finished)>, number: u64, finished: Finished) {
    if among.len() == REMEMBERED {
        among.pop_front();
    }
    among.push_back((number, finished));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Mask, Origin};

    fn finished(id: u128, outcome: Outcome) -> Finished {
        Finished {
            id: TaskId(id),
            scheduler: "shell".into(),
            event: Arc::new(Event {
                event_type: EventType::CloseWrite,
                mask: Mask::NONE,
                is_dir: false,
                pathname: b"/f".as_slice().into(),
                src_pathname: None,
                name_len: 1,
                root_len: 1,
                wd: crate::record::Wd(1),
                cookie: 0,
                origin: Origin::Live,
                subject: None,
            }),
            attempt: 1,
            outcome,
            took: Duration::ZERO,
            at: Instant::ZERO,
            before: Duration::ZERO,
        }
    }

    #[test]
    fn a_duration_is_counted_at_the_first_bound_that_it_does_not_exceed() {
        let mut histogram = Histogram::default();
        for millis in [0, 1, 2, 3, 4, 4_000_000] {
            histogram.add(Duration::from_millis(millis));
        }
        assert_eq!(histogram.counts[..3], [2, 2, 1]);
        assert_eq!(histogram.counts[Histogram::BOUNDS.len()], 1);
        assert_eq!((histogram.count(), histogram.sum), (6, Duration::from_millis(4_000_010)));
    }

    #[test]
    fn what_failed_is_remembered_longer_and_in_its_place() {
        let mut history = History::default();
        let limit = u128::try_from(REMEMBERED).unwrap();
        history.add(finished(0, Outcome::Failed(String::new())));
        for id in 1..=limit {
            history.add(finished(id, Outcome::Done(None)));
        }
        let ids: Vec<u128> = history.iter().map(|it| it.id.0).collect();
        assert_eq!(ids, (0..=limit).collect::<Vec<_>>());
        history.add(finished(limit + 1, Outcome::Done(None)));
        let ids: Vec<u128> = history.iter().map(|it| it.id.0).collect();
        assert_eq!(ids, [0].into_iter().chain(2..=limit + 1).collect::<Vec<_>>());
    }
}
