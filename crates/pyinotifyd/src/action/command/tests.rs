//! Real processes.

use std::{
    collections::BTreeSet,
    fs,
    num::NonZeroUsize,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    sync::mpsc as std_mpsc,
};

use pyinotifyd_core::{
    event::{Event, EventType, Origin},
    filter::Filter,
    plan::{Action, Batch, BatchInput, Busy, Retry, SchedulerId, User},
    record::Wd,
    task::RunTask,
};

use super::{prepare::Word, *};

/// What a hung test takes.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn once(words: &[&str]) -> Words {
    let argv = words.iter().map(|word| Word::Once(word.as_bytes().to_vec())).collect();
    Words { argv, env: Vec::new(), script: false }
}

fn sh(script: &str) -> Words {
    once(&["/bin/sh", "-c", script, "pyinotifyd"])
}

fn event(path: &[u8]) -> Arc<Event> {
    Arc::new(Event {
        event_type: EventType::CloseWrite,
        mask: EventType::CloseWrite.mask(),
        is_dir: false,
        pathname: path.into(),
        src_pathname: None,
        name_len: 0,
        root_len: 0,
        wd: Wd(1),
        cookie: 0,
        origin: Origin::Live,
        subject: None,
    })
}

pub(in crate::action) fn run_of(id: u64, paths: &[&[u8]]) -> Run {
    let tasks = (1..).zip(paths).map(|(task, path)| RunTask {
        id: TaskId(task),
        event: event(path),
        attempt: 2,
    });
    Run { id: RunId(id), scheduler: SchedulerId(0), tasks: tasks.collect() }
}

pub(in crate::action) fn scheduler(batch: Option<BatchInput>) -> Scheduler {
    const ONE: NonZeroUsize = NonZeroUsize::MIN;
    Scheduler {
        name: "archive".into(),
        logname: "sched".into(),
        files: true,
        dirs: false,
        filter: Filter::default(),
        delay: Duration::ZERO,
        max_wait: None,
        singlejob: false,
        busy: Busy::Again,
        slots: ONE,
        timeout: None,
        kill_after: Duration::ZERO,
        retry: Retry::NONE,
        follow: true,
        breaker: None,
        ready: Vec::new(),
        batch: batch.map(|input| Batch { max_items: NonZeroUsize::MAX, input }),
        on_crash: pyinotifyd_core::plan::OnCrash::Rerun,
        // Not looked at: the words and the process are given beside it.
        action: Action::Rules(Vec::new()),
    }
}

pub(in crate::action) fn logged() -> Process {
    Process { output: Output::Log(Level::Info), ..Process::default() }
}

/// The commands, and what comes of them.
pub(super) struct World {
    pub(super) commands: Commands,
    ended: mpsc::UnboundedReceiver<(RunId, Outcome)>,
    printed: std_mpsc::Receiver<Vec<u8>>,
    next: u64,
}

impl World {
    pub(super) fn new() -> Self {
        let (lines, printed) = std_mpsc::channel();
        Self::with_printed(printed, move |line| lines.send(line.to_vec()).unwrap())
    }

