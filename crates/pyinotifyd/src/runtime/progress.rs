//! What takes long says how far it is: the first walk of a large tree, what is read after a loss,
//! and copies.
//!
//! Whoever waits for the end of one of them is told every [`EVERY`]; as long as there is nothing of
//! the kind, nothing wakes up.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant as Clock},
};

use pyinotifyd_core::{
    report::{Report, Say},
    schedule::TaskState,
    task::RunId,
};

use super::Loop;

/// So long nothing is said, and then once in this time.
const EVERY: Duration = Duration::from_secs(10);

/// What goes on that may take long.
#[derive(Debug, Default)]
pub(super) struct Progress {
    reading: Lasting,
    copying: Lasting,
}

/// Something that may take long.
#[derive(Debug, Default)]
struct Lasting {
    /// When it is to be told; `None`: it does not go on.
    due: Option<Clock>,
}

impl Progress {
    /// When the loop has to come round for it.
    pub(super) fn poll_timeout(&self) -> Option<Clock> {
        [self.reading.due, self.copying.due].into_iter().flatten().min()
    }
}

impl Lasting {
    /// Takes in whether it goes on. Gives back whether it is time to tell.
    fn is_due(&mut self, goes_on: bool, now: impl FnOnce() -> Clock) -> bool {
        if !goes_on {
            self.due = None;
            return false;
        }
        let now = now();
        let is_due = self.due.is_some_and(|it| it <= now);
        if is_due || self.due.is_none() {
            self.due = Some(now + EVERY);
        }
        is_due
    }
}

impl Loop {
    /// Tells how far it is what takes long.
    pub(super) fn handle_progress(&mut self) {
        if self.progress.reading.is_due(self.engine.is_reading(), Clock::now) {
            self.tell(Say::Reading { directories: self.engine.tree().watched_len() });
        }
        let copies = !self.actions.files.is_idle();
        if self.progress.copying.is_due(copies, Clock::now) {
            for report in self.copying() {
                self.say(&report);
            }
        }
    }

    /// What is to be said of runs that copy, and have done so for a while.
    fn copying(&self) -> Vec<Report> {
        let copied: BTreeMap<RunId, u64> =
            self.actions.files.copied().into_iter().filter(|it| it.1 > 0).collect();
        if copied.is_empty() {
            return Vec::new();
        }
        let (now, plan) = (self.now(), self.engine.plan());
        let tasks = self.engine.schedule().tasks().filter_map(|it| {
            let TaskState::Running { run, since } = it.state else { return None };
            let (bytes, took) = (*copied.get(&run)?, now.since(since));
            let path = it.event.pathname.clone();
            let logname = it.scheduler.map_or(&plan.logname, |id| &plan.scheduler(id).logname);
            (took >= EVERY).then(|| Report {
                logname: logname.clone(),
                task: Some(it.id),
                say: Say::Copying { path, bytes, took },
            })
        });
        tasks.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_soon_over_is_not_told_and_what_lasts_is_told_again_and_again() {
        let begun = Clock::now();
        let at = |seconds| move || begun + Duration::from_secs(seconds);
        let mut progress = Lasting::default();
        assert!(!progress.is_due(false, at(0)));
        assert_eq!(progress.due, None);
        assert!(!progress.is_due(true, at(0)));
        assert_eq!(progress.due, Some(at(10)()));
        assert!(!progress.is_due(true, at(9)));
        assert!(progress.is_due(true, at(10)));
        assert!(!progress.is_due(true, at(19)));
        assert!(progress.is_due(true, at(21)));
        assert!(!progress.is_due(false, at(30)));
        assert!(!progress.is_due(true, at(31)));
        assert!(!progress.is_due(true, at(40)));
    }
}
