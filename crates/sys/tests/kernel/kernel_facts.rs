//! What the daemon relies on, pinned. A failure here says that this kernel is different, not that
//! our code is wrong.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::mpsc::sync_channel;
use std::thread;

use crate::common::*;
use crate::starts;
use pyinotifyd_sys::enter::{Look, enter};
use pyinotifyd_sys::inotify::{Inotify, LARGEST_RECORD};
use pyinotifyd_sys::lease::{self, Closed};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

#[test]
fn an_event_is_queued_before_the_call_that_made_it_returns() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let inotify = instance();
    watch(&inotify, &dir, CREATE | DELETE);
    let (go, gone) = sync_channel(0);
    let (did, done) = sync_channel(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in gone {
                if round % 2 == 0 {
                    File::create(&path).unwrap();
                } else {
                    fs::remove_file(&path).unwrap();
                }
                did.send(()).unwrap();
            }
        });
        for round in 0..10_000 {
            go.send(round).unwrap();
            done.recv().unwrap();
            let mask = if round % 2 == 0 { CREATE } else { DELETE };
            assert_eq!(seen(&inotify), [(1, mask, "x".into())], "round {round}");
        }
        drop(go);
    });
}

#[test]
fn overflow_is_one_record_at_the_tail_and_takes_in_ignored_with_it() {
    if !is_root() {
        eprintln!("skipped: overflow, because only root may lower max_queued_events");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let inotify = with_short_queue(16);
    let wd = watch(&inotify, &dir, CREATE | DELETE);
    let sub = dir.path().join("sub");
    fs::create_dir(&sub).unwrap();
    let sub_wd = watch(&inotify, &sub, CREATE);
    for name in 0..40 {
        File::create(dir.path().join(name.to_string())).unwrap();
    }
    fs::remove_dir(&sub).unwrap();

    let got = seen(&inotify);
    assert_eq!(got.len(), 17);
    assert_eq!(got[0], (wd, CREATE | ISDIR, "sub".into()));
    assert_eq!(got[15], (wd, CREATE, "14".into()), "the oldest are kept");
    assert_eq!(got[16], (-1, OVERFLOW, String::new()));
    assert_eq!(watched_inode(&inotify, sub_wd), None, "gone, though no IN_IGNORED told");

    File::create(dir.path().join("after")).unwrap();
    assert_eq!(seen(&inotify), [(wd, CREATE, "after".into())], "it flows again");
}

/// An instance whose queue holds `length` records. The sysctl is the whole machine's, so it is
/// lowered for a moment only, and by one test at a time.
fn with_short_queue(length: u32) -> Inotify {
    struct Back(String);
    impl Drop for Back {
        fn drop(&mut self) {
            fs::write(SYSCTL, &self.0).expect("what was read can be written back");
        }
    }
    const SYSCTL: &str = "/proc/sys/fs/inotify/max_queued_events";
    let _lock = queue_lock(FlockOperation::LockExclusive);
    let _back = Back(fs::read_to_string(SYSCTL).unwrap());
    fs::write(SYSCTL, length.to_string()).unwrap();
    Inotify::new().unwrap()
}

#[test]
fn the_barrier_comes_behind_everything_that_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let inotify = instance();
    let wd = watch(&inotify, &dir, CREATE);
    File::create(dir.path().join("before")).unwrap();
    let mut request = request(&dir, CREATE, Look::Everything { probe: false });
    request.barrier = true;
    let found = enter(&inotify, &request).unwrap();
    let barrier = found.barrier.unwrap();
    File::create(dir.path().join("after")).unwrap();
    assert_eq!(
        seen(&inotify),
        [
            (wd, CREATE, "before".into()),
            (barrier, IGNORED, String::new()),
            (wd, CREATE, "after".into())
        ]
    );
}

#[test]
fn a_living_inode_keeps_its_wd_and_gets_the_new_mask() {
    let dir = tempfile::tempdir().unwrap();
    let inotify = instance();
    let wd = watch(&inotify, &dir, CREATE);
    let moved = dir.path().with_extension("moved");
    fs::rename(&dir, &moved).unwrap();
    assert_eq!(watch(&inotify, &moved, DELETE), wd);
    File::create(moved.join("x")).unwrap();
    fs::remove_file(moved.join("x")).unwrap();
    assert_eq!(seen(&inotify), [(wd, DELETE, "x".into())]);
    fs::rename(&moved, &dir).unwrap();
}

