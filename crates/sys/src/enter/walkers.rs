//! Threads that enter directories, so that a slow or hung file system stops neither the reader
//! nor the loop. Each has a working directory of its own.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use super::barrier::Barrier;
use super::{EnterError, Found, Request, Walker, WatchError, Way};
use crate::errno::is_want_of_room;
use crate::inotify::Inotify;

/// So many answers are told with one wake-up while there is more to do: waking for each would cost
/// as much as entering.
const TOGETHER: usize = 32;

/// After this a walker tries again what this process, or the machine, had no room for.
const PAUSE: Duration = Duration::from_millis(100);

/// So often it tries what only the directory's own file system says to have no room for.
const TRIES: usize = 8;

/// So many descriptors at once are enough to enter a directory.
const AT_ONCE: usize = 3;

/// A pool of walker threads. Dropping it lets them end after what they are at; it does not wait,
/// because one may hang in a file system.
///
/// Each holds one watch in reserve for its barriers.
#[derive(Debug)]
pub struct Walkers {
    shared: Arc<Shared>,
}

type Answer = (u64, Result<Found, EnterError>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is a request, or the walkers are to end.
    work: Condvar,
    answers: Mutex<Answers>,
    /// There are answers that somebody waits for in [`Walkers::wait`].
    answered: Condvar,
    outstanding: AtomicUsize,
    /// The errno of what the walkers have no room for; 0: they have.
    short: AtomicI32,
}

#[derive(Debug, Default)]
struct Answers {
    list: Vec<Answer>,
    /// Somebody was woken for these.
    told: bool,
    /// Somebody is in [`Walkers::wait`] and is woken without `wake`.
    awaited: bool,
}

#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<(u64, Request)>,
    /// How many threads wait for a request, and have not been woken for one.
    idle: usize,
    end: bool,
}

impl Walkers {
    /// Starts `n` threads `walker-N`, at least one; two are as good as more on local file systems.
    /// `wake` is called by them when there are answers and nothing more to do, and while there is,
    /// for every 32 answers. Should all of them hang in a file system, up to 31 answers are there
    /// that nobody was woken for; [`Walkers::answers`] may be called at any time.
    pub fn spawn(
        n: usize,
        inotify: &Inotify,
        wake: impl Fn() + Send + Sync + Clone + 'static,
    ) -> io::Result<Self> {
        let walkers = Self { shared: Arc::default() };
        for number in 0..n.max(1) {
            let shared = Arc::clone(&walkers.shared);
            let inotify = inotify.clone();
            let wake = wake.clone();
            thread::Builder::new()
                .name(format!("walker-{number}"))
                .spawn(move || shared.run(inotify, &wake))?;
        }
        Ok(walkers)
    }

    /// Asks for a directory. Answers come in any order, each with its ticket.
    pub fn ask(&self, ticket: u64, request: Request) {
        self.shared.outstanding.fetch_add(1, Ordering::Relaxed);
        let mut queue = self.shared.lock_queue();
        queue.requests.push_back((ticket, request));
        let wakes = queue.idle > 0;
        if wakes {
            queue.idle -= 1;
        }
        drop(queue);
        if wakes {
            self.shared.work.notify_one();
        }
    }

    /// Appends the answers there are. Call it after each wake-up.
    pub fn answers(&self, into: &mut Vec<Answer>) {
        let before = into.len();
        let mut answers = self.shared.lock_answers();
        into.append(&mut answers.list);
        answers.told = false;
        drop(answers);
        self.shared.outstanding.fetch_sub(into.len() - before, Ordering::Relaxed);
    }

    /// Waits until there are answers, at most so long; gives back whether there are. For a single
    /// directory this is much cheaper than to sleep in an event loop until `wake`.
    pub fn wait(&self, longest: Duration) -> bool {
        let mut answers = self.shared.lock_answers();
        if answers.list.is_empty() {
            answers.awaited = true;
            answers = match self.shared.answered.wait_timeout(answers, longest) {
                Ok((answers, _)) => answers,
                Err(poisoned) => poisoned.into_inner().0,
            };
            answers.awaited = false;
        }
        !answers.list.is_empty()
    }

