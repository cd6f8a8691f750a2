//! Locks on files, and room for them, as the standard library does not have them.

use std::{fs::File, io};

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
