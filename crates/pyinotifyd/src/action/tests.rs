//! Every action, on real files and real processes.

use std::{fs, num::NonZeroUsize, os::unix::ffi::OsStrExt, path::Path, sync::mpsc, time::Duration};

use pyinotifyd_core::{
    filerule::{self, FileAction, FileRule, Matching},
    pattern::{Pattern, Substitution},
    plan::{Batch, BatchInput, Exec, Job, Level, LogLine, Process, Scheduler, Shell, User},
    template::{ShellTemplate, Template},
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    command::tests::{logged, run_of, scheduler},
    *,
};

/// What a hung test takes.
const LIMIT: Duration = Duration::from_secs(60);

struct World {
    actions: Actions,
    ended: UnboundedReceiver<(RunId, Outcome)>,
    said: mpsc::Receiver<String>,
    next: u64,
}

impl World {
    fn new(dry_run: bool) -> Self {
        let ((done, ended), (lines, said)) =
            (tokio::sync::mpsc::unbounded_channel(), mpsc::channel());
        let more = lines.clone();
        let printed: Printed = Arc::new(move |level, logname, task, line| {
            let line = line.escape_ascii();
            more.send(format!("{logname} {} {}: {line}", level.name(), task.0)).unwrap();
        });
        let say: Say = Arc::new(move |line| {
            let Line { level, logname, task, message } = line;
            lines.send(format!("{logname} {} {}: {message}", level.name(), task.id.0)).unwrap();
        });
        let environment = Environment::new([("PATH".into(), "/usr/bin:/bin".into())]);
        let actions = Actions::with(environment, dry_run, done, printed, say).unwrap();
        Self { actions, ended, said, next: 0 }
    }

    fn start(&mut self, scheduler: Scheduler, paths: &[&[u8]]) -> RunId {
        self.next += 1;
        let files = match &scheduler.action {
            Action::Rules(rules) => paths.iter().map(|it| filerule::plan(rules, it, &[])).collect(),
            Action::Exec(_) | Action::Shell(_) | Action::Log(_) | Action::Hosted(_) => Vec::new(),
        };
        let plan = Plan {
            watches: Vec::new(),
            schedulers: vec![scheduler],
            shutdown_timeout: Duration::ZERO,
            slots: NonZeroUsize::MIN,
            logname: "daemon".into(),
        };
        self.actions.start(run_of(self.next, paths), &plan, files);
        RunId(self.next)
    }

    async fn end(&mut self) -> Outcome {
        let ended = tokio::time::timeout(LIMIT, self.ended.recv()).await;
        let (run, outcome) = ended.expect("it ends").unwrap();
        assert_eq!((run, self.actions.running()), (RunId(self.next), 0));
        outcome
    }

    /// Its outcome, and what was said of it.
    async fn run(&mut self, action: Action, paths: &[&[u8]]) -> (Outcome, Vec<String>) {
        self.start(with(action), paths);
        (self.end().await, self.said.try_iter().collect())
    }
}

fn with(action: Action) -> Scheduler {
    Scheduler { action, ..scheduler(None) }
}

fn exec(words: &[&str], process: Process) -> Action {
    let argv = words.iter().map(|it| Template::parse(it)).collect();
    Action::Exec(Exec { argv, process })
}

fn shell(command: &str, process: Process) -> Action {
    Action::Shell(Shell { command: ShellTemplate::parse(command).unwrap(), process })
}

fn message(text: &str, level: Level) -> Action {
    Action::Log(LogLine { message: Template::parse(text), level })
}

fn delete(rec: bool) -> Action {
    Action::Rules(vec![FileRule {
        action: FileAction::Delete,
        matching: Matching::Own {
            src_re: Pattern::new("(?s)^/.*/[^n/][^/]*$").unwrap(),
            dst_re: None,
        },
        auto_create: false,
        overwrite: false,
        rec,
        filemode: None,
        dirmode: None,
        user: None,
        group: None,
    }])
}

