//! Programs that an earlier process has started and that are still there.
//!
//! They are not our children any more, so nothing but `/proc` tells of them. What they are known by
//! is a variable of their environment, and the program that they began as: an id of a process says
//! nothing, since it may be another's by now. What they have started in sessions of its own inherits
//! the variable, and is left alone as long as it is another program. So is what another daemon has
//! started that is still there, and whatever we ourselves have been started by.
//!
//! A pidfd is opened before that is read for the last time, and all
//! signals go through it, so none reaches a process that has come in the place of the one that was
//! looked at. Before Linux 6.9 that holds for the leader of a group alone; the others of its group
//! are reached as long as it is there.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    os::fd::{AsRawFd, OwnedFd},
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

/// By what a program is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What its environment has: `NAME=value`.
    pub variable: Vec<u8>,
    /// The user whose process it is.
    pub user: u32,
    /// The program that it was started as. Of a script, its interpreter's words come before it.
    pub program: Vec<u8>,
}

/// A program that leads a session and a process group of its own, as [`super::spawn`] starts them.
#[derive(Debug)]
pub struct Stray {
    pid: Pid,
    pidfd: OwnedFd,
}

/// Finds the program of each mark; of several that have it, the one that was started first: the
/// others are its descendants.
///
/// # Errors
///
/// `/proc` cannot be listed. A process that cannot be looked at is not ours to end.
pub fn find(marks: &[Mark]) -> io::Result<Vec<Option<Stray>>> {
    let mut found: Vec<Option<(u64, i32)>> = marks.iter().map(|_| None).collect();
    let above = ancestors();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|it| it.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        if above.contains(&pid) {
            continue;
        }
        let Some(started) = leader_since(pid) else { continue };
        let Some(process) = Process::of(pid, marks) else { continue };
        let Some(at) = marks.iter().position(|it| it.is_of(&process)) else { continue };
        let this = (started, pid.as_raw_pid());
        found[at] = Some(found[at].map_or(this, |it| it.min(this)));
    }
    let found = found.into_iter().zip(marks);
    let open = found.map(|(it, mark)| it.and_then(|(started, pid)| open(pid, started, mark)));
    Ok(open.collect())
}

/// The process, if it is still the one that was found.
fn open(pid: i32, started: u64, mark: &Mark) -> Option<Stray> {
    let pid = Pid::from_raw(pid)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let stray = Stray { pid, pidfd };
    let is_it = leader_since(pid) == Some(started)
        && Process::of(pid, std::slice::from_ref(mark)).is_some_and(|it| mark.is_of(&it));
    // What was read just now was of this one if that has not ended meanwhile.
    (is_it && !stray.wait(Duration::ZERO).ok()?).then_some(stray)
}

/// What of a process says whose it is.
struct Process {
    user: u32,
    environment: Vec<u8>,
    command: Vec<u8>,
}

impl Process {
    /// A process of a user of one of the marks; of any other nothing is read that it could make large.
    fn of(pid: Pid, marks: &[Mark]) -> Option<Self> {
        let user = user_of(pid).filter(|user| marks.iter().any(|it| it.user == *user))?;
        if has_a_daemon(pid) {
            return None;
        }
        let (environment, command) = (read(pid, "environ")?, read(pid, "cmdline")?);
        Some(Self { user, environment, command })
    }
}

impl Mark {
    fn is_of(&self, process: &Process) -> bool {
        let name = |path: &[u8]| path.rsplit(|it| *it == b'/').next().unwrap_or_default().to_vec();
        let mut words = process.command.split(|it| *it == 0).take(3);
        self.user == process.user
            && process.environment.split(|it| *it == 0).any(|it| it == self.variable)
            && words.any(|it| name(it) == name(&self.program))
    }
}

/// Whether a process was started by another one of our own program that is still there: then nobody
/// has cut it off.
fn has_a_daemon(pid: Pid) -> bool {
    let program = |pid: Pid| fs::read_link(proc(pid, "exe")).ok();
    let own = rustix::process::getpid();
    parent_of(pid)
        .filter(|it| *it != own)
        .is_some_and(|it| program(it).is_some_and(|it| Some(it) == program(own)))
}

