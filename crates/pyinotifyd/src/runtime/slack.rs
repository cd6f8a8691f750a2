//! The memory of many tasks is given back when they are gone.
//!
//! The allocator keeps what was freed for the next ones (`malloc_trim(3)`): of 100,000 tasks, with a
//! store, 80 MB. A daemon that has met a flood once would have that for as long as it lives.

use std::time::{Duration, Instant};

/// So many tasks are a flood.
const LARGE: usize = 10_000;

/// So long after most of them are gone. The store still writes down then that they are.
const LATER: Duration = Duration::from_secs(20);

/// What tasks have needed, and do not need any more.
#[derive(Debug, Default)]
pub(super) struct Slack {
    /// The most tasks that there were since memory was given back.
    most: usize,
    /// When that is to be done.
    due: Option<Instant>,
}

impl Slack {
    /// When the loop has to come round for it.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Takes in how many tasks there are. Gives back whether memory is to be given back now.
    pub(super) fn is_due(&mut self, tasks: usize, now: impl Fn() -> Instant) -> bool {
        self.most = self.most.max(tasks);
        if let Some(due) = self.due {
            let is_due = due <= now();
            if is_due {
                *self = Self { most: tasks, due: None };
            }
            return is_due;
        }
        if self.most >= LARGE && tasks <= self.most / 4 {
            self.due = Some(now() + LATER);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_done_once_after_a_flood_and_never_else() {
        let start = Instant::now();
        let at = |seconds: u64| move || start + Duration::from_secs(seconds);
        let mut slack = Slack::default();
        // Many tasks are no flood as long as few are there at once, and none while they are there.
        for (seconds, tasks) in [(0, LARGE - 1), (1, 0), (100, LARGE), (500, LARGE / 2)] {
            assert!(!slack.is_due(tasks, at(seconds)));
            assert_eq!(slack.poll_timeout(), None);
        }
        assert!(!slack.is_due(LARGE / 4, at(600)));
        assert_eq!(slack.poll_timeout(), Some(at(620)()));
        assert!(!slack.is_due(0, at(619)));
        assert!(slack.is_due(3, at(620)));
        assert_eq!(slack.poll_timeout(), None);
        assert!(!slack.is_due(0, at(10_000)));
        assert_eq!(slack.poll_timeout(), None);
    }

    #[test]
    fn the_next_flood_is_one_too() {
        let start = Instant::now();
        let mut slack = Slack::default();
        for _ in 0..2 {
            assert!(!slack.is_due(LARGE, || start));
            assert!(!slack.is_due(0, || start));
            assert!(slack.is_due(0, || start + LATER));
        }
    }
}
