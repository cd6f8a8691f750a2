//! What takes long says how far it is: the first walk of a large tree, what is read after a loss,
//! and copies.
//!
//! Whoever waits for the end of one of them is told every [`EVERY`] in the log, and, if that goes to
//! a terminal, sees a bar there after [`SOON`]. As long as there is nothing of the kind, nothing
//! wakes up.

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
use crate::{
    action::files::Copying,
    log::{
        self,
        bar::{What, Work},
    },
};

/// So long nothing is said, and then once in this time.
const EVERY: Duration = Duration::from_secs(10);

/// So long nothing is drawn.
const SOON: Duration = Duration::from_secs(1);

/// So often it is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// What goes on that may take long.
#[derive(Debug)]
pub(super) struct Progress {
    reading: Lasting,
    copying: Lasting,
    /// Any of the two, where there is a bar.
    drawing: Lasting,
    /// How many directories were known when the reading began that goes on.
    known: usize,
    /// Whether there is something on the bar.
    is_drawn: bool,
}

/// Something that may take long.
#[derive(Debug)]
struct Lasting {
    /// How long it is let be, and how often it is told from then on.
    first: Duration,
    every: Duration,
    /// Since when it goes on, and when it is to be told; `None`: it does not go on.
    now: Option<(Clock, Clock)>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            reading: Lasting::new(EVERY, EVERY),
            copying: Lasting::new(EVERY, EVERY),
            drawing: Lasting::new(SOON, FRAME),
            known: 0,
            is_drawn: false,
        }
    }
}

impl Progress {
    /// When the loop has to come round for it.
    pub(super) fn poll_timeout(&self) -> Option<Clock> {
        [&self.reading, &self.copying, &self.drawing].into_iter().filter_map(Lasting::due).min()
    }
}

impl Lasting {
    fn new(first: Duration, every: Duration) -> Self {
        Self { first, every, now: None }
    }

    fn since(&self) -> Option<Clock> {
        self.now.map(|it| it.0)
    }

    fn due(&self) -> Option<Clock> {
        self.now.map(|it| it.1)
    }

    /// Takes in whether it goes on. Gives back whether it is time to tell.
    fn is_due(&mut self, goes_on: bool, now: impl FnOnce() -> Clock) -> bool {
        if !goes_on {
            self.now = None;
            return false;
        }
        let now = now();
        let (since, is_due) = match self.now {
            Some((_, due)) if due > now => return false,
            Some((since, _)) => (since, true),
            None => (now, false),
        };
        let rest = if is_due { self.every } else { self.first };
        self.now = Some((since, now + rest));
        is_due
    }
}

/// What is shown where there is room for one: that which has gone on for the longest time, if it is
/// long already.
fn longest(works: Vec<Work>) -> Option<Work> {
    let long: Vec<Work> = works.into_iter().filter(|it| it.took >= SOON).collect();
    let others = long.len().saturating_sub(1);
    let longest = long.into_iter().max_by_key(|it| it.took)?;
    Some(Work { others, ..longest })
}

impl Loop {
    /// Tells how far it is what takes long.
    pub(super) fn handle_progress(&mut self) {
        let (reads, copies) = (self.engine.is_reading(), !self.actions.files.is_idle());
        if !reads || self.progress.reading.since().is_none() {
            self.progress.known = self.engine.tree().watched_len();
        }
        if self.progress.reading.is_due(reads, Clock::now) {
            self.tell(Say::Reading { directories: self.engine.tree().watched_len() });
        }
        if self.progress.copying.is_due(copies, Clock::now) {
            for report in self.copying() {
                self.say(&report);
            }
        }
        let is_shown = (reads || copies) && log::has_bar();
        if self.progress.drawing.is_due(is_shown, Clock::now) {
            self.show(longest(self.works()));
        } else if !is_shown {
            self.show(None);
        }
    }

    fn show(&mut self, work: Option<Work>) {
        if self.progress.is_drawn || work.is_some() {
            self.progress.is_drawn = work.is_some();
            log::show(work);
        }
    }

    /// All that goes on and may take long.
    fn works(&self) -> Vec<Work> {
        let now = Clock::now();
        let reading = self.progress.reading.since().map(|since| Work {
            what: What::Reading,
            done: self.kernel.entered() as u64,
            // What was lost may be anywhere; at a start or a reload nobody knows what is to come.
            of: self.engine.is_recovering().then_some(self.progress.known as u64),
            took: now.saturating_duration_since(since),
            others: 0,
        });
        let copies = self.actions.files.copies().into_iter();
        let copies = copies.map(|Copying { path, since, bytes, of, .. }| Work {
            what: What::Copying { path },
            done: bytes,
            of,
            took: now.saturating_duration_since(since),
            others: 0,
        });
        reading.into_iter().chain(copies).collect()
    }

    /// What is to be said of runs that copy, and have done so for a while.
    fn copying(&self) -> Vec<Report> {
        let copied: BTreeMap<RunId, u64> =
            self.actions.files.copies().into_iter().map(|it| (it.run, it.bytes)).collect();
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
        let mut progress = Lasting::new(EVERY, EVERY);
        assert!(!progress.is_due(false, at(0)));
        assert_eq!(progress.due(), None);
        assert!(!progress.is_due(true, at(0)));
        assert_eq!(progress.due(), Some(at(10)()));
        assert!(!progress.is_due(true, at(9)));
        assert!(progress.is_due(true, at(10)));
        assert!(!progress.is_due(true, at(19)));
        assert!(progress.is_due(true, at(21)));
        assert!(!progress.is_due(false, at(30)));
        assert!(!progress.is_due(true, at(31)));
        assert!(!progress.is_due(true, at(40)));
        assert_eq!(progress.since(), Some(at(31)()));
    }

    #[test]
    fn a_bar_comes_after_a_second_and_moves_ten_times_a_second() {
        let begun = Clock::now();
        let at = |millis| move || begun + Duration::from_millis(millis);
        let mut drawing = Lasting::new(SOON, FRAME);
        assert!(!drawing.is_due(true, at(0)));
        assert!(!drawing.is_due(true, at(999)));
        assert!(drawing.is_due(true, at(1000)));
        assert!(!drawing.is_due(true, at(1099)));
        assert!(drawing.is_due(true, at(1100)));
        assert_eq!(drawing.due(), Some(at(1200)()));
        assert_eq!(drawing.since(), Some(begun));
    }

    #[test]
    fn what_has_taken_longest_is_shown_and_what_is_short_is_not_counted() {
        let work = |path: &[u8], millis| {
            let what = What::Copying { path: path.into() };
            Work { what, done: 1, of: None, took: Duration::from_millis(millis), others: 0 }
        };
        assert_eq!(longest(vec![]), None);
        assert_eq!(longest(vec![work(b"/a", 999)]), None);
        let works = vec![work(b"/a", 999), work(b"/b", 1000), work(b"/c", 3000)];
        assert_eq!(longest(works), Some(Work { others: 1, ..work(b"/c", 3000) }));
    }
}
