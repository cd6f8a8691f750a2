//! Reading inotify, and nothing else.

use std::{
    ffi::OsStr,
    fs,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::inotify::{CreateFlags, ReadFlags, WatchFlags, add_watch, init},
    io::{Errno, read},
    time::ClockId,
};

use crate::{Fault, clock, figure, micros_each, timed};

/// The size of an event without a name (inotify(7)).
const HEADER: usize = 16;

/// Fills the queue, then reads it until it is empty.
pub(crate) fn drain(count: u64) -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    let inotify = watch(folder.path())?;
    for number in 0..count {
        // IN_CREATE and no more.
        fs::create_dir(folder.path().join(number.to_string()))?;
    }
    let (time, events) = timed(ClockId::ThreadCPUTime, || read_all(&inotify, &mut buffer()))?;
    figure("drain", micros_each(time, events), "µs-CPU/event");
    figure("events", events as f64, "events");
    Ok(())
}

/// Reads while a thread makes events.
pub(crate) fn live(count: u64) -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    let inotify = watch(folder.path())?;
    let mut buffer = buffer();
    let done = AtomicBool::new(false);
    let writer = || -> Result<(), std::io::Error> {
        let file = folder.path().join("file");
        for _ in 0..count / 2 {
            drop(fs::File::create(&file)?);
            fs::remove_file(&file)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let outcome = writer();
            done.store(true, Ordering::Release);
            outcome
        });
        let start = clock(ClockId::ThreadCPUTime);
        let mut events = 0;
        loop {
            // Asked before the reading: what was made before the end is read after it.
            let last = done.load(Ordering::Acquire);
            events += read_all(&inotify, &mut buffer)?;
            if last {
                break;
            }
            let limit = rustix::time::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            poll(&mut [PollFd::new(&inotify, PollFlags::IN)], Some(&limit))?;
        }
        let time = clock(ClockId::ThreadCPUTime).saturating_sub(start);
        writing.join().expect("the writer does not panic")?;
        figure("live", micros_each(time, events), "µs-CPU/event");
        figure("events", events as f64, "events");
        Ok(())
    })
}

/// Renames each file into another directory once its event has been read, while they are made.
pub(crate) fn moves(count: u64) -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    let (from, to) = (folder.path().join("in"), folder.path().join("out"));
    fs::create_dir(&from)?;
    fs::create_dir(&to)?;
    let inotify = init(CreateFlags::CLOEXEC)?;
    add_watch(&inotify, &from, WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_FROM)?;
    thread::scope(|scope| {
        let writing = scope.spawn(|| -> Result<(), std::io::Error> {
            (0..count).try_for_each(|it| fs::File::create(from.join(it.to_string())).map(drop))
        });
        let start = clock(ClockId::ThreadCPUTime);
        let (mut moved, mut buffer) = (0, buffer());
        let mut reader = rustix::fs::inotify::Reader::new(&inotify, &mut buffer);
        while moved < count {
            let event = reader.next()?;
            let name = event.file_name().map(|it| OsStr::from_bytes(it.to_bytes()));
            if let (Some(name), true) = (name, event.events().contains(ReadFlags::CLOSE_WRITE)) {
                fs::rename(from.join(name), to.join(name))?;
                moved += 1;
            }
        }
        let time = clock(ClockId::ThreadCPUTime).saturating_sub(start);
        writing.join().expect("the writer does not panic")?;
        figure("read-and-rename", micros_each(time, moved), "µs-CPU/file");
        Ok(())
    })
}

fn watch(folder: &Path) -> Result<OwnedFd, Fault> {
    let inotify = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    add_watch(&inotify, folder, WatchFlags::CREATE | WatchFlags::DELETE)?;
    Ok(inotify)
}

/// Room for a read; as large as pays.
fn buffer() -> Vec<MaybeUninit<u8>> {
    vec![MaybeUninit::uninit(); 256 << 10]
}

/// Reads until nothing is left; how many events it was.
fn read_all(inotify: &OwnedFd, buffer: &mut [MaybeUninit<u8>]) -> Result<u64, Fault> {
    let mut events = 0;
    loop {
        let bytes = match read(inotify, &mut *buffer) {
            Ok((bytes, _)) => bytes,
            Err(Errno::AGAIN) => return Ok(events),
            Err(error) => return Err(format!("cannot read events: {error}").into()),
        };
        let mut rest = &*bytes;
        while let Some((header, tail)) = rest.split_at_checked(HEADER) {
            let len = u32::from_ne_bytes(header[12..].try_into().expect("four bytes"));
            rest = tail.get(usize::try_from(len)?..).ok_or("an event was cut")?;
            events += 1;
        }
    }
}
