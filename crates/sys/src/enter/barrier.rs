//! A mark in the kernel's queue, behind everything that is already there: adding and removing a
//! watch makes an `IN_IGNORED` for it.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::MemfdFlags;

use crate::inotify::Inotify;

/// A memfd to watch: no real file is touched, and no watch of the tree's is disturbed. Each
/// thread needs its own, because the same inode has the same wd.
#[derive(Debug, Default)]
pub struct Barrier {
    memfd: Option<OwnedFd>,
    /// Held so that there is something to remove when no watch is left.
    reserve: Option<i32>,
}

impl Barrier {
    /// One that holds a watch in reserve, if one can be had.
    pub fn with_reserve(inotify: &Inotify) -> Self {
        let mut barrier = Self::default();
        barrier.reserve = barrier.add(inotify);
        barrier
    }

    /// Puts the mark; its wd is never used again before the numbers wrap around.
    pub fn put(&mut self, inotify: &Inotify) -> Option<i32> {
        let keeps_one = self.reserve.is_some();
        let wd = self.reserve.take().or_else(|| self.add(inotify))?;
        inotify.remove_reserved(wd).ok()?;
        if keeps_one {
            self.reserve = self.add(inotify);
        }
        Some(wd)
    }

    fn add(&mut self, inotify: &Inotify) -> Option<i32> {
        if self.memfd.is_none() {
            self.memfd = rustix::fs::memfd_create("pyinotifyd-barrier", MemfdFlags::CLOEXEC).ok();
        }
        let memfd = self.memfd.as_ref()?.as_raw_fd();
        // A memfd is never moved, so this watch has nothing to say but its IN_IGNORED.
        inotify.reserve(&format!("/proc/self/fd/{memfd}"), libc::IN_MOVE_SELF).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_barriers_hold_in_reserve_is_not_taken_for_a_watch_of_others() {
        let inotify = Inotify::new().unwrap();
        let mut barriers = [0, 1, 2].map(|_| Barrier::with_reserve(&inotify));
        assert!(barriers.iter().all(|it| it.reserve.is_some()));
        assert_eq!(inotify.watches().unwrap(), [0; 0]);
        for barrier in &mut barriers {
            assert!(barrier.put(&inotify).is_some());
        }
        assert!(barriers.iter().all(|it| it.reserve.is_some()));
        assert_eq!(inotify.watches().unwrap(), [0; 0]);
    }
}
