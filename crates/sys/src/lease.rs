//! Whether anybody has a file open for writing: asked of the kernel, not guessed by waiting.
//!
//! A read lease (`fcntl(2)`, `F_SETLEASE` with `F_RDLCK`) is refused with EAGAIN exactly while a
//! writer, or a shared writable mapping, exists. It is given back at once. Where a lease may not
//! be had (another's file without `CAP_LEASE`), `Writers` looks through `/proc`. What to do with
//! a file in doubt is left to the tree.
//!
//! Each answer costs the watchers of the file one `IN_OPEN` and one `IN_CLOSE_NOWRITE`. One more
//! side effect: somebody who opens the file for writing with `O_NONBLOCK` while we hold the lease
//! gets EAGAIN.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::ptr;
use std::sync::Once;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::errno;

/// What is known about the writers of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Nobody has it open for writing.
    Yes,
    /// Somebody has: the close of it will give an `IN_CLOSE_WRITE`.
    No,
    /// It cannot be known.
    Unknown(Doubt),
    /// It was not asked, or it is not a regular file.
    NotAsked,
}

/// Why it cannot be known whether a file has a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {}", errno::name(*errno))]
pub struct Doubt {
    /// The call that failed.
    pub call: &'static str,
    /// How. EAGAIN of `open`: somebody else's lease is in the way. EACCES of `fcntl`: the file
    /// is another's, `CAP_LEASE` is missing, and not all processes may be looked at. ENOENT: the
    /// file is gone.
    pub errno: i32,
    /// The file was opened and closed, so its watchers saw that.
    pub opened: bool,
}

/// Makes the process survive a broken lease: SIGIO, whose default action would end it, gets a
/// handler that does nothing. Done once, and by every probe itself; a disposition that is not
/// the default is left alone.
///
/// A handler, not `SIG_IGN`: what is ignored stays ignored in every child after exec, a handler
/// is set back to the default there.
pub fn prepare() {
    extern "C" fn nothing(_signal: libc::c_int) {}
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let mut old = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: a null action only asks; `old` is valid for writing a sigaction, for which all
        // bytes zero is a valid value.
        let old = unsafe {
            libc::sigaction(libc::SIGIO, ptr::null(), old.as_mut_ptr());
            old.assume_init()
        };
        if old.sa_sigaction != libc::SIG_DFL {
            return;
        }
        // SAFETY: all bytes zero is a valid sigaction: the default action, an empty mask.
        let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: `action` is a valid sigaction, and its handler touches nothing, so it is
        // async-signal-safe.
        unsafe { libc::sigaction(libc::SIGIO, &raw const action, ptr::null_mut()) };
    });
}

/// Whether the regular file `name` in the directory `dir` has no writer. `name` is one component;
/// a symlink is not followed. Anything but a regular file is [`Closed::NotAsked`], and is never
/// opened.
///
/// About 35 µs; with the look through `/proc`, some milliseconds.
pub fn is_closed(dir: BorrowedFd<'_>, name: &[u8]) -> Closed {
    match probe(dir, name) {
        Probe::Known(closed) => closed,
        Probe::Refused(file) => Writers::find(&[file]).closed(file),
    }
}

/// [`is_closed`] by a path, whose directories may be links.
pub fn is_closed_path(path: &[u8]) -> Closed {
    let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(CWD, path, place, Mode::empty()) {
        Ok(place) => is_closed_at(place.as_fd()),
        Err(errno) => {
            Closed::Unknown(Doubt { call: "open", errno: errno.raw_os_error(), opened: false })
        }
    }
}

/// [`is_closed`] of what is open, by `O_PATH` or otherwise.
pub(crate) fn is_closed_at(place: impl AsFd) -> Closed {
    match probe_at(place.as_fd()) {
        Probe::Known(closed) => closed,
        Probe::Refused(file) => Writers::find(&[file]).closed(file),
    }
}

/// Somebody who has a file open for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The process.
    pub pid: u32,
    /// What it calls itself (`/proc/PID/comm`).
    pub name: Vec<u8>,
}

