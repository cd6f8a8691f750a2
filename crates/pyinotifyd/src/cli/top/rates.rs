//! How much happens in a second, from what two statuses after one another have counted.

use std::collections::VecDeque;

use crate::control::words::Status;

/// So many points of the past are kept: more than the columns of any terminal.
const KEPT: usize = 1_024;

/// What happened in a second, of late.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// Events, oldest first; none where the daemon could not be asked.
    pub(super) events: VecDeque<Option<u64>>,
    /// Tasks that did what they were for.
    pub(super) done: u64,
    /// Tasks that did not.
    pub(super) failed: u64,
    last: Option<Totals>,
}

/// What a status has counted since the daemon's start.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Totals {
    pid: u32,
    /// By the daemon's own clock, so that a late answer is no lower rate.
    uptime: f64,
    events: u64,
    done: u64,
    failed: u64,
}

impl Rates {
    /// Takes in a status.
    pub(super) fn handle_status(&mut self, status: &Status) {
        let new = Totals {
            pid: status.pid,
            uptime: status.uptime,
            events: status.watches.iter().map(|it| it.events).sum(),
            done: status.schedulers.iter().map(|it| it.done).sum(),
            failed: status.schedulers.iter().map(|it| it.failed).sum(),
        };
        let last = self.last.replace(new);
        let Some(last) = last.filter(|it| it.pid == new.pid && it.uptime < new.uptime) else {
            return;
        };
        let seconds = new.uptime - last.uptime;
        self.done = per_second(last.done, new.done, seconds);
        self.failed = per_second(last.failed, new.failed, seconds);
        self.push(Some(per_second(last.events, new.events, seconds)));
    }

    /// Takes in that the daemon could not be asked.
    pub(super) fn handle_gone(&mut self) {
        (self.done, self.failed, self.last) = (0, 0, None);
        self.push(None);
    }

    /// The last rate of events; none before there are two statuses.
    pub(super) fn now(&self) -> Option<u64> {
        self.events.back().copied().flatten()
    }

    fn push(&mut self, point: Option<u64>) {
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(point);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a quotient of what is not negative, and `as` saturates"
)]
fn per_second(old: u64, new: u64, seconds: f64) -> u64 {
    // Watches and schedulers that a reload has removed take their counts along.
    (new.saturating_sub(old) as f64 / seconds).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::samples;

    fn status(pid: u32, uptime: f64, events: u64) -> Status {
        let mut status = Status { pid, uptime, ..samples::status() };
        status.watches.truncate(1);
        status.watches[0].events = events;
        status
    }

    #[test]
    fn a_rate_is_by_the_daemons_clock_and_within_one_daemon() {
        let mut rates = Rates::default();
        let steps =
            [(1, 1.0, 100), (1, 3.0, 300), (1, 4.0, 0), (2, 9.0, 9), (2, 9.0, 50), (2, 9.5, 60)];
        for (pid, uptime, events) in steps {
            rates.handle_status(&status(pid, uptime, events));
        }
        assert_eq!(rates.events, [Some(100), Some(0), Some(20)]);
        rates.handle_gone();
        rates.handle_status(&status(2, 20.0, 1_000));
        assert_eq!((rates.now(), rates.events.len()), (None, 4));
    }

    #[test]
    fn the_past_is_bounded() {
        let mut rates = Rates::default();
        for _ in 0..KEPT * 2 {
            rates.handle_gone();
        }
        assert_eq!(rates.events.len(), KEPT);
    }
}
