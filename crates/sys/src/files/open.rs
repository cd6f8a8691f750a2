//! Finding a file without being led astray: every step from the administrator's directory to an
//! entry's own directory is taken by `openat2` beneath it, through no link; what the entry is, is
//! asked of a descriptor, and what is acted on is compared with that.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::{Errno, retry_on_intr},
};

use super::{
    Options, Place,
    create::make_dirs,
    error::{Fault, FileError},
    state::State,
};

/// Neither links nor `..` lead out (openat2(2)).
pub(super) const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// Inside of a tree: nor do mounts.
pub(super) const IN_TREE: ResolveFlags = BENEATH.union(ResolveFlags::NO_XDEV);

/// A directory to work relative to. `O_PATH` needs no permission to list it. Without `O_NOFOLLOW`,
/// which would make `ENOTDIR` of the clear `ELOOP` that `RESOLVE_NO_SYMLINKS` gives.
pub(super) const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// An entry of whatever type, only to be looked at: no lease, FIFO or device notices.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// A file's content. `O_NONBLOCK`: a lease gives `EAGAIN` (fcntl(2)) and a FIFO opens at once.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
/// A directory's entries.
pub(super) const LIST: OFlags = READ.union(OFlags::DIRECTORY);

/// What one system call takes of a path: `PATH_MAX` is 4096 with the NUL.
const CHUNK: usize = 4000;
/// `openat2` gives up with `EAGAIN` when a rename anywhere passes by and `..` or a mount was
/// crossed; under a storm of renames that may happen several times over.
const AGAIN_TRIES: u32 = 64;

/// Which file it is, for as long as somebody has it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ident {
    pub(super) dev: u64,
    pub(super) ino: u64,
}

/// A file at one moment: if nothing of this differs, nobody has written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) ident: Ident,
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

/// What `stat` tells, in types that are the same on every machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) stamp: Stamp,
    pub(super) kind: FileType,
    pub(super) mode: u32,
    pub(super) links: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) size: u64,
    pub(super) atime: (i64, i64),
    pub(super) mtime: (i64, i64),
}

impl Facts {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss,
        clippy::cast_lossless,
        reason = "the fields' types differ from machine to machine; sizes are not negative, \
                  nanoseconds are below 10^9"
    )]
    pub(super) fn of(stat: &Stat) -> Self {
        let mtime = (stat.st_mtime as i64, stat.st_mtime_nsec as i64);
        Self {
            stamp: Stamp {
                ident: Ident { dev: stat.st_dev as u64, ino: stat.st_ino as u64 },
                size: stat.st_size as u64,
                mtime,
                ctime: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
            },
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode & 0o7777,
            links: stat.st_nlink as u64,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size as u64,
            atime: (stat.st_atime as i64, stat.st_atime_nsec as i64),
            mtime,
        }
    }

    pub(super) fn of_fd(fd: impl AsFd) -> Result<Self, Errno> {
        fs::fstat(fd).map(|stat| Self::of(&stat))
    }

    /// Of a directory's entry itself, if there is one.
    pub(super) fn at(dir: impl AsFd, name: &[u8]) -> Result<Option<Self>, Errno> {
        match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Self::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn ident(&self) -> Ident {
        self.stamp.ident
    }

    /// For others than the file manager.
    pub(super) fn state(&self) -> State {
        let Stamp { ident: Ident { dev, ino }, size, mtime, ctime } = self.stamp;
        State { file: (dev, ino), size, mtime, ctime }
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }
}

/// A name in an open directory: where something is, or shall be.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) dir: OwnedFd,
    pub(super) name: Vec<u8>,
    /// The whole path, for people and for [`Change`](super::Change).
    pub(super) path: Vec<u8>,
}

impl Spot {
    /// Where the source is.
    pub(super) fn source(place: Place<'_>) -> Result<Self, FileError> {
        let parts = Parts::of(place)?;
        let gone = |errno| match errno {
            Errno::NOENT | Errno::NOTDIR => {
                FileError::of(Fault::SourceGone, "open", place.path, errno)
            }
            errno => FileError::system("open", parts.dir_path(), errno),
        };
        let root = open_root(parts.root).map_err(gone)?;
        let dir = walk(root, parts.dirs).map_err(gone)?;
        Ok(Self { dir, name: parts.name.to_vec(), path: parts.path() })
    }