    fn with_printed(
        printed: std_mpsc::Receiver<Vec<u8>>,
        take: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Self {
        // What the test program itself inherited is none of the commands' business.
        sys::seal_descriptors().unwrap();
        let (sender, ended) = mpsc::unbounded_channel();
        let vars = [("PATH", "/usr/bin:/bin"), ("KEPT", "yes"), ("NOTIFY_SOCKET", "/no")];
        let environment = Environment::new(vars.map(|(name, value)| (name.into(), value.into())));
        let take = Arc::new(move |level, logname: &str, _, line: &[u8]| {
            assert_eq!((level, logname), (Level::Info, "sched"));
            take(line);
        });
        let mut commands = Commands::new(environment, take, sender).unwrap();
        Arc::get_mut(&mut commands.shared).unwrap().helper = exec_helper::program_for_tests();
        Self { commands, ended, printed, next: 0 }
    }

    pub(super) fn start(&mut self, process: &Process, words: &Words) -> RunId {
        self.next += 1;
        let run = run_of(self.next, &[b"/w/f"]);
        self.commands.start(&run, &scheduler(None), process, words);
        run.id
    }

    pub(super) async fn end(&mut self) -> (RunId, Outcome) {
        tokio::time::timeout(LIMIT, self.ended.recv()).await.expect("it ends").unwrap()
    }

    /// Its outcome, and its lines.
    async fn whole(&mut self, process: &Process, words: &Words) -> (Outcome, Vec<String>) {
        self.start(process, words);
        let (_, outcome) = self.end().await;
        (outcome, self.lines())
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.printed.try_iter().map(|line| line.escape_ascii().to_string()).collect()
    }

    /// The next line, however long it takes.
    async fn line(&mut self) -> String {
        tokio::time::timeout(LIMIT, async {
            loop {
                match self.printed.try_recv() {
                    Ok(line) => return line.escape_ascii().to_string(),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        })
        .await
        .expect("it prints")
    }
}

/// Whether there is such a process, dead ones that nobody has reaped included.
fn exists(pid: &str) -> bool {
    Path::new("/proc").join(pid).exists()
}

/// Until the process is gone: killed processes take their moment.
fn wait_until_gone(pid: &str) {
    let id = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    // A pidfd tells the end of processes that are not ours to wait for.
    if let Ok(fd) = rustix::process::pidfd_open(id, rustix::process::PidfdFlags::empty()) {
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        let limit = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut fds, Some(&limit)).unwrap(), 1, "{pid} still runs");
    }
}

/// The children of this process, zombies too.
fn children() -> BTreeSet<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let texts = tasks.filter_map(|task| fs::read_to_string(task.join("children")).ok());
    texts.flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Written by a process of its own: a program that is open for writing, be it for a moment in the
/// child that another test starts just now, cannot be run.
fn script_file(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    let write = "printf '%s' \"$1\" > \"$2\" && chmod 755 \"$2\"";
    let mut sh = std::process::Command::new("/bin/sh");
    assert!(sh.args(["-c", write, "sh", text]).arg(&path).status().unwrap().success());
    path
}

#[tokio::test]
async fn the_end_of_a_command_is_its_outcome() {
    let mut world = World::new();
    let plain = Process { output: Output::Discard, ..Process::default() };
    assert_eq!(world.whole(&plain, &once(&["/bin/true"])).await.0, Outcome::Done(None));
    let failed = Outcome::Exited(1, String::new());
    assert_eq!(world.whole(&plain, &once(&["false"])).await.0, failed);
    let killed = Outcome::Signalled(9, String::new());
    assert_eq!(world.whole(&plain, &sh("kill -9 $$")).await.0, killed);
    let (outcome, lines) = world.whole(&logged(), &sh("echo a; echo b >&2; exit 3")).await;
    assert_eq!(outcome, Outcome::Exited(3, "a\\nb".into()));
    assert_eq!(lines, ["a", "b"]);
    assert_eq!(world.commands.running(), 0);
}

#[tokio::test]
async fn arguments_and_variables_are_bytes_that_nobody_reads_again() {
    let mut world = World::new();
    let hostile = b"/w/-rf $(touch x) `id` {src_pathname} ' \" \\ \n \xff\xfe ;|&*?";
    let mut words =
        sh("printf '%s\\0' \"$@\" \"$PYINOTIFYD_PATHNAME\" \"$X\" | tr '\\n\\0' '#\\n'");
    words.argv.push(Word::Once(hostile.to_vec()));
    words.argv.push(Word::Once(Vec::new()));
    words.env.push((b"X".to_vec(), hostile.to_vec()));
    world.commands.start(&run_of(1, &[hostile]), &scheduler(None), &logged(), &words);
    assert_eq!(world.end().await.1, Outcome::Done(None));
    let shown = hostile.escape_ascii().to_string().replace("\\n", "#");
    assert_eq!(world.lines(), [&*shown, "", &shown, &shown]);
}

#[tokio::test]
async fn a_command_gets_the_daemons_environment_and_its_tasks() {
    let mut world = World::new();
    let set = |name: &str, value: Option<&str>| {
        (name.as_bytes().into(), value.map(|value| value.as_bytes().into()))
    };
    let mut process = logged();
    process.env = vec![set("NEW", Some("a=b")), set("PYINOTIFYD_ATTEMPT", None)];
    let (_, mut lines) = world.whole(&process, &once(&["env"])).await;
    lines.sort();
    assert_eq!(
        lines,
        [
            "KEPT=yes",
            "NEW=a=b",
            "PATH=/usr/bin:/bin",
            "PYINOTIFYD_MASKNAME=IN_CLOSE_WRITE",
            "PYINOTIFYD_PATHNAME=/w/f",
            "PYINOTIFYD_SCHEDULER=archive",
            "PYINOTIFYD_SRC_PATHNAME=",
            "PYINOTIFYD_TASK_ID=00000000-0000-4000-8000-000000000001",
        ]
    );
    process.env = vec![set("KEPT", None), set("PATH", Some("/nowhere:relative"))];
    let (outcome, _) = world.whole(&process, &once(&["env"])).await;
    let text = "cannot run env: not found in PATH (/nowhere:relative)";
    assert_eq!(outcome, Outcome::Refused(text.into()));
    let (_, lines) = world.whole(&process, &once(&["/usr/bin/env"])).await;
    assert!(!lines.iter().any(|line| line.starts_with("KEPT")), "{lines:?}");
}

#[tokio::test]
async fn a_command_has_three_descriptors_and_no_input() {
    let mut world = World::new();
    let (_, lines) = world.whole(&logged(), &sh("ls /proc/$$/fd; readlink /proc/$$/fd/0")).await;
    assert_eq!(lines, ["0", "1", "2", "/dev/null"]);
    assert_eq!(world.whole(&logged(), &once(&["cat"])).await, (Outcome::Done(None), vec![]));
}

#[tokio::test]
async fn what_cannot_run_is_refused_with_the_reason() {
    let mut world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    script_file(dir.path(), "lost", "#! /no/such/sh -e\n");
    script_file(dir.path(), "bare", "exit 7\n");
    fs::write(path("data"), "").unwrap();
    let mut refused =
        async |words: &Words, process: &Process| match world.whole(process, words).await.0 {
            Outcome::Refused(text) => text.replace(dir.path().to_str().unwrap(), "D"),
            other => panic!("{other:?}"),
        };
    let process = logged();
    let text = refused(&once(&["/no/such\n"]), &process).await;
    assert_eq!(text, "cannot run /no/such\\n: no such file or directory");
    let text = refused(&once(&[&path("lost")]), &process).await;
    assert_eq!(text, "cannot run D/lost: its interpreter /no/such/sh does not exist");
    let text = refused(&once(&[&path("data")]), &process).await;
    assert_eq!(text, "cannot run D/data: permission denied (it is not executable)");
    let text = refused(&once(&["/tmp"]), &process).await;
    assert_eq!(text, "cannot run /tmp: it is a directory");
    let text = refused(&once(&[&path("bare")]), &process).await;
    assert!(text.contains("nor does its first line name an interpreter"), "{text}");
    let text = refused(&once(&["/bin/true", &"x".repeat(200_000)]), &process).await;
    assert!(text.contains("longer than the kernel takes"), "{text}");
    let text = refused(&once(&["/bin/true", "a\0b"]), &process).await;
    assert_eq!(text, "cannot run /bin/true: there is a NUL byte in a\\x00b");
    let away = Process { cwd: Some(b"/no/dir".as_slice().into()), ..logged() };
    let text = refused(&once(&["/bin/true"]), &away).await;
    assert_eq!(text, "cannot run /bin/true: chdir /no/dir: no such file or directory");
    let away = Process { nice: Some(1), ..away };
    let text = refused(&once(&["/bin/true"]), &away).await;
    assert_eq!(text, "cannot run /bin/true: chdir /no/dir: no such file or directory");
    let limited = Process { nice: Some(1), ..logged() };
    let text = refused(&once(&[&path("lost")]), &limited).await;
    assert_eq!(text, "cannot run D/lost: its interpreter /no/such/sh does not exist");
}

#[tokio::test]
async fn a_file_without_interpreter_is_run_as_a_shell_would() {
    let mut world = World::new();
    let dir = tempfile::tempdir().unwrap();
    let file = script_file(dir.path(), "bare", "echo \"$0\" \"$1\"\n");
    let words = Words { script: true, ..once(&[file.to_str().unwrap(), "a  b"]) };
    let want = (Outcome::Done(None), vec![format!("{} a  b", file.display())]);
    assert_eq!(world.whole(&logged(), &words).await, want);
    let settled = Process { umask: Some(0o77), ..logged() };
    assert_eq!(world.whole(&settled, &words).await, want);
}

#[tokio::test]
async fn a_stop_ends_the_whole_group() {
    let mut world = World::new();
    // The grandchild ignores SIGTERM and outlives the leader: it is killed before that is reaped.
    let script = "(trap '' TERM; sh -c 'echo $$; exec sleep 1000'; :) & wait";
    for how in [StopHow::Term, StopHow::Kill] {
        let run = world.start(&logged(), &sh(script));
        let grandchild = world.line().await;
        assert!(exists(&grandchild));
        world.commands.stop(run, how);
        assert_eq!(world.end().await, (run, Outcome::Stopped));
        wait_until_gone(&grandchild);
        world.commands.stop(run, how);
    }
}

#[tokio::test]
async fn a_command_that_ignores_the_request_is_killed() {
    let mut world = World::new();
    let run = world
        .start(&logged(), &sh("trap 'echo no' TERM; echo up; while :; do sleep 1000 & wait; done"));
    assert_eq!(world.line().await, "up");
    world.commands.stop(run, StopHow::Term);
    assert_eq!(world.line().await, "no");
    assert!(world.ended.try_recv().is_err());
    world.commands.stop(run, StopHow::Kill);
    assert_eq!(world.end().await, (run, Outcome::Stopped));
}

#[tokio::test]
async fn what_goes_on_in_the_background_is_neither_waited_for_nor_ended() {
    let mut world = World::new();
    let (outcome, lines) = world.whole(&logged(), &sh("sleep 1000 & echo $!; exit 4")).await;
    assert_eq!(outcome, Outcome::Exited(4, lines[0].clone()));
    assert!(exists(&lines[0]), "it was meant to stay");
    let pid = rustix::process::Pid::from_raw(lines[0].parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // One that floods the pipe for ever does not hold the run either.
    let (outcome, lines) = world.whole(&logged(), &sh("yes & echo $! >&2; exit 5")).await;
    assert!(matches!(outcome, Outcome::Exited(5, _)));
    let pid = lines.iter().find(|line| *line != "y").unwrap();
    // Nobody reads its pipe any more.
    wait_until_gone(pid);
}

#[tokio::test]
async fn hundreds_of_megabytes_pass_while_others_are_served() {
    const SIZE: usize = 200 << 20;
    let (seen, printed) = std_mpsc::channel::<Vec<u8>>();
    let bytes = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&bytes);
    let mut world = World::with_printed(printed, move |line| {
        count.fetch_add(line.len() + 1, std::sync::atomic::Ordering::Relaxed);
    });
    drop(seen);
    let before = peak();
    let script = format!("yes {} | head -c {SIZE}", "x".repeat(99));
    let flood = world.start(&logged(), &sh(&script));
    let small = world.start(&Process::default(), &once(&["/bin/true"]));
    assert_eq!(world.end().await, (small, Outcome::Done(None)));
    assert_eq!(world.end().await, (flood, Outcome::Done(None)));
    // The last line is cut off by `head`, without an end that was counted with it.
    assert!(bytes.load(std::sync::atomic::Ordering::Relaxed) - SIZE <= 1);
    assert!(peak() - before < 32 * 1024, "{before} kB, then {} kB", peak());
}

/// The most memory that this process ever had, in kB.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn a_batch_goes_to_as_many_commands_as_it_takes() {
    let mut world = World::new();
    let paths: Vec<Vec<u8>> =
        (0..6000).map(|n| [format!("/{n}/").as_bytes(), &[b'x'; 200]].concat()).collect();
    let paths: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    let mut words =
        sh("echo $# $PYINOTIFYD_COUNT; for it; do echo \"$it\"; done; exit $((6000-$#))");
    words.argv.push(Word::Each(paths.iter().map(|path| path.to_vec()).collect()));
    let (run, batch) = (run_of(1, &paths), scheduler(Some(BatchInput::Args)));
    let process = Process { rlimits: vec![("stack".into(), 1 << 20)], ..logged() };
    world.commands.start(&run, &batch, &process, &words);
    assert!(matches!(world.end().await.1, Outcome::Exited(..)), "the first failure is told");
    let lines = world.lines();
    let (heads, rest): (Vec<_>, Vec<_>) = lines.iter().partition(|line| !line.starts_with('/'));
    assert!(heads.len() > 2, "{heads:?}");
    let counts = heads.iter().map(|head| {
        let (got, told) = head.split_once(' ').unwrap();
        assert_eq!(got, told);
        got.parse::<usize>().unwrap()
    });
    assert_eq!(counts.sum::<usize>(), paths.len());
    assert!(rest.iter().map(|line| line.as_bytes()).eq(paths.iter().copied()), "all, in order");
}

