//! What the engine does, as transcripts: each file of `testdata/scenarios` is a plan (see
//! [`support::notation`]), a line of dashes, and a transcript of what happens on a simulated
//! kernel and a virtual clock.
//!
//! ```text
//! $ write /w/f; rm /w/g      (several at once: before the daemon looks at any)
//!   0.000 archive T1: …      (what it says, with the scheduler's logname, and does)
//!   0.000 start R1 archive T1 IN_CLOSE_WRITE /w/f
//! ```
//!
//! The engine begins with the first `$ start`, or before everything else if there is none.
//! `UPDATE=1 cargo test -p pyinotifyd-core --test scenarios` writes what follows anew; then review
//! it. The words are those of [`Stage::command`].

mod support {
    pub(crate) mod kernel;
    pub(crate) mod notation;
    pub(crate) mod process;
    pub(crate) mod store;
    pub(crate) mod world;
}

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use pyinotifyd_core::{
    engine::{Effect, Input, Start},
    event::{Event, EventType, Origin},
    filerule::{FileAction, FilePlan},
    path::shown,
    plan::{Action, Plan, SchedulerId},
    report::Report,
    task::{Look, Outcome, Readiness, RunId, StopHow, TaskId},
    time::Instant,
    tree::MountChange,
};

use self::support::{kernel::Kernel, notation, world::World};

const DASHES: &str = "----";

#[test]
fn every_scenario_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/scenarios");
    let update = std::env::var_os("UPDATE").is_some();
    let only = std::env::var_os("ONLY");
    let (mut failed, mut count) = (Vec::new(), 0);
    for file in files(&folder) {
        let name = file.file_stem().expect("a file's path has a name").to_owned();
        if only.as_ref().is_some_and(|it| *it != name) {
            continue;
        }
        let name = name.to_string_lossy();
        count += 1;
        let written = fs::read_to_string(&file).expect("a scenario can be read");
        let played = std::panic::catch_unwind(|| play(&written));
        let Ok(played) = played else {
            failed.push(format!("{name}: see the panic above"));
            continue;
        };
        if played == written {
            continue;
        }
        if update {
            fs::write(&file, played).expect("a scenario can be written");
        } else {
            failed.push(format!("{name}:\n{}", difference(&written, &played)));
        }
    }
    assert!(failed.is_empty(), "{} of {count}:\n{}", failed.len(), failed.join("\n"));
    assert!(only.is_some() || count >= 40, "only {count} scenarios were found");
}

#[expect(clippy::disallowed_methods, reason = "scenarios are files")]
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder of scenarios is there");
    let mut files: Vec<PathBuf> = entries.map(|it| it.expect("an entry").path()).collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "txt"));
    files.sort();
    files
}

/// The lines in which two texts differ, as far as their common ends go.
fn difference(written: &str, played: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (written.lines().collect(), played.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - same;
    let tail = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b);
    let tail = tail.count();
    let mut out = format!("  from line {}\n", same + 1);
    for line in &old[same..old.len() - tail] {
        writeln!(out, "  - {line}").expect("to a text");
    }
    for line in &new[same..new.len() - tail] {
        writeln!(out, "  + {line}").expect("to a text");
    }
    out
}

/// Plays a scenario. Gives back its text with what happened.
fn play(text: &str) -> String {
    let mut lines = text.lines().peekable();
    let mut out = String::new();
    let mut config = Vec::new();
    for line in lines.by_ref() {
        writeln!(out, "{line}").expect("to a text");
        match line {
            DASHES => break,
            line if line.starts_with('#') => (),
            line => config.push(line),
        }
    }
    let mut kernel = Kernel::free();
    for name in ["w", "o"] {
        kernel.create(0, name, true);
    }
    let plan = notation::plan(config);
    let starts_later = text.lines().any(|it| it == "$ start");
    let mut stage = Stage::new(kernel, plan);
    if !starts_later {
        stage.start();
        stage.flush(&mut out);
    }
    while let Some(line) = lines.next() {
        match line.strip_prefix("$ ") {
            Some(command) => {
                writeln!(out, "{line}").expect("to a text");
                let mut config = Vec::new();
                while let Some(line) = lines.peek().and_then(|it| it.strip_prefix("| ")) {
                    writeln!(out, "| {line}").expect("to a text");
                    config.push(line);
                    lines.next();
                }
                for command in command.split("; ") {
                    stage.command(command, &config);
                }
                stage.settle();
                stage.flush(&mut out);
            }
            None if line.is_empty() || line.starts_with('#') => {
                writeln!(out, "{line}").expect("to a text");
            }
            // What was expected, and is written anew.
            None => (),
        }
    }
    out
}

