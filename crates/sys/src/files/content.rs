//! The bytes of a file, from one descriptor to another: shared if the file system can, by the
//! kernel if it can, by hand otherwise; holes stay holes.

use std::{
    os::fd::OwnedFd,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{self, SeekFrom},
    io::{Errno, pread, pwrite, retry_on_intr},
};

use super::{
    Progress,
    error::{Fault, FileError},
};

/// What is copied between two looks at the cancel flag: a fraction of a second on any disk.
const PIECE: u64 = 8 << 20;
/// What is copied by hand at once.
const BUFFER: usize = 256 << 10;

/// One file's content on its way.
#[derive(Debug)]
pub(super) struct Content<'a> {
    pub(super) from: &'a OwnedFd,
    pub(super) from_path: &'a [u8],
    pub(super) to: &'a OwnedFd,
    pub(super) to_path: &'a [u8],
    /// The size seen when it was opened: what an endless writer adds is not followed.
    pub(super) size: u64,
    pub(super) cancel: &'a AtomicBool,
    pub(super) progress: Option<&'a Progress>,
}

/// How bytes are copied, the better ways first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Kernel,
    Hand,
}

impl Content<'_> {
    /// Copies it all. The target is empty before.
    pub(super) fn copy(&self) -> Result<(), FileError> {
        if self.size == 0 {
            return Ok(());
        }
        // Two files of one file system that can: nothing is copied at all (ioctl_ficlone(2)).
        if fs::ioctl_ficlone(self.to, self.from).is_ok() {
            return Ok(());
        }
        if let Some(progress) = self.progress {
            progress.begun.fetch_add(self.size, Ordering::Relaxed);
        }
        let mut way = Way::Kernel;
        let mut buffer = Vec::new();
        let mut at = 0;
        while let Some((start, end)) = self.next_data(at)? {
            at = start;
            while at < end {
                if self.cancel.load(Ordering::Relaxed) {
                    return Err(FileError::found(Fault::Cancelled, "copy", self.from_path));
                }
                let most = (end - at).min(PIECE);
                let copied = match way {
                    Way::Kernel => self.by_kernel(at, most)?,
                    Way::Hand => Some(self.by_hand(at, most, &mut buffer)?),
                };
                match copied {
                    Some(count) => {
                        at += count;
                        if let Some(progress) = self.progress {
                            progress.copied.fetch_add(count, Ordering::Relaxed);
                        }
                    }
                    None => way = Way::Hand,
                }
            }
        }
        // What is left at the end is a hole.
        retry_on_intr(|| fs::ftruncate(self.to, self.size))
            .map_err(|errno| FileError::system("ftruncate", self.to_path, errno))
    }

    /// Where the next bytes are that are not a hole, at or after `at`.
    fn next_data(&self, at: u64) -> Result<Option<(u64, u64)>, FileError> {
        if at >= self.size {
            return Ok(None);
        }
        let start = match fs::seek(self.from, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return Ok(None),
            // The file system knows no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((at, self.size))),
            Err(errno) => return Err(FileError::system("lseek", self.from_path, errno)),
        };
        let end = match fs::seek(self.from, SeekFrom::Hole(start)) {
            Ok(end) => end.min(self.size),
            // Cut off since: what is missing is noticed when it is read.
            Err(Errno::NXIO) => self.size,
            Err(errno) => return Err(FileError::system("lseek", self.from_path, errno)),
        };
        Ok((start < self.size && start < end).then_some((start, end)))
    }

    /// `None` if the kernel cannot, between these two.
    fn by_kernel(&self, at: u64, most: u64) -> Result<Option<u64>, FileError> {
        let (mut from_at, mut to_at) = (at, at);
        let most = usize::try_from(most).expect("a piece fits into memory");
        match retry_on_intr(|| {
            fs::copy_file_range(self.from, Some(&mut from_at), self.to, Some(&mut to_at), most)
        }) {
            // 0: either the file was cut off, or the file system says so wrongly (procfs, some
            // FUSE). Reading by hand finds out.
            Ok(0)
            | Err(
                Errno::XDEV
                | Errno::INVAL
                | Errno::OPNOTSUPP
                | Errno::NOSYS
                | Errno::PERM
                | Errno::BADF
                | Errno::TXTBSY,
            ) => Ok(None),
            Ok(count) => Ok(Some(count as u64)),
            Err(errno) => Err(FileError::system("copy_file_range", self.to_path, errno)),
        }
    }

    fn by_hand(&self, at: u64, most: u64, buffer: &mut Vec<u8>) -> Result<u64, FileError> {
        buffer.resize(BUFFER, 0);
        let most = usize::try_from(most).map_or(BUFFER, |most| most.min(BUFFER));
        let count = retry_on_intr(|| pread(self.from, &mut buffer[..most], at))
            .map_err(|errno| FileError::system("pread", self.from_path, errno))?;
        if count == 0 {
            return Err(FileError::found(Fault::Changed, "read", self.from_path));
        }
        let mut written = 0;
        while written < count {
            let piece = &buffer[written..count];
            match retry_on_intr(|| pwrite(self.to, piece, at + written as u64)) {
                Ok(0) => return Err(FileError::system("pwrite", self.to_path, Errno::IO)),
                Ok(more) => written += more,
                Err(errno) => return Err(FileError::system("pwrite", self.to_path, errno)),
            }
        }
        Ok(count as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt};

    use super::*;

    #[test]
    fn by_hand_and_by_the_kernel_give_the_same_bytes() {
        let bytes: Vec<u8> = (0..700_001_u32).map(|n| n.to_le_bytes()[1]).collect();
        for hand in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("a"), &bytes).unwrap();
            let from = OwnedFd::from(File::open(dir.path().join("a")).unwrap());
            let to = File::create_new(dir.path().join("b")).unwrap();
            to.write_all_at(b"", 0).unwrap();
            let to = OwnedFd::from(to);
            let (cancel, progress) = (AtomicBool::new(false), Progress::default());
            let size = bytes.len() as u64;
            let content = Content {
                from: &from,
                from_path: b"a",
                to: &to,
                to_path: b"b",
                size,
                cancel: &cancel,
                progress: Some(&progress),
            };
            if hand {
                let (mut at, mut buffer) = (0, Vec::new());
                while at < size {
                    at += content.by_hand(at, size - at, &mut buffer).unwrap();
                }
                let more = content.by_hand(size, 1, &mut buffer).unwrap_err();
                assert_eq!(more.kind, Fault::Changed);
            } else {
                content.copy().unwrap();
                let told = [&progress.begun, &progress.copied].map(|it| it.load(Ordering::Relaxed));
                // A file system that shares bytes copies none.
                assert!(told == [size, size] || told == [0, 0], "{told:?}");
            }
            assert!(std::fs::read(dir.path().join("b")).unwrap() == bytes, "by hand: {hand}");
        }
    }
}