#[tokio::test]
async fn a_batch_on_standard_input_ends_each_path_with_nul() {
    let mut world = World::new();
    let paths = [&b"/a b"[..], b"/new\nline", b"/\xff"];
    let run = run_of(1, &paths);
    let batch = scheduler(Some(BatchInput::Stdin));
    world.commands.start(
        &run,
        &batch,
        &logged(),
        &sh("tr '\\n\\0' '#\\n'; echo $PYINOTIFYD_COUNT"),
    );
    assert_eq!(world.end().await.1, Outcome::Done(None));
    assert_eq!(world.lines(), ["/a b", "/new#line", "/\\xff", "3"]);
}

#[tokio::test]
async fn a_command_need_not_read_its_input() {
    let mut world = World::new();
    let paths: Vec<Vec<u8>> =
        (0..1000).map(|n| [&[b'/'; 300][..], format!("{n}").as_bytes()].concat()).collect();
    let paths: Vec<&[u8]> = paths.iter().map(Vec::as_slice).collect();
    let batch = scheduler(Some(BatchInput::Stdin));
    for script in ["exit 0", "exec <&-; echo closed; exit 0"] {
        world.commands.start(&run_of(1, &paths), &batch, &logged(), &sh(script));
        assert_eq!(world.end().await.1, Outcome::Done(None));
    }
    let run = run_of(2, &paths);
    world.commands.start(&run, &batch, &logged(), &sh("echo up; exec sleep 1000"));
    while world.line().await != "up" {}
    world.commands.stop(run.id, StopHow::Term);
    assert_eq!(world.end().await, (run.id, Outcome::Stopped));
}

