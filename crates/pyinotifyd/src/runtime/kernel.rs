//! The kernel side of the loop: one inotify instance with its reader, the walkers, the mounts.
//!
//! Here the words of `core` and of `sys` are translated into each other, and a file system that
//! does not answer is given up on, so that the others go on.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant as Clock},
};

use pyinotifyd_core::{
    record::Wd,
    time::Human,
    tree::{Enter, EnterError, Found, MountChange, Ticket},
};
use pyinotifyd_sys::{
    enter::{self as sys, Barrier, Walkers},
    inotify::{InitError, Inotify, Reader, Taken},
    memory,
    mounts::{self, MountWatch},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::Notify,
};

use super::translate;
use crate::errors::{Fatal, words};

/// The largest backlog of records, in bytes; beyond it the kernel's own queue fills, and then its
/// overflow tells that something was lost.
const BACKLOG: usize = 256 << 20;

/// Two are as good as more on local file systems (measured on two cores).
const WALKERS: usize = 2;

/// After a walk through so many directories, its memory is given back.
const LARGE: usize = 10_000;

/// So long after an unmount its place is looked at. The mount table changes before the kernel
/// queues `IN_UNMOUNT`, which is to speak first; it does not while the file system is still in use
/// (`umount -l`, data to be written), nor ever if it is mounted elsewhere, too.
const AFTERWARDS: Duration = Duration::from_secs(1);

/// So long the loop sleeps for answers before it turns to anything else.
const SOON: Duration = Duration::from_millis(1);

/// A directory that cannot be entered for so long is given up on.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Kernel {
    inotify: Inotify,
    reader: Reader,
    walkers: Walkers,
    barrier: Barrier,
    mounts: Option<AsyncFd<MountWatch>>,
    unmounted: VecDeque<(Clock, Box<[u8]>)>,
    wake: Arc<Notify>,
    /// What is asked of the walkers, and since when, oldest first.
    asked: VecDeque<(Ticket, Clock)>,
    /// Whether it was told that the walkers can open nothing.
    short: bool,
    /// How many directories have been entered since the tree was last content.
    entered: usize,
    answers: Vec<(u64, Result<sys::Found, sys::EnterError>)>,
}

impl Kernel {
    pub(super) fn new(wake: Arc<Notify>) -> Result<Self, Fatal> {
        let inotify = Inotify::new().map_err(|error| no_instance(&error))?;
        let threads =
            |error| Fatal::text(format!("cannot start the threads that watch: {}", words(&error)));
        let waker = Arc::clone(&wake);
        let reader =
            Reader::spawn(&inotify, BACKLOG, move || waker.notify_one()).map_err(threads)?;
        let walkers = spawn_walkers(&inotify, &wake).map_err(threads)?;
        let barrier = Barrier::with_reserve(&inotify);
        let mounts = match MountWatch::new().and_then(watched) {
            Ok(mounts) => Some(mounts),
            Err(error) => {
                ::log::warn!(
                    "mounts below the Watches go unnoticed: /proc/self/mountinfo: {}",
                    words(&error)
                );
                None
            }
        };
        let (asked, answers) = (VecDeque::new(), Vec::new());
        Ok(Self {
            inotify,
            reader,
            walkers,
            barrier,
            mounts,
            unmounted: VecDeque::new(),
            wake,
            asked,
            short: false,
            entered: 0,
            answers,
        })
    }

    pub(super) fn enter(&mut self, enter: Enter) {
        let (ticket, request) = translate::request(enter);
        self.walkers.ask(ticket.0, request);
        self.asked.push_back((ticket, Clock::now()));
    }

    pub(super) fn leave(&self, wd: Wd) {
        if let Err(error) = self.inotify.remove(wd.0) {
            ::log::warn!("cannot remove a watch: inotify_rm_watch: {}", words(&error));
        }
    }

    /// The watches that are the tree's, or nobody's.
    pub(super) fn watches(&self) -> Vec<Wd> {
        let watches = self.inotify.watches().unwrap_or_else(|error| {
            ::log::warn!("watches that are left over are not looked for: /proc: {}", words(&error));
            Vec::new()
        });
        watches.into_iter().map(Wd).collect()
    }

    pub(super) fn barrier(&mut self) -> Option<Wd> {
        // Nothing goes on where it is waited for.
        self.reader.hurry();
        self.barrier.put(&self.inotify).map(Wd)
    }

    /// The answers that have come, and those that will not.
    pub(super) fn answers(&mut self) -> Vec<(Ticket, Result<Found, EnterError>)> {
        if self.asked.is_empty() {
            return Vec::new();
        }
        // Nearly always they come within microseconds, and nothing can be done without them.
        self.walkers.wait(SOON);
        self.walkers.answers(&mut self.answers);
        let mut out = Vec::with_capacity(self.answers.len());
        for (ticket, answer) in self.answers.drain(..) {
            let at = self.asked.iter().position(|it| it.0.0 == ticket);
            let Some((ticket, _)) = at.and_then(|at| self.asked.remove(at)) else { continue };
            out.push((ticket, translate::answer(answer)));
        }
        if self.asked.front().is_some_and(|it| it.1.elapsed() >= PATIENCE) {
            match self.walkers.short_of() {
                Some(error) => self.wait_for_room(&error),
                None => self.give_up(&mut out),
            }
        }
        self.short &= out.is_empty();
        self.entered += out.len();
        out
    }

    /// How many directories have been entered since the tree was last content.
    pub(super) fn entered(&self) -> usize {
        self.entered
    }

    /// Takes in that the tree has what it asked for.
    pub(super) fn rest(&mut self) {
        if self.entered >= LARGE {
            memory::trim();
        }
        self.entered = 0;
    }

