//! Starting a program, waiting for it, and ending it.
//!
//! [`spawn`] is `posix_spawn(3)`: its cost does not grow with the daemon's memory, as that of
//! `fork(2)` does (43 ms against 0.8 ms at 1 GiB). `std::process::Command` takes the same path
//! only as long as nothing unusual is asked, and even then leaves to the child which signals are
//! ignored; here the child begins with an empty signal mask, every signal at its default, a
//! session of its own, and the descriptors that it was given, whatever the daemon does.
//!
//! A [`Child`] is known by its pidfd. Signals go to its process group, and only while its leader
//! has not been reaped: until then neither the process id nor the group's can name anything else.
//!
//! What needs a privilege or lasts over `execve(2)` (user, limits, niceness, mask) is not done
//! between fork and exec but by a small process of its own: see [`identity`] and [`limits`].
//!
//! What the daemon has to keep to:
//!
//! * `SIGCHLD` is not ignored, or the kernel reaps children by itself and their status is lost.
//!   [`reset_signals`] sees to it.
//! * Nobody calls `wait(2)` for any child, but for those that [`adopted`] knows not to be ours.
//! * Descriptors are opened with `O_CLOEXEC`. Those that the daemon was started with are dealt
//!   with by [`seal_descriptors`].

pub mod adopted;
pub mod identity;
pub mod limits;
pub mod strays;

use std::{
    ffi::{CStr, c_char, c_int, c_short},
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    ptr,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions},
};

use self::strays::{Leader, Stat};
use crate::errno;

/// The descriptor as which [`Spawn::report`] is given.
pub const REPORT_FD: RawFd = 3;

/// A program to start.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// Its path; not searched for. A relative one is taken from `cwd`.
    pub program: &'a CStr,
    /// Its arguments, its own name first.
    pub argv: &'a [&'a CStr],
    /// Its environment, all of it: `NAME=value`.
    pub env: &'a [&'a CStr],
    /// Working directory; `None`: the daemon's.
    pub cwd: Option<&'a CStr>,
    /// Standard input, output and error.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Given as descriptor [`REPORT_FD`], which is open in the program too.
    pub report: Option<BorrowedFd<'a>>,
}

/// Why a program was not started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// `posix_spawn(3)` failed: out of processes or memory, the working directory cannot be
    /// entered, or the program cannot be executed. The kernel does not say which.
    #[error("posix_spawn: {}", errno::words(.0))]
    Spawn(#[source] io::Error),
    /// `pidfd_open(2)` failed; the program had been started and was killed.
    #[error("pidfd_open: {}", errno::words(.0))]
    Watch(#[source] io::Error),
}

impl SpawnError {
    /// The error number.
    #[must_use]
    pub fn errno(&self) -> Errno {
        let (Self::Spawn(error) | Self::Watch(error)) = self;
        Errno::from_io_error(error).unwrap_or(Errno::IO)
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

/// A started program: the leader of a session and of a process group.
///
/// Readable (as a descriptor) as soon as the leader has ended. Dropped unreaped, it is killed with
/// its group.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    /// Whether its process id may by now name another process.
    reaped: bool,
}

/// Starts a program, in a session of its own and with nothing of the daemon's signal handling.
///
/// Blocks until the program has been loaded, or has failed to be: on a file system that hangs,
/// that is for ever. Threads but the caller's go on.
pub fn spawn(spawn: &Spawn<'_>) -> Result<Child, SpawnError> {
    // So that pidfd_open does not fail for want of a descriptor when the program runs already.
    let reserve = spawn.stdio[0].try_clone_to_owned().map_err(SpawnError::Spawn)?;
    let pid = adopted::start(|| posix_spawn(spawn)).map_err(SpawnError::Spawn)?;
    drop(reserve);
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Child { pid, pidfd, reaped: false }),
        Err(error) => {
            // Neither can fail: the child is ours and unreaped.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            let _ = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            adopted::forget(pid);
            Err(SpawnError::Watch(error.into()))
        }
    }
}

