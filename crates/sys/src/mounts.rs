//! What is mounted, and what has changed about that since it was last asked. inotify says nothing
//! when a file system is mounted over a watched directory, but `/proc/self/mountinfo` becomes
//! readable for POLLPRI (`proc(5)`). Which Watch a change concerns is decided by the tree.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// How often a table that changes while it is read is read again.
const TRIES: usize = 10;

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MountPoint {
    /// Where it is mounted, as seen from the root of this process.
    pub path: Box<[u8]>,
    /// The kernel's number for it, used again for another mount once this one is gone.
    pub id: u64,
    /// The device number of what is mounted, as `stat(2)` shows it on most file systems.
    pub dev: u64,
    /// The directory of the file system that is mounted there: not `/` for a bind mount.
    pub root: Box<[u8]>,
    /// `ext4`, `nfs4`, `fuse.sshfs` …
    pub fstype: Box<[u8]>,
}

/// One difference between two looks at the table. A mount that was moved gives both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountChange {
    /// It is mounted now and was not.
    Mounted(MountPoint),
    /// It was mounted and is no more.
    Unmounted(MountPoint),
}

/// A look at the mount table of this process that can be waited for.
///
/// Wait for POLLPRI on its descriptor (tokio's `AsyncFd` with `Interest::PRIORITY`), then call
/// [`MountWatch::changed`]. Waiting costs nothing; it pins no mount.
#[derive(Debug)]
pub struct MountWatch {
    file: File,
    known: BTreeSet<MountPoint>,
    text: Vec<u8>,
}

impl MountWatch {
    /// Reads the table for the first time.
    pub fn new() -> io::Result<Self> {
        let file = File::open("/proc/self/mountinfo")?;
        let mut watch = Self { file, known: BTreeSet::new(), text: Vec::new() };
        watch.known = watch.read()?;
        Ok(watch)
    }

    /// What is mounted, as of the last look.
    pub fn known(&self) -> impl Iterator<Item = &MountPoint> {
        self.known.iter()
    }

    /// What has changed since the last look: first what is gone, then what is new, each by path.
    /// On an error the next call tells what this one could not.
    pub fn changed(&mut self) -> io::Result<Vec<MountChange>> {
        let now = self.read()?;
        let gone = self.known.difference(&now).cloned().map(MountChange::Unmounted);
        let new = now.difference(&self.known).cloned().map(MountChange::Mounted);
        let changes = gone.chain(new).collect();
        self.known = now;
        Ok(changes)
    }

    /// Reads the whole table. The kernel gives it in pieces of a page, and a mount or unmount
    /// between two of them shifts the lines, so it is read until it stood still meanwhile.
    fn read(&mut self) -> io::Result<BTreeSet<MountPoint>> {
        for _ in 0..TRIES {
            // Also puts the mark from which the next poll counts.
            has_changed(&self.file)?;
            self.text.clear();
            self.file.seek(SeekFrom::Start(0))?;
            self.file.read_to_end(&mut self.text)?;
            if !has_changed(&self.file)? {
                break;
            }
        }
        let lines = self.text.split(|byte| *byte == b'\n');
        Ok(lines.filter_map(mount_point).collect())
    }
}

impl AsFd for MountWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for MountWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Whether the table has changed since this was last asked, by us or by an epoll.
fn has_changed(file: &File) -> io::Result<bool> {
    let mut fds = [PollFd::new(file, PollFlags::PRI)];
    loop {
        match poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
            Ok(_) => return Ok(fds[0].revents().intersects(PollFlags::PRI | PollFlags::ERR)),
            Err(Errno::INTR) => (),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw` (`proc(5)`). A line of
/// another form is left out.
fn mount_point(line: &[u8]) -> Option<MountPoint> {
    let mut words = line.split(|byte| *byte == b' ');
    let id = str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let (major, minor) = str::from_utf8(words.nth(1)?).ok()?.split_once(':')?;
    let dev = rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?);
    let root = unescape(words.next()?);
    let path = unescape(words.next()?);
    // Optional fields end with a lone hyphen.
    let fstype = unescape(words.skip_while(|word| *word != b"-").nth(1)?);
    Some(MountPoint { path, id, dev, root, fstype })
}

/// Space, tab, newline, backslash and `#` are written as a backslash and three octal digits.
fn unescape(word: &[u8]) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = |digits: &[u8; 3]| {
            let digits = str::from_utf8(digits).ok()?;
            digits.bytes().all(|digit| matches!(digit, b'0'..=b'7')).then_some(())?;
            u8::from_str_radix(digits, 8).ok()
        };
        match after.split_first_chunk().and_then(|(digits, after)| Some((octal(digits)?, after))) {
            Some((escaped, after)) if byte == b'\\' => {
                bytes.push(escaped);
                rest = after;
            }
            Some(_) | None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_read_with_its_optional_fields_and_escapes() {
        let line = br"36 35 98:0 /a\040b /mnt/x\134\011y\012 rw,noatime master:1 shared:2 - fuse.a\040b /dev/root rw";
        let mount = mount_point(line).unwrap();
        assert_eq!(&*mount.path, b"/mnt/x\\\ty\n");
        assert_eq!(&*mount.root, b"/a b");
        assert_eq!(&*mount.fstype, b"fuse.a b");
        assert_eq!((mount.id, mount.dev), (36, rustix::fs::makedev(98, 0)));
        assert_eq!(mount_point(b"36 35 98:0 / /mnt rw - ext4 x rw").unwrap().fstype[..], *b"ext4");
        assert_eq!(mount_point(b""), None);
        assert_eq!(mount_point(b"36 35 98:0 / /mnt rw"), None);
    }

    #[test]
    fn what_is_no_escape_is_left_as_it_is() {
        assert_eq!(&*unescape(br"\400\99x\04"), br"\400\99x\04");
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            mount_point(&line);
        }

        #[test]
        fn what_the_kernel_escapes_comes_back(path in proptest::collection::vec(any::<u8>(), 0..50)) {
            let mut escaped = Vec::new();
            for byte in &path {
                match byte {
                    b' ' | b'\t' | b'\n' | b'\\' | b'#' => {
                        escaped.extend(format!("\\{byte:03o}").bytes());
                    }
                    other => escaped.push(*other),
                }
            }
            prop_assert_eq!(&*unescape(&escaped), &path[..]);
        }
    }

    #[test]
    fn the_table_of_this_machine_has_a_root() {
        let mut watch = MountWatch::new().unwrap();
        assert!(watch.known().any(|mount| &*mount.path == b"/"));
        watch.changed().unwrap();
    }
}
