//! Entering a directory: one open directory answers everything the tree asks about it.
//!
//! The order of the work is load-bearing. The directory is opened; the watch is added to exactly
//! what is open, whatever its path means by now; only then its parent is looked up and its
//! entries are listed, so that whatever the listing misses is told by a record; then a barrier is
//! put into the queue, so that the tree can tell which records overlapped the listing; and then
//! everything is closed, because a descriptor held on a directory delays its `IN_DELETE_SELF` and
//! keeps its file system from being unmounted.
//!
//! What the answers mean is left to the tree.

mod barrier;
mod list;
mod open;
mod walkers;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, OFlags, Statx, StatxFlags};
use rustix::io::Errno;

pub use walkers::Walkers;

pub use crate::lease::{Closed, Doubt};
use crate::{errno, inotify::Inotify, lease, stamp};
pub use barrier::Barrier;

const IN_ONLYDIR: u32 = libc::IN_ONLYDIR;

/// Bits of a mask that say how a watch is added, all of which are decided here; `IN_DONT_FOLLOW` on `/proc/self/fd/N` would watch that link.
const HOW: u32 = libc::IN_MASK_ADD | libc::IN_MASK_CREATE | libc::IN_ONESHOT | libc::IN_DONT_FOLLOW;

/// What is asked of everything that is entered.
const STATX: StatxFlags = stamp::WANTED.union(StatxFlags::MNT_ID);

/// How often an answer that changes under our hands is sought again.
const TRIES: usize = 8;

/// What to enter, and what to ask of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Absolute and without `..` behind its trusted part. It may be longer than `PATH_MAX`.
    pub path: Vec<u8>,
    /// The length of the part of `path` that may go through symlinks: the administrator's words.
    /// It ends at the end of a component. All of `path`: its last component may be a symlink, too.
    pub trusted: usize,
    /// The event types to watch for. `IN_EXCL_UNLINK` is added. With `IN_ONLYDIR` in it, anything but a directory is
    /// [`EnterError::Missing`]; without, a file is watched as well.
    pub mask: u32,
    /// Whether what was watched for before on the same inode stays so (`IN_MASK_ADD`).
    pub add: bool,
    /// Which entries to give back.
    pub look: Look,
    /// For [`Look::Named`]: which.
    pub names: Vec<Box<[u8]>>,
    /// Whether each entry's state is looked at, too.
    pub stamps: bool,
    /// Put a barrier into the queue behind everything that happened up to the end of the listing.
    pub barrier: bool,
}

/// Which entries of a directory are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// None: the directory is opened by `O_PATH` only, which no watcher sees.
    Nothing,
    /// Only its directories.
    Directories,
    /// All.
    Everything {
        /// Find out of each regular file whether anybody has it open for writing.
        probe: bool,
    },
    /// Those of [`Request::names`] that are there, each probed.
    Named,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The watch, or `watch_error` says why there is none.
    pub wd: Option<i32>,
    /// Why there is no watch; everything else was had all the same.
    pub watch_error: Option<WatchError>,
    /// What was entered.
    pub id: Id,
    /// Its state when it was opened.
    pub stamp: stamp::Look,
    /// The directory above it, as of after the watch was added; itself for `/`. `None` for what
    /// is not a directory, and where it may not be asked.
    pub parent: Option<Id>,
    /// The mount that it is in (`stx_mnt_id` of `statx(2)`, Linux 5.8).
    pub mount: u64,
    /// Whether the last name of a path that is trusted to its end is a symlink.
    pub linked: bool,
    /// What kind of thing was entered.
    pub kind: Kind,
    /// Whether it has a writer, if it is a regular file and a probe was asked for.
    pub closed: Closed,
    /// As [`Look`] asked, in the order of the file system, without `.` and `..`.
    pub entries: Vec<Entry>,
    /// The errno for which `entries` is not complete: of opening the directory, or of reading it.
    pub list_error: Option<i32>,
    /// How many `getdents64(2)` were made: each is an `IN_ACCESS` for who watches the directory.
    pub reads: u32,
    /// The directory was opened for reading and closed again: an `IN_OPEN` (before the watch was
    /// added) and an `IN_CLOSE_NOWRITE` for who watches it.
    pub opened: bool,
    /// The wd whose `IN_IGNORED` is the barrier. `None` if it was not asked for, or could not be
    /// had: no watch is left and none was in reserve, or there is no `/proc`.
    pub barrier: Option<i32>,
}