/// Who has the file with this device and inode open for writing, as far as `/proc` may be looked
/// at; the search ends after `limit`, between two processes.
pub fn writer_of(file: (u64, u64), limit: Duration) -> Option<Writer> {
    let end = crate::time::monotonic() + limit;
    for process in fs::read_dir("/proc").ok()?.flatten() {
        if crate::time::monotonic() > end {
            return None;
        }
        let name = process.file_name();
        let Some(pid) = name.to_str().and_then(|it| it.parse().ok()) else { continue };
        let mut writers = Writers { written: Vec::new(), complete: false };
        // One that cannot be looked at, or is gone meanwhile, is not the one to name.
        let _ = writers.look_at(&process.path(), &[file]);
        if !writers.written.is_empty() {
            let mut name = fs::read(process.path().join("comm")).unwrap_or_default();
            name.truncate(name.trim_ascii_end().len());
            return Some(Writer { pid, name });
        }
    }
    None
}

/// What a lease alone can tell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Probe {
    Known(Closed),
    /// EACCES: [`Writers`] may know more about this device and inode.
    Refused((u64, u64)),
}

/// See [`is_closed`], which this is without the look through `/proc`.
pub(crate) fn probe(dir: BorrowedFd<'_>, name: &[u8]) -> Probe {
    let place = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(dir, name, place, Mode::empty()) {
        Ok(place) => probe_at(place.as_fd()),
        Err(errno) => doubt("open", errno, false),
    }
}

fn doubt(call: &'static str, errno: Errno, opened: bool) -> Probe {
    Probe::Known(Closed::Unknown(Doubt { call, errno: errno.raw_os_error(), opened }))
}

fn probe_at(place: BorrowedFd<'_>) -> Probe {
    prepare();
    let stat = match rustix::fs::fstat(place) {
        Ok(stat) => stat,
        Err(errno) => return doubt("fstat", errno, false),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Probe::Known(Closed::NotAsked);
    }
    // Opened again by its descriptor: what was found to be a regular file, and nothing that has
    // taken its name since.
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let file = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::openat(CWD, path.as_str(), file, Mode::empty()) {
        Ok(file) => file,
        Err(errno) => return doubt("open", errno, false),
    };
    match set_lease(file.as_fd(), libc::F_RDLCK) {
        Ok(()) => {
            // It cannot fail for the lease that was just had; close would give it back as well.
            let _ = set_lease(file.as_fd(), libc::F_UNLCK);
            Probe::Known(Closed::Yes)
        }
        Err(Errno::AGAIN) => Probe::Known(Closed::No),
        Err(Errno::ACCESS | Errno::PERM) => Probe::Refused((stat.st_dev, stat.st_ino)),
        Err(errno) => doubt("fcntl(F_SETLEASE)", errno, true),
    }
}

fn set_lease(file: BorrowedFd<'_>, kind: libc::c_int) -> Result<(), Errno> {
    // SAFETY: F_SETLEASE takes an int and touches no memory of ours; the descriptor is open.
    let done = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    if done == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// The writers of some files, found by looking through the descriptors and the shared mappings of
/// all processes, once for all files that are asked about.
///
/// Weaker than a lease: a descriptor that is handed from a process not yet seen to one already
/// seen is missed.
#[derive(Debug)]
pub(crate) struct Writers {
    written: Vec<(u64, u64)>,
    /// Every process could be looked at.
    complete: bool,
}

impl Writers {
    /// Looks for `files`, each a device and an inode.
    pub(crate) fn find(files: &[(u64, u64)]) -> Self {
        let mut writers = Self { written: Vec::new(), complete: false };
        // With hidepid another's processes are not even listed, so a list is no proof either.
        let Ok(processes) = fs::read_dir("/proc") else { return writers };
        writers.complete = fs::metadata("/proc/1/fd").is_ok();
        for process in processes {
            let Ok(process) = process else {
                writers.complete = false;
                continue;
            };
            let is_process =
                process.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
            if is_process && writers.look_at(&process.path(), files).is_err() {
                // Gone is as good as looked at.
                writers.complete &= !process.path().exists();
            }
        }
        writers
    }

    /// What this says about one of the files that were looked for.
    pub(crate) fn closed(&self, file: (u64, u64)) -> Closed {
        if self.written.contains(&file) {
            Closed::No
        } else if self.complete {
            Closed::Yes
        } else {
            let errno = Errno::ACCESS.raw_os_error();
            Closed::Unknown(Doubt { call: "fcntl(F_SETLEASE)", errno, opened: true })
        }
    }

    fn look_at(&mut self, process: &Path, files: &[(u64, u64)]) -> std::io::Result<()> {
        for fd in fs::read_dir(process.join("fd"))? {
            let name = fd?.file_name();
            // Of a descriptor that is closed meanwhile nothing can be read; it writes no more.
            let Ok(info) = fs::read_to_string(process.join("fdinfo").join(&name)) else { continue };
            if !is_for_writing(&info) {
                continue;
            }
            // Never asks a file server: it might not answer.
            let flags = AtFlags::STATX_DONT_SYNC;
            let wanted = StatxFlags::INO | StatxFlags::TYPE;
            let path = process.join("fd").join(&name);
            if let Ok(stat) = rustix::fs::statx(CWD, &path, flags, wanted) {
                let dev = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
                self.note((dev, stat.stx_ino), files);
            }
        }
        for line in fs::read(process.join("maps"))?.split(|byte| *byte == b'\n') {
            if let Some(file) = shared_writable_mapping(line) {
                self.note(file, files);
            }
        }
        Ok(())
    }

    fn note(&mut self, file: (u64, u64), files: &[(u64, u64)]) {
        if files.contains(&file) && !self.written.contains(&file) {
            self.written.push(file);
        }
    }
}

/// Whether a `/proc/PID/fdinfo/N` is of a descriptor open for writing: its flags are octal.
fn is_for_writing(info: &str) -> bool {
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| {
        flags & libc::O_PATH == 0
            && matches!(flags & libc::O_ACCMODE, libc::O_WRONLY | libc::O_RDWR)
    })
}

