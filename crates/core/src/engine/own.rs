//! The file manager's own changes, known again when the kernel tells of them.
//!
//! A rule that moves a file into a watched directory makes an event there, which must not order
//! the same scheduler again. What a run is going to do is known before it starts, so its events are
//! known by their paths and kinds; nothing else is taken for our own, because a new file under the
//! same name is work. What is expected of a run is forgotten when everything that was queued at its
//! end has been read; if it may have made directories, when what was found in those has been told,
//! too.
//!
//! A test whether a task may start opens the task's file and closes it, which must not order that
//! task again, or it would never start.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crate::{
    event::{Event, EventType, Origin},
    filerule::{self, FileAction, FilePlan, FileRule},
    path,
    plan::SchedulerId,
    task::{Probe, ProbeId, Run, RunId},
    tree::Tree,
};

/// What the runs of file rules change.
#[derive(Debug, Default)]
pub(super) struct OwnChanges {
    runs: BTreeMap<RunId, Expected>,
    /// What is opened by tests.
    probes: BTreeMap<ProbeId, Opened>,
    /// Ended runs and tests, in the order in which they can be forgotten.
    ended: VecDeque<Ended>,
}

/// What a test of this scheduler opens.
type Opened = (SchedulerId, Vec<Arc<[u8]>>);

#[derive(Debug)]
struct Ended {
    of: Doer,
    /// The epoch of the tree with which its last events have been read.
    fence: u32,
    /// Whether directories may have been entered with those, whose listings are told later.
    lists: bool,
}

#[derive(Clone, Copy, Debug)]
enum Doer {
    Run(RunId),
    Probe(ProbeId),
}

#[derive(Debug)]
struct Expected {
    scheduler: SchedulerId,
    changes: Vec<Change>,
    makes_directories: bool,
}

#[derive(Debug)]
struct Change {
    rule: usize,
    action: FileAction,
    src: Vec<u8>,
    dst: Option<Vec<u8>>,
}

impl OwnChanges {
    pub(super) fn handle_started<'a>(
        &mut self,
        run: &Run,
        plans: impl Iterator<Item = &'a FilePlan>,
    ) {
        let mut makes_directories = run.tasks.iter().any(|it| it.event.is_dir);
        let plans = plans.inspect(|it| makes_directories |= it.auto_create);
        let changes: Vec<Change> = plans
            .map(|it| Change {
                rule: it.rule,
                action: it.action,
                src: it.src.clone(),
                dst: it.dst.as_ref().map(|it| it.path.clone()),
            })
            .collect();
        if !changes.is_empty() {
            let scheduler = run.scheduler;
            self.runs.insert(run.id, Expected { scheduler, changes, makes_directories });
        }
    }

    pub(super) fn handle_ended(&mut self, run: RunId, tree: &mut Tree) {
        if let Some(it) = self.runs.get(&run) {
            let (fence, lists) = (tree.fence(), it.makes_directories);
            self.ended.push_back(Ended { of: Doer::Run(run), fence, lists });
        }
    }

    /// Takes in that a test begins, of a scheduler that is told of opened files.
    pub(super) fn handle_probe(&mut self, probe: &Probe) {
        let paths = probe.tasks.iter().map(|it| Arc::clone(&it.task.event.pathname)).collect();
        self.probes.insert(probe.id, (probe.scheduler, paths));
    }

    pub(super) fn handle_probed(&mut self, probe: ProbeId, tree: &mut Tree) {
        if self.probes.contains_key(&probe) {
            let fence = tree.fence();
            self.ended.push_back(Ended { of: Doer::Probe(probe), fence, lists: false });
        }
    }

    /// Takes in that a directory is read anew: what ended runs have made in it is told once more.
    pub(super) fn handle_starts_over(&mut self, tree: &mut Tree) {
        for it in &mut self.ended {
            (it.fence, it.lists) = (tree.fence(), true);
        }
    }

    /// Takes in that records have been read.
    pub(super) fn handle_passed(&mut self, tree: &mut Tree) {
        while self.ended.front().is_some_and(|it| tree.has_passed(it.fence)) {
            let Some(it) = self.ended.pop_front() else { return };
            if it.lists {
                self.ended.push_back(Ended { fence: tree.fence(), lists: false, ..it });
            } else {
                match it.of {
                    Doer::Run(run) => drop(self.runs.remove(&run)),
                    Doer::Probe(probe) => drop(self.probes.remove(&probe)),
                }
            }
        }
    }

    /// Takes in that schedulers have new numbers: what runs is no longer known.
    pub(super) fn handle_plan(&mut self) {
        self.runs.clear();
        self.probes.clear();
        self.ended.clear();
    }

    /// Whether an event is what a run of the scheduler does itself. Where that has put a file is
    /// news all the same to another of the scheduler's `rules`; `grown` is what was copied there.
    pub(super) fn is_own(
        &self,
        scheduler: SchedulerId,
        rules: &[FileRule],
        event: &Event,
        grown: bool,
    ) -> bool {
        let opens = matches!(
            event.event_type,
            EventType::Open | EventType::Access | EventType::CloseNowrite
        );
        let tested = |(of, paths): &Opened| *of == scheduler && paths.contains(&event.pathname);
        if opens && self.probes.values().any(tested) {
            return true;
        }
        if self.runs.is_empty() {
            return false;
        }
        let of = self.runs.values().filter(|it| it.scheduler == scheduler);
        let is_made_elsewhere = event.pathname.split(|byte| *byte == b'/').any(path::is_temporary)
            || matches!(event.event_type, EventType::Attrib | EventType::Modify)
                && has_no_name(event.name());
        is_made_elsewhere
            || of
                .flat_map(|it| &it.changes)
                .any(|it| it.makes(event, grown) && !it.leads_on(event, rules))
    }

    pub(super) fn runs(&self) -> usize {
        self.runs.len() + self.probes.len()
    }

    pub(super) fn ended(&self) -> usize {
        self.ended.len()
    }
}