/// A device and inode number, as `stat(2)` gives them. Inode numbers are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

/// As much of a file type as decides what to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It can be entered.
    Directory,
    /// A regular file: it can be open for writing.
    File,
    /// A symlink, FIFO, socket or device: it only comes and goes.
    Other,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, any bytes but NUL and `/`.
    pub name: Box<[u8]>,
    /// What it was when it was listed.
    pub kind: Kind,
    /// Whether it has a writer, if that was asked. `Yes` and `No` cost its watchers exactly one
    /// `IN_OPEN` and one `IN_CLOSE_NOWRITE`.
    pub closed: Closed,
    /// Its state, after it was probed, if that was asked and it was still there.
    pub stamp: Option<stamp::Look>,
}

/// Why something is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// `fs.inotify.max_user_watches` is reached (ENOSPC).
    #[error("inotify_add_watch: the limit of inotify watches is reached")]
    Limit,
    /// The kernel has no memory for it now (ENOMEM): try again later.
    #[error("inotify_add_watch: {}", errno::name(libc::ENOMEM))]
    NoMemory,
    /// It may not be read, so it may not be watched.
    #[error("inotify_add_watch: {}", errno::name(*.0))]
    Denied(i32),
    /// Anything else.
    #[error("{call}: {}", errno::name(*errno))]
    Failed {
        /// The call that failed.
        call: &'static str,
        /// How.
        errno: i32,
    },
}

/// Why nothing was found. The path is the request's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnterError {
    /// There is no such directory: ENOENT, ENOTDIR, or a symlink behind the trusted part.
    #[error("there is no such directory")]
    Missing,
    /// It may not be opened, not even to look at: EACCES or EPERM.
    #[error("open: {}", errno::name(*.0))]
    Denied(i32),
    /// Anything else. EINVAL: the request itself is wrong; ELOOP: the trusted part is a loop.
    #[error("{call}: {}", errno::name(*errno))]
    Failed {
        /// The call that failed.
        call: &'static str,
        /// How.
        errno: i32,
    },
}

/// Enters once, from the caller's thread. For many directories [`Walkers`] are faster.
pub fn enter(inotify: &Inotify, request: &Request) -> Result<Found, EnterError> {
    Walker::new(inotify.clone(), Way::Descriptor).enter(request)
}

/// How a watch gets to what is open, and to nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By the working directory, which belongs to this thread alone.
    WorkingDirectory,
    /// By `/proc/self/fd/N`: a third slower.
    Descriptor,
}

/// What one thread needs for entering.
#[derive(Debug)]
struct Walker {
    inotify: Inotify,
    way: Way,
    barrier: Barrier,
    buffer: Vec<u8>,
}

impl Walker {
    fn new(inotify: Inotify, way: Way) -> Self {
        Self { inotify, way, barrier: Barrier::default(), buffer: Vec::new() }
    }

    fn enter(&mut self, request: &Request) -> Result<Found, EnterError> {
        let opened = open(request)?;
        let fd = opened.fd.as_fd();
        let kind = kind(&opened.stat);

        let watch = self.watch(fd, kind, request);
        let parent = match kind {
            Kind::Directory => statx(fd, "..").ok(),
            Kind::File | Kind::Other => None,
        };
        let closed = match (kind, request.look) {
            (Kind::File, Look::Everything { probe: true } | Look::Named) => lease::is_closed_at(fd),
            _ => Closed::NotAsked,
        };
        let listing = match opened.list {
            List::Asked => list::list(fd, request, &mut self.buffer),
            List::NotAsked => list::Listing::default(),
            List::Refused(errno) => list::Listing { error: Some(errno), ..Default::default() },
        };
        let barrier = if request.barrier { self.barrier.put(&self.inotify) } else { None };
        Ok(Found {
            wd: watch.ok(),
            watch_error: watch.err(),
            id: id(&opened.stat),
            stamp: stamp::of(&opened.stat),
            parent: parent.as_ref().map(id),
            mount: opened.stat.stx_mnt_id,
            linked: request.trusted == request.path.len() && is_symlink(&request.path),
            kind,
            closed,
            entries: listing.entries,
            list_error: listing.error.map(Errno::raw_os_error),
            reads: listing.reads,
            opened: opened.list == List::Asked,
            barrier,
        })
    }

