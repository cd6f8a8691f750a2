//! `pyinotifyd watch PATH… -- COMMAND…`: a plan of one Watch and one scheduler.
//!
//! Decides what the command line means. Paths are literal: the shell has already expanded what
//! was a glob. The loop, and what is shown of it, are those of the daemon.

use std::{ffi::OsStr, num::NonZeroUsize, os::unix::ffi::OsStrExt, path::PathBuf, time::Duration};

use pyinotifyd_core::{
    event::{EventType, Mask},
    filter::{Filter, Matcher},
    path::{names, normalize, shown},
    pattern::Pattern,
    plan::{
        Action, Binding, Breaker, Busy, EventMap, Exec, NamePattern, OnCrash, Output, PathPattern,
        Plan, Process, Retry, Scheduler, SchedulerId, Watch,
    },
    task::OrderKind,
    template::{Placeholder, Template},
};

use super::Watch as Written;
use crate::errors::{Exit, Fatal, words};

/// The name of the one scheduler.
const NAME: &str = "watch";

/// What the command line means, on a machine with this many CPUs.
///
/// # Errors
///
/// A path, pattern or word that means nothing (exit status 2), or there is no working directory.
pub(crate) fn plan(written: &Written, cpus: NonZeroUsize) -> Result<Plan, Fatal> {
    let argv = argv(&written.command)?;
    let names_path = argv.iter().flat_map(Template::placeholders).any(|it| match it {
        Placeholder::Pathname
        | Placeholder::SrcPathname
        | Placeholder::Dirname
        | Placeholder::Basename => true,
        Placeholder::Maskname | Placeholder::TaskId | Placeholder::Scheduler => false,
    });
    let at_once = |times: NonZeroUsize| cpus.saturating_mul(times);
    let slots = written.slots.unwrap_or(at_once(const { NonZeroUsize::new(4).expect("not 0") }));
    let mut map = EventMap::default();
    let orders = [(&written.on, OrderKind::Schedule), (&written.cancel_on, OrderKind::Cancel)];
    for (event_types, kind) in orders {
        let binding = Binding { kind, scheduler: SchedulerId(0) };
        for event_type in event_types {
            if !map.get(*event_type).contains(&binding) {
                map.bind(*event_type, binding);
            }
        }
    }
    if let Some(both) = written.on.iter().find(|it| written.cancel_on.contains(it)) {
        return Err(usage(format!("{both} cannot both schedule a task and cancel it")));
    }
    let scheduler = Scheduler {
        name: NAME.into(),
        logname: NAME.into(),
        files: true,
        dirs: written.dirs,
        filter: Filter::default(),
        delay: written.delay,
        max_wait: None,
        // Several at once of what is the same for all paths is what `parallel` asks for.
        singlejob: !names_path && written.busy != Busy::Parallel,
        busy: written.busy,
        slots,
        timeout: None,
        kill_after: Duration::from_secs(10),
        retry: Retry::NONE,
        follow: true,
        // As in config.toml: `watch . -- make` writes where it watches.
        breaker: Some(Breaker::DEFAULT),
        batch: None,
        on_crash: OnCrash::Rerun,
        ready: Vec::new(),
        action: Action::Exec(Exec {
            argv,
            process: Process { output: Output::Inherit, ..Process::default() },
        }),
    };
    let many = at_once(const { NonZeroUsize::new(64).expect("not 0") });
    Ok(Plan {
        watches: vec![watch(&written.paths, &written.exclude, !written.no_rec, map, Mask::NONE)?],
        schedulers: vec![scheduler],
        // Who presses Ctrl-C does not wait for a delay of minutes.
        shutdown_timeout: Duration::from_secs(2),
        slots: slots.max(many),
        logname: crate::log::DAEMON.into(),
    })
}

/// One Watch of paths as they stand on the command line.
pub(super) fn watch(
    paths: &[PathBuf],
    exclude: &[String],
    rec: bool,
    map: EventMap,
    listen: Mask,
) -> Result<Watch, Fatal> {
    let cwd = std::env::current_dir().map_err(|error| {
        Fatal::text(format!("cannot find the working directory: {}", words(&error)))
    })?;
    let mut patterns: Vec<PathPattern> = Vec::new();
    for path in paths {
        let path = path.as_os_str().as_bytes();
        let source = normalize(cwd.as_os_str().as_bytes(), path);
        if patterns.iter().all(|it| *it.source != *source) {
            let names = names(&source).map(|it| NamePattern::Literal(it.into())).collect();
            patterns.push(PathPattern { source: source.into(), names });
        }
    }
    let excludes = exclude.iter().map(|regex| match Pattern::new(regex) {
        Ok(pattern) => Ok(Matcher::Regex(pattern)),
        Err(error) => Err(usage(format!("`--exclude {}`: {error}", shown(regex.as_bytes())))),
    });
    let filter = Filter { include: Vec::new(), exclude: excludes.collect::<Result<_, _>>()? };
    Ok(Watch { paths: patterns, rec, auto_add: rec, filter, map, listen })
}

