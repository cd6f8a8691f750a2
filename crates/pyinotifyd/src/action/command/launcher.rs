//! Threads that start programs.
//!
//! `posix_spawn(3)` comes back when the program has been loaded: usually in half a millisecond,
//! on a file server that is away never. So it is not called on the loop's thread. Two threads keep
//! two processors busy with starts; more come only when those hang, and go when they are through.
//!
//! Not tokio's threads: those panic the caller when no thread can be made, which on a full machine
//! would end the daemon.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// Threads that stay.
const STAY: usize = 2;
/// Threads at most: as many starts can hang before others wait for them.
const MOST: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs in the order in which they come, on threads of its own. Dropped, its threads end with
/// the jobs that they have begun, and the rest is not done.
#[derive(Debug)]
pub(crate) struct Launcher {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that wait for a job.
    idle: usize,
    closed: bool,
}

impl Launcher {
    /// Starts its threads with the first jobs.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self { shared: Arc::default() }
    }

    /// Has it run. If no thread at all can be made, on the caller's.
    pub(crate) fn launch(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.lock();
        state.jobs.push_back(Box::new(job));
        if state.idle >= state.jobs.len() {
            drop(state);
            self.shared.wake.notify_one();
        } else if state.threads < STAY && !self.grow(&mut state) && state.threads == 0 {
            let job = state.jobs.pop_back();
            drop(state);
            if let Some(job) = job {
                job();
            }
        }
    }

    /// Says that a job has been waited for longer than it should take.
    pub(crate) fn handle_delay(&self) {
        let mut state = self.shared.lock();
        if state.jobs.len() > state.idle && state.threads < MOST {
            self.grow(&mut state);
        }
    }

    fn grow(&self, state: &mut State) -> bool {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("launch".into()).stack_size(256 * 1024);
        let grown = thread.spawn(move || shared.work()).is_ok();
        state.threads += usize::from(grown);
        grown
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    /// Jobs run outside the lock, and nothing inside it panics half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.closed {
                break;
            }
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.lock();
            } else if state.threads > STAY {
                break;
            } else {
                state.idle += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        }
        state.threads -= 1;
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { jobs, threads, idle, closed } = self;
        write!(f, "{} jobs, {threads} threads, {idle} idle, closed: {closed}", jobs.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn every_job_is_done() {
        let (launcher, (sender, receiver)) = (Launcher::new(), mpsc::channel());
        for n in 0..1000 {
            let sender = sender.clone();
            launcher.launch(move || sender.send(n).unwrap());
        }
        drop(sender);
        let mut seen: Vec<i32> = receiver.iter().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        assert!(launcher.shared.lock().threads <= STAY);
    }

    #[test]
    fn jobs_that_hang_do_not_keep_others_from_starting() {
        let launcher = Launcher::new();
        let (begun, has_begun) = mpsc::channel();
        let mut hung = Vec::new();
        for _ in 0..STAY {
            let (release, wait) = mpsc::channel::<()>();
            let begun = begun.clone();
            launcher.launch(move || {
                begun.send("hangs").unwrap();
                let _ = wait.recv();
            });
            hung.push(release);
            assert_eq!(has_begun.recv(), Ok("hangs"));
        }
        launcher.launch(move || begun.send("goes").unwrap());
        launcher.handle_delay();
        assert_eq!(has_begun.recv(), Ok("goes"));
    }
}
