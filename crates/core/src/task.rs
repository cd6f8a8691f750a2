//! Orders, tasks, runs and outcomes: what flows between the rules, the schedule and the actions.

use std::{fmt, sync::Arc, time::Duration};

use crate::{event::Event, plan::SchedulerId, stamp::IndexId, time::Instant};

/// Names a task over its whole life, re-scheduling and retries included. Shown as a version 4 UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u128);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // RFC 9562: version 4 in the 13th digit, variant 0b10 in the 17th.
        let bits = self.0 & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
        // By hand: an id is in most lines of the log, and was half of what a line costs.
        let mut text = [b'-'; 36];
        let places = (0..36).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
        for (place, shift) in places.zip((0..32).rev()) {
            text[place] = b"0123456789abcdef"[(bits >> (shift * 4) & 0xf) as usize];
        }
        f.pad(str::from_utf8(&text).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Names one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// What an event map asks of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderKind {
    /// Run the subject's task after the scheduler's delay.
    Schedule,
    /// Give up the subject's task, if it has not started.
    Cancel,
}

/// An order for one scheduler about one event's subject.
#[derive(Clone, Debug)]
pub struct Order {
    /// What is asked.
    pub kind: OrderKind,
    /// Of which scheduler.
    pub scheduler: SchedulerId,
    /// Why. Its path is the subject, unless the scheduler has one subject for all (`singlejob`).
    pub event: Arc<Event>,
}

/// One execution of a scheduler's action.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// Whose action it is.
    pub scheduler: SchedulerId,
    /// What it is for: one task, or the several of a batch; never empty.
    pub tasks: Vec<RunTask>,
}

/// One task of a run.
#[derive(Clone, Debug)]
pub struct RunTask {
    /// The task.
    pub id: TaskId,
    /// The last event that it was scheduled with.
    pub event: Arc<Event>,
    /// 1 for the first run, one more for each retry.
    pub attempt: u32,
}

/// A test whether tasks may start that could.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Its name.
    pub id: ProbeId,
    /// Whose conditions they are.
    pub scheduler: SchedulerId,
    /// What is tested: one task, or those of a batch; never empty.
    pub tasks: Vec<ProbeTask>,
}

/// Names one test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId(pub u64);

/// One task of a test.
#[derive(Clone, Debug)]
pub struct ProbeTask {
    /// The task.
    pub task: RunTask,
    /// What the test before this one saw, if there was one.
    pub look: Option<Look>,
}

/// Whether a task may start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It may.
    Ready,
    /// It is to be tested again.
    NotYet {
        /// Why, in words for the log; `None`: for the reason that was told before.
        reason: Option<String>,
        /// How long until it may hold, if that is known.
        again: Option<Duration>,
        /// What was seen.
        look: Look,
    },
}

/// What a test saw, for the next one of the same task. It means nothing to the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Which reason was told.
    pub told: u8,
    /// Stands for size and times of the file.
    pub stamp: u64,
    /// Since when that is seen, by the machine's clock.
    pub since: Duration,
    /// When that was seen last.
    pub at: Duration,
    /// Whether the file's own times are no proof.
    pub distrust: bool,
}

/// A task as it has to be known again after the process has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptTask {
    /// Its name.
    pub id: TaskId,
    /// Its scheduler's name: numbers differ from one configuration to the next.
    pub scheduler: Arc<str>,
    /// The last event that it was scheduled with.
    pub event: Arc<Event>,
    /// Which run of it goes on or comes next, from 1.
    pub attempt: u32,
    /// When its first event came.
    pub first: Instant,
    /// The directory that its event's path is in: by this it is found again when that has been
    /// renamed.
    pub dir: IndexId,
    /// Where it stands.
    pub state: KeptState,
    /// What its command began as, as far as that is known and may still go on.
    pub leader: Option<Leader>,
}

/// The process that a command began as. It leads a session, to which belongs what it has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leader {
    /// Its process id.
    pub pid: u32,
    /// When it was started, in ticks since the boot: no other process has had both.
    pub since: u64,
    /// The task whose id it has in its environment, as has what it has started.
    pub task: TaskId,
}

/// Where a task stands that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptState {
    /// It waits for this point, or for something else once that has come.
    Pending {
        /// When its delay is over.
        due: Instant,
    },
    /// It runs, or is about to.
    Running,
}

/// How hard a run is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StopHow {
    /// `SIGTERM` to the whole process group; a file action ends at the next safe point.
    Term,
    /// `SIGKILL` to the whole process group.
    Kill,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what it was for. The note says what that was, if it is worth a line: "moved /a to /b".
    Done(Option<String>),
    /// A command ended with this status other than 0. The text is the end of its output.
    Exited(i32, String),
    /// A command was ended by this signal. The text is the end of its output.
    Signalled(i32, String),
    /// It failed, and may succeed another time.
    Failed(String),
    /// It failed, and would fail again: a command that does not exist, a rule that cannot apply.
    Refused(String),
    /// It was ended because [`StopHow`] asked.
    Stopped,
}

/// The three kinds of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It did what it was for.
    Done,
    /// It did not.
    Failed,
    /// It was ended because somebody asked.
    Stopped,
}

impl Outcome {
    /// Whether it did what it was for.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// Which of three kinds of end it is.
    #[must_use]
    pub const fn how(&self) -> How {
        match self {
            Self::Done(_) => How::Done,
            Self::Stopped => How::Stopped,
            Self::Exited(..) | Self::Signalled(..) | Self::Failed(_) | Self::Refused(_) => {
                How::Failed
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, tail) = match self {
            Self::Done(None) => return f.write_str("done"),
            Self::Done(Some(text)) | Self::Failed(text) | Self::Refused(text) => {
                return f.write_str(text);
            }
            Self::Stopped => return f.write_str("stopped"),
            Self::Exited(status, tail) => (format!("exit status {status}"), tail),
            Self::Signalled(signal, tail) => (format!("ended by signal {signal}"), tail),
        };
        f.write_str(&what)?;
        match tail.as_str() {
            "" => Ok(()),
            tail => write!(f, ": {tail}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_id_is_a_version_4_uuid() {
        assert_eq!(TaskId(0).to_string(), "00000000-0000-4000-8000-000000000000");
        assert_eq!(TaskId(u128::MAX).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
