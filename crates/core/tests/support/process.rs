//! Processes that are none: what runs have begun, what that has started, and strangers.
//!
//! Numbers are used again as soon as the kernel may: when they are no process's and no session's.

#![allow(dead_code, reason = "no test needs all of it")]

use std::collections::BTreeMap;

use pyinotifyd_core::{
    engine::{Stray, StrayMark},
    task::{Leader, RunId, TaskId},
};

use super::store::Disk;

/// What there is.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    all: BTreeMap<u32, Process>,
    ticks: u64,
}

#[derive(Clone, Debug)]
struct Process {
    since: u64,
    session: u32,
    /// The id of a task that it has in its environment.
    variable: Option<TaskId>,
    of: Of,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Of {
    /// A run that goes on.
    Run(RunId, Vec<TaskId>),
    /// A run that was cut off; whether it was written down by then.
    CutOff(Vec<TaskId>, bool),
    /// A run that has ended, or nobody we know.
    Others,
}

impl Processes {
    fn number(&self) -> u32 {
        let is_free =
            |it: &u32| !self.all.contains_key(it) && self.all.values().all(|of| of.session != *it);
        (2..u32::MAX).find(is_free).expect("there are enough")
    }

    fn begin(&mut self, session: Option<u32>, variable: Option<TaskId>, of: Of) -> (u32, u64) {
        let pid = self.number();
        self.ticks += 1;
        let since = self.ticks;
        let session = session.unwrap_or(pid);
        self.all.insert(pid, Process { since, session, variable, of });
        (pid, since)
    }

    /// A run begins as a process.
    pub(crate) fn spawn(&mut self, run: RunId, tasks: Vec<TaskId>) -> Leader {
        let task = tasks[0];
        let (pid, since) = self.begin(None, Some(task), Of::Run(run, tasks));
        Leader { pid, since, task }
    }

    /// Somebody else begins one.
    pub(crate) fn appear(&mut self) {
        self.begin(None, None, Of::Others);
    }

    /// One starts another.
    pub(crate) fn fork(&mut self, n: usize) {
        if let Some(process) = self.all.values().nth(n % self.all.len().max(1)).cloned() {
            self.begin(Some(process.session), process.variable, process.of);
        }
    }

    /// One ends by itself; of a run that goes on that would be its end.
    pub(crate) fn die(&mut self, n: usize) {
        let may_end = |(pid, it): (&u32, &Process)| {
            (*pid != it.session || !matches!(it.of, Of::Run(..))).then_some(*pid)
        };
        let all: Vec<u32> = self.all.iter().filter_map(may_end).collect();
        if !all.is_empty() {
            self.all.remove(&all[n % all.len()]);
        }
    }

    /// A run has ended with its leader. What that has started goes on.
    pub(crate) fn handle_ended(&mut self, run: RunId) {
        let is_of = |it: &Process| matches!(it.of, Of::Run(of, _) if of == run);
        self.all.retain(|pid, it| *pid != it.session || !is_of(it));
        self.all.values_mut().filter(|it| is_of(it)).for_each(|it| it.of = Of::Others);
    }

    /// The daemon is gone: this is what is known of its runs.
    pub(crate) fn handle_crash(&mut self, disk: &Disk) {
        let starts: BTreeMap<u32, u64> =
            self.all.iter().map(|(pid, it)| (*pid, it.since)).collect();
        for it in self.all.values_mut() {
            if let Of::Run(_, tasks) = &it.of {
                let since = starts.get(&it.session);
                let is_known = |task: &TaskId| {
                    let leader = disk.rows.get(task).and_then(|row| row.task.leader);
                    leader.is_some_and(|it| Some(&it.since) == since)
                };
                let is_known = tasks.iter().all(is_known);
                it.of = Of::CutOff(tasks.clone(), is_known);
            }
        }
    }

    /// So is the machine. The next one is like it.
    pub(crate) fn handle_power_cut(&mut self) {
        *self = Self::default();
    }

    /// What `sys::process::strays` does; gives back a process that was ended.
    pub(crate) fn end(&mut self, stray: &Stray) -> Option<u32> {
        let ours: Vec<u32> = match &stray.mark {
            StrayMark::Leader(leader) => {
                let is_in = |it: &Process| it.session == leader.pid;
                let is_ours = |it: &Process| match self.all.get(&leader.pid) {
                    Some(there) => there.since == leader.since && is_in(it),
                    None => is_in(it) && it.variable == Some(leader.task),
                };
                self.all.iter().filter(|(_, it)| is_ours(it)).map(|it| *it.0).collect()
            }
            StrayMark::Program { .. } => {
                let leads = |(pid, it): (&u32, &Process)| {
                    (*pid == it.session && it.variable == Some(stray.task)).then_some(*pid)
                };
                let sessions: Vec<u32> = self.all.iter().filter_map(leads).collect();
                let is_ours = |it: &Process| sessions.contains(&it.session);
                self.all.iter().filter(|(_, it)| is_ours(it)).map(|it| *it.0).collect()
            }
        };
        for pid in &ours {
            let process = self.all.remove(pid).expect("it was there just now");
            assert!(process.variable.is_some(), "{pid} is a stranger: {process:?}, {stray:?}");
        }
        ours.first().copied()
    }

    /// Panics if any of these tasks runs beside what an earlier run of it has left.
    pub(crate) fn verify_apart(&self, tasks: &[TaskId]) {
        for (pid, process) in &self.all {
            if let Of::CutOff(of, true) = &process.of {
                let is_of = of.iter().any(|it| tasks.contains(it));
                assert!(!is_of, "{pid} goes on beside its next run: {process:?}");
            }
        }
    }

    /// How many there are of runs that were cut off.
    pub(crate) fn cut_off(&self) -> usize {
        self.all.values().filter(|it| matches!(it.of, Of::CutOff(..))).count()
    }

    /// How many there are of somebody else.
    pub(crate) fn strangers(&self) -> usize {
        self.all.values().filter(|it| it.variable.is_none()).count()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}
