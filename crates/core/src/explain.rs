//! What would be done about an event, and why.
//!
//! [`explain`] asks the plan what the engine would ask it, by the same functions
//! ([`crate::rules`], [`filerule::plan`], templates), and keeps the answers. It knows neither what
//! is watched now nor which tasks wait or run: where that decides, the answer says on what it
//! depends. A task's id is not known before there is a task; zeros stand for it.

mod show;

use std::{sync::Arc, time::Duration};

use crate::{
    event::{Event, EventType, Mask, Origin},
    filerule::{self, FilePlan, PlanError},
    filter::{Filter, Matcher, Verdict},
    path::{self, shown},
    pattern::PatternFault,
    plan::{
        Action, Batch, Binding, Busy, Level, Plan, Process, Ready, SchedulerId, Watch, WatchId,
    },
    record::Wd,
    rules::{self, Cover, Taken},
    task::{OrderKind, TaskId},
    template::{Placeholder, Values},
    time::Human,
};

/// What would be done about an event, and why. Shown for people by `Display`.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What the event is about; empty for `IN_Q_OVERFLOW`.
    pub path: Vec<u8>,
    /// Whether that is a directory.
    pub is_dir: bool,
    /// What happens.
    pub event_type: EventType,
    /// Whether the kernel ever tells of this.
    pub happens: bool,
    /// What each Watch makes of it, in the plan's order.
    pub watches: Vec<ByWatch>,
}

/// What one Watch makes of an event.
#[derive(Clone, Debug)]
pub struct ByWatch {
    /// The Watch.
    pub watch: WatchId,
    /// Its paths, as configured.
    pub paths: Vec<Arc<[u8]>>,
    /// What it makes of the event.
    pub answer: WatchAnswer,
}

/// What one Watch makes of an event.
#[derive(Clone, Debug)]
pub enum WatchAnswer {
    /// It does not see it.
    Unseen(Unseen),
    /// It sees it, and its filter does not let it through.
    Filtered(Reason),
    /// It sees it, but its event map does not name the type.
    Unmapped {
        /// The types that it names.
        named: Mask,
    },
    /// It sees it, and asks these schedulers, in this order.
    Asks {
        /// Where it sees it.
        seen: Seen,
        /// Whom it asks for what.
        orders: Vec<ByScheduler>,
    },
}

/// Why a Watch does not see an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// It happens elsewhere.
    Elsewhere,
    /// It happens on the way to one of the Watch's paths.
    Trail,
    /// The Watch takes no directories below its paths, and this is the first of them.
    Deep(Vec<u8>),
    /// The Watch's filter excludes this directory.
    Pruned {
        /// The directory.
        dir: Vec<u8>,
        /// By what.
        reason: Reason,
    },
    /// Only a watch on the item itself tells of it, and a file below a Watch's path has none.
    NoOwnWatch,
    /// Only the directory that the item is in tells of it, and that is not watched.
    OnlyByParent,
}

/// Where a Watch sees an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The Watch's own path that leads there.
    pub root: Vec<u8>,
    /// The watched item that the event comes from; empty for `IN_Q_OVERFLOW`, which comes from
    /// none.
    pub item: Vec<u8>,
    /// On what that depends.
    pub condition: Option<Condition>,
}

/// On what it depends whether a directory is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// This directory was there when the watching began: `auto_add` is off.
    WasThere(Vec<u8>),
    /// This directory came later: `rec` is off.
    CameLater(Vec<u8>),
}

/// Why a filter does not let a path through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// This regular expression of `exclude_filter` matches.
    Regex(Box<str>),
    /// This glob of `exclude_filter` matches.
    Glob(Box<str>),
    /// Nothing in `include_filter` matches.
    NotIncluded,
    /// Nobody knows.
    Fault(PatternFault),
}

/// What one scheduler makes of an order.
#[derive(Clone, Debug)]
pub struct ByScheduler {
    /// The scheduler.
    pub scheduler: SchedulerId,
    /// Its name.
    pub name: Arc<str>,
    /// What is asked of it.
    pub kind: OrderKind,
    /// What it makes of it.
    pub answer: SchedulerAnswer,
}