#[tokio::test]
async fn settings_are_the_commands_and_not_the_daemons() {
    let mut world = World::new();
    let nice = rustix::process::getpriority_process(None).unwrap();
    let process = Process {
        umask: Some(0o27),
        nice: Some(3),
        rlimits: vec![("nofile".into(), 64), ("core".into(), 0)],
        cwd: Some(b"/usr".as_slice().into()),
        ..logged()
    };
    let script = "umask; nice; ulimit -n; ulimit -c; pwd; ls /proc/$$/fd; cut -d' ' -f5,6 /proc/$$/stat; echo $$";
    let (outcome, lines) = world.whole(&process, &sh(script)).await;
    assert_eq!(outcome, Outcome::Done(None), "{lines:?}");
    assert_eq!(lines[..5], ["0027", &(nice + 3).to_string(), "64", "0", "/usr"]);
    assert_eq!(lines[5..8], ["0", "1", "2"]);
    assert_eq!(lines[8], format!("{0} {0}", lines[9]));
    assert_eq!(rustix::process::getpriority_process(None).unwrap(), nice);
    let plain = Process { cwd: process.cwd.clone(), ..logged() };
    assert!(!exec_helper::is_needed(&plain));
    assert_eq!(world.whole(&plain, &sh("pwd")).await.1, ["/usr"]);
    // A command may well end as the helper does.
    let settled = Process { nice: Some(0), ..logged() };
    let failed = Outcome::Exited(126, String::new());
    assert_eq!(world.whole(&settled, &sh("exit 126")).await.0, failed);
}

