//! Programs that an earlier process has started and that are still there.
//!
//! They are not our children any more, so nothing but `/proc` tells of them. Each began as the leader
//! of a session of its own, as [`super::spawn`] starts them, and all that it has started belongs to
//! that session, but for what has set itself apart (`setsid(2)`), which is left alone.
//!
//! # How a session is known again
//!
//! * By its **leader**, if it was written down: its process id, and when it was started. No two
//!   processes of a boot have both in common (`proc_pid_stat(5)`, field 22).
//! * If the leader has ended, by its **number**: the kernel gives no number away that is still a
//!   process's, a group's or a session's (`__change_pid()` in `kernel/pid.c` frees it when none of the
//!   four kinds of `enum pid_type` has a task). So as long as one process is there that was in the
//!   session once, all others with its number are too. For the first of them its environment has to
//!   speak: it has the variable that every command is given.
//! * By its **program**, where no leader was written down in time: the leader has the variable, the user, and is
//!   still what it began as.
//!
//! What another daemon has started that is still there is left alone, and so is the session of
//! whatever we ourselves have been started by.
//!
//! A signal goes through a pidfd that was opened before its process was looked at for the last time,
//! so none reaches a process that has come in the place of another.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, ErrorKind, Read},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    process::{Pid, PidfdFlags, Signal},
};

/// So long is waited for the end of what was killed. Longer it only takes what hangs in the kernel.
const KILLED: Duration = Duration::from_secs(5);

/// So much of an environment or a command line is read. Both are their process's own to set
/// (`PR_SET_MM_MAP` of `prctl(2)`), so they may be of any size; `execve(2)` takes 6 MiB.
const MOST: u64 = 8 << 20;

/// By what the session of a program is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What the environment of its processes has: `NAME=value`.
    pub variable: Vec<u8>,
    /// What its leader is known by.
    pub known: Known,
}

/// What the leader of a session is known by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It was written down which process that is.
    Leader(Leader),
    /// What it was started as, and still is; it has the variable, too.
    Program {
        /// The user whose process it is.
        user: u32,
        /// The program's name or path. Of a script, its interpreter's words come before it.
        name: Vec<u8>,
    },
}

/// A process that was started, by what no other one of the same boot has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leader {
    /// When it was started, in ticks since the boot: `proc_pid_stat(5)`, field 22.
    pub since: u64,
    /// Its process id.
    pub pid: u32,
}

/// A session that an earlier process has begun, and in which somebody is still there.
#[derive(Debug)]
pub struct Stray {
    session: Pid,
    variable: Vec<u8>,
    /// Processes that were in it once. While one of them is, its number is no other's.
    known: BTreeSet<Leader>,
    /// Those of its number that are known to have ended.
    ended: BTreeSet<Leader>,
    /// The first process that was found in it.
    first: u32,
}

/// Finds the session of each mark. Of several programs that have a mark, the one that was started
/// first is meant: the others are its descendants. A session is found once, by its leader first.
///
/// # Errors
///
/// `/proc` cannot be listed. A process that cannot be looked at is not ours to end.
pub fn find(marks: &[Mark]) -> io::Result<Vec<Option<Stray>>> {
    let own = ancestors().into_iter().filter_map(|it| Some(Stat::of(it)?.session));
    // Of these none is to be found, or found again.
    let mut taken: BTreeSet<i32> = own.collect();
    let mut found = Vec::new();
    for mark in marks {
        found.push(match mark.known {
            Known::Leader(leader) => Stray::begun_by(leader, mark, &mut taken)?,
            Known::Program { .. } => None,
        });
    }
    for (at, leader) in by_program(marks, &taken)?.into_iter().enumerate() {
        if let Some(leader) = leader {
            found[at] = Stray::begun_by(leader, &marks[at], &mut taken)?;
        }
    }
    Ok(found)
}

/// The leaders that are known by what they are.
fn by_program(marks: &[Mark], taken: &BTreeSet<i32>) -> io::Result<Vec<Option<Leader>>> {
    let mut found: Vec<Option<Leader>> = marks.iter().map(|_| None).collect();
    for (pid, stat) in processes()? {
        if taken.contains(&stat.session) || !stat.leads(pid) {
            continue;
        }
        let Some(process) = Process::of(pid, &stat, marks) else { continue };
        let Some(at) = marks.iter().position(|it| it.is_of(&process)) else { continue };
        let this = Leader { since: stat.since, pid: number(pid) };
        found[at] = Some(found[at].map_or(this, |it| it.min(this)));
    }
    Ok(found)
}

