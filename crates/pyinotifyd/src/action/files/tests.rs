//! Real files.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    sync::mpsc,
    time::{Duration, Instant},
};

use pyinotifyd_core::{
    event::{Event, EventType, Mask, Origin},
    filerule::{self, FileRule, Matching},
    path::shown,
    pattern::{Pattern, Substitution},
    plan::SchedulerId,
    record::Wd,
    task::TaskId,
};
use rustix::io::Errno;
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::action::command::tests::run_of;

/// A source and a destination directory, and the file rules' hands on them.
struct World {
    src: PathBuf,
    dst: PathBuf,
    files: Files,
    ended: UnboundedReceiver<(RunId, Outcome)>,
    said: mpsc::Receiver<(Level, String)>,
    next: u64,
    _dirs: Vec<tempfile::TempDir>,
}

fn tempdir_in(dir: &Path) -> Option<tempfile::TempDir> {
    tempfile::Builder::new().prefix("files-").tempdir_in(dir).ok()
}

impl World {
    fn new() -> Self {
        let dir = tempdir_in(&std::env::temp_dir()).unwrap();
        let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
        fs::create_dir(&src).unwrap();
        fs::create_dir(&dst).unwrap();
        Self::between(src, dst, vec![dir])
    }

    /// With source and destination on two file systems.
    fn far() -> Option<Self> {
        let dir = tempdir_in(&std::env::temp_dir()).unwrap();
        let device = |dir: &Path| dir.metadata().unwrap().dev();
        let other = tempdir_in(Path::new("/dev/shm"));
        let Some(other) = other.filter(|it| device(it.path()) != device(dir.path())) else {
            eprintln!("skipped: /dev/shm is not another file system than the temporary directory");
            return None;
        };
        let (src, dst) = (dir.path().to_owned(), other.path().to_owned());
        Some(Self::between(src, dst, vec![dir, other]))
    }

    fn between(src: PathBuf, dst: PathBuf, dirs: Vec<tempfile::TempDir>) -> Self {
        let ((done, ended), (lines, said)) =
            (tokio::sync::mpsc::unbounded_channel(), mpsc::channel());
        let say: Say = Arc::new(move |line| {
            assert_eq!(line.logname, "sched");
            let text = format!("{}: {}", line.task.id.0, line.message);
            lines.send((line.level, text)).unwrap();
        });
        Self { src, dst, files: Files::new(say, done), ended, said, next: 0, _dirs: dirs }
    }

    fn write(&self, name: impl AsRef<OsStr>) -> PathBuf {
        let path = self.src.join(name.as_ref());
        fs::write(&path, path.as_os_str().as_bytes()).unwrap();
        path
    }

    /// A rule for all that is in the source directory; its destination is in the other.
    fn rule(&self, action: FileAction) -> FileRule {
        let src_re = Pattern::new(&format!(r"(?s)^{}/(.*)", self.src.display())).unwrap();
        let dst_re = format!(r"{}/\1", self.dst.display());
        let dst_re = Substitution::parse(&dst_re, &src_re).unwrap();
        FileRule {
            action,
            matching: Matching::Own {
                src_re,
                dst_re: (action != FileAction::Delete).then_some(dst_re),
            },
            auto_create: false,
            overwrite: false,
            rec: false,
            filemode: None,
            dirmode: None,
            user: None,
            group: None,
        }
    }

    fn task(&self, id: u128, path: &Path) -> RunTask {
        let mask = Mask::from(EventType::MovedTo);
        let event = Event {
            event_type: EventType::MovedTo,
            mask: if path.is_dir() { mask.with(Mask::ISDIR) } else { mask },
            is_dir: path.is_dir(),
            pathname: path.as_os_str().as_bytes().into(),
            src_pathname: None,
            name_len: 0,
            root_len: self.src.as_os_str().len().try_into().unwrap(),
            wd: Wd(1),
            cookie: 0,
            origin: Origin::Live,
            subject: None,
        };
        RunTask { id: TaskId(id), event: Arc::new(event), attempt: 1 }
    }

    /// Starts a run for these paths, as the engine would.
    fn start(&mut self, rules: &[FileRule], paths: &[&Path]) -> RunId {
        self.next += 1;
        let tasks: Vec<_> = (1..).zip(paths).map(|(id, path)| self.task(id, path)).collect();
        let plan = |it: &RunTask| filerule::plan(rules, &it.event.pathname, &[]);
        let plans = tasks.iter().map(plan).collect();
        let run = Run { id: RunId(self.next), scheduler: SchedulerId(0), tasks };
        self.files.start(run, &"sched".into(), plans);
        RunId(self.next)
    }