#[tokio::test]
async fn signals_are_the_kernels_defaults() {
    let mut world = World::new();
    for process in [logged(), Process { nice: Some(0), ..logged() }] {
        let (_, lines) =
            world.whole(&process, &sh("exec grep -E 'Sig(Blk|Ign)' /proc/self/status")).await;
        assert_eq!(lines, ["SigBlk:\\t0000000000000000", "SigIgn:\\t0000000000000000"]);
    }
}

fn nobody() -> User {
    User {
        name: "nobody".into(),
        uid: 65_534,
        gid: 65_534,
        home: b"/nonexistent".as_slice().into(),
        shell: b"/usr/sbin/nologin".as_slice().into(),
    }
}

#[tokio::test]
async fn another_user_is_become_for_good() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: becoming another user, because this is not root");
        return;
    }
    let mut world = World::new();
    // The build's folder may be closed to others: the working directory is entered as the user.
    let process = Process { user: Some(nobody()), cwd: Some(b"/".as_slice().into()), ..logged() };
    // By grep's own: dash blocks all signals for the moment in which it starts one.
    let script = "echo $HOME $USER $LOGNAME $SHELL; ls /proc/$$/fd; exec grep -E \
                  '^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb)|Sig(Blk|Ign)):' /proc/self/status";
    let (outcome, lines) = world.whole(&process, &sh(script)).await;
    assert_eq!(outcome, Outcome::Done(None), "{lines:?}");
    let none = "\\t0000000000000000";
    let want = [
        "/nonexistent nobody nobody /usr/sbin/nologin".into(),
        "0".into(),
        "1".into(),
        "2".into(),
        "Uid:\\t65534\\t65534\\t65534\\t65534".into(),
        "Gid:\\t65534\\t65534\\t65534\\t65534".into(),
        "Groups:\\t65534 ".into(),
        format!("SigBlk:{none}"),
        format!("SigIgn:{none}"),
        format!("CapInh:{none}"),
        format!("CapPrm:{none}"),
        format!("CapEff:{none}"),
        format!("CapAmb:{none}"),
    ];
    assert_eq!(lines, want);

    let group = Process { group: Some(1), ..process.clone() };
    let (_, lines) = world.whole(&group, &once(&["id", "-G"])).await;
    assert_eq!(lines, ["1"]);

    let closed = tempfile::tempdir().unwrap();
    fs::set_permissions(closed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let closed = closed.path().as_os_str().as_bytes();
    let process = Process { cwd: Some(closed.into()), ..process };
    let (outcome, _) = world.whole(&process, &once(&["/bin/true"])).await;
    let text = format!(
        "cannot run /bin/true as nobody: chdir {}: permission denied",
        str::from_utf8(closed).unwrap()
    );
    assert_eq!(outcome, Outcome::Refused(text));
}