/// What of a process says whose it is.
struct Process {
    user: u32,
    environment: Vec<u8>,
    command: Vec<u8>,
}

impl Process {
    /// A process of a user of one of the marks; of any other nothing is read that it could make large.
    fn of(pid: Pid, stat: &Stat, marks: &[Mark]) -> Option<Self> {
        let is_of =
            |mark: &Mark, it: u32| matches!(mark.known, Known::Program { user, .. } if user == it);
        let user = user_of(pid).filter(|user| marks.iter().any(|it| is_of(it, *user)))?;
        if has_a_daemon(stat) {
            return None;
        }
        let (environment, command) = (read(pid, "environ")?, read(pid, "cmdline")?);
        Some(Self { user, environment, command })
    }
}

impl Mark {
    fn is_of(&self, process: &Process) -> bool {
        let last = |path: &[u8]| path.rsplit(|it| *it == b'/').next().unwrap_or_default().to_vec();
        let mut words = process.command.split(|it| *it == 0).take(3);
        match &self.known {
            Known::Leader(_) => false,
            Known::Program { user, name } => {
                process.user == *user
                    && has(&process.environment, &self.variable)
                    && words.any(|it| last(it) == last(name))
            }
        }
    }
}

fn has(environment: &[u8], variable: &[u8]) -> bool {
    environment.split(|it| *it == 0).any(|it| it == variable)
}

/// Whether a process was started by another one of our own program that is still there: then nobody
/// has cut it off.
fn has_a_daemon(stat: &Stat) -> bool {
    let program = |pid: Pid| fs::read_link(proc(pid, "exe")).ok();
    let own = rustix::process::getpid();
    Pid::from_raw(stat.parent)
        .filter(|it| *it != own)
        .is_some_and(|it| program(it).is_some_and(|it| Some(it) == program(own)))
}

/// This process, and those that it was started by.
fn ancestors() -> Vec<Pid> {
    let mut all = vec![rustix::process::getpid()];
    while let Some(parent) =
        all.last().and_then(|it| Stat::of(*it)).and_then(|it| Pid::from_raw(it.parent))
    {
        if all.contains(&parent) {
            break;
        }
        all.push(parent);
    }
    all
}