    fn end(&mut self) -> Outcome {
        let (run, outcome) = self.ended.blocking_recv().unwrap();
        assert_eq!(run, RunId(self.next));
        assert_eq!(self.files.running(), 0, "what has ended does not run");
        outcome
    }

    fn run(&mut self, rules: &[FileRule], path: &Path) -> Outcome {
        self.start(rules, &[path]);
        self.end()
    }

    /// The texts, with `S` and `D` for the two directories.
    fn short(&self, text: &str) -> String {
        text.replace(self.src.to_str().unwrap(), "S").replace(self.dst.to_str().unwrap(), "D")
    }

    /// The note of a run that does what it is for.
    fn done(&mut self, rules: &[FileRule], path: &Path) -> String {
        match self.run(rules, path) {
            Outcome::Done(Some(text)) => self.short(&text),
            outcome => panic!("{outcome:?}"),
        }
    }

    /// The error of a run that would fail again.
    fn refused(&mut self, rules: &[FileRule], path: &Path) -> String {
        let outcome = self.run(rules, path);
        self.refusal(outcome)
    }

    fn refusal(&self, outcome: Outcome) -> String {
        match outcome {
            Outcome::Refused(text) => self.short(&text),
            outcome => panic!("{outcome:?}"),
        }
    }
}

fn names(dir: &Path) -> Vec<Vec<u8>> {
    let names = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name());
    let mut names: Vec<_> = names.map(|it| it.as_bytes().to_vec()).collect();
    names.sort();
    names
}

fn is_empty(dir: &Path) -> bool {
    names(dir).is_empty()
}

#[test]
fn each_action_does_and_says_what_it_is_for() {
    let mut world = World::new();
    let path = world.write("a");
    let text = fs::read(&path).unwrap();

    assert_eq!(world.done(&[world.rule(FileAction::Copy)], &path), "copied S/a to D/a");
    assert_eq!(
        (fs::read(&path).unwrap(), fs::read(world.dst.join("a")).unwrap()),
        (text.clone(), text.clone())
    );

    fs::remove_file(world.dst.join("a")).unwrap();
    assert_eq!(world.done(&[world.rule(FileAction::Move)], &path), "moved S/a to D/a");
    assert!(!path.exists() && fs::read(world.dst.join("a")).unwrap() == text);

    let path = world.write("a");
    assert_eq!(world.done(&[world.rule(FileAction::Delete)], &path), "deleted S/a");
    assert!(!path.exists());
    assert_eq!(world.said.try_recv().ok(), None, "the outcome says it all");
}

#[test]
fn the_first_rule_wins_and_without_one_nothing_is_done() {
    let mut world = World::new();
    let rule = |action, pattern: &str| {
        let mut rule = world.rule(action);
        let Matching::Own { src_re, .. } = &mut rule.matching else { unreachable!() };
        *src_re = Pattern::new(&format!("^{}/{pattern}", world.src.display())).unwrap();
        rule
    };
    let delete = rule(FileAction::Delete, r".*\.tmp");
    let rules = [delete, rule(FileAction::Move, r"(.*)\.(?:tmp|mv)$")];
    let (tmp, mv, other) = (world.write("a.tmp"), world.write("a.mv"), world.write("a.txt"));
    assert_eq!(world.done(&rules, &tmp), "deleted S/a.tmp");
    assert_eq!(world.done(&rules, &mv), "moved S/a.mv to D/a");
    assert_eq!(world.done(&rules, &other), "no rule matches");
    assert_eq!(names(&world.src), [b"a.txt"]);
    assert_eq!(names(&world.dst), [b"a"]);
}