    /// Adds the watch to exactly what `fd` has open.
    fn watch(&self, fd: BorrowedFd<'_>, kind: Kind, request: &Request) -> Result<i32, WatchError> {
        let add = if request.add { libc::IN_MASK_ADD } else { 0 };
        let mask = (request.mask & !HOW) | libc::IN_EXCL_UNLINK | add;
        let (mask, may_go_there) = match kind {
            Kind::Directory => (mask | IN_ONLYDIR, self.way == Way::WorkingDirectory),
            Kind::File | Kind::Other => (mask & !IN_ONLYDIR, false),
        };
        // Refused for a directory that may be read but not searched.
        if may_go_there && rustix::process::fchdir(fd).is_ok() {
            let added = self.inotify.add(".", mask);
            // A working directory pins its mount. This cannot fail for a thread that has been
            // there before; if it does, the next directory takes the place of this one.
            let _ = rustix::process::chdir("/");
            return added.map_err(watch_error);
        }
        self.inotify.add(&format!("/proc/self/fd/{}", fd.as_raw_fd()), mask).map_err(watch_error)
    }
}

/// What [`open()`] gives.
struct Opened {
    fd: OwnedFd,
    stat: Statx,
    list: List,
}

/// Whether what is open can be listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum List {
    Asked,
    NotAsked,
    Refused(Errno),
}

/// Opens what the request names, for reading if its entries are wanted and may be had.
fn open(request: &Request) -> Result<Opened, EnterError> {
    let place = OFlags::PATH | OFlags::CLOEXEC;
    let only_directories = request.mask & IN_ONLYDIR != 0;
    let mut list = match request.look {
        Look::Nothing => List::NotAsked,
        Look::Directories | Look::Everything { .. } | Look::Named => List::Asked,
    };
    for _ in 0..TRIES {
        if list == List::Asked {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
            match open::open(&request.path, request.trusted, flags) {
                Ok(fd) => {
                    let stat = statx(fd.as_fd(), "").map_err(|errno| failed("statx", errno))?;
                    return Ok(Opened { fd, stat, list });
                }
                Err(Errno::NOTDIR) if !only_directories => (),
                Err(errno @ (Errno::ACCESS | Errno::PERM)) => list = List::Refused(errno),
                Err(errno) => return Err(enter_error(errno)),
            }
        }
        let fd = open::open(&request.path, request.trusted, place).map_err(enter_error)?;
        let stat = statx(fd.as_fd(), "").map_err(|errno| failed("statx", errno))?;
        let is_symlink = file_type(&stat) == FileType::Symlink;
        match kind(&stat) {
            // It was no directory a moment ago.
            Kind::Directory if list == List::Asked => (),
            Kind::Directory => return Ok(Opened { fd, stat, list }),
            Kind::File | Kind::Other if only_directories || is_symlink => {
                return Err(EnterError::Missing);
            }
            Kind::File | Kind::Other => return Ok(Opened { fd, stat, list: List::NotAsked }),
        }
    }
    Err(enter_error(Errno::AGAIN))
}

fn statx(at: BorrowedFd<'_>, path: &str) -> Result<Statx, Errno> {
    rustix::fs::statx(at, path, AtFlags::EMPTY_PATH, STATX)
}

/// Longer paths than one call takes have no link at their end: who would have written it?
fn is_symlink(path: &[u8]) -> bool {
    rustix::fs::lstat(path)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

fn failed(call: &'static str, errno: Errno) -> EnterError {
    EnterError::Failed { call, errno: errno.raw_os_error() }
}

fn enter_error(errno: Errno) -> EnterError {
    match errno {
        Errno::NOENT | Errno::NOTDIR => EnterError::Missing,
        Errno::ACCESS | Errno::PERM => EnterError::Denied(errno.raw_os_error()),
        errno => failed("open", errno),
    }
}

fn watch_error(errno: Errno) -> WatchError {
    match errno {
        Errno::NOSPC => WatchError::Limit,
        Errno::NOMEM => WatchError::NoMemory,
        Errno::ACCESS | Errno::PERM => WatchError::Denied(errno.raw_os_error()),
        errno => WatchError::Failed { call: "inotify_add_watch", errno: errno.raw_os_error() },
    }
}

fn id(stat: &Statx) -> Id {
    Id { dev: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor), ino: stat.stx_ino }
}

pub(crate) fn kind(stat: &Statx) -> Kind {
    kind_of(file_type(stat))
}

fn file_type(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

fn kind_of(file_type: FileType) -> Kind {
    match file_type {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Kind::Other,
    }
}
