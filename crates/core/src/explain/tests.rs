//! Explanations of a small configuration, as people read them.

use std::{fmt::Write, num::NonZeroUsize};

use super::*;
use crate::{
    filerule::{FileAction, FileRule, Matching},
    filter::Glob,
    pattern::{Pattern, Substitution},
    plan::{
        BatchInput, EventMap, Exec, Job, LogLine, OnCrash, Output, Retry, Scheduler, Shell, User,
    },
    template::{ShellTemplate, Template},
};

fn scheduler(name: &str, action: Action) -> Scheduler {
    Scheduler {
        name: name.into(),
        logname: name.into(),
        files: true,
        dirs: false,
        filter: Filter::default(),
        delay: Duration::ZERO,
        max_wait: None,
        ready: Vec::new(),
        singlejob: false,
        busy: Busy::Again,
        slots: NonZeroUsize::MIN,
        timeout: None,
        kill_after: Duration::from_secs(10),
        retry: Retry::NONE,
        follow: true,
        breaker: None,
        batch: None,
        on_crash: OnCrash::Rerun,
        action,
    }
}

fn exec(words: &[&str]) -> Action {
    let argv = words.iter().map(|it| Template::parse(it)).collect();
    Action::Exec(Exec { argv, process: Process::default() })
}

fn shell(line: &str) -> Action {
    let user = User {
        name: "alice".into(),
        uid: 1000,
        gid: 1000,
        home: b"/home/alice".as_slice().into(),
        shell: b"/bin/sh".as_slice().into(),
    };
    let cwd = Some(b"/var/empty".as_slice().into());
    let process = Process { user: Some(user), cwd, output: Output::Discard, ..Process::default() };
    Action::Shell(Shell { command: ShellTemplate::parse(line).unwrap(), process })
}

fn rule(action: FileAction, src_re: &str, dst_re: Option<&str>) -> FileRule {
    let src_re = Pattern::new(src_re).unwrap();
    let dst_re = dst_re.map(|it| Substitution::parse(it, &src_re).unwrap());
    FileRule {
        action,
        matching: Matching::Own { src_re, dst_re },
        auto_create: action == FileAction::Move,
        overwrite: false,
        rec: action == FileAction::Delete,
        filemode: Some(0o640).filter(|_| action == FileAction::Move),
        dirmode: None,
        user: None,
        group: None,
    }
}

fn watch(paths: &[&str], orders: &[(EventType, OrderKind, u16)]) -> Watch {
    let mut map = EventMap::default();
    for (event_type, kind, scheduler) in orders {
        map.bind(*event_type, Binding { kind: *kind, scheduler: SchedulerId(*scheduler) });
    }
    Watch { map, ..rules::watch_on(paths) }
}

fn glob(text: &str) -> Matcher {
    Matcher::Glob(Glob::new(text).unwrap())
}

fn regex(text: &str) -> Matcher {
    Matcher::Regex(Pattern::new(text).unwrap())
}

/// Five schedulers, one for each kind of action, and Watches with all kinds of reach.
fn plan() -> Plan {
    use EventType::{CloseWrite, Create, DeleteSelf, Modify, QOverflow};
    use OrderKind::{Cancel, Schedule};
    let rules = vec![
        rule(FileAction::Move, r"^/srv/in/(?P<name>.*)\.mv$", Some(r"/srv/out/\g<name>")),
        rule(FileAction::Copy, "^/srv/in/(.*)x$", Some(r"/srv/out/\1")),
        rule(FileAction::Delete, r".*\.old$", None),
    ];
    let mut archive = scheduler("archive", Action::Rules(rules));
    archive.delay = Duration::from_secs(30);
    archive.max_wait = Some(Duration::from_secs(300));
    archive.ready = vec![
        Ready::Closed,
        Ready::Quiet(Duration::from_secs(5)),
        Ready::DoneFile(Template::parse("{pathname}.ok")),
    ];
    let mut scan = scheduler("scan", exec(&["/bin/scan", "--in", "{dirname}", "{pathname}"]));
    scan.filter.include.push(glob("*.pdf"));
    scan.busy = Busy::Parallel;
    scan.batch = Some(Batch { max_items: NonZeroUsize::new(50).unwrap(), input: BatchInput::Args });
    let mut index = scheduler("index", shell("cd {dirname} && index {basename} > /tmp/x"));
    index.busy = Busy::Restart;
    index.filter.exclude.push(glob("*.tmp"));
    let message = Template::parse("{scheduler}: {maskname} {pathname}");
    let mut note = scheduler("note", Action::Log(LogLine { message, level: Level::Warning }));
    (note.files, note.dirs, note.singlejob, note.busy) = (true, true, true, Busy::Skip);

    let orders = [
        (CloseWrite, Schedule, 0),
        (CloseWrite, Schedule, 1),
        (CloseWrite, Schedule, 2),
        (Modify, Cancel, 0),
        (Modify, Cancel, 1),
        (DeleteSelf, Schedule, 3),
        (Create, Schedule, 3),
        (QOverflow, Schedule, 3),
    ];
    let mut all = watch(&["/srv/in"], &orders);
    all.filter.exclude = vec![glob(".git"), regex("^/srv/in/cache$")];
    let mut homes = watch(&["/home/*/in", "/home/drop"], &orders[..1]);
    homes.auto_add = false;
    let mut flat = watch(&["/srv"], &orders[..1]);
    (flat.rec, flat.auto_add) = (false, false);
    let mut later = watch(&["/srv"], &orders[4..7]);
    later.rec = false;
    Plan {
        watches: vec![all, homes, flat, later],
        schedulers: vec![archive, scan, index, note],
        shutdown_timeout: Duration::ZERO,
        slots: NonZeroUsize::MIN,
        logname: "daemon".into(),
    }
}