/// This process, and those that it was started by.
fn ancestors() -> Vec<Pid> {
    let mut all = vec![rustix::process::getpid()];
    while let Some(parent) = all.last().and_then(|it| parent_of(*it)) {
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
    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// Asks all processes of its group to end.
    ///
    /// # Errors
    ///
    /// Those of `pidfd_send_signal(2)`.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal_group(Signal::TERM)
    }

    /// Waits for its end, but no longer than until then, and ends all that is left of its group by
    /// force; before Linux 6.9 only if it had not ended by itself.
    ///
    /// # Errors
    ///
    /// It cannot be killed, or has not ended in spite of it.
    pub fn end(&self, deadline: Instant) -> io::Result<()> {
        let ended = self.wait(deadline.saturating_duration_since(Instant::now()))?;
        // The leader's own end is not that of all it has started.
        self.signal_group(Signal::KILL)?;
        if ended || self.wait(KILLED)? {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::TimedOut, "it does not end, although it was killed"))
    }

    fn signal_group(&self, signal: Signal) -> io::Result<()> {
        // SAFETY: pidfd_send_signal(2) reads no memory when its third argument is null.
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                signal.as_raw(),
                std::ptr::null::<libc::siginfo_t>(),
                libc::PIDFD_SIGNAL_PROCESS_GROUP,
            )
        };
        match if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) } {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            // Before Linux 6.9 groups are signalled by their number. As long as the leader is there,
            // that is its own.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                if self.wait(Duration::ZERO)? {
                    return Ok(());
                }
                match rustix::process::kill_process_group(self.pid, signal) {
                    Ok(()) | Err(Errno::SRCH) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            sent => sent,
        }
    }

    /// Whether it ends within that time.
    fn wait(&self, patience: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + patience;
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

/// When a process was started that leads its session and its group, in ticks since the boot; `None`
/// if it is none, or has ended.
fn leader_since(pid: Pid) -> Option<u64> {
    let stat = fs::read(proc(pid, "stat")).ok()?;
    leader_in(pid, &stat)
}

/// Who has started a process, or taken it over.
fn parent_of(pid: Pid) -> Option<Pid> {
    let stat = fs::read(proc(pid, "stat")).ok()?;
    Pid::from_raw(fields_of(&stat)?.get(1)?.parse().ok()?)
}

/// See `proc_pid_stat(5)`. The second field is a name in parentheses, with anything in it.
fn leader_in(pid: Pid, stat: &[u8]) -> Option<u64> {
    let fields = fields_of(stat)?;
    let is_own =
        |field: usize| fields.get(field)?.parse().ok().map(|it: i32| it == pid.as_raw_pid());
    let (group, session) = (is_own(2)?, is_own(3)?);
    let is_there = !matches!(*fields.first()?, "Z" | "X");
    let started = fields.get(19)?.parse().ok()?;
    (is_there && group && session).then_some(started)
}

/// The fields behind the name, from the third on.
fn fields_of(stat: &[u8]) -> Option<Vec<&str>> {
    let end = stat.iter().rposition(|it| *it == b')')?;
    let rest = str::from_utf8(stat.get(end + 1..)?).ok()?;
    Some(rest.split_ascii_whitespace().collect())
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
        Mark { variable, user, program: b"/usr/bin/sh".into() }
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
    fn what_has_a_mark_is_found_and_ended_with_its_group() {
        let mark = mark("ended with its group");
        let script = c"sleep 1000 & echo ready; wait";
        let (mut child, mut out) = shell(&mark, script);
        let found = find(std::slice::from_ref(&mark)).unwrap().remove(0).unwrap();
        assert_eq!(found.id(), child.id());
        found.terminate().unwrap();
        found.end(Instant::now() + PATIENCE).unwrap();
        assert_eq!(child.reap().unwrap(), Some(Ended::Signalled(15)));
        assert_eq!(out.read_line(&mut String::new()).unwrap(), 0, "the last of its group is gone");
        assert!(find(&[mark]).unwrap()[0].is_none());
    }

    #[test]
    fn what_does_not_end_is_killed() {
        let mark = mark("killed");
        let (mut child, mut out) =
            shell(&mark, c"trap '' TERM; echo ready; sleep 1000; sleep 1000");
        let found = find(&[mark]).unwrap().remove(0).unwrap();
        found.terminate().unwrap();
        found.end(Instant::now()).unwrap();
        assert_eq!(child.reap().unwrap(), Some(Ended::Signalled(9)));
        assert_eq!(out.read_line(&mut String::new()).unwrap(), 0);
    }

    #[test]
    fn of_several_the_first_is_meant_and_what_it_has_set_apart_is_left() {
        let mark = mark("the first");
        let (child, mut out) = shell(&mark, c"setsid sh -c 'echo ready; exec sleep 1000' & wait");
        let found = find(std::slice::from_ref(&mark)).unwrap().remove(0).unwrap();
        assert_eq!(found.id(), child.id());
        found.terminate().unwrap();
        found.end(Instant::now() + PATIENCE).unwrap();
        assert!(find(std::slice::from_ref(&mark)).unwrap()[0].is_none(), "that is another program");
        let apart = Mark { program: b"sleep".into(), ..mark };
        let apart = find(&[apart]).unwrap().remove(0).unwrap();
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
        let others = Mark { user: mark.user + 1, ..mark.clone() };
        let program = Mark { program: b"sleep".into(), ..mark.clone() };
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
        let leader = |line: String| leader_in(pid, line.as_bytes());
        assert_eq!(leader(line("sh", "S", 7, 7)), Some(4711));
        assert_eq!(leader(line("a) R 1 8 8 (", "S", 7, 7)), Some(4711));
        assert_eq!(leader(line("sh", "Z", 7, 7)), None);
        assert_eq!(leader(line("sh", "S", 7, 8)), None);
        assert_eq!(leader(line("sh", "S", 8, 8)), None);
        assert_eq!(leader("7 (sh) S 1 7 7".into()), None);
        assert_eq!(leader(String::new()), None);
    }
}