#[test]
fn names_are_taken_as_they_are_and_shown_on_one_line() {
    let hostile: [&[u8]; 7] = [
        b"a\n2026-01-01 - CRITICAL - forged",
        b"\x1b[2J\xff\xfe",
        br"\1 \g<1> \n",
        b"$(id) `id` ;|& '\"",
        b"-rf *",
        b"...",
        "\u{202e}gpj".as_bytes(),
    ];
    for mut world in [Some(World::new()), World::far()].into_iter().flatten() {
        for action in [FileAction::Copy, FileAction::Move] {
            for name in hostile {
                let path = world.write(OsStr::from_bytes(name));
                let said = world.done(&[world.rule(action)], &path);
                let verb = if action == FileAction::Copy { "copied" } else { "moved" };
                let name = shown(name);
                assert_eq!(said, format!("{verb} S/{name} to D/{name}"));
                assert!(!said.contains(|it: char| it.is_control() || it == '\u{202e}'));
                assert_eq!(path.exists(), action == FileAction::Copy);
            }
            let mut sorted: Vec<Vec<u8>> = hostile.map(<[u8]>::to_vec).into();
            sorted.sort();
            assert_eq!(names(&world.dst), sorted);
            for name in hostile {
                fs::remove_file(world.dst.join(OsStr::from_bytes(name))).unwrap();
            }
        }
        assert!(is_empty(&world.src));
    }
}

#[test]
fn a_tree_goes_to_another_file_system() {
    let Some(mut world) = World::far() else { return };
    fs::create_dir_all(world.src.join("d/e")).unwrap();
    fs::set_permissions(world.src.join("d/e"), fs::Permissions::from_mode(0o2711)).unwrap();
    let file = world.write("d/e/f");
    let text = fs::read(&file).unwrap();
    let path = world.src.join("d");
    assert_eq!(world.done(&[world.rule(FileAction::Move)], &path), "moved S/d to D/d");
    assert!(is_empty(&world.src));
    assert_eq!(fs::read(world.dst.join("d/e/f")).unwrap(), text);
}

#[test]
fn a_missing_directory_is_made_only_if_asked_for() {
    let mut world = World::new();
    fs::create_dir_all(world.src.join("x/y")).unwrap();
    let path = world.write("x/y/a");
    let mut rule = world.rule(FileAction::Move);
    assert_eq!(
        world.refused(std::slice::from_ref(&rule), &path),
        "rule 1: cannot move S/x/y/a to D/x/y/a: open D/x/y: no such directory; \
         auto_create = true makes it"
    );
    assert!(path.exists() && is_empty(&world.dst));

    (rule.auto_create, rule.dirmode, rule.filemode) = (true, Some(0o750), Some(0o640));
    assert_eq!(world.done(&[rule], &path), "moved S/x/y/a to D/x/y/a");
    let mode = |name: &str| fs::metadata(world.dst.join(name)).unwrap().mode() & 0o7777;
    assert_eq!([mode("x"), mode("x/y"), mode("x/y/a")], [0o750, 0o750, 0o640]);
}

#[test]
fn what_is_there_is_replaced_only_if_asked_for() {
    let mut world = World::new();
    let path = world.write("a");
    fs::write(world.dst.join("a"), "old").unwrap();
    for action in [FileAction::Copy, FileAction::Move] {
        assert_eq!(
            world.refused(&[world.rule(action)], &path),
            format!(
                "rule 1: cannot {} S/a to D/a: renameat2 D/a: there is something at the \
                 destination; overwrite = true replaces a file",
                action.name()
            )
        );
        assert_eq!(fs::read(world.dst.join("a")).unwrap(), b"old");
    }
    let rule = |world: &World| FileRule { overwrite: true, ..world.rule(FileAction::Move) };
    assert_eq!(world.done(&[rule(&world)], &path), "moved S/a to D/a");
    assert_ne!(fs::read(world.dst.join("a")).unwrap(), b"old");

    fs::create_dir(world.dst.join("b")).unwrap();
    let path = world.write("b");
    let said = world.refused(&[rule(&world)], &path);
    assert!(said.ends_with("; only files and links are replaced"), "{said}");
    fs::create_dir(world.src.join("a")).unwrap();
    let said = world.refused(&[rule(&world)], &world.src.join("a"));
    assert!(said.ends_with("; a directory replaces nothing"), "{said}");
    assert!(path.exists() && world.src.join("a").exists());
}

#[test]
fn a_directory_is_deleted_if_it_is_empty_or_with_rec() {
    let mut world = World::new();
    let (empty, full) = (world.src.join("empty"), world.src.join("full"));
    fs::create_dir(&empty).unwrap();
    fs::create_dir_all(full.join("d")).unwrap();
    fs::write(full.join("d/f"), "").unwrap();
    symlink(&world.dst, full.join("link")).unwrap();
    fs::write(world.dst.join("kept"), "").unwrap();
    let delete = world.rule(FileAction::Delete);
    let delete = std::slice::from_ref(&delete);

    assert_eq!(world.done(delete, &empty), "deleted S/empty");
    assert_eq!(
        world.refused(delete, &full),
        "rule 1: cannot delete S/full: rmdir S/full: the directory is not empty; rec = true \
         deletes it with all that is in it"
    );
    assert!(full.join("d/f").exists());

    assert_eq!(
        world.done(&[FileRule { rec: true, ..world.rule(FileAction::Delete) }], &full),
        "deleted S/full and 3 entries in it"
    );
    assert!(is_empty(&world.src) && world.dst.join("kept").exists());
}