#[test]
fn a_wd_is_not_used_again_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let inotify = instance();
    let first = watch(&inotify, &dir, CREATE);
    inotify.remove(first).unwrap();
    assert!(watch(&inotify, &dir, CREATE) > first);
}

#[test]
fn move_self_comes_after_both_halves_of_the_move() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["a", "b", "a/d"] {
        fs::create_dir(at(name)).unwrap();
    }
    let inotify = instance();
    let a = watch(&inotify, at("a"), MOVED_FROM | MOVED_TO);
    let b = watch(&inotify, at("b"), MOVED_FROM | MOVED_TO);
    let d = watch(&inotify, at("a/d"), MOVE_SELF);
    fs::rename(at("a/d"), at("b/e")).unwrap();
    let got = records(&inotify);
    let short: Vec<_> = got.iter().map(|r| (r.wd, r.mask, r.name.as_str())).collect();
    assert_eq!(
        short,
        [(a, MOVED_FROM | ISDIR, "d"), (b, MOVED_TO | ISDIR, "e"), (d, MOVE_SELF, "")]
    );
    assert_eq!(got[0].cookie, got[1].cookie);
    assert_ne!(got[0].cookie, 0);

    // Out of the watched area: no second half, and IN_MOVE_SELF all the same.
    fs::rename(at("b/e"), at("e")).unwrap();
    assert_eq!(
        seen(&inotify),
        [(b, MOVED_FROM | ISDIR, "e".into()), (d, MOVE_SELF, String::new())]
    );
}

#[test]
fn a_removed_directory_says_so_itself_and_then_its_parent_does() {
    let dir = tempfile::tempdir().unwrap();
    let sub = dir.path().join("sub");
    fs::create_dir(&sub).unwrap();
    let inotify = instance();
    let parent = watch(&inotify, &dir, DELETE);
    let wd = watch(&inotify, &sub, DELETE_SELF);
    fs::remove_dir(&sub).unwrap();
    assert_eq!(
        seen(&inotify),
        [
            (wd, DELETE_SELF, String::new()),
            (wd, IGNORED, String::new()),
            (parent, DELETE | ISDIR, "sub".into())
        ]
    );
}

#[test]
fn a_held_descriptor_delays_the_end_of_a_watch() {
    let dir = tempfile::tempdir().unwrap();
    let sub = dir.path().join("sub");
    fs::create_dir(&sub).unwrap();
    let inotify = instance();
    let wd = watch(&inotify, &sub, DELETE_SELF);
    let held = rustix::fs::openat(CWD, &sub, OFlags::PATH, Mode::empty()).unwrap();
    fs::remove_dir(&sub).unwrap();
    assert_eq!(seen(&inotify), []);
    drop(held);
    assert_eq!(seen(&inotify), [(wd, DELETE_SELF, String::new()), (wd, IGNORED, String::new())]);
}

#[test]
fn a_path_descriptor_is_seen_by_no_watcher() {
    let dir = tempfile::tempdir().unwrap();
    let inotify = instance();
    let wd = watch(&inotify, &dir, libc::IN_ALL_EVENTS);
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let place = rustix::fs::openat(CWD, dir.path(), flags, Mode::empty()).unwrap();
    rustix::fs::fstat(&place).unwrap();
    drop(place);
    assert_eq!(seen(&inotify), []);
    drop(File::open(&dir).unwrap());
    assert_eq!(
        seen(&inotify),
        [(wd, OPEN | ISDIR, String::new()), (wd, CLOSE_NOWRITE | ISDIR, String::new())]
    );
}

#[test]
fn a_file_is_closed_with_the_last_copy_of_its_descriptor() {
    let dir = tempfile::tempdir().unwrap();
    let inotify = instance();
    let wd = watch(&inotify, &dir, libc::IN_CLOSE_WRITE);
    let at = |name: &str| dir.path().join(name);
    let writer = File::create(at("x")).unwrap();
    // As `fork` copies it.
    let copy = writer.try_clone().unwrap();
    drop(writer);
    assert_eq!(seen(&inotify), []);
    fs::rename(at("x"), at("y")).unwrap();
    drop(copy);
    assert_eq!(seen(&inotify), [(wd, libc::IN_CLOSE_WRITE, "y".into())], "and by its name then");
}