fn read(pid: Pid, file: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(proc(pid, file)).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

impl Stray {
    /// The session that this process has begun, if it is not taken and somebody is there. Then it is
    /// taken.
    fn begun_by(
        leader: Leader,
        mark: &Mark,
        taken: &mut BTreeSet<i32>,
    ) -> io::Result<Option<Self>> {
        let Some(session) = i32::try_from(leader.pid).ok().and_then(Pid::from_raw) else {
            return Ok(None);
        };
        let is_led = Stat::of(session).filter(|it| it.since == leader.since);
        if taken.contains(&session.as_raw_pid()) || is_led.is_some_and(|it| has_a_daemon(&it)) {
            return Ok(None);
        }
        let (variable, known) = (mark.variable.clone(), BTreeSet::from([leader]));
        let (first, ended) = (leader.pid, BTreeSet::new());
        let mut stray = Self { session, variable, known, ended, first };
        let mut first = None;
        stray.each(|it| {
            first.get_or_insert(it.id().pid);
            Ok(())
        })?;
        taken.extend(first.map(|_| session.as_raw_pid()));
        Ok(first.map(|first| Self { first, ..stray }))
    }

    /// The id of the first of its processes.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.first
    }

    /// Asks all its processes to end.
    ///
    /// # Errors
    ///
    /// One cannot be asked, or `/proc` cannot be listed.
    pub fn terminate(&mut self) -> io::Result<()> {
        let mut asked = BTreeSet::new();
        loop {
            // Who was started while the others were asked is found by another look.
            let before = asked.len();
            self.each(|it| if asked.insert(it.id()) { it.signal(Signal::TERM) } else { Ok(()) })?;
            if asked.len() == before {
                return Ok(());
            }
        }
    }

    /// Waits for the end of all its processes, but no longer than until then, and ends those that are
    /// left by force.
    ///
    /// # Errors
    ///
    /// One cannot be killed, or has not ended in spite of it.
    pub fn end(&mut self, deadline: Instant) -> io::Result<()> {
        if self.wait(deadline)? {
            return Ok(());
        }
        let mut killed = BTreeSet::new();
        let deadline = Instant::now() + KILLED;
        while self.each(|it| {
            killed.insert(it.id());
            it.signal(Signal::KILL)
        })? {
            if Instant::now() >= deadline {
                let error = "it does not end, although it was killed";
                return Err(io::Error::new(ErrorKind::TimedOut, error));
            }
            // Who was started meanwhile is not waited for, but killed.
            self.each(|it| {
                if killed.contains(&it.id()) {
                    it.ends_by(deadline)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Whether nobody is there any more by then.
    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        loop {
            let mut ended = true;
            let any = self.each(|it| {
                ended &= it.ends_by(deadline)?;
                Ok(())
            })?;
            if !any || !ended {
                return Ok(ended);
            }
        }
    }

    /// Does something with each of its processes that has not ended, those first that were started
    /// first: a shell whose command is ended would go on with the next. Gives back whether there was
    /// any.
    fn each(&mut self, mut act: impl FnMut(&Member) -> io::Result<()>) -> io::Result<bool> {
        loop {
            let here = self.session.as_raw_pid();
            let listed = processes()?.filter(|(_, stat)| stat.session == here);
            let listed: BTreeSet<(u64, i32)> =
                listed.map(|(pid, stat)| (stat.since, pid.as_raw_pid())).collect();
            let (mut any, mut done, mut ended) = (false, Ok(()), false);
            for (since, pid) in listed {
                let Some(pid) = Pid::from_raw(pid) else { continue };
                match self.open(pid, since)? {
                    Found::Member(member) => {
                        any = true;
                        self.known.insert(member.id());
                        done = done.and(act(&member));
                    }
                    Found::Ended => ended |= self.ended.insert(Leader { since, pid: number(pid) }),
                    Found::Other => (),
                }
            }
            // Who has ended since the list was begun may have started another one that is not in it.
            if any || !ended {
                return done.map(|()| any);
            }
        }
    }

    /// A process, if it is the one that was started then, belongs to the session, and has not ended.
    fn open(&self, pid: Pid, since: u64) -> io::Result<Found> {
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(Errno::SRCH | Errno::INVAL) => return Ok(Found::Ended),
            Err(error) => return Err(error.into()),
        };
        let member = Member { pid, since, pidfd };
        let session = self.session.as_raw_pid();
        let is_it = Stat::of(pid).is_some_and(|it| (it.since, it.session) == (since, session));
        let is_ours = is_it && (self.is_there() || self.is_marked(pid));
        // What was read just now was of this one if it has not ended meanwhile.
        Ok(match member.ends_by(Instant::now())? {
            true => Found::Ended,
            false if is_ours => Found::Member(member),
            false => Found::Other,
        })
    }

    /// Whether anybody is still in it who was in it before, though it be as a zombie.
    fn is_there(&self) -> bool {
        let session = self.session.as_raw_pid();
        self.known.iter().any(|it| {
            let stat = i32::try_from(it.pid).ok().and_then(Pid::from_raw).and_then(Stat::of);
            stat.is_some_and(|stat| (stat.since, stat.session) == (it.since, session))
        })
    }

    /// Whether a process is known by its environment, and the session's number is not another's.
    fn is_marked(&self, pid: Pid) -> bool {
        Stat::of(self.session).is_none()
            && read(pid, "environ").is_some_and(|it| has(&it, &self.variable))
    }
}

/// What has become of a process that was listed.
enum Found {
    Member(Member),
    Ended,
    /// It belongs to another session, or nobody knows to which.
    Other,
}

/// A process of a session, as long as it is not let go.
struct Member {
    pid: Pid,
    since: u64,
    pidfd: OwnedFd,
}

impl Member {
    fn id(&self) -> Leader {
        Leader { since: self.since, pid: number(self.pid) }
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it has ended by then.
    fn ends_by(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
            match rustix::event::poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&left)) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => (),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// What `proc_pid_stat(5)` tells of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Whether it is more than a zombie.
    lives: bool,
    parent: i32,
    group: i32,
    session: i32,
    pub(super) since: u64,
}

impl Stat {
    pub(super) fn of(pid: Pid) -> Option<Self> {
        // The fields up to the one for the start are never more, and are read in one go: this is done
        // for every command.
        let mut line = [0; 1024];
        let read = File::open(proc(pid, "stat")).ok()?.read(&mut line).ok()?;
        Self::parse(&line[..read])
    }

    /// The second field is a name in parentheses, with anything in it.
    fn parse(line: &[u8]) -> Option<Self> {
        let end = line.iter().rposition(|it| *it == b')')?;
        let rest = str::from_utf8(line.get(end + 1..)?).ok()?;
        // From the third on.
        let fields: Vec<&str> = rest.split_ascii_whitespace().take(20).collect();
        let number = |at: usize| fields.get(at)?.parse().ok();
        Some(Self {
            lives: !matches!(*fields.first()?, "Z" | "X"),
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            since: fields.get(19)?.parse().ok()?,
        })
    }

    /// Whether this is of a process that leads its session and its group.
    fn leads(&self, pid: Pid) -> bool {
        let pid = pid.as_raw_pid();
        self.lives && (self.group, self.session) == (pid, pid)
    }
}

/// All processes that can be looked at.
fn processes() -> io::Result<impl Iterator<Item = (Pid, Stat)>> {
    let entries = fs::read_dir("/proc")?.collect::<io::Result<Vec<_>>>()?;
    let numbers = entries.into_iter().filter_map(|it| it.file_name().to_str()?.parse().ok());
    Ok(numbers.filter_map(Pid::from_raw).filter_map(|pid| Some((pid, Stat::of(pid)?))))
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_pid().unsigned_abs()
}

/// The user that it belongs to, whatever it may do as another.
fn user_of(pid: Pid) -> Option<u32> {
    let status = fs::read(proc(pid, "status")).ok()?;
    let line = status.split(|it| *it == b'\n').find_map(|it| it.strip_prefix(b"Uid:"))?;
    str::from_utf8(line).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

fn proc(pid: Pid, file: &str) -> String {
    format!("/proc/{}/{file}", pid.as_raw_pid())
}

#[cfg(test)]
mod tests {
    use std::{
        ffi::{CStr, CString},
        io::{BufRead, BufReader, PipeReader},
        os::fd::AsFd,
    };

    use super::*;
    use crate::process::{Child, Ended, Spawn, spawn};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn mark(name: &str) -> Mark {
        let user = rustix::process::getuid().as_raw();
        // Those of another run of these tests are not meant.
        let variable = format!("PYINOTIFYD_TEST={name} {}", std::process::id()).into();
        Mark { variable, known: Known::Program { user, name: b"/usr/bin/sh".into() } }
    }

    /// The same, known by its leader.
    fn led_by(child: &Child, mark: &Mark) -> Mark {
        led(child.leader().unwrap(), mark)
    }

    fn led(leader: Leader, mark: &Mark) -> Mark {
        Mark { known: Known::Leader(leader), variable: mark.variable.clone() }
    }

    /// The same, of another user or another program.
    fn of(mark: Mark, user: Option<u32>, name: &str) -> Mark {
        let user = user.unwrap_or_else(|| rustix::process::getuid().as_raw());
        Mark { known: Known::Program { user, name: name.into() }, ..mark }
    }

    fn found(mark: &Mark) -> Option<Stray> {
        find(std::slice::from_ref(mark)).unwrap().remove(0)
    }

    /// Until it has ended; its number is free then.
    fn reap(child: &mut Child) {
        child.wait().unwrap();
    }

    /// A shell with that mark, once it has said that it is ready.
    fn shell(mark: &Mark, script: &CStr) -> (Child, BufReader<PipeReader>) {
        let null = File::open("/dev/null").unwrap();
        let (out, writer) = io::pipe().unwrap();
        let variable = CString::new(mark.variable.clone()).unwrap();
        let child = spawn(&Spawn {
            program: c"/bin/sh",
            argv: &[c"sh", c"-c", script],
            env: &[c"PATH=/usr/bin:/bin", &variable],
            cwd: None,
            stdio: [null.as_fd(), writer.as_fd(), null.as_fd()],
            report: None,
        });
        drop(writer);
        let mut out = BufReader::new(out);
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        (child.unwrap(), out)
    }

    #[test]
    fn what_has_a_mark_is_found_and_ended_with_all_its_session() {
        let mark = mark("ended with its session");
        // One is in another group.
        let script = c"set -m; sleep 1000 & set +m; sleep 1000 & echo ready; wait";
        let (mut child, mut out) = shell(&mark, script);
        let mut stray = found(&mark).unwrap();
        assert_eq!(stray.id(), child.id());
        stray.terminate().unwrap();
        stray.end(Instant::now() + PATIENCE).unwrap();
        assert_eq!(child.reap().unwrap(), Some(Ended::Signalled(15)));
        assert_eq!(
            out.read_line(&mut String::new()).unwrap(),
            0,
            "the last of its session is gone"
        );
        assert!(found(&mark).is_none());
    }

    #[test]
    fn what_does_not_end_is_killed() {
        let mark = mark("killed");
        let script = c"trap '' TERM; echo ready; sleep 1000; sleep 1000";
        let (mut child, mut out) = shell(&mark, script);
        let mut stray = found(&led_by(&child, &mark)).unwrap();
        stray.terminate().unwrap();
        stray.end(Instant::now()).unwrap();
        assert_eq!(child.reap().unwrap(), Some(Ended::Signalled(9)));
        assert_eq!(out.read_line(&mut String::new()).unwrap(), 0);
    }

    #[test]
    fn a_leader_that_was_written_down_is_found_whatever_it_has_become() {
        let mark = mark("become another");
        let script = c"exec env -i /bin/sh -c 'sleep 1000 & echo ready; exec sleep 1000'";
        let (mut child, mut out) = shell(&mark, script);
        assert!(found(&mark).is_none(), "nothing of what it was is left");
        let mut stray = found(&led_by(&child, &mark)).unwrap();
        assert_eq!(stray.id(), child.id());
        stray.terminate().unwrap();
        stray.end(Instant::now() + PATIENCE).unwrap();
        assert_eq!(child.reap().unwrap(), Some(Ended::Signalled(15)));
        assert_eq!(out.read_line(&mut String::new()).unwrap(), 0);
    }

    #[test]
    fn what_a_leader_has_left_is_found_by_its_session_and_its_environment() {
        let mark = mark("left");
        let script = c"(trap '' TERM; echo ready; sleep 1000; true) & exec sleep 0";
        let (mut child, mut out) = shell(&mark, script);
        let led = led_by(&child, &mark);
        reap(&mut child);
        assert!(found(&mark).is_none(), "the program is gone");
        let other = Mark { variable: b"PYINOTIFYD_TEST=another".into(), ..led.clone() };
        assert!(found(&other).is_none(), "it may be anybody's");
        let mut stray = found(&led).unwrap();
        assert_ne!(stray.id(), child.id());
        stray.terminate().unwrap();
        stray.end(Instant::now()).unwrap();
        assert_eq!(out.read_line(&mut String::new()).unwrap(), 0);
    }

    #[test]
    fn what_is_started_while_others_are_ended_is_ended_too() {
        let mark = mark("more and more");
        // Each ends by having started another one, without anything in its environment.
        let script =
            c"trap 'env -i /bin/sh -c \"trap : TERM; while :; do sleep 1; done\" & exit' TERM
            echo ready; while :; do sleep 1; done";
        let (mut child, mut out) = shell(&mark, script);
        let mut stray = found(&led_by(&child, &mark)).unwrap();
        stray.terminate().unwrap();
        stray.end(Instant::now()).unwrap();
        reap(&mut child);
        assert_eq!(out.read_line(&mut String::new()).unwrap(), 0);
    }

    #[test]
    fn who_has_the_number_of_a_leader_by_now_is_left_alone() {
        let mark = mark("another's number");
        let (child, _out) = shell(&mark, c"sleep 1000 & echo ready; wait");
        let leader = child.leader().unwrap();
        for since in [leader.since - 1, leader.since + 1] {
            let other = led(Leader { since, ..leader }, &mark);
            assert!(found(&other).is_none(), "though it has the variable");
        }
        // Nor is it taken for another number's.
        assert!(found(&led(Leader { pid: 1, ..leader }, &mark)).is_none());
        assert!(found(&led(leader, &mark)).is_some());
    }

    #[test]
    fn what_was_not_written_down_in_time_is_found_by_its_program() {
        let mark = mark("not written down");
        let (child, _out) = shell(&mark, c"echo ready; sleep 1000; true");
        // The one before it in the same run was.
        let before = led(Leader { since: 1, pid: child.id() }, &mark);
        let found = find(&[before, mark.clone()]).unwrap();
        let ids = |found: Vec<Option<Stray>>| -> Vec<Option<u32>> {
            found.iter().map(|it| it.as_ref().map(Stray::id)).collect()
        };
        assert_eq!(ids(found), [None, Some(child.id())]);
        // What is known by both is found once.
        let found = find(&[mark.clone(), led_by(&child, &mark)]).unwrap();
        assert_eq!(ids(found), [None, Some(child.id())]);
    }

    /// Asked in a session of its own: whoever leads that of these tests may have ended, or be outside
    /// of their PID namespace.
    #[test]
    fn our_own_session_is_left_alone() {
        const INSIDE: &str = "PYINOTIFYD_TEST_LEADS_ITS_SESSION";
        if std::env::var_os(INSIDE).is_some() {
            let own = rustix::process::getpid();
            let stat = Stat::of(own).unwrap();
            assert!(stat.leads(own));
            let leader = Leader { since: stat.since, pid: number(own) };
            assert!(found(&led(leader, &mark("ours"))).is_none());
            return;
        }
        let program = std::env::current_exe().unwrap().into_os_string().into_encoded_bytes();
        let null = File::open("/dev/null").unwrap();
        let (mut out, writer) = io::pipe().unwrap();
        let mut child = spawn(&Spawn {
            program: &CString::new(program).unwrap(),
            argv: &[
                c"tests",
                c"--exact",
                c"process::strays::tests::our_own_session_is_left_alone",
                c"--nocapture",
            ],
            env: &[&CString::new(format!("{INSIDE}=1")).unwrap()],
            cwd: None,
            stdio: [null.as_fd(), writer.as_fd(), writer.as_fd()],
            report: None,
        })
        .unwrap();
        drop(writer);
        let mut told = String::new();
        out.read_to_string(&mut told).unwrap();
        let ended = child.wait_timeout(PATIENCE).unwrap();
        assert_eq!(ended, Some(Ended::Exited(0)), "{told}");
        assert!(told.contains("1 passed"), "{told}");
    }

    #[test]
    fn of_several_the_first_is_meant_and_what_it_has_set_apart_is_left() {
        let mark = mark("the first");
        let (child, mut out) = shell(&mark, c"setsid sh -c 'echo ready; exec sleep 1000' & wait");
        let mut stray = found(&mark).unwrap();
        assert_eq!(stray.id(), child.id());
        stray.terminate().unwrap();
        stray.end(Instant::now() + PATIENCE).unwrap();
        // It has said that it is ready just before it became another program.
        let mut apart = loop {
            if let Some(apart) = found(&of(mark.clone(), None, "sleep")) {
                break apart;
            }
            std::thread::yield_now();
        };
        assert!(found(&mark).is_none(), "that is another program");
        assert_ne!(apart.id(), child.id());
        apart.terminate().unwrap();
        apart.end(Instant::now() + PATIENCE).unwrap();
        assert_eq!(out.read_line(&mut String::new()).unwrap(), 0);
    }

    #[test]
    fn of_another_mark_or_another_user_nothing_is_found() {
        let mark = mark("of ours");
        let (child, _out) = shell(&mark, c"echo ready; sleep 1000; true");
        let longer = Mark { variable: [&mark.variable[..], b"x"].concat(), ..mark.clone() };
        let shorter = Mark { variable: mark.variable[..20].into(), ..mark.clone() };
        let others = of(mark.clone(), Some(rustix::process::getuid().as_raw() + 1), "sh");
        let program = of(mark.clone(), None, "sleep");
        let found = find(&[longer, shorter, others, program, mark]).unwrap();
        let found: Vec<_> = found.iter().map(|it| it.as_ref().map(Stray::id)).collect();
        assert_eq!(found, [None, None, None, None, Some(child.id())]);
    }

    #[test]
    fn a_line_of_stat_is_understood_whatever_the_name_is() {
        let pid = Pid::from_raw(7).unwrap();
        let line = |name: &str, state: &str, group: u32, session: u32| {
            format!(
                "7 ({name}) {state} 1 {group} {session} 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 4711 5\n"
            )
        };
        let stat = |line: String| Stat::parse(line.as_bytes());
        let leads = |line: String| stat(line).is_some_and(|it| it.leads(pid));
        let expected = Stat { lives: true, parent: 1, group: 7, session: 7, since: 4711 };
        assert_eq!(stat(line("sh", "S", 7, 7)), Some(expected));
        assert_eq!(stat(line("a) R 1 8 8 (", "S", 7, 7)), Some(expected));
        assert!(leads(line("sh", "S", 7, 7)));
        assert!(!leads(line("sh", "Z", 7, 7)));
        assert!(!leads(line("sh", "S", 7, 8)));
        assert!(!leads(line("sh", "S", 8, 8)));
        assert_eq!(stat("7 (sh) S 1 7 7".into()), None);
        assert_eq!(stat(String::new()), None);
    }
}