    /// Ends the walkers and gives back what none of them has begun; what one is at, and perhaps
    /// hangs in, is not among it. Answers that are there are lost.
    pub fn abandon(self) -> Vec<(u64, Request)> {
        std::mem::take(&mut self.shared.lock_queue().requests).into()
    }

    /// Why a walker can open nothing at all, if none can: no descriptor is left, or no memory. It
    /// goes on with the same directory as soon as there is one, since what is not watched is lost.
    pub fn short_of(&self) -> Option<io::Error> {
        match self.shared.short.load(Ordering::Relaxed) {
            0 => None,
            errno => Some(io::Error::from_raw_os_error(errno)),
        }
    }

    /// How many were asked for and not yet given out by [`Walkers::answers`].
    pub fn outstanding(&self) -> usize {
        self.shared.outstanding.load(Ordering::Relaxed)
    }
}

impl Drop for Walkers {
    fn drop(&mut self) {
        let mut queue = self.shared.lock_queue();
        queue.end = true;
        queue.requests.clear();
        drop(queue);
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, inotify: Inotify, wake: &dyn Fn()) {
        // SAFETY: CLONE_FS gives this thread its own working directory, root and umask; no
        // descriptor table is unshared, so none can dangle. Nothing else runs on this thread.
        let own = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) };
        let own = own.is_ok() && rustix::process::chdir("/").is_ok();
        let way = if own { Way::WorkingDirectory } else { Way::Descriptor };
        let barrier = Barrier::with_reserve(&inotify);
        let mut walker = Walker { barrier, ..Walker::new(inotify, way) };
        let mut next = self.next();
        while let Some((ticket, request)) = next {
            let answer = self.enter(&mut walker, &request);
            self.lock_answers().list.push((ticket, answer));
            next = self.next_at_once();
            self.tell(next.is_none(), wake);
            next = next.or_else(|| self.next());
        }
    }

    /// Enters, when there is room for it.
    fn enter(&self, walker: &mut Walker, request: &Request) -> Result<Found, EnterError> {
        let mut tries = 0;
        loop {
            let answer = walker.enter(request);
            let short = lacks_room(&answer);
            // What is said of a single directory is the word of its file system, which may be anybody's.
            let anywhere = short.filter(|_| lacks_room_anywhere());
            self.short.store(anywhere.unwrap_or(0), Ordering::Relaxed);
            tries += usize::from(anywhere.is_none());
            if short.is_none() || tries == TRIES || self.lock_queue().end {
                return answer;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Wakes for the answers, if they are enough, or the last for now.
    fn tell(&self, last: bool, wake: &dyn Fn()) {
        let mut answers = self.lock_answers();
        let enough = if last { 1 } else { TOGETHER };
        if answers.list.len() < enough {
            return;
        }
        if answers.awaited {
            self.answered.notify_one();
        } else if !std::mem::replace(&mut answers.told, true) {
            drop(answers);
            wake();
        }
    }

    fn next_at_once(&self) -> Option<(u64, Request)> {
        self.lock_queue().requests.pop_front()
    }

    fn next(&self) -> Option<(u64, Request)> {
        let mut queue = self.lock_queue();
        loop {
            if queue.end {
                return None;
            }
            if let Some(request) = queue.requests.pop_front() {
                return Some(request);
            }
            queue.idle += 1;
            queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The errno, if it is for want of a descriptor or of memory that a directory was not entered, or
/// not watched.
fn lacks_room(answer: &Result<Found, EnterError>) -> Option<i32> {
    match answer {
        Ok(Found { watch_error: Some(WatchError::NoMemory), .. }) => Some(libc::ENOMEM),
        Err(EnterError::Failed { errno, .. }) => Some(*errno).filter(|it| is_want_of_room(*it)),
        Ok(_) | Err(EnterError::Missing | EnterError::Denied(_)) => None,
    }
}

/// Whether what is opened while a directory is entered could not be opened anywhere.
fn lacks_room_anywhere() -> bool {
    let open = |_| rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let held: Result<Vec<OwnedFd>, Errno> = (0..AT_ONCE).map(open).collect();
    held.is_err_and(|it| is_want_of_room(it.raw_os_error()))
}
