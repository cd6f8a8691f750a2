//! Threads for file actions.
//!
//! As many as there are jobs at once: how many that may be is the schedule's decision (`slots`),
//! and a job that hangs on a file server that is away must not hold up those for other disks. A
//! thread that is through takes the next job, waits a while for one, and ends.
//!
//! Not tokio's threads: those panic the caller when no thread can be made, which on a full machine
//! would end the daemon.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

type Job = Box<dyn FnOnce() + Send>;

/// Enough for the deepest tree: file actions keep their ways and buffers on the heap.
const STACK: usize = 512 * 1024;

/// How long a thread waits for another run before it ends: after that, nothing is left that would
/// ever wake up.
pub(in crate::action) const IDLE: Duration = Duration::from_secs(30);

/// Runs jobs, each at once. Dropped, its threads end with the jobs that they have begun, and what
/// has not begun is dropped.
pub(in crate::action) struct Pool {
    shared: Arc<Shared>,
}

/// A job that there is no thread for.
pub(in crate::action) struct Refused {
    /// Why no thread could be started.
    pub(in crate::action) error: io::Error,
    /// Dropped by who is told, once he has taken note.
    _job: Job,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    idle: Duration,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that have no job: they wait for one, or have just been started.
    idle: usize,
    closed: bool,
}

impl Pool {
    /// Without a job for `idle`, a thread ends.
    pub(in crate::action) fn new(idle: Duration) -> Self {
        let shared = Shared { state: Mutex::default(), wake: Condvar::new(), idle };
        Self { shared: Arc::new(shared) }
    }

    /// Has it run, on a thread that is idle or new. If none can be started, it waits for one that
    /// is there.
    ///
    /// # Errors
    ///
    /// There is no thread at all.
    pub(in crate::action) fn run(
        &self,
        job: impl FnOnce() + Send + 'static,
    ) -> Result<(), Refused> {
        let mut state = self.shared.lock();
        state.jobs.push_back(Box::new(job));
        if state.jobs.len() <= state.idle {
            drop(state);
            self.shared.wake.notify_one();
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name("files".into()).stack_size(STACK);
        match thread.spawn(move || shared.work()) {
            Ok(_) => {
                state.threads += 1;
                state.idle += 1;
            }
            Err(_) if state.threads > 0 => (),
            Err(error) => {
                let job = state.jobs.pop_back().expect("it was pushed under this lock");
                return Err(Refused { error, _job: job });
            }
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        self.shared.wake.notify_all();
        drop(jobs);
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
            while let Some(job) = state.jobs.pop_front() {
                state.idle -= 1;
                drop(state);
                // The panic hook has told of it, and the job's own guard tells its outcome.
                let _ = catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
                state.idle += 1;
            }
            if state.closed {
                break;
            }
            let is_idle = |it: &mut State| it.jobs.is_empty() && !it.closed;
            if state.threads == 1 {
                let next = self.wake.wait_while(state, is_idle);
                state = next.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let (next, waited) = self
                .wake
                .wait_timeout_while(state, self.idle, is_idle)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if waited.timed_out() && state.jobs.is_empty() && state.threads > 1 {
                break;
            }
        }
        state.idle -= 1;
        state.threads -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Barrier, mpsc},
        time::Instant,
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn run(pool: &Pool, job: impl FnOnce() + Send + 'static) {
        assert!(pool.run(job).is_ok());
    }

    /// Until the pool has so many threads, all of them through with their jobs.
    fn wait_until_idle(pool: &Pool, threads: usize) {
        let limit = Instant::now() + LONG;
        loop {
            let state = pool.shared.lock();
            if (state.threads, state.idle, state.jobs.len()) == (threads, threads, 0) {
                return;
            }
            drop(state);
            assert!(Instant::now() < limit, "the threads do not come to rest");
            thread::yield_now();
        }
    }

    #[test]
    fn every_job_has_a_thread_of_its_own() {
        let pool = Pool::new(LONG);
        let (all, (sender, receiver)) = (Arc::new(Barrier::new(20)), mpsc::channel());
        for n in 0..20 {
            let (all, sender) = (Arc::clone(&all), sender.clone());
            run(&pool, move || {
                all.wait();
                sender.send(n).unwrap();
            });
        }
        let mut seen: Vec<i32> = receiver.iter().take(20).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_thread_is_used_again() {
        let pool = Pool::new(LONG);
        for _ in 0..100 {
            run(&pool, || ());
            wait_until_idle(&pool, 1);
        }
    }

    #[test]
    fn idle_threads_end_but_for_the_last() {
        let pool = Pool::new(Duration::ZERO);
        for _ in 0..100 {
            run(&pool, || ());
        }
        wait_until_idle(&pool, 1);
    }

    #[test]
    fn a_job_that_panics_takes_no_thread_with_it() {
        let pool = Pool::new(LONG);
        run(&pool, || std::panic::resume_unwind(Box::new("on purpose")));
        wait_until_idle(&pool, 1);
    }

    #[test]
    fn dropped_it_lets_go_of_its_threads() {
        let pool = Pool::new(LONG);
        let (sender, receiver) = mpsc::channel::<()>();
        run(&pool, move || drop(sender));
        assert!(receiver.recv().is_err());
        let shared = Arc::downgrade(&pool.shared);
        drop(pool);
        let limit = Instant::now() + LONG;
        while shared.strong_count() > 0 {
            assert!(Instant::now() < limit, "a thread holds on");
            thread::yield_now();
        }
    }
}
