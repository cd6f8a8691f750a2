//! A plan in a few lines, for tests.
//!
//! ```text
//! daemon slots=2 shutdown_timeout=30s
//! scheduler archive delay=30s busy=skip dirs
//!   move ^/w/(.*) /o/\1
//! watch /w /v no-rec exclude=*.tmp exclude=re:^/w/skip
//!   IN_CLOSE_WRITE -> archive
//!   IN_DELETE -> cancel archive, notify
//! ```
//!
//! What is not said is as in config.toml: `rec`, `auto_add`, `files` and `follow` are set, `dirs`
//! is not. There is no breaker, and no limit of slots that a test could meet.

#![allow(dead_code, reason = "no test needs all of it")]

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use pyinotifyd_core::{
    event::{EventType, Mask},
    filerule::{FileAction, FileRule, Matching},
    filter::{Filter, Glob, Matcher},
    path,
    pattern::{Pattern, Substitution},
    plan::{
        Action, Batch, BatchInput, Binding, Breaker, Busy, EventMap, Exec, Level, LogLine,
        NamePattern, OnCrash, PathPattern, Plan, Process, Ready, Retry, Scheduler, SchedulerId,
        Watch,
    },
    task::OrderKind,
    template::Template,
};

/// Reads a plan.
///
/// # Panics
///
/// If it is not one; with the line.
pub(crate) fn plan<'a>(lines: impl IntoIterator<Item = &'a str>) -> Plan {
    let mut plan = Plan {
        watches: Vec::new(),
        schedulers: Vec::new(),
        shutdown_timeout: Duration::from_secs(30),
        slots: count("64"),
        logname: "daemon".into(),
    };
    let mut in_watch = false;
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        match &words[..] {
            [] => (),
            ["daemon", settings @ ..] => {
                for setting in settings {
                    match setting.split_once('=') {
                        Some(("slots", it)) => plan.slots = count(it),
                        Some(("shutdown_timeout", it)) => plan.shutdown_timeout = duration(it),
                        _ => panic!("{line}: {setting}?"),
                    }
                }
            }
            ["scheduler", name, settings @ ..] => {
                in_watch = false;
                plan.schedulers.push(scheduler(name, settings));
            }
            ["watch", settings @ ..] => {
                in_watch = true;
                plan.watches.push(watch(settings));
            }
            [event_type, "->", orders @ ..] if in_watch => {
                let event_type: EventType = event_type.parse().expect(line);
                for order in orders.join(" ").split(", ") {
                    let (kind, name) = match order.strip_prefix("cancel ") {
                        None => (OrderKind::Schedule, order),
                        Some(name) => (OrderKind::Cancel, name),
                    };
                    let scheduler = scheduler_id(&plan, name);
                    let map = &mut plan.watches.last_mut().expect(line).map;
                    map.bind(event_type, Binding { kind, scheduler });
                }
            }
            words if !in_watch => {
                let scheduler = plan.schedulers.last_mut().expect(line);
                act(&mut scheduler.action, words);
            }
            _ => panic!("{line}: what is this?"),
        }
    }
    plan
}

/// A time in words: `30s`, `1.5s`, `250ms`, `2m`.
///
/// # Panics
///
/// If it is none.
pub(crate) fn duration(text: &str) -> Duration {
    let at = text.find(|it: char| it.is_ascii_alphabetic()).expect("a unit");
    let (number, unit) = text.split_at(at);
    let number: f64 = number.parse().expect("a number");
    Duration::from_secs_f64(match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => panic!("{text}: no such unit"),
    })
}

fn count(text: &str) -> NonZeroUsize {
    text.parse().expect("a number from 1")
}