#[test]
fn a_read_needs_room_for_the_whole_record() {
    let dir = tempfile::tempdir().unwrap();
    let inotify = instance();
    watch(&inotify, &dir, CREATE);
    File::create(dir.path().join("n".repeat(255))).unwrap();
    let mut buffer = [0; LARGEST_RECORD];
    let short = rustix::io::read(&*inotify, &mut buffer[..LARGEST_RECORD - 1]);
    assert_eq!(short, Err(Errno::INVAL));
    assert_eq!(rustix::io::read(&*inotify, &mut buffer), Ok(LARGEST_RECORD));
}

#[test]
fn a_lease_is_refused_exactly_while_there_is_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    let place = File::open(&dir).unwrap();
    let closed = || lease::is_closed(place.as_fd(), b"f");
    let _apart = starts::none();

    let mut writer = File::create(&path).unwrap();
    assert_eq!(closed(), Closed::No);
    let second = writer.try_clone().unwrap();
    writer.write_all(&[0; 4096]).unwrap();
    drop(writer);
    assert_eq!(closed(), Closed::No, "its other descriptor");
    drop(second);
    assert_eq!(closed(), Closed::Yes);
    let _reader = File::open(&path).unwrap();
    assert_eq!(closed(), Closed::Yes, "a reader is no writer");

    let both = File::options().read(true).write(true).open(&path).unwrap();
    let (protection, flags) =
        (rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE, rustix::mm::MapFlags::SHARED);
    // SAFETY: the kernel picks the place; nothing reads or writes through the mapping.
    let map = unsafe { rustix::mm::mmap(std::ptr::null_mut(), 4096, protection, flags, &both, 0) };
    drop(both);
    assert_eq!(closed(), Closed::No, "a shared writable mapping, with no descriptor left");
    // SAFETY: exactly what was mapped above, and nobody has a pointer into it.
    unsafe { rustix::mm::munmap(map.unwrap(), 4096) }.unwrap();
    assert_eq!(closed(), Closed::Yes);
}

#[test]
fn a_probe_is_one_open_and_one_close_and_opens_nothing_but_files() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    File::create(at("file")).unwrap();
    rustix::fs::mknodat(CWD, at("fifo"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    std::os::unix::fs::symlink("file", at("link")).unwrap();
    fs::create_dir(at("sub")).unwrap();
    let writer = File::create(at("written")).unwrap();
    let inotify = instance();
    let place = File::open(&dir).unwrap();
    let wd = watch(&inotify, &dir, libc::IN_ALL_EVENTS);
    for name in ["fifo", "link", "sub"] {
        assert_eq!(lease::is_closed(place.as_fd(), name.as_bytes()), Closed::NotAsked);
    }
    let gone = lease::is_closed(place.as_fd(), b"gone");
    assert!(matches!(gone, Closed::Unknown(doubt) if doubt.errno == libc::ENOENT && !doubt.opened));
    assert_eq!(seen(&inotify), []);
    for (name, closed) in [("file", Closed::Yes), ("written", Closed::No)] {
        assert_eq!(lease::is_closed(place.as_fd(), name.as_bytes()), closed);
        assert_eq!(seen(&inotify), [(wd, OPEN, name.into()), (wd, CLOSE_NOWRITE, name.into())]);
    }
    drop(writer);
}

#[test]
fn a_broken_lease_harms_neither_us_nor_our_children() {
    lease::prepare();
    // SAFETY: raise has no preconditions; the handler is in place.
    assert_eq!(unsafe { libc::raise(libc::SIGIO) }, 0);
    let start = starts::one();
    let status = Command::new("cat").arg("/proc/self/status").output().unwrap();
    drop(start);
    let status = String::from_utf8(status.stdout).unwrap();
    for field in ["SigIgn:", "SigCgt:"] {
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        let signals = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(signals >> (libc::SIGIO - 1) & 1, 0, "{field} {line}");
    }
}
