//! What the tests on the real kernel share.

use std::fs;
use std::io::Read;
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::RwLockReadGuard;

use pyinotifyd_sys::enter::{Look, Request};
use pyinotifyd_sys::inotify::{Inotify, decode, drain};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags};

use crate::starts;

pub(crate) const ACCESS: u32 = libc::IN_ACCESS;
pub(crate) const CLOSE_NOWRITE: u32 = libc::IN_CLOSE_NOWRITE;
pub(crate) const CREATE: u32 = libc::IN_CREATE;
pub(crate) const DELETE: u32 = libc::IN_DELETE;
pub(crate) const DELETE_SELF: u32 = libc::IN_DELETE_SELF;
pub(crate) const IGNORED: u32 = libc::IN_IGNORED;
pub(crate) const ISDIR: u32 = libc::IN_ISDIR;
pub(crate) const MOVED_FROM: u32 = libc::IN_MOVED_FROM;
pub(crate) const MOVED_TO: u32 = libc::IN_MOVED_TO;
pub(crate) const MOVE_SELF: u32 = libc::IN_MOVE_SELF;
pub(crate) const ONLYDIR: u32 = libc::IN_ONLYDIR;
pub(crate) const OPEN: u32 = libc::IN_OPEN;
pub(crate) const OVERFLOW: u32 = libc::IN_Q_OVERFLOW;

/// An instance with a queue of the usual length: no test shortens it in this moment. As long as
/// there is one, what a test closes is closed at once: no other starts a program.
#[derive(Debug)]
pub(crate) struct Instance {
    inotify: Inotify,
    _apart: RwLockReadGuard<'static, ()>,
}

impl Deref for Instance {
    type Target = Inotify;

    fn deref(&self) -> &Inotify {
        &self.inotify
    }
}

pub(crate) fn instance() -> Instance {
    let _lock = queue_lock(FlockOperation::LockShared);
    Instance { inotify: Inotify::new().unwrap(), _apart: starts::none() }
}

/// Held exclusively by whoever changes `max_queued_events`, which is the whole machine's.
pub(crate) fn queue_lock(operation: FlockOperation) -> OwnedFd {
    let path = std::env::temp_dir().join("pyinotifyd-max-queued-events.lock");
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR).unwrap();
    rustix::fs::flock(&lock, operation).unwrap();
    lock
}

/// A record that owns its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) wd: i32,
    pub(crate) mask: u32,
    pub(crate) cookie: u32,
    pub(crate) name: String,
}

/// Everything that is queued now.
pub(crate) fn records(inotify: &Inotify) -> Vec<Record> {
    let mut bytes = Vec::new();
    drain(inotify, &mut bytes).unwrap();
    decode(&bytes)
        .map(|record| {
            let record = record.unwrap();
            let name = String::from_utf8(record.name.to_vec()).unwrap();
            Record { wd: record.wd, mask: record.mask, cookie: record.cookie, name }
        })
        .collect()
}

/// Everything that is queued now, as wd, mask and name.
pub(crate) fn seen(inotify: &Inotify) -> Vec<(i32, u32, String)> {
    records(inotify).into_iter().map(|record| (record.wd, record.mask, record.name)).collect()
}

pub(crate) fn watch(inotify: &Inotify, path: impl AsRef<Path>, mask: u32) -> i32 {
    let flags = rustix::fs::inotify::WatchFlags::from_bits_retain(mask);
    rustix::fs::inotify::add_watch(inotify, path.as_ref(), flags).unwrap()
}

/// A request for `path`, all of it trusted.
pub(crate) fn request(path: impl AsRef<Path>, mask: u32, look: Look) -> Request {
    let path = path.as_ref().as_os_str().as_encoded_bytes().to_vec();
    Request {
        trusted: path.len(),
        path,
        mask,
        add: false,
        look,
        names: Vec::new(),
        stamps: false,
        barrier: false,
    }
}

/// The inode that the kernel watches under `wd`, from `/proc/self/fdinfo`.
pub(crate) fn watched_inode(inotify: &Inotify, wd: i32) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", inotify.as_raw_fd())).unwrap();
    let line = info.lines().find(|line| line.starts_with(&format!("inotify wd:{wd:x} ")))?;
    let inode = line.split(' ').find_map(|word| word.strip_prefix("ino:")).unwrap();
    Some(u64::from_str_radix(inode, 16).unwrap())
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Runs the test `name` of this program once more in namespaces of its own, which `unshare`'s
/// `options` name, after `script` has set them up; gives whether this is that second run. Both
/// runs of a test begin with this, and the first ends with it.
pub(crate) fn is_inside(name: &str, options: &str, script: &str) -> bool {
    const INSIDE: &str = "PYINOTIFYD_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = || Command::new("unshare");
    let start = starts::one();
    if !unshare().args([options, "true"]).output().is_ok_and(|done| done.status.success()) {
        eprintln!("skipped: {name}, because `unshare {options}` is not permitted here");
        return false;
    }
    let script = format!("{script} || exit 77; exec \"$0\" --exact {name} --nocapture");
    let program = std::env::current_exe().unwrap();
    let mut child = unshare()
        .args([options, "sh", "-c", &script])
        .arg(program)
        .env(INSIDE, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The empty line that it begins with; all else is looked at below.
    let _ = child.stdout.as_mut().unwrap().read(&mut [0]);
    drop(start);
    let done = child.wait_with_output().unwrap();
    if done.status.code() == Some(77) {
        eprintln!("skipped: {name}, because the namespace could not be set up: {done:?}");
        return false;
    }
    let output = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && output.contains("1 passed"), "{done:?}");
    false
}
