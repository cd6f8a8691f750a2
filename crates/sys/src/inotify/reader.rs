//! A thread that empties the kernel's queue, so that it does not overflow while the rest of the
//! daemon is busy. It moves raw bytes, looks whether an overflow is among them, and does nothing else:
//! no file system, no FIONREAD (which walks the whole queue of the kernel).
//!
//! The backlog is bounded. At the limit the thread stops reading until it is emptied by
//! [`Reader::take`]; what the kernel cannot keep meanwhile ends in its own `IN_Q_OVERFLOW`, so
//! there is one sign of loss and not two.
//!
//! Each read of a stream of events would wake this thread and the one that takes them, and that
//! costs more than all that is done about the event. So of a stream, not each event is read at
//! once: see [`Pace`].

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::pace::Pace;
use super::{Inotify, LARGEST_RECORD, decode};
use crate::time;

/// What one `read(2)` may give: all that the kernel's queue holds (16,384 records, unless it was
/// changed) with names of up to 47 bytes. Where the overflow at its end is read with the records
/// before it, the tasks of these wait until it is known what was lost, and run once.
const READ: usize = 16_384 * 64 + LARGEST_RECORD;

/// Buffers keep this much for the next burst, or twice the last one.
const SLACK: usize = 1024 * 1024;

/// The reader thread and its backlog. Dropping it ends the thread.
#[derive(Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What [`Reader::take`] gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The size of the backlog that was swapped out, in bytes.
    pub bytes: usize,
    /// The backlog had reached its limit and the kernel was left alone: an overflow may follow.
    pub at_limit: bool,
    /// If an overflow is among it: nothing that happened before this point has been lost, in
    /// nanoseconds of `CLOCK_REALTIME`.
    pub lost_since: Option<i64>,
    /// When the first of it was read.
    pub since: Option<Instant>,
    /// The thread has ended, because `read(2)` or `poll(2)` failed with this errno. Nothing more
    /// will come.
    pub failed: Option<i32>,
}

#[derive(Debug)]
struct Shared {
    backlog: Mutex<Backlog>,
    /// The backlog was emptied, or the reader is to end.
    emptied: Condvar,
    /// Readable when the reader is to end.
    end: OwnedFd,
    limit: usize,
    /// Somebody waits for a record.
    hurried: AtomicBool,
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: Vec<u8>,
    paused: bool,
    end: bool,
    lost_since: Option<i64>,
    /// When the first of `bytes` was read.
    since: Option<Instant>,
    failed: Option<i32>,
}

impl Reader {
    /// Starts the thread `inotify-reader`.
    ///
    /// `limit` is the largest backlog in bytes (256 MiB is a good one; less than 8 KiB is taken
    /// as 8 KiB). `wake` is called by the thread whenever the backlog changes from empty to
    /// non-empty, and once if reading fails; never otherwise.
    pub fn spawn(
        inotify: &Inotify,
        limit: usize,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            backlog: Mutex::default(),
            emptied: Condvar::new(),
            end: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            limit: limit.max(8 * 1024),
            hurried: AtomicBool::new(false),
        });
        let inotify = inotify.clone();
        let thread = thread::Builder::new().name("inotify-reader".into()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.run(&inotify, &wake)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Swaps out everything read so far: whole records, in the kernel's order. What `into` held
    /// is cleared, and its memory is used for what comes next.
    ///
    /// Call it until it gives nothing, as `while reader.take(&mut buffer).bytes > 0`: the wake-up
    /// for what came meanwhile has been called already, and the last, empty round is where the
    /// memory of a burst is given back.
    pub fn take(&self, into: &mut Vec<u8>) -> Taken {
        into.clear();
        let mut backlog = self.shared.lock();
        let bytes = backlog.bytes.len();
        into.shrink_to(SLACK.max(2 * bytes));
        mem::swap(into, &mut backlog.bytes);
        let (lost_since, since) = (backlog.lost_since.take(), backlog.since.take());
        let (at_limit, failed) = (backlog.paused, backlog.failed);
        let taken = Taken { bytes, at_limit, lost_since, since, failed };
        let was_paused = mem::take(&mut backlog.paused);
        drop(backlog);
        if was_paused {
            self.shared.emptied.notify_one();
        }
        taken
    }

    /// Has the next records read at once: something waits for one of them.
    pub fn hurry(&self) {
        self.shared.hurried.store(true, Ordering::Relaxed);
    }

    /// How many bytes wait for [`Reader::take`], and since when the first of them.
    pub fn backlog(&self) -> (usize, Option<Instant>) {
        let backlog = self.shared.lock();
        (backlog.bytes.len(), backlog.since)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.lock().end = true;
        self.shared.emptied.notify_one();
        // The counter cannot be full: nobody else writes to it.
        let written = rustix::io::write(&self.shared.end, &1u64.to_ne_bytes());
        if let (Some(thread), Ok(_)) = (self.thread.take(), written) {
            // A panic was reported by its hook; there is nothing to add to it here.
            drop(thread.join());
        }
    }
}

