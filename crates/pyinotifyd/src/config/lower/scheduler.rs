//! A scheduler: when its tasks run, what they do, and how a command is run.

use std::{num::NonZeroUsize, time::Duration};

use pyinotifyd_core::{
    count::Count,
    path::shown,
    plan::{
        Action, Batch, BatchInput, Breaker, Busy, Exec, Job, LogLine, OnCrash, Output, Process,
        Ready, Retry, Scheduler, Shell, User,
    },
    time::Human,
};

use super::{
    Lower,
    values::{at_least_one, narrow},
};
use crate::config::{
    diagnostic::Diagnostic,
    document::{
        DocAccount, DocAction, DocBatch, DocBreaker, DocJob, DocLimit, DocProcess, DocRetry,
        DocScheduler, DocSwitch, Maybe, Place, Spot,
    },
    keys::{
        BATCH_INPUTS, BUSY, BatchKey, BreakerKey, ON_CRASH, OUTPUTS, RLIMITS, RetryKey,
        SchedulerKey as Key,
    },
    parts,
    words::{self, did_you_mean, one_of},
};

impl Lower<'_> {
    pub(super) fn scheduler_name(&mut self, name: &Spot<String>) {
        self.printable(name, "a scheduler's name");
        if name.value == "none" {
            self.report(
                Diagnostic::error(&name.place, "a scheduler cannot be called `none`")
                    .label("in an event_map, \"none\" stands for ignoring an event"),
            );
        }
    }

    pub(super) fn scheduler(
        &mut self,
        doc: &DocScheduler,
        all_slots: NonZeroUsize,
    ) -> Option<Scheduler> {
        let action = self.action(doc);
        let delay = self.duration_or(&doc.delay, Key::Delay);
        let max_wait = self.duration(&doc.max_wait);
        if let (Some(max_wait), Some(spot)) = (max_wait, &doc.max_wait)
            && max_wait < delay
        {
            let message = format!(
                "`max_wait` ({}) is shorter than `delay` ({})",
                Human(max_wait),
                Human(delay)
            );
            self.report(
                Diagnostic::error(&spot.place, message)
                    .label("no task would ever wait for its delay"),
            );
        }
        let busy_meanings = [Busy::Again, Busy::Skip, Busy::Parallel, Busy::Restart];
        let busy = self.word_or(&doc.busy, Key::Busy, BUSY, &busy_meanings);
        let singlejob = Self::flag(&doc.singlejob, Key::Singlejob);
        if let (Busy::Parallel, true, Some(spot)) = (busy, singlejob, &doc.busy) {
            self.report(
                Diagnostic::error(&spot.place, "`busy = \"parallel\"` contradicts `singlejob`")
                    .label("a single job has nothing beside it"),
            );
        }
        let files = Self::flag(&doc.files, Key::Files);
        let dirs = Self::flag(&doc.dirs, Key::Dirs);
        if let (false, false, Some(spot)) = (files, dirs, &doc.files) {
            let message = "this scheduler takes no event at all";
            // Whoever writes out both means it: such a one asks the kernel for events, and no more.
            let diagnostic = match &doc.dirs {
                Some(_) => Diagnostic::warning(&spot.place, message),
                None => Diagnostic::error(&spot.place, message)
                    .hint("write dirs = true to take those of directories"),
            };
            self.report(diagnostic.label("neither files nor directories"));
        }
        let timeout = self.duration(&doc.timeout);
        if let (Some(Duration::ZERO), Some(spot)) = (timeout, &doc.timeout) {
            self.report(
                Diagnostic::error(&spot.place, "no run can end within no time")
                    .hint("leave `timeout` out for no limit"),
            );
        }
        let slots = self.slots(doc, all_slots);
        let kill_after = self.duration_or(&doc.kill_after, Key::KillAfter);
        let retry = self.retry(doc.retry.as_ref());
        let breaker = self.breaker(doc.breaker.as_ref());
        let batch = self.batch(doc);
        let filter = self.filter(&doc.include_filter, &doc.exclude_filter);
        let logname = self.logname(doc.logname.as_ref(), &doc.name.value);
        Some(Scheduler {
            name: doc.name.value.as_str().into(),
            logname,
            files,
            dirs,
            filter,
            delay,
            max_wait,
            singlejob,
            busy,
            slots,
            timeout,
            kill_after,
            retry,
            follow: Self::flag(&doc.follow, Key::Follow),
            breaker,
            batch,
            on_crash: self.word_or(
                &doc.on_crash,
                Key::OnCrash,
                ON_CRASH,
                &[OnCrash::Rerun, OnCrash::Report],
            ),
            ready: self.ready(&doc.ready),
            action: action?,
        })
    }

    fn ready(&mut self, written: &[Spot<String>]) -> Vec<Ready> {
        written.iter().filter_map(|it| self.condition(it)).collect()
    }

    fn condition(&mut self, spot: &Spot<String>) -> Option<Ready> {
        const HINT: &str = "write \"closed\", \"quiet:5s\" or \"done-file:{pathname}.ok\"";
        let text = spot.value.as_str();
        let refuse = |this: &mut Self, message: String, hint: &str| {
            this.report(Diagnostic::error(&spot.place, message).hint(hint));
            None
        };
        if text == "closed" {
            return Some(Ready::Closed);
        }
        if let Some(quiet) = text.strip_prefix("quiet:") {
            return match words::duration(quiet) {
                Ok(quiet) if !quiet.is_zero() => Some(Ready::Quiet(quiet)),
                Ok(_) | Err(_) => {
                    let quiet = shown(quiet.as_bytes());
                    refuse(self, format!("`{quiet}` is no time to be quiet for"), HINT)
                }
            };
        }
        if let Some(path) = text.strip_prefix("done-file:") {
            self.no_nul(spot);
            self.placeholders(spot);
            // The other values are no absolute paths, or not always.
            if !["/", "{pathname}", "{dirname}"].iter().any(|it| path.starts_with(it)) {
                let message = format!("`{}` is not absolute", shown(path.as_bytes()));
                return refuse(self, message, "begin it with `/`, {pathname} or {dirname}");
            }
            return Some(Ready::DoneFile(parts::template(path)));
        }
        let conditions = ["closed", "quiet", "done-file"];
        let word = text.split(':').next().unwrap_or_default();
        self.report(
            Diagnostic::error(&spot.place, format!("`{}` is no condition", shown(text.as_bytes())))
                .maybe_hint(did_you_mean(word, conditions))
                .hint(HINT),
        );
        None
    }

    fn action(&mut self, doc: &DocScheduler) -> Option<Action> {
        let Some((first, others)) = doc.actions.split_first() else {
            let name = shown(doc.name.value.as_bytes());
            let missing =
                Diagnostic::error(&doc.name.place, format!("scheduler `{name}` has nothing to do"))
                    .hint("write one of `exec`, `shell`, `rules` and `log`");
            let lost = ["exec", "shell", "rules", "log"].iter().any(|it| doc.lost.contains(it));
            self.report_missing(lost, missing);
            self.process(&doc.process);
            return None;
        };
        for other in others {
            let message = format!(
                "a scheduler does one thing: `{}` stands beside `{}`",
                other.word(),
                first.word()
            );
            self.report(
                Diagnostic::error(other.place(), message)
                    .hint("make it two schedulers; an event_map can name both in a list"),
            );
        }
        let process = self.process(&doc.process);
        let mut actions: Vec<_> = doc.actions.iter().map(|it| self.one_action(it, doc)).collect();
        match actions.swap_remove(0)? {
            Action::Exec(exec) => Some(Action::Exec(Exec { process, ..exec })),
            Action::Shell(shell) => Some(Action::Shell(Shell { process, ..shell })),
            action @ (Action::Rules(_) | Action::Log(_) | Action::Hosted(_)) => {
                self.no_process(&doc.process, first);
                Some(action)
            }
        }
    }

    /// The action, its process settings left at their defaults.
    fn one_action(&mut self, action: &DocAction, doc: &DocScheduler) -> Option<Action> {
        if let (Some(spot), false) = (&doc.log_level, matches!(action, DocAction::Log(_))) {
            let place = &spot.place;
            self.report(
                Diagnostic::error(place, "`log_level` belongs to `log`")
                    .hint("the level of a command's output is `output_level`"),
            );
        }
        match action {
            DocAction::Exec(spot) => {
                let program = spot.value.first();
                if program.is_none_or(|it| it.value.is_empty()) {
                    let place = program.map_or(&spot.place, |it| &it.place);
                    self.report(
                        Diagnostic::error(place, "there is no program to run")
                            .hint("write exec = [\"/path/to/program\", \"{pathname}\"]"),
                    );
                    return None;
                }
                for argument in &spot.value {
                    self.no_nul(argument);
                    self.placeholders(argument);
                }
                let argv = spot.value.iter().map(|it| parts::template(&it.value)).collect();
                Some(Action::Exec(Exec { argv, process: Process::default() }))
            }
            DocAction::Shell(spot) => {
                if spot.value.trim().is_empty() {
                    let diagnostic = Diagnostic::error(&spot.place, "there is no command to run");
                    self.report(diagnostic);
                    return None;
                }
                self.no_nul(spot);
                self.placeholders(spot);
                match parts::shell_template(&spot.value, self.has_python) {
                    Ok((command, reread)) => {
                        if let Some(fault) = reread {
                            self.reread(spot, fault);
                        }
                        Some(Action::Shell(Shell { command, process: Process::default() }))
                    }
                    Err(fault) => {
                        self.fault("this command", &spot.place, &spot.value, fault);
                        None
                    }
                }
            }
            DocAction::Rules(rules) => self.rules(rules).map(Action::Rules),
            DocAction::Log(spot) => {
                self.placeholders(spot);
                let level = self.level_or(&doc.log_level, Key::LogLevel);
                Some(Action::Log(LogLine { message: parts::template(&spot.value), level }))
            }
            DocAction::Hosted(spot) => {
                let DocJob { id, name } = &spot.value;
                Some(Action::Hosted(Job { id: *id, name: name.as_str().into() }))
            }
        }
    }

    /// A command of the original's in which something reads a value as text goes on working for
    /// the names that it has worked for.
    fn reread(&mut self, spot: &Spot<String>, fault: parts::Fault) {
        let place = narrow(&spot.place, &spot.value, fault.at, 1);
        let what = "this command runs for plain names only: letters, digits and `_./+:@-`";
        let warning = Diagnostic::warning(&place, what).label(fault.message);
        self.report(warning.maybe_hint(fault.hint));
    }

    fn no_nul(&mut self, spot: &Spot<String>) {
        if spot.value.contains('\0') {
            let message = "a command's arguments cannot contain NUL";
            self.report(Diagnostic::error(&spot.place, message));
        }
    }

    fn slots(&mut self, doc: &DocScheduler, all: NonZeroUsize) -> NonZeroUsize {
        let Some(slots) = self.count(&doc.slots, Key::Slots).map(at_least_one) else {
            return match doc.actions.first() {
                Some(DocAction::Exec(_) | DocAction::Shell(_)) | None => self.cpus(4),
                // Two, so that one slow disk or large file does not hold up the rest.
                Some(DocAction::Rules(_)) => at_least_one(2),
                Some(DocAction::Log(_)) => NonZeroUsize::MIN,
                // They are no processes: they share one thread, and wait there for each other.
                Some(DocAction::Hosted(_)) => Scheduler::UNLIMITED,
            };
        };
        if let (true, Some(spot)) = (slots > all, &doc.slots) {
            let slots = Count(all.get(), "slot", "slots");
            let message = format!("all schedulers together have {slots}");
            self.report(
                Diagnostic::warning(&spot.place, message)
                    .hint("raise `slots` at the top of the file, too"),
            );
        }
        slots
    }

    fn retry(&mut self, doc: Option<&DocRetry>) -> Retry {
        let Some(doc) = doc else { return Retry::NONE };
        let tries = self.count_or(&doc.tries, RetryKey::Tries);
        let backoff = self.duration_or(&doc.backoff, RetryKey::Backoff);
        let written = self.duration(&doc.max_backoff);
        if let (Some(most), Some(spot)) = (written, &doc.max_backoff)
            && most < backoff
        {
            let message = format!(
                "`max_backoff` ({}) is shorter than `backoff` ({})",
                Human(most),
                Human(backoff)
            );
            self.report(Diagnostic::error(&spot.place, message));
        }
        // A first wait beyond the default bound is meant: the bound gives way.
        let max_backoff =
            written.unwrap_or_else(|| self.duration_or(&None, RetryKey::MaxBackoff).max(backoff));
        Retry { tries: u32::try_from(tries).unwrap_or(u32::MAX), backoff, max_backoff }
    }

    fn breaker(&mut self, doc: Option<&DocSwitch<DocBreaker>>) -> Option<Breaker> {
        let nothing = DocBreaker { runs: None, within: None, rest: None };
        let doc = match doc {
            Some(DocSwitch::Plain(Spot { value: false, .. })) => return None,
            Some(DocSwitch::Plain(Spot { value: true, .. })) | None => &nothing,
            Some(DocSwitch::With(doc)) => doc,
        };
        let runs = self.count_or(&doc.runs, BreakerKey::Runs);
        Some(Breaker {
            runs: u32::try_from(runs).unwrap_or(u32::MAX),
            within: self.duration_or(&doc.within, BreakerKey::Within),
            rest: self.duration_or(&doc.rest, BreakerKey::Rest),
        })
    }

    fn batch(&mut self, doc: &DocScheduler) -> Option<Batch> {
        let nothing;
        let batch = match doc.batch.as_ref()? {
            DocSwitch::Plain(Spot { value: false, .. }) => return None,
            DocSwitch::Plain(spot) => {
                nothing = DocBatch { place: spot.place.clone(), max_items: None, input: None };
                &nothing
            }
            DocSwitch::With(batch) => batch,
        };
        let max_items = at_least_one(self.count_or(&batch.max_items, BatchKey::MaxItems));
        let meanings = [BatchInput::Args, BatchInput::Stdin];
        let input = self.word_or(&batch.input, BatchKey::Input, BATCH_INPUTS, &meanings);
        let takes_paths = match doc.actions.first() {
            None => true,
            Some(DocAction::Exec(argv)) => {
                argv.value.iter().any(|it| parts::mentions(&it.value, "pathname"))
            }
            Some(DocAction::Shell(command)) => parts::mentions(&command.value, "pathname"),
            Some(action @ (DocAction::Rules(_) | DocAction::Log(_) | DocAction::Hosted(_))) => {
                let message = format!("`batch` is for commands, and this is `{}`", action.word());
                self.report(Diagnostic::error(&batch.place, message));
                return None;
            }
        };
        if input == BatchInput::Args && !takes_paths {
            self.report(
                Diagnostic::error(&batch.place, "the command does not take the batch's paths")
                    .hint("write {pathname} into it, or batch = { input = \"stdin\" }"),
            );
        }
        Some(Batch { max_items, input })
    }

    /// Settings of a process where none is started.
    fn no_process(&mut self, doc: &DocProcess, action: &DocAction) {
        let DocProcess { user, group, env, cwd, umask, nice, rlimits, output, output_level } = doc;
        let written: [(&str, Option<&Place>); 9] = [
            ("user", user.as_ref().map(|it| &it.place)),
            ("group", group.as_ref().map(|it| &it.place)),
            ("env", env.first().map(|(name, _)| &name.place)),
            ("cwd", cwd.as_ref().map(|it| &it.place)),
            ("umask", umask.as_ref().map(|it| &it.place)),
            ("nice", nice.as_ref().map(|it| &it.place)),
            ("rlimits", rlimits.first().map(|(name, _)| &name.place)),
            ("output", output.as_ref().map(|it| &it.place)),
            ("output_level", output_level.as_ref().map(|it| &it.place)),
        ];
        for (key, place) in written {
            let Some(place) = place else { continue };
            let message = format!("`{key}` is for commands, and this is `{}`", action.word());
            let rule = matches!((action, key), (DocAction::Rules(_), "user" | "group"));
            let hint = rule.then(|| format!("`{key}` of files is written in each rule"));
            self.report(Diagnostic::error(place, message).maybe_hint(hint));
        }
    }

    fn process(&mut self, doc: &DocProcess) -> Process {
        let group = doc.group.as_ref().and_then(|spot| self.group(spot));
        if let (Some(spot), None) = (&doc.group, &doc.user) {
            self.needs_root(&spot.place, "run a command as another group");
        }
        let user = doc.user.as_ref().and_then(|spot| self.process_user(spot, group));
        let mut env = Vec::new();
        for (name, value) in &doc.env {
            self.env_name(name);
            if let Some(spot) = value.as_ref().filter(|it| it.value.contains(&0)) {
                let message = "a variable of the environment cannot contain NUL";
                self.report(Diagnostic::error(&spot.place, message));
            }
            let value = value.as_ref().map(|it| it.value.clone().into_boxed_slice());
            env.push((name.value.clone().into_bytes().into_boxed_slice(), value));
        }
        Process {
            user,
            group,
            env,
            cwd: doc.cwd.as_ref().and_then(|it| self.absolute(it)).map(Into::into),
            umask: self.mode(&doc.umask, 0o777),
            nice: self.count(&doc.nice, Key::Nice).and_then(|it| i32::try_from(it).ok()),
            rlimits: self.rlimits(&doc.rlimits),
            output: self.output(doc),
        }
    }

    fn process_user(&mut self, spot: &Spot<DocAccount>, group: Option<u32>) -> Option<User> {
        let user = match (self.user(spot)?, group) {
            (Ok(user), _) => user,
            (Err(uid), Some(gid)) => User {
                name: uid.to_string().into(),
                uid,
                gid,
                home: b"/".as_slice().into(),
                shell: b"/bin/sh".as_slice().into(),
            },
            (Err(uid), None) => {
                self.report(
                    Diagnostic::error(&spot.place, format!("user id {uid} has no entry"))
                        .label("so its group is not known")
                        .hint("write `group`, too"),
                );
                return None;
            }
        };
        if user.uid != self.environment.uid {
            self.needs_root(&spot.place, "run a command as another user");
        }
        Some(user)
    }

    fn env_name(&mut self, name: &Spot<String>) {
        let written = shown(name.value.as_bytes());
        if name.value.is_empty() || name.value.contains(['=', '\0']) {
            let message = format!("`{written}` is no name of a variable");
            self.report(Diagnostic::error(&name.place, message));
        } else if name.value.starts_with("PYINOTIFYD_") {
            self.report(
                Diagnostic::warning(&name.place, format!("`{written}` may be overwritten"))
                    .label("these names are the daemon's"),
            );
        }
    }

    fn rlimits(&mut self, docs: &[(Spot<String>, Spot<DocLimit>)]) -> Vec<(Box<str>, u64)> {
        let mut out = Vec::new();
        for (name, limit) in docs {
            let lower = name.value.to_ascii_lowercase();
            let resource = lower.strip_prefix("rlimit_").unwrap_or(&lower);
            if !RLIMITS.contains(&resource) {
                let written = shown(name.value.as_bytes());
                self.report(
                    Diagnostic::error(&name.place, format!("no resource is called `{written}`"))
                        .maybe_hint(did_you_mean(resource, RLIMITS))
                        .hint(format!("those of getrlimit(2): {}", one_of(RLIMITS))),
                );
            }
            let value = match &limit.value {
                DocLimit::Number(number) => u64::try_from(*number).ok(),
                // RLIM_INFINITY.
                DocLimit::Text(text) => (text == "unlimited").then_some(u64::MAX),
            };
            match value {
                Some(value) => out.push((resource.into(), value)),
                None => self.report(
                    Diagnostic::error(&limit.place, "this is no limit")
                        .hint("write a number from 0, or \"unlimited\""),
                ),
            }
        }
        out
    }

    fn output(&mut self, doc: &DocProcess) -> Output {
        let level = self.level_or(&doc.output_level, Key::OutputLevel);
        let meanings = [Output::Log(level), Output::Inherit, Output::Discard];
        let output = self.word_or(&doc.output, Key::Output, OUTPUTS, &meanings);
        let unused: Option<&Maybe<String>> = match output {
            Output::Log(_) => None,
            Output::Inherit | Output::Discard => Some(&doc.output_level),
        };
        if let Some(Some(spot)) = unused {
            self.report(
                Diagnostic::error(&spot.place, "`output_level` is for `output = \"log\"`")
                    .label("this output is not logged"),
            );
        }
        output
    }
}
