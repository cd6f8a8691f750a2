//! Walking, renaming and copying, and nothing else.

use std::{
    fs::{self, File},
    io::Write,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustix::{
    fs::{
        CWD, FileType, Mode, OFlags, RawDir, copy_file_range,
        inotify::{CreateFlags, WatchFlags, add_watch, init},
        openat,
    },
    time::ClockId,
};

use crate::{Fault, clock, figure, micros_each, timed};

/// Lists a tree of so many directories, and lists and watches it, with one thread and with two.
pub(crate) fn walk(count: u64) -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    // A fan of a hundred, as trees of people have it.
    for number in 0..count.div_ceil(100) {
        let branch = folder.path().join(number.to_string());
        fs::create_dir(&branch)?;
        for leaf in 1..100 {
            fs::create_dir(branch.join(leaf.to_string()))?;
        }
    }
    for (name, watches, threads) in [
        ("list", false, 1),
        ("list-watch", true, 1),
        ("list-2-threads", false, 2),
        ("list-watch-2-threads", true, 2),
    ] {
        let inotify = if watches { Some(init(CreateFlags::CLOEXEC)?) } else { None };
        let before = clock(ClockId::ProcessCPUTime);
        let (time, met) =
            timed(ClockId::Monotonic, || walk_tree(folder.path(), inotify.as_ref(), threads))?;
        let cpu = clock(ClockId::ProcessCPUTime).saturating_sub(before);
        figure(name, micros_each(time, met as u64), "µs/directory");
        figure(&format!("{name}-cpu"), micros_each(cpu, met as u64), "µs-CPU/directory");
    }
    Ok(())
}

/// How many directories there are below `top`, and it itself.
fn walk_tree(top: &Path, inotify: Option<&OwnedFd>, threads: usize) -> Result<usize, Fault> {
    let left = Mutex::new(vec![top.to_owned()]);
    // Directories that are known and not listed yet, taken or not.
    let open = AtomicUsize::new(1);
    let met = AtomicUsize::new(0);
    let work = || -> Result<(), rustix::io::Errno> {
        let mut buffer = vec![MaybeUninit::<u8>::uninit(); 32 << 10];
        let mut found = Vec::new();
        while open.load(Ordering::Acquire) > 0 {
            let taken = left.lock().expect("nobody panics").pop();
            let Some(path) = taken else {
                thread::yield_now();
                continue;
            };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = openat(CWD, &path, flags, Mode::empty())?;
            if let Some(inotify) = inotify {
                add_watch(inotify, &path, WatchFlags::CREATE | WatchFlags::ONLYDIR)?;
            }
            let mut entries = RawDir::new(&folder, &mut buffer);
            while let Some(entry) = entries.next() {
                let entry = entry?;
                let name = entry.file_name();
                if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
                    let name = std::ffi::OsStr::from_bytes(name.to_bytes());
                    found.push(path.join(name));
                }
            }
            met.fetch_add(1, Ordering::Relaxed);
            open.fetch_add(found.len(), Ordering::AcqRel);
            left.lock().expect("nobody panics").append(&mut found);
            open.fetch_sub(1, Ordering::AcqRel);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        work()?;
        others.into_iter().try_for_each(|it| it.join().expect("nobody panics"))
    })?;
    Ok(met.into_inner())
}

/// Renames a file to and fro.
pub(crate) fn rename(count: u64) -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    File::create(&one)?;
    let (time, ()) = timed(ClockId::Monotonic, || {
        for _ in 0..count / 2 {
            fs::rename(&one, &other)?;
            fs::rename(&other, &one)?;
        }
        Ok(())
    })?;
    figure("rename", micros_each(time, count), "µs/file");
    Ok(())
}

/// Copies a file of so many bytes.
pub(crate) fn copy(size: u64) -> Result<(), Fault> {
    let folder = tempfile::tempdir()?;
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let block = vec![0x5a; 1 << 20];
    let mut file = File::create(&from)?;
    for _ in 0..size >> 20 {
        file.write_all(&block)?;
    }
    drop(file);
    let (time, copied) = timed(ClockId::Monotonic, || {
        let (from, to) = (File::open(&from)?, File::create(&to)?);
        let mut copied = 0_usize;
        loop {
            match copy_file_range(&from, None, &to, None, 1 << 30)? {
                0 => return Ok(copied),
                len => copied += len,
            }
        }
    })?;
    figure("copy_file_range", copied as f64 / 1e6 / time.as_secs_f64(), "MB/s");
    Ok(())
}