fn argv(words: &[std::ffi::OsString]) -> Result<Vec<Template>, Fatal> {
    if words.first().is_none_or(|it| it.is_empty()) {
        return Err(usage("there is no program to run"));
    }
    words.iter().map(|word| template(word)).collect()
}

fn template(word: &OsStr) -> Result<Template, Fatal> {
    match word.to_str() {
        Some(text) => Ok(Template::parse(text)),
        None => Err(usage(format!("the command's word `{}` is not UTF-8", shown(word.as_bytes())))
            .hint("paths of files are put in for {pathname} as they are, whatever their bytes")),
    }
}

fn usage(message: impl Into<String>) -> Fatal {
    Fatal::text(message).exit(Exit::Usage)
}

/// The event types of a set of words; all if there is none.
pub(super) fn mask(written: &[EventType]) -> Mask {
    if written.is_empty() { Mask::ALL_EVENTS } else { written.iter().copied().collect() }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::{Command, parse};

    fn written(line: &[&str]) -> Written {
        let args = ["pyinotifyd", "watch"].iter().chain(line).map(OsString::from);
        match parse(args) {
            Ok(Command::Watch(watch)) => watch,
            other => panic!("{other:?}"),
        }
    }

    fn planned(line: &[&str]) -> Result<Plan, Fatal> {
        plan(&written(line), NonZeroUsize::new(3).unwrap())
    }

    #[test]
    fn a_command_line_is_one_watch_and_one_scheduler() {
        let plan = planned(&[
            "/srv/*",
            "/srv/*/",
            "in/../x",
            "--cancel-on",
            "DELETE",
            "--exclude",
            r".*\.tmp$",
            "--delay",
            "2s",
            "--busy",
            "restart",
            "--",
            "cmd",
            "{pathname}",
            "{nothing}",
        ])
        .unwrap();
        let [watch] = plan.watches.as_slice() else { panic!("one Watch") };
        let cwd = std::env::current_dir().unwrap();
        let sources: Vec<_> = watch.paths.iter().map(|it| it.source.to_vec()).collect();
        let relative = cwd.join("x").into_os_string().into_encoded_bytes();
        assert_eq!(sources, [b"/srv/*".to_vec(), relative]);
        assert!(watch.paths[0].names[1].matches(b"*"));
        assert!(!watch.paths[0].names[1].matches(b"a"), "the shell has expanded what was a glob");
        assert!(watch.rec && watch.auto_add && watch.listen == Mask::NONE);
        assert!(watch.filter.prunes(b"/srv/*/a.tmp").unwrap());
        let schedule = Binding { kind: OrderKind::Schedule, scheduler: SchedulerId(0) };
        let cancel = Binding { kind: OrderKind::Cancel, ..schedule };
        assert_eq!(watch.map.get(EventType::CloseWrite), [schedule]);
        assert_eq!(watch.map.get(EventType::Delete), [cancel]);
        let [scheduler] = plan.schedulers.as_slice() else { panic!("one scheduler") };
        assert_eq!(scheduler.slots.get(), 12);
        assert_eq!((scheduler.busy, scheduler.delay), (Busy::Restart, Duration::from_secs(2)));
        assert!(scheduler.follow && scheduler.files && !scheduler.dirs && !scheduler.singlejob);
        let Action::Exec(exec) = &scheduler.action else { panic!("not exec") };
        assert_eq!(exec.argv[1], Template::parse("{pathname}"));
        assert_eq!(exec.process.output, Output::Inherit);
    }

    #[test]
    fn a_command_that_names_no_path_runs_once_for_all() {
        let single = |line: &[&str]| planned(line).unwrap().schedulers[0].singlejob;
        assert!(single(&["src", "--", "make"]));
        assert!(single(&["src", "--", "echo", "{maskname}"]));
        assert!(!single(&["src", "--", "cp", "{src_pathname}", "/x"]));
        assert!(!single(&["src", "--busy", "parallel", "--", "make"]));
    }

    #[test]
    fn what_means_nothing_is_said() {
        let said = |line: &[&str]| {
            let error = planned(line).unwrap_err();
            assert_eq!(error.exit, Exit::Usage, "{error}");
            error.message
        };
        assert_eq!(said(&["a", "--", ""]), "there is no program to run");
        assert!(said(&["a", "--exclude", "(", "--", "x"]).starts_with("`--exclude (`: "));
        assert_eq!(
            said(&["a", "--on", "CREATE", "--cancel-on", "CREATE", "--", "x"]),
            "IN_CREATE cannot both schedule a task and cancel it"
        );
        let mut bad = written(&["a", "--", "x"]);
        bad.command.push(OsString::from(OsStr::from_bytes(b"\xff")));
        let error = plan(&bad, NonZeroUsize::MIN).unwrap_err();
        assert_eq!(error.message, r"the command's word `\xff` is not UTF-8");
    }
}
