//! Programs that an earlier process has started and that are still there.
//!
//! They are not our children any more, so nothing but `/proc` tells of them. What they are known by
//! is a variable of their environment that nobody else's has: an id of a process says nothing, since
//! it may be another's by now. A pidfd is opened before that is read for the last time, and all
//! signals go through it, so none reaches a process that has come in the place of the one that was
//! looked at. Before Linux 6.9 that holds for the leader of a group alone; the others of its group
//! are reached as long as it is there.

use std::{
    fs,
    io::{self, ErrorKind},
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

/// By what a program is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What its environment has: `NAME=value`.
    pub variable: Vec<u8>,
    /// The users whose process it may be.
    pub users: Vec<u32>,
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
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|it| it.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        let Some(started) = leader_since(pid) else { continue };
        let Some(at) = marks.iter().position(|it| it.is_of(pid)) else { continue };
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
    let is_it = leader_since(pid) == Some(started) && mark.is_of(pid);
    // What was read just now was of this one if that has not ended meanwhile.
    (is_it && !stray.wait(Duration::ZERO).ok()?).then_some(stray)
}

impl Mark {
    fn is_of(&self, pid: Pid) -> bool {
        let Ok(environment) = fs::read(proc(pid, "environ")) else { return false };
        environment.split(|it| *it == 0).any(|it| it == self.variable)
            && user_of(pid).is_some_and(|it| self.users.contains(&it))
    }
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

/// See `proc_pid_stat(5)`. The second field is a name in parentheses, with anything in it.
fn leader_in(pid: Pid, stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|it| *it == b')')?;
    let rest = str::from_utf8(stat.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let is_own =
        |field: usize| fields.get(field)?.parse().ok().map(|it: i32| it == pid.as_raw_pid());
    let (group, session) = (is_own(2)?, is_own(3)?);
    let is_there = !matches!(*fields.first()?, "Z" | "X");
    let started = fields.get(19)?.parse().ok()?;
    (is_there && group && session).then_some(started)
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
        fs::File,
        io::{BufRead, BufReader, PipeReader},
        os::fd::AsFd,
    };

    use super::*;
    use crate::process::{Child, Ended, Spawn, spawn};

    const PATIENCE: Duration = Duration::from_secs(60);

    fn mark(name: &str) -> Mark {
        let users = vec![rustix::process::getuid().as_raw()];
        Mark { variable: format!("PYINOTIFYD_TEST={name}").into(), users }
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
        let apart = find(&[mark]).unwrap().remove(0).unwrap();
        assert_ne!(apart.id(), child.id());
        apart.terminate().unwrap();
        apart.end(Instant::now() + PATIENCE).unwrap();
        assert_eq!(out.read_line(&mut String::new()).unwrap(), 0);
    }

    #[test]
    fn of_another_mark_or_another_user_nothing_is_found() {
        let mark = mark("of ours");
        let (child, _out) = shell(&mark, c"echo ready; exec sleep 1000");
        let longer = Mark { variable: [&mark.variable[..], b"x"].concat(), ..mark.clone() };
        let shorter = Mark { variable: mark.variable[..20].into(), ..mark.clone() };
        let others = Mark { users: vec![mark.users[0] + 1], ..mark.clone() };
        let found = find(&[longer, shorter, others, mark]).unwrap();
        let found: Vec<_> = found.iter().map(|it| it.as_ref().map(Stray::id)).collect();
        assert_eq!(found, [None, None, None, Some(child.id())]);
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
