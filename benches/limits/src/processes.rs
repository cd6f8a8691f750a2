//! Starting programs, and nothing else.
//!
//! The standard library starts a program by `posix_spawn(3)` as long as no user is changed and no
//! code is to run in between, which is what is measured. The program is this one, under a name
//! that makes it end at once.

use std::{
    env, fs,
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rustix::{
    fs::inotify::{CreateFlags, WatchFlags, add_watch, init},
    time::ClockId,
};

use crate::{Fault, clock, figure};

/// The argument that makes the program end at once.
pub(crate) const NOTHING: &str = "__nothing";

/// The argument that makes the program write the time and end.
pub(crate) const STAMP: &str = "__stamp";

/// Writes the time of the monotonic clock, in nanoseconds: to a file, if one is named.
pub(crate) fn stamp(file: Option<&str>) -> Result<(), Fault> {
    let now = u64::try_from(clock(ClockId::Monotonic).as_nanos())?;
    match file {
        Some(file) => {
            fs::File::options()
                .append(true)
                .create(true)
                .open(file)?
                .write_all(&now.to_ne_bytes())?;
        }
        None => std::io::stdout().write_all(&now.to_ne_bytes())?,
    }
    Ok(())
}

/// Starts a program so many times, one after another, then two at once.
pub(crate) fn spawn(count: u64) -> Result<(), Fault> {
    for (name, threads) in [("one-by-one", 1), ("two-at-once", 2)] {
        let start = clock(ClockId::Monotonic);
        thread::scope(|scope| -> Result<(), Fault> {
            let running: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| -> Result<(), std::io::Error> {
                        let mut command = Command::new(env::current_exe()?);
                        command.arg(NOTHING).stdin(Stdio::null());
                        for _ in 0..count / threads {
                            command.status()?;
                        }
                        Ok(())
                    })
                })
                .collect();
            for it in running {
                it.join().expect("nobody panics")?;
            }
            Ok(())
        })?;
        let time = clock(ClockId::Monotonic).saturating_sub(start);
        figure(name, time.as_secs_f64() * 1e3 / count as f64, "ms/program");
    }
    Ok(())
}

/// Closes a watched file, and starts a program as soon as the event is read.
pub(crate) fn latency(count: u64) -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    let inotify = init(CreateFlags::CLOEXEC)?;
    add_watch(&inotify, folder.path(), WatchFlags::CLOSE_WRITE)?;
    let mut command = Command::new(env::current_exe()?);
    command.arg(STAMP).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut buffer = [0; 4096];
    let mut times = Vec::new();
    for _ in 0..count {
        let file = fs::File::create(folder.path().join("file"))?;
        // Its close comes right after; both are in the figure of whoever competes.
        let start = clock(ClockId::Monotonic);
        drop(file);
        rustix::io::read(&inotify, &mut buffer)?;
        let mut child = command.spawn()?;
        let mut nanos = [0; 8];
        child.stdout.take().ok_or("no pipe")?.read_exact(&mut nanos)?;
        child.wait()?;
        times.push(Duration::from_nanos(u64::from_ne_bytes(nanos)).saturating_sub(start));
    }
    times.sort();
    for (name, part) in [("p50", 50), ("p99", 99)] {
        let time = times.get(times.len() * part / 100).ok_or("nothing was measured")?;
        figure(name, time.as_secs_f64() * 1e3, "ms");
    }
    Ok(())
}
