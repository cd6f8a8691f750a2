//! What keeps the start of a program and the closing of files apart.
//!
//! A file is closed, and only then told as `IN_CLOSE_WRITE`, with the last copy of its descriptor
//! (`close(2)`, `dup(2)`). A program that is being started has a copy of each that this process
//! has (`fork(2)`; `vfork(2)` shares memory, but not descriptors), until it is loaded: that is when
//! `O_CLOEXEC` closes them (`execve(2)`). Tests are threads of one process, so while one of them
//! starts a daemon, what another closes may still be open: it is told late, under the name that it
//! has by then, or, once it is deleted, not at all. On a busy machine, by many milliseconds.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static STARTS: RwLock<()> = RwLock::new(());

/// To be held while a program is started, until something has come of it. That it has an id is
/// not enough: who started it goes on before those descriptors are closed (`exec_mmap` comes
/// before `do_close_on_exec`, fs/exec.c).
pub(crate) fn one() -> RwLockWriteGuard<'static, ()> {
    // A test that failed to start its daemon has nothing to say to the others.
    STARTS.write().unwrap_or_else(PoisonError::into_inner)
}

/// While it is held nothing is being started: what is closed is closed at once. Not to be asked
/// for by who holds one.
pub(crate) fn none() -> RwLockReadGuard<'static, ()> {
    STARTS.read().unwrap_or_else(PoisonError::into_inner)
}
