//! How an explanation reads.

use std::fmt::{self, Display, Formatter};

use super::{
    ByScheduler, ByWatch, Condition, Does, Explanation, Reason, SchedulerAnswer, Seen, Task,
    Unseen, WatchAnswer,
};
use crate::{
    count::Count,
    event::EventType,
    filerule::FilePlan,
    path::{OneLine, Shown, shown},
    plan::{BatchInput, Busy, Process},
    task::OrderKind,
    time::Human,
};

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = if self.is_dir { "directory" } else { "file" };
        match self.event_type {
            EventType::QOverflow => write!(f, "{}", self.event_type)?,
            event_type => write!(f, "{event_type} of the {kind} {}", shown(&self.path))?,
        }
        f.write_str("\n")?;
        if !self.happens {
            writeln!(f, "note: the kernel never tells of {} of a directory", self.event_type)?;
        }
        for by_watch in &self.watches {
            writeln!(f)?;
            self.watch(f, by_watch)?;
        }
        let mut scheduled: Vec<String> = Vec::new();
        for (by, _) in self.scheduled() {
            let name = format!("`{}`", by.name);
            if !scheduled.contains(&name) {
                scheduled.push(name);
            }
        }
        match scheduled.as_slice() {
            [] => write!(f, "\nnothing is scheduled\n"),
            names => write!(f, "\nscheduled: {}\n", OneLine(&names.join(", "))),
        }
    }
}

impl Explanation {
    fn watch(&self, f: &mut Formatter<'_>, by_watch: &ByWatch) -> fmt::Result {
        write!(f, "Watch {} on ", by_watch.watch.0 + 1)?;
        let mut comma = "";
        for path in &by_watch.paths {
            write!(f, "{comma}{}", shown(path))?;
            comma = ", ";
        }
        match &by_watch.answer {
            WatchAnswer::Unseen(unseen) => writeln!(f, ": does not see it\n  {unseen}"),
            WatchAnswer::Filtered(reason) => writeln!(f, ": leaves it out\n  {reason}"),
            WatchAnswer::Unmapped { named } => {
                let event_type = self.event_type;
                writeln!(f, ": ignores it\n  its event_map has no entry for {event_type}")?;
                let has: Vec<_> = named.event_types().map(EventType::name).collect();
                match has.as_slice() {
                    [] => Ok(()),
                    names => writeln!(f, "  it has some for {}", names.join(", ")),
                }
            }
            WatchAnswer::Asks { seen, orders } => {
                writeln!(f, ": sees it")?;
                self.seen(f, seen)?;
                orders.iter().try_for_each(|it| self.order(f, it))
            }
        }
    }

    fn seen(&self, f: &mut Formatter<'_>, seen: &Seen) -> fmt::Result {
        let Seen { root, item, condition } = seen;
        let itself = *item == self.path;
        if item.is_empty() {
            writeln!(f, "  it concerns all Watches")?;
        } else if itself && root == item {
            writeln!(f, "  it is the Watch's own path {}", shown(root))?;
        } else if itself {
            writeln!(f, "  it is a watched directory below {}", shown(root))?;
        } else if root == item {
            writeln!(f, "  it is in {}", shown(root))?;
        } else {
            writeln!(f, "  it is in {}, below {}", shown(item), shown(root))?;
        }
        let (dir, came, key) = match condition {
            None => return Ok(()),
            Some(Condition::WasThere(dir)) => (dir, "was there when", "auto_add"),
            Some(Condition::CameLater(dir)) => (dir, "came after", "rec"),
        };
        writeln!(f, "  only if {} {came} the watching began: `{key}` is off", shown(dir))
    }

    fn order(&self, f: &mut Formatter<'_>, by: &ByScheduler) -> fmt::Result {
        let name = OneLine(&by.name);
        let would = match by.kind {
            OrderKind::Schedule => "schedule",
            OrderKind::Cancel => "cancel",
        };
        match &by.answer {
            SchedulerAnswer::WrongKind => {
                let (kind, key) =
                    if self.is_dir { ("directories", "dirs") } else { ("files", "files") };
                writeln!(f, "  {would} `{name}`: not taken")?;
                writeln!(f, "    it takes no events of {kind}: `{key}` is off")
            }
            SchedulerAnswer::Filtered(reason) => {
                writeln!(f, "  {would} `{name}`: not taken\n    {reason}")
            }
            SchedulerAnswer::Cancels => {
                writeln!(f, "  cancel `{name}`: taken")?;
                writeln!(
                    f,
                    "    a task that waits for this path is given up; one that runs, runs on"
                )
            }
            SchedulerAnswer::Schedules(task) => {
                writeln!(f, "  schedule `{name}`: taken")?;
                write!(f, "{task}")
            }
        }
    }
}