#[test]
fn a_source_that_is_gone_is_no_failure() {
    let mut world = World::new();
    for path in [world.src.join("a"), world.src.join("d/a")] {
        for action in [FileAction::Move, FileAction::Copy, FileAction::Delete] {
            let said = world.done(&[world.rule(action)], &path);
            assert!(said.starts_with("S/") && said.ends_with("a is gone already"), "{said}");
        }
    }
    assert!(is_empty(&world.dst));
}

#[test]
fn links_are_followed_only_in_the_paths_of_the_watch_and_of_the_rule() {
    let mut world = World::new();
    let real = world.dst.join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, world.src.join("in")).unwrap();
    fs::write(real.join("a"), "").unwrap();
    let rule = world.rule(FileAction::Delete);
    let path = world.src.join("in/a");
    let said = world.refused(std::slice::from_ref(&rule), &path);
    assert!(said.contains("a symbolic link is in the way; links are followed only"), "{said}");
    assert!(real.join("a").exists());

    // The Watch's own path goes over that link.
    world.src.push("in");
    assert_eq!(world.done(&[rule], &path), "deleted S/a");
    assert!(!real.join("a").exists());
}

#[test]
fn a_rule_that_cannot_apply_is_refused_at_once() {
    let mut world = World::new();
    let path = world.write("a");
    let mut rule = world.rule(FileAction::Move);
    let Matching::Own { src_re, dst_re } = &mut rule.matching else { unreachable!() };
    *dst_re = Some(Substitution::parse("relative", src_re).unwrap());
    world.start(&[rule], &[&path]);
    let (_, outcome) = world.ended.try_recv().expect("no thread is needed for that");
    assert_eq!(
        world.refusal(outcome),
        "rule 1: cannot move S/a to `relative`: the destination is not an absolute path"
    );
}

#[test]
fn only_what_may_pass_is_tried_again() {
    let world = World::new();
    let rule = world.rule(FileAction::Move);
    let path = world.src.join("a");
    let plan = filerule::plan(&[rule], path.as_os_str().as_bytes(), &[]).unwrap().unwrap();
    let outcome = |kind, errno| {
        let error = FileError { kind, call: "write", path: b"/d\n".to_vec(), errno };
        outcome(&plan, false, Err(error))
    };
    let text = |why| format!("rule 1: cannot move S/a to D/a: write /d\\n: {why}");
    match outcome(Fault::NoSpace, Some(Errno::NOSPC)) {
        Outcome::Failed(said) => assert_eq!(world.short(&said), text("no space left on device")),
        outcome => panic!("{outcome:?}"),
    }
    let refused = outcome(Fault::Denied, Some(Errno::ROFS));
    assert_eq!(world.refusal(refused), text("read-only file system"));
    assert!(matches!(outcome(Fault::Changed, None), Outcome::Failed(_)));
    assert!(matches!(outcome(Fault::SourceKept, None), Outcome::Refused(_)));
    assert_eq!(outcome(Fault::Cancelled, None), Outcome::Stopped);
}

#[test]
fn a_batch_is_done_one_after_the_other_and_each_is_told() {
    let mut world = World::new();
    let paths = ["a", "b", "c"].map(|name| world.write(name));
    fs::write(world.dst.join("b"), "old").unwrap();
    let rules = [world.rule(FileAction::Move)];
    world.start(&rules, &paths.each_ref().map(PathBuf::as_path));
    let outcome = world.end();
    let said = world.refusal(outcome);
    assert!(said.starts_with("1 of 3 failed: rule 1: cannot move S/b to D/b: "), "{said}");
    assert_eq!(names(&world.src), [b"b"], "the others are done");
    let said: Vec<_> = world.said.try_iter().map(|(it, text)| (it, world.short(&text))).collect();
    assert_eq!(said[0], (Level::Info, "1: moved S/a to D/a".into()));
    assert_eq!(said[1].0, Level::Error);
    assert!(said[1].1.starts_with("2: rule 1: cannot move S/b to D/b: "), "{said:?}");
    assert_eq!(said[2], (Level::Info, "3: moved S/c to D/c".into()));

    world.start(&rules, &[&world.write("d"), &world.write("e")].map(PathBuf::as_path));
    assert_eq!(world.end(), Outcome::Done(None));
}