impl Child {
    /// Process id, session id and process group id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid.as_raw_pid().unsigned_abs()
    }

    /// By what it is known as long as the machine runs; `None`: that cannot be read, or it was reaped.
    #[must_use]
    pub fn leader(&self) -> Option<Leader> {
        let stat = (!self.reaped).then(|| Stat::of(self.pid)).flatten()?;
        Some(Leader { since: stat.since, pid: self.id() })
    }

    /// Asks all processes of the group to end. Does nothing when the child was reaped.
    ///
    /// A leader that has ended, but was not reaped, keeps the group's id from being used again, so
    /// what it left behind can still be reached.
    pub fn terminate_group(&self) -> io::Result<()> {
        self.signal_group(Signal::TERM)
    }

    /// Ends all processes of the group. Does nothing when the child was reaped.
    pub fn kill_group(&self) -> io::Result<()> {
        self.signal_group(Signal::KILL)
    }

    fn signal_group(&self, signal: Signal) -> io::Result<()> {
        if self.reaped {
            return Ok(());
        }
        match rustix::process::kill_process_group(self.pid, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the leader has ended, reaped or not.
    pub fn has_ended(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(self.reaped || self.status(options)?.is_some())
    }

    /// How the leader ended, and forgets it; `None` if it runs.
    ///
    /// From here on the group cannot be signalled any more.
    pub fn reap(&mut self) -> io::Result<Option<Ended>> {
        let ended = self.status(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
        if ended.is_some() {
            self.forget();
        }
        Ok(ended)
    }

    /// Waits until the leader has ended, and forgets it.
    pub fn wait(&mut self) -> io::Result<()> {
        if !self.reaped {
            self.status(WaitIdOptions::EXITED)?;
            self.forget();
        }
        Ok(())
    }

    /// Waits until the leader has ended, but no longer than this, and forgets it if it has.
    pub fn wait_timeout(&mut self, patience: Duration) -> io::Result<Option<Ended>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(ended) = self.reap()? {
                return Ok(Some(ended));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
            match rustix::event::poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&left)) {
                Ok(_) | Err(Errno::INTR) => (),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn forget(&mut self) {
        self.reaped = true;
        adopted::forget(self.pid);
    }

    fn status(&self, options: WaitIdOptions) -> io::Result<Option<Ended>> {
        let status = rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options)?;
        Ok(status.map(|status| match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ended::Exited(code),
            (None, Some(signal)) => Ended::Signalled(signal),
            (None, None) => unreachable!("only WEXITED was asked for"),
        }))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped && self.kill_group().is_ok() {
            // What cannot be reaped at once becomes init's with the daemon's own end.
            let _ = self.reap();
        }
        if !self.reaped {
            adopted::forget(self.pid);
        }
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl AsRawFd for Child {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

/// Lets no program inherit the descriptors that this process was started with, but the first
/// three. Once, at the start, before any other thread opens anything.
pub fn seal_descriptors() -> io::Result<()> {
    const FIRST: u32 = 3;
    // SAFETY: close_range(2) with CLOSE_RANGE_CLOEXEC touches no memory and closes nothing.
    let sealed =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if sealed == 0 {
        return Ok(());
    }
    // Linux 5.10 has the call, but not the flag.
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(fd) = name.to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        if fd >= REPORT_FD {
            set_cloexec(fd)?;
        }
    }
    Ok(())
}

/// Lets no program inherit [`REPORT_FD`], by whatever it was given.
pub fn seal_report() -> io::Result<()> {
    set_cloexec(REPORT_FD)
}

/// Writes to [`REPORT_FD`], all of it or nothing if it is a pipe and at most `PIPE_BUF`, 4,096
/// bytes.
pub fn write_report(text: &[u8]) -> io::Result<()> {
    // SAFETY: borrowed for one write; if nothing is open there, that fails with EBADF.
    let fd = unsafe { BorrowedFd::borrow_raw(REPORT_FD) };
    Ok(rustix::io::write(fd, text).map(drop)?)
}

/// How many bytes can be read from a pipe at once, without waiting for a writer.
pub fn pending(pipe: impl AsFd) -> io::Result<usize> {
    let count = rustix::io::ioctl_fionread(pipe)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

fn set_cloexec(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_SETFD touches no memory; on a descriptor that is not open it fails with EBADF.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Undoes what a careless parent left: an ignored `SIGCHLD`, blocked signals. Once, at the start,
/// before there is a second thread (which would keep the old mask).
pub fn reset_signals() -> io::Result<()> {
    // SAFETY: SIG_DFL is no handler, so nothing runs in a signal's context; the call cannot fail
    // for SIGCHLD.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let none = no_signals();
    // SAFETY: `none` is an initialized set, and a null pointer says that the old one is not asked.
    match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Becomes this program, with `SIGPIPE` (which Rust ignores) at its default. Gives the reason why
/// it could not.
#[must_use]
pub fn exec(program: &CStr, argv: &[&CStr]) -> io::Error {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let argv = pointers(argv);
    // SAFETY: SIG_DFL is no handler, and SIGPIPE takes it.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // SAFETY: `program` and the elements of `argv` end with NUL and outlive the call, `argv` ends
    // with a null pointer, and no other thread of this process changes `environ`.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), environ) };
    io::Error::last_os_error()
}

/// How many bytes the arguments and the environment of a program may take together, their
/// terminators and pointers included (`execve(2)`, "Limits on size of arguments and environment").
/// `stack` is the program's `RLIMIT_STACK`, if it is not the daemon's.
#[must_use]
pub fn argument_space(stack: Option<u64>) -> usize {
    /// `ARG_MAX` in `linux/limits.h`: granted even if a quarter of the stack is less.
    const LEAST: u64 = 128 * 1024;
    /// Three quarters of `_STK_LIM`, 8 MiB: not more even if the stack is unlimited.
    const MOST: u64 = 6 * 1024 * 1024;
    let stack = stack
        .or_else(|| rustix::process::getrlimit(rustix::process::Resource::Stack).current)
        .unwrap_or(u64::MAX);
    usize::try_from((stack / 4).clamp(LEAST, MOST)).unwrap_or(usize::MAX)
}

/// How long one argument or one variable may be, its terminator included: `MAX_ARG_STRLEN`, 32
/// pages.
#[must_use]
pub fn argument_length() -> usize {
    32 * rustix::param::page_size()
}

fn posix_spawn(spawn: &Spawn<'_>) -> io::Result<Pid> {
    let mut actions = FileActions::new()?;
    // In this order nothing is overwritten before it was copied: what the daemon opened is above 2
    // (Rust opens /dev/null for those of the first three that are closed), and of the first three
    // it gives each only as itself.
    for (to, from) in (0..).zip(spawn.stdio) {
        actions.dup2(from, to)?;
    }
    if let Some(report) = spawn.report {
        actions.dup2(report, REPORT_FD)?;
    }
    if let Some(cwd) = spawn.cwd {
        actions.chdir(cwd)?;
    }
    let attributes = Attributes::new()?;
    let argv = pointers(spawn.argv);
    let env = pointers(spawn.env);
    let mut pid = 0;
    // SAFETY: all strings end with NUL, both arrays end with a null pointer, and they, the actions
    // and the attributes, both initialized, outlive the call, which changes none of them.
    let result = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            spawn.program.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            argv.as_ptr().cast(),
            env.as_ptr().cast(),
        )
    };
    check(result)?;
    Ok(Pid::from_raw(pid).expect("the id of a process is not 0"))
}

/// What the child does with descriptors and directory before it becomes the program.
struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> io::Result<Self> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: `raw` has room for what the call initializes.
        check(unsafe { libc::posix_spawn_file_actions_init(raw.as_mut_ptr()) })?;
        // SAFETY: the call above has succeeded.
        Ok(Self(unsafe { raw.assume_init() }))
    }

    /// If both are the same the descriptor is kept open instead (glibc 2.29, musl 1.1.17).
    fn dup2(&mut self, from: BorrowedFd<'_>, to: RawFd) -> io::Result<()> {
        // SAFETY: `self.0` is initialized; the numbers are only noted.
        check(unsafe {
            libc::posix_spawn_file_actions_adddup2(&raw mut self.0, from.as_raw_fd(), to)
        })
    }

    fn chdir(&mut self, dir: &CStr) -> io::Result<()> {
        // SAFETY: `self.0` is initialized; the path ends with NUL and is copied.
        check(unsafe { libc::posix_spawn_file_actions_addchdir_np(&raw mut self.0, dir.as_ptr()) })
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: initialized in `new`, destroyed only here. It cannot fail.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

/// A session of its own, no signal blocked, none ignored.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut raw = MaybeUninit::uninit();
        // SAFETY: `raw` has room for what the call initializes.
        check(unsafe { libc::posix_spawnattr_init(raw.as_mut_ptr()) })?;
        // SAFETY: the call above has succeeded.
        let mut new = Self(unsafe { raw.assume_init() });
        let none = no_signals();
        // Not by sigfillset(3), which leaves out the two signals that glibc keeps to itself: the
        // child would have them ignored (32 and 33 in SigIgn, seen with glibc 2.36).
        // SAFETY: a set is a field of bits, all of whose values are sets.
        let all = unsafe {
            let mut all = MaybeUninit::<libc::sigset_t>::uninit();
            all.as_mut_ptr().write_bytes(0xff, 1);
            all.assume_init()
        };
        let flags = c_int::from(libc::POSIX_SPAWN_SETSID)
            | libc::POSIX_SPAWN_SETSIGMASK
            | libc::POSIX_SPAWN_SETSIGDEF;
        let flags = c_short::try_from(flags).expect("posix_spawnattr_setflags takes its own flags");
        // SAFETY: `new.0` is initialized, and so are both sets, which are copied.
        unsafe {
            check(libc::posix_spawnattr_setflags(&raw mut new.0, flags))?;
            check(libc::posix_spawnattr_setsigmask(&raw mut new.0, &raw const none))?;
            check(libc::posix_spawnattr_setsigdefault(&raw mut new.0, &raw const all))?;
        }
        Ok(new)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialized in `new`, destroyed only here. It cannot fail.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

fn no_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `set` has room for what sigemptyset(3) initializes, which cannot fail.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    }
}

fn pointers(strings: &[&CStr]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// The `posix_spawn` family returns its error instead of setting `errno`.
fn check(error: c_int) -> io::Result<()> {
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, Write},
        os::fd::FromRawFd,
    };

    use super::*;

    /// Runs it to its end, with all it prints.
    fn run(argv: &[&CStr], env: &[&CStr], cwd: Option<&CStr>) -> (Ended, String) {
        let null = File::open("/dev/null").unwrap();
        let (mut out, writer) = std::io::pipe().unwrap();
        let stdio = [null.as_fd(), writer.as_fd(), writer.as_fd()];
        let spec = Spawn { program: argv[0], argv, env, cwd, stdio, report: None };
        let mut child = spawn(&spec).unwrap();
        drop(writer);
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        (wait(&mut child), text)
    }

    /// Until the leader has ended.
    fn wait(child: &mut Child) -> Ended {
        let mut fds = [rustix::event::PollFd::new(&child.pidfd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).unwrap();
        assert!(child.has_ended().unwrap());
        child.reap().unwrap().unwrap()
    }

    #[test]
    fn a_child_has_no_signal_blocked_or_ignored_and_leads_a_session() {
        // SAFETY: SIG_IGN is no handler; no test of this crate relies on SIGXFSZ.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        let script =
            c"grep -E 'Sig(Blk|Ign)' /proc/self/status; cut -d' ' -f5,6 /proc/$$/stat; echo $$";
        // Blocked in the calling thread alone: what posix_spawn would hand on.
        let mut set = no_signals();
        // SAFETY: `set` is initialized, and both calls touch nothing else.
        unsafe {
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut());
        }
        let (ended, text) = run(&[c"/bin/sh", c"-c", script], &[], None);
        assert_eq!(ended, Ended::Exited(0));
        let lines: Vec<_> = text.lines().collect();
        for line in &lines[..2] {
            assert!(line.ends_with("\t0000000000000000"), "{text}");
        }
        let pid = lines[3];
        assert_eq!(lines[2], format!("{pid} {pid}"), "process group and session are its own");
    }

    #[test]
    fn arguments_environment_and_directory_are_as_given() {
        let script = c"printf '%s|' \"$@\"; env; pwd";
        let argv = [c"/bin/sh", c"-c", script, c"name", c"a b", c"", c"\xff'$(id)"];
        let null = File::open("/dev/null").unwrap();
        let (mut out, writer) = std::io::pipe().unwrap();
        let stdio = [null.as_fd(), writer.as_fd(), writer.as_fd()];
        let env = [c"PATH=/usr/bin:/bin", c"X=\xfe"];
        let cwd = Some(c"/usr");
        let spec = Spawn { program: argv[0], argv: &argv, env: &env, cwd, stdio, report: None };
        let mut child = spawn(&spec).unwrap();
        drop(writer);
        let mut text = Vec::new();
        out.read_to_end(&mut text).unwrap();
        assert_eq!(wait(&mut child), Ended::Exited(0));
        let text = text.escape_ascii().to_string();
        assert!(text.starts_with(r"a b||\xff\'$(id)|"), "{text}");
        assert!(text.contains(r"X=\xfe\n") && !text.contains("HOME="), "{text}");
        assert!(text.ends_with(r"/usr\n"), "{text}");
    }

    #[test]
    fn a_signal_reaches_the_whole_group_until_it_is_reaped() {
        let null = File::open("/dev/null").unwrap();
        let (mut out, writer) = std::io::pipe().unwrap();
        let stdio = [null.as_fd(), writer.as_fd(), null.as_fd()];
        // The leader ends at once; the other holds the pipe open until it is killed.
        let argv = [c"/bin/sh", c"-c", c"(trap '' TERM; echo; exec sleep 1000) & read x <&- ; :"];
        let env = [c"PATH=/usr/bin:/bin"];
        let program = argv[0];
        let spec = Spawn { program, argv: &argv, env: &env, cwd: None, stdio, report: None };
        let mut child = spawn(&spec).unwrap();
        drop(writer);
        out.read_exact(&mut [0]).unwrap();
        child.terminate_group().unwrap();
        let mut fds = [rustix::event::PollFd::new(&child.pidfd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).unwrap();
        child.kill_group().unwrap();
        assert_eq!(out.read(&mut [0]).unwrap(), 0, "the last writer is gone");
        assert!(child.reap().unwrap().is_some());
        assert!(child.reaped);
        child.kill_group().unwrap();
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let null = File::open("/dev/null").unwrap();
        let stdio = [null.as_fd(); 3];
        let try_it = |program, cwd| {
            let spec = Spawn { program, argv: &[program], env: &[], cwd, stdio, report: None };
            spawn(&spec).unwrap_err().errno()
        };
        assert_eq!(try_it(c"/no/such", None), Errno::NOENT);
        assert_eq!(try_it(c"/etc/passwd", None), Errno::ACCESS);
        assert_eq!(try_it(c"/bin/true", Some(c"/no/such")), Errno::NOENT);
        let file = tempfile::Builder::new().permissions(mode(0o755)).tempfile().unwrap();
        writeln!(file.as_file(), "echo no interpreter named").unwrap();
        let path = file.into_temp_path();
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        assert_eq!(try_it(&name, None), Errno::NOEXEC);
    }

    #[test]
    fn a_sealed_descriptor_is_not_inherited() {
        let null = File::open("/dev/null").unwrap();
        // SAFETY: dup makes a new descriptor, without O_CLOEXEC, that nobody else owns.
        let leak = unsafe { File::from_raw_fd(libc::dup(null.as_raw_fd())) };
        seal_descriptors().unwrap();
        let (_, text) =
            run(&[c"/bin/sh", c"-c", c"ls /proc/$$/fd"], &[c"PATH=/usr/bin:/bin"], None);
        assert_eq!(text.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2"]);
        drop(leak);
    }

    #[test]
    fn the_space_for_arguments_is_the_kernels() {
        assert_eq!(argument_space(Some(0)), 128 * 1024);
        assert_eq!(argument_space(Some(8 << 20)), 2 << 20);
        assert_eq!(argument_space(Some(u64::MAX)), 6 << 20);
    }

    fn mode(bits: u32) -> std::fs::Permissions {
        std::os::unix::fs::PermissionsExt::from_mode(bits)
    }
}