/// A world, and what it shows.
struct Stage {
    world: World,
    started: bool,
    /// Short names, in the order of appearance.
    tasks: BTreeMap<TaskId, usize>,
    shown: Vec<String>,
}

impl Stage {
    fn new(kernel: Kernel, plan: Plan) -> Self {
        let world = World::new(kernel, plan, 1);
        Self { world, started: false, tasks: BTreeMap::new(), shown: Vec::new() }
    }

    fn start(&mut self) {
        self.started = true;
        self.settle();
    }

    fn command(&mut self, command: &str, config: &[&str]) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let kernel = &mut self.world.kernel;
        match &words[..] {
            ["start"] => self.start(),
            // -- the file system --
            ["mkdir", paths @ ..] => {
                for at in paths {
                    let (dir, name) = kernel.split(at);
                    kernel.create(dir, name, true).unwrap_or_else(|| panic!("{at}: it is there"));
                }
            }
            ["write", paths @ ..] => {
                for at in paths {
                    let (dir, name) = kernel.split(at);
                    kernel.open_to_write(dir, name);
                    kernel.close_written(dir, name);
                }
            }
            ["open", at] => {
                let (dir, name) = kernel.split(at);
                kernel.open_to_write(dir, name);
            }
            ["close", at] => {
                let (dir, name, ..) = kernel.entry(at);
                assert!(kernel.close_written(dir, name), "{at}: it is not open");
            }
            ["read", at] => {
                let (dir, name, ..) = kernel.entry(at);
                for it in [EventType::Open, EventType::Access, EventType::CloseNowrite] {
                    kernel.tell(dir, name, it);
                }
            }
            ["modify", at] => {
                let (dir, name, ..) = kernel.entry(at);
                kernel.tell(dir, name, EventType::Modify);
            }
            ["chmod", at] => {
                let (dir, name, ..) = kernel.entry(at);
                kernel.tell(dir, name, EventType::Attrib);
            }
            ["mv", from, to] => {
                let (from, a, ino, _) = kernel.entry(from);
                let (to, b) = kernel.split(to);
                kernel.rename(from, a, to, b);
                assert_eq!(kernel.dirs[&to][b].0, ino, "{command}: it cannot be moved");
            }
            ["rm", at] => {
                let (dir, name, ..) = kernel.entry(at);
                kernel.remove_all(dir, name);
            }
            ["mount", at] => kernel.mount(at),
            ["umount", at] => kernel.unmount(at),
            // Lazily: who watches it is not told as long as somebody uses it.
            ["umount", "-l", at] => {
                kernel.detach(at);
            }
            // The table of mounts has changed here.
            ["mounted", at] => self.handle(Input::Mount(at.as_bytes(), MountChange::Mounted)),
            ["unmounted", at] => self.handle(Input::Mount(at.as_bytes(), MountChange::Unmounted)),
            ["overflow"] => kernel.overflow(),
            ["lose", count] => {
                let left = kernel.queue.len() - count.parse::<usize>().expect("a number");
                kernel.queue.truncate(left);
            }
            // -- the daemon --
            [delay] if delay.starts_with('+') => {
                let until = self.world.now + notation::duration(&delay[1..]);
                while self.world.tick(until) {
                    self.settle();
                }
                self.world.now = until;
            }
            // Answers the oldest test: for each of its tasks, `ok` or a reason, apart by commas. `...`
            // is the reason of before.
            ["tested", words @ ..] => {
                self.tested(&words.join(" "));
            }
            ["end", words @ ..] => {
                let (run, words) = self.run(words);
                self.world.end(run, outcome(words));
            }
            // Carries out the file rules of a run, and ends it.
            ["apply", words @ ..] => {
                let (run, _) = self.run(words);
                let plans: Vec<FilePlan> =
                    self.world.runs[&run].files.iter().flatten().flatten().cloned().collect();
                for plan in &plans {
                    self.apply(plan);
                }
                self.world.end(run, Outcome::Done(None));
            }
            ["reload"] => {
                let plan = notation::plan(config.iter().copied());
                self.handle(Input::Plan(Arc::new(plan)));
            }
            ["stop"] => self.handle(Input::Stop),
            _ => self.asked(command, &words),
        }
    }

    /// What people want, and what they want to know.
    fn asked(&mut self, command: &str, words: &[&str]) {
        match words {
            ["cancel", task] => self.handle(Input::Cancel(self.task_named(task))),
            ["run-now", task] => self.handle(Input::RunNow(self.task_named(task))),
            ["pause", names @ ..] => self.handle(Input::Pause(self.scheduler_named(names))),
            ["resume", names @ ..] => self.handle(Input::Resume(self.scheduler_named(names))),
            ["history"] => {
                let ended: Vec<_> =
                    self.world.engine.schedule().history().iter().cloned().collect();
                for it in ended {
                    let line = format!(
                        "{}.{:03} {} {} {}: {}",
                        it.at.as_nanos() / 1_000_000_000,
                        it.at.as_nanos() / 1_000_000 % 1_000,
                        it.scheduler,
                        self.task(it.id),
                        event_words(&it.event),
                        it.outcome,
                    );
                    self.shown.push(line);
                }
            }
            ["totals", name] => {
                let id = self.scheduler_named(&[name]).expect("it was named");
                let engine = &self.world.engine;
                let it = engine.schedule().totals_of(id);
                self.shown.push(format!(
                    "{} scheduled, {} cancelled, {} done, {} failed, {} stopped, {} retried, \
                     {} runs in {:?}",
                    it.scheduled,
                    it.cancelled,
                    it.done,
                    it.failed,
                    it.stopped,
                    it.retried,
                    it.took.count(),
                    it.took.sum,
                ));
            }
            ["seen"] => {
                let engine = &self.world.engine;
                for (id, watch) in engine.plan().watches() {
                    let seen = engine.seen_by(id);
                    let counts = EventType::ALL.into_iter().map(|it| (it, seen.get(it)));
                    let counts = counts.filter(|it| it.1 > 0);
                    let counts: Vec<_> =
                        counts.map(|(it, n)| format!("{n} {}", it.name())).collect();
                    let path = shown(&watch.paths[0].source);
                    self.shown.push(format!("{path}: {}", counts.join(", ")));
                }
            }
            ["counts"] => {
                let counts = self.world.engine.counts();
                self.shown.push(format!(
                    "{} waiting, {} ready, {} running",
                    counts.waiting, counts.ready, counts.running
                ));
            }
            _ => panic!("{command}: what is this?"),
        }
    }

    /// The task that the transcript calls so.
    fn task_named(&self, name: &str) -> TaskId {
        let number = name.strip_prefix('T').and_then(|it| it.parse().ok());
        let named = self.tasks.iter().find(|it| Some(*it.1) == number);
        *named.unwrap_or_else(|| panic!("{name}: there was no such task")).0
    }

    /// The scheduler of that name; none is named: all of them.
    fn scheduler_named(&self, names: &[&str]) -> Option<SchedulerId> {
        let name = names.first()?;
        let mut all = self.world.engine.plan().schedulers();
        let found = all.find(|(_, it)| &&*it.name == name);
        Some(found.unwrap_or_else(|| panic!("{name}: there is no such scheduler")).0)
    }

    fn tested(&mut self, answers: &str) {
        let probe = *self.world.probes.keys().next().expect("a test goes on");
        self.world.probed(probe, answers.split(", ").map(readiness).collect());
    }

    /// The run that is named first, else the oldest that goes on.
    fn run<'a, 'w>(&self, words: &'w [&'a str]) -> (RunId, &'w [&'a str]) {
        let named = words.first().and_then(|it| it.strip_prefix('R')?.parse().ok());
        match named {
            Some(run) => (RunId(run), &words[1..]),
            None => (*self.world.runs.keys().next().expect("a run goes on"), words),
        }
    }

    fn apply(&mut self, plan: &FilePlan) {
        let kernel = &mut self.world.kernel;
        let src = str::from_utf8(&plan.src).expect("a text");
        let (from, a, ..) = kernel.entry(src);
        let Some(dst) = &plan.dst else { return kernel.remove_all(from, a) };
        let dst = str::from_utf8(&dst.path).expect("a text");
        if plan.auto_create {
            let ends = dst.match_indices('/').map(|it| it.0).skip(1);
            for end in ends {
                let (dir, name) = kernel.split(&dst[..end]);
                kernel.create(dir, name, true);
            }
        }
        let (to, b) = kernel.split(dst);
        match plan.action {
            FileAction::Move => kernel.rename(from, a, to, b),
            FileAction::Copy => {
                let temporary = ".pyinotifyd-0123456789abcdef.tmp";
                kernel.open_to_write(to, temporary);
                kernel.close_written(to, temporary);
                kernel.tell(to, temporary, EventType::Attrib);
                kernel.rename(to, temporary, to, b);
            }
            FileAction::Delete => unreachable!("it goes nowhere"),
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        if self.started {
            self.world.handle(input);
        }
    }

    /// Until nothing is left to do now.
    fn settle(&mut self) {
        if !self.started {
            return;
        }
        loop {
            if let Some(effect) = self.world.poll() {
                self.show(&effect);
            } else if !(self.world.tick(self.world.now) || self.world.walk(0) || self.world.read())
            {
                return;
            }
        }
    }

    fn show(&mut self, effect: &Effect) {
        let line = match effect {
            Effect::Enter(_)
            | Effect::Leave(_)
            | Effect::Barrier
            | Effect::Keep(_)
            | Effect::LookFor(..)
            | Effect::EndStrays(..)
            | Effect::ListWatches
            | Effect::Passed(_) => return,
            Effect::Start(start) => self.started_line(start),
            Effect::Probe(probe, plan) => {
                let name = &plan.scheduler(probe.scheduler).name;
                let tasks = probe.tasks.iter().map(|it| self.task(it.task.id));
                format!("test {name} {}", tasks.collect::<Vec<_>>().join(" "))
            }
            Effect::Ask(question) => panic!("nobody here is asked: {question:?}"),
            Effect::Stop(run, StopHow::Term) => format!("stop R{} by SIGTERM", run.0),
            Effect::Stop(run, StopHow::Kill) => format!("stop R{} by SIGKILL", run.0),
            Effect::Say(report) => self.report_line(report),
            Effect::Tell(event) => format!("tell {}", event_words(event)),
            Effect::Exit => "exit".into(),
        };
        let millis = self.world.now.since(Instant::ZERO).as_millis();
        self.shown.push(format!("{}.{:03} {line}", millis / 1000, millis % 1000));
    }

    fn started_line(&mut self, start: &Start) -> String {
        let scheduler = start.plan.scheduler(start.run.scheduler);
        let mut line = format!("start R{} {}", start.run.id.0, scheduler.name);
        for task in &start.run.tasks {
            let name = self.task(task.id);
            write!(line, " {name} {}", event_words(&task.event)).expect("to a text");
            if task.attempt > 1 {
                write!(line, " attempt={}", task.attempt).expect("to a text");
            }
        }
        if let Action::Rules(_) = scheduler.action {
            for plan in &start.files {
                let plan = match plan {
                    Ok(None) => "no rule matches".into(),
                    Err(error) => error.to_string(),
                    Ok(Some(plan)) => {
                        let dst = plan.dst.as_ref().map(|it| format!(" to {}", shown(&it.path)));
                        let dst = dst.unwrap_or_default();
                        format!("{} {}{dst}", plan.action.name(), shown(&plan.src))
                    }
                };
                write!(line, ": {plan}").expect("to a text");
            }
        }
        line
    }

    fn report_line(&mut self, report: &Report) -> String {
        let level = match report.say.level() {
            pyinotifyd_core::plan::Level::Info => String::new(),
            level => format!("{} ", level.name()),
        };
        let task = report.task.map(|it| format!(" {}", self.task(it))).unwrap_or_default();
        format!("{level}{}{task}: {}", report.logname, report.say)
    }

    fn task(&mut self, id: TaskId) -> String {
        let next = self.tasks.len() + 1;
        format!("T{}", self.tasks.entry(id).or_insert(next))
    }

    fn flush(&mut self, out: &mut String) {
        for line in self.shown.drain(..) {
            writeln!(out, "  {line}").expect("to a text");
        }
    }
}