fn scheduler(name: &str, settings: &[&str]) -> Scheduler {
    let mut it = Scheduler {
        name: name.into(),
        logname: name.into(),
        files: true,
        dirs: false,
        filter: Filter::default(),
        delay: Duration::ZERO,
        max_wait: None,
        singlejob: false,
        busy: Busy::Again,
        slots: count("64"),
        timeout: None,
        kill_after: Duration::from_secs(5),
        retry: Retry::NONE,
        follow: true,
        breaker: None,
        batch: None,
        on_crash: OnCrash::Rerun,
        ready: Vec::new(),
        action: Action::Exec(Exec {
            argv: vec![Template::literal("run")],
            process: Process::default(),
        }),
    };
    for setting in settings {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        match key {
            "delay" => it.delay = duration(value),
            "max_wait" => it.max_wait = Some(duration(value)),
            "busy" => {
                it.busy = match value {
                    "again" => Busy::Again,
                    "skip" => Busy::Skip,
                    "parallel" => Busy::Parallel,
                    "restart" => Busy::Restart,
                    _ => panic!("{setting}?"),
                }
            }
            "slots" => it.slots = count(value),
            "timeout" => it.timeout = Some(duration(value)),
            "kill_after" => it.kill_after = duration(value),
            "tries" => it.retry.tries = value.parse().expect("a number"),
            "backoff" => it.retry.backoff = duration(value),
            "max_backoff" => it.retry.max_backoff = duration(value),
            "batch" => {
                it.batch = Some(Batch { max_items: count(value), input: BatchInput::Args });
            }
            // Runs, within, rest.
            "breaker" => {
                let parts: Vec<&str> = value.split(',').collect();
                it.breaker = Some(Breaker {
                    runs: parts[0].parse().expect("a number"),
                    within: duration(parts[1]),
                    rest: duration(parts[2]),
                });
            }
            "on_crash" => {
                it.on_crash = match value {
                    "rerun" => OnCrash::Rerun,
                    "report" => OnCrash::Report,
                    _ => panic!("{setting}?"),
                }
            }
            // What holds, a test says; that something has to, is what counts.
            "ready" => it.ready.push(Ready::Closed),
            "singlejob" => it.singlejob = true,
            "dirs" => it.dirs = true,
            "no-files" => it.files = false,
            "no-follow" => it.follow = false,
            "include" => it.filter.include.push(matcher(value)),
            "exclude" => it.filter.exclude.push(matcher(value)),
            _ => panic!("{setting}: no such setting"),
        }
    }
    it
}

fn watch(settings: &[&str]) -> Watch {
    let mut it = Watch {
        paths: Vec::new(),
        rec: true,
        auto_add: true,
        filter: Filter::default(),
        map: EventMap::default(),
        listen: Mask::NONE,
    };
    for setting in settings {
        match setting.split_once('=') {
            None if setting.starts_with('/') => it.paths.push(path_pattern(setting)),
            None if *setting == "no-rec" => it.rec = false,
            None if *setting == "no-auto_add" => it.auto_add = false,
            Some(("include", value)) => it.filter.include.push(matcher(value)),
            Some(("exclude", value)) => it.filter.exclude.push(matcher(value)),
            Some(("listen", "all")) => it.listen = Mask::ALL_EVENTS,
            Some(("listen", value)) => {
                let types = value.split(',').map(|it| it.parse::<EventType>().expect(value));
                it.listen = types.collect();
            }
            _ => panic!("{setting}: no such setting"),
        }
    }
    it
}

fn path_pattern(source: &str) -> PathPattern {
    let name = |name: &[u8]| match str::from_utf8(name) {
        Ok(text) if Glob::has_magic(text) => NamePattern::Glob(Glob::new(text).expect(text)),
        _ => NamePattern::Literal(name.into()),
    };
    let names = path::names(source.as_bytes()).map(name).collect();
    PathPattern { source: Arc::from(source.as_bytes()), names }
}

fn matcher(text: &str) -> Matcher {
    match text.strip_prefix("re:") {
        Some(source) => Matcher::Regex(Pattern::new(source).expect(text)),
        None => Matcher::Glob(Glob::new(text).expect(text)),
    }
}

/// Rules (`move RE DST`, `copy RE DST`, `delete RE`, each with `auto_create`, `overwrite`, `rec`),
/// or `log WORDS`.
fn act(action: &mut Action, words: &[&str]) {
    if let ["log", message @ ..] = words {
        let message = Template::parse(&message.join(" "));
        *action = Action::Log(LogLine { message, level: Level::Info });
        return;
    }
    let (kind, rest) = match words {
        ["move", rest @ ..] => (FileAction::Move, rest),
        ["copy", rest @ ..] => (FileAction::Copy, rest),
        ["delete", rest @ ..] => (FileAction::Delete, rest),
        _ => panic!("{words:?}: no such action"),
    };
    let src_re = Pattern::new(rest[0]).expect(rest[0]);
    let (dst_re, flags) = match kind {
        FileAction::Delete => (None, &rest[1..]),
        FileAction::Move | FileAction::Copy => {
            (Some(Substitution::parse(rest[1], &src_re).expect(rest[1])), &rest[2..])
        }
    };
    let rule = FileRule {
        action: kind,
        matching: Matching::Own { src_re, dst_re },
        auto_create: flags.contains(&"auto_create"),
        overwrite: flags.contains(&"overwrite"),
        rec: flags.contains(&"rec"),
        filemode: None,
        dirmode: None,
        user: None,
        group: None,
    };
    match action {
        Action::Rules(rules) => rules.push(rule),
        Action::Exec(_) | Action::Shell(_) | Action::Log(_) | Action::Hosted(_) => {
            *action = Action::Rules(vec![rule]);
        }
    }
}

/// A scheduler's number.
///
/// # Panics
///
/// If there is no such scheduler.
pub(crate) fn scheduler_id(plan: &Plan, name: &str) -> SchedulerId {
    let found = plan.schedulers().find(|(_, it)| &*it.name == name).map(|it| it.0);
    found.unwrap_or_else(|| panic!("{name}: no such scheduler"))
}
