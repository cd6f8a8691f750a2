//! What a file at the destination looks like: its owner, its mode, its times, its attributes.
//!
//! setuid and setgid bits, `security.*` (file capabilities among them) and `trusted.*` are never
//! carried to a new file. POSIX ACLs go with a move, not with a copy, whose owner is another.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{self, AtFlags, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use super::{
    Options,
    error::{Fault, FileError},
    open::{BENEATH, Entry, Facts, Spot},
};

const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";

/// Why something is made, which decides whom it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It takes the place of its source: owner and ACL stay, unless the options say otherwise.
    Move,
    /// A new file of the daemon's own, unless the options say otherwise.
    Copy,
}

/// Owner and mode that a new file shall get.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    asked: (Option<u32>, Option<u32>),
    /// Wished, not demanded: only root can give files away.
    wished: (Option<u32>, Option<u32>),
    mode: u32,
    /// Whether the mode is the source's, so that an ACL belongs to it.
    keep_acl: bool,
}

impl Look {
    pub(super) fn of(
        source: &OwnedFd,
        facts: &Facts,
        purpose: Purpose,
        options: &Options<'_>,
    ) -> Self {
        let asked = (options.user, options.group);
        let wished = match purpose {
            Purpose::Move => (Some(facts.uid), Some(facts.gid)),
            Purpose::Copy => (None, None),
        };
        let mode = options.mode(facts.kind);
        let keep_acl = mode.is_none() && purpose != Purpose::Copy;
        let mode = mode.unwrap_or_else(|| {
            let sticky = if facts.is_dir() && purpose != Purpose::Copy { 0o3000 } else { 0 };
            let mode = facts.mode & (0o777 | sticky);
            if keep_acl { mode } else { without_acl(source, mode) }
        });
        Self { asked, wished, mode, keep_acl }
    }
}

/// Finishes a new file or directory that nobody else has seen: attributes, owner, times, and the
/// mode last.
pub(super) fn finish(
    new: &OwnedFd,
    path: &[u8],
    source: &OwnedFd,
    facts: &Facts,
    look: &Look,
) -> Result<(), FileError> {
    let failed = |call| move |errno| FileError::system(call, path, errno);
    copy_attributes(source, new, |name| name.starts_with(b"user.")).map_err(failed("fsetxattr"))?;
    own(look, |uid, gid| fs::fchown(new, uid, gid)).map_err(failed("fchown"))?;
    fs::futimens(new, &times(facts)).map_err(failed("futimens"))?;
    let group = without_inherited(new, facts, look);
    fs::fchmod(new, Mode::from_raw_mode(look.mode | group)).map_err(failed("fchmod"))?;
    if look.keep_acl {
        copy_attributes(source, new, |name| name == ACL_ACCESS || name == ACL_DEFAULT)
            .map_err(failed("fsetxattr"))?;
    }
    Ok(())
}

/// A directory that inherited setgid from the one it is in keeps it, as `mkdir` means it.
fn without_inherited(new: &OwnedFd, facts: &Facts, look: &Look) -> u32 {
    if facts.is_dir() && !look.keep_acl {
        Facts::of_fd(new).map_or(0, |now| now.mode & 0o2000)
    } else {
        0
    }
}

/// Finishes a new symbolic link: links have an owner and times, but no mode.
pub(super) fn finish_link(
    dir: impl AsFd,
    name: &[u8],
    path: &[u8],
    facts: &Facts,
    look: &Look,
) -> Result<(), FileError> {
    let dir = dir.as_fd();
    let link = AtFlags::SYMLINK_NOFOLLOW;
    own(look, |uid, gid| fs::chownat(dir, name, uid, gid, link))
        .map_err(|errno| FileError::system("fchownat", path, errno))?;
    fs::utimensat(dir, name, &times(facts), link)
        .map_err(|errno| FileError::system("utimensat", path, errno))
}