#[tokio::test]
async fn who_may_not_become_another_user_says_so() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: an ordinary user that becomes another, because this is not root");
        return;
    }
    let mut world = World::new();
    let helper = world.commands.shared.helper.to_str().unwrap().to_owned();
    let copy = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir();
    let copy = copy.unwrap();
    let program = copy.path().join("pyinotifyd");
    // By another process, as in `script_file`.
    let mut cp = std::process::Command::new("cp");
    assert!(cp.arg(helper).arg(&program).status().unwrap().success());
    // As nobody, the helper is asked for daemon: descriptor 3 is closed, so it says so on 2.
    let as_nobody = Process { user: Some(nobody()), cwd: Some(b"/".as_slice().into()), ..logged() };
    let words = once(&[
        program.to_str().unwrap(),
        "__exec",
        "user=daemon",
        "uid=1",
        "gid=1",
        "--",
        "/bin/true",
        "true",
    ]);
    let (outcome, lines) = world.whole(&as_nobody, &words).await;
    let text = "cannot run true as daemon: setgroups: operation not permitted";
    assert_eq!(outcome, Outcome::Exited(126, text.into()));
    assert_eq!(lines, [text]);
}

#[tokio::test]
async fn thousands_of_runs_leave_nothing_behind() {
    const RUNS: usize = 2000;
    const AT_ONCE: usize = 64;
    let mut world = World::new();
    // By a name of its own, since other tests run beside this one.
    let dir = tempfile::tempdir().unwrap();
    let census = dir.path().join("census");
    std::os::unix::fs::symlink("/bin/true", &census).unwrap();
    let words = once(&[census.to_str().unwrap()]);
    let warm = world.start(&logged(), &words);
    assert_eq!(world.end().await.0, warm);
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut seen = BTreeSet::new();
    for _ in 0..AT_ONCE {
        world.start(&logged(), &words);
    }
    // The one before is counted by `next`, too.
    while seen.len() < RUNS {
        let (run, outcome) = world.end().await;
        assert_eq!(outcome, Outcome::Done(None));
        assert!(seen.insert(run), "told once");
        if world.next <= RUNS as u64 {
            world.start(&logged(), &words);
        }
    }
    assert_eq!(world.commands.running(), 0);
    // The others have descriptors too.
    assert!(descriptors() < before + RUNS / 10, "{before}, then {}", descriptors());
    let zombies = children().into_iter().filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains("(census)")
    });
    assert_eq!(zombies.count(), 0);
}