    /// Where something shall be; missing directories are made if the options say so, and added to
    /// `made`.
    pub(super) fn target(
        place: Place<'_>,
        options: &Options<'_>,
        made: &mut Vec<Vec<u8>>,
    ) -> Result<Self, FileError> {
        let mut parts = Parts::of(place)?;
        let failed = |parts: &Parts<'_>, errno| match errno {
            Errno::NOENT => FileError::of(Fault::NoDirectory, "open", parts.dir_path(), errno),
            errno => FileError::system("open", parts.dir_path(), errno),
        };
        let root = loop {
            match open_root(parts.root) {
                // What is made is made by us step by step, so what is missing of the
                // administrator's part is treated like the rest: without following links.
                Err(Errno::NOENT) if options.auto_create && parts.cut() => (),
                Ok(root) => break root,
                Err(errno) => return Err(failed(&parts, errno)),
            }
        };
        let again = root.try_clone().map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::MFILE);
            failed(&parts, errno)
        })?;
        let dir = match walk(again, parts.dirs) {
            Ok(dir) => dir,
            Err(Errno::NOENT) if options.auto_create => {
                make_dirs(root, parts.root, parts.dirs, options, made)?
            }
            Err(errno) => return Err(failed(&parts, errno)),
        };
        Ok(Self { dir, name: parts.name.to_vec(), path: parts.path() })
    }

    pub(super) fn facts(&self) -> Result<Option<Facts>, FileError> {
        Facts::at(&self.dir, &self.name)
            .map_err(|errno| FileError::system("stat", &self.path, errno))
    }

    /// Another name in the same directory.
    pub(super) fn sibling(&self, name: Vec<u8>) -> Result<Self, FileError> {
        let dir = self.dir.try_clone().map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::MFILE);
            FileError::system("dup", &self.path, errno)
        })?;
        let mut path = self.path[..self.path.len() - self.name.len()].to_vec();
        path.extend_from_slice(&name);
        Ok(Self { dir, name, path })
    }
}

/// An entry that is held, so that its identity cannot be taken by another.
#[derive(Debug)]
pub(super) struct Entry {
    /// `O_PATH`: good for looking, for `readlinkat` and `fchownat`, for nothing else.
    pub(super) fd: OwnedFd,
    pub(super) facts: Facts,
}

impl Entry {
    /// Takes hold of an entry, whatever it is.
    pub(super) fn open(dir: impl AsFd, name: &[u8], resolve: ResolveFlags) -> Result<Self, Errno> {
        let fd = open_at(dir, name, LOOK, resolve)?;
        let facts = Facts::of_fd(&fd)?;
        Ok(Self { fd, facts })
    }

    /// Opens the same entry for reading. `EAGAIN`: somebody holds a lease. `ESTALE`: the name
    /// means another file by now.
    pub(super) fn reopen(
        &self,
        dir: impl AsFd,
        name: &[u8],
        resolve: ResolveFlags,
    ) -> Result<OwnedFd, Errno> {
        let flags = if self.facts.is_dir() { LIST } else { READ };
        let fd = match open_at(dir, name, flags, resolve) {
            // It is no directory or no file any more: replaced, too.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => {
                return Err(Errno::STALE);
            }
            result => result?,
        };
        if Facts::of_fd(&fd)?.ident() == self.facts.ident() { Ok(fd) } else { Err(Errno::STALE) }
    }
}

/// `openat2`, tried again a bounded number of times.
pub(super) fn open_at(
    dir: impl AsFd,
    name: &[u8],
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let dir = dir.as_fd();
    let mut tries = 0;
    loop {
        let result = retry_on_intr(|| fs::openat2(dir, name, flags, Mode::empty(), resolve));
        // A lease gives the same error, lastingly, but not to O_PATH.
        let most = if flags.contains(OFlags::PATH) { AGAIN_TRIES } else { 2 };
        if !matches!(result, Err(Errno::AGAIN)) || tries == most {
            return result;
        }
        tries += 1;
    }
}

/// Opens a directory beneath another one, one name at a time or many.
pub(super) fn open_dir(dir: impl AsFd, names: &[u8]) -> Result<OwnedFd, Errno> {
    open_at(dir, names, DIR, BENEATH)
}

/// From the administrator's directory down to an entry's own, in as many calls as its length
/// needs.
fn walk(root: OwnedFd, mut dirs: &[u8]) -> Result<OwnedFd, Errno> {
    let mut dir = root;
    while !dirs.is_empty() {
        let (head, rest) = chunk(dirs);
        dir = open_dir(&dir, head)?;
        dirs = rest;
    }
    Ok(dir)
}

/// Opens the directory that the administrator named; links in it are followed.
fn open_root(mut path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = retry_on_intr(|| fs::openat(CWD, c"/", flags, Mode::empty()))?;
    while let [b'/', rest @ ..] = path {
        path = rest;
    }
    while !path.is_empty() {
        let (head, rest) = chunk(path);
        dir = retry_on_intr(|| fs::openat(&dir, head, flags, Mode::empty()))?;
        path = rest;
    }
    Ok(dir)
}

/// As many whole names as one call takes, and the rest, neither with a slash at its start.
fn chunk(path: &[u8]) -> (&[u8], &[u8]) {
    if path.len() <= CHUNK {
        return (path, b"");
    }
    let end = path[..CHUNK].iter().rposition(|byte| *byte == b'/');
    // A single name beyond the limit: the kernel shall say so.
    let end = end.or_else(|| path.iter().position(|byte| *byte == b'/')).unwrap_or(path.len());
    let mut rest = &path[end..];
    while let [b'/', tail @ ..] = rest {
        rest = tail;
    }
    (&path[..end], rest)
}