fn own(
    look: &Look,
    chown: impl Fn(Option<Uid>, Option<Gid>) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let ids =
        |(uid, gid): (Option<u32>, Option<u32>)| (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
    if look.wished != (None, None) {
        let (uid, gid) = ids(look.wished);
        // One by one: a group of one's own can be given without privilege.
        for (uid, gid) in [(None, gid), (uid, None)] {
            match chown(uid, gid) {
                Ok(()) | Err(Errno::PERM | Errno::INVAL) => (),
                Err(errno) => return Err(errno),
            }
        }
    }
    if look.asked == (None, None) {
        return Ok(());
    }
    let (uid, gid) = ids(look.asked);
    chown(uid, gid)
}

fn times(facts: &Facts) -> Timestamps {
    let spec = |(tv_sec, nanoseconds): (i64, i64)| Timespec { tv_sec, tv_nsec: nanoseconds };
    Timestamps { last_access: spec(facts.atime), last_modification: spec(facts.mtime) }
}

/// Carries the attributes whose names are `wanted`. A file system that knows none is no error.
fn copy_attributes(
    from: &OwnedFd,
    to: &OwnedFd,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<(), Errno> {
    // XATTR_LIST_MAX and XATTR_SIZE_MAX are 64 KiB (limits.h).
    let mut names = Vec::with_capacity(65536);
    match fs::flistxattr(from, rustix::buffer::spare_capacity(&mut names)) {
        Ok(_) => (),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
        Err(errno) => return Err(errno),
    }
    let mut value = Vec::with_capacity(65536);
    for name in names.split(|byte| *byte == 0).filter(|name| wanted(name)) {
        value.clear();
        match fs::fgetxattr(from, name, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => (),
            // Taken off meanwhile: the comparison before publishing notices that.
            Err(Errno::NODATA) => continue,
            Err(errno) => return Err(errno),
        }
        match fs::fsetxattr(to, name, &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => (),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The mode without what the ACL's mask lends to its group bits: where there is an ACL, the
/// middle digit is the mask, and the owning group may have less (acl(5)).
fn without_acl(source: &OwnedFd, mode: u32) -> u32 {
    let mut acl = Vec::with_capacity(65536);
    if fs::fgetxattr(source, ACL_ACCESS, rustix::buffer::spare_capacity(&mut acl)).is_err() {
        return mode;
    }
    match owning_group(&acl) {
        Some(group) => mode & !0o070 | (mode & group << 3),
        None => mode & !0o070,
    }
}

/// What an ACL in the kernel's form (version, then tag, permissions and id of each entry, little
/// endian) lets the owning group do.
fn owning_group(acl: &[u8]) -> Option<u32> {
    const GROUP_OBJ: u16 = 0x04;
    acl.get(4..)?.chunks_exact(8).find_map(|entry| {
        let number = |at: usize| u16::from_le_bytes([entry[at], entry[at + 1]]);
        (number(0) == GROUP_OBJ).then(|| u32::from(number(2)) & 0o7)
    })
}

/// Refuses to give a new owner or mode to what has other names: they may be somebody else's, and
/// the content may be, too.
pub(super) fn verify_single(
    facts: &Facts,
    path: &[u8],
    options: &Options<'_>,
) -> Result<(), FileError> {
    if facts.is_dir() || facts.links <= 1 || options.allow_hard_links || !options.changes_look() {
        return Ok(());
    }
    Err(FileError::found(Fault::HardLinked, "change the owner or mode of", path))
}

/// A source that was given the destination's owner and mode before it is renamed, so that it never
/// shows another at the destination.
#[derive(Debug)]
pub(super) struct Dressed {
    fd: OwnedFd,
    before: Facts,
}

impl Dressed {
    /// Sets owner and mode of what is about to be moved; `None` if nothing was asked for.
    pub(super) fn dress(
        spot: &Spot,
        entry: &Entry,
        options: &Options<'_>,
    ) -> Result<Option<Self>, FileError> {
        let facts = &entry.facts;
        let mode = options.mode(facts.kind);
        let owned = options.user.is_some() || options.group.is_some();
        if mode.is_none() && !owned {
            return Ok(None);
        }
        verify_single(facts, &spot.path, options)?;
        let (uid, gid) = (options.user.map(Uid::from_raw), options.group.map(Gid::from_raw));
        match facts.kind {
            FileType::RegularFile | FileType::Directory => (),
            FileType::Symlink => {
                let fd = entry.fd.try_clone().map_err(|error| {
                    let errno = Errno::from_io_error(&error).unwrap_or(Errno::MFILE);
                    FileError::system("dup", &spot.path, errno)
                })?;
                fs::chownat(&fd, c"", uid, gid, AtFlags::EMPTY_PATH)
                    .map_err(|errno| FileError::system("fchownat", &spot.path, errno))?;
                return Ok(Some(Self { fd, before: *facts }));
            }
            FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => {
                return Err(FileError::found(
                    Fault::Special,
                    "change the owner or mode of",
                    &spot.path,
                ));
            }
        }
        let fd = entry
            .reopen(&spot.dir, &spot.name, BENEATH)
            .map_err(|errno| reopen_error(&spot.path, errno))?;
        // Once more, of the open file: a link may have been made since.
        let before =
            Facts::of_fd(&fd).map_err(|errno| FileError::system("fstat", &spot.path, errno))?;
        verify_single(&before, &spot.path, options)?;
        let dressed = Self { fd, before };
        let high = if before.is_dir() { 0o3777 } else { 0o777 };
        let mode = mode.unwrap_or(before.mode & high);
        let set = || -> Result<(), (&'static str, Errno)> {
            // Nobody may do for a moment what neither the old nor the new mode permits.
            let both = Mode::from_raw_mode(before.mode & mode & 0o777);
            fs::fchmod(&dressed.fd, both).map_err(|errno| ("fchmod", errno))?;
            if owned {
                fs::fchown(&dressed.fd, uid, gid).map_err(|errno| ("fchown", errno))?;
            }
            fs::fchmod(&dressed.fd, Mode::from_raw_mode(mode)).map_err(|errno| ("fchmod", errno))
        };
        match set() {
            Ok(()) => Ok(Some(dressed)),
            Err((call, errno)) => {
                dressed.undress();
                Err(FileError::system(call, &spot.path, errno))
            }
        }
    }

    /// Gives it back what it had. There is nothing more to be done if that fails.
    pub(super) fn undress(self) {
        let (uid, gid) = (Uid::from_raw(self.before.uid), Gid::from_raw(self.before.gid));
        if self.before.kind == FileType::Symlink {
            let _ = fs::chownat(&self.fd, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH);
            return;
        }
        let _ = fs::fchown(&self.fd, Some(uid), Some(gid));
        let _ = fs::fchmod(&self.fd, Mode::from_raw_mode(self.before.mode));
    }
}

/// What the errors of [`Entry::reopen`] mean.
pub(super) fn reopen_error(path: &[u8], errno: Errno) -> FileError {
    match errno {
        Errno::STALE => FileError::of(Fault::Changed, "open", path, errno),
        errno => FileError::system("open", path, errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owning_groups_own_rights_are_found_in_an_acl() {
        let entry = |tag: u16, perm: u16| {
            [tag.to_le_bytes(), perm.to_le_bytes(), [0xff; 2], [0xff; 2]].concat()
        };
        let acl = [vec![2, 0, 0, 0], entry(1, 6), entry(2, 7), entry(4, 4), entry(16, 7)].concat();
        assert_eq!(owning_group(&acl), Some(4));
        assert_eq!(owning_group(&acl[..12]), None);
        assert_eq!(owning_group(b"ab"), None);
    }
}