fn event_words(event: &Event) -> String {
    let mut words = format!("{} {}", event.maskname(), shown(&event.pathname));
    if event.name_len == 0 && !event.pathname.is_empty() {
        words.push_str(" itself");
    }
    if let Some(src) = &event.src_pathname {
        write!(words, " from {}", shown(src)).expect("to a text");
    }
    match event.origin {
        Origin::Live => (),
        origin => write!(words, " ({})", origin.name()).expect("to a text"),
    }
    words
}

fn readiness(words: &str) -> Readiness {
    if words == "ok" {
        return Readiness::Ready;
    }
    // In how long it may hold: `5s changed lately`.
    let (first, rest) = words.split_once(' ').unwrap_or((words, ""));
    let again = first.starts_with(|it: char| it.is_ascii_digit());
    let (again, reason) =
        if again { (Some(notation::duration(first)), rest) } else { (None, words) };
    let reason = (reason != "...").then(|| reason.to_owned());
    Readiness::NotYet { reason, again, look: Look::default() }
}

fn outcome(words: &[&str]) -> Outcome {
    let rest = || words[1..].join(" ");
    match words {
        ["ok"] => Outcome::Done(None),
        ["done", ..] => Outcome::Done(Some(rest())),
        ["exit", status] => Outcome::Exited(status.parse().expect("a number"), String::new()),
        ["signal", it] => Outcome::Signalled(it.parse().expect("a number"), String::new()),
        ["failed", ..] => Outcome::Failed(rest()),
        ["refused", ..] => Outcome::Refused(rest()),
        ["stopped"] => Outcome::Stopped,
        _ => panic!("{words:?}: no such outcome"),
    }
}