fn page(questions: &[(&str, EventType)]) -> String {
    page_of(&plan(), questions)
}

fn page_of(plan: &Plan, questions: &[(&str, EventType)]) -> String {
    let mut page = String::new();
    for (path, event_type) in questions {
        let is_dir = path.len() > 1 && path.ends_with('/');
        let path = path::trim_end(path.as_bytes());
        writeln!(page, "$ {}", explain(plan, path, is_dir, *event_type)).unwrap();
    }
    page
}

#[test]
fn what_is_taken_is_told_with_what_it_does() {
    insta::assert_snapshot!(page(&[
        ("/srv/in/report.pdf", EventType::CloseWrite),
        ("/srv/in/a b.mv", EventType::CloseWrite),
        ("/srv/in/it's a\nb", EventType::CloseWrite),
        ("/srv/in/a/b.old", EventType::CloseWrite),
        ("/srv/in/../x", EventType::CloseWrite),
        ("/srv/in/x", EventType::Modify),
        ("/srv/in/new/", EventType::Create),
        ("/srv/in", EventType::QOverflow),
    ]));
}

#[test]
fn what_is_not_taken_is_told_with_the_reason() {
    insta::assert_snapshot!(page(&[
        ("/srv/in/.git/x", EventType::CloseWrite),
        ("/srv/in/cache/x", EventType::CloseWrite),
        ("/srv/in/x.tmp", EventType::CloseWrite),
        ("/srv/in/x", EventType::Attrib),
        ("/srv/in/x", EventType::DeleteSelf),
        ("/srv/in/", EventType::Create),
        ("/srv/", EventType::DeleteSelf),
        ("/srv/a/", EventType::DeleteSelf),
        ("/home/a/", EventType::CloseWrite),
        ("/home/a/in/b/c", EventType::CloseWrite),
        ("/srv/in", EventType::CloseWrite),
        ("/home/x", EventType::CloseWrite),
        ("/home", EventType::Open),
    ]));
}

#[test]
fn what_python_or_nobody_can_say_is_told() {
    let asks = FileRule {
        matching: Matching::Python { src_re: r"(?i)\u017f".into(), dst_re: None },
        ..rule(FileAction::Delete, "", None)
    };
    let nowhere = rule(FileAction::Move, "^/srv/(.*)", Some(r"\1"));
    let job = Job { id: 1, name: "Uploads\n.task".into() };
    let mut group = exec(&["/bin/x", ""]);
    if let Action::Exec(it) = &mut group {
        it.process.group = Some(33);
    }
    let schedulers = [
        scheduler("python", Action::Hosted(job)),
        scheduler("asks", Action::Rules(vec![asks])),
        scheduler("nowhere", Action::Rules(vec![nowhere])),
        scheduler("group", group),
    ];
    let orders = [0, 1, 2, 3].map(|it| (EventType::CloseWrite, OrderKind::Schedule, it));
    let mut doubtful = watch(&["/srv"], &orders);
    doubtful.filter.exclude = vec![regex("/srv/(?:(?!b)a|(?!c)a)*$")];
    let watches = vec![watch(&["/srv"], &orders), doubtful];
    let plan = Plan { schedulers: schedulers.into(), watches, ..plan() };
    let long = "a".repeat(4000);
    let told = page_of(&plan, &[(&format!("/srv/{long}!\n"), EventType::CloseWrite)]);
    insta::assert_snapshot!(told.replace(&long, "a…"));
}