impl Change {
    /// Whether what was put at its destination is for another rule: rules are made to be chained.
    fn leads_on(&self, event: &Event, rules: &[FileRule]) -> bool {
        let at = &*event.pathname;
        let comes = matches!(
            event.event_type,
            EventType::MovedTo | EventType::Create | EventType::CloseWrite
        );
        comes
            && self.dst.as_deref() == Some(at)
            && filerule::plan(rules, at, &[])
                .is_ok_and(|next| next.is_some_and(|it| it.rule != self.rule))
    }

    fn makes(&self, event: &Event, grown: bool) -> bool {
        let at = &*event.pathname;
        let is_dst = self.dst.as_deref() == Some(at);
        let is_met = event.origin == Origin::Scan
            && self.dst.as_ref().is_some_and(|it| path::below(at, it).is_some());
        let leaves = matches!(self.action, FileAction::Move | FileAction::Delete);
        match event.event_type {
            EventType::MovedTo => {
                let from_us = |src: &[u8]| {
                    src == self.src || path::split(src).is_some_and(|it| path::is_temporary(it.1))
                };
                // What comes from where nobody watches is not ours: the file was seen before.
                is_dst && event.src_pathname.as_deref().is_some_and(from_us)
            }
            EventType::MovedFrom | EventType::Delete => {
                leaves && path::below(at, &self.src).is_some()
            }
            // All that is in a directory that is moved may be given another owner and mode.
            EventType::Attrib => is_dst || path::below(at, &self.src).is_some(),
            // Directories that `auto_create` makes, and what is met in them.
            EventType::Create => {
                event.is_dir && self.dst.as_ref().is_some_and(|it| path::below(it, at).is_some())
                    || is_met
                    || grown && is_dst
            }
            EventType::CloseWrite => is_met || grown && is_dst,
            EventType::Open | EventType::Access | EventType::CloseNowrite => {
                path::below(at, &self.src).is_some() || is_dst
            }
            EventType::Modify
            | EventType::DeleteSelf
            | EventType::MoveSelf
            | EventType::Unmount
            | EventType::QOverflow
            | EventType::Ignored => false,
        }
    }
}

/// What the kernel calls a file that was opened with `O_TMPFILE`: `#` and its inode number. It tells
/// of a copy's owner, mode and length under this name, since `IN_EXCL_UNLINK` does not hold for what
/// is told of an inode (fs/notify/fsnotify.c).
fn has_no_name(name: &[u8]) -> bool {
    let number = name.strip_prefix(b"#");
    number.is_some_and(|it| !it.is_empty() && it.iter().all(u8::is_ascii_digit))
}