impl Display for Task {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.delay.is_zero() {
            f.write_str("    starts at once")?;
        } else {
            write!(f, "    starts {} after the last event", Human(self.delay))?;
        }
        if let Some(max_wait) = self.max_wait {
            write!(f, ", {} after the first at the latest", Human(max_wait))?;
        }
        let busy = match self.busy {
            Busy::Again => "an event while it runs makes it run once more",
            Busy::Skip => "an event while it runs is dropped",
            Busy::Parallel => "an event while it runs starts another one",
            Busy::Restart => "an event while it runs starts it anew",
        };
        writeln!(f, "; {busy}")?;
        if self.singlejob {
            writeln!(f, "    all paths share one task: `singlejob` is on")?;
        }
        for condition in &self.ready {
            writeln!(f, "    not before {condition}")?;
        }
        write!(f, "{}", self.does)?;
        match self.batch {
            None => Ok(()),
            Some(batch) => {
                let how = match batch.input {
                    BatchInput::Args => "as arguments",
                    BatchInput::Stdin => "on standard input",
                };
                let paths = Count(batch.max_items.get(), "path", "paths");
                writeln!(f, "    up to {paths} share one command, {how}")
            }
        }
    }
}

impl Display for Does {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec { argv, process } => {
                f.write_str("    runs")?;
                for word in argv {
                    write!(f, " {}", Word(word))?;
                }
                writeln!(f)?;
                write!(f, "{}", AsWhom(process))
            }
            Self::Shell { script, variables, process } => {
                writeln!(f, "    runs in /bin/sh: {}", Shown(script.as_bytes()))?;
                for (name, value) in variables {
                    writeln!(f, "      {name}={}", Word(value))?;
                }
                write!(f, "{}", AsWhom(process))
            }
            Self::Rule(plan) => rule(f, plan),
            Self::NoRule => writeln!(f, "    does nothing: no rule matches"),
            Self::Refused(error) => writeln!(f, "    fails: {}", OneLine(&error.to_string())),
            Self::Asks { rule } => {
                writeln!(f, "    asks Python what rule {} says, and those behind it", rule + 1)
            }
            Self::Log { message, level } => {
                writeln!(f, "    logs at level {}: {}", level.name(), shown(message))
            }
            Self::Hosted { name } => writeln!(f, "    runs in Python: {}", OneLine(name)),
        }
    }
}

fn rule(f: &mut Formatter<'_>, plan: &FilePlan) -> fmt::Result {
    write!(f, "    rule {}: {} it", plan.rule + 1, plan.action.name())?;
    if let Some(dst) = &plan.dst {
        write!(f, " to {}", shown(&dst.path))?;
    }
    let flags =
        [(plan.auto_create, "auto_create"), (plan.overwrite, "overwrite"), (plan.rec, "rec")];
    for (_, flag) in flags.into_iter().filter(|it| it.0) {
        write!(f, ", {flag}")?;
    }
    for (name, bits) in [("filemode", plan.filemode), ("dirmode", plan.dirmode)] {
        if let Some(bits) = bits {
            write!(f, ", {name} {bits:04o}")?;
        }
    }
    for (name, id) in [("user", plan.user), ("group", plan.group)] {
        if let Some(id) = id {
            write!(f, ", {name} {id}")?;
        }
    }
    writeln!(f)
}

/// A line on who runs a command and where, if anything was configured.
struct AsWhom<'a>(&'a Process);

impl Display for AsWhom<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Process { user, group, cwd, .. } = self.0;
        let mut words = Vec::new();
        words.extend(user.as_ref().map(|it| format!("as user {}", shown(it.name.as_bytes()))));
        words.extend(group.map(|it| format!("as group {it}")));
        words.extend(cwd.as_ref().map(|it| format!("in {}", shown(it))));
        if words.is_empty() { Ok(()) } else { writeln!(f, "      {}", words.join(", ")) }
    }
}

/// A word of a command as one could type it: quoted unless it is plain.
struct Word<'a>(&'a [u8]);

impl Display for Word<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plain = |byte: &u8| {
            byte.is_ascii_alphanumeric() || b"/._-+,:=@%".contains(byte) || *byte >= 0x80
        };
        if !self.0.is_empty() && self.0.iter().all(plain) {
            write!(f, "{}", shown(self.0))
        } else {
            write!(f, "'{}'", shown(self.0).to_string().replace('\'', "'\\''"))
        }
    }
}

impl Display for Unseen {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere => f.write_str("none of its paths leads there"),
            Self::Trail => f.write_str("that is on the way to its path, and not in it"),
            Self::Deep(dir) => {
                write!(f, "{} is not watched: `rec` and `auto_add` are off", shown(dir))
            }
            Self::Pruned { dir, reason } => write!(f, "{} is not watched: {reason}", shown(dir)),
            Self::NoOwnWatch => f.write_str(
                "only a watch on the file itself would tell, and files have none below a \
                 Watch's path",
            ),
            Self::OnlyByParent => {
                f.write_str("only the directory above would tell, and that is not watched")
            }
        }
    }
}

impl Display for Reason {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Regex(regex) => {
                write!(f, "`exclude_filter` has the regex `{}`", Shown(regex.as_bytes()))
            }
            Self::Glob(glob) => {
                write!(f, "`exclude_filter` has the glob `{}`", Shown(glob.as_bytes()))
            }
            Self::NotIncluded => f.write_str("nothing in `include_filter` matches"),
            Self::Fault(fault) => write!(f, "nobody can tell: {}", OneLine(&fault.to_string())),
        }
    }
}