/// How many records these are, and whether the kernel dropped some: at the very end of what it had, or
/// where it had room again.
fn look(bytes: &[u8]) -> (u32, bool) {
    decode(bytes).flatten().fold((0, false), |(count, overflow), it| {
        (count + 1, overflow || it.mask & libc::IN_Q_OVERFLOW != 0)
    })
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, inotify: &Inotify, wake: &dyn Fn()) {
        if let Err(errno) = self.read_until_end(inotify, wake) {
            self.lock().failed = Some(errno.raw_os_error());
            wake();
        }
    }

    /// Reads into a buffer of its own, so that the lock is held for a copy and never for a read.
    fn read_until_end(&self, inotify: &Inotify, wake: &dyn Fn()) -> Result<(), Errno> {
        let mut buffer = vec![0; READ];
        let mut room = READ.min(self.limit);
        // When the queue was last known to be empty: then nothing had been lost.
        let mut empty = time::tick();
        let mut pace = Pace::new(Instant::now());
        while self.wait_for_records(inotify)? {
            if self.hurried.swap(false, Ordering::Relaxed) {
                pace.hurry();
            }
            if let Some(rest) = pace.rest(Instant::now())
                && !self.rest(rest)?
            {
                return Ok(());
            }
            let mut records = 0;
            loop {
                let before = time::tick();
                let got = match rustix::io::read(inotify, &mut buffer[..room]) {
                    Ok(got) => got,
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => continue,
                    Err(errno) => return Err(errno),
                };
                let mut backlog = self.lock();
                let was_empty = backlog.bytes.is_empty();
                if was_empty {
                    backlog.since = Some(Instant::now());
                }
                backlog.bytes.extend_from_slice(&buffer[..got]);
                let (count, overflow) = look(&buffer[..got]);
                records += count;
                if overflow {
                    backlog.lost_since = Some(backlog.lost_since.map_or(empty, |it| it.min(empty)));
                }
                let left = self.limit - backlog.bytes.len();
                let end = backlog.end;
                drop(backlog);
                if was_empty {
                    wake();
                }
                if end {
                    return Ok(());
                }
                // With room to spare for any record, the queue was empty at the end of this read.
                let was_all = room - got >= LARGEST_RECORD;
                room = READ.min(if left < LARGEST_RECORD { self.pause() } else { left });
                if was_all {
                    empty = before;
                    break;
                }
            }
            pace.brought(records);
        }
        Ok(())
    }

    /// Waits until there is something to read; `false` means that the reader is to end.
    fn wait_for_records(&self, inotify: &Inotify) -> Result<bool, Errno> {
        let mut fds = [PollFd::new(inotify, PollFlags::IN), PollFd::new(&self.end, PollFlags::IN)];
        loop {
            match poll(&mut fds, None) {
                Ok(_) => return Ok(fds[1].revents().is_empty()),
                Err(Errno::INTR) => (),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Waits a little; `false` means that the reader is to end.
    fn rest(&self, rest: Duration) -> Result<bool, Errno> {
        let mut fds = [PollFd::new(&self.end, PollFlags::IN)];
        // Shorter than a second.
        let rest = Timespec { tv_sec: 0, tv_nsec: rest.subsec_nanos().into() };
        match poll(&mut fds, Some(&rest)) {
            Ok(ready) => Ok(ready == 0),
            Err(Errno::INTR) => Ok(true),
            Err(errno) => Err(errno),
        }
    }

    /// Waits until the backlog was emptied or the reader is to end, and gives the room there is.
    fn pause(&self) -> usize {
        let mut backlog = self.lock();
        while !backlog.end && self.limit - backlog.bytes.len() < LARGEST_RECORD {
            backlog.paused = true;
            backlog = self.emptied.wait(backlog).unwrap_or_else(PoisonError::into_inner);
        }
        (self.limit - backlog.bytes.len()).max(LARGEST_RECORD)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;
    use crate::inotify::{decode, drain};

    const CREATE: u32 = 0x100;
    const OVERFLOW: u32 = 0x4000;

    /// A watched directory with a short path, so that many files are made quickly.
    fn watched() -> (tempfile::TempDir, Inotify) {
        let dir = tempfile::tempdir().unwrap();
        let inotify = Inotify::new().unwrap();
        inotify.add(dir.path().to_str().unwrap(), CREATE).unwrap();
        (dir, inotify)
    }

    fn make(dir: &tempfile::TempDir, name: usize) {
        let path = dir.path().join(format!("{name:06}"));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::RegularFile,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
    }

    #[test]
    fn nothing_is_lost_while_the_consumer_stands_still() {
        const FILES: usize = 100_000;
        let (dir, inotify) = watched();
        let (woken, wakes) = mpsc::channel();
        let reader =
            Reader::spawn(&inotify, 64 << 20, move || woken.send(()).unwrap_or(())).unwrap();
        for name in 0..FILES {
            make(&dir, name);
            // The kernel's queue is smaller than this test: let the reader keep up, not us.
            while name % 4096 == 4095 && reader.backlog().0 < (name - 4000) * 32 {
                thread::yield_now();
            }
        }
        let (mut bytes, mut seen) = (Vec::new(), 0);
        while seen < FILES {
            wakes.recv().unwrap();
            while reader.take(&mut bytes).bytes > 0 {
                for record in decode(&bytes) {
                    let record = record.unwrap();
                    assert_eq!(record.name, format!("{seen:06}").as_bytes());
                    seen += 1;
                }
            }
        }
        assert_eq!(seen, FILES);
        assert!(bytes.capacity() <= 2 * SLACK, "memory of the burst is given back");
        assert!(reader.shared.lock().bytes.capacity() <= 2 * SLACK);
    }

    #[test]
    fn at_its_limit_the_reader_leaves_the_rest_to_the_kernel() {
        let (dir, inotify) = watched();
        let limit = 8 * 1024;
        let reader = Reader::spawn(&inotify, limit, || ()).unwrap();
        for name in 0..10_000 {
            make(&dir, name);
        }
        // 32 bytes a record, and room for the largest is kept.
        while reader.backlog().0 + LARGEST_RECORD <= limit || !reader.shared.lock().paused {
            thread::yield_now();
        }
        assert!(reader.backlog().0 <= limit);
        let mut kernel = Vec::new();
        let (mut bytes, mut seen, mut at_limit) = (Vec::new(), 0, 0);
        while seen < 10_000 {
            let taken = reader.take(&mut bytes);
            assert!(taken.bytes <= limit);
            at_limit += usize::from(taken.at_limit);
            for record in decode(&bytes) {
                let record = record.unwrap();
                assert_eq!(record.mask & OVERFLOW, 0);
                assert_eq!(record.name, format!("{seen:06}").as_bytes());
                seen += 1;
            }
            thread::yield_now();
        }
        assert!(at_limit > 1, "paused and went on");
        drop(reader);
        assert_eq!(drain(&inotify, &mut kernel).unwrap(), 0);
    }

    #[test]
    fn what_was_before_a_loss_is_taken_together_with_it() {
        const USUAL: usize = 16_384;
        let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        if limit.trim().parse::<usize>().unwrap() > USUAL {
            return eprintln!("skipped: the queue is longer than usual");
        }
        let dir = tempfile::tempdir().unwrap();
        let inotify = Inotify::new().unwrap();
        inotify.add(dir.path().to_str().unwrap(), libc::IN_ATTRIB).unwrap();
        // Two in turn, as two events alike are one.
        let files = ["a".repeat(47), "b".repeat(47)].map(|it| File::create(dir.path().join(it)));
        for file in files.iter().cycle().take(USUAL + 2) {
            rustix::fs::fchmod(file.as_ref().unwrap(), rustix::fs::Mode::RUSR).unwrap();
        }
        let (woken, wakes) = mpsc::channel();
        let reader =
            Reader::spawn(&inotify, 64 << 20, move || woken.send(()).unwrap_or(())).unwrap();
        wakes.recv().unwrap();
        assert!(reader.take(&mut Vec::new()).lost_since.is_some());
    }

    #[test]
    fn it_wakes_at_the_edge_only_and_never_when_idle() {
        let (dir, inotify) = watched();
        let count = Arc::new(AtomicUsize::new(0));
        let (woken, wakes) = mpsc::channel();
        let reader = Reader::spawn(&inotify, 1 << 20, {
            let count = Arc::clone(&count);
            move || {
                count.fetch_add(1, Ordering::SeqCst);
                woken.send(()).unwrap_or(());
            }
        })
        .unwrap();
        make(&dir, 0);
        wakes.recv().unwrap();
        for name in 1..1_000 {
            make(&dir, name);
        }
        while reader.backlog().0 < 1_000 * 32 {
            thread::yield_now();
        }
        assert_eq!(count.load(Ordering::SeqCst), 1, "not empty in between: one edge");
        let mut bytes = Vec::new();
        assert_eq!(reader.take(&mut bytes).bytes, 32_000);
        assert_eq!(reader.take(&mut bytes), Taken::default());

        make(&dir, 5_000);
        wakes.recv().unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_dropped_reader_ends_its_thread_also_while_paused() {
        let (dir, inotify) = watched();
        let alive = Arc::new(());
        for paused in [false, true] {
            let reader = Reader::spawn(&inotify, 0, {
                let alive = Arc::clone(&alive);
                move || assert!(Arc::strong_count(&alive) > 1)
            })
            .unwrap();
            for name in 0..1_000 * usize::from(paused) {
                make(&dir, name);
            }
            while reader.shared.lock().paused != paused {
                thread::yield_now();
            }
            assert_eq!(Arc::strong_count(&alive), 2);
            drop(reader);
            assert_eq!(Arc::strong_count(&alive), 1);
        }
    }

    #[test]
    fn a_read_error_is_told_and_not_repeated() {
        // Not an inotify instance, but a directory: read(2) says EISDIR, poll(2) says readable.
        let inotify = Inotify::from(OwnedFd::from(File::open("/").unwrap()));
        let (woken, wakes) = mpsc::channel();
        let reader = Reader::spawn(&inotify, 0, move || woken.send(()).unwrap_or(())).unwrap();
        wakes.recv().unwrap();
        assert!(wakes.recv().is_err(), "the thread has ended");
        let taken = reader.take(&mut Vec::new());
        assert_eq!(taken.failed, Some(Errno::ISDIR.raw_os_error()));
    }
}
