//! One inotify instance: made, read, decoded.
//!
//! Adding watches belongs to [`crate::enter`], because a watch is only sure to be on the right
//! directory when it is added to an open one. What the records mean belongs to the tree.

mod decode;
mod pace;
mod reader;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, Mode, OFlags, inotify};
use rustix::io::Errno;

pub use decode::{Decode, DecodeError, RawRecord, decode};
pub use reader::{Reader, Taken};

use crate::limits::{self, Limits};

/// The largest record: the header, and a name of `NAME_MAX` bytes with its NUL, padded to 16.
/// A `read(2)` with less room fails with EINVAL (`inotify(7)`).
pub const LARGEST_RECORD: usize = 16 + 256;

/// An inotify instance, shared by whoever adds watches and whoever reads.
///
/// One instance serves all watches: a user has only 128 of them (`fs.inotify.max_user_instances`).
/// It is closed when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Inotify(Arc<Instance>);

#[derive(Debug)]
struct Instance {
    fd: OwnedFd,
    /// Watches that are nobody's but a barrier's.
    reserved: Mutex<BTreeSet<i32>>,
}

impl From<OwnedFd> for Inotify {
    fn from(fd: OwnedFd) -> Self {
        Self(Arc::new(Instance { fd, reserved: Mutex::default() }))
    }
}

/// Why there is no inotify instance. The kernel says EMFILE for two different limits.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// `fs.inotify.max_user_instances` is reached.
    #[error(
        "cannot make an inotify instance: the limit of instances for this user is reached{}",
        limits::shown(*limit)
    )]
    InstanceLimit {
        /// The limit, where it can be read.
        limit: Option<u64>,
    },
    /// This process (EMFILE) or the whole system (ENFILE) has no file descriptor left.
    #[error("cannot make an inotify instance: no file descriptor is left")]
    DescriptorLimit(#[source] io::Error),
    /// Anything else that `inotify_init1` says.
    #[error("cannot make an inotify instance: inotify_init1")]
    Failed(#[source] io::Error),
}

impl Inotify {
    /// Makes an instance: close-on-exec, and reads do not block.
    pub fn new() -> Result<Self, InitError> {
        match inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK) {
            Ok(fd) => Ok(fd.into()),
            Err(errno @ Errno::NFILE) => Err(InitError::DescriptorLimit(errno.into())),
            Err(Errno::MFILE) => Err(which_limit()),
            Err(errno) => Err(InitError::Failed(errno.into())),
        }
    }

    /// Removes a watch. One that the kernel has removed already is no error.
    ///
    /// What was queued for it stays queued, with an `IN_IGNORED` behind it.
    pub fn remove(&self, wd: i32) -> io::Result<()> {
        match inotify::remove_watch(self, wd) {
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// All its watches but those in reserve, as the kernel has them by now (`proc_pid_fdinfo(5)`):
    /// 50,000 in 0.14 s.
    pub fn watches(&self) -> io::Result<Vec<i32>> {
        // Locked until it is read: one that is about to be held in reserve is no other.
        let reserved = self.reserved();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.as_raw_fd()))?;
        Ok(info.lines().filter_map(watch_in).filter(|it| !reserved.contains(it)).collect())
    }

    /// Adds a watch, to be held in reserve.
    pub(crate) fn reserve(&self, path: &str, mask: u32) -> Result<i32, Errno> {
        let mut reserved = self.reserved();
        let wd = self.add(path, mask)?;
        reserved.insert(wd);
        Ok(wd)
    }

    /// Removes a watch that was held in reserve.
    pub(crate) fn remove_reserved(&self, wd: i32) -> io::Result<()> {
        let mut reserved = self.reserved();
        reserved.remove(&wd);
        self.remove(wd)
    }

    fn reserved(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        // It is whole even after a panic.
        self.0.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a watch by path, with `flags` as they are: for what is known to be the right thing.
    pub(crate) fn add(&self, path: &str, mask: u32) -> Result<i32, Errno> {
        inotify::add_watch(self, path, inotify::WatchFlags::from_bits_retain(mask))
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl AsRawFd for Inotify {
    fn as_raw_fd(&self) -> RawFd {
        self.0.fd.as_raw_fd()
    }
}

/// The watch of a line of `fdinfo`, which has it in hexadecimal digits.
fn watch_in(line: &str) -> Option<i32> {
    let digits = line.strip_prefix("inotify wd:")?.split(' ').next()?;
    i32::from_str_radix(digits, 16).ok()
}

/// Appends everything that is queued now to `buffer`, and tells how many bytes that was.
///
/// Events are queued before the writer's system call returns, so after this everything that was
/// done before is known. Not for an instance that has a [`Reader`]: the two would share the records.
pub fn drain(inotify: &Inotify, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let before = buffer.len();
    loop {
        buffer.reserve(64 * 1024);
        match rustix::io::read(inotify, spare_capacity(buffer)) {
            Ok(0) | Err(Errno::AGAIN) => return Ok(buffer.len() - before),
            Ok(_) | Err(Errno::INTR) => (),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Tells the two meanings of EMFILE apart by asking for another descriptor.
fn which_limit() -> InitError {
    match rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) => InitError::InstanceLimit { limit: Limits::read().instances },
        Err(errno) => InitError::DescriptorLimit(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_lists_the_watches_that_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let inotify = Inotify::new().unwrap();
        assert_eq!(inotify.watches().unwrap(), [0; 0]);
        let mut added = Vec::new();
        for name in 0..20 {
            let path = dir.path().join(name.to_string());
            std::fs::create_dir(&path).unwrap();
            added.push(inotify.add(path.to_str().unwrap(), 0x100).unwrap());
        }
        let removed = added.remove(17);
        inotify.remove(removed).unwrap();
        let mut listed = inotify.watches().unwrap();
        listed.sort_unstable();
        assert_eq!(listed, added);
        assert_eq!(watch_in("pos:\t0"), None);
        assert_eq!(watch_in("inotify wd:x ino:1"), None);
    }

    #[test]
    fn removing_a_watch_twice_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let inotify = Inotify::new().unwrap();
        let wd = inotify.add(dir.path().to_str().unwrap(), 0x100).unwrap();
        inotify.remove(wd).unwrap();
        inotify.remove(wd).unwrap();
        let mut bytes = Vec::new();
        assert_eq!(drain(&inotify, &mut bytes).unwrap(), 16);
        let record = decode(&bytes).next().unwrap().unwrap();
        assert_eq!((record.wd, record.mask), (wd, 0x8000));
    }
}
