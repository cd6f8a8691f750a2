//! What the first process of a container inherits.
//!
//! A process whose parent has ended becomes a child of process 1, and nobody else can reap it: in a
//! container without an init of its own that is the daemon. What is left unreaped is in the table of
//! processes until the end, and a table that is full starts no task.
//!
//! A sweep must not reap what [`super::spawn`] has started, since only its [`super::Child`] knows
//! what to do with the status. So as process 1 the daemon keeps a list of these.

use std::{
    collections::BTreeSet,
    io,
    mem::MaybeUninit,
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};

use rustix::process::{Pid, WaitId, WaitIdOptions};

/// The children that are ours and not reaped. Held for reading while a program is being started,
/// which may take long and goes on in several threads.
static OURS: RwLock<Mutex<BTreeSet<i32>>> = RwLock::new(Mutex::new(BTreeSet::new()));

/// Whether this is the first process, which inherits.
#[must_use]
pub fn is_first() -> bool {
    rustix::process::getpid() == Pid::INIT
}

/// Starts a child of ours.
pub(super) fn start(spawn: impl FnOnce() -> io::Result<Pid>) -> io::Result<Pid> {
    if !is_first() {
        return spawn();
    }
    let ours = OURS.read().unwrap_or_else(PoisonError::into_inner);
    let pid = spawn()?;
    list(&ours).insert(pid.as_raw_pid());
    Ok(pid)
}

/// A child of ours is reaped, or is nobody's any more.
pub(super) fn forget(pid: Pid) {
    if is_first() {
        list(&OURS.read().unwrap_or_else(PoisonError::into_inner)).remove(&pid.as_raw_pid());
        // It may have stood before what was inherited, for which no signal comes again.
        sweep();
    }
}

fn list(ours: &Mutex<BTreeSet<i32>>) -> MutexGuard<'_, BTreeSet<i32>> {
    ours.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reaps what was inherited and has ended, and never waits.
///
/// What it leaves is found the next time: behind a child of ours, when that is reaped; while a program
/// is being started, when a child ends.
pub fn sweep() {
    let Ok(ours) = OURS.try_write() else { return };
    while let Some(pid) = ended().filter(|it| !list(&ours).contains(&it.as_raw_pid())) {
        // It cannot fail: it has ended, and nobody else reaps it.
        let _ = rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    }
}

/// A child that has ended and is not reaped.
fn ended() -> Option<Pid> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a siginfo_t that may be written to, and zeroes are one, too. waitid(2) fills
    // it if it succeeds, with the process id of 0 if no child has ended.
    let pid = unsafe {
        match libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) {
            0 => info.assume_init().si_pid(),
            _ => 0,
        }
    };
    Pid::from_raw(pid)
}