/// What one scheduler makes of an order.
#[derive(Clone, Debug)]
pub enum SchedulerAnswer {
    /// It takes no events of files, or none of directories.
    WrongKind,
    /// Its filter does not let the path through.
    Filtered(Reason),
    /// It gives up the task that waits for this path.
    Cancels,
    /// It schedules a task.
    Schedules(Box<Task>),
}

/// A task as it would be scheduled.
#[derive(Clone, Debug)]
pub struct Task {
    /// How long it waits.
    pub delay: Duration,
    /// The longest that further events put it off.
    pub max_wait: Option<Duration>,
    /// What happens while it runs.
    pub busy: Busy,
    /// Whether it is the scheduler's only task, whatever its path.
    pub singlejob: bool,
    /// Whether it shares a command with others.
    pub batch: Option<Batch>,
    /// What has to hold before it starts, with the values of this path.
    pub ready: Vec<String>,
    /// What it does.
    pub does: Does,
}

/// What a task does.
#[derive(Clone, Debug)]
pub enum Does {
    /// Runs a program.
    Exec {
        /// The program and its arguments.
        argv: Vec<Vec<u8>>,
        /// How it is run.
        process: Process,
    },
    /// Runs a command line in a shell.
    Shell {
        /// What the shell reads.
        script: Box<str>,
        /// The variables that it refers to by placeholders, and their values.
        variables: Vec<(&'static str, Vec<u8>)>,
        /// How it is run.
        process: Process,
    },
    /// Applies a rule of the file manager.
    Rule(FilePlan),
    /// Nothing: no rule matches.
    NoRule,
    /// Nothing: the rule that matches cannot be applied.
    Refused(PlanError),
    /// What Python says about the rule with this number, from 0: no rule before it matches.
    Asks {
        /// See above.
        rule: usize,
    },
    /// Writes a line to the log.
    Log {
        /// The line.
        message: Vec<u8>,
        /// Its level.
        level: Level,
    },
    /// Runs a callable of a config.py.
    Hosted {
        /// What people know it by.
        name: Arc<str>,
    },
}

impl Explanation {
    /// The schedulers that would schedule a task, in order.
    pub fn scheduled(&self) -> impl Iterator<Item = (&ByScheduler, &Task)> {
        let orders = self.watches.iter().flat_map(|it| match &it.answer {
            WatchAnswer::Asks { orders, .. } => orders.as_slice(),
            WatchAnswer::Unseen(_) | WatchAnswer::Filtered(_) | WatchAnswer::Unmapped { .. } => &[],
        });
        orders.filter_map(|it| match &it.answer {
            SchedulerAnswer::Schedules(task) => Some((it, &**task)),
            SchedulerAnswer::WrongKind
            | SchedulerAnswer::Filtered(_)
            | SchedulerAnswer::Cancels => None,
        })
    }
}

/// Explains what this plan would do about an event. `path` is absolute and normalized.
#[must_use]
pub fn explain(plan: &Plan, path: &[u8], is_dir: bool, event_type: EventType) -> Explanation {
    let overflow = event_type == EventType::QOverflow;
    let path = if overflow { b"" } else { path };
    let is_dir = is_dir && !overflow;
    let root_len = rules::root_len(&plan.watches, path).unwrap_or(path.len());
    let asked = Asked { plan, path, is_dir, event_type, root_len };
    let watches = plan.watches().map(|(watch, it)| ByWatch {
        watch,
        paths: it.paths.iter().map(|it| Arc::clone(&it.source)).collect(),
        answer: asked.watch(it),
    });
    Explanation {
        path: path.to_vec(),
        is_dir,
        event_type,
        // inotify(7): both are about a file's content.
        happens: !(is_dir && matches!(event_type, EventType::Modify | EventType::CloseWrite)),
        watches: watches.collect(),
    }
}

struct Asked<'a> {
    plan: &'a Plan,
    path: &'a [u8],
    is_dir: bool,
    event_type: EventType,
    root_len: usize,
}

