//! Locks on files, room for them, and the end of a disk, as the standard library does not have them.

use std::{fs::File, io, os::fd::AsRawFd};

use rustix::{
    fs::{FallocateFlags, FlockOperation, fallocate, flock},
    io::Errno,
};

/// Locks an open file for as long as it is open (`flock(2)`); `false` if somebody else has it
/// locked.
///
/// # Errors
///
/// Those of `flock(2)`.
pub fn lock(file: &File) -> io::Result<bool> {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => (),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Makes a file that large with all its room taken (`fallocate(2)`).
///
/// # Errors
///
/// Those of `fallocate(2)`; [`io::ErrorKind::Unsupported`] where the file system cannot.
pub fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => return Ok(()),
            Err(Errno::INTR) => (),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Shuts down the file system of an open file as a loss of power would: what is not on the disk is
/// lost, its log included, and nothing works there until it is mounted again. For tests of what is
/// left then; only root may, and only ext4, XFS and their kin can.
///
/// # Errors
///
/// Those of `ioctl(2)`; `ENOTTY` where the file system cannot.
pub fn shut_down(file: &File) -> io::Result<()> {
    // EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one: _IOR('X', 125, __u32). Its argument is read.
    const SHUTDOWN: libc::Ioctl = 0x8004_587d_u32 as libc::Ioctl;
    let no_log_flush: u32 = 2;
    // SAFETY: the request reads a u32 behind the pointer, which is valid; the descriptor is open.
    match unsafe { libc::ioctl(file.as_raw_fd(), SHUTDOWN, &raw const no_log_flush) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_is_locked_once_for_as_long_as_it_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = File::create(&path).unwrap();
        assert!(lock(&first).unwrap());
        let second = File::open(&path).unwrap();
        assert!(!lock(&second).unwrap());
        drop(first);
        assert!(lock(&second).unwrap());
    }

    #[test]
    fn what_cannot_be_shut_down_says_so() {
        let file = File::open("/proc/self/status").unwrap();
        assert!(shut_down(&file).is_err());
    }

    #[test]
    fn what_is_reserved_takes_room() {
        let file = tempfile::tempfile().unwrap();
        match reserve(&file, 1 << 16) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                eprintln!("skipped: reserving, because this file system cannot");
            }
            done => {
                done.unwrap();
                let stat = file.metadata().unwrap();
                assert_eq!(stat.len(), 1 << 16);
                assert!(stat.blocks() * 512 >= 1 << 16);
            }
        }
    }
}