/// The device and inode of a line of `/proc/PID/maps`, if it is a shared and writable mapping.
fn shared_writable_mapping(line: &[u8]) -> Option<(u64, u64)> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let permissions = words.nth(1)?;
    if permissions.get(1) != Some(&b'w') || permissions.get(3) != Some(&b's') {
        return None;
    }
    let device = str::from_utf8(words.nth(1)?).ok()?;
    let inode = str::from_utf8(words.next()?).ok()?.parse().ok()?;
    let (major, minor) = device.split_once(':')?;
    let number = |hex| u32::from_str_radix(hex, 16).ok();
    Some((rustix::fs::makedev(number(major)?, number(minor)?), inode))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn only_a_writing_descriptor_counts() {
        assert!(is_for_writing("pos:\t0\nflags:\t0100001\nmnt_id:\t29\n"));
        assert!(is_for_writing("flags:\t0102002\n"));
        assert!(!is_for_writing("flags:\t0100000\n"));
        assert!(!is_for_writing("flags:\t012000001\n"), "O_PATH");
        assert!(!is_for_writing("pos:\t0\n"));
    }

    #[test]
    fn a_mapping_is_read_from_its_line() {
        let line = b"7f1c0000-7f1c1000 rw-s 00000000 fe:00 1234567                   /srv/a b";
        assert_eq!(shared_writable_mapping(line), Some((rustix::fs::makedev(0xfe, 0), 1_234_567)));
        assert_eq!(shared_writable_mapping(b"7f1c0000-7f1c1000 rw-p 00000000 fe:00 1 /a"), None);
        assert_eq!(shared_writable_mapping(b"7f1c0000-7f1c1000 r--s 00000000 fe:00 1 /a"), None);
        assert_eq!(shared_writable_mapping(b""), None);
    }

    #[test]
    fn the_look_through_proc_finds_a_writer_of_our_own() {
        let dir = tempfile::tempdir().unwrap();
        let writer = File::create(dir.path().join("written")).unwrap();
        // Never open, not even for a moment in a child that another test starts just now.
        let closed = dir.path().join("closed");
        rustix::fs::mknodat(CWD, &closed, FileType::RegularFile, Mode::RUSR, 0).unwrap();
        let id = |name| {
            let meta = fs::metadata(dir.path().join(name)).unwrap();
            (meta.dev(), meta.ino())
        };
        let files = [id("written"), id("closed")];
        let found = Writers::find(&files);
        assert_eq!(found.closed(files[0]), Closed::No);
        assert_ne!(found.closed(files[1]), Closed::No);
        let limit = Duration::from_secs(60);
        let by = writer_of(files[0], limit).unwrap();
        assert!(by.pid > 0 && !by.name.is_empty(), "{by:?}");
        assert_eq!(writer_of(files[1], limit), None);
        drop(writer);
        // That child may have this one, until its program is loaded.
        let mut looks = (0..10_000).map(|_| Writers::find(&files).closed(files[0]));
        assert!(looks.any(|it| it != Closed::No));
    }
}