#[tokio::test]
async fn commands_run_and_what_they_print_is_their_schedulers() {
    let mut world = World::new(false);
    let done = Outcome::Done(None);
    let outcome = world.run(exec(&["echo", "{pathname}"], logged()), &[b"/a b"]).await;
    assert_eq!(outcome, (done.clone(), vec!["sched INFO 1: /a b".into()]));
    let outcome = world.run(shell("echo {pathname} | cat", logged()), &[b"/a b"]).await;
    assert_eq!(outcome, (done, vec!["sched INFO 1: /a b".into()]));
    let (outcome, _) = world.run(exec(&["/nonexistent"], logged()), &[b"/a"]).await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_command_line_that_cannot_take_its_batch_is_refused() {
    let mut world = World::new(false);
    let batch = Some(Batch { max_items: NonZeroUsize::MAX, input: BatchInput::Args });
    let action = shell("cat {pathname} | cat", logged());
    world.start(Scheduler { batch, ..with(action) }, &[b"/a", b"/b"]);
    let outcome = world.end().await;
    assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
}

#[tokio::test]
async fn files_are_acted_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    fs::write(&path, "").unwrap();
    let mut world = World::new(false);
    let (outcome, said) = world.run(delete(false), &[bytes(&path)]).await;
    assert_eq!(outcome, Outcome::Done(Some(format!("deleted {}", path.display()))));
    assert!(!path.exists() && said.is_empty());
}

#[tokio::test]
async fn a_message_is_said_at_once_and_names_are_escaped_once() {
    let mut world = World::new(false);
    let action = message(r"\o/ {maskname} {basename}", Level::Warning);
    world.start(with(action), &[b"/a\nb\\\xff", b"/{scheduler}"]);
    assert_eq!(world.ended.try_recv(), Ok((RunId(1), Outcome::Done(None))));
    assert_eq!(
        world.said.try_iter().collect::<Vec<_>>(),
        [
            r"sched WARNING 1: \o/ IN_CLOSE_WRITE a\nb\\\xff",
            r"sched WARNING 2: \o/ IN_CLOSE_WRITE {scheduler}",
        ]
    );
}

#[tokio::test]
async fn a_run_is_stopped_whatever_it_does() {
    let mut world = World::new(false);
    let run = world.start(with(exec(&["sleep", "1000"], logged())), &[b"/a"]);
    assert_eq!(world.actions.running(), 1);
    world.actions.stop(run, StopHow::Kill);
    assert_eq!(world.end().await, Outcome::Stopped);
    world.actions.stop(run, StopHow::Kill);
}

#[tokio::test]
async fn a_dry_run_only_says_what_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let (full, proof) = (dir.path().join("full"), dir.path().join("proof"));
    fs::create_dir(&full).unwrap();
    fs::write(full.join("f"), "").unwrap();
    let nothing = dir.path().join("no such name");
    let touch = proof.to_str().unwrap();
    let mut world = World::new(true);
    let web = Process { cwd: Some(b"/srv".as_slice().into()), ..Process::default() };
    let line = |text: String| vec![format!("sched INFO 1: {text}")];
    for (action, said) in [
        (
            exec(&["touch", touch, "{pathname}"], web),
            line(format!(r"would run touch {touch} $'/it\'s\n' in /srv")),
        ),
        (
            shell(&format!("touch {touch} {{pathname}} | cat"), Process::default()),
            line(format!(
                r#"would run PYINOTIFYD_PATHNAME=$'/it\'s\n' /bin/sh -c 'touch {touch} "${{PYINOTIFYD_PATHNAME}}" | cat' pyinotifyd"#
            )),
        ),
        (message("see {pathname}", Level::Error), line(r"would log: see /it's\n".into())),
    ] {
        let outcome = world.run(action, &[b"/it's\n"]).await;
        assert_eq!(outcome, (Outcome::Done(Some("dry run".into())), said));
    }
    for (rec, path, said) in [
        (true, &full, format!("would delete {} with all that is in it", full.display())),
        (false, &full, format!("would delete {}", full.display())),
        (false, &nothing, "no rule matches".into()),
    ] {
        let outcome = world.run(delete(rec), &[bytes(path)]).await;
        assert_eq!(outcome, (Outcome::Done(Some("dry run".into())), line(said)));
    }
    assert!(full.join("f").exists() && !proof.exists());
}