impl Asked<'_> {
    fn watch(&self, watch: &Watch) -> WatchAnswer {
        let seen = match self.seen(watch) {
            Ok(seen) => seen,
            Err(unseen) => return WatchAnswer::Unseen(unseen),
        };
        if let Some(reason) = self.filtered(&watch.filter) {
            return WatchAnswer::Filtered(reason);
        }
        let bindings = watch.map.get(self.event_type);
        if bindings.is_empty() {
            return WatchAnswer::Unmapped { named: watch.map.mask() };
        }
        WatchAnswer::Asks { seen, orders: bindings.iter().map(|it| self.binding(*it)).collect() }
    }

    /// Where a Watch sees the event: by a watch on the directory that the item is in, else by one
    /// on the item itself.
    fn seen(&self, watch: &Watch) -> Result<Seen, Unseen> {
        let (by_parent, by_item) = match self.event_type {
            EventType::QOverflow => {
                return Ok(Seen { root: Vec::new(), item: Vec::new(), condition: None });
            }
            EventType::DeleteSelf
            | EventType::MoveSelf
            | EventType::Unmount
            | EventType::Ignored => (false, true),
            EventType::Create | EventType::Delete | EventType::MovedFrom | EventType::MovedTo => {
                (true, false)
            }
            EventType::Access
            | EventType::Modify
            | EventType::Attrib
            | EventType::CloseWrite
            | EventType::CloseNowrite
            | EventType::Open => (true, true),
        };
        let item = rules::covers(watch, self.path, self.root_len);
        let parent = path::split(self.path).map(|(dir, _)| dir);
        let by_parent = parent.filter(|_| by_parent);
        let by_parent = by_parent.map(|dir| {
            let cover = rules::covers(watch, dir, self.root_len.min(dir.len()));
            self.seen_at(watch, dir, cover)
        });
        // A file is only watched itself where a Watch's path names it.
        let own_watch = self.is_dir || item == Cover::Root;
        let by_item = match (by_item, own_watch) {
            (true, true) => Some(self.seen_at(watch, self.path, item)),
            (true, false) if by_parent.is_none() && matches!(item, Cover::Below { .. }) => {
                Some(Err(Unseen::NoOwnWatch))
            }
            (true, false) if by_parent.is_none() => Some(self.seen_at(watch, self.path, item)),
            (true | false, _) => None,
        };
        match (by_parent, by_item) {
            // What is certain is said before what depends on something.
            (Some(Ok(one)), Some(Ok(other))) => {
                Ok(if one.condition.is_some() && other.condition.is_none() { other } else { one })
            }
            (Some(Ok(seen)), _) | (_, Some(Ok(seen))) => Ok(seen),
            (Some(Err(_)) | None, None) if item == Cover::Root => Err(Unseen::OnlyByParent),
            // Beside the way to its path, in a directory that is on it.
            (Some(Err(Unseen::Trail)), _) if item == Cover::Elsewhere => Err(Unseen::Elsewhere),
            (Some(Err(unseen)), _) | (None, Some(Err(unseen))) => Err(unseen),
            (None, None) => Err(Unseen::Elsewhere),
        }
    }

    fn seen_at(&self, watch: &Watch, item: &[u8], cover: Cover) -> Result<Seen, Unseen> {
        match cover {
            Cover::Elsewhere => Err(Unseen::Elsewhere),
            Cover::Trail => Err(Unseen::Trail),
            Cover::Root => Ok(Seen { root: item.to_vec(), item: item.to_vec(), condition: None }),
            Cover::Pruned { dir_len } => {
                let dir = item[..dir_len].to_vec();
                let reason = reason(&watch.filter, &dir, self.root_len.min(dir_len))
                    .expect("what prunes a directory excludes it");
                Err(Unseen::Pruned { dir, reason })
            }
            Cover::Below { root_len, taken } => {
                // The first directory below the root.
                let start = if root_len == 1 { 1 } else { root_len + 1 };
                let name = item[start..].iter().position(|byte| *byte == b'/');
                let first = item[..name.map_or(item.len(), |len| start + len)].to_vec();
                let condition = match taken {
                    Taken::Always => None,
                    Taken::Present => Some(Condition::WasThere(item.to_vec())),
                    Taken::Later => Some(Condition::CameLater(first)),
                    Taken::Never => return Err(Unseen::Deep(first)),
                };
                Ok(Seen { root: item[..root_len].to_vec(), item: item.to_vec(), condition })
            }
        }
    }

    fn filtered(&self, filter: &Filter) -> Option<Reason> {
        if self.event_type == EventType::QOverflow {
            return None;
        }
        reason(filter, self.path, self.root_len)
    }

    fn binding(&self, binding: Binding) -> ByScheduler {
        let scheduler = self.plan.scheduler(binding.scheduler);
        let answer = if !rules::takes_kind(scheduler, self.is_dir) {
            SchedulerAnswer::WrongKind
        } else if let Some(reason) = self.filtered(&scheduler.filter) {
            SchedulerAnswer::Filtered(reason)
        } else {
            match binding.kind {
                OrderKind::Cancel => SchedulerAnswer::Cancels,
                OrderKind::Schedule => SchedulerAnswer::Schedules(Box::new(Task {
                    delay: scheduler.delay,
                    max_wait: scheduler.max_wait,
                    busy: scheduler.busy,
                    singlejob: scheduler.singlejob,
                    batch: scheduler.batch,
                    ready: self.ready(&scheduler.ready, &scheduler.name),
                    does: self.does(&scheduler.action, &scheduler.name),
                })),
            }
        };
        ByScheduler {
            scheduler: binding.scheduler,
            name: Arc::clone(&scheduler.name),
            kind: binding.kind,
            answer,
        }
    }

    fn ready(&self, conditions: &[Ready], scheduler: &str) -> Vec<String> {
        let event = self.event();
        let values = Values { event: &event, task: TaskId(0), scheduler };
        let words = |it: &Ready| match it {
            _ if self.is_dir => None,
            Ready::Closed => Some("nobody has it open for writing".to_owned()),
            Ready::Quiet(quiet) => Some(format!("it has not changed for {}", Human(*quiet))),
            Ready::DoneFile(path) => Some(format!("there is {}", shown(&path.render(&values)))),
        };
        conditions.iter().filter_map(words).collect()
    }

    fn does(&self, action: &Action, scheduler: &str) -> Does {
        let event = self.event();
        let values = Values { event: &event, task: TaskId(0), scheduler };
        match action {
            Action::Exec(exec) => Does::Exec {
                argv: exec.argv.iter().map(|it| it.render(&values)).collect(),
                process: exec.process.clone(),
            },
            Action::Shell(shell) => {
                let process = shell.process.clone();
                if let Some(argv) = shell.command.direct_argv() {
                    let argv = argv.iter().map(|it| it.render(&values)).collect();
                    return Does::Exec { argv, process };
                }
                let value = |(name, it): (_, Placeholder)| (name, it.value(&values));
                let variables = shell.command.variables().map(value).collect();
                Does::Shell { script: shell.command.script().into(), variables, process }
            }
            Action::Rules(rules) => match filerule::plan(rules, self.path, &[]) {
                Ok(Some(plan)) => Does::Rule(plan),
                Ok(None) => Does::NoRule,
                Err(PlanError::Unasked { rule, .. }) => Does::Asks { rule },
                Err(error) => Does::Refused(error),
            },
            Action::Log(line) => {
                Does::Log { message: line.message.render(&values), level: line.level }
            }
            Action::Hosted(job) => Does::Hosted { name: Arc::clone(&job.name) },
        }
    }

    /// The event, as far as it can be known: the source of a move cannot.
    fn event(&self) -> Event {
        let mask = self.event_type.mask();
        Event {
            event_type: self.event_type,
            mask: if self.is_dir { mask.with(Mask::ISDIR) } else { mask },
            is_dir: self.is_dir,
            pathname: self.path.into(),
            src_pathname: None,
            name_len: 0,
            root_len: u32::try_from(self.root_len).unwrap_or(u32::MAX),
            wd: Wd::NONE,
            cookie: 0,
            origin: Origin::Live,
            subject: None,
        }
    }
}

/// Why a filter does not let a path through; `None` if it does.
fn reason(filter: &Filter, path: &[u8], root_len: usize) -> Option<Reason> {
    // Whether it passes is asked as the engine asks it; the matcher is only for the words.
    match rules::passes(filter, path, root_len) {
        Ok(true) => None,
        Err(fault) => Some(Reason::Fault(fault)),
        Ok(false) => Some(match filter.judge(path, root_len) {
            Ok(Verdict::Excluded(Matcher::Regex(regex))) => Reason::Regex(regex.source().into()),
            Ok(Verdict::Excluded(Matcher::Glob(glob))) => Reason::Glob(glob.source().into()),
            Ok(Verdict::LetThrough | Verdict::NotIncluded) => Reason::NotIncluded,
            Err(fault) => Reason::Fault(fault),
        }),
    }
}

#[cfg(test)]
mod tests;