/// A place, cut up. None of the slices begins or ends with a slash, but `root`, which begins so.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Parts<'a> {
    whole: &'a [u8],
    root: &'a [u8],
    dirs: &'a [u8],
    name: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(place: Place<'a>) -> Result<Self, FileError> {
        let bad = || FileError::found(Fault::BadPath, "resolve", place.path);
        let whole = trim(place.path);
        if whole.first() != Some(&b'/') || whole.contains(&0) {
            return Err(bad());
        }
        let at = whole.iter().rposition(|byte| *byte == b'/').ok_or_else(bad)?;
        let name = &whole[at + 1..];
        let above = trim(&whole[..at]);
        // The root ends where a name ends, and the last name is never part of it.
        let mut end = place.root_len.min(above.len());
        while end > 0 && end < above.len() && above[end] != b'/' {
            end -= 1;
        }
        let root = trim(&above[..end]);
        let dirs = start(&above[end..]);
        let mut rest = dirs.split(|byte| *byte == b'/').chain([name]);
        if name.is_empty() || rest.any(|part| part == b".." || part == b".") {
            return Err(bad());
        }
        Ok(Self { whole, root, dirs, name })
    }

    /// Moves the root's last name to what is walked without following links.
    fn cut(&mut self) -> bool {
        let Some(at) = self.root.iter().rposition(|byte| *byte == b'/') else { return false };
        let above = trim(self.dir_path());
        let name = &self.root[at + 1..];
        if name == b".." || name == b"." {
            return false;
        }
        self.root = trim(&self.root[..at]);
        self.dirs = start(&above[at..]);
        true
    }

    /// The path of the directory that the name is in.
    fn dir_path(&self) -> &'a [u8] {
        match trim(&self.whole[..self.whole.len() - self.name.len()]) {
            b"" => b"/",
            path => path,
        }
    }

    fn path(&self) -> Vec<u8> {
        self.whole.to_vec()
    }
}

fn trim(mut path: &[u8]) -> &[u8] {
    while let [head @ .., b'/'] = path {
        path = head;
    }
    path
}

fn start(mut path: &[u8]) -> &[u8] {
    while let [b'/', tail @ ..] = path {
        path = tail;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str, root_len: usize) -> Option<(&str, &str, &str)> {
        let text = |bytes| str::from_utf8(bytes).unwrap();
        let parts = Parts::of(Place { path: path.as_bytes(), root_len }).ok()?;
        Some((text(parts.root), text(parts.dirs), text(parts.name)))
    }

    #[test]
    fn the_root_ends_where_a_name_ends_and_never_takes_the_last_name() {
        assert_eq!(parts("/dst/a/b", 4), Some(("/dst", "a", "b")));
        assert_eq!(parts("/dst/a/b", 5), Some(("/dst", "a", "b")));
        assert_eq!(parts("/dst/abc/b", 6), Some(("/dst", "abc", "b")));
        assert_eq!(parts("/dst/a/b", 0), Some(("", "dst/a", "b")));
        assert_eq!(parts("/dst/a/b", 99), Some(("/dst/a", "", "b")));
        assert_eq!(parts("/dst", 4), Some(("", "", "dst")));
        assert_eq!(parts("/dst//a///b//", 4), Some(("/dst", "a", "b")));
    }

    #[test]
    fn a_path_that_could_lead_elsewhere_is_refused() {
        for path in ["a/b", "", "/", "/d/../a", "/d/a/..", "/d/./a", "/d/a\0b"] {
            assert_eq!(parts(path, 2), None, "{path:?}");
        }
        assert_eq!(parts("/d/../e/a", 7), Some(("/d/../e", "", "a")), "the administrator's own");
    }

    #[test]
    fn a_missing_root_is_walked_like_the_rest() {
        let place = Place { path: b"/r/s/d/n", root_len: 4 };
        let mut parts = Parts::of(place).unwrap();
        assert!(parts.cut());
        assert_eq!((parts.root, parts.dirs, parts.name), (&b"/r"[..], &b"s/d"[..], &b"n"[..]));
        assert!(parts.cut());
        assert_eq!((parts.root, parts.dirs), (&b""[..], &b"r/s/d"[..]));
        assert!(!parts.cut());
    }

    #[test]
    fn a_long_path_is_cut_between_names() {
        let path = [[b'x'; 255].as_slice(), b"/"].concat().repeat(40);
        let path = trim(&path);
        let (mut rest, mut names) = (path, 0);
        while !rest.is_empty() {
            let (head, tail) = chunk(rest);
            assert!(head.len() <= CHUNK);
            names += head.split(|byte| *byte == b'/').filter(|name| name.len() == 255).count();
            rest = tail;
        }
        assert_eq!(names, 40);
    }
}