/// Until the destination is being written to; `false` if that was over before it was seen.
fn wait_until_written(dst: &Path, ended: &UnboundedReceiver<(RunId, Outcome)>) -> bool {
    let limit = Instant::now() + Duration::from_secs(60);
    while ended.is_empty() {
        let fds = fs::read_dir("/proc/self/fd").unwrap().flatten();
        // Files without a name show as `…/dst/#1234 (deleted)`.
        if fds.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|it| it.parent() == Some(dst)) {
            return true;
        }
        assert!(Instant::now() < limit, "nothing is written");
    }
    false
}

#[test]
fn a_big_copy_ends_when_it_is_asked_to() {
    let Some(mut world) = World::far() else { return };
    let path = world.write("big");
    fs::write(&path, vec![7; 64 << 20]).unwrap();
    // On a busy machine the copy may be through before we get a turn.
    for _ in 0..20 {
        let run = world.start(&[world.rule(FileAction::Move)], &[&path]);
        if wait_until_written(&world.dst, &world.ended) {
            assert_eq!(world.files.running(), 1);
            world.files.stop(run);
        }
        match world.end() {
            Outcome::Stopped => {
                assert_eq!(fs::metadata(&path).unwrap().len(), 64 << 20);
                assert!(is_empty(&world.dst), "nothing is left of it");
                return;
            }
            Outcome::Done(_) => fs::rename(world.dst.join("big"), &path)
                .or_else(|_| fs::copy(world.dst.join("big"), &path).map(|_| ()))
                .and_then(|()| fs::remove_file(world.dst.join("big")))
                .unwrap(),
            outcome => panic!("{outcome:?}"),
        }
    }
    panic!("it was never stopped");
}

#[test]
fn what_is_stopped_before_it_begins_is_not_begun() {
    let world = World::new();
    let path = world.write("a");
    let task = world.task(1, &path);
    let plan = filerule::plan(&[world.rule(FileAction::Delete)], &task.event.pathname, &[]);
    let flow = Flow::of(std::slice::from_ref(&task));
    flow.cancel.store(true, Ordering::Relaxed);
    assert_eq!(apply(&plan, &task, false, &flow), Outcome::Stopped);
    assert!(path.exists());
    world.files.stop(RunId(99));
}

#[test]
fn an_outcome_is_told_once_whatever_happens() {
    let mut world = World::new();
    let id = RunId(7);
    world.files.shared.running().insert(id, Arc::new(Flow::of(&[])));
    let ticket = Ticket { run: id, shared: Arc::clone(&world.files.shared) };
    let panicked = std::thread::spawn(move || {
        let _ticket = ticket;
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(panicked.join().is_err());
    assert!(matches!(world.ended.try_recv(), Ok((it, Outcome::Failed(_))) if it == id));

    world.files.shared.running().insert(id, Arc::new(Flow::of(&[])));
    Ticket { run: id, shared: Arc::clone(&world.files.shared) }.finish(Outcome::Done(None));
    assert_eq!(world.ended.try_recv(), Ok((id, Outcome::Done(None))));
    assert!(world.ended.try_recv().is_err());

    let tasks = vec![world.task(1, &world.write("a"))];
    let run = Run { id, scheduler: SchedulerId(0), tasks };
    world.files.start(run, &"sched".into(), Vec::new());
    assert!(matches!(world.ended.try_recv(), Ok((it, Outcome::Refused(_))) if it == id));
}

#[test]
fn a_run_whose_thread_ends_by_a_fault_of_its_own_has_failed() {
    let world = World::new();
    let rules = [world.rule(FileAction::Delete)];
    let paths = ["a", "b"].map(|it| world.write(it));
    let (done, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let files = Files::new(Arc::new(|_| panic!("on purpose")), done);
    let paths: Vec<_> = paths.iter().map(|it| it.as_os_str().as_bytes()).collect();
    let plans = paths.iter().map(|it| filerule::plan(&rules, it, &[])).collect();
    files.start(run_of(1, &paths), &"sched".into(), plans);
    let text = "the thread of its file action has ended before its time".to_owned();
    assert_eq!(ended.blocking_recv(), Some((RunId(1), Outcome::Failed(text))));
}