#[tokio::test]
async fn whatever_a_dry_run_would_do_is_told() {
    let all = Some(Batch { max_items: NonZeroUsize::MAX, input: BatchInput::Args });
    let stdin = Some(Batch { max_items: NonZeroUsize::MAX, input: BatchInput::Stdin });
    let user = User {
        name: "web".into(),
        uid: 33,
        gid: 33,
        home: b"/var/www".as_slice().into(),
        shell: b"/bin/sh".as_slice().into(),
    };
    let cwd = Some(b"/srv/a b".as_slice().into());
    let web = Process { user: Some(user), cwd, ..Process::default() };
    let rule = |action, dst_re: Option<&str>, rec| {
        let src_re = Pattern::new("(?s)^/in/(.*)").unwrap();
        let dst_re = dst_re.map(|it| Substitution::parse(it, &src_re).unwrap());
        let Action::Rules(mut rules) = delete(rec) else { unreachable!() };
        rules[0].action = action;
        rules[0].matching = Matching::Own { src_re, dst_re };
        Action::Rules(rules)
    };
    let job = Job { id: 1, name: "Uploads.task".into() };
    let cases = [
        (exec(&["/bin/x", "--f={pathname}", ""], web.clone()), None),
        (shell("/bin/x {pathname}", web), None),
        (shell("x {pathname} | y {maskname}", Process::default()), None),
        (shell("x \"$@\" | y", Process::default()), all),
        (shell("x {pathname} | y", Process::default()), all),
        (exec(&["/bin/x", "{pathname}"], Process::default()), all),
        (exec(&["/bin/x"], Process::default()), stdin),
        (message("{maskname} of {pathname}", Level::Error), None),
        (rule(FileAction::Move, Some(r"/out/\1"), false), None),
        (rule(FileAction::Copy, Some(r"/out/\1"), false), None),
        (rule(FileAction::Copy, Some(r"out/\1"), false), None),
        (rule(FileAction::Delete, None, true), None),
        (delete(false), None),
        (Action::Hosted(job), None),
    ];
    let mut world = World::new(true);
    let mut told = Vec::new();
    for (action, batch) in cases {
        let paths: [&[u8]; 2] = [b"/in/no\n\x1b[2J", b"/in/no it's"];
        let paths = if batch.is_some() { &paths[..] } else { &paths[..1] };
        world.start(Scheduler { batch, ..with(action) }, paths);
        assert_eq!(world.end().await, Outcome::Done(Some("dry run".into())));
        told.extend(world.said.try_iter());
    }
    insta::assert_snapshot!("dry_run", told.join("\n"));
}

#[tokio::test]
async fn a_dry_run_tells_a_batch_whole_and_what_would_fail() {
    let mut world = World::new(true);
    for (input, command, said) in [
        (BatchInput::Args, "/bin/x {pathname}", "would run /bin/x /a '/b c'"),
        (BatchInput::Stdin, "/bin/x", "would run /bin/x with /a '/b c' on its standard input"),
    ] {
        let batch = Some(Batch { max_items: NonZeroUsize::MAX, input });
        let action = shell(command, Process::default());
        world.start(Scheduler { batch, ..with(action) }, &[b"/a", b"/b c"]);
        assert!(world.end().await.is_done());
        assert_eq!(world.said.try_iter().collect::<Vec<_>>(), [format!("sched INFO 1: {said}")]);
    }
    let batch = Some(Batch { max_items: NonZeroUsize::MAX, input: BatchInput::Args });
    let action = shell("cat {pathname} | x", Process::default());
    world.start(Scheduler { batch, ..with(action) }, &[b"/a", b"/b"]);
    assert!(world.end().await.is_done());
    let said = world.said.try_iter().collect::<Vec<_>>().join("\n");
    assert!(said.starts_with("sched INFO 1: would fail: cannot run a batch"), "{said}");
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}