    /// The walkers wait for what the whole process lacks. The kernel keeps the events meanwhile.
    fn wait_for_room(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.short, true) {
            let why = words(error);
            ::log::warn!("events wait until directories can be opened: {why}");
        }
        self.be_patient();
    }

    fn be_patient(&mut self) {
        for asked in &mut self.asked {
            asked.1 = Clock::now();
        }
    }

    /// The walkers hang: new ones take over what they have not begun.
    fn give_up(&mut self, out: &mut Vec<(Ticket, Result<Found, EnterError>)>) {
        let walkers = match spawn_walkers(&self.inotify, &self.wake) {
            Ok(walkers) => walkers,
            Err(error) => {
                return ::log::error!(
                    "cannot start threads in place of those that a file system holds up: {}",
                    words(&error)
                );
            }
        };
        let waiting = std::mem::replace(&mut self.walkers, walkers).abandon();
        let (kept, hung) = std::mem::take(&mut self.asked)
            .into_iter()
            .partition(|it| waiting.iter().any(|(ticket, _)| *ticket == it.0.0));
        self.asked = kept;
        for (ticket, request) in waiting {
            self.walkers.ask(ticket, request);
        }
        self.be_patient();
        let hung: VecDeque<(Ticket, Clock)> = hung;
        for (ticket, _) in hung {
            out.push((ticket, Err(EnterError::Failed(silent()))));
        }
    }

    /// When [`Kernel::answers`] or [`Kernel::changed_mounts`] has to be asked although nobody woke
    /// the loop.
    pub(super) fn poll_timeout(&self) -> Option<Clock> {
        let asked = self.asked.front().map(|it| it.1 + PATIENCE);
        [asked, self.unmounted.front().map(|it| it.0)].into_iter().flatten().min()
    }

    /// Swaps in the records that have been read.
    pub(super) fn take_records(&mut self, into: &mut Vec<u8>) -> Taken {
        let taken = self.reader.take(into);
        if let Some(errno) = taken.failed {
            let error = io::Error::from_raw_os_error(errno);
            ::log::error!("the kernel's events cannot be read any more: {}", words(&error));
        }
        taken
    }

    /// How many bytes of records have been read that are not taken, and since when the first.
    pub(super) fn backlog(&self) -> (usize, Option<Clock>) {
        self.reader.backlog()
    }

    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(super) async fn mounts_changed(&self) {
        let Some(mounts) = &self.mounts else { return std::future::pending().await };
        match mounts.ready(Interest::PRIORITY | Interest::ERROR).await {
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Whether it is time to look after an unmount.
    pub(super) fn has_due_unmounts(&self) -> bool {
        self.unmounted.front().is_some_and(|it| it.0 <= Clock::now())
    }

    /// Where something has been mounted, and where it is time to look after an unmount.
    pub(super) fn changed_mounts(&mut self) -> Vec<(Box<[u8]>, MountChange)> {
        let now = Clock::now();
        let mut places = Vec::new();
        if let Some(mounts) = &mut self.mounts {
            match mounts.get_mut().changed() {
                Ok(changes) => {
                    for change in changes {
                        match change {
                            mounts::MountChange::Mounted(point) => {
                                places.push((point.path, MountChange::Mounted));
                            }
                            mounts::MountChange::Unmounted(point) => {
                                self.unmounted.push_back((now + AFTERWARDS, point.path));
                            }
                        }
                    }
                }
                Err(error) => ::log::warn!("cannot read /proc/self/mountinfo: {}", words(&error)),
            }
        }
        let due = self.unmounted.partition_point(|it| it.0 <= now);
        let looked = self.unmounted.drain(..due);
        places.extend(looked.map(|it| (it.1, MountChange::Unmounted)));
        places
    }
}

fn spawn_walkers(inotify: &Inotify, wake: &Arc<Notify>) -> io::Result<Walkers> {
    let wake = Arc::clone(wake);
    Walkers::spawn(WALKERS, inotify, move || wake.notify_one())
}

#[expect(
    deprecated,
    reason = "what replaces it is unsafe; the descriptor is the watch's own, and open as long as it"
)]
fn watched(mounts: MountWatch) -> io::Result<AsyncFd<MountWatch>> {
    AsyncFd::with_interest(mounts, Interest::PRIORITY | Interest::ERROR)
}

/// Why a directory is not watched whose walker has not come back.
fn silent() -> String {
    format!("its file system has not answered for {}", Human(PATIENCE))
}

fn no_instance(error: &InitError) -> Fatal {
    let hint = match &error {
        InitError::InstanceLimit { .. } => {
            Some("raise it with `sysctl fs.inotify.max_user_instances=512`, or end other watchers")
        }
        InitError::DescriptorLimit(_) => Some("raise the limit of open files (`ulimit -n`)"),
        InitError::Failed(_) => None,
    };
    let fatal = Fatal::new(&error);
    match hint {
        Some(hint) => fatal.hint(hint),
        None => fatal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_inotify_instance_it_is_said_what_to_raise() {
        let errno = io::Error::from_raw_os_error;
        let errors = [
            InitError::InstanceLimit { limit: Some(128) },
            InitError::InstanceLimit { limit: None },
            InitError::DescriptorLimit(errno(24)),
            InitError::Failed(errno(12)),
        ];
        let told = errors.map(|it| no_instance(&it).to_string());
        insta::assert_snapshot!("no_instance", told.join("\n\n"));
    }

    #[test]
    fn a_file_system_that_holds_up_its_walker_is_told() {
        assert_eq!(silent(), "its file system has not answered for 10s");
    }
}
